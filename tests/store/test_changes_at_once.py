"""What operators and customers change through two servers at once: one waits for the other, and nothing is lost.

PostgreSQL only, because SQLite has one writer.
"""

import asyncio

import pytest

from fairlane.errors import InUse, NameTaken, NotFound, Refusal, TaskExists, ValidationRefused
from fairlane.model.organizations import Organization, OrganizationChange, Overrides, PlanChange
from fairlane.model.tasks import Accepted
from fairlane.model.webhooks import Delivery
from fairlane.settings import Settings
from fairlane.store import Store, new_id
from fairlane.store.deliveries import OPEN_TESTS_MOST
from tests.builders import a_catalogue, a_task, a_webhook, an_organization
from tests.store.databases import PostgresServer, standing_before, until_somebody_waits


async def test_two_changes_of_a_plan_are_both_kept(server: PostgresServer, others: list[Store]) -> None:
    """Each writes every limit; the second reads what the first wrote."""
    await others[0].plans.create("p", slots=10, queue_limit=100, weight=1, actor="x")

    first = asyncio.ensure_future(others[0].plans.change("p", changes=PlanChange(slots=2), actor="x"))
    async with standing_before(others[0], "update_plan"):
        second = asyncio.ensure_future(others[1].plans.change("p", changes=PlanChange(weight=7), actor="x"))
        await until_somebody_waits(server)
    await asyncio.gather(first, second)

    plan = await others[2].plans.find("p")
    assert (plan.slots, plan.queue_limit, plan.weight) == (2, 100, 7)


async def test_a_changed_plan_acts_on_every_server(others: list[Store]) -> None:
    """As soon as the change is answered, the next submit to another server is held to it."""
    await others[0].plans.create("p", slots=10, queue_limit=100, weight=1, actor="x")
    made = await others[0].organizations.create("o", plan="p", overrides=Overrides(), actor="x")
    tasks = [a_task(priority=3), a_task(priority=4)]
    before = await others[1].tasks.submit(made.id, [a_task(priority=4)])

    await others[0].plans.change("p", changes=PlanChange(priority_limit=3), actor="x")
    after = await others[1].tasks.submit(made.id, tasks)

    assert [type(answer) for answer in (*before, *after)] == [Accepted, Accepted, ValidationRefused]


@pytest.mark.parametrize("created", [True, False])
async def test_who_comes_to_a_plan_that_changes_has_its_new_limits(
    server: PostgresServer, others: list[Store], created: bool
) -> None:
    """The change waits for the organization that is put on it, and then finds it."""
    await others[0].plans.create("big", slots=50, queue_limit=100, weight=1, actor="x")
    if created:
        coming = others[0].organizations.create("o", plan="big", overrides=Overrides(), actor="x")
    else:
        await others[0].organizations.create("o", plan="default", overrides=Overrides(), actor="x")
        coming = others[0].organizations.change("o", changes=OrganizationChange(plan="big"), actor="x")

    first = asyncio.ensure_future(coming)
    async with standing_before(others[0], "insert_audit"):
        second = asyncio.ensure_future(others[1].plans.change("big", changes=PlanChange(slots=1), actor="x"))
        await until_somebody_waits(server)
    await asyncio.gather(first, second)

    found = await others[2].organizations.find("o")
    assert (found.plan, found.slots_max) == ("big", 1)


async def test_who_comes_to_a_plan_that_has_changed_has_its_new_limits(
    server: PostgresServer, others: list[Store]
) -> None:
    """The other way round: the organization waits for the change."""
    await others[0].plans.create("big", slots=50, queue_limit=100, weight=1, actor="x")

    first = asyncio.ensure_future(others[0].plans.change("big", changes=PlanChange(slots=1), actor="x"))
    async with standing_before(others[0], "insert_audit"):
        coming = others[1].organizations.create("o", plan="big", overrides=Overrides(), actor="x")
        second = asyncio.ensure_future(coming)
        await until_somebody_waits(server)
    await asyncio.gather(first, second)

    assert (await others[2].organizations.find("o")).slots_max == 1


