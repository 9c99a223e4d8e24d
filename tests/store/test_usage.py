"""History: what is sampled, what is told of it, and what is kept."""

import pytest

from fairlane.errors import KeyRefused
from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization
from fairlane.model.usage import Usage, UsagePoint
from fairlane.store import Store
from tests.builders import AGAIN, FRAGILE, a_call, a_server, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


async def the_usage(store: Store, organization: Organization, start: int, *, step_ms: int = MINUTE) -> Usage:
    """From then to now."""
    return await store.usage.find(organization.id, start=start, end=store.now(), step_ms=step_ms)


def counts(point: UsagePoint) -> tuple[int, int, int, int]:
    """Submitted, started, completed, failed."""
    return point.submitted, point.started, point.completed, point.failed


async def until_the_sample(store: Store, clock: Clock) -> None:
    """The end of this minute, sampled as upkeep does; then the next minute has begun."""
    clock.at = clock.at // MINUTE * MINUTE + MINUTE - 500
    await store.usage.sample()
    clock.at += 500


async def test_each_minute_tells_what_happened_in_it(store: Store, clock: Clock) -> None:
    """Counts of tasks and attempts, how long they waited and ran, and the seconds of slots."""
    start = clock.at
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization, a_task(), a_task(FRAGILE))
    clock.advance(10)
    lease = await worker.take_one()
    clock.advance(20)
    await worker.settle(lease)
    await until_the_sample(store, clock)
    lease = await worker.take_one()
    clock.advance(5)
    await worker.settle(lease, Failed(cause="x"))
    await until_the_sample(store, clock)
    await until_the_sample(store, clock)

    usage = await the_usage(store, organization, start)

    first, second, third = usage.points
    assert [counts(point) for point in usage.points] == [(2, 1, 1, 0), (0, 1, 0, 1), (0, 0, 0, 0)]
    assert counts(usage.total) == (2, 2, 1, 1)
    assert [point.run_ms for point in usage.points] == [20_000, 5_000, 0]
    assert [point.slot_ms for point in usage.points] == [20_000, 5_000, 0]
    assert first.wait_p50_ms == pytest.approx(10_000, rel=0.42)
    assert second.wait_p50_ms == pytest.approx(60_000, rel=0.42)
    assert (third.wait_p50_ms, third.wait_p99_ms) == (None, None)
    # Ten seconds without a claim, then 20 with every slot taken and work ready, then nobody claims.
    assert first.plan_limited_ms == 20_000
    assert first.worker_limited_ms == 39_500
    assert second.worker_limited_ms == 500


async def test_waits_of_the_same_length_add_up_over_the_minutes(store: Store, clock: Clock) -> None:
    """Each minute has its own, and the whole span all of them, although they are counted in one place."""
    start = clock.at
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    for _ in range(2):
        for _ in range(2):
            await submitted(store, organization, a_task())
            clock.advance(2)
            await worker.settle(await worker.take_one())
        await until_the_sample(store, clock)

    usage = await the_usage(store, organization, start)

    assert [point.wait_p50_ms for point in usage.points] == [pytest.approx(2_000, rel=0.42)] * 2
    assert usage.total.started == 4
    assert usage.total.wait_p99_ms == pytest.approx(2_000, rel=0.42)


async def test_a_second_attempt_waits_no_more(store: Store, clock: Clock) -> None:
    """It is an attempt that started, but only the first start ends a task's wait."""
    start = clock.at
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    await worker.settle(await worker.take_one(), AGAIN)
    clock.advance(30)
    await worker.settle(await worker.take_one())
    await until_the_sample(store, clock)

    total = (await the_usage(store, organization, start)).total

    assert (total.submitted, total.started, total.completed) == (1, 2, 1)
    assert total.wait_p99_ms == 1


async def test_what_is_not_sampled_yet_is_told_up_to_now(store: Store, clock: Clock) -> None:
    """Totals and integrals of the running minute come from the organization itself."""
    start = clock.at
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await until_the_sample(store, clock)
    await submitted(store, organization, a_task(), a_task())
    await worker.take_one()
    clock.advance(7)

    total = (await the_usage(store, organization, start)).total

    assert (total.submitted, total.slot_ms, total.plan_limited_ms) == (2, 7_000, 7_000)


