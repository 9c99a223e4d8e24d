"""What each organization has in its slots and in its queue, as operators watch it.

The store reads it for the organizations that are on some screen; the operator's API and dashboard show it.
"""

from msgspec import Struct

from fairlane.model.insight import Slot, WaitReason


class Level(Struct, frozen=True):
    """The queued tasks of one organization and one priority."""

    priority: int
    ready: int
    waiting: int
    """Those that start later: delayed, or between two attempts."""


class NextTask(Struct, frozen=True, kw_only=True):
    """Why the next ready task of an organization has not started."""

    task_type: str
    reason: WaitReason
    rivals: int
    """Organizations that come first, for FAIR_TURN; counted up to a hundred."""


class OrganizationLanes(Struct, frozen=True, kw_only=True):
    """One organization: its slots with what holds them, its queue by priority, and why its next task waits."""

    id: int
    name: str
    plan: str
    slots_max: int | None
    used: int
    weight: int
    paused: bool
    disabled: bool
    queued: int
    holders: tuple[Slot, ...]
    """The oldest first, and not more than are drawn."""
    levels: tuple[Level, ...]
    """The highest priority first."""
    next: NextTask | None
    """None if no task is ready."""
