"""Alerts: the rules of an organization, and the state of each.

The API accepts the rules, the sweeper compares them with the current values, and the sender reports changes. Whether
an alert fires is decided in ``rules``, never here.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.webhooks import Webhook


class AlertKind(StrEnum):
    """The value that is compared with an alert's threshold."""

    QUEUED_ABOVE = "QUEUED_ABOVE"
    """Queued tasks."""
    UTILIZATION_ABOVE = "UTILIZATION_ABOVE"
    """Slots in use over slots, 0 to 1."""
    OLDEST_WAITING_ABOVE = "OLDEST_WAITING_ABOVE"
    """Seconds for which the oldest ready task has been able to start."""
    FAILURES_ABOVE = "FAILURES_ABOVE"
    """Tasks that failed in the last five minutes."""


class AlertRule(Struct, frozen=True, kw_only=True):
    """When to report, and to which webhook."""

    kind: AlertKind
    threshold: float
    for_ms: int
    """How long the value must stay above the threshold before the alert fires, and at or below it before it
    recovers."""
    webhook: Webhook


class Alert(Struct, frozen=True, kw_only=True):
    """A rule and the last state that was reported."""

    id: str
    rule: AlertRule
    firing: bool
    since: int | None
    """Since when the value contradicts the reported state, or None if it does not."""
    changed_at: int | None
    """When it last began or stopped firing, or None if it never fired."""
    created_at: int


class AlertChange(Struct, frozen=True, kw_only=True):
    """A new state for an alert."""

    alert: Alert
    organization_id: int
    organization: str
    value: float | None
    firing: bool
    since: int | None
    at: int
