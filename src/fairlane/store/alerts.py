"""Alerts: stored for organizations, judged by upkeep from current values, one message for each change."""

from collections.abc import Callable
from typing import Any

from fairlane.errors import NotFound, ValidationRefused
from fairlane.model.alerts import Alert, AlertChange, AlertKind, AlertRule
from fairlane.model.webhooks import Webhook
from fairlane.rules.alerts import judge_alert
from fairlane.store.noun import Noun
from fairlane.store.statements import CHUNK, Moment, Operation, Row, clock, first, only, rows, run
from fairlane.store.transaction import Transaction

ALERTS_MOST = 20
"""Most alerts of one organization."""
FAILURES_MINUTES = 5
MINUTE_MS = 60_000

Body = Callable[[AlertChange], str]
"""Makes a webhook's message of a change."""


class AlertRow(Row, frozen=True):
    """An alert."""

    id: str
    kind: str
    threshold: float
    for_ms: int
    url: str
    host: str
    firing: int
    since: int | None
    changed_at: int | None
    created_at: int

    def alert(self) -> Alert:
        """Return the alert."""
        webhook = Webhook(self.url, self.host)
        return Alert(
            id=self.id,
            rule=AlertRule(kind=AlertKind(self.kind), threshold=self.threshold, for_ms=self.for_ms, webhook=webhook),
            firing=bool(self.firing),
            since=self.since,
            changed_at=self.changed_at,
            created_at=self.created_at,
        )


class WatchedRow(AlertRow, frozen=True):
    """An alert, and the counts of its organization."""

    organization_id: int
    organization: str
    queued: int
    used: int
    slots_max: int | None
    failed: int


class AlertStore(Noun):
    """Organizations' alerts."""

    async def create(self, organization_id: int, rule: AlertRule) -> Alert:
        """Create an alert. Raises ValidationRefused if there are twenty already."""
        return await self._write(_create, organization_id, rule)

    async def change(self, organization_id: int, alert_id: str, rule: AlertRule) -> Alert:
        """Replace an alert's rule; its state is judged again. Raises NotFound."""
        return await self._write(_change, organization_id, alert_id, rule)

    async def delete(self, organization_id: int, alert_id: str) -> Alert:
        """Delete an alert, and return it as it was; messages it already owes are still sent. Raises NotFound."""
        return await self._write(_delete, organization_id, alert_id)

    async def find(self, organization_id: int, alert_id: str) -> Alert:
        """Return one alert of this organization. Raises NotFound."""
        return await self._database.read(find_alert(organization_id, alert_id))

    async def all(self, organization_id: int) -> list[Alert]:
        """Return an organization's alerts, oldest first."""
        return await self._database.read(find_alerts(organization_id))

    async def judge(self, body: Body) -> list[AlertChange]:
        """Compare every alert with current values; return those that now started or stopped to fire, each with its
        message owed.

        ``body`` makes the message of a change. With several servers the first one writes the change; the others do
        nothing.
        """
        told: list[AlertChange] = []
        after: str | None = ""
        while after is not None:
            changes, after = await self._database.snapshot(judge(after))
            for alert, change in changes:
                moved = await self._write(apply_change, change, body)
                if moved and change.firing != alert.firing:
                    told.append(change)
        return told


def _create(transaction: Transaction, organization_id: int, rule: AlertRule) -> Operation[Alert]:
    yield from transaction.lock([organization_id])  # two requests at once are counted one after the other
    count = yield from only("count_alerts", into=int, organization_id=organization_id)
    if count >= ALERTS_MOST:
        raise ValidationRefused.at("body", f"an organization may have {ALERTS_MOST} alerts")
    identity = transaction.config.new_id()
    yield from run(
        "insert_alert",
        id=identity,
        organization_id=organization_id,
        now=transaction.now,
        **_columns(rule),
    )
    return (yield from find_alert(organization_id, identity))


