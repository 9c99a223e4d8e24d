"""Sessions: alive while renewed, dead once and for all; what a dead one held goes back."""

import asyncio

import pytest
from msgspec.structs import replace

from fairlane.errors import NotFound, SessionGone
from fairlane.model.leases import Exchange, ExchangeReply, LossReason, Report, ReportVerdict
from fairlane.model.tasks import TaskStatus
from fairlane.store import Store
from tests.builders import DONE, FRAGILE, a_server, a_session, a_task, a_worker, an_organization, ids, state, submitted
from tests.store.databases import Clock, Database, set_clock

LEASE_SECONDS = 30
TIMEOUT_SECONDS = 60
GRACE_SECONDS = 5


async def sweep(store: Store) -> int:
    """One round of upkeep; how many leases went back."""
    await store.sessions.end_expired()
    return await store.sessions.return_orphans()


async def test_a_renewed_session_lives_on(store: Store, clock: Clock) -> None:
    """Renewal gives a whole lease from now on."""
    worker = await a_worker(store)
    for _ in range(5):
        clock.advance(LEASE_SECONDS - 1)
        await worker.renew()
        assert await store.sessions.end_expired() == []

    assert (await worker.exchange()).leases == ()


async def test_a_session_dies_after_its_lease_and_not_before(store: Store, clock: Clock) -> None:
    """At the last millisecond it lives; one later the sweep ends it and names it."""
    worker = await a_worker(store)

    clock.advance(LEASE_SECONDS)
    at = await store.sessions.end_expired()
    clock.at += 1
    after = await store.sessions.end_expired()
    again = await store.sessions.end_expired()

    assert (at, after, again) == ([], [worker.session.name], [])


async def test_a_drained_worker_gets_no_more_leases(store: Store) -> None:
    """From now on, and its renewals tell it; what it runs it ends itself. It is no worker that serves a type."""
    organization = await an_organization(store, slots=3)
    await submitted(store, organization, a_task(), a_task())
    worker, other = await a_worker(store), await a_worker(store)
    lease = await worker.take_one()
    before = await worker.renew(leases=[lease.id])

    await store.sessions.drain(worker.id, actor="a test")

    assert await worker.take(1) == []
    assert (before.draining, (await worker.renew(leases=[lease.id])).draining) == (False, True)
    assert [one.draining for one in await store.sessions.all(most=9) if one.id == worker.id] == [True]
    assert (await store.fleet.find()).workers == 1
    assert await worker.settle(lease) is ReportVerdict.ACCEPTED
    assert len(await other.take(1)) == 1
    [row] = [row for row in await store.trail.page() if row.action == "worker.drained"]
    assert (row.subject, row.details) == (worker.session.name, {"session": worker.id})
    for unknown in ("nothing", await a_server(store)):
        with pytest.raises(NotFound):
            await store.sessions.drain(unknown, actor="a test")


async def test_each_session_has_its_own_lease(store: Store, clock: Clock) -> None:
    """A short lease ends before a long one."""
    short, long = await a_worker(store, lease_seconds=3), await a_worker(store, lease_seconds=30)
    clock.advance(4)

    assert await store.sessions.end_expired() == [short.session.name]
    await long.renew()


async def test_an_expired_session_may_renew_until_a_sweep_has_seen_it(store: Store, clock: Clock) -> None:
    """An outage of the database does not run the world again: who comes back first stays."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()
    clock.advance(40)

    await worker.renew(leases=[lease.id])
    returned = await sweep(store)

    assert returned == 0
    assert await worker.settle(lease) is ReportVerdict.ACCEPTED
    assert await state(store, organization, task) is TaskStatus.COMPLETED


async def test_a_dead_session_never_comes_back(store: Store, clock: Clock) -> None:
    """Dead is one-way: neither renewing nor exchanging revives it, before and after its row is gone."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    await worker.take_one()
    clock.advance(LEASE_SECONDS + 1)
    await store.sessions.end_expired()

    for _ in range(2):
        with pytest.raises(SessionGone):
            await worker.renew()
        with pytest.raises(SessionGone):
            await worker.exchange(places=1)
        await store.sessions.return_orphans()


async def test_a_jump_of_the_clock_kills_nobody(store: Store, clock: Clock) -> None:
    """Every live session has a whole lease from now on, every attempt the time that it had left; the dead stay dead."""
    organization, alive, dead = await an_organization(store), await a_worker(store), await a_worker(store)
    await submitted(store, organization)
    lease = await alive.take_one()
    await store.sessions.end(dead.id, reason=LossReason.LOST)

    await set_clock(store, clock, 3_600)
    clock.advance(LEASE_SECONDS)

    assert await sweep(store) == 0
    await alive.renew(leases=[lease.id])
    assert await alive.settle(lease) is ReportVerdict.ACCEPTED
    with pytest.raises(SessionGone):
        await dead.renew()


