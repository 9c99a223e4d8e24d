"""What is live: one organization's queue and slots, all of them together, and counts that differ from their rows.

The store reads each of these in one snapshot; the customers' API, the dashboard and the self-audit show them. Only
what holds at one moment is here: what happened over time is in ``usage.py``.
"""

from collections.abc import Mapping

from msgspec import Struct


class Concurrency(Struct, frozen=True):
    """Slots in use and the limit on them."""

    used: int
    max: int


class QueueStatus(Struct, frozen=True, kw_only=True):
    """One organization's queue and slots in one snapshot."""

    queued: int
    processing: int
    concurrency: Concurrency | None
    """None exactly while fairlane cannot vouch for it (design, section 9); the counts are then recounted."""
    priorities: tuple[tuple[int, int], ...]
    """(priority, queued), highest priority first, only levels with at least one."""


class LiveOrganization(Struct, frozen=True):
    """One organization as its viewers watch it."""

    status: QueueStatus
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
    busiest: tuple[Busy, ...] = ()
    total: Total | None = None
    """None: nobody asked for it."""


class Drift(Struct, frozen=True, kw_only=True):
    """One count that differs from its rows. There must be none."""

    organization: str
    name: str
    kept: int
    counted: int


class Verified(Struct, frozen=True, kw_only=True):
    """A status, and every count in it that differs from its rows, in the same snapshot."""

    status: QueueStatus
    drift: tuple[Drift, ...]
