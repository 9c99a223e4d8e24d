"""Run times and waits by task type and minute: what is sampled, for whom, and for how long it is kept."""

import pytest

from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization
from fairlane.model.usage import TypePoint, TypeUsage
from fairlane.store import Store
from fairlane.store.statements import CHUNK
from tests.builders import ACTOR, AGAIN, FRAGILE, PAGE, Worker, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database

MINUTE = 60_000
DAY = 1_440 * MINUTE
ROUGHLY = 0.42
"""Two buckets beside each other differ by this."""


async def until_the_sample(store: Store, clock: Clock) -> None:
    """The end of this minute, sampled as upkeep does; then the next minute has begun."""
    clock.at = clock.at // MINUTE * MINUTE + MINUTE - 500
    await store.usage.sample()
    clock.at += 500


async def run(
    store: Store, clock: Clock, organization: Organization, worker: Worker, kind: str, *, waits: float, runs: float,
    fails: bool = False,
) -> None:  # fmt: skip
    """A task of this type that waits and runs for these seconds."""
    await submitted(store, organization, a_task(kind))
    clock.advance(waits)
    lease = await worker.take_one()
    clock.advance(runs)
    await worker.settle(lease, *([Failed(cause="x", retry=False)] if fails else []))


async def by_type(store: Store, organization: Organization, start: int, *, step_ms: int = MINUTE) -> list[TypeUsage]:
    """What the organization sees from then to now."""
    return list((await store.type_usage.find(organization.id, start=start, end=None, step_ms=step_ms)).types)


def counts(point: TypePoint) -> tuple[int, int, int]:
    """Started, completed, failed."""
    return point.started, point.completed, point.failed


async def test_each_type_has_its_minutes(store: Store, clock: Clock) -> None:
    """Counts, waits and run times, in steps and in all; minutes without an attempt are left out."""
    start = clock.at // MINUTE * MINUTE
    organization, worker = await an_organization(store), await a_worker(store)
    await run(store, clock, organization, worker, PAGE, waits=1, runs=4)
    await run(store, clock, organization, worker, FRAGILE, waits=1, runs=1, fails=True)
    await until_the_sample(store, clock)
    await until_the_sample(store, clock)
    await run(store, clock, organization, worker, PAGE, waits=8, runs=16)
    during = await by_type(store, organization, start)
    await until_the_sample(store, clock)

    fragile, page = await by_type(store, organization, start)
    [_, whole] = await by_type(store, organization, start, step_ms=60 * MINUTE)

    assert [one.total.started for one in during] == [1, 1], "the minute that is not over is not in it"
    assert (fragile.task_type, counts(fragile.total)) == (FRAGILE, (1, 0, 1))
    assert (page.task_type, counts(page.total)) == (PAGE, (2, 2, 0))
    assert [(point.start - start) // MINUTE for point in page.points] == [0, 2]
    assert [point.run_p50_ms for point in page.points] == [pytest.approx(ms, rel=ROUGHLY) for ms in (4_000, 16_000)]
    assert [point.wait_p99_ms for point in page.points] == [pytest.approx(ms, rel=ROUGHLY) for ms in (1_000, 8_000)]
    assert fragile.total.run_p50_ms == pytest.approx(1_000, rel=ROUGHLY)
    assert page.total.run_p90_ms == pytest.approx(16_000, rel=ROUGHLY)
    assert page.total.run_p50_ms == pytest.approx(4_000, rel=ROUGHLY)
    assert [counts(point) for point in whole.points] == [(2, 2, 0)]


async def test_an_attempt_that_is_tried_again_is_no_failure(store: Store, clock: Clock) -> None:
    """It ran, its task has not failed, and its second start is no wait."""
    start = clock.at
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task())
    await worker.settle(await worker.take_one(), AGAIN)
    clock.advance(30)
    await store.upkeep.promote()
    await worker.settle(await worker.take_one())
    await until_the_sample(store, clock)

    [page] = await by_type(store, organization, start - start % MINUTE)

    assert counts(page.total) == (2, 1, 0)
    assert page.total.wait_p99_ms is not None
    assert page.total.wait_p99_ms <= 1


async def test_operators_see_all_organizations_together_and_each(store: Store, clock: Clock) -> None:
    """An organization sees only itself."""
    start = clock.at // MINUTE * MINUTE
    first, second, third = [await an_organization(store) for _ in range(3)]
    worker = await a_worker(store)
    for organization, runs in ((first, 1), (second, 4), (second, 4)):
        await run(store, clock, organization, worker, PAGE, waits=1, runs=runs)
    await until_the_sample(store, clock)
    asked = {"start": start, "end": None, "step_ms": MINUTE}

    everything = await store.type_usage.all(organization=None, **asked)  # type: ignore[arg-type]
    of_second = await store.type_usage.all(organization=second.name, **asked)  # type: ignore[arg-type]

    assert [counts(one.total) for one in everything.types] == [(3, 3, 0)]
    assert [counts(one.total) for one in of_second.types] == [(2, 2, 0)]
    assert await by_type(store, second, start) == list(of_second.types)
    assert await by_type(store, third, start) == []
    assert everything.end == start + MINUTE


async def test_two_servers_add_up(others: list[Store], clock: Clock) -> None:
    """Each writes what it saw itself, also two samples of one minute."""
    start = clock.at // MINUTE * MINUTE
    organization = await an_organization(others[0])
    workers = [await a_worker(store) for store in others[:2]]
    for store, worker in zip(others[:2], workers, strict=True):
        for _ in range(2):
            await run(store, clock, organization, worker, PAGE, waits=0, runs=1)
            await store.usage.sample()
    clock.at = start + MINUTE

    [page] = await by_type(others[2], organization, start)
    everything = await others[2].type_usage.all(organization=None, start=start, end=None, step_ms=MINUTE)

    assert counts(page.total) == (4, 4, 0)
    assert everything.types == (page,)


async def test_a_sample_that_fails_is_taken_again(database: Database, clock: Clock) -> None:
    """Nothing of it is there, nothing is lost, and usage and types agree."""
    start, store = clock.at // MINUTE * MINUTE, database.store
    organization, worker = await an_organization(store), await a_worker(store)
    await run(store, clock, organization, worker, PAGE, waits=1, runs=1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("fairlane.store.usage.write_type_usage", _broken)
        await store.usage.sample()
    await store.usage.sample()
    clock.at = start + MINUTE

    [page] = await by_type(store, organization, start)
    usage = await store.usage.find(organization.id, start=start, end=None, step_ms=MINUTE)

    assert counts(page.total) == (1, 1, 0)
    assert usage.total.started == 1
    assert (usage.total.wait_p50_ms, usage.total.run_ms) == (page.total.wait_p50_ms, 1_000)


def _broken(*arguments: object) -> None:
    raise RuntimeError("a test")


async def test_minutes_are_kept_for_a_day_and_erased_with_their_organization(database: Database, clock: Clock) -> None:
    """In bounded rounds; what all organizations did together stays for its day."""
    store, start = database.store, clock.at // MINUTE * MINUTE
    organization, worker = await an_organization(store), await a_worker(store)
    await run(store, clock, organization, worker, PAGE, waits=1, runs=1)
    await until_the_sample(store, clock)
    assert (await store.erasing.erase(organization.name, actor=ACTOR)).done
    erased = database.rows("SELECT organization_id FROM type_usage")
    clock.at = start + DAY
    early = await store.type_usage.purge()
    clock.at += MINUTE

    assert erased == [(0,)]
    assert early == 0
    assert await store.type_usage.purge() == 1 < CHUNK
