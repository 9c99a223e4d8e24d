"""Why a task waits: one test for each reason, which makes the situation; what is ahead; for how long."""

from collections.abc import Sequence

from fairlane.model.insight import Estimate, Wait, WaitReason
from fairlane.model.leases import Failed, Lease, Report
from fairlane.model.organizations import OrganizationChange
from fairlane.model.tasks import TaskStatus
from fairlane.store import Store, new_id
from fairlane.store.waits import AHEAD_MOST
from tests.builders import (
    ACTOR,
    DONE,
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


async def a_worker_of(store: Store, places: int, types: Sequence[str] | None = None) -> Worker:
    """A registered worker with so many places."""
    session = a_session(types, places=places)
    await store.sessions.open(session)
    return Worker(store, session)


async def the_wait(store: Store, organization_id: int, reference: str) -> Wait:
    """What is said of a task that is there."""
    found = await store.waits.find(organization_id, reference)
    assert found is not None
    return found


async def reason(store: Store, organization_id: int, reference: str) -> WaitReason:
    """The reason alone."""
    return (await the_wait(store, organization_id, reference)).reason


async def teach(store: Store, clock: Clock, worker: Worker, *, seconds: Sequence[float]) -> None:
    """Tasks of another organization that took so long were seen."""
    organization = await an_organization(store, slots=1)
    for duration in seconds:
        await submitted(store, organization)
        lease = await worker.take_one()
        clock.advance(duration)
        await worker.renew(leases=[lease.id])
        await worker.settle(lease)


# Reasons -------------------------------------------------------------------------------------------------------------


async def test_an_organization_at_its_limit(store: Store) -> None:
    """Every slot is taken, although workers have places."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    _, task = await submitted(store, organization, a_task(), a_task())
    await worker.take_one()

    wait = await the_wait(store, organization.id, task)

    assert (wait.reason, wait.status) == (WaitReason.ORGANIZATION_AT_LIMIT, TaskStatus.QUEUED)
    assert (wait.ahead, wait.ahead_bounded, wait.until) == (0, False, None)


async def test_a_lowered_limit_is_a_limit(store: Store) -> None:
    """More run than may: nothing starts until enough have ended."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    *_, task = await submitted(store, organization, a_task(), a_task(), a_task())
    await worker.take(2)
    await store.organizations.change(organization.name, changes=OrganizationChange(slots=1), actor=ACTOR)

    assert await reason(store, organization.id, task) is WaitReason.ORGANIZATION_AT_LIMIT


async def test_a_type_at_its_limit(store: Store) -> None:
    """Two of this type run already, for others."""
    other, organization = await an_organization(store, slots=5), await an_organization(store, slots=5)
    worker = await a_worker(store)
    await submitted(store, other, a_task(LIMITED), a_task(LIMITED))
    await worker.take(2)
    limited, plain = await submitted(store, organization, a_task(LIMITED), a_task(PAGE))

    assert await reason(store, organization.id, limited) is WaitReason.TYPE_AT_LIMIT
    assert await reason(store, organization.id, plain) is WaitReason.STARTING


async def test_credits_that_running_tasks_hold(store: Store) -> None:
    """The balance covers one of them at a time; when the first has ended and was charged, the second is too dear."""
    organization, worker = await an_organization(store, slots=5), await a_worker(store)
    await store.organizations.change(organization.name, changes=OrganizationChange(credits=True), actor=ACTOR)
    await store.credits.grant(organization.name, grant_id=new_id(), amount=5, reason="test", actor=ACTOR)
    await submitted(store, organization, a_task(cost=3))
    (task,) = await submitted(store, organization, a_task(cost=3))
    [lease] = await worker.take(2)

    assert await reason(store, organization.id, task) is WaitReason.CREDITS_HELD
    await worker.settle(lease, Failed(cause="x", retry=False))
    assert await reason(store, organization.id, task) is WaitReason.STARTING


async def test_busy_workers_and_the_turn_of_others(store: Store) -> None:
    """The only place is taken. Who had it last is behind who had nothing yet."""
    served, starved = await an_organization(store), await an_organization(store)
    worker = await a_worker_of(store, 1)
    _, second = await submitted(store, served, a_task(), a_task())
    await worker.take_one()
    (first,) = await submitted(store, starved)

    assert await reason(store, starved.id, first) is WaitReason.WORKERS_BUSY
    assert await reason(store, served.id, second) is WaitReason.FAIR_TURN


async def test_a_call_of_others_has_its_turn_like_a_task(store: Store) -> None:
    """Who has nothing but a call that waits for the next free place comes first with it."""
    served, calling = await an_organization(store), await an_organization(store)
    worker = await a_worker_of(store, 1)
    _, task = await submitted(store, served, a_task(), a_task())
    await worker.take_one()
    before = await reason(store, served.id, task)

    await store.calls.begin(a_call(calling, await a_server(store)))

    assert (before, await reason(store, served.id, task)) == (WaitReason.WORKERS_BUSY, WaitReason.FAIR_TURN)


async def test_a_worker_that_holds_more_than_its_places_takes_nobody_elses(store: Store) -> None:
    """Another worker's free place is free."""
    organization, worker = await an_organization(store, slots=3), await a_worker_of(store, 1)
    *_, task = await submitted(store, organization, a_task(), a_task(), a_task())
    await worker.take(2)

    before = await reason(store, organization.id, task)
    await a_worker_of(store, 1)

    assert (before, await reason(store, organization.id, task)) == (WaitReason.WORKERS_BUSY, WaitReason.STARTING)


async def test_a_free_place_and_a_free_slot(store: Store) -> None:
    """It starts in a moment: the next exchange takes it."""
    organization, worker = await an_organization(store), await a_worker_of(store, 1)
    (task,) = await submitted(store, organization)

    assert await reason(store, organization.id, task) is WaitReason.STARTING
    await worker.take_one()
    assert await reason(store, organization.id, task) is WaitReason.RUNNING


async def test_a_pause_between_attempts(store: Store, clock: Clock) -> None:
    """It says until when; once that is over, it is ready again."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=5_000))

    wait = await the_wait(store, organization.id, task)

    assert (wait.reason, wait.until) == (WaitReason.RETRY_PAUSE, clock.at + 5_000)
    assert (wait.ahead, wait.estimate) == (None, None)
    clock.advance(5)
    await store.upkeep.promote()
    assert await reason(store, organization.id, task) is WaitReason.STARTING


async def test_a_type_that_no_live_worker_serves(store: Store, clock: Clock) -> None:
    """No worker at all, one of another type, one that has been silent for its whole lease."""
    organization = await an_organization(store)
    (task,) = await submitted(store, organization, a_task(IMAGE))

    nobody = await reason(store, organization.id, task)
    await a_worker_of(store, 5, [PAGE])
    another = await reason(store, organization.id, task)
    await a_worker_of(store, 5, [IMAGE])
    served = await reason(store, organization.id, task)
    clock.advance(30.001)
    silent = await reason(store, organization.id, task)

    assert [nobody, another, silent] == [WaitReason.TYPE_UNSERVED] * 3
    assert served is WaitReason.STARTING


async def test_a_paused_organization(store: Store) -> None:
    """Whatever else is in the way, the operator's word comes first."""
    organization = await an_organization(store)
    (task,) = await submitted(store, organization)
    await store.organizations.change(organization.name, changes=OrganizationChange(paused=True), actor=ACTOR)

    assert await reason(store, organization.id, task) is WaitReason.ORGANIZATION_PAUSED


async def test_a_plan_without_slots(store: Store) -> None:
    """Nobody has said yet how many may run."""
    await store.plans.create("blank", slots=None, queue_limit=10, weight=1, actor=ACTOR)
    organization = await an_organization(store, slots=None, plan="blank")
    await a_worker(store)
    (task,) = await submitted(store, organization)

    assert await reason(store, organization.id, task) is WaitReason.LIMIT_UNKNOWN


async def test_running_and_finished(store: Store) -> None:
    """There is nothing to wait for."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()
    running = await the_wait(store, organization.id, task)
    await worker.settle(lease)
    finished = await the_wait(store, organization.id, task)

    assert (running.reason, running.status) == (WaitReason.RUNNING, TaskStatus.PROCESSING)
    assert (finished.reason, finished.status) == (WaitReason.FINISHED, TaskStatus.COMPLETED)
    assert finished.ahead is running.ahead is None


async def test_a_task_is_found_by_its_key_and_by_nobody_else(store: Store) -> None:
    """Id, then idempotency key; not another organization's."""
    organization, other = await an_organization(store), await an_organization(store)
    (task,) = await submitted(store, organization, a_task(key="job-1"))

    assert (await the_wait(store, organization.id, "job-1")).task_id == task
    assert await store.waits.find(other.id, task) is None
    assert await store.waits.find(other.id, "job-1") is None
    assert await store.waits.find(organization.id, "nothing") is None


# What is ahead -------------------------------------------------------------------------------------------------------


async def test_ahead_are_higher_priorities_and_earlier_ones(store: Store) -> None:
    """Of every type; neither later nor lower ones, nor other organizations', nor what pauses."""
    organization, other = await an_organization(store, slots=1), await an_organization(store)
    worker = await a_worker(store)
    (running,) = await submitted(store, organization, a_task(priority=10))
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=60_000))
    await submitted(store, organization, *[a_task(priority=9) for _ in range(3)], a_task(IMAGE, priority=7))
    await submitted(store, organization, *[a_task(priority=5) for _ in range(2)], a_task(IMAGE, priority=5))
    (task,) = await submitted(store, organization, a_task(priority=5))
    await submitted(store, organization, a_task(priority=5), a_task(IMAGE, priority=5), a_task(priority=4))
    await submitted(store, other, *[a_task(priority=10) for _ in range(5)])

    wait = await the_wait(store, organization.id, task)

    assert (wait.ahead, wait.ahead_bounded) == (7, False)
    assert await reason(store, organization.id, running) is WaitReason.RETRY_PAUSE


