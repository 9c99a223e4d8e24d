"""Calls take a slot at once or are refused, run ahead of their organization's queue, and leave nothing behind."""

import asyncio
from typing import Any

import pytest

from fairlane.errors import ConcurrencyFull, KeyRefused, Unavailable
from fairlane.model.calls import Abandoned, Admitted, EndedCall
from fairlane.model.leases import Completed, Failed, LossReason, Report, ReportVerdict
from fairlane.model.organizations import OrganizationChange, PlanChange
from fairlane.model.status import SlotUse
from fairlane.model.tasks import Failure, TaskRule, TaskStatus
from fairlane.rules.attempts import CALL_MS, EXHAUSTED, TIMED_OUT
from fairlane.store import Store
from tests.builders import (
    ACTOR,
    AGAIN,
    DONE,
    FRAGILE,
    IMAGE,
    LIMITED,
    PAGE,
    RETURNED,
    a_call,
    a_catalogue,
    a_server,
    a_task,
    a_worker,
    an_organization,
    hears,
    ids,
    state,
    submitted,
)
from tests.store.databases import Clock, Database, in_one_commit, set_clock


async def _ended(store: Store, server: str) -> EndedCall:
    (ended,) = await store.calls.ended(server)
    return ended


async def _slots(store: Store, organization: Any) -> tuple[int, int, int]:
    """(queued, processing, used)."""
    status = await store.tasks.status(organization.id)
    assert status.concurrency is not None
    return status.queued, status.processing, status.concurrency.used


def _flagged(flag: str, on: bool) -> OrganizationChange:
    flags: dict[str, Any] = {flag: on}
    return OrganizationChange(**flags)


# Admission -----------------------------------------------------------------------------------------------------------


async def test_a_call_takes_a_slot_and_is_no_task(store: Store, clock: Clock) -> None:
    """Used counts it, processing does not; the answer says what is in use with it."""
    organization, server = await an_organization(store, slots=3), await a_server(store)

    first = await store.calls.begin(a_call(organization, server))
    second = await store.calls.begin(a_call(organization, server))

    assert first == Admitted(slots_used=1, slots_max=3, give_up_at=clock.at + CALL_MS)
    assert second.slots_used == 2
    status = await store.tasks.status(organization.id)
    assert (status.queued, status.processing, status.concurrency) == (0, 0, SlotUse(2, 3))
    assert status.priorities == ()


async def test_tasks_and_calls_share_the_slots(store: Store) -> None:
    """With as many of both as there are slots neither finds another; each freed slot serves either kind."""
    organization, server, worker = await an_organization(store, slots=2), await a_server(store), await a_worker(store)
    await submitted(store, organization, a_task(), a_task())
    task = await worker.take_one()
    await store.calls.begin(a_call(organization, server))

    with pytest.raises(ConcurrencyFull) as refused:
        await store.calls.begin(a_call(organization, server))

    assert (refused.value.slots_used, refused.value.slots_max, refused.value.details) == (2, 2, {"limit": 2})
    (call,) = await worker.take(5)
    assert call.call
    assert await worker.take(5) == []
    await worker.settle(task)
    assert [lease.call for lease in await worker.take(5)] == [False]


async def test_of_two_calls_for_the_last_slot_one_is_admitted(store: Store, clock: Clock) -> None:
    """Also in one commit, and beside a claim for the same slot."""
    organization, server, worker = await an_organization(store, slots=1), await a_server(store), await a_worker(store)
    await submitted(store, organization)

    one, other, reply = await in_one_commit(
        store,
        clock,
        lambda: store.calls.begin(a_call(organization, server)),
        lambda: store.calls.begin(a_call(organization, server)),
        lambda: worker.exchange(places=5),
    )

    assert isinstance(one, Admitted)
    assert isinstance(other, ConcurrencyFull)
    assert [lease.call for lease in reply.leases] == [True]
    assert await _slots(store, organization) == (1, 0, 1)


async def test_many_at_once_never_exceed_the_slots(store: Store) -> None:
    """However many come, exactly as many are admitted as there are slots."""
    organization, server = await an_organization(store, slots=3), await a_server(store)

    answers = await asyncio.gather(
        *(store.calls.begin(a_call(organization, server)) for _ in range(20)), return_exceptions=True
    )

    assert sum(isinstance(answer, Admitted) for answer in answers) == 3
    assert sum(isinstance(answer, ConcurrencyFull) for answer in answers) == 17


