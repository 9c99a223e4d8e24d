"""The worker protocol's messages: JSON over HTTP between a worker process and a server.

Spoken by ``api/worker.py`` on one side and ``worker/`` on the other; knows neither. Field names are snake_case: this is
our own protocol, not the customers' wire. Four verbs, each safe to send again:

    POST   /worker/v1/sessions               Register -> Registered
    POST   /worker/v1/exchange               ExchangeRequest -> ExchangeAnswer      (a long poll)
    POST   /worker/v1/sessions/{id}/renew    Renew -> Renewed
    DELETE /worker/v1/sessions/{id}          EndSession -> Ended

A refused request carries the usual error envelope; 410 ``SESSION_GONE`` means: stop every handler, register anew.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from fairlane.scanning import unescaped

ID_LENGTH_MOST = 200
"""Characters of an id of a session, exchange or lease."""
NAME_LENGTH_MOST = 200
TYPE_LENGTH_MOST = 64
PLACES_MOST = 1_000
TYPES_MOST = 1_000
REPORTS_MOST = 4_000
HELD_MOST = 4_000
"""Leases, or exchanges, that one message names."""
CODE_LENGTH_MOST = 100
TEXT_LENGTH_MOST = 20_000
"""Characters of a cause, or of a failure's message."""
DETAILS_BYTES_MOST = 128 * 1024
PROGRESS_MOST = 10**15
NOTE_LENGTH_MOST = 1_000
PAUSE_SECONDS_MOST = 30 * 86_400
WAIT_SECONDS_MOST = 3_600
"""The server enforces these. Workers stay below them; the result's limit is a setting of the server."""


class Register(Struct, kw_only=True, forbid_unknown_fields=True):
    """A worker process introduces itself. ``local`` is honoured on the server's own unix socket only."""

    name: str
    types: list[str]
    places: int
    local: bool = False


class Registered(Struct, kw_only=True):
    """The session and its timing."""

    session: str
    lease_seconds: float
    renew_seconds: float


class FailureBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How the organization is to see a failure."""

    code: str
    message: str
    details: Any = None


class ReportBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """What became of one lease.

    ``outcome`` is ``completed`` (with ``result``, a JSON object), ``failed`` (with ``cause`` for the operator and, if
    the organization is to see more than the generic failure, ``failure``), or ``released`` (handed back, does not
    count).
    """

    lease: str
    outcome: str
    result: Raw = Raw(b"null")  # no union: within one, msgspec decodes nothing as Raw
    """The object itself, or its text as a JSON string: see :func:`carried`."""
    cause: str = ""
    failure: FailureBody | None = None
    retry: bool = True
    pause_seconds: float | None = None


class ProgressBody(Struct, kw_only=True, forbid_unknown_fields=True):
    """How far an attempt is: ``done`` of ``total``, or without one a part of 1. Replaces what was said before."""

    lease: str
    done: float
    total: float | None = None
    note: str | None = None


class ExchangeRequest(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Reports, and free places.

    ``id`` is made by the worker and sent again with the same reports until it is answered; the same id yields the same
    leases. ``places`` may have grown when it is sent again: by those that joined it meanwhile. The sum of ``places``
    over a worker's unanswered exchanges is the number of its free places.
    ``wait_seconds`` bounds the long poll when there is nothing to say (at most 60).
    """

    session: str
    id: str
    places: int
    reports: list[ReportBody] = []
    progress: list[ProgressBody] = []
    """At most one for each place. Older servers do not know it, so it is sent only if there is any."""
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
    """Whether a caller waits for it; ``task`` then is the call's id."""
    traceparent: str | UnsetType = UNSET
    """The span that submitted the task, as W3C writes it; left out if nobody traces it."""


class ExchangeAnswer(Struct, kw_only=True):
    """Verdicts in the order of the reports (``accepted`` or ``gone``), leases to run, leases to cancel.

    ``cancel`` is said again as long as the lease is there: the attempt is to end now, and whatever is reported of it
    ends its task as canceled.
    ``kept``: free places of this exchange that now wait in another exchange of the same session, still open at this
    server; ``kept_by`` is that one's id. The worker must not offer them again before that one is answered. Answers
    may overtake each other, so without the id a place could be offered twice or not at all.
    ``draining``: the server is going away; no leases come from it any more.
    """

    verdicts: list[str] = []
    leases: list[LeaseBody] = []
    cancel: list[str] = []
    kept: int = 0
    kept_by: str = ""
    draining: bool = False


class Renew(Struct, kw_only=True, forbid_unknown_fields=True):
    """What the worker holds: leases it knows of, and ids of exchanges it has not seen answered.

    ``withdrawn``: those of the exchanges whose answers it cannot take now, because it stands still. They get no more
    leases, and those they got go back uncounted; if the worker still reads one of these answers, it has to hand back
    (``released``) what is in it.
    """

    leases: list[str] = []
    exchanges: list[str] = []
    withdrawn: list[str] = []


class Renewed(Struct, kw_only=True):
    """The session lives. Deadlines are the worker's to watch: its clock does not jump.

    ``cancel``: leases that are to end, also named in the answers to exchanges. A worker process that cannot hear of it
    is to be killed once its grace is over.
    """

    cancel: list[str] = []


class EndSession(Struct, kw_only=True, forbid_unknown_fields=True):
    """``reason`` is ``drained``, ``lost`` or ``overdue`` (then ``overdue`` names the leases that overran)."""

    reason: str
    overdue: list[str] = []


class Ended(Struct, kw_only=True):
    """How many leases were returned."""

    returned: int


encode = msgspec.json.encode


def carries(text: bytes) -> bool:
    """Whether a message can have this JSON text in it as it is: who reads messages takes no half surrogate pair."""
    try:
        msgspec.json.decode(text, type=Raw)
    except msgspec.DecodeError:
        return False
    return True


def carried(text: bytes) -> Raw:
    """A result as a report has it: as it is if a message can carry that, else its text as a JSON string."""
    return Raw(text if carries(text) else msgspec.json.encode(text.decode()))


def result_text(result: Raw) -> bytes:
    """What was :func:`carried`. Raises ValueError or RecursionError: it is no JSON."""
    text = bytes(result)
    if not text.startswith(b'"'):
        return text
    found = unescaped(text)
    # Nothing but the string was read with the message. Half a surrogate pair is allowed in it, and no other reader of
    # ours takes that: for this look its escape is one of another letter.
    msgspec.json.decode(found.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0"), type=Raw)
    return found
