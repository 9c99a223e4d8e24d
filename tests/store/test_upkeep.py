"""Promotion and purge: at their moment, in bounded rounds, and leaving nothing behind."""

from fairlane.model.leases import Failed, Report
from fairlane.model.organizations import OrganizationChange
from fairlane.model.tasks import Accepted
from fairlane.store import Store
from tests.builders import ACTOR, FRAGILE, a_task, a_worker, an_organization, hears, submitted
from tests.store.databases import Clock, Database

DAY = 86_400


async def test_promotion_moves_what_is_due_in_bounded_rounds(store: Store, clock: Clock) -> None:
    """At most 500 tasks a round, over all organizations, until none is due."""
    worker = await a_worker(store)
    for _ in range(2):
        organization = await an_organization(store, slots=300)
        await store.tasks.submit(organization.id, [a_task() for _ in range(300)])
    leases = await worker.take(600)
    await worker.exchange(*[Report(lease.id, Failed(cause="x", pause_ms=1_000)) for lease in leases])
    clock.advance(1)

    assert [await store.upkeep.promote() for _ in range(3)] == [500, 100, 0]


async def test_promotion_wakes_who_waits_for_the_type(store: Store, clock: Clock) -> None:
    """A promoted task is announced like a new one."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=1_000))
    heard = hears(store, "startable")
    clock.advance(1)

    await store.upkeep.promote()

    assert heard == [frozenset({"PAGE"})]


async def test_a_promoted_task_of_a_paused_organization_waits_on(store: Store, clock: Clock) -> None:
    """It is ready, but nothing starts."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=1_000))
    await store.organizations.change(organization.name, changes=OrganizationChange(paused=True), actor=ACTOR)
    clock.advance(1)

    assert await store.upkeep.promote() == 1
    assert await worker.take(1) == []


async def test_purge_deletes_at_the_end_of_the_retention(store: Store, clock: Clock) -> None:
    """A millisecond before, the finished task is there; then it and its key are gone, and the key is free."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(key="k"))
    await worker.settle(await worker.take_one())
    clock.at += DAY * 1_000 - 1

    early = await store.upkeep.purge(), await store.tasks.find(organization.id, "k") is not None
    clock.at += 1
    purged = await store.upkeep.purge(), await store.upkeep.purge()

    assert early == (0, True)
    assert purged == (1, 0)
    assert await store.tasks.find(organization.id, task) is None
    assert await store.tasks.find(organization.id, "k") is None
    (answer,) = await store.tasks.submit(organization.id, [a_task(key="k")])
    assert isinstance(answer, Accepted)


async def test_purge_leaves_what_is_not_over(store: Store, clock: Clock) -> None:
    """However old, a task that waits, runs or pauses is kept."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    tasks = await submitted(store, organization, a_task(), a_task(), a_task())
    lease, _ = await worker.take(2)
    await worker.settle(lease, Failed(cause="x", pause_ms=100 * DAY * 1_000))
    clock.advance(10 * DAY)

    assert await store.upkeep.purge() == 0
    assert [await store.tasks.find(organization.id, task) is not None for task in tasks] == [True] * 3


async def test_purge_works_in_bounded_rounds(store: Store, clock: Clock) -> None:
    """At most 500 tasks a round."""
    organization, worker = await an_organization(store, slots=600), await a_worker(store)
    await store.tasks.submit(organization.id, [a_task(FRAGILE) for _ in range(600)])
    leases = await worker.take(600)
    await worker.exchange(*[Report(lease.id, Failed(cause="x")) for lease in leases])
    clock.advance(DAY)

    assert [await store.upkeep.purge() for _ in range(3)] == [500, 100, 0]


async def test_purge_leaves_no_row_behind(database: Database) -> None:
    """Task, outcome and key go together; the running totals stay."""
    store, clock = database.store, database.clock
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(key="k"), a_task())
    for lease in await worker.take(2):
        await worker.settle(lease)
    clock.advance(DAY)
    await store.upkeep.purge()

    left = {
        table: database.rows(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("task", "outcome", "idempotency", "queue_entry", "waiting", "lease", "turn")
    }

    assert set(left.values()) == {0}, left
    assert (await store.organizations.find(organization.name)).completed == 2


async def test_retention_is_a_setting(database: Database) -> None:
    """A shorter retention purges sooner."""
    await database.close()
    store = await database.open(retention_seconds=60)
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    await worker.settle(await worker.take_one())
    database.clock.advance(60)

    assert await store.upkeep.purge() == 1


async def test_operators_see_what_upkeep_did(store: Store, clock: Clock) -> None:
    """The size, the newest backup among other changes, and since when every organization was recounted."""
    await an_organization(store)
    before = await store.upkeep.facts(recounted=0, differences=0)
    await store.trail.write(ACTOR, "backup.made", "night.db", {"path": "/backups/night.db"})
    made = clock()
    await store.recount.audit_next()
    await store.organizations.change(
        (await an_organization(store)).name, changes=OrganizationChange(paused=True), actor=ACTOR
    )

    after = await store.upkeep.facts(recounted=store.recount.audited, differences=store.recount.differences)

    assert before.bytes > 4_096
    assert (before.backup_at, before.recounted_since) == (None, None)
    assert (after.backup_at, after.backup_to) == (made, "night.db")
    assert (after.recounted, after.differences) == (1, 0)
    assert after.recounted_since is None, "one was never recounted"