@pytest.mark.parametrize(("flag", "refusal"), [("paused", Unavailable), ("disabled", KeyRefused)])
async def test_a_stopped_organization_begins_no_call(store: Store, flag: str, refusal: type[Exception]) -> None:
    """It may after the flag is taken away. A call that was admitted before goes on."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    await store.organizations.change(organization.name, changes=_flagged(flag, True), actor=ACTOR)

    with pytest.raises(refusal):
        await store.calls.begin(a_call(organization, server))

    assert len(await worker.take(5)) == 1
    await store.organizations.change(organization.name, changes=_flagged(flag, False), actor=ACTOR)
    assert (await store.calls.begin(a_call(organization, server))).slots_used == 2


async def test_without_a_readable_limit_no_call_begins(store: Store) -> None:
    """Nobody knows whether there is a slot."""
    await store.plans.create("unread", slots=None, queue_limit=10, weight=1, actor=ACTOR)
    organization = await an_organization(store, slots=None, plan="unread")

    with pytest.raises(Unavailable):
        await store.calls.begin(a_call(organization, await a_server(store)))


async def test_a_lowered_limit_admits_nobody_until_used_is_below_it(store: Store) -> None:
    """What runs goes on, and the truth is shown."""
    organization, server, worker = await an_organization(store, slots=3), await a_server(store), await a_worker(store)
    for _ in range(3):
        await store.calls.begin(a_call(organization, server))
    leases = await worker.take(3)
    await store.organizations.change(organization.name, changes=OrganizationChange(slots=1), actor=ACTOR)

    for lease in leases:
        with pytest.raises(ConcurrencyFull) as refused:
            await store.calls.begin(a_call(organization, server))
        await worker.settle(lease)

    assert (refused.value.slots_used, refused.value.slots_max) == (1, 1)
    assert (await store.calls.begin(a_call(organization, server))).slots_used == 1


# Running -------------------------------------------------------------------------------------------------------------


async def test_a_call_runs_ahead_of_its_organizations_queue(store: Store) -> None:
    """Before the highest priority that waits; the oldest call first."""
    organization, server, worker = await an_organization(store, slots=5), await a_server(store), await a_worker(store)
    await submitted(store, organization, a_task(priority=10), a_task(priority=10))
    first, second = a_call(organization, server, IMAGE), a_call(organization, server, PAGE)
    await store.calls.begin(first)
    await store.calls.begin(second)

    leases = await worker.take(3)

    assert ids(leases)[:2] == [first.id, second.id]
    assert [lease.call for lease in leases] == [True, True, False]


async def test_a_call_waits_for_its_organizations_turn(store: Store) -> None:
    """It overtakes nobody else's task: the fair order is between organizations."""
    worker, server = await a_worker(store), await a_server(store)
    greedy, modest = await an_organization(store, slots=9), await an_organization(store, slots=9)
    await submitted(store, greedy, *(a_task() for _ in range(4)))
    await submitted(store, modest, *(a_task() for _ in range(4)))
    for _ in range(4):
        await store.calls.begin(a_call(greedy, server))

    leases = await worker.take(4)

    assert sorted(lease.organization_id for lease in leases) == [greedy.id, greedy.id, modest.id, modest.id]


async def test_a_worker_takes_only_calls_of_its_types(store: Store) -> None:
    """Another type's call waits for a worker that serves it."""
    organization, server = await an_organization(store), await a_server(store)
    pages, images = await a_worker(store, [PAGE]), await a_worker(store, [IMAGE])
    await store.calls.begin(a_call(organization, server, IMAGE))

    assert await pages.take(5) == []
    assert len(await images.take(5)) == 1


async def test_a_call_that_holds_the_last_slot_still_starts(store: Store) -> None:
    """Its slot is its own: that none is free keeps tasks from starting, not it."""
    organization, server, worker = await an_organization(store, slots=1), await a_server(store), await a_worker(store)
    await submitted(store, organization, a_task(priority=10))
    await store.calls.begin(a_call(organization, server))

    assert [lease.call for lease in await worker.take(5)] == [True]


