"""Erasing an organization: everything it owns, in bounded steps, through crashes, and nobody else's."""

import re

import pytest

from fairlane.errors import InUse, KeyRefused, NameTaken, NotFound
from fairlane.model.alerts import AlertKind, AlertRule
from fairlane.model.bulks import BulkKind, NewBulk
from fairlane.model.leases import Failed, Report, ReportVerdict
from fairlane.model.organizations import Organization, OrganizationChange
from fairlane.model.tasks import TaskFilter
from fairlane.model.webhooks import Tried
from fairlane.store import CHUNK, Store, erasing, new_id
from fairlane.store.statements import load_migrations
from tests.builders import (
    ACTOR,
    AGAIN,
    DONE,
    IMAGE,
    LIMITED,
    Operations,
    a_call,
    a_digest,
    a_server,
    a_task,
    a_webhook,
    a_worker,
    an_organization,
    claimed_deliveries,
    submitted,
)
from tests.store.databases import Clock, Database


def owned_tables() -> set[str]:
    """Every table whose rows belong to an organization, read from the schema itself."""
    schema = "\n".join(script for _, _, script in load_migrations("sqlite"))
    tables = re.findall(r"CREATE TABLE (\w+) \((.*?)^\)", schema, re.DOTALL | re.MULTILINE)
    return {name for name, columns in tables if re.search(r"^\s+organization_id\s", columns, re.MULTILINE)}


async def a_full_organization(store: Store, clock: Clock, name: str | None = None) -> Organization:
    """One that owns something of every kind: each state of a task, messages, keys, secrets, credits, usage."""
    organization = await an_organization(store, name, slots=6)
    await store.keys.create(organization.name, name=None, digest=a_digest(new_id()), last4="abcd", actor=ACTOR)
    await store.webhook_secrets.create(organization.name, secret="whsec_" + "a" * 20, overlap_seconds=60, actor=ACTOR)
    await store.credits.grant(organization.name, grant_id=new_id(), amount=100, reason="welcome", actor=ACTOR)
    worker = await a_worker(store)
    await submitted(store, organization, a_task(key="done", webhook="hooks.example"), a_task(key="again"))
    finished, paused = await worker.take(2)
    await worker.settle(finished, DONE)
    await worker.settle(paused, Failed(cause="it broke", pause_ms=60_000))
    await submitted(store, organization, a_task(priority=9), a_task(priority=9), a_task(key="queued"))
    await worker.take(2)
    server = await a_server(store)
    for _ in range(2):  # one runs, one waits for a place
        await store.calls.begin(a_call(organization, server, task_type=IMAGE))
    assert len(await (await a_worker(store, [IMAGE])).take(1)) == 1
    await store.deliveries.create_test(organization.id, a_webhook(), delivery_id=new_id(), body="{}")
    for one in await claimed_deliveries(store):
        tried = Tried(delivery_id=one.id, number=1, at=clock(), http_status=None, error="timeout", took_ms=1)
        await store.deliveries.record(tried)
    await store.usage.sample()
    rule = AlertRule(kind=AlertKind.QUEUED_ABOVE, threshold=1, for_ms=0, webhook=a_webhook())
    await store.alerts.create(organization.id, rule)
    await store.bulks.begin(NewBulk(kind=BulkKind.CANCEL, chosen=TaskFilter(), organization_id=organization.id))
    return await store.organizations.find(organization.name)


async def erase_all(store: Store, name: str) -> int:
    """Ask until it is done."""
    for _ in range(100):
        erased = await store.erasing.erase(name, actor=ACTOR)
        if erased.done:
            return erased.rows
    raise AssertionError("it never ends")


async def left_of(database: Database, organization_id: int) -> dict[str, int]:
    """Rows that still name it, by table. Closes the database."""
    await database.close()
    counts = {
        table: database.rows(f"SELECT count(*) FROM {table} WHERE organization_id = {organization_id}")[0][0]
        for table in owned_tables()
    }
    await database.open()
    return {table: count for table, count in counts.items() if count}


async def test_nothing_of_it_is_left(database: Database, clock: Clock) -> None:
    """In no table that names an organization; the name can be taken again, by one with another id."""
    erased = await a_full_organization(database.store, clock, "acme")
    other = await a_full_organization(database.store, clock)
    before = await left_of(database, erased.id)

    await erase_all(database.store, "acme")

    assert {*before} == owned_tables(), "the control: it owned something of every kind"
    assert await left_of(database, erased.id) == {}
    store = database.store
    assert await store.organizations.find(other.name) == other
    with pytest.raises(NotFound):
        await store.organizations.find("acme")
    again = await an_organization(store, "acme")
    assert again.id > max(erased.id, other.id)


async def test_the_newest_organizations_id_is_not_given_again(store: Store) -> None:
    """A key of the erased one that another server still remembers must not open its successor."""
    erased = await an_organization(store, "acme")

    await erase_all(store, "acme")

    assert (await an_organization(store, "acme")).id == erased.id + 1


