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


class UpkeepFacts(Struct, frozen=True, kw_only=True):
    """What upkeep has done, as operators see it."""

    at: int
    bytes: int
    """The size of the database."""
    recounted: int
    """Organizations that this server has recounted since it started."""
    differences: int
    """Counts that it found to differ from their rows. There must be none."""
    recounted_since: int | None
    """Every organization was recounted after this moment, or None if one was not yet, or if there is none."""
    backup_at: int | None
    """When the newest backup was made, or None if none is among the newest changes of the audit."""
    backup_to: str | None
    """The name of its file."""