async def test_a_lease_of_a_call_says_what_to_run(store: Store, clock: Clock) -> None:
    """As a task's does; the same exchange asked again yields the same."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    call = a_call(organization, server, payload='{"url": "x"}')
    await store.calls.begin(call)

    (lease,) = (await worker.exchange(places=1, exchange="e")).leases
    (again,) = (await worker.exchange(places=1, exchange="e")).leases

    assert lease == again
    assert (lease.task_id, lease.payload, lease.attempt, lease.attempts) == (call.id, '{"url": "x"}', 1, 3)
    assert (lease.timeout_ms, lease.started_at, lease.organization) == (60_000, clock.at, organization.name)


async def test_work_is_announced_for_a_call(store: Store) -> None:
    """Waiting workers need not poll."""
    heard = hears(store, "startable")
    organization, server = await an_organization(store), await a_server(store)

    await store.calls.begin(a_call(organization, server, IMAGE))

    assert frozenset({IMAGE}) in heard


# Ending --------------------------------------------------------------------------------------------------------------


async def test_a_result_is_there_for_the_server_that_waits(store: Store) -> None:
    """Only for it, until it is forgotten; the slot is free at once, and the end is announced."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    other, told = await a_server(store), []
    told = hears(store, "calls_ended")
    call = a_call(organization, server, cost=7)
    await store.calls.begin(call)
    lease = await worker.take_one()
    assert not told

    assert await worker.settle(lease, Completed('{"n":1.50}')) is ReportVerdict.ACCEPTED

    assert told
    assert await _slots(store, organization) == (0, 0, 0)
    assert await store.calls.ended(other) == []
    assert await _ended(store, server) == EndedCall(
        organization_id=organization.id,
        id=call.id,
        result='{"n":1.50}',
        failure=None,
        charged=7,
        credits=await store.credits.find(organization.id),
    )
    assert await store.calls.ended(server, taken=[call.id]) == []
    assert await store.calls.of_server(server) == {call.id}
    await store.calls.forget([(organization.id, call.id)])
    assert await store.calls.of_server(server) == set()


async def test_any_server_may_settle_a_call(database: Database) -> None:
    """The worker's report and the waiting caller need not meet in one process: the row is enough, also after a crash of
    what only one process knew."""
    store = database.store
    organization, server, worker = (
        await an_organization(store),
        await a_server(store, local=False),
        await a_worker(store),
    )
    await store.calls.begin(a_call(organization, server))
    lease = await worker.take_one()
    store = await database.crash()
    worker.store = store

    assert await worker.settle(lease) is ReportVerdict.ACCEPTED

    assert (await _ended(store, server)).result == '{"done":true}'


async def test_the_freed_slot_of_a_call_is_refilled_in_the_same_exchange(store: Store) -> None:
    """Work conserving, as for tasks."""
    organization, server, worker = await an_organization(store, slots=1), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    lease = await worker.take_one()
    (task,) = await submitted(store, organization)

    reply = await worker.exchange(Report(lease.id, DONE), places=1)

    assert ids(reply.leases) == [task]


@pytest.mark.parametrize("late", [False, True])
async def test_a_second_report_changes_nothing(store: Store, late: bool) -> None:
    """The first counts. A call leaves nothing behind that knows who ended it: the second is told that it is gone."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    call = a_call(organization, server)
    await store.calls.begin(call)
    lease = await worker.take_one()
    await worker.settle(lease, Completed('{"first":1}'))
    if late:
        await store.calls.forget([(organization.id, call.id)])

    assert await worker.settle(lease, Completed('{"second":2}')) is ReportVerdict.GONE

    assert [ended.result for ended in await store.calls.ended(server)] == ([] if late else ['{"first":1}'])


async def test_a_stranger_settles_nothing(store: Store) -> None:
    """Only the session that holds the lease does; nor does who knew it for an earlier attempt."""
    organization, server = await an_organization(store), await a_server(store)
    worker, other = await a_worker(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    lease = await worker.take_one()

    assert await other.settle(lease) is ReportVerdict.GONE
    assert await worker.settle(lease, AGAIN) is ReportVerdict.ACCEPTED
    assert await worker.settle(lease) is ReportVerdict.GONE

    assert await store.calls.ended(server) == []
    assert (await other.take_one()).attempt == 2


async def test_a_failed_attempt_keeps_the_slot_and_is_tried_again(store: Store, clock: Clock) -> None:
    """After the usual pause, until the attempts are used up; then the generic failure is the answer, uncharged."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server, cost=7))
    for attempt in (1, 2, 3):
        lease = await worker.take_one()
        assert lease.attempt == attempt
        await worker.settle(lease, Failed(cause="it broke"))
        if attempt < 3:
            assert await worker.take(1) == []
            assert await _slots(store, organization) == (0, 0, 1)
            due_at = await store.upkeep.next_due_at()
            assert due_at is not None
            assert clock.at + 500 * 2 ** (attempt - 1) <= due_at <= clock.at + 1_000 * 2 ** (attempt - 1)
            clock.at = due_at
            assert await store.upkeep.promote() == 1

    ended = await _ended(store, server)
    assert (ended.failure, ended.result, ended.charged) == (EXHAUSTED, None, 0)
    assert await _slots(store, organization) == (0, 0, 0)