@pytest.mark.parametrize("seconds", [-3_600, 3_600])
async def test_a_lease_taken_before_a_jump_is_noticed_keeps_its_deadline(
    store: Store, clock: Clock, seconds: int
) -> None:
    """An attempt that began after the clock was set, and before a sweep saw that, is not moved: it would count as
    overdue after a step back, and would be tried again while it runs.

    Found by the simulation.
    """
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(), a_task())
    before = await worker.take_one()
    await store.jumps.follow(lambda: 0)
    clock.advance(seconds + 2)
    after = await worker.take_one()
    clock.advance(1)

    assert await store.jumps.follow(lambda: 3) == seconds * 1_000

    assert await sweep(store) == 0
    assert [await worker.settle(lease) for lease in (before, after)] == [ReportVerdict.ACCEPTED] * 2


async def test_a_clock_that_went_back_while_no_server_ran_keeps_no_dead_worker(
    database: Database, clock: Clock
) -> None:
    """Sessions and leases from before would last as long as the step; the first reading of the next server moves them.

    Found by the simulation.
    """
    store = database.store
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    await worker.take_one()
    for _ in range(2):
        await store.jumps.follow(lambda: 0)
    clock.advance(-3_600)

    store = await database.reopen()
    assert await store.jumps.follow(lambda: 0) == -3_600_000
    assert await store.jumps.follow(lambda: 0) == 0

    assert await sweep(store) == 0
    clock.advance(LEASE_SECONDS + 1)
    assert await sweep(store) == 1


async def test_a_server_that_starts_leaves_alone_what_began_after_the_clock_was_set(
    database: Database, clock: Clock
) -> None:
    """Another server may give a lease before either notices the step: moved, it would count as overdue at once.

    Found by the simulation.
    """
    store = database.store
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    for _ in range(2):
        await store.jumps.follow(lambda: 0)
    clock.advance(-3_600)
    lease = await worker.take_one()

    worker.store = store = await database.reopen()
    clock.advance(1)
    assert await store.jumps.follow(lambda: 0) == -3_599_000

    assert await sweep(store) == 0
    assert await worker.settle(lease) is ReportVerdict.ACCEPTED


async def test_a_clock_that_went_on_while_no_server_ran_is_not_judged(database: Database, clock: Clock) -> None:
    """Time that passed cannot be told from a step forward, nor a moment from a step back."""
    await database.store.jumps.follow(lambda: 0)
    await database.store.jumps.follow(lambda: 0)
    for seconds in (3_600, -1):
        clock.advance(seconds)
        store = await database.reopen()

        assert await store.jumps.follow(lambda: 0) == 0


