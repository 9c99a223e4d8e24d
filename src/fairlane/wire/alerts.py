"""Alerts, in and out: what a customer sends, the state of its alerts, and the message to a webhook about a change.

Called by the API's endpoints, and by the sweeper for the messages. Only the type of an address is checked here; the
guard checks where it may lead.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from fairlane.errors import ValidationRefused
from fairlane.model.alerts import Alert, AlertChange, AlertKind
from fairlane.wire.errors import FIELD_ERRORS_MOST
from fairlane.wire.values import Count, MomentText, Uuid, Yes, encode, moment, timestamp
from fairlane.wire.webhooks import wrong_address

ALERT_FIELDS = ("kind", "threshold", "forSeconds", "webhook")
ALERT_SECONDS_MOST = 86_400
ALERT_THRESHOLD_MOST = 1_000_000_000


class AskedAlert(Struct, frozen=True, kw_only=True):
    """A checked alert, except that only the type of its URL is checked."""

    kind: AlertKind
    threshold: float
    for_ms: int
    url: str


def read_alert(document: Any) -> AskedAlert:
    """Read ``{"kind": …, "threshold": …, "forSeconds": …, "webhook": {"url": …}}``.

    Raises:
        ValidationRefused: lists every field that is wrong.
    """
    if type(document) is not dict:
        raise ValidationRefused.at("body", "must be a JSON object")
    wrong = [(field, "is not a known field") for field in document if field not in ALERT_FIELDS]
    kind: Any = document.get("kind")
    threshold: Any = document.get("threshold")
    seconds: Any = document.get("forSeconds")
    if type(kind) is not str or kind not in tuple(AlertKind):
        wrong.append(("kind", f"must be one of {', '.join(AlertKind)}"))
    if type(threshold) not in (int, float) or not 0 <= threshold <= ALERT_THRESHOLD_MOST:
        wrong.append(("threshold", f"must be a number from 0 to {ALERT_THRESHOLD_MOST}"))
    if type(seconds) is not int or not 0 <= seconds <= ALERT_SECONDS_MOST:
        wrong.append(("forSeconds", f"must be an integer from 0 to {ALERT_SECONDS_MOST}"))
    wrong += wrong_address(document.get("webhook"), "webhook")
    if wrong:
        raise ValidationRefused(
            details=[{"field": field, "message": message} for field, message in wrong[:FIELD_ERRORS_MOST]]
        )
    return AskedAlert(
        kind=AlertKind(kind), threshold=float(threshold), for_ms=seconds * 1000, url=document["webhook"]["url"]
    )


class _AlertAddressFields(Struct):
    url: str


class _AlertFields(Struct, rename="camel"):
    id: Uuid
    kind: Annotated[str, Meta(extra_json_schema={"enum": [*AlertKind]})]
    threshold: float
    for_seconds: Count
    webhook: _AlertAddressFields
    firing: bool
    changed_at: MomentText | None
    created_at: MomentText


class AlertsBody(Struct):
    alerts: list[_AlertFields]


class AlertBody(Struct):
    success: Yes
    alert: _AlertFields


class AlertMessageBody(Struct):
    type: Literal["alert.fired", "alert.recovered"]
    at: MomentText
    value: float | None
    alert: _AlertFields


def alert_body(alert: Alert) -> bytes:
    """Return the answer about one alert."""
    return encode(AlertBody(True, _alert(alert)))


def alerts_body(alerts: Sequence[Alert]) -> bytes:
    """Return an organization's alerts."""
    return encode(AlertsBody([_alert(one) for one in alerts]))


def alert_message_body(change: AlertChange) -> bytes:
    """Return the message to a webhook about an alert that began or stopped firing."""
    alert = _alert(change.alert)
    alert.firing, alert.changed_at = change.firing, timestamp(change.at)
    kind: Literal["alert.fired", "alert.recovered"] = "alert.fired" if change.firing else "alert.recovered"
    return encode(AlertMessageBody(kind, timestamp(change.at), change.value, alert))


def _alert(alert: Alert) -> _AlertFields:
    rule = alert.rule
    return _AlertFields(
        alert.id,
        rule.kind,
        rule.threshold,
        rule.for_ms // 1000,
        _AlertAddressFields(rule.webhook.url),
        alert.firing,
        moment(alert.changed_at),
        timestamp(alert.created_at),
    )