async def test_a_failure_of_the_handlers_own_ends_the_call(store: Store) -> None:
    """With its code, whatever attempts are left."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    failure = Failure(code="TOO_LARGE", message="The page is too large", details={"limit": 5})
    await store.calls.begin(a_call(organization, server))

    await worker.settle(await worker.take_one(), Failed(cause="x", failure=failure, retry=False))

    assert (await _ended(store, server)).failure == failure


async def test_what_is_handed_back_does_not_count(store: Store) -> None:
    """Nor is the slot given to another meanwhile."""
    organization, server, worker = await an_organization(store, slots=1), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server, FRAGILE))
    await submitted(store, organization)

    await worker.settle(await worker.take_one(), RETURNED)

    lease = await worker.take_one()
    assert (lease.call, lease.attempt) == (True, 1)


@pytest.mark.parametrize(("task_type", "failure"), [(PAGE, None), (FRAGILE, EXHAUSTED)])
async def test_a_lost_worker_costs_an_attempt(store: Store, task_type: str, failure: Failure | None) -> None:
    """The call waits for another worker at once, or its attempts are used up."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server, task_type))
    await worker.take_one()

    await store.sessions.end(worker.id, reason=LossReason.LOST)

    if failure is None:
        assert (await (await a_worker(store)).take_one()).attempt == 2
    else:
        assert (await _ended(store, server)).failure == failure


async def test_a_call_whose_answer_was_lost_on_the_way_goes_back(store: Store, clock: Clock) -> None:
    """As a task does: the worker never received it, so it does not count."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    await worker.take_one()

    for seconds in (16, 15):
        clock.advance(seconds)
        await worker.renew()

    assert (await worker.take_one()).attempt == 1


# The five minutes ----------------------------------------------------------------------------------------------------


async def test_an_attempt_gets_no_more_time_than_is_left(store: Store, clock: Clock) -> None:
    """Its deadline is cut to the moment at which nobody waits any more."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    clock.at += CALL_MS - 1_000

    assert (await worker.take_one()).timeout_ms == 1_000


@pytest.mark.parametrize(("left_ms", "starts"), [(1, True), (0, False)])
async def test_no_attempt_starts_after_five_minutes(store: Store, clock: Clock, left_ms: int, starts: bool) -> None:
    """One that would ends the call and frees its slot, and keeps no place from others."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    await submitted(store, organization)
    clock.at += CALL_MS - left_ms

    leases = await worker.take(5)

    assert [lease.call for lease in leases] == ([True, False] if starts else [False])
    assert [ended.failure for ended in await store.calls.ended(server)] == ([] if starts else [TIMED_OUT])


@pytest.mark.parametrize(("pause_ms", "ends"), [(9_999, False), (10_000, True)])
async def test_a_pause_beyond_the_five_minutes_ends_the_call(
    store: Store, clock: Clock, pause_ms: int, ends: bool
) -> None:
    """A pause inside them is kept, with the slot."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    lease = await worker.take_one()
    clock.at += CALL_MS - 10_000

    await worker.settle(lease, Failed(cause="later", pause_ms=pause_ms))

    assert [ended.failure for ended in await store.calls.ended(server)] == ([TIMED_OUT] if ends else [])
    assert (await _slots(store, organization))[2] == (0 if ends else 1)


async def test_a_call_that_nobody_runs_nor_gives_up_is_swept(store: Store, clock: Clock) -> None:
    """The net below the server's own timer."""
    organization, server = await an_organization(store), await a_server(store, lease_seconds=1_000)
    await store.calls.begin(a_call(organization, server))
    clock.at += CALL_MS + 10_000
    assert await store.sessions.return_orphans() == 0
    clock.at += 1

    assert await store.sessions.return_orphans() == 1

    assert (await _ended(store, server)).failure == TIMED_OUT
    assert await _slots(store, organization) == (0, 0, 0)