async def test_a_lease_sent_again_after_a_jump_has_its_own_timeout(store: Store, clock: Clock) -> None:
    """A jump of the clock gives the attempt back the time that it had, not the jump on top."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    (lease,) = (await worker.exchange(places=1, exchange="e")).leases
    await set_clock(store, clock, 3_600)

    (again,) = (await worker.exchange(places=1, exchange="e")).leases

    assert again.timeout_ms == lease.timeout_ms


async def test_what_an_expired_session_held_goes_back(store: Store, clock: Clock) -> None:
    """Its tasks are ready at their old place, the slots free, the attempt counted; once."""
    organization, worker, other = await an_organization(store, slots=2), await a_worker(store), await a_worker(store)
    tasks = await submitted(store, organization, a_task(), a_task(), a_task())
    await worker.take(2)
    clock.advance(LEASE_SECONDS + 1)
    await other.renew()

    returned = [await sweep(store), await sweep(store)]

    leases = await other.take(5)
    assert returned == [2, 0]
    assert ids(leases) == tasks[:2]
    assert [lease.attempt for lease in leases] == [2, 2]


async def test_a_lease_whose_session_is_missing_goes_back(database: Database) -> None:
    """Orphans are found by the rows themselves, not by remembering who died."""
    organization, worker = await an_organization(database.store), await a_worker(database.store)
    (task,) = await submitted(database.store, organization)
    await worker.take_one()
    await database.close()
    database.rows("DELETE FROM session")
    store = await database.open()

    assert await store.sessions.return_orphans() == 1
    assert await state(store, organization, task) is TaskStatus.QUEUED


async def test_a_sweep_cut_short_is_finished_by_the_next(database: Database) -> None:
    """A server that dies between marking a session dead and returning its leases leaves nothing behind."""
    organization, worker = await an_organization(database.store), await a_worker(database.store)
    (task,) = await submitted(database.store, organization)
    await worker.take_one()
    database.clock.advance(LEASE_SECONDS + 1)
    await database.store.sessions.end_expired()

    store = await database.crash()

    assert await store.sessions.return_orphans() == 1
    assert await state(store, organization, task) is TaskStatus.QUEUED


async def test_the_sweep_is_bounded(store: Store, clock: Clock) -> None:
    """One round returns at most 500 leases; the next ones the rest."""
    organization, worker = await an_organization(store, slots=600), await a_worker(store)
    await store.tasks.submit(organization.id, [a_task() for _ in range(600)])
    assert len(await worker.take(600)) == 600
    await store.sessions.end("nobody", reason=LossReason.LOST)
    clock.advance(LEASE_SECONDS + 1)

    await store.sessions.end_expired()

    assert [await store.sessions.return_orphans() for _ in range(3)] == [500, 100, 0]


# Ending a session ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "attempts"),
    [(LossReason.LOST, [2, 2]), (LossReason.DRAINED, [1, 1]), (LossReason.OVERDUE, [1, 1])],
)
async def test_an_ended_session_returns_everything_at_once(
    store: Store, reason: LossReason, attempts: list[int]
) -> None:
    """Lost attempts count; those handed back, or killed because a neighbour overran, do not. Ending twice is once."""
    organization, worker, other = await an_organization(store, slots=2), await a_worker(store), await a_worker(store)
    tasks = await submitted(store, organization, a_task(), a_task())
    await worker.take(2)

    returned = [await store.sessions.end(worker.id, reason=reason) for _ in range(2)]

    leases = await other.take(2)
    assert returned == [2, 0]
    assert ids(leases) == tasks
    assert [lease.attempt for lease in leases] == attempts
    with pytest.raises(SessionGone):
        await worker.renew()


async def test_only_the_overdue_attempts_of_a_killed_process_count(store: Store, clock: Clock) -> None:
    """The neighbour is ready at once with its attempt back; the overdue one waits out a pause and has lost one."""
    organization, worker, other = await an_organization(store, slots=2), await a_worker(store), await a_worker(store)
    late, neighbour = await submitted(store, organization, a_task(), a_task())
    overdue, _ = await worker.take(2)

    returned = await store.sessions.end(worker.id, reason=LossReason.OVERDUE, overdue=[overdue.id, "1.not.held"])

    (ready,) = await other.take(2)
    assert returned == 2
    assert (ready.task_id, ready.attempt) == (neighbour, 1)
    clock.at = await store.upkeep.next_due_at() or 0
    await store.upkeep.promote()
    (again,) = await other.take(2)
    assert (again.task_id, again.attempt) == (late, 2)


async def test_an_overdue_last_attempt_fails_its_task(store: Store) -> None:
    """A task that overran its only attempt is over."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(FRAGILE))
    lease = await worker.take_one()

    await store.sessions.end(worker.id, reason=LossReason.OVERDUE, overdue=[lease.id])

    assert await state(store, organization, task) is TaskStatus.FAILED


async def test_ending_a_session_nobody_opened_changes_nothing(store: Store) -> None:
    """No leases, no error."""
    assert await store.sessions.end("nobody", reason=LossReason.LOST) == 0


# Renewing ------------------------------------------------------------------------------------------------------------


async def test_leases_the_worker_never_received_go_back_uncounted(store: Store, clock: Clock) -> None:
    """A lease of an exchange nobody waits for any more, unknown to the worker for a whole lease, runs nowhere."""
    organization, worker = await an_organization(store, slots=3), await a_worker(store)
    known, unknown, underway = await submitted(store, organization, a_task(), a_task(), a_task())
    first = await worker.take_one()
    await worker.exchange(places=1, exchange="closed")
    await worker.exchange(places=1, exchange="open")
    clock.advance(LEASE_SECONDS)
    await worker.renew(leases=[first.id], exchanges=["open"])
    young = await state(store, organization, unknown)
    clock.at += 1

    await worker.renew(leases=[first.id], exchanges=["open"])

    assert young is TaskStatus.PROCESSING
    assert await state(store, organization, known) is TaskStatus.PROCESSING
    assert await state(store, organization, unknown) is TaskStatus.QUEUED
    assert await state(store, organization, underway) is TaskStatus.PROCESSING
    assert (await worker.take_one()).attempt == 1


