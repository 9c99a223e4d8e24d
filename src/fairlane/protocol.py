"""The worker protocol's messages: JSON over HTTP between a worker process and a server.

Used by ``api/worker.py`` on one side and ``worker/`` on the other; imports neither. Field names are snake_case: this
is our own protocol, not the customers' wire. There are four verbs, each safe to repeat:

  POST   /worker/v1/sessions               Register -> Registered
  POST   /worker/v1/exchange               ExchangeRequest -> ExchangeAnswer      (a long poll)
  POST   /worker/v1/sessions/{id}/renew    Renew -> Renewed
  DELETE /worker/v1/sessions/{id}          EndSession -> Ended

A supervisor of workers that cannot start has no session, and says why:

  POST   /worker/v1/failed-starts          StartsFailed -> StartsNoted

A refused request gets the usual error envelope; 410 ``SESSION_GONE`` means: stop every handler and register again.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from fairlane.scanning import unescaped

ID_LENGTH_MOST = 200
"""Longest id of a session, exchange or lease, in characters."""
NAME_LENGTH_MOST = 200
TYPE_LENGTH_MOST = 64
PLACES_MOST = 1_000
TYPES_MOST = 1_000
REPORTS_MOST = 4_000
HELD_MOST = 4_000
"""Most leases or exchanges in one message."""
CODE_LENGTH_MOST = 100
TEXT_LENGTH_MOST = 20_000
"""Longest cause, or message of a failure, in characters."""
ORIGIN_LENGTH_MOST = 200
"""Longest class or place of an origin, in characters."""
LINE_MOST = 10**9
DETAILS_BYTES_MOST = 128 * 1024
PROGRESS_MOST = 10**15
NOTE_LENGTH_MOST = 1_000
CAUSE_LENGTH_MOST = 1_000
"""Longest cause of a failed start, in characters."""
STARTS_MOST = 1_000_000
NUMBER_MOST = 2**53 - 1
"""Highest number of a report of failed starts."""
PAUSE_SECONDS_MOST = 30 * 86_400
WAIT_SECONDS_MOST = 3_600
"""The server enforces these limits. Workers stay below them; the limit of a result is a setting of the server."""


class Register(Struct, kw_only=True, forbid_unknown_fields=True):
    """A worker process registers. ``local`` is honored only on the server's own unix socket."""

    name: str
    types: list[str]
    places: int
    local: bool = False
    version: str = ""
    """The release of fairlane, for operators; empty for a worker of another make."""
    application: str = ""
    """The application, as its failed starts name it: these are over once it registers. ``name`` is then the machine and
    the process, with a slash between them."""
    supervisor: str = ""
    """The id that the supervisor has in its reports of failed starts."""
    reports: int = 0
    """The number of the last of these reports. Those that are still on their way are out of date when they arrive."""


class Registered(Struct, kw_only=True):
    """The session and its timing."""

    session: str
    lease_seconds: float
    renew_seconds: float


class StartsFailed(Struct, kw_only=True, forbid_unknown_fields=True):
    """No worker process of an application can start on this machine.

    The supervisor sends it again, with the same ``number``, until it is answered. It counts once, unless another
    supervisor with the same key reports the same application on the same host in between. After a worker of this
    supervisor registered, an earlier report counts nothing.
    """

    supervisor: str
    """An id that the supervisor chooses once."""
    number: int
    """1 for its first report, then 2, 3, …"""
    host: str
    application: str
    cause: str
    """Why the last start failed, for operators, without the text of an exception."""
    failures: int = 1
    """Number of starts that failed since the last answered report; 0 if none did, and still no process can start."""
    version: str = ""


class StartsNoted(Struct, kw_only=True):
    """The failed starts were counted."""


class FailureBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """A failure as the organization sees it."""

    code: str
    message: str
    details: Any = None


class OriginBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where a failure comes from, as far as it is known: names of the application's code, for operators.

    Failures of the same origin belong together, so nothing here may differ from task to task.
    """

    exception: str = ""
    """The class of the exception."""
    place: str = ""
    """The innermost function of the application, as ``module:function``."""
    line: int = 0
    """The line of the place, which is shown and groups nothing; 0 if it is not known."""


class ReportBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """The result of one lease.

    ``outcome`` is ``completed`` (with ``result``, a JSON object), ``failed`` (with ``cause`` for the operator and, if
    the organization sees more than the generic failure, ``failure``), or ``released`` (handed back, does not count).
    """

    lease: str
    outcome: str
    result: Raw = Raw(b"null")  # no union: msgspec decodes nothing as Raw within one
    """The object itself, or its text as a JSON string: see :func:`carried`."""
    cause: str = ""
    failure: FailureBody | None = None
    retry: bool = True
    pause_seconds: float | None = None
    reason: str = ""
    """Why an attempt failed if its handler did not end it: ``overdue`` (past its deadline) or ``lost`` (the isolated
    process that ran it died)."""
    origin: OriginBody | None = None


class ProgressBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How far an attempt is: ``done`` of ``total``, or without a total a fraction of 1. Replaces earlier progress."""

    lease: str
    done: float
    total: float | None = None
    note: str | None = None


