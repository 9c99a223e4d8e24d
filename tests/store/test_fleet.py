"""The whole installation at one moment."""

from fairlane.model.leases import Failed
from fairlane.model.organizations import OrganizationChange
from fairlane.store import Store
from tests.builders import (
    ACTOR,
    FRAGILE,
    IMAGE,
    LIMITED,
    PAGE,
    Worker,
    a_call,
    a_server,
    a_session,
    a_task,
    a_worker,
    an_organization,
    submitted,
)
from tests.store.databases import Clock


async def test_an_empty_installation_reads_zero(store: Store) -> None:
    """Every type of the application is there, with nothing."""
    fleet = await store.fleet.find()

    assert (fleet.organizations, fleet.slots_used, fleet.slots_max, fleet.runnable, fleet.workers) == (0, 0, 0, 0, 0)
    assert set(fleet.loads) == {PAGE, IMAGE, LIMITED, FRAGILE}
    assert {load.ready + load.waiting + load.processing + load.calls for load in fleet.loads.values()} == {0}
    assert fleet.tallies == {}


async def test_runnable_is_what_more_workers_would_start(store: Store) -> None:
    """Ready tasks up to the free slots of each organization; none of one that is full, paused or without a limit."""
    await store.plans.create("blank", slots=None, queue_limit=10, weight=1, actor=ACTOR)
    capped, roomy, full, paused, blank = [
        await an_organization(store, slots=slots, plan=plan)
        for slots, plan in ((2, "default"), (9, "default"), (1, "default"), (5, "default"), (None, "blank"))
    ]
    worker = await a_worker(store)
    await submitted(store, full, a_task(), a_task())
    await worker.take(1)
    for organization in (capped, roomy, paused, blank):
        await submitted(store, organization, *[a_task() for _ in range(4)])
    await store.organizations.change(paused.name, changes=OrganizationChange(paused=True), actor=ACTOR)

    fleet = await store.fleet.find()

    assert fleet.runnable == 2 + 4
    assert (fleet.slots_used, fleet.slots_max, fleet.organizations) == (1, 2 + 9 + 1 + 5, 5)
    assert fleet.loads[PAGE].ready == 1 + 4 * 4


async def test_types_tell_what_there_is_of_them(store: Store, clock: Clock) -> None:
    """Ready, waiting, running, called; how old the oldest is; whether anybody serves them."""
    organization, server = await an_organization(store, slots=5), await a_server(store)
    session = a_session([PAGE], places=4)
    await store.sessions.open(session)
    worker = Worker(store, session)
    await submitted(store, organization, a_task(), a_task(), a_task(IMAGE))
    clock.advance(2)
    await worker.settle((await worker.take(2))[0], Failed(cause="x", pause_ms=60_000))
    clock.advance(1)
    await submitted(store, organization, a_task(IMAGE, priority=9))
    call = a_call(organization, server)
    await store.calls.begin(call)

    fleet = await store.fleet.find()

    page, image = fleet.loads[PAGE], fleet.loads[IMAGE]
    assert (page.ready, page.waiting, page.processing, page.calls, page.served) == (0, 1, 1, 1, True)
    assert (image.ready, image.waiting, image.processing, image.served) == (2, 0, 0, False)
    assert (page.oldest_ready_ms, image.oldest_ready_ms) == (None, 3_000)
    assert (fleet.workers, fleet.places, fleet.places_used, fleet.calls_ready) == (1, 4, 1, 1)
    await store.calls.abandon(organization.id, call.id)


async def test_a_worker_uses_no_more_places_than_it_has(store: Store) -> None:
    """One that holds more leads nobody to think that another's place is taken."""
    organization = await an_organization(store, slots=3)
    full, free = [Worker(store, a_session(places=1)) for _ in range(2)]
    for worker in (full, free):
        await store.sessions.open(worker.session)
    await submitted(store, organization, a_task(), a_task())
    await full.take(2)

    fleet = await store.fleet.find()

    assert (fleet.places, fleet.places_used) == (2, 1)


async def test_what_was_to_start_later_waits_from_then(store: Store, clock: Clock) -> None:
    """Not from its acceptance: nobody could have started it."""
    organization, worker = await an_organization(store, slots=5), await a_worker(store)
    await submitted(store, organization, a_task(FRAGILE, delay_seconds=3_600))
    clock.advance(3_600)
    await store.upkeep.promote()
    clock.advance(3)

    before = await store.fleet.find()
    await worker.take_one()

    assert before.loads[FRAGILE].oldest_ready_ms == 3_000
    assert (await store.fleet.find()).tallies[FRAGILE].waits.sum_seconds == 3.0


async def test_tallies_count_what_this_server_saw(store: Store, clock: Clock) -> None:
    """Ends by outcome; every first wait and every run in a histogram that only grows from bound to bound."""
    organization, worker = await an_organization(store, slots=5), await a_worker(store)
    await submitted(store, organization, a_task(FRAGILE), a_task(FRAGILE))
    clock.advance(3)
    first, second = await worker.take(2)
    clock.advance(5)
    await worker.settle(first)
    await worker.settle(second, Failed(cause="x"))

    tally = (await store.fleet.find()).tallies[FRAGILE]

    assert (tally.completed, tally.failed) == (1, 1)
    assert (tally.waits.count, tally.waits.sum_seconds) == (2, 6.0)
    assert (tally.runs.count, tally.runs.sum_seconds) == (2, 10.0)
    for durations, true_seconds in ((tally.waits, 3.0), (tally.runs, 5.0)):
        counts = [count for _, count in durations.up_to]
        assert counts == sorted(counts)
        assert all(count == (2 if seconds >= true_seconds else 0) for seconds, count in durations.up_to)
