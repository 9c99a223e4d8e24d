"""The exceptions of the client, in one tree.

ClientError
├── SetupMissing                 no address or no key was given
├── NoAnswer                     no answer came, or one that cannot be read
├── ApiError                     the API refused; has ``code``, ``status``, ``details``, ``request_id``
│   ├── ValidationFailed         400
│   ├── Unauthorized             401
│   ├── CreditsInsufficient      403
│   ├── NotFound                 404
│   ├── Conflict                 409
│   │   ├── AlreadyExists        RESOURCE_ALREADY_EXISTS
│   │   ├── AlreadyEnded         TASK_ENDED
│   │   └── NotFailed            TASK_NOT_FAILED
│   ├── TooLarge                 413
│   ├── LimitExceeded            429
│   │   ├── RateLimitExceeded    RATE_LIMIT_EXCEEDED
│   │   ├── ConcurrencyExceeded  CONCURRENCY_LIMIT_EXCEEDED
│   │   └── QueueLimitExceeded   QUEUE_LIMIT_EXCEEDED
│   └── ServerFailed             500 and above
│       └── ServerUnavailable    503
├── TaskFailed                   the task ended FAILED; has ``task``
├── NotInTime                    the task had not ended when the timeout passed; has ``task``
└── WebhookInvalid               a webhook that was not signed with the secret, or not recently
"""

from typing import Any

from fairlane.client.records import Task
from fairlane.errors import FairlaneError


class ClientError(FairlaneError):
    """The root of this client's exceptions."""


class SetupMissing(ClientError):
    """No address or no key was given, neither as an argument nor as a variable."""


class NoAnswer(ClientError):
    """No answer came, or one that cannot be read. Whether the request took effect is unknown.

    Requests that are safe to repeat were repeated before this was raised.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent
        """False if the request never reached the server, so that it certainly had no effect."""


class ApiError(ClientError):
    """The API refused the request. Programs look at ``code``; the message is for people."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        details: Any = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}{_first_place(details)}")
        self.message = message
        self.code = code
        self.status = status
        self.details = details
        self.request_id = request_id
        """Identifies the request in the server's log, or None if the answer has no id."""
        self.retry_after_seconds = retry_after_seconds
        """How long the server asks to wait, or None if it does not say."""


def _first_place(details: Any) -> str:
    """Return the first ``{field, message}`` of a refusal for people, or an empty text if there is none."""
    places = details.get("errors") if isinstance(details, dict) else details
    match places:
        case [{"field": field, "message": message}, *others]:
            return f": {field} {message}" + (f" (and {len(others)} more)" if others else "")
    return ""


class ValidationFailed(ApiError):
    """The API does not accept the request or one of its fields; ``details`` lists ``{field, message}``."""


class Unauthorized(ApiError):
    """The key is missing, malformed, unknown or revoked."""


class CreditsInsufficient(ApiError):
    """The balance does not cover the cost."""


class NotFound(ApiError):
    """There is no such task, or no such route on this server."""


class Conflict(ApiError):
    """The request conflicts with the current state."""


class AlreadyExists(Conflict):
    """The idempotency key already names a task."""


class AlreadyEnded(Conflict):
    """The task has ended, so it can no longer be canceled."""


class NotFailed(Conflict):
    """The task has not failed. Only failed tasks can be run again."""


class TooLarge(ApiError):
    """The payload is larger than the server takes."""


class LimitExceeded(ApiError):
    """A limit of the organization or of the key was reached."""


class RateLimitExceeded(LimitExceeded):
    """Too many requests per second, even after the client waited and tried again."""


class ConcurrencyExceeded(LimitExceeded):
    """Every slot is taken. Only calls, which run at once, get this."""


class QueueLimitExceeded(LimitExceeded):
    """The queue has no room for these tasks."""


class ServerFailed(ApiError):
    """The server failed, or something between the client and the server did."""


class ServerUnavailable(ServerFailed):
    """The server is starting or stopping, or its database is unreachable."""


class TaskFailed(ClientError):
    """The task ended FAILED."""

    def __init__(self, task: Task) -> None:
        error = task.error
        reason = "it gives no reason" if error is None else f"{error.code}: {error.message}"
        super().__init__(f"task {task.id} failed: {reason}")
        self.task = task


class NotInTime(ClientError):
    """The task had not ended when the timeout passed. It continues; wait for it again, or cancel it."""

    def __init__(self, task: Task, seconds: float) -> None:
        super().__init__(f"task {task.id} is still {task.status} after {seconds:g} s")
        self.task = task


class ResultUnexpected(ClientError):
    """The task completed, but its result does not have the type that the caller expects."""


class WebhookInvalid(ClientError):
    """The webhook was not signed with the secret, or not recently: answer 400 and do nothing."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: ValidationFailed,
    401: Unauthorized,
    403: CreditsInsufficient,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: LimitExceeded,
    503: ServerUnavailable,
}
_BY_CODE: dict[str, type[ApiError]] = {
    "RESOURCE_ALREADY_EXISTS": AlreadyExists,
    "TASK_ENDED": AlreadyEnded,
    "TASK_NOT_FAILED": NotFailed,
    "RATE_LIMIT_EXCEEDED": RateLimitExceeded,
    "CONCURRENCY_LIMIT_EXCEEDED": ConcurrencyExceeded,
    "QUEUE_LIMIT_EXCEEDED": QueueLimitExceeded,
}


def error_class(status: int, code: str) -> type[ApiError]:
    """Return the class for an answer with this status and code."""
    return _BY_CODE.get(code) or _BY_STATUS.get(status) or (ServerFailed if status >= 500 else ApiError)
