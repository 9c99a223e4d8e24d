"""Every exception of fairlane, in one tree.

FairlaneError
├── Refusal                      an expected "no" to a caller; has a wire code and an HTTP status
│   ├── ValidationRefused        400 VALIDATION_ERROR
│   ├── KeyMissing               401 MISSING_API_KEY
│   ├── KeyMalformed             401 INVALID_API_KEY_FORMAT
│   ├── KeyRefused               401 INVALID_OR_EXPIRED_API_KEY
│   ├── CreditsShort             403 INSUFFICIENT_CREDITS
│   ├── CrossSiteRefused         403 CROSS_SITE_REQUEST        (dashboard's routes)
│   ├── NotFound                 404 RESOURCE_NOT_FOUND
│   ├── TaskExists               409 RESOURCE_ALREADY_EXISTS
│   ├── BulkExists               409 RESOURCE_ALREADY_EXISTS
│   ├── TaskEnded                409 TASK_ENDED
│   ├── TaskNotFailed            409 TASK_NOT_FAILED
│   ├── NameTaken                409 RESOURCE_ALREADY_EXISTS   (operator's routes)
│   ├── InUse                    409 RESOURCE_IN_USE           (operator's routes)
│   ├── SessionGone              410 SESSION_GONE              (worker's routes)
│   ├── BodyTooLarge             413 PAYLOAD_TOO_LARGE
│   ├── EncodingRefused          415 UNSUPPORTED_MEDIA_TYPE
│   ├── QueueFull                429 QUEUE_LIMIT_EXCEEDED
│   ├── RateLimited              429 RATE_LIMIT_EXCEEDED
│   ├── LoginLimited             429 LOGIN_LIMIT_EXCEEDED      (dashboard's routes)
│   ├── ConcurrencyFull          429 CONCURRENCY_LIMIT_EXCEEDED
│   ├── RequestCanceled          499 REQUEST_CANCELED          (only in the log)
│   ├── TransferCodingRefused    501 NOT_IMPLEMENTED
│   └── Unavailable              503 SERVICE_UNAVAILABLE
├── Fault                        our own failure: logged once, answered as 500 INTERNAL_SERVER_ERROR
│   └── StoreFault               the database refused or broke
│       └── StoreUnreachable     the database does not answer
│           ├── StoreBroken      the disk failed, or the store thread ended: this process has to end
│           └── LocksHeld        another transaction holds rows that this one needs
├── FetchRefused                 a URL that must not be fetched (fairlane.fetching)
├── FetchFailed                  a URL that brought no usable answer (fairlane.fetching)
├── SetupError                   the operator's or the application's mistake; the command line prints it and exits
│   ├── AppError                 the application cannot be used as it is written
│   ├── DatabaseError            the database cannot be opened
│   │   └── DatabaseOwned        another server owns the SQLite file
│   └── CommandFailed            a command was understood but failed
└── HandlerSignal                raised by handlers to say how their attempt ended
    ├── Retry
    └── Fail
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, ClassVar

RETRY_AFTER_SECONDS_MOST = 30 * 86_400
NAMES_SHOWN_MOST = 20
"""Most names that a refusal lists."""


class FairlaneError(Exception):
    """The root of fairlane's exceptions."""


# Refusals ------------------------------------------------------------------------------------------------------------


class Refusal(FairlaneError):
    """An expected "no". Nothing was changed."""

    code: ClassVar[str]
    status: ClassVar[int]
    message: ClassVar[str]
    retry_after_seconds: ClassVar[int | None] = None
    """The value of ``Retry-After``, in seconds, or None if the time is unknown: then the header is left out."""

    def __init__(self, message: str | None = None, *, details: Any = None) -> None:
        super().__init__(message or self.message)
        self.details = details