async def test_a_clock_that_jumps_leaves_a_call_the_time_it_had(store: Store, clock: Clock) -> None:
    """Neither the deadline nor the pause of a call that waits is eaten by the jump."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    await store.calls.begin(a_call(organization, server))
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=2_000))

    await set_clock(store, clock, 1_000)

    assert await store.upkeep.next_due_at() == clock.at + 2_000
    assert (await worker.take_one()).timeout_ms == 60_000


# Nobody waits any more -----------------------------------------------------------------------------------------------


async def test_a_call_that_no_worker_has_is_given_up_at_once(store: Store) -> None:
    """Its slot is free, and no worker gets it."""
    organization, server, worker = await an_organization(store, slots=1), await a_server(store), await a_worker(store)
    call = a_call(organization, server)
    await store.calls.begin(call)

    assert await store.calls.abandon(organization.id, call.id) is Abandoned.REMOVED

    assert await store.calls.abandon(organization.id, call.id) is Abandoned.GONE
    assert await worker.take(5) == []
    assert (await store.calls.begin(a_call(organization, server))).slots_used == 1


async def test_a_call_that_pauses_is_given_up_at_once(store: Store, clock: Clock) -> None:
    """No worker has it then."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    call = a_call(organization, server)
    await store.calls.begin(call)
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=2_000))

    assert await store.calls.abandon(organization.id, call.id) is Abandoned.REMOVED

    clock.advance(3)
    assert await store.upkeep.promote() == 0
    assert await _slots(store, organization) == (0, 0, 0)


@pytest.mark.parametrize("ending", [DONE, AGAIN, Failed(cause="x"), RETURNED])
async def test_a_call_that_runs_holds_its_slot_to_the_end_of_the_attempt(store: Store, ending: Any) -> None:
    """However it ends, nothing comes of it: no answer, no charge, no other attempt."""
    organization, server, worker = await an_organization(store, slots=1), await a_server(store), await a_worker(store)
    call = a_call(organization, server)
    await store.calls.begin(call)
    lease = await worker.take_one()

    assert await store.calls.abandon(organization.id, call.id) is Abandoned.RUNNING

    with pytest.raises(ConcurrencyFull):
        await store.calls.begin(a_call(organization, server))
    assert await worker.settle(lease, ending) is ReportVerdict.ACCEPTED
    assert await store.calls.ended(server) == []
    assert await store.calls.of_server(server) == set()
    assert await worker.take(5) == []
    assert await _slots(store, organization) == (0, 0, 0)


async def test_a_draining_server_leaves_running_calls_alone(store: Store) -> None:
    """It gives up only what no worker has; what runs is still answered."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    running, waiting = a_call(organization, server), a_call(organization, server)
    await store.calls.begin(running)
    lease = await worker.take_one()
    await store.calls.begin(waiting)

    assert await store.calls.abandon(organization.id, running.id, running=False) is Abandoned.RUNNING
    assert await store.calls.abandon(organization.id, waiting.id, running=False) is Abandoned.REMOVED

    await worker.settle(lease)
    assert (await _ended(store, server)).id == running.id


async def test_a_call_that_has_ended_cannot_be_given_up(store: Store) -> None:
    """Whoever gives it up learns that the answer is there."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    call = a_call(organization, server)
    await store.calls.begin(call)
    await worker.settle(await worker.take_one())

    assert await store.calls.abandon(organization.id, call.id) is Abandoned.ENDED

    assert (await _ended(store, server)).result == '{"done":true}'


async def test_nobody_gives_up_another_organizations_call(store: Store) -> None:
    """It is not there for them."""
    organization, other, server = await an_organization(store), await an_organization(store), await a_server(store)
    call = a_call(organization, server)
    await store.calls.begin(call)

    assert await store.calls.abandon(other.id, call.id) is Abandoned.GONE

    assert (await _slots(store, organization))[2] == 1


@pytest.mark.parametrize("twice", [False, True])
async def test_giving_up_and_settling_meet_in_one_commit(store: Store, clock: Clock, twice: bool) -> None:
    """Whichever comes first, the slot is given back once."""
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    call = a_call(organization, server)
    await store.calls.begin(call)
    lease = await worker.take_one()

    await in_one_commit(
        store,
        clock,
        *[lambda: store.calls.abandon(organization.id, call.id) for _ in range(1 + twice)],
        lambda: worker.exchange(Report(lease.id, DONE)),
    )

    assert await _slots(store, organization) == (0, 0, 0)


@pytest.mark.parametrize("times", [2, 3])
async def test_giving_up_twice_in_one_commit_frees_one_slot(store: Store, clock: Clock, times: int) -> None:
    """A caller that hangs up while its server drains: both are told that it is gone, and the others keep theirs."""
    organization, server = await an_organization(store, slots=5), await a_server(store)
    call = a_call(organization, server)
    for one in (call, a_call(organization, server), a_call(organization, server)):
        await store.calls.begin(one)

    met = await in_one_commit(
        store, clock, *[lambda: store.calls.abandon(organization.id, call.id) for _ in range(times)]
    )

    assert met == [Abandoned.REMOVED] * times
    assert await _slots(store, organization) == (0, 0, 2)


