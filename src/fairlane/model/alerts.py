"""Alerts: what an organization wants to be told of, and how each stands.

The api takes rules, upkeep compares them with what there is, the sender tells of changes. Whether one fires is decided
in ``rules.py``, never here.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.webhooks import Webhook


class AlertKind(StrEnum):
    """What is compared with an alert's threshold."""

    QUEUED_ABOVE = "QUEUED_ABOVE"
    """Queued tasks."""
    UTILIZATION_ABOVE = "UTILIZATION_ABOVE"
    """Slots in use over slots, 0 to 1."""
    OLDEST_WAITING_ABOVE = "OLDEST_WAITING_ABOVE"
    """Seconds since the oldest ready task could start first."""
    FAILURES_ABOVE = "FAILURES_ABOVE"
    """Tasks that failed in the last five minutes."""


class AlertRule(Struct, frozen=True, kw_only=True):
    """When to tell whom."""

    kind: AlertKind
    threshold: float
    for_ms: int
    """So long the value must stay above it, or not above it again, before anybody is told."""
    webhook: Webhook


class Alert(Struct, frozen=True, kw_only=True):
    """A rule, and what its receiver was told last."""

    id: str
    rule: AlertRule
    firing: bool
    since: int | None
    """Since when the value says otherwise; None: it does not."""
    changed_at: int | None
    """When it last began or ceased to fire; None: never."""
    created_at: int


class AlertChange(Struct, frozen=True, kw_only=True):
    """What an alert is to become."""

    alert: Alert
    organization_id: int
    organization: str
    value: float | None
    firing: bool
    since: int | None
    at: int
