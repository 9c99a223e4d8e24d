"""How long a task waited for a slot and for a worker: exact, and no more than it was ready in the queue."""

from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization, OrganizationChange
from fairlane.model.tasks import Waited
from fairlane.store import Store
from tests.builders import ACTOR, AGAIN, DONE, IMAGE, PAGE, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock


async def waited(store: Store, organization: Organization, task: str) -> Waited | None:
    """What the task's organization is told; operators are told the same."""
    view, facts = await store.tasks.find(organization.id, task), await store.overview.task(task)
    assert view is not None
    told = None if view.waited is None else (view.waited.slot_ms, view.waited.worker_ms)
    assert (facts.slot_wait_ms, facts.worker_wait_ms) == (told or (None, None))
    return view.waited


async def test_a_task_waits_for_a_slot_and_for_a_worker(store: Store, clock: Clock) -> None:
    """Each of the two for as long as it was the reason; while it runs, and when it has ended."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    clock.advance(9)
    (first,) = await submitted(store, organization)
    clock.advance(2)
    lease = await worker.take_one()
    clock.advance(1)
    (second,) = await submitted(store, organization)
    queued = await waited(store, organization, second)
    clock.advance(3)
    await worker.settle(lease, DONE)
    clock.advance(4)
    lease = await worker.take_one()

    assert queued is None
    assert await waited(store, organization, first) == Waited(0, 2_000)
    assert await waited(store, organization, second) == Waited(3_000, 4_000)
    tally = (await store.fleet.find()).tallies[PAGE]
    assert (tally.slot_wait_seconds, tally.worker_wait_seconds) == (3, 6)
    clock.advance(5)
    await worker.settle(lease, DONE)
    assert await waited(store, organization, second) == Waited(3_000, 4_000)


async def test_only_the_time_in_which_it_could_start_counts(store: Store, clock: Clock) -> None:
    """Not the delay before it, and not what its organization was paused."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(delay_seconds=10))
    clock.advance(10)
    await store.upkeep.promote()
    clock.advance(1)
    for paused in (True, False):
        await store.organizations.change(organization.name, changes=OrganizationChange(paused=paused), actor=ACTOR)
        clock.advance(7)
    await worker.take_one()

    assert await waited(store, organization, task) == Waited(0, 8_000)


async def test_a_task_that_higher_priorities_pass_waits_for_its_slot(store: Store, clock: Clock) -> None:
    """All that time every slot was in use, whoever had it: its wait is what passed, to the millisecond."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization)
    lease = await worker.take_one()
    (last,) = await submitted(store, organization, a_task(priority=1))
    for seconds in (1.5, 2.25):
        await submitted(store, organization, a_task(IMAGE, priority=9))
        clock.advance(seconds)
        await worker.settle(lease, DONE)
        lease = await worker.take_one()
    clock.advance(0.001)
    await worker.settle(lease, DONE)
    await worker.take_one()

    assert await waited(store, organization, last) == Waited(3_751, 0)


async def test_waits_of_all_attempts_add_up(store: Store, clock: Clock) -> None:
    """Pauses between attempts do not count; the list of attempts tells each of them alone."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    (task,) = await submitted(store, organization)
    clock.advance(1)
    lease = await worker.take_one()
    await worker.settle(lease, AGAIN)
    clock.advance(2)
    lease = await worker.take_one()
    await worker.settle(lease, Failed(cause="x", pause_ms=60_000))
    clock.advance(60)
    await store.upkeep.promote()
    clock.advance(4)
    lease = await worker.take_one()
    clock.advance(8)

    attempts = (await store.attempts.find(organization.id, task)).attempts
    assert [one.waited for one in attempts] == [Waited(0, 1_000), Waited(0, 2_000), Waited(0, 4_000)]
    await worker.settle(lease, DONE)
    assert await waited(store, organization, task) == Waited(0, 7_000)
    completed = (await store.attempts.find(organization.id, task)).attempts[-1]
    assert completed.waited == Waited(0, 4_000)


async def test_a_task_that_ends_in_the_queue_did_not_wait_to_start(store: Store, clock: Clock) -> None:
    """As one that is canceled there."""
    organization = await an_organization(store)
    (task,) = await submitted(store, organization)
    clock.advance(1)
    await store.tasks.cancel(organization.id, task)

    assert await waited(store, organization, task) is None
