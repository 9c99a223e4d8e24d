"""Organizations: their plans, limits, flags, counts and credits, and what operators change about them.

The store reads and writes them; the operator's API and the commands show them. Of all this, an organization sees only
its credits; what else it sees about itself is in ``status.py``.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

DEFAULT_PLAN = "default"
EVERY_ORGANIZATION = 0
"""Stands for all organizations together where the id of one is expected; no organization has this id."""


class Plan(Struct, frozen=True, kw_only=True):
    """A named set of limits."""

    name: str
    slots: int | None
    """None if the plan has no slots yet: its organizations start nothing and their concurrency reads null."""
    queue_limit: int
    weight: int
    priority_limit: int | None
    """The highest priority that may be submitted; None for any."""
    task_types: tuple[str, ...] | None
    """The task types that may be submitted; None for any."""
    monthly_credits: int | None
    """Credits that each organization is granted when a month begins; None for none."""
    rate_limit: int | None
    """Requests per second of one organization to one endpoint of all servers; None for the setting of each server."""
    retention_seconds: int | None
    """How long a task stays readable after its end; None for the setting."""
    created_at: int


class PlanChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in a plan; UNSET leaves a field as it is."""

    slots: int | UnsetType | None = UNSET
    queue_limit: int | UnsetType = UNSET
    weight: int | UnsetType = UNSET
    priority_limit: int | UnsetType | None = UNSET
    task_types: tuple[str, ...] | UnsetType | None = UNSET
    monthly_credits: int | UnsetType | None = UNSET
    rate_limit: int | UnsetType | None = UNSET
    retention_seconds: int | UnsetType | None = UNSET


class Organization(Struct, frozen=True, kw_only=True):
    """One tenant: its effective limits, its flags and its live counts."""

    id: int
    name: str
    plan: str
    slots_max: int | None
    """None if the limit cannot be read because its plan has no slots."""
    queue_limit: int
    weight: int
    priority_limit: int | None
    task_types: tuple[str, ...] | None
    rate_limit: int | None
    retention_seconds: int | None
    paused: bool
    disabled: bool
    maintenance: bool
    drifted: bool
    queued: int
    processing: int
    used: int
    """Slots in use, by tasks and by calls."""
    oldest_ready_at: int | None
    """Since when the oldest ready task has been able to start, or None if none is ready."""
    submitted: int
    completed: int
    failed: int
    created_at: int
    credits: "CreditTotals"
    erasing: bool
    """Whether it is being deleted with everything it owns; then it can no longer be changed."""


class OrganizationChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change in an organization; UNSET leaves a field as it is, None goes back to the plan's value."""

    plan: str | UnsetType = UNSET
    slots: int | UnsetType | None = UNSET
    queue_limit: int | UnsetType | None = UNSET
    weight: int | UnsetType | None = UNSET
    priority_limit: int | UnsetType | None = UNSET
    task_types: tuple[str, ...] | UnsetType | None = UNSET
    monthly_credits: int | UnsetType | None = UNSET
    rate_limit: int | UnsetType | None = UNSET
    retention_seconds: int | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    maintenance: bool | UnsetType = UNSET
    credits: bool | UnsetType = UNSET


class Overrides(Struct, frozen=True, kw_only=True):
    """An organization's own limits; None means that the plan's limit holds."""

    slots: int | None = None
    queue_limit: int | None = None
    weight: int | None = None
    priority_limit: int | None = None
    task_types: tuple[str, ...] | None = None
    monthly_credits: int | None = None
    rate_limit: int | None = None
    retention_seconds: int | None = None


class CreditTotals(Struct, frozen=True, kw_only=True):
    """What an organization may spend."""

    on: bool
    """If False, nothing is charged and no request is refused for lack of credits."""
    granted: int
    charged: int
    held: int
    """The cost of running work if it completes; not charged yet."""
    monthly: int | None = None
    """Granted when a month begins; None for none."""

    def balance(self) -> int:
        """Return what is left; below 0 only after a correction."""
        return self.granted - self.charged


class Grant(Struct, frozen=True, kw_only=True):
    """Credits that an operator granted or took back."""

    id: str
    """Chosen by the operator; a second grant with the same id changes nothing."""
    amount: int
    """Negative for a correction."""
    reason: str
    actor: str
    created_at: int


class AuditRow(Struct, frozen=True, kw_only=True):
    """One change by an operator. Ids rise with time."""

    id: str
    at: int
    actor: str
    action: str
    subject: str
    details: Any


class Erased(Struct, frozen=True, kw_only=True):
    """How far one request came in erasing an organization."""

    organization: str
    rows: int
    """Number of deleted rows; a task counts once, with all that belongs to it."""
    done: bool