async def test_limited_times_are_exact_for_any_sampled_span(store: Store, clock: Clock) -> None:
    """A day of one task in the only slot, with one behind it: limited by the plan all day, to the millisecond."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization, a_task(), a_task())
    start = clock.at
    await worker.take_one()
    for _ in range(24):
        clock.at += HOUR
        await store.usage.sample()

    usage = await the_usage(store, organization, start, step_ms=HOUR)

    assert usage.total.plan_limited_ms == usage.total.slot_ms == DAY
    assert {point.plan_limited_ms for point in usage.points} == {HOUR}


async def test_a_call_uses_its_slot(store: Store, clock: Clock) -> None:
    """From its admission, also while nothing else of its organization moves."""
    organization, server = await an_organization(store, slots=2), await a_server(store)
    await store.calls.begin(a_call(organization, server))
    await until_the_sample(store, clock)
    start = clock.at
    await until_the_sample(store, clock)
    clock.advance(30)

    usage = await the_usage(store, organization, start)

    # The sample before was taken half a second before its minute ended.
    assert (usage.total.slot_ms, usage.total.submitted) == (90_500, 0)
    await store.calls.abandon(organization.id, (await store.slots.find(organization.id, after="", most=1)).slots[0].id)


async def test_only_what_moved_is_written(database: Database, clock: Clock) -> None:
    """A row where something happened, one for many samples of a minute, none for the rest."""
    store = database.store
    busy, idle = await an_organization(store), await an_organization(store)
    worker = await a_worker(store)
    await until_the_sample(store, clock)
    before = len(database.rows("SELECT 1 FROM usage"))
    await submitted(store, busy)
    for _ in range(3):
        await store.usage.sample()
    lease = await worker.take_one()
    await until_the_sample(store, clock)
    await until_the_sample(store, clock)
    await worker.settle(lease)
    await until_the_sample(store, clock)
    await until_the_sample(store, clock)

    rows = database.rows("SELECT organization_id FROM usage")

    assert before == 2
    assert sorted(row[0] for row in rows) == [busy.id] * 4 + [idle.id]


async def test_nobody_elses_history(store: Store, clock: Clock) -> None:
    """One organization's work is in its own history alone; one that is not there has none."""
    start = clock.at
    organization, other = await an_organization(store), await an_organization(store)
    await submitted(store, organization)
    await until_the_sample(store, clock)

    assert counts((await the_usage(store, other, start)).total) == (0, 0, 0, 0)
    with pytest.raises(KeyRefused):
        await store.usage.find(4711, start=start, end=store.now(), step_ms=MINUTE)


async def test_history_survives_a_crash(database: Database, clock: Clock) -> None:
    """Totals and limited times are exact; only what this server saw of attempts since the last sample is lost."""
    start = clock.at
    organization, worker = await an_organization(database.store, slots=1), await a_worker(database.store)
    await submitted(database.store, organization, a_task(), a_task(), a_task())
    await worker.settle(await worker.take_one())
    await until_the_sample(database.store, clock)
    await worker.settle(await worker.take_one())
    store = await database.crash()
    await until_the_sample(store, clock)

    total = (await the_usage(store, organization, start)).total

    assert (total.submitted, total.completed, total.started) == (3, 2, 1)


async def test_what_was_sampled_is_not_counted_twice(store: Store, clock: Clock) -> None:
    """However often and however closely samples follow each other."""
    start = clock.at
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    for _ in range(3):
        await submitted(store, organization, a_task(), a_task())
        for lease in await worker.take(2):
            clock.advance(1)
            await worker.settle(lease)
        await store.usage.sample()
        await store.usage.sample()
    await until_the_sample(store, clock)

    total = (await the_usage(store, organization, start)).total

    assert (total.started, total.completed) == (6, 6)
    assert total.run_ms == 3 * (1_000 + 2_000)


async def test_history_is_thinned_after_two_days_and_deleted_at_its_end(database: Database, clock: Clock) -> None:
    """Every minute for two days, then the last one of each hour; past the retention the last row alone, so that history
    goes on from there. Nothing of the totals changes by thinning."""
    clock.at = clock.at // DAY * DAY
    start = clock.at
    store, organization = database.store, await an_organization(database.store)
    for _ in range(180):
        await submitted(store, organization)
        await until_the_sample(store, clock)
    whole = (await the_usage(store, organization, start, step_ms=HOUR)).points
    clock.at = start + 2 * DAY + 2 * HOUR + HOUR // 2  # the hour that is cut in two is kept
    fine = await store.usage.purge()
    thinned = (await store.usage.find(organization.id, start=start, end=start + 3 * HOUR, step_ms=HOUR)).points

    assert fine == 118
    assert len(database.rows("SELECT 1 FROM usage")) == 180 - 118
    assert [counts(point) for point in thinned] == [counts(point) for point in whole] == [(60, 0, 0, 0)] * 3
    assert await store.usage.purge() == 0
    clock.at = start + 89 * DAY
    await submitted(store, organization)
    await store.usage.sample()
    clock.at = start + 91 * DAY
    assert await store.usage.purge() == 61
    assert len(database.rows("SELECT 1 FROM usage")) == 2
    await submitted(store, organization)
    later = await store.usage.find(organization.id, start=clock.at - DAY, end=clock.at, step_ms=DAY)
    assert later.total.submitted == 1
    kept = await store.usage.find(organization.id, start=start + HOUR, end=clock.at, step_ms=DAY)
    assert kept.total.submitted == 2, "what is not kept happened before its first row, not in it"


async def test_the_record_counts_a_wait_from_the_moment_a_task_might_start(store: Store, clock: Clock) -> None:
    """Advice on slots is not misled by delays that somebody asked for."""
    begun = clock.at
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(), a_task(delay_seconds=60))
    clock.advance(60)
    await store.upkeep.promote()
    clock.advance(5)
    for lease in [await worker.take_one(), await worker.take_one()]:
        await worker.settle(lease)

    ran = (await store.usage.record(organization.id, start=begun, most=10)).ran

    assert [(one.started_at - one.ready_at) for one in ran] == [65_000, 5_000]


async def test_a_young_organization_is_judged_by_its_own_time(store: Store, clock: Clock) -> None:
    """Limited for half of its hour is half, not a moment of the week that is asked for."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    begun = clock.at
    clock.at += HOUR // 2
    await submitted(store, organization, a_task(), a_task())
    await worker.take_one()
    clock.at += HOUR // 2

    total = (await store.usage.record(organization.id, start=begun - 7 * DAY, most=10)).total

    assert (total.start, total.end) == (begun, clock.at)
    assert total.plan_limited_ms == HOUR // 2