class ValidationRefused(Refusal):
    """The request does not have the shape that this endpoint takes. ``details`` lists ``{field, message}`` for each
    error.
    """

    code, status, message = "VALIDATION_ERROR", 400, "Request validation failed"

    @classmethod
    def at(cls, field: str, message: str) -> "ValidationRefused":
        """Return a refusal for one field; ``field`` is a dotted path such as ``payload.country``."""
        return cls(details=[{"field": field, "message": message}])

    @classmethod
    def type_not_allowed(cls, allowed: Sequence[str]) -> "ValidationRefused":
        """Return the refusal of a task type that is not among those of the organization's plan."""
        more = len(allowed) - NAMES_SHOWN_MOST
        names = ", ".join(allowed[:NAMES_SHOWN_MOST]) + (f" and {more} more" if more > 0 else "")
        return cls.at("taskType", f"is not allowed for this organization; allowed are {names}")


class KeyMissing(Refusal):
    """The request carries no ``Authorization: Bearer <key>`` header."""

    code, status, message = "MISSING_API_KEY", 401, "Missing or invalid API key"


class KeyMalformed(Refusal):
    """The Bearer value does not look like a key."""

    code, status, message = "INVALID_API_KEY_FORMAT", 401, "Invalid API key format"


class KeyRefused(Refusal):
    """The key is unknown, revoked, or its organization is disabled."""

    code, status, message = "INVALID_OR_EXPIRED_API_KEY", 401, "Invalid or expired API key"


class CreditsShort(Refusal):
    """The organization's balance is below what this task costs."""

    code, status, message = "INSUFFICIENT_CREDITS", 403, "Insufficient credits"


class CrossSiteRefused(Refusal):
    """The request uses a session of the dashboard but lacks the session's token, or a ticket of the dashboard from
    another machine, so it does not come from the dashboard.
    """

    code, status, message = "CROSS_SITE_REQUEST", 403, "This request does not come from the dashboard"


class ViewRefused(Refusal):
    """An operator sees an organization's dashboard, and the request would change something."""

    code, status, message = "READ_ONLY_VIEW", 403, "This view of an organization's dashboard changes nothing"


class NotFound(Refusal):
    """The route does not exist, or this caller may not see such a resource. ``details.id`` names what was requested."""

    code, status, message = "RESOURCE_NOT_FOUND", 404, "Route not found"

    @classmethod
    def task(cls, reference: str) -> "NotFound":
        """Return the refusal for a task id or idempotency key that this organization does not have."""
        return cls("Task not found", details={"id": reference})

    @classmethod
    def route(cls, path: str) -> "NotFound":
        """Return the refusal for a path that has no such route."""
        return cls(details={"id": path})

    @classmethod
    def named(cls, noun: str, name: str) -> "NotFound":
        """Return the refusal for an organization, plan or key that does not exist; for the operator's routes."""
        return cls(f"{noun.capitalize()} not found", details={"id": name})


class TaskExists(Refusal):
    """The idempotency key already names a task of this organization."""

    code, status, message = "RESOURCE_ALREADY_EXISTS", 409, "Task already exists"

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(details={"field": "idempotencyKey", "value": idempotency_key})


class BulkExists(Refusal):
    """The idempotency key already names a bulk of another kind, or with another filter."""

    code, status, message = "RESOURCE_ALREADY_EXISTS", 409, "Bulk already exists"

    def __init__(self, idempotency_key: str) -> None:
        super().__init__(details={"field": "idempotencyKey", "value": idempotency_key})


class TaskEnded(Refusal):
    """The task has ended in another way than by a cancel request, so it can no longer be canceled."""

    code, status, message = "TASK_ENDED", 409, "Task has already ended"

    def __init__(self, task_id: str, task_status: str) -> None:
        super().__init__(details={"id": task_id, "status": task_status})


class TaskNotFailed(Refusal):
    """The task has not failed. Only failed tasks can be run again."""

    code, status, message = "TASK_NOT_FAILED", 409, "Task has not failed"

    def __init__(self, task_id: str, task_status: str) -> None:
        super().__init__(details={"id": task_id, "status": task_status})


class NameTaken(Refusal):
    """The name of the new resource is already in use."""

    code, status, message = "RESOURCE_ALREADY_EXISTS", 409, "Name already in use"

    def __init__(self, noun: str, name: str, *, field: str = "name") -> None:
        super().__init__(f"{noun.capitalize()} already exists", details={"field": field, "value": name})