class ExchangeRequest(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Reports, and free places.

    The worker chooses ``id`` and sends it again with the same reports until it is answered; the same id yields the same
    leases. When it is sent again, ``places`` may have grown by places that became free in the meantime. The sum of
    ``places`` over a worker's unanswered exchanges is the number of its free places.
    ``wait_seconds`` limits the long poll while there is nothing to answer (at most 60).
    """

    session: str
    id: str
    places: int
    reports: list[ReportBody] = []
    progress: list[ProgressBody] = []
    """At most one for each place. Older servers do not know this field, so it is sent only if not empty."""
    wait_seconds: float = 20.0


class LeaseBody(Struct, kw_only=True):
    """One attempt to run now."""

    lease: str
    task: str
    organization: str
    task_type: str
    attempt: int
    attempts: int
    timeout_seconds: float
    payload: Raw
    call: bool = False
    """Whether a caller waits for it; then ``task`` is the call's id."""
    traceparent: str | UnsetType = UNSET
    """The span that submitted the task, in W3C format; left out if it is not traced."""


class ExchangeAnswer(Struct, kw_only=True):
    """Verdicts in the order of the reports (``accepted`` or ``gone``), leases to run, leases to cancel.

    ``cancel`` is repeated as long as the lease exists: the attempt must end now, and any report about it ends its task
    as canceled.
    ``kept``: free places of this exchange that now wait in another exchange of the same session, which is still open at
    this server; ``kept_by`` is the id of that exchange. The worker must not offer them again before that exchange is
    answered. Answers may overtake each other, so without the id a place could be offered twice or not at all.
    ``draining``: the server is shutting down and grants no more leases.
    """

    verdicts: list[str] = []
    leases: list[LeaseBody] = []
    cancel: list[str] = []
    kept: int = 0
    kept_by: str = ""
    draining: bool = False


class Renew(Struct, kw_only=True, forbid_unknown_fields=True):
    """What the worker holds: leases that it knows, and ids of exchanges for which it has no answer yet.

    ``withdrawn``: those of the exchanges that it cannot take answers for now because it is stalled. They get no more
    leases, and the leases that they already got go back uncounted. If the worker still reads one of these answers, it
    must hand back (``released``) the leases in it.
    """

    leases: list[str] = []
    exchanges: list[str] = []
    withdrawn: list[str] = []


class Renewed(Struct, kw_only=True):
    """The session is alive. The worker watches deadlines itself, because its clock does not jump.

    ``cancel``: leases that must end, also named in the answers to exchanges. A worker process that cannot react to it
    is killed after its grace period.

    ``drain``: an operator wants this worker to end. The server gives it no more leases. It should end its session once
    its attempts have ended, and not register again.
    """

    cancel: list[str] = []
    drain: bool | UnsetType = UNSET


class EndSession(Struct, kw_only=True, forbid_unknown_fields=True):
    """The end of a session. ``reason`` is ``drained``, ``lost`` or ``overdue`` (then ``overdue`` names the leases past
    their deadline).
    """

    reason: str
    overdue: list[str] = []


class Ended(Struct, kw_only=True):
    """Number of leases that were returned."""

    returned: int


encode = msgspec.json.encode


def carries(text: bytes) -> bool:
    """Return whether a message can contain this JSON text as it is; readers of messages reject half surrogate pairs."""
    try:
        msgspec.json.decode(text, type=Raw)
    except msgspec.DecodeError:
        return False
    return True


def carried(text: bytes) -> Raw:
    """Return a result as a report contains it: unchanged if a message can carry it, otherwise as a JSON string."""
    return Raw(text if carries(text) else msgspec.json.encode(text.decode()))


def result_text(result: Raw) -> bytes:
    """Return the text of a :func:`carried` result. Raises ValueError or RecursionError if it is not JSON."""
    text = bytes(result)
    if not text.startswith(b'"'):
        return text
    found = unescaped(text)
    # Only the string was checked together with the message. It may contain half a surrogate pair, which our other
    # readers reject, so for this check its escape is replaced by that of another letter.
    msgspec.json.decode(found.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0"), type=Raw)
    return found
