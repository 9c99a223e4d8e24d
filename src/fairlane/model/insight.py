"""Why a task waits and for how long, and what holds the slots.

The store builds these from rows and ``rules``; the customers' API, the dashboard and the commands show them. They
explain and promise nothing: no operation may depend on one.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.leases import Progress
from fairlane.model.status import SlotUse
from fairlane.model.tasks import TaskStatus


class WaitReason(StrEnum):
    """Why a task is where it is; exactly one reason holds. ``docs/api/insight.md`` says what to do about each."""

    ORGANIZATION_AT_LIMIT = "ORGANIZATION_AT_LIMIT"
    """Every slot of the organization is taken."""
    TYPE_AT_LIMIT = "TYPE_AT_LIMIT"
    """The task type is at its own limit, which counts all organizations."""
    WORKERS_BUSY = "WORKERS_BUSY"
    """A slot is free, but every place of every worker of this type is taken; this organization is next."""
    FAIR_TURN = "FAIR_TURN"
    """A slot is free, every place is taken, and the next free place goes to another organization."""
    STARTING = "STARTING"
    """A slot and a place are free: it starts in a moment."""
    DELAYED = "DELAYED"
    """It was submitted to start later."""
    RETRY_PAUSE = "RETRY_PAUSE"
    """It pauses between two attempts."""
    CREDITS_HELD = "CREDITS_HELD"
    """The balance covers the cost of the next task, but running tasks hold the credits."""
    TYPE_UNSERVED = "TYPE_UNSERVED"
    """No live worker serves this type."""
    ORGANIZATION_PAUSED = "ORGANIZATION_PAUSED"
    """The operator has paused this organization."""
    LIMIT_UNKNOWN = "LIMIT_UNKNOWN"
    """The organization's plan has no slots yet."""
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"


class Estimate(Struct, frozen=True):
    """How long until a task starts, in milliseconds: the median and the 90th percentile."""

    p50_ms: int
    p90_ms: int


class Wait(Struct, frozen=True, kw_only=True):
    """Why one task waits, how many tasks are ahead of it, and for how long."""

    task_id: str
    task_type: str
    status: TaskStatus
    reason: WaitReason
    until: int | None = None
    """When it becomes ready, for DELAYED and RETRY_PAUSE; None for other reasons."""
    ahead: int | None = None
    """Ready tasks of its organization that come first, or None if the task is not in the queue's order now."""
    ahead_bounded: bool = False
    """Whether there may be more tasks ahead than were counted."""
    estimate: Estimate | None = None
    """None if no estimate is possible."""
    progress: Progress | None = None
    """For RUNNING; None if its handler reported none."""


class Slot(Struct, frozen=True, kw_only=True):
    """One slot in use, and what holds it."""

    id: str
    """The id of the task or call."""
    call: bool = False
    """Whether a call holds the slot. A call holds it even before a worker runs the call."""
    task_type: str
    priority: int
    attempt: int
    attempts: int
    started_at: int
    deadline_at: int
    progress: Progress | None = None
    """None if its handler reported none."""


class Slots(Struct, frozen=True, kw_only=True):
    """One organization's slots and some of the tasks and calls that hold them, in one snapshot."""

    concurrency: SlotUse | None
    """As in the status."""
    slots: tuple[Slot, ...]