async def test_a_late_renewal_after_a_jump_takes_no_lease_that_it_cannot_know(store: Store, clock: Clock) -> None:
    """It was written before the exchange began, and comes when the clock was set by an hour: the lease looks old to it,
    and is a moment old. Taken back, the task would run twice at once."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task())
    clock.advance(LEASE_SECONDS / 3)
    await worker.renew(exchanges=["before"])
    lease = await worker.take_one()
    clock.advance(3_600)

    await worker.renew(exchanges=["before"])

    assert await state(store, organization, lease.task_id) is TaskStatus.PROCESSING
    assert await worker.settle(lease) is ReportVerdict.ACCEPTED


async def test_leases_of_a_withdrawn_exchange_go_back_at_once(store: Store, clock: Clock) -> None:
    """A worker that stands still received the first, not the second: the first stays its own, the second is free."""
    organization, worker, other = await an_organization(store, slots=3), await a_worker(store), await a_worker(store)
    received, unread = await submitted(store, organization, a_task(), a_task())
    first = await worker.take_one()
    await worker.exchange(places=1, exchange="unread")

    await store.sessions.renew(worker.id, leases=[first.id], exchanges=["unread"], withdrawn=["unread"])

    assert await state(store, organization, received) is TaskStatus.PROCESSING
    again = await other.take_one()
    assert (again.task_id, again.attempt) == (unread, 1)


async def test_renewing_touches_no_other_session(store: Store, clock: Clock) -> None:
    """A worker that knows of nothing gives back its own leases only."""
    organization, worker, other = await an_organization(store), await a_worker(store), await a_worker(store)
    await submitted(store, organization, a_task(), a_task())
    await worker.take_one()
    theirs = await other.take_one()
    clock.advance(LEASE_SECONDS + 1)

    for _ in range(2):
        await worker.renew()

    assert (await store.tasks.status(organization.id)).processing == 1
    assert await other.settle(theirs) is ReportVerdict.ACCEPTED


async def test_attempts_long_past_their_deadline_are_taken_back(store: Store, clock: Clock) -> None:
    """The net below the supervisor: two graces after its deadline a lease goes back though its session lives."""
    organization, worker = await an_organization(store), await a_worker(store, lease_seconds=1_000)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()
    clock.advance(TIMEOUT_SECONDS + 2 * GRACE_SECONDS)
    early = await sweep(store)
    clock.at += 1

    returned = await sweep(store)

    assert (early, returned) == (0, 1)
    assert await state(store, organization, task) is TaskStatus.QUEUED
    assert (await worker.exchange(Report(lease.id, DONE))).verdicts == (ReportVerdict.GONE,)


async def test_a_result_that_comes_after_the_attempt_was_given_up_is_gone(store: Store, clock: Clock) -> None:
    """Once the sweep has ended a task as FAILED, its worker's late result is not said to have been accepted."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(task_type=FRAGILE))
    lease = await worker.take_one()
    clock.advance(lease.timeout_ms / 1000 + 2 * GRACE_SECONDS + 1)
    await worker.renew(leases=[lease.id])
    await store.sessions.return_orphans()

    verdicts = [await worker.settle(lease), await worker.settle(lease)]

    assert verdicts == [ReportVerdict.GONE, ReportVerdict.GONE]
    assert await state(store, organization, task) is TaskStatus.FAILED


@pytest.mark.parametrize(("owner", "other"), [("key-1", "key-2"), ("key-1", None), (None, "key-1")])
async def test_a_session_belongs_to_the_key_that_opened_it(store: Store, owner: str | None, other: str | None) -> None:
    """To another one, or to none, it is not there: nothing is settled, renewed or ended. The row says which."""
    organization = await an_organization(store)
    (task,) = await submitted(store, organization)
    session = replace(a_session(), key_id=owner)
    await store.sessions.open(session)
    [lease] = (await store.leases.exchange(Exchange(session_id=session.id, id="1", places=1, key_id=owner))).leases
    stolen = Exchange(session_id=session.id, id="2", places=1, reports=(Report(lease.id, DONE),), key_id=other)

    with pytest.raises(SessionGone):
        await store.leases.exchange(stolen)
    with pytest.raises(SessionGone):
        await store.sessions.renew(session.id, leases=(), exchanges=(), withdrawn=["1"], key_id=other)
    assert await store.sessions.end(session.id, reason=LossReason.LOST, key_id=other) == 0

    assert await state(store, organization, task) is TaskStatus.PROCESSING
    await store.sessions.renew(session.id, leases=[lease.id], exchanges=(), key_id=owner)
    assert await store.sessions.end(session.id, reason=LossReason.LOST, key_id=owner) == 1


async def test_exchanges_of_both_keys_at_once_are_told_apart(store: Store) -> None:
    """One transaction may hold them both."""
    session = replace(a_session(), key_id="key-1")
    await store.sessions.open(session)

    answers = await asyncio.gather(
        *(
            store.leases.exchange(Exchange(session_id=session.id, id=key, places=0, key_id=key))
            for key in ("key-2", "key-1")
        ),
        return_exceptions=True,
    )

    assert isinstance(answers[0], SessionGone)
    assert isinstance(answers[1], ExchangeReply)
