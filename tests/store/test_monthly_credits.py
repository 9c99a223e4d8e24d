"""Credits that organizations are granted when a month begins: once each, also across crashes and jumps of the clock."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from fairlane.errors import StoreUnreachable, ValidationRefused
from fairlane.model.organizations import Organization, OrganizationChange, PlanChange
from fairlane.store import Store
from fairlane.store.statements import rows_if
from tests.builders import ACTOR, an_organization
from tests.store.databases import Clock, Database, PostgresServer, in_one_commit, standing_before, until_somebody_waits


def moment(text: str) -> int:
    """Milliseconds of a UTC time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


async def a_subscriber(store: Store, monthly: int) -> Organization:
    """An organization whose credits are counted, on a plan with monthly credits."""
    await store.plans.create("pro", slots=5, queue_limit=100, weight=1, monthly_credits=monthly, actor=ACTOR)
    return await another(store)


async def another(store: Store) -> Organization:
    """One more on that plan."""
    made = await an_organization(store, slots=None, plan="pro")
    return await store.organizations.change(made.name, changes=OrganizationChange(credits=True), actor=ACTOR)


async def granted(store: Store, organization: Organization) -> list[tuple[str, int]]:
    """Its grants, oldest first."""
    return [(one.id, one.amount) for one in reversed(await store.credits.grants(organization.name, most=10))]


async def test_each_month_is_granted_once(database: Database, clock: Clock) -> None:
    """Unused credits stay, a changed number counts from the next month, and a crash repeats nothing."""
    clock.at = moment("2026-10-31T23:59:59.999")
    store = database.store
    organization, other = await a_subscriber(store, 100), await an_organization(store)
    counts = [await store.credits.grant_month(), await store.credits.grant_month()]
    clock.at = moment("2026-11-01T00:00:00")
    await store.plans.change("pro", changes=PlanChange(monthly_credits=70), actor=ACTOR)
    counts.append(await store.credits.grant_month())
    store = await database.crash()
    await store.plans.change("pro", changes=PlanChange(monthly_credits=900), actor=ACTOR)
    counts.append(await store.credits.grant_month())

    assert counts == [1, 0, 1, 0]
    assert await granted(store, organization) == [("cycle-2026-10", 100), ("cycle-2026-11", 70)]
    assert (await store.credits.find(organization.id)).balance() == 170
    assert await granted(store, other) == []


async def test_a_grant_whose_commit_fails_is_made_by_the_next_server(database: Database, clock: Clock) -> None:
    """Mark, grant and balance are there together or not at all."""
    store = database.store
    organization = await a_subscriber(store, 100)
    with database.failing_commit():
        [failed] = await in_one_commit(store, clock, store.credits.grant_month)

    store = await database.crash()
    counts = [await store.credits.grant_month(), await store.credits.grant_month()]

    assert isinstance(failed, StoreUnreachable)
    assert counts == [1, 0]
    assert (await store.credits.find(organization.id)).balance() == 100


async def test_a_clock_that_is_set_repeats_and_blocks_no_month(store: Store, clock: Clock) -> None:
    """Set back over the end of a month, a month is not granted again; set far ahead and back, the next one is."""
    seen = []
    clock.at = moment("2026-10-31T23:59:59")
    organization = await a_subscriber(store, 100)
    for text in ("2026-10-31", "2026-11-01", "2026-10-31", "2026-11-01", "2038-01-01", "2026-11-02", "2026-12-01"):
        clock.at = moment(text)
        await store.credits.grant_month()
        seen.append((await store.credits.find(organization.id)).balance())

    assert seen == [100, 200, 200, 200, 300, 300, 400]


async def test_more_organizations_than_one_transaction_takes(store: Store) -> None:
    """Each of them is granted its month, in rounds that end."""
    await a_subscriber(store, 5)
    for _ in range(2):
        await another(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fairlane.store.credits.CHUNK", 2)
        counts = [await store.credits.grant_month() for _ in range(3)]

    assert counts == [2, 1, 0]


async def test_an_id_of_monthly_credits_is_not_an_operators(store: Store) -> None:
    """Otherwise a grant by hand could take the place of a month's."""
    organization = await a_subscriber(store, 5)

    with pytest.raises(ValidationRefused):
        await store.credits.grant(organization.name, grant_id="cycle-2026-12", amount=1, reason="x", actor=ACTOR)


async def test_a_plan_that_is_changed_meanwhile_counts_from_the_next_month(
    server: PostgresServer, others: list[Store], clock: Clock
) -> None:
    """The change waits for the grant, which gives the number that it found under its lock."""
    clock.at = moment("2026-10-31")
    organization = await a_subscriber(others[0], 100)
    grant = asyncio.ensure_future(others[0].credits.grant_month())
    async with standing_before(others[0], "insert_grants"):
        change = asyncio.ensure_future(
            others[1].plans.change("pro", changes=PlanChange(monthly_credits=7), actor=ACTOR)
        )
        await until_somebody_waits(server)
    await asyncio.gather(grant, change)
    clock.at = moment("2026-11-01")
    await others[2].credits.grant_month()

    assert await granted(others[2], organization) == [("cycle-2026-10", 100), ("cycle-2026-11", 7)]


async def granted_by_two_servers(server: PostgresServer, others: list[Store]) -> int:
    """The balance after two servers granted a month at once: the second found the organization before the first had
    committed, and waited for its lock."""
    organization = await a_subscriber(others[0], 100)
    first = asyncio.ensure_future(others[0].credits.grant_month())
    async with standing_before(others[0], "insert_grants"):
        second = asyncio.ensure_future(others[1].credits.grant_month())
        await until_somebody_waits(server)
    await asyncio.gather(first, second)
    return (await others[2].credits.find(organization.id)).balance()


async def test_two_servers_grant_a_month_once(server: PostgresServer, others: list[Store]) -> None:
    """The second meets the grant of the first."""
    assert await granted_by_two_servers(server, others) == 100
    assert await others[2].recount.find() == []


async def test_the_key_of_a_grant_holds_the_second_server_back(
    server: PostgresServer, others: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: servers that do not ask whether the grant is new grant the month twice."""

    def trusting(name: str, members: Any, **named: Any) -> Any:
        made = yield from rows_if(name, members, **named)
        return [member[0] for member in members] if name == "insert_grants" else made

    monkeypatch.setattr("fairlane.store.credits.rows_if", trusting)

    assert await granted_by_two_servers(server, others) == 200