def _change(transaction: Transaction, organization_id: int, identity: str, rule: AlertRule) -> Operation[Alert]:
    yield from run("update_alert", organization_id=organization_id, id=identity, **_columns(rule))
    return (yield from find_alert(organization_id, identity))


def _delete(transaction: Transaction, organization_id: int, identity: str) -> Operation[Alert]:
    alert = yield from find_alert(organization_id, identity)
    yield from run("delete_alert", organization_id=organization_id, id=identity)
    return alert


def find_alert(organization_id: int, identity: str) -> Operation[Alert]:
    """Read one alert, or refuse with NotFound."""
    found = yield from first("find_alert", into=AlertRow, organization_id=organization_id, id=identity)
    if found is None:
        raise NotFound.named("alert", identity)
    return found.alert()


def find_alerts(organization_id: int) -> Operation[list[Alert]]:
    """Read an organization's alerts."""
    found = yield from rows("find_alerts", into=AlertRow, organization_id=organization_id)
    return [row.alert() for row in found]


# Judging -------------------------------------------------------------------------------------------------------------


def judge(after: str) -> Operation[tuple[list[tuple[Alert, AlertChange]], str | None]]:
    """Return the changes for a chunk of all alerts beyond this id, and where the next chunk begins, or None at the
    end."""
    now = yield from clock()
    found = yield from rows("find_alerts_to_evaluate", into=WatchedRow, after=after, most=CHUNK)
    changes = []
    for row in found:
        alert = row.alert()
        value = yield from _value(alert.rule.kind, row, now)
        state = judge_alert(alert, value, now)
        if state != (alert.firing, alert.since):
            firing, since = state
            changes.append(
                (alert, AlertChange(alert=alert, organization_id=row.organization_id, organization=row.organization,
                                    value=value, firing=firing, since=since, at=now))
            )  # fmt: skip
    return changes, found[-1].id if len(found) == CHUNK else None


def _value(kind: AlertKind, row: WatchedRow, now: int) -> Operation[float | None]:
    """Return the value to compare with the threshold, or None if it is unknown now and nothing changes."""
    match kind:
        case AlertKind.QUEUED_ABOVE:
            return float(row.queued)
        case AlertKind.UTILIZATION_ABOVE:
            return None if row.slots_max is None else row.used / row.slots_max
        case AlertKind.OLDEST_WAITING_ABOVE:
            ready_at = yield from only("find_oldest_of_organization", into=Moment, organization_id=row.organization_id)
            return 0.0 if ready_at.at is None else max(0, now - ready_at.at) / 1000
        case AlertKind.FAILURES_ABOVE:
            minute = now // MINUTE_MS - FAILURES_MINUTES
            before = yield from first(
                "find_failed_before", into=int, organization_id=row.organization_id, minute=minute
            )
            return float(row.failed - (before or 0))


def apply_change(transaction: Transaction, change: AlertChange, body: Body) -> Operation[bool]:
    """Write a change and the message it owes, unless another server has already done so."""
    alert, now = change.alert, change.at
    tells = change.firing != alert.firing
    moved = yield from rows(
        "move_alert",
        into=str,
        id=alert.id,
        firing=int(change.firing),
        since=change.since,
        changed_at=now if tells else alert.changed_at,
        was_firing=int(alert.firing),
        was_since=-1 if alert.since is None else alert.since,
        was_changed_at=-1 if alert.changed_at is None else alert.changed_at,
        **_columns(alert.rule),
    )
    if not moved or not tells:
        return bool(moved)
    webhook = alert.rule.webhook
    yield from run(
        "insert_alert_delivery", id=transaction.config.new_id(), organization_id=change.organization_id,
        alert_id=alert.id, url=webhook.url, host=webhook.host, body=body(change), now=now,
    )  # fmt: skip
    transaction.effects.owed = True
    return True


def _columns(rule: AlertRule) -> dict[str, Any]:
    return {
        "kind": str(rule.kind),
        "threshold": rule.threshold,
        "for_ms": rule.for_ms,
        "url": rule.webhook.url,
        "host": rule.webhook.host,
    }