class InUse(Refusal):
    """The resource cannot be deleted or changed because another one still needs it as it is."""

    code, status, message = "RESOURCE_IN_USE", 409, "Resource is in use"

    def __init__(self, noun: str, name: str) -> None:
        super().__init__(f"{noun.capitalize()} is in use", details={"id": name})


class SessionGone(Refusal):
    """The worker's session was ended; it must stop its handlers and register again."""

    code, status, message = "SESSION_GONE", 410, "Session is gone"


class BodyTooLarge(Refusal):
    """The request body or the payload in it is larger than this endpoint takes."""

    code, status, message = "PAYLOAD_TOO_LARGE", 413, "Request body is too large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(details={"limit": limit_bytes})


class EncodingRefused(Refusal):
    """The request body has a ``Content-Encoding`` such as gzip. Bodies are sent as they are: ``identity``."""

    code, status, message = "UNSUPPORTED_MEDIA_TYPE", 415, "Request body must not be compressed"

    def __init__(self, content_encoding: str) -> None:
        super().__init__(details={"contentEncoding": content_encoding[:100]})


class TransferCodingRefused(Refusal):
    """The request has a ``Transfer-Encoding`` such as ``gzip, chunked``. Only ``chunked`` is supported."""

    code, status, message = "NOT_IMPLEMENTED", 501, "Transfer-Encoding must be chunked"


class QueueFull(Refusal):
    """The organization's queue has no room for this request."""

    code, status, message = "QUEUE_LIMIT_EXCEEDED", 429, "Queue limit exceeded"

    def __init__(self, *, limit: int, queued: int, wanted: int) -> None:
        super().__init__(
            f"Queue limit exceeded. Maximum {limit} queued tasks allowed per organization",
            details={
                "limit": limit,
                "queuedCount": queued,
                "batchSize": wanted,
                "maxQueueSize": limit,
                "remainingCapacity": max(0, limit - queued),
            },
        )


class RateLimited(Refusal):
    """Too many requests to this endpoint within a second. Try again after ``Retry-After`` seconds."""

    code, status, message = "RATE_LIMIT_EXCEEDED", 429, "API key rate limit exceeded"

    retry_after_seconds = 1


class LoginLimited(Refusal):
    """Too many logins to the dashboard failed from this address, or too many were made with this key.

    Try again after ``Retry-After`` seconds.
    """

    code, status, message = "LOGIN_LIMIT_EXCEEDED", 429, "Too many logins: try again in a few seconds"

    retry_after_seconds = 3


class ConcurrencyFull(Refusal):
    """A call found no free slot in its organization, or its task type is at its limit. Calls are never queued.

    ``details.limit`` is the number of the organization's slots. If the task type is at its limit, it is that limit, and
    ``details.taskType`` names the type.
    """

    code, status, message = "CONCURRENCY_LIMIT_EXCEEDED", 429, "Concurrency limit exceeded"

    def __init__(self, *, slots_used: int, slots_max: int, full: tuple[str, int] | None = None) -> None:
        """``full`` is the task type at its limit and that limit, or None if the organization has no free slot."""
        super().__init__(details={"limit": slots_max} if full is None else {"limit": full[1], "taskType": full[0]})
        self.slots_used = slots_used
        self.slots_max = slots_max


class RequestCanceled(Refusal):
    """The caller of a call closed the connection before the answer. This answer appears only in the log."""

    code, status, message = "REQUEST_CANCELED", 499, "Request was canceled"


class Unavailable(Refusal):
    """The server is draining, its database is unreachable, its request bodies take up too much memory, or this is a
    call and its organization is paused.

    Try again after ``Retry-After`` seconds.
    """

    code, status, message = "SERVICE_UNAVAILABLE", 503, "Service unavailable"

    retry_after_seconds = 2


# Faults --------------------------------------------------------------------------------------------------------------


class Fault(FairlaneError):
    """Our own failure. The caller sees one generic answer; the log has the cause."""


class StoreFault(Fault):
    """The database refused a statement or broke."""


class StoreUnreachable(StoreFault):
    """The database does not answer, or the connection broke before the result of a commit arrived.

    Nothing was acknowledged.
    """


class StoreBroken(StoreUnreachable):
    """The disk failed under the database, or the thread that writes ended. This process refuses every write and ends;
    the next one reads the committed state."""


