"""Sessions, the leases that they hold, and what workers report of them.

The store hands leases out and takes endings back; the api carries both to and from workers in the spelling of
``protocol.py``, supervisors end sessions. Nothing here decides what becomes of an attempt: that is ``rules.py``.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.tasks import Failure


class NewSession(Struct, frozen=True, kw_only=True):
    """A worker process that wants to work."""

    id: str
    name: str
    types: tuple[str, ...]
    places: int
    local: bool
    """Started by this server, holding its inherited lock: gone for certain once another server owns the file."""
    lease_ms: int
    key_id: str | None = None
    """The worker key it was opened with; None: it came through the server's own socket."""


class SessionFacts(Struct, frozen=True, kw_only=True):
    """A live session as operators see it."""

    id: str
    name: str
    types: tuple[str, ...]
    places: int
    local: bool
    key: str | None
    """The id of the worker key it came with; None: it came through its server's own socket."""
    started_at: int
    lease_until: int
    leases: int
    """What it runs now."""


class LossReason(StrEnum):
    """Why a session ended."""

    DRAINED = "drained"
    """The worker handed everything back: running attempts do not count."""
    LOST = "lost"
    """The worker died: running attempts count."""
    OVERDUE = "overdue"
    """The worker was killed for attempts past their deadline: only those count."""


class Lease(Struct, frozen=True, kw_only=True):
    """The right to run one attempt now, as handed to a worker."""

    id: str
    task_id: str
    organization_id: int
    organization: str
    task_type: str
    payload: str
    attempt: int
    attempts: int
    timeout_ms: int
    started_at: int
    call: bool = False
    """Whether it is for a call, whose id ``task_id`` then is."""
    traceparent: str | None = None
    """The span that submitted the task; None: nobody traces it."""


class Completed(Struct, frozen=True):
    """An attempt that ended well. ``result`` is the JSON text of an object."""

    result: str


class Failed(Struct, frozen=True, kw_only=True):
    """An attempt that did not end well."""

    cause: str
    """For the operator only, never shown to an organization."""
    failure: Failure | None = None
    """What the organization sees if this was the last attempt; None: the generic failure."""
    retry: bool = True
    """False: this ends the task whatever attempts are left."""
    pause_ms: int | None = None
    """Pause before the next attempt; None: the backoff rule decides."""


class Released(Struct, frozen=True):
    """An attempt handed back unharmed; it does not count."""


class Lost(Struct, frozen=True):
    """An attempt whose worker died; it counts. Nobody saw when it ended."""


Ending = Completed | Failed | Released | Lost


class Report(Struct, frozen=True):
    """What became of one lease."""

    lease_id: str
    ending: Ending


class Verdict(StrEnum):
    """The answer to a report; both are final for the worker."""

    ACCEPTED = "accepted"
    GONE = "gone"


class Progress(Struct, frozen=True, kw_only=True):
    """How far a running attempt is, as its handler said."""

    done: float
    total: float | None
    """None: ``done`` is a part of 1."""
    note: str | None
    at: int


class Exchange(Struct, frozen=True, kw_only=True):
    """One worker's turn at the counter: what it finished, and how many places it has free."""

    session_id: str
    id: str
    """Made by the worker, sent again unchanged until answered; the leases it yields carry it."""
    places: int
    reports: tuple[Report, ...] = ()
    progress: tuple[tuple[str, Progress], ...] = ()
    """(lease id, how far it is)."""
    key_id: str | None = None
    """The worker key that it came with; None: through a server's own socket. The session must be of the same."""


class ExchangeReply(Struct, frozen=True, kw_only=True):
    """The store's answer to an :class:`Exchange`. ``verdicts`` are in the order of the reports."""

    verdicts: tuple[Verdict, ...]
    leases: tuple[Lease, ...]
