"""Alerts: kept, judged, and told once for each change."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from fairlane.errors import NotFound, ValidationRefused
from fairlane.model.alerts import AlertChange, AlertKind, AlertRule
from fairlane.model.leases import Failed
from fairlane.model.webhooks import Tried
from fairlane.store import Store
from fairlane.store.alerts import ALERTS_MOST, apply_change
from tests.builders import (
    FRAGILE,
    Operations,
    a_task,
    a_webhook,
    a_worker,
    an_organization,
    claimed_deliveries,
    submitted,
)
from tests.store.databases import Clock, Database


def a_rule(kind: AlertKind = AlertKind.QUEUED_ABOVE, *, threshold: float = 2, for_seconds: int = 60) -> AlertRule:
    """More than two queued for a minute."""
    return AlertRule(kind=kind, threshold=threshold, for_ms=for_seconds * 1000, webhook=a_webhook())


def body(change: AlertChange) -> str:
    """What the receiver is told."""
    return f"{'fired' if change.firing else 'recovered'} at {change.value}"


async def told(store: Store) -> list[str]:
    """The messages of one pass."""
    return [body(change) for change in await store.alerts.judge(body)]


async def after(store: Store, clock: Clock, seconds: float) -> list[str]:
    """The messages of a pass so much later, one pass having been before."""
    assert await told(store) == []
    clock.advance(seconds)
    return await told(store)


async def owed(store: Store) -> list[str | None]:
    """What the sender finds to send now."""
    due = await claimed_deliveries(store)
    return [one.body for one in due]


async def test_a_long_queue_is_told_once_and_its_end_too(store: Store, clock: Clock) -> None:
    """After its time, not again while it lasts, and when it has been over for as long."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    alert = await store.alerts.create(organization.id, a_rule())
    await submitted(store, organization, a_task(), a_task(), a_task())

    assert await after(store, clock, 59.999) == []
    clock.at += 1
    assert await told(store) == ["fired at 3.0"]
    assert (await store.alerts.find(organization.id, alert.id)).firing
    assert await after(store, clock, 3_600) == []
    await worker.take(1)
    assert await after(store, clock, 60) == ["recovered at 2.0"]
    shown = (await store.deliveries.page(organization.id, most=9)).deliveries
    assert [(one.task_id, one.alert_id) for one in shown] == [(None, alert.id)] * 2
    found = await store.alerts.find(organization.id, alert.id)
    assert (found.firing, found.since, found.changed_at) == (False, None, clock.at)
    assert await owed(store) == ["fired at 3.0", "recovered at 2.0"]