class LocksHeld(StoreUnreachable):
    """Another transaction held the rows that this one needs until the lock timeout. Nothing was changed."""


# Setup ---------------------------------------------------------------------------------------------------------------


class SetupError(FairlaneError):
    """A problem that the operator or the author of the application has to fix before fairlane can start."""

    exit_code: ClassVar[int] = 1


class AppError(SetupError):
    """The application cannot be imported, or its declarations cannot be served. The message names the place."""

    exit_code = 3


class DatabaseError(SetupError):
    """The database cannot be opened: wrong address, unsafe setting, newer schema, a damaged file, or a full disk."""

    exit_code = 4

    @classmethod
    def of(cls, fault: StoreFault) -> "DatabaseError":
        """Return the error of a start that met this fault."""
        return cls(f"the database cannot be used: {fault}")


class DatabaseOwned(DatabaseError):
    """Another fairlane server owns this SQLite file; only one server may own it."""

    exit_code = 5


class CommandFailed(SetupError):
    """The command was understood but failed. The message and the details go to stderr; the exit code is 1."""

    def __init__(self, message: str, *, details: Any = None, status: int | None = None) -> None:
        super().__init__(message)
        self.details = details
        self.status = status
        """HTTP status of the answer, or None if there was none."""


# Fetching ------------------------------------------------------------------------------------------------------------


class FetchRefused(FairlaneError):
    """The URL must not be fetched, or its host has no public address. Another try will not help."""


class FetchFailed(FairlaneError):
    """The server at the URL did not answer in time, answered with something other than HTTP, or sent too much."""


# Handlers ------------------------------------------------------------------------------------------------------------


class HandlerSignal(FairlaneError):
    """Raised inside a handler to say how its attempt ends."""


class Retry(HandlerSignal):
    """End this attempt and try again, after ``after`` seconds if given, otherwise after the usual pause.

    Counts as an attempt: once the attempts of the type are used up, the task fails.

    Raises:
        TypeError: ``after`` is not a real number.
        ValueError: ``after`` is negative, longer than 30 days, or not a number.
    """

    after_seconds: float | None = None
    """The pause before the next attempt, or None for the usual one."""

    def __init__(
        self, reason: object = "the handler asked for another attempt", after: float | Real | Decimal | None = None
    ) -> None:
        super().__init__(plain_text(reason))
        self.after_seconds = None if after is None else _seconds(after)


class Fail(HandlerSignal):
    """End the task as FAILED now, with a code and a message that the organization sees.

    Raises:
        ValueError: ``code`` is empty.
    """

    # What a class of the application's that does not call this one's ``__init__`` has.
    code = "FAILED"
    failure_message = "The task failed"
    details: Any = None

    def __init__(self, code: str, message: object, details: Any = None) -> None:
        self.code = plain_text(code) if code is not None else ""
        self.failure_message = plain_text(message)
        super().__init__(f"{self.code}: {self.failure_message}")
        if not self.code:
            raise ValueError("Fail needs a code that the organization's programs can branch on")
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it travel from a process that the handler started: Python would call it with its text alone."""
        return _remade, (type(self), self.args, vars(self))


def _remade(kind: type[Fail], arguments: tuple[Any, ...], members: dict[str, Any]) -> Fail:
    made = kind.__new__(kind, *arguments)
    vars(made).update(members)
    return made


def plain_text(value: object) -> str:
    """Return the text of a value as an exact ``str``, never a subclass, which JSON and SQL do not accept."""
    return str.__str__(str(value))


def real_number(value: object) -> float | None:
    """Return a real number of any type as a float, or None if the value is not one. Booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:  # Larger than every limit, above or below zero.
        return math.inf
    except ValueError:  # A signaling NaN of Decimal.
        return math.nan


def _seconds(after: object) -> float:
    seconds = real_number(after)
    if seconds is None:
        raise TypeError(f"Retry(after=…) takes a number of seconds, not a value of type {type(after).__name__}")
    if not 0 <= seconds <= RETRY_AFTER_SECONDS_MOST:
        raise ValueError(f"Retry(after={seconds!r}): seconds between 0 and 2,592,000 (30 days) are allowed")
    return seconds
