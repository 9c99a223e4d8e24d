"""What viewers of the dashboard watch: an organization with who holds its slots, or all organizations together.

The store reads all of it for all viewers in one snapshot each second; ``dashboard/live.py`` hands it round.
"""

from collections.abc import Mapping

from msgspec import Struct

from fairlane.model.insight import Slot
from fairlane.model.status import QueueStatus


class LiveOrganization(Struct, frozen=True):
    """One organization as its viewers watch it."""

    status: QueueStatus
    slots: tuple[Slot, ...]
    """Who holds its slots, the oldest first."""
    slots_bounded: bool
    """More hold slots than are here."""
    submitted: int
    completed: int
    failed: int


class Busy(Struct, frozen=True):
    """One organization as operators watch it."""

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
    """Since when the oldest task that can start could; None: none can."""


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
    """What is live for all viewers, in one snapshot."""

    organizations: Mapping[int, LiveOrganization]
    ended: frozenset[str]
    """Sessions of viewers that were logged out."""
    busiest: tuple[Busy, ...] = ()
    total: Total | None = None
    """None: nobody asked for it."""
