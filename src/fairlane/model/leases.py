"""Sessions, the leases that they hold, and what workers report about them.

The store grants leases and accepts results; the API carries both to and from workers in the format of
``protocol.py``; supervisors end sessions. What happens to an attempt is decided in ``rules``, never here.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.attempts import AttemptEnding
from fairlane.model.tasks import Failure


class NewSession(Struct, frozen=True, kw_only=True):
    """A worker process that registers."""

    id: str
    name: str
    types: tuple[str, ...]
    places: int
    local: bool
    """Whether this server started it and it holds the server's inherited lock: then it is certainly gone once another
    server owns the file."""
    lease_ms: int
    key_id: str | None = None
    """The worker key that opened the session, or None if it came through the server's own socket."""
    version: str = ""
    """The release of fairlane that the worker runs, or empty if it told none."""
    application: str = ""
    """The application that the worker serves, or empty if it told none."""
    supervisor: str = ""
    """The supervisor that started the worker, or empty if it told none."""
    reports: int = 0
    """The number of the last report of failed starts that the supervisor wrote before it registered this worker."""

    @property
    def host(self) -> str:
        """Return the machine, with which the name of a worker begins that told its application."""
        return self.name.rpartition("/")[0]


class FailedStartReport(Struct, frozen=True, kw_only=True):
    """Starts of workers that failed, as their supervisor reports them."""

    supervisor: str
    """The id that the supervisor chose for itself."""
    number: int
    """The number of this report among those of its supervisor; a report that is sent again has the same one."""
    host: str
    application: str
    cause: str
    failures: int
    """Number of starts that failed since the last report that was accepted."""
    key_id: str | None
    """The worker key of the report, or None if it came through the server's own socket."""
    version: str = ""


class Renewal(Struct, frozen=True):
    """The answer to a renewal."""

    canceled: list[str]
    """Leases with a cancel request: the supervisor kills a worker that cannot react."""
    draining: bool
    """Whether an operator wants the worker to take no more tasks, and to end after those that it runs."""


class SessionFacts(Struct, frozen=True, kw_only=True):
    """A live session as operators see it."""

    id: str
    name: str
    types: tuple[str, ...]
    places: int
    local: bool
    key: str | None
    """The id of the worker key that opened the session, or None if it came through its server's own socket."""
    started_at: int
    lease_until: int
    draining: bool
    """Whether it takes no more tasks, and ends after those that it runs."""
    version: str
    leases: int
    """Number of leases it holds now."""


class LossReason(StrEnum):
    """Why a session ended."""

    DRAINED = "drained"
    """The worker handed everything back: running attempts do not count."""
    LOST = "lost"
    """The worker died: running attempts count."""
    OVERDUE = "overdue"
    """The worker was killed for attempts past their deadline: only those count."""


class Lease(Struct, frozen=True, kw_only=True):
    """The right to run one attempt now, as given to a worker."""

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
    """Whether the lease is for a call; then ``task_id`` is the id of the call."""
    traceparent: str | None = None
    """The span that submitted the task, or None if it is not traced."""


class Completed(Struct, frozen=True):
    """A successful attempt. ``result`` is the JSON text of an object."""

    result: str


class Origin(Struct, frozen=True):
    """Where a failure comes from: names of the application's code. A text is empty if that is not known."""

    exception: str
    place: str
    """The innermost function of the application, as ``module:function``."""
    line: int
    """0 if it is not known."""


class Failed(Struct, frozen=True, kw_only=True):
    """A failed attempt."""

    cause: str
    """For the operator only, never shown to an organization."""
    failure: Failure | None = None
    """What the organization sees if this was the last attempt, or None for the generic failure."""
    retry: bool = True
    """False ends the task no matter how many attempts are left."""
    pause_ms: int | None = None
    """Pause before the next attempt, or None to use the backoff rule."""
    how: AttemptEnding = AttemptEnding.FAILED
    """TIMED_OUT if it was past its deadline, WORKER_LOST if the process that ran it died alone."""
    origin: Origin | None = None
    """None if no code of the application raised it."""


class Released(Struct, frozen=True):
    """An attempt that was handed back unharmed; it does not count."""


class Lost(Struct, frozen=True):
    """An attempt that was lost with its worker; it counts. When it ended is unknown."""


Ending = Completed | Failed | Released | Lost


class Report(Struct, frozen=True):
    """The result of one lease."""

    lease_id: str
    ending: Ending


class ReportVerdict(StrEnum):
    """The answer to a report; both are final for the worker."""

    ACCEPTED = "accepted"
    GONE = "gone"


class Progress(Struct, frozen=True, kw_only=True):
    """How far a running attempt is, as its handler reported."""

    done: float
    total: float | None
    """None if ``done`` is a fraction of 1."""
    note: str | None
    at: int


class Exchange(Struct, frozen=True, kw_only=True):
    """One exchange with a worker: what it finished, and how many places it has free."""

    session_id: str
    id: str
    """Chosen by the worker and sent again unchanged until answered; the leases that it yields carry it."""
    places: int
    reports: tuple[Report, ...] = ()
    progress: tuple[tuple[str, Progress], ...] = ()
    """(lease id, progress)."""
    key_id: str | None = None
    """The worker key of the request, or None for the server's own socket. The session must have been opened the same
    way."""


class ExchangeReply(Struct, frozen=True, kw_only=True):
    """The store's answer to an :class:`Exchange`. ``verdicts`` are in the order of the reports."""

    verdicts: tuple[ReportVerdict, ...]
    leases: tuple[Lease, ...]
