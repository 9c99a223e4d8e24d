"""The whole installation minute by minute: what is sampled, what is told of it, and what counts as trouble."""

from fairlane.model.leases import Failed
from fairlane.model.pulses import Overview, TroubleGrade, TroubleKind
from fairlane.store import Store
from tests.builders import FRAGILE, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock

MINUTE = 60_000


async def until_the_sample(store: Store, clock: Clock) -> None:
    """The end of this minute, sampled as upkeep does; then the next minute has begun."""
    clock.at = clock.at // MINUTE * MINUTE + MINUTE - 500
    await store.pulses.sample()
    clock.at += 500


async def seen(store: Store) -> Overview:
    """What an operator sees of a server without trouble of its own."""
    return await store.pulses.overview(worker_trouble=None, disk_full=False)


def kinds(overview: Overview) -> list[TroubleKind]:
    """What is wrong, the most urgent first."""
    return [one.kind for one in overview.troubles]


async def test_each_minute_has_what_happened_in_it(store: Store, clock: Clock) -> None:
    """Over all organizations: what was submitted, started and ended, and how long it had waited."""
    await store.pulses.begin()
    first, second = await an_organization(store, slots=1), await an_organization(store, slots=1)
    worker = await a_worker(store)
    await submitted(store, first, a_task(), a_task())
    await submitted(store, second, a_task(FRAGILE))
    clock.advance(10)
    one, other = sorted(await worker.take(2), key=lambda lease: lease.task_type == FRAGILE)
    await worker.settle(one)
    await until_the_sample(store, clock)
    await worker.renew(leases=[other.id])
    await worker.settle(other, Failed(cause="x"))
    clock.advance(20)

    minutes = (await seen(store)).minutes

    done, running = minutes[-2:]
    assert len(minutes) == 60
    assert [(one.submitted, one.started) for one in (done, running)] == [(3, 2), (0, 0)]
    assert [(one.completed, one.failed) for one in (done, running)] == [(1, 0), (0, 1)]
    assert done.wait_p50_ms is not None
    assert 7_000 < done.wait_p50_ms < 14_000
    assert (running.wait_p50_ms, running.queued) == (None, 1)
    assert running.seconds < 60


async def test_what_no_server_saw_is_a_gap(store: Store, clock: Clock) -> None:
    """A minute without a sample, and the counts of the one after it, which would be those of several minutes."""
    organization = await an_organization(store)
    await until_the_sample(store, clock)
    clock.advance(120)
    await submitted(store, organization, a_task())
    await until_the_sample(store, clock)

    minutes = (await seen(store)).minutes

    gap, after = minutes[-3:-1]
    assert (gap.queued, gap.submitted) == (None, None)
    assert (after.queued, after.submitted, after.started) == (1, None, None)


async def test_a_sample_that_comes_late_leaves_no_gap(store: Store, clock: Clock) -> None:
    """A busy server samples a minute after its end; what happens then is seen at once, not a minute later."""
    organization = await an_organization(store)
    await until_the_sample(store, clock)
    await submitted(store, organization, a_task())
    clock.at = clock.at // MINUTE * MINUTE + MINUTE + 4_000
    await store.pulses.sample()
    await submitted(store, organization, a_task(), a_task())

    late, running = (await seen(store)).minutes[-2:]

    assert (late.submitted, running.submitted) == (1, 2)


async def test_a_server_that_began_at_the_end_of_a_minute_counts_the_next(store: Store, clock: Clock) -> None:
    """There is no sample of the minute in which it began."""
    organization = await an_organization(store)
    clock.at = clock.at // MINUTE * MINUTE + MINUTE - 200
    await store.pulses.begin()
    clock.advance(2)
    await submitted(store, organization, a_task())

    assert (await seen(store)).minutes[-1].submitted == 1