async def test_ahead_falls_as_tasks_start(store: Store) -> None:
    """Also after claims moved the lane's head."""
    organization, worker = await an_organization(store, slots=3), await a_worker(store)
    *_, last = await submitted(store, organization, *[a_task() for _ in range(5)])
    before = (await the_wait(store, organization.id, last)).ahead
    await worker.take(3)

    assert (before, (await the_wait(store, organization.id, last)).ahead) == (4, 1)


async def test_the_own_lane_is_counted_up_to_a_bound(store: Store) -> None:
    """At the bound the count is whole; one more, and it is said that it is not."""
    organization = await an_organization(store, slots=1)
    for start in range(0, AHEAD_MOST, 500):
        await submitted(store, organization, *[a_task() for _ in range(min(500, AHEAD_MOST - start))])
    at_bound, beyond = await submitted(store, organization, a_task(), a_task())

    whole, bounded = [await the_wait(store, organization.id, task) for task in (at_bound, beyond)]

    assert (whole.ahead, whole.ahead_bounded) == (AHEAD_MOST, False)
    assert (bounded.ahead, bounded.ahead_bounded, bounded.estimate) == (AHEAD_MOST, True, None)


# For how long --------------------------------------------------------------------------------------------------------


async def at_limit(store: Store, worker: Worker, *, queued: int) -> tuple[int, str, Lease]:
    """An organization with one slot, taken; the last of so many queued tasks; the lease."""
    organization = await an_organization(store, slots=1)
    *_, last = await submitted(store, organization, *[a_task() for _ in range(queued + 1)])
    return organization.id, last, await worker.take_one()


