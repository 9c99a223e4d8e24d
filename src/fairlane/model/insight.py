"""Why a task waits and for how long, and who holds the slots.

The store puts these together from rows and from ``rules.py``; the customers' API, the dashboard and the commands show
them. They explain and promise nothing: no operation may depend on one.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.leases import Progress
from fairlane.model.status import Concurrency
from fairlane.model.tasks import TaskStatus


class WaitReason(StrEnum):
    """Why a task is where it is; exactly one holds. ``docs/api/insight.md`` says what to do about each."""

    ORGANIZATION_AT_LIMIT = "ORGANIZATION_AT_LIMIT"
    """Every slot of the organization is taken."""
    TYPE_AT_LIMIT = "TYPE_AT_LIMIT"
    """As many tasks of this type run, over all organizations, as its own limit allows."""
    WORKERS_BUSY = "WORKERS_BUSY"
    """A slot is free, but every place of every worker of this type is taken; this organization is next."""
    FAIR_TURN = "FAIR_TURN"
    """A slot is free, every place is taken, and the next free place is another organization's."""
    STARTING = "STARTING"
    """A slot and a place are free: it starts in a moment."""
    DELAYED = "DELAYED"
    """It was submitted to start later."""
    RETRY_PAUSE = "RETRY_PAUSE"
    """It pauses between two attempts."""
    CREDITS_HELD = "CREDITS_HELD"
    """The next task's cost is covered by the balance, but running tasks hold it."""
    TYPE_UNSERVED = "TYPE_UNSERVED"
    """No live worker serves this type."""
    ORGANIZATION_PAUSED = "ORGANIZATION_PAUSED"
    """The operator lets nothing of this organization start."""
    LIMIT_UNKNOWN = "LIMIT_UNKNOWN"
    """The organization's plan has no slots yet."""
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"


class Estimate(Struct, frozen=True):
    """How long until a task starts: even odds, and nine to one."""

    p50_ms: int
    p90_ms: int


class Wait(Struct, frozen=True, kw_only=True):
    """Why one task waits, how many are ahead of it, and for how long."""

    task_id: str
    task_type: str
    status: TaskStatus
    reason: WaitReason
    until: int | None = None
    """When it becomes ready, for DELAYED and RETRY_PAUSE; None: for no other reason."""
    ahead: int | None = None
    """Ready tasks of its organization that come first; None: it is not in the queue's order now."""
    ahead_bounded: bool = False
    """There may be more ahead than were counted."""
    estimate: Estimate | None = None
    """None: nobody can tell."""
    progress: Progress | None = None
    """For RUNNING; None: its handler said nothing."""


class Slot(Struct, frozen=True, kw_only=True):
    """Who holds one slot."""

    id: str
    """The task's or the call's."""
    call: bool = False
    """Somebody waits for it on a connection; it holds its slot also before a worker has it."""
    task_type: str
    priority: int
    attempt: int
    attempts: int
    started_at: int
    deadline_at: int
    progress: Progress | None = None
    """None: its handler said nothing."""


class Slots(Struct, frozen=True, kw_only=True):
    """One organization's slots and some of who holds them, in one snapshot."""

    concurrency: Concurrency | None
    """As in the status."""
    slots: tuple[Slot, ...]