# The server dies -----------------------------------------------------------------------------------------------------


async def test_a_dead_servers_calls_are_swept_with_its_session(store: Store, clock: Clock) -> None:
    """Those that wait at once; one that runs holds its slot to the end of its attempt; what ended is forgotten."""
    organization, worker = await an_organization(store, slots=5), await a_worker(store, lease_seconds=1_000)
    server = await a_server(store, local=False)
    for _ in range(3):
        await store.calls.begin(a_call(organization, server))
    done, running = await worker.take(2)
    await worker.settle(done)
    clock.advance(31)

    assert len(await store.sessions.end_expired()) == 1
    assert await store.sessions.return_orphans() == 1

    assert await store.calls.of_server(server) == {running.task_id}
    assert await _slots(store, organization) == (0, 0, 1)
    assert await worker.settle(running) is ReportVerdict.ACCEPTED
    assert await _slots(store, organization) == (0, 0, 0)
    assert await store.calls.of_server(server) == set()


async def test_a_server_that_ends_takes_its_waiting_calls_with_it(store: Store) -> None:
    """In order, too."""
    organization, server = await an_organization(store), await a_server(store)
    await store.calls.begin(a_call(organization, server))

    assert await store.sessions.end(server, reason=LossReason.DRAINED) == 1

    assert await _slots(store, organization) == (0, 0, 0)


@pytest.mark.parametrize("how", ["drained", "overdue"])
async def test_a_call_that_no_worker_had_took_no_service(database: Database, how: str) -> None:
    """However long it waited: nobody is served later for it, and its type is not taken to last so long."""
    store, clock = database.store, database.clock
    organization, server = await an_organization(store), await a_server(store)
    await store.calls.begin(a_call(organization, server))

    clock.advance(299 if how == "drained" else 600)
    if how == "drained":
        returned = await store.sessions.end(server, reason=LossReason.DRAINED)
    else:
        returned = await store.sessions.return_orphans()

    assert returned == 1
    assert database.rows("SELECT virtual_time, calls FROM organization") == [(0, 0)]


async def test_a_refused_call_leaves_nothing(store: Store) -> None:
    """No row, no slot."""
    organization, server = await an_organization(store, slots=1), await a_server(store)
    await store.calls.begin(a_call(organization, server))
    refused = a_call(organization, server)

    with pytest.raises(ConcurrencyFull):
        await store.calls.begin(refused)

    assert refused.id not in await store.calls.of_server(server)


async def test_a_commit_that_fails_admits_nobody(database: Database, clock: Clock) -> None:
    """What was not acknowledged is not there afterwards."""
    store = database.store
    organization, server = await an_organization(store), await a_server(store)
    with database.failing_commit():
        answers = await in_one_commit(store, clock, lambda: store.calls.begin(a_call(organization, server)))
    assert not isinstance(answers[0], Admitted)

    store = await database.reopen()

    assert await store.calls.of_server(server) == set()
    assert await _slots(store, organization) == (0, 0, 0)


# Limits of types -----------------------------------------------------------------------------------------------------


async def test_a_types_limit_holds_for_tasks_and_calls_together(store: Store) -> None:
    """Two across all organizations. A call that finds no room is refused at once; a task waits."""
    one, other, server = await an_organization(store, slots=5), await an_organization(store), await a_server(store)
    worker = await a_worker(store)
    await submitted(store, other, a_task(LIMITED), a_task(LIMITED))
    await store.calls.begin(a_call(one, server, LIMITED))
    assert [lease.call for lease in await worker.take(5)].count(False) == 1

    with pytest.raises(ConcurrencyFull) as refused:
        await store.calls.begin(a_call(one, server, LIMITED))

    assert refused.value.details == {"limit": 2, "taskType": LIMITED}
    assert (refused.value.slots_used, refused.value.slots_max) == (1, 5)
    assert (await store.calls.begin(a_call(one, server, PAGE))).slots_used == 2


async def test_the_last_room_of_a_type_is_given_once(store: Store, clock: Clock) -> None:
    """Calls and claims of several organizations in one commit together do not exceed the limit."""
    server, worker, second = await a_server(store), await a_worker(store), await a_worker(store)
    organizations = [await an_organization(store, slots=9) for _ in range(3)]
    for organization in organizations:
        await submitted(store, organization, a_task(LIMITED), a_task(LIMITED))

    answers = await in_one_commit(
        store,
        clock,
        lambda: worker.exchange(places=1),
        *[lambda one=one: store.calls.begin(a_call(one, server, LIMITED)) for one in organizations],
        lambda: second.exchange(places=9),
    )

    first, *calls, last = answers
    admitted = sum(isinstance(answer, Admitted) for answer in calls)
    tasks = sum(not lease.call for lease in (*first.leases, *last.leases))
    assert admitted + tasks == 2