async def test_nobody_can_tell_without_having_seen_some(store: Store, clock: Clock) -> None:
    """Four finished attempts are too few, five are enough."""
    worker = await a_worker(store)
    await teach(store, clock, worker, seconds=[10] * 4)
    organization_id, last, lease = await at_limit(store, worker, queued=3)
    before = (await the_wait(store, organization_id, last)).estimate
    clock.advance(10)
    await worker.exchange(Report(lease.id, DONE), places=1)

    after = (await the_wait(store, organization_id, last)).estimate

    assert before is None
    # Two are left that come first, one of which has just started.
    assert after == Estimate(20_000, 20_000)


async def test_a_burst_starts_when_what_runs_ends(store: Store, clock: Clock) -> None:
    """Six places, six slots, nine tasks of four seconds: the last one starts when the first ones end."""
    worker = await a_worker_of(store, 6)
    await teach(store, clock, worker, seconds=[4] * 5)
    organization = await an_organization(store, slots=6)
    *_, last = await submitted(store, organization, *[a_task() for _ in range(9)])
    await worker.take(6)
    clock.advance(0.2)
    soon = (await the_wait(store, organization.id, last)).estimate
    clock.advance(3)
    sooner = (await the_wait(store, organization.id, last)).estimate

    assert (soon, sooner) == (Estimate(3_800, 3_800), Estimate(800, 800))