async def test_what_ran_is_ended_first_and_its_reports_are_gone(store: Store, clock: Clock) -> None:
    """A worker's word about it changes nothing; its slots and credits are given back on the way."""
    organization = await an_organization(store, slots=3)
    await submitted(store, organization, a_task(), a_task())
    worker = await a_worker(store)
    first, second = await worker.take(2)

    await erase_all(store, organization.name)

    verdicts = (await worker.exchange(Report(first.id, DONE), Report(second.id, AGAIN), places=5)).verdicts
    assert verdicts == (ReportVerdict.GONE, ReportVerdict.GONE)


async def test_from_the_first_step_on_nothing_is_accepted_or_changed(store: Store) -> None:
    """Keys are refused, submits are refused, flags and limits cannot be changed, the name stays taken."""
    organization = await an_organization(store, "acme", slots=4)
    digest = a_digest("k" * 20)
    await store.keys.create("acme", name=None, digest=digest, last4="kkkk", actor=ACTOR)
    assert await store.keys.caller(digest) is not None
    for _ in range(11):
        await submitted(store, organization, *[a_task() for _ in range(1_000)])

    erased = await store.erasing.erase("acme", actor=ACTOR)

    assert not erased.done
    found = await store.organizations.find("acme")
    assert (found.erasing, found.disabled) == (True, True)
    assert await store.keys.caller(digest) is None
    assert isinstance((await store.tasks.submit(organization.id, [a_task()]))[0], KeyRefused)
    with pytest.raises(InUse):
        await store.organizations.change("acme", changes=OrganizationChange(disabled=False), actor=ACTOR)
    with pytest.raises(NameTaken):
        await an_organization(store, "acme")
    await erase_all(store, "acme")


async def test_five_thousand_tasks_go_in_bounded_steps_beside_others(store: Store) -> None:
    """No transaction is about more than a chunk, and another organization's submit gets in between any two."""
    organization, other = await an_organization(store), await an_organization(store)
    for _ in range(10):
        await submitted(store, organization, *[a_task() for _ in range(500)])
    assert (await store.erasing.erase(organization.name, actor=ACTOR)).rows <= 20 * CHUNK
    again = await an_organization(store)
    for _ in range(10):
        await submitted(store, again, *[a_task() for _ in range(500)])
    await Operations(store.shared).run(erasing.begin_erasing, again.name, ACTOR)

    steps = []
    while count := await store.erasing.step(again.id):
        steps.append(count)
        await submitted(store, other)

    assert max(steps) <= CHUNK
    assert sum(steps) >= 5_000
    assert (await store.tasks.status(other.id)).queued == len(steps)


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
async def test_a_crash_in_the_middle_loses_nothing_of_the_intent(database: Database, clock: Clock, steps: int) -> None:
    """After any number of steps: counts are exact, what is left is still going away, upkeep finishes it."""
    store = database.store
    organization = await a_full_organization(store, clock, "acme")
    other = await a_full_organization(store, clock)
    await Operations(store.shared).run(erasing.begin_erasing, "acme", ACTOR)
    for _ in range(steps):
        assert await store.erasing.step(organization.id)

    store = await database.crash()

    assert await store.recount.find() == []
    assert set(await store.recount.states()) <= {1}
    assert await store.erasing.all() == [organization.id]
    while await store.erasing.step(organization.id):
        assert await store.recount.find() == []
        assert set(await store.recount.states()) <= {1}
    assert await store.erasing.all() == []
    assert [one.name for one in await store.organizations.all()] == [other.name]
    assert await left_of(database, organization.id) == {}


async def test_its_going_away_is_written_down(store: Store) -> None:
    """Begun once, by whom, with what it had; ended. What is gone cannot be erased."""
    organization = await an_organization(store, "acme")
    await submitted(store, organization)

    await erase_all(store, "acme")

    ended, begun = (await store.trail.page(2))[:2]
    assert (begun.action, begun.actor, begun.details["submitted"]) == ("organization.erasing", ACTOR, 1)
    assert (ended.action, ended.subject) == ("organization.erased", "acme")
    with pytest.raises(NotFound):
        await store.erasing.erase("acme", actor=ACTOR)


async def test_a_type_that_was_full_because_of_it_has_room_again(store: Store) -> None:
    """Others' tasks of that type start at the next claim."""
    organization, other = await an_organization(store, slots=5), await an_organization(store, slots=5)
    await submitted(store, organization, a_task(LIMITED), a_task(LIMITED))
    worker = await a_worker(store)
    assert len(await worker.take(5)) == 2
    await submitted(store, other, a_task(LIMITED))
    assert await worker.take(5) == []

    await erase_all(store, organization.name)

    assert len(await worker.take(5)) == 1