async def test_calls_of_one_commit_share_the_room_of_their_type(store: Store, clock: Clock) -> None:
    """Three organizations ask for the two places there are: the first two have them, the third is told the limit."""
    server = await a_server(store)
    organizations = [await an_organization(store, slots=9) for _ in range(3)]

    answers = await in_one_commit(
        store, clock, *[lambda one=one: store.calls.begin(a_call(one, server, LIMITED)) for one in organizations]
    )

    assert [type(answer) for answer in answers] == [Admitted, Admitted, ConcurrencyFull]


async def test_a_call_of_a_full_type_starts_behind_many_who_wait(store: Store) -> None:
    """It has its room already; however many organizations wait for the type, they do not hide it."""
    server, worker = await a_server(store), await a_worker(store)
    late = await an_organization(store)
    await store.calls.begin(a_call(late, server, LIMITED))
    await store.calls.begin(a_call(late, server, LIMITED))
    for _ in range(30):
        await submitted(store, await an_organization(store), a_task(LIMITED))

    assert [lease.call for lease in await worker.take(1)] == [True]


async def test_room_that_a_call_gives_back_is_announced(store: Store) -> None:
    """Whether it ended or was given up."""
    server, worker, heard = await a_server(store), await a_worker(store), list[frozenset[str]]()
    organization = await an_organization(store)
    first, second = a_call(organization, server, LIMITED), a_call(organization, server, LIMITED)
    await store.calls.begin(first)
    lease = await worker.take_one()
    await store.calls.begin(second)
    heard = hears(store, "startable")

    await worker.settle(lease)
    assert heard.pop() == {LIMITED}
    heard.clear()
    await store.calls.abandon(organization.id, second.id)

    assert heard == [{LIMITED}]


async def test_room_of_calls_whose_time_is_over_is_refilled_by_the_claim_that_ends_them(
    store: Store, clock: Clock
) -> None:
    """Both at once, by another organization that has only this type; never more than there is room."""
    server, worker = await a_server(store), await a_worker(store)
    caller, waiting = await an_organization(store), await an_organization(store, slots=9)
    for _ in range(2):
        await store.calls.begin(a_call(caller, server, LIMITED))
    await submitted(store, waiting, *[a_task(LIMITED) for _ in range(4)])
    clock.at += CALL_MS

    leases = await worker.take(5)

    assert [(lease.organization_id, lease.call) for lease in leases] == [(waiting.id, False)] * 2
    assert await worker.take(5) == []


@pytest.mark.parametrize(
    ("changes", "starts"),
    [({}, 2), ({"slots": 1}, 1), ({"paused": True}, 0)],
    ids=["as before", "fewer slots", "paused"],
)
async def test_a_slot_of_a_call_whose_time_is_over_is_free_only_within_the_limit_of_now(
    store: Store, clock: Clock, changes: dict[str, Any], starts: int
) -> None:
    """The limit was lowered, or the organization paused, after the calls took their slots.

    Found by the simulation.
    """
    organization, server, worker = await an_organization(store, slots=2), await a_server(store), await a_worker(store)
    for _ in range(2):
        await store.calls.begin(a_call(organization, server))
    await submitted(store, organization, *[a_task() for _ in range(3)])
    await store.organizations.change(organization.name, changes=OrganizationChange(**changes), actor=ACTOR)
    clock.at += CALL_MS

    leases = await worker.take(5)

    assert len(leases) == starts
    assert (await _slots(store, organization))[1:] == (starts, starts)


async def test_room_of_a_call_whose_time_is_over_is_announced(store: Store, clock: Clock) -> None:
    """The claim that ends it may itself have no place left for whoever waits for that room."""
    server, worker, heard = await a_server(store), await a_worker(store), list[frozenset[str]]()
    caller, waiting = await an_organization(store), await an_organization(store)
    await store.calls.begin(a_call(caller, server, LIMITED))
    await store.calls.begin(a_call(caller, server, LIMITED))
    await submitted(store, caller, a_task(PAGE))
    await submitted(store, waiting, a_task(LIMITED))
    clock.at += CALL_MS
    heard = hears(store, "startable")

    leases = await worker.take(1)

    assert [(lease.organization_id, lease.task_type) for lease in leases] == [(caller.id, PAGE)]
    assert LIMITED in heard.pop()