async def test_the_same_organization_at_two_servers_at_once_is_made_once(
    server: PostgresServer, others: list[Store]
) -> None:
    """The second is told that the name is taken, and costs no number."""

    def made(store: Store, name: str = "same") -> "asyncio.Future[Organization]":
        return asyncio.ensure_future(store.organizations.create(name, plan="default", overrides=Overrides(), actor="x"))

    first = made(others[0])
    async with standing_before(others[0], "insert_organization"):
        second = made(others[1])
        await until_somebody_waits(server)

    assert (await first).name == "same"
    with pytest.raises(NameTaken):
        await second
    assert (await made(others[2], "next")).id == (await first).id + 1


async def test_a_plan_is_not_deleted_beneath_a_new_organization(server: PostgresServer, others: list[Store]) -> None:
    """Whoever comes first: the plan is in use, or it is not found."""
    for name in ("used", "gone"):
        await others[0].plans.create(name, slots=1, queue_limit=1, weight=1, actor="x")

    made = asyncio.ensure_future(others[0].organizations.create("a", plan="used", overrides=Overrides(), actor="x"))
    async with standing_before(others[0], "insert_audit"):
        deleted = asyncio.ensure_future(others[1].plans.delete("used", actor="x"))
        await until_somebody_waits(server)
    assert (await made).plan == "used"
    with pytest.raises(InUse):
        await deleted

    deleted = asyncio.ensure_future(others[0].plans.delete("gone", actor="x"))
    async with standing_before(others[0], "insert_audit"):
        made = asyncio.ensure_future(others[1].organizations.create("b", plan="gone", overrides=Overrides(), actor="x"))
        await until_somebody_waits(server)
    assert (await deleted).name == "gone"
    with pytest.raises(NotFound):
        await made


async def test_no_test_event_beyond_the_last_through_two_servers(server: PostgresServer, others: list[Store]) -> None:
    """The second waits for the first, which stands between its count and its row here."""
    organization = await an_organization(others[0])

    def owed(store: Store) -> "asyncio.Future[Delivery]":
        return asyncio.ensure_future(
            store.deliveries.create_test(organization.id, a_webhook(), delivery_id=new_id(), body="{}")
        )

    for _ in range(OPEN_TESTS_MOST - 1):
        await owed(others[0])
    first = owed(others[1])
    async with standing_before(others[1], "insert_test_delivery"):
        second = owed(others[2])
        await until_somebody_waits(server)

    assert (await first).task_id is None
    with pytest.raises(ValidationRefused):
        await second


async def test_one_key_through_two_servers_at_once_makes_one_task(server: PostgresServer, others: list[Store]) -> None:
    """The second waits for the first, and then finds that its key is used."""
    organization = await an_organization(others[0])

    def submitted(store: Store) -> "asyncio.Future[list[Accepted | Refusal]]":
        return asyncio.ensure_future(store.tasks.submit(organization.id, [a_task(key="same")]))

    first = submitted(others[0])
    async with standing_before(others[0], "insert_tasks"):
        second = submitted(others[1])
        await until_somebody_waits(server)

    [accepted], [refused] = await asyncio.gather(first, second)
    assert isinstance(accepted, Accepted)
    assert isinstance(refused, TaskExists)
    assert (await others[2].tasks.status(organization.id)).queued == 1


async def test_what_waited_for_a_lock_is_as_old_as_the_lock_let_it_become(server: PostgresServer) -> None:
    """A transaction that waits reads the clock after the wait: moments of one organization follow its commits."""
    stores = [await Store.open(Settings(database=server.address), a_catalogue()) for _ in range(2)]
    organization = await an_organization(stores[0])

    first = asyncio.ensure_future(stores[0].tasks.submit(organization.id, [a_task()]))
    async with standing_before(stores[0], "insert_tasks"):
        second = asyncio.ensure_future(stores[1].tasks.submit(organization.id, [a_task()]))
        await until_somebody_waits(server)
        [(waiting_at,)] = server.rows(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM pg_sleep(0.002)"
        )
    _, [accepted] = await asyncio.gather(first, second)
    await asyncio.gather(*(store.close() for store in stores))

    assert isinstance(accepted, Accepted)
    assert accepted.created_at >= waiting_at