async def test_every_kind_has_its_number(store: Store, clock: Clock) -> None:
    """Queued tasks, slots in use over slots, seconds of the oldest, failures of the last minutes."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    for kind, threshold in (
        (AlertKind.QUEUED_ABOVE, 0),
        (AlertKind.UTILIZATION_ABOVE, 0.4),
        (AlertKind.OLDEST_WAITING_ABOVE, 9.9),
        (AlertKind.FAILURES_ABOVE, 1),
    ):
        await store.alerts.create(organization.id, a_rule(kind, threshold=threshold, for_seconds=0))
    await store.usage.sample()

    assert await told(store) == []
    await submitted(store, organization, a_task(FRAGILE), a_task(FRAGILE), a_task())
    assert await told(store) == ["fired at 3.0"]
    for lease in await worker.take(2):
        await worker.settle(lease, Failed(cause="x"))
    assert await told(store) == ["fired at 2.0"]
    clock.advance(10)
    assert await told(store) == ["fired at 10.0"]
    await worker.take(1)
    assert await told(store) == ["fired at 0.5"]


async def test_a_delayed_task_waits_from_the_moment_it_might_start(store: Store, clock: Clock) -> None:
    """However long ago it was accepted."""
    organization = await an_organization(store)
    await store.alerts.create(organization.id, a_rule(AlertKind.OLDEST_WAITING_ABOVE, threshold=9.9, for_seconds=0))
    await submitted(store, organization, a_task(delay_seconds=3_600))
    clock.advance(3_600)
    await store.upkeep.promote()

    assert await after(store, clock, 9) == []
    assert await after(store, clock, 1) == ["fired at 10.0"]


async def test_old_failures_are_forgotten(store: Store, clock: Clock) -> None:
    """Five minutes later they count no more."""
    organization, worker = await an_organization(store), await a_worker(store)
    await store.alerts.create(organization.id, a_rule(AlertKind.FAILURES_ABOVE, threshold=0, for_seconds=0))
    await submitted(store, organization, a_task(FRAGILE))
    await worker.settle(await worker.take_one(), Failed(cause="x"))
    assert await told(store) == ["fired at 1.0"]
    await store.usage.sample()
    clock.advance(4 * 60)
    assert await told(store) == []

    clock.advance(2 * 60)

    assert await after(store, clock, 30) == ["recovered at 0.0"]


async def test_a_change_is_told_by_one_of_many_servers(store: Store, clock: Clock) -> None:
    """Both judged the same state; whoever writes first tells, the other writes nothing."""
    organization = await an_organization(store)
    await store.alerts.create(organization.id, a_rule(for_seconds=0))
    await submitted(store, organization, a_task(), a_task(), a_task())

    both = await asyncio.gather(told(store), told(store))

    assert sorted(both) == [[], ["fired at 3.0"]]
    assert await owed(store) == ["fired at 3.0"]


async def test_a_judgement_of_an_older_state_is_void(store: Store, clock: Clock) -> None:
    """The rule was changed in between: nothing is told of the one before."""
    organization = await an_organization(store)
    alert = await store.alerts.create(organization.id, a_rule(for_seconds=60))
    await submitted(store, organization, a_task(), a_task(), a_task())
    await told(store)
    clock.advance(60)
    held = await store.alerts.find(organization.id, alert.id)
    change = AlertChange(
        alert=held, organization_id=organization.id, organization="x", value=3, firing=True, since=None, at=clock.at
    )
    await store.alerts.change(organization.id, alert.id, a_rule(threshold=99))

    assert await Operations(store.shared).run(apply_change, change, body) is False
    assert await owed(store) == []


@pytest.mark.parametrize(
    "changes",
    [{"kind": AlertKind.FAILURES_ABOVE}, {"threshold": 99}, {"for_ms": 1}, {"webhook": a_webhook("new.example")}],
    ids=str,
)
async def test_a_judgement_of_an_older_rule_is_void(store: Store, clock: Clock, changes: dict[str, Any]) -> None:
    """Nothing but the rule differs from what was judged: neither fired before, or was about to."""
    organization = await an_organization(store)
    rule = a_rule(for_seconds=0)
    alert = await store.alerts.create(organization.id, rule)
    change = AlertChange(
        alert=alert, organization_id=organization.id, organization="x", value=3, firing=True, since=None, at=clock.at
    )
    await store.alerts.change(organization.id, alert.id, replace(rule, **changes))

    assert await Operations(store.shared).run(apply_change, change, body) is False
    assert await owed(store) == []


async def test_a_judgement_from_before_it_fired_and_recovered_is_void(store: Store, clock: Clock) -> None:
    """A server that was slow finds the alert as silent as it left it, and still tells nothing a second time."""
    organization = await an_organization(store)
    alert = await store.alerts.create(organization.id, a_rule(for_seconds=0))
    change = AlertChange(
        alert=alert, organization_id=organization.id, organization="x", value=3, firing=True, since=None, at=clock.at
    )
    await submitted(store, organization, a_task(), a_task(), a_task())
    assert await told(store) == ["fired at 3.0"]
    await store.tasks.clear(organization.id)
    assert await told(store) == []
    assert await after(store, clock, 30) == ["recovered at 0.0"]

    assert await Operations(store.shared).run(apply_change, change, body) is False
    assert await owed(store) == ["fired at 3.0", "recovered at 0.0"]


async def test_the_state_survives_a_restart(database: Database, clock: Clock) -> None:
    """Neither is the time counted anew nor the message sent again."""
    organization = await an_organization(database.store)
    await database.store.alerts.create(organization.id, a_rule())
    await submitted(database.store, organization, a_task(), a_task(), a_task())
    await told(database.store)
    clock.advance(60)
    store = await database.reopen()
    assert await told(store) == ["fired at 3.0"]
    store = await database.crash()

    assert await told(store) == []
    assert await owed(store) == ["fired at 3.0"]


async def test_a_message_is_tried_again_like_an_outcome(store: Store, clock: Clock) -> None:
    """Unlike a test event, which is tried once."""
    organization = await an_organization(store)
    await store.alerts.create(organization.id, a_rule(for_seconds=0, threshold=0))
    await submitted(store, organization)
    await told(store)
    [due] = await claimed_deliveries(store)

    await store.deliveries.record(
        Tried(delivery_id=due.id, number=1, at=clock.at, http_status=500, error="status", took_ms=1)
    )

    [delivery] = (await store.deliveries.page(organization.id, most=5)).deliveries
    assert delivery.due_at is not None


async def test_alerts_are_their_organizations_own(store: Store) -> None:
    """Neither read, changed nor deleted by another; deleted, they are gone."""
    organization, other = await an_organization(store), await an_organization(store)
    alert = await store.alerts.create(organization.id, a_rule())

    for attempt in (
        lambda: store.alerts.find(other.id, alert.id),
        lambda: store.alerts.change(other.id, alert.id, a_rule()),
        lambda: store.alerts.delete(other.id, alert.id),
    ):
        with pytest.raises(NotFound):
            await attempt()
    assert await store.alerts.all(organization.id) == [alert]
    assert await store.alerts.all(other.id) == []
    await store.alerts.delete(organization.id, alert.id)
    assert await store.alerts.all(organization.id) == []


async def test_there_are_twenty_at_most(store: Store) -> None:
    """The next is refused; another organization's are not counted."""
    organization, other = await an_organization(store), await an_organization(store)
    for _ in range(ALERTS_MOST):
        await store.alerts.create(organization.id, a_rule())

    with pytest.raises(ValidationRefused):
        await store.alerts.create(organization.id, a_rule())
    assert await store.alerts.create(other.id, a_rule())
