"""How long tasks stay readable after their ends: the retention of the plan, of the organization, or of the setting."""

import pytest

from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization, OrganizationChange, PlanChange
from fairlane.store import Store
from tests.builders import ACTOR, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database

DAY = 86_400
"""The setting, in seconds."""


async def on_a_plan(store: Store, retention_seconds: int, own: int | None = None) -> Organization:
    """An organization on a plan with this retention, perhaps with its own."""
    name = f"plan-{retention_seconds}"
    await store.plans.create(name, slots=5, queue_limit=100, weight=1, retention_seconds=retention_seconds, actor=ACTOR)
    made = await an_organization(store, slots=None, plan=name)
    if own is None:
        return made
    return await store.organizations.change(made.name, changes=OrganizationChange(retention_seconds=own), actor=ACTOR)


async def ended(store: Store, organization: Organization) -> str:
    """A task that has completed."""
    [task] = await submitted(store, organization)
    worker = await a_worker(store)
    for lease in await worker.take(1):
        await worker.settle(lease)
    return task


async def readable(store: Store, *tasks: tuple[Organization, str]) -> list[bool]:
    """Which of these tasks are there after a purge."""
    await store.upkeep.purge()
    return [await store.tasks.find(organization.id, task) is not None for organization, task in tasks]


async def test_each_organization_has_its_retention(store: Store, clock: Clock) -> None:
    """Longer or shorter than the setting, by the plan or its own, exact to the millisecond."""
    organizations = [
        await on_a_plan(store, 60),
        await an_organization(store),
        await on_a_plan(store, 30, own=2 * DAY),
        await on_a_plan(store, 3 * DAY),
    ]
    tasks = [(one, await ended(store, one)) for one in organizations]
    began, seen = clock.at, []
    for seconds in (60, DAY, 2 * DAY, 3 * DAY):
        clock.at = began + seconds * 1_000 - 1
        seen.append((await readable(store, *tasks)).count(True))
        clock.at += 1
        seen.append((await readable(store, *tasks)).count(True))

    assert seen == [4, 3, 3, 2, 2, 1, 1, 0]


async def test_what_failed_or_was_canceled_is_kept_as_long(store: Store, clock: Clock) -> None:
    """Every ending counts."""
    organization = await on_a_plan(store, 60)
    [failed] = await submitted(store, organization)
    worker = await a_worker(store)
    [lease] = await worker.take(1)
    await worker.settle(lease, Failed(cause="x", retry=False))
    [canceled] = await submitted(store, organization)
    await store.tasks.cancel(organization.id, canceled)
    tasks = (organization, failed), (organization, canceled)
    clock.advance(59)
    early = await readable(store, *tasks)
    clock.advance(1)

    assert (early, await readable(store, *tasks)) == ([True, True], [False, False])


@pytest.mark.parametrize("changed", [30, 600, None])
async def test_a_change_holds_for_tasks_that_end_after_it(store: Store, clock: Clock, changed: int | None) -> None:
    """A task that had ended keeps its moment."""
    organization = await on_a_plan(store, 60)
    before = organization, await ended(store, organization)
    [running] = await submitted(store, organization)
    await store.plans.change("plan-60", changes=PlanChange(retention_seconds=changed), actor=ACTOR)
    worker = await a_worker(store)
    for lease in await worker.take(1):
        await worker.settle(lease)
    after, seen = (organization, running), {}
    began = clock.at
    for seconds in (30, 60, 600, DAY):
        clock.at = began + seconds * 1_000
        seen[seconds] = await readable(store, before, after)

    until = changed or DAY
    assert seen == {seconds: [seconds < 60, seconds < until] for seconds in seen}


async def test_a_setting_holds_at_once(database: Database, clock: Clock) -> None:
    """For organizations without a retention of their own, as before."""
    organization, other = await an_organization(database.store), await on_a_plan(database.store, 3_600)
    tasks = [(one, await ended(database.store, one)) for one in (organization, other)]
    await database.close()
    store = await database.open(retention_seconds=10)
    clock.advance(10)

    assert await readable(store, *tasks) == [False, True]
