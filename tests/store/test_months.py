"""What organizations used in a month: differences of running sums that add up to the whole."""

from datetime import UTC, datetime

import pytest

from fairlane.errors import NotFound
from fairlane.model.organizations import OrganizationChange
from fairlane.model.usage import UsedInMonth
from fairlane.store import CHUNK, Store
from tests.builders import AGAIN, DONE, FRAGILE, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database

DAY = 86_400.0


def moment(text: str) -> int:
    """Milliseconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def november(clock: Clock) -> Clock:
    """The clock, an hour before December."""
    clock.at = moment("2026-11-30T23:00:00")
    return clock


def shown(used: UsedInMonth) -> tuple[int, int, int, int, float, bool]:
    """The numbers of a row."""
    return (used.submitted, used.completed, used.failed, used.credits_charged, used.slot_seconds, used.closed)


async def test_a_month_holds_what_was_done_in_it(store: Store, november: Clock) -> None:
    """Tasks, failures, credits charged and slot-seconds, to the millisecond, across the turn of a month."""
    organization = await an_organization(store, slots=5)
    await store.organizations.change(organization.name, changes=OrganizationChange(credits=True), actor="a test")
    await store.credits.grant(organization.name, grant_id="g", amount=100, reason="welcome", actor="a test")
    await submitted(store, organization, a_task(cost=7), a_task(FRAGILE), a_task())
    worker = await a_worker(store)
    leases = {lease.task_type + str(index): lease for index, lease in enumerate(await worker.take(2))}
    november.advance(10)
    for lease in leases.values():
        await worker.settle(lease, AGAIN if lease.task_type == FRAGILE else DONE)
    [running] = await worker.take(1)
    november.at = moment("2026-12-01T00:00:00")
    assert await store.months.open() == 1
    november.advance(1.5)
    await worker.settle(running, DONE)

    [first] = await store.months.find("2026-11")
    [second] = await store.months.find("2026-12")

    assert shown(first) == (3, 1, 1, 7, 20 + 3_590, True)
    assert shown(second) == (0, 1, 0, 1, 1.5, False)
    assert (first.until_at, second.from_at) == (moment("2026-12-01T00:00:00"),) * 2
    assert await store.months.find("2026-10") == []


async def test_a_month_is_opened_once(store: Store, november: Clock) -> None:
    """However often upkeep comes by; a new organization's month is open from its creation."""
    await an_organization(store)
    assert await store.months.open() == 0
    november.advance(2 * DAY)

    assert [await store.months.open() for _ in range(3)] == [1, 0, 0]


async def test_a_server_that_starts_late_attributes_to_the_month_before(database: Database, november: Clock) -> None:
    """What happened before the turn was noticed belongs to the month before, and the rows say so; all adds up."""
    store = database.store
    organization = await an_organization(store)
    await submitted(store, organization)
    november.advance(3 * DAY)
    store = await database.reopen()
    await submitted(store, organization)  # in December, but before upkeep came by
    await store.months.open()
    await submitted(store, organization)

    [november_row] = await store.months.find("2026-11")
    [december_row] = await store.months.find("2026-12")

    assert (november_row.submitted, december_row.submitted) == (2, 1)
    assert november_row.until_at == december_row.from_at == november.at
    assert (
        november_row.submitted + december_row.submitted == (await store.organizations.find(organization.name)).submitted
    )


async def test_a_month_in_which_no_server_ran_is_not_there(database: Database, november: Clock) -> None:
    """The month before it ends when the next server notices."""
    store = database.store
    organization = await an_organization(store)
    await submitted(store, organization)
    november.at = moment("2027-02-03T00:00:00")
    store = await database.reopen()
    await store.months.open()

    assert [one.submitted for one in await store.months.find("2026-11")] == [1]
    assert await store.months.find("2026-12") == []
    assert [one.submitted for one in await store.months.find("2027-02")] == [0]


async def test_many_organizations_are_opened_in_chunks_and_listed_whole(database: Database, november: Clock) -> None:
    """More than one chunk holds."""
    store = database.store
    for _ in range(CHUNK + 3):
        await an_organization(store)
    november.advance(DAY)

    assert [await store.months.open(), await store.months.open(), await store.months.open()] == [CHUNK, 3, 0]
    assert len({one.organization for one in await store.months.find("2026-12")}) == CHUNK + 3


async def test_one_organizations_month(store: Store, november: Clock) -> None:
    """By name; an unknown one is refused."""
    organization, _ = await an_organization(store), await an_organization(store)

    [used] = await store.months.find("2026-11", organization.name)

    assert used.organization == organization.name
    with pytest.raises(NotFound):
        await store.months.find("2026-11", "nobody")