async def test_a_limit_that_is_declared_later_counts_what_runs_already(database: Database) -> None:
    """A redeploy that gives a type a limit starts nothing while more than that run; below it exactly as many."""
    store = database.store
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    await submitted(store, organization, *(a_task() for _ in range(6)))
    running = await worker.take(3)
    database.catalogue = {**a_catalogue(), PAGE: TaskRule(name=PAGE, limit=2)}

    worker.store = await database.reopen()

    for lease in running[:2]:
        assert await worker.take(5) == []
        await worker.settle(lease)
    assert len(await worker.take(5)) == 1


async def test_a_limit_that_is_lowered_raised_and_lifted(database: Database) -> None:
    """Each redeploy's limit holds from its start on, for what ran before, too."""
    organization, worker = await an_organization(database.store, slots=9), await a_worker(database.store)
    await submitted(database.store, organization, *(a_task(LIMITED) for _ in range(9)))
    held = await worker.take(9)
    assert len(held) == 2

    for limit, more in ((1, 0), (3, 1), (2, 0), (4, 1), (None, 5)):
        database.catalogue = {**a_catalogue(), LIMITED: TaskRule(name=LIMITED, limit=limit)}
        worker.store = await database.reopen()
        held = await worker.take(9)
        assert len(held) == more, limit


# Counts --------------------------------------------------------------------------------------------------------------


async def test_the_integrals_count_calls_as_slot_use(database: Database) -> None:
    """From admission to end."""
    store, clock = database.store, database.clock
    organization, server, worker = await an_organization(store), await a_server(store), await a_worker(store)
    await store.calls.begin(a_call(organization, server))
    clock.advance(2)
    lease = await worker.take_one()
    clock.advance(3)
    await worker.settle(lease)
    clock.advance(5)
    await submitted(store, organization)

    assert database.rows("SELECT slot_ms FROM organization") == [(5_000,)]


DAMAGE = {
    "calls": ("UPDATE organization SET calls = calls + 1", {"calls"}),
    "calls ready": ("UPDATE organization SET calls_ready = 0", {"calls ready"}),
    "turn of a call": ("DELETE FROM turn WHERE kind = 1", {"turn PAGE"}),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_drift_of_calls_is_found_and_mended(database: Database, damage: str) -> None:
    """As of tasks; after the repair the call runs."""
    organization, server = await an_organization(database.store), await a_server(database.store, local=False)
    await database.store.calls.begin(a_call(organization, server))
    await database.close()
    statement, names = DAMAGE[damage]
    database.rows(statement)

    store = await database.open()

    assert {drift.name for drift in await store.recount.find()} == names
    await store.recount.repair(organization.name, actor=ACTOR)
    assert await store.recount.find() == []
    assert len(await (await a_worker(store)).take(5)) == 1


async def test_calls_that_are_counted_but_not_there_starve_nobody(database: Database) -> None:
    """The claim marks the organization and goes on to others."""
    store = database.store
    broken, other, server = await an_organization(store), await an_organization(store), await a_server(store)
    await store.calls.begin(a_call(broken, server))
    await submitted(store, other)
    await database.close()
    database.rows("UPDATE call SET ready = 0")
    database.rows("UPDATE organization SET calls_ready = 1 WHERE id = :id", id=broken.id)

    store = await database.open()

    assert [lease.organization_id for lease in await (await a_worker(store)).take(5)] == [other.id]
    await store.recount.repair(broken.name, actor=ACTOR)


async def test_a_plans_change_reaches_calls(store: Store) -> None:
    """The limit of the plan acts at the next call."""
    await store.plans.create("small", slots=1, queue_limit=10, weight=1, actor=ACTOR)
    organization, server = await an_organization(store, slots=None, plan="small"), await a_server(store)
    await store.calls.begin(a_call(organization, server))

    await store.plans.change("small", changes=PlanChange(slots=2), actor=ACTOR)

    assert (await store.calls.begin(a_call(organization, server))).slots_max == 2


async def test_a_call_does_not_touch_tasks(store: Store) -> None:
    """A task of the same organization waits, runs and ends as without it."""
    organization, server, worker = await an_organization(store, slots=2), await a_server(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    await store.calls.begin(a_call(organization, server))

    for lease in await worker.take(5):
        await worker.settle(lease)

    assert await state(store, organization, task) is TaskStatus.COMPLETED
