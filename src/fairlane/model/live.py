"""What viewers of the dashboard watch: one organization with what holds its slots, or all organizations together.

The store reads it once a second for all viewers in one snapshot; ``dashboard/live.py`` distributes it.
"""

from collections.abc import Mapping

from msgspec import Struct

from fairlane.model.insight import Slot
from fairlane.model.status import QueueStatus


class LiveOrganization(Struct, frozen=True):
    """One organization as its viewers watch it."""

    status: QueueStatus
    slots: tuple[Slot, ...]
    """What holds its slots, the oldest first."""
    slots_bounded: bool
    """Whether more slots are in use than are listed here."""
    submitted: int
    completed: int
    failed: int


class Busy(Struct, frozen=True):
    """One organization as operators watch it."""

    id: int
    name: str
    plan: str
    queued: int
    ready: int
    used: int
    """Slots in use, by tasks and by calls."""
    slots_max: int | None
    paused: bool
    disabled: bool
    maintenance: bool
    drifted: bool
    submitted: int
    completed: int
    failed: int
    oldest_ready_at: int | None
    """Since when the oldest ready task has been able to start, or None if none is ready."""


class Total(Struct, frozen=True):
    """All organizations together."""

    organizations: int
    queued: int
    used: int
    submitted: int
    completed: int
    failed: int
    drifted: int


class Live(Struct, frozen=True):
    """What all viewers watch, in one snapshot."""

    organizations: Mapping[int, LiveOrganization]
    ended: frozenset[str]
    """Sessions of viewers that were logged out."""
    busiest: tuple[Busy, ...] = ()
    total: Total | None = None
    """None if no viewer asked for it."""
