"""The state at one moment: one organization's queue and slots, and counts that differ from their rows.

The store reads each of these in one snapshot; the customers' API, the dashboard and the self-audit show them. What
happened over time is in ``usage.py``; what viewers of the dashboard watch is in ``live.py``.
"""

from msgspec import Struct


class SlotUse(Struct, frozen=True):
    """Slots in use and the limit on them."""

    used: int
    max: int


class QueueStatus(Struct, frozen=True, kw_only=True):
    """One organization's queue and slots in one snapshot."""

    queued: int
    processing: int
    concurrency: SlotUse | None
    """None exactly while fairlane cannot vouch for it (design, section 9); the counts are then recounted."""
    priorities: tuple[tuple[int, int], ...]
    """(priority, queued), highest priority first, only levels with at least one task."""


class Drift(Struct, frozen=True, kw_only=True):
    """One count that differs from its rows. There must be none."""

    organization: str
    name: str
    kept: int
    counted: int


class Verified(Struct, frozen=True, kw_only=True):
    """A status and every count in it that differs from its rows, in the same snapshot."""

    status: QueueStatus
    drift: tuple[Drift, ...]