async def test_what_runs_of_others_is_in_the_way(store: Store, clock: Clock) -> None:
    """At a worker's only place, and at the limit of a type."""
    worker = await a_worker_of(store, 3)
    await teach(store, clock, worker, seconds=[10] * 5)
    other, organization = await an_organization(store, slots=3), await an_organization(store, slots=3)
    for _ in range(5):
        await submitted(store, other, a_task(LIMITED))
        limited = await worker.take_one()
        clock.advance(10)
        await worker.renew(leases=[limited.id])
        await worker.settle(limited)
    await submitted(store, other, a_task(LIMITED), a_task(LIMITED), a_task())
    await worker.take(3)
    clock.advance(4)
    limited_task, page = await submitted(store, organization, a_task(LIMITED), a_task(priority=10))

    assert (await the_wait(store, organization.id, page)).estimate == Estimate(6_000, 6_000)
    assert (await the_wait(store, organization.id, limited_task)).estimate == Estimate(6_000, 6_000)


async def test_nobody_is_its_own_rival(store: Store, clock: Clock) -> None:
    """Who is alone has every place that gets free."""
    worker = await a_worker_of(store, 1)
    await teach(store, clock, worker, seconds=[10] * 5)
    organization = await an_organization(store, slots=9)
    *_, last = await submitted(store, organization, *[a_task() for _ in range(4)])
    await worker.take_one()

    assert (await the_wait(store, organization.id, last)).estimate == Estimate(30_000, 30_000)


async def test_a_rival_is_one_however_much_of_it_waits(store: Store, clock: Clock) -> None:
    """A call and a task of one organization are one turn before ours."""
    worker = await a_worker_of(store, 1)
    await teach(store, clock, worker, seconds=[10] * 5)
    organization, rival = await an_organization(store), await an_organization(store)
    _, task = await submitted(store, organization, a_task(), a_task())
    await worker.take_one()
    await submitted(store, rival)
    await store.calls.begin(a_call(rival, await a_server(store)))

    assert (await the_wait(store, organization.id, task)).estimate == Estimate(20_000, 20_000)


async def test_who_is_at_its_limit_comes_back_behind_who_waits_by_then(store: Store, clock: Clock) -> None:
    """It banks no turns meanwhile: another waits since others were served, and starts before it."""
    worker, elsewhere = await a_worker_of(store, 1, [PAGE]), await a_worker_of(store, 20, [IMAGE])
    await teach(store, clock, worker, seconds=[10] * 5)
    organization, rival, served = [await an_organization(store, slots=slots) for slots in (1, 1, 20)]
    _, task = await submitted(store, organization, a_task(), a_task())
    await worker.take_one()
    await submitted(store, served, *[a_task(IMAGE) for _ in range(20)])
    await elsewhere.take(15)
    await submitted(store, rival)
    await elsewhere.take(5)

    wait = await the_wait(store, organization.id, task)

    assert (wait.reason, wait.estimate) == (WaitReason.ORGANIZATION_AT_LIMIT, Estimate(20_000, 20_000))


async def test_what_starts_at_once_waits_for_nothing(store: Store, clock: Clock) -> None:
    """Free slot, free place."""
    worker = await a_worker(store)
    await teach(store, clock, worker, seconds=[10] * 5)
    organization = await an_organization(store, slots=2)
    (task,) = await submitted(store, organization)

    assert (await the_wait(store, organization.id, task)).estimate == Estimate(0, 0)


async def test_an_unserved_type_has_no_estimate(store: Store, clock: Clock) -> None:
    """However well its durations are known."""
    worker = await a_worker(store)
    await teach(store, clock, worker, seconds=[10] * 5)
    organization = await an_organization(store)
    (task,) = await submitted(store, organization)
    clock.advance(31)

    assert (await the_wait(store, organization.id, task)).estimate is None