async def test_a_sample_that_is_repeated_counts_once(store: Store, clock: Clock) -> None:
    """A minute that is sampled twice has what had happened by the second time."""
    await store.pulses.begin()
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    for _ in range(2):
        await submitted(store, organization, a_task())
        await worker.take_one()
        await store.pulses.sample()
    clock.at = clock.at // MINUTE * MINUTE + MINUTE

    minute = (await seen(store)).minutes[-2]

    assert (minute.submitted, minute.started) == (2, 2)


async def test_old_samples_are_purged(store: Store, clock: Clock) -> None:
    """After two days, and not before."""
    await until_the_sample(store, clock)
    clock.advance(2 * 86_400 - 60)
    assert await store.pulses.purge() == 0

    clock.advance(120)

    assert await store.pulses.purge() == 1


async def test_all_is_well_without_trouble(store: Store, clock: Clock) -> None:
    """Work that waits for a slot or a worker's place is no trouble."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization, a_task(), a_task())
    await worker.take_one()
    clock.advance(20)

    assert kinds(await seen(store)) == []


async def test_a_type_without_a_worker_is_trouble_since_its_oldest_task(store: Store, clock: Clock) -> None:
    """Without any worker there is one sentence for all types; with one, the type is named."""
    organization = await an_organization(store, slots=5)
    await submitted(store, organization, a_task(), a_task(FRAGILE))
    began = clock.at
    clock.advance(90)
    [nothing] = (await seen(store)).troubles
    await a_worker(store, [FRAGILE])

    [trouble] = (await seen(store)).troubles

    assert (nothing.kind, nothing.since, nothing.message) == (
        TroubleKind.NO_WORKERS, began, "No worker is connected: 2 tasks wait",
    )  # fmt: skip
    assert (trouble.kind, trouble.since) == (TroubleKind.TYPE_UNSERVED, began)
    assert trouble.message.endswith(": 1 task waits")


async def test_failures_that_rise_are_trouble_at_once(store: Store, clock: Clock) -> None:
    """With the minute in which they began; a few, or as many as always, are not."""
    await store.pulses.begin()
    organization, worker = await an_organization(store, slots=50), await a_worker(store, [FRAGILE], lease_seconds=900)

    async def end(completed: int, failed: int) -> None:
        await submitted(store, organization, *[a_task(FRAGILE) for _ in range(completed + failed)])
        for number, lease in enumerate(await worker.take(completed + failed)):
            await (worker.settle(lease) if number < completed else worker.settle(lease, Failed(cause="x")))

    for _ in range(6):
        await end(20, 0)
        await until_the_sample(store, clock)
    await end(0, 9)
    few = await seen(store)
    await end(0, 3)
    began = clock.at // MINUTE * MINUTE

    [trouble] = (await seen(store)).troubles

    assert kinds(few) == []
    assert (trouble.kind, trouble.since) == (TroubleKind.FAILURES_RISING, began)
    assert trouble.message == "12 tasks failed in the last 5 minutes: 13 % of those that ended"
    assert trouble.grade is TroubleGrade.PROBLEM
    await until_the_sample(store, clock)
    await end(20, 0)
    assert [one.grade for one in (await seen(store)).troubles] == [TroubleGrade.PROBLEM]
    await until_the_sample(store, clock)
    await end(20, 0)
    [cured] = (await seen(store)).troubles
    assert cured.grade is TroubleGrade.WARNING
    assert cured.message == "12 tasks failed in the last 5 minutes: 13 % of those that ended, none in the last minute"


async def test_troubles_are_in_the_order_of_urgency(store: Store) -> None:
    """What customers notice comes before what can be looked at later."""
    organization = await an_organization(store)
    await submitted(store, organization, a_task())
    await store.maintenance.set(True, actor="test")

    overview = await store.pulses.overview(worker_trouble="ImportError: no module", disk_full=True)

    assert kinds(overview) == [
        TroubleKind.DISK_FULL, TroubleKind.WORKERS_FAILING, TroubleKind.NO_WORKERS, TroubleKind.MAINTENANCE,
    ]  # fmt: skip
