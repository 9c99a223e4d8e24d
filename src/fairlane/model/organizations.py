"""Organizations: their plans, limits, flags, counts and credits, and what operators change of them.

The store reads and writes them, the operator's API and the commands show them. Of all this an organization is told its
credits alone; what else it sees of itself is in ``status.py``.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

DEFAULT_PLAN = "default"


class Plan(Struct, frozen=True, kw_only=True):
    """Named limits."""

    name: str
    slots: int | None
    """None: the plan has no slots yet; its organizations start nothing and their concurrency reads null."""
    queue_limit: int
    weight: int
    created_at: int


class PlanChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a plan; UNSET leaves a field as it is."""

    slots: int | UnsetType | None = UNSET
    queue_limit: int | UnsetType = UNSET
    weight: int | UnsetType = UNSET


class Organization(Struct, frozen=True, kw_only=True):
    """One tenant: its effective limits, its flags and its live counts."""

    id: int
    name: str
    plan: str
    slots_max: int | None
    """None: the limit cannot be read (its plan has no slots)."""
    queue_limit: int
    weight: int
    paused: bool
    disabled: bool
    maintenance: bool
    drifted: bool
    queued: int
    processing: int
    used: int
    """Slots in use, by tasks and by calls."""
    oldest_ready_at: int | None
    """Since when the oldest task that can start could; None: none can."""
    submitted: int
    completed: int
    failed: int
    created_at: int
    credits: "Credits"
    erasing: bool
    """It is going away, with everything it owns; it cannot be changed any more."""


class OrganizationChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an organization; UNSET leaves a field as it is, None takes the plan's value again."""

    plan: str | UnsetType = UNSET
    slots: int | UnsetType | None = UNSET
    queue_limit: int | UnsetType | None = UNSET
    weight: int | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    maintenance: bool | UnsetType = UNSET
    credits: bool | UnsetType = UNSET


class Overrides(Struct, frozen=True, kw_only=True):
    """An organization's own limits; None: the plan's holds."""

    slots: int | None = None
    queue_limit: int | None = None
    weight: int | None = None


class Credits(Struct, frozen=True, kw_only=True):
    """What an organization may spend."""

    on: bool
    """False: nothing is charged or refused for want of credits."""
    granted: int
    charged: int
    held: int
    """What running work costs if it completes; not charged yet."""

    def balance(self) -> int:
        """What is left; below 0 only after a correction."""
        return self.granted - self.charged


class Grant(Struct, frozen=True, kw_only=True):
    """Credits an operator gave, or took back."""

    id: str
    """The operator's own; the same one again grants nothing again."""
    amount: int
    """Negative: a correction."""
    reason: str
    actor: str
    created_at: int


class AuditRow(Struct, frozen=True, kw_only=True):
    """One change made by an operator. Ids rise with time."""

    id: str
    at: int
    actor: str
    action: str
    subject: str
    details: Any


class Erased(Struct, frozen=True, kw_only=True):
    """How far the erasing of an organization has come by one request."""

    organization: str
    rows: int
    """What this request deleted: a task counts once, with all that belongs to it."""
    done: bool
