"""How attempts end: once, by who holds them; retried, paused, given up, or handed back."""

import pytest

from fairlane.errors import SessionGone
from fairlane.model.leases import Completed, Ending, Failed, LossReason, Report, ReportVerdict
from fairlane.model.tasks import Failure, TaskStatus
from fairlane.rules.attempts import EXHAUSTED
from fairlane.store import Store
from tests.builders import (
    AGAIN,
    DONE,
    FRAGILE,
    RETURNED,
    a_task,
    a_worker,
    an_organization,
    hears,
    ids,
    state,
    submitted,
)
from tests.store.databases import Clock, Database, in_one_commit


async def test_a_report_sent_twice_is_accepted_twice_and_counts_once(store: Store) -> None:
    """The second report of the same lease gets the same answer; the first result stands."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()

    verdicts = [await worker.settle(lease, Completed('{"n":1}')), await worker.settle(lease, Completed('{"n":2}'))]

    assert verdicts == [ReportVerdict.ACCEPTED, ReportVerdict.ACCEPTED]
    assert (await store.tasks.find(organization.id, task)).result == '{"n":1}'  # type: ignore[union-attr]
    assert (await store.organizations.find(organization.name)).completed == 1


async def test_a_report_twice_in_one_exchange_counts_once(store: Store) -> None:
    """The first word about a lease stands, also inside one request."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    (task, _) = await submitted(store, organization, a_task(), a_task())
    lease, other = await worker.take(2)

    reply = await worker.exchange(Report(lease.id, DONE), Report(other.id, RETURNED), Report(lease.id, AGAIN))

    assert reply.verdicts == (ReportVerdict.ACCEPTED,) * 3
    assert await state(store, organization, task) is TaskStatus.COMPLETED
    assert (await store.tasks.status(organization.id)).processing == 0


async def test_a_report_twice_in_one_commit_counts_once(store: Store, clock: Clock) -> None:
    """Two requests with the same report that share a transaction end the lease once."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(), a_task(), a_task())
    lease, _ = await worker.take(2)

    verdicts = await in_one_commit(store, clock, lambda: worker.settle(lease), lambda: worker.settle(lease))

    after = await store.organizations.find(organization.name)
    assert verdicts == [ReportVerdict.ACCEPTED, ReportVerdict.ACCEPTED]
    assert (after.completed, after.processing) == (1, 1)


async def test_ends_of_several_exchanges_add_up(store: Store) -> None:
    """What completed and what failed before is counted still."""
    organization, worker = await an_organization(store, slots=4), await a_worker(store)
    await submitted(store, organization, *[a_task(FRAGILE) for _ in range(4)])
    leases = await worker.take(4)

    endings: list[Ending] = [DONE, AGAIN, DONE, AGAIN]
    for lease, ending in zip(leases, endings, strict=True):
        await worker.settle(lease, ending)

    after = await store.organizations.find(organization.name)
    assert (after.completed, after.failed, after.processing) == (2, 2, 0)


async def test_a_report_from_another_session_is_gone(store: Store) -> None:
    """Only the session that holds a lease can end it."""
    organization, worker, other = await an_organization(store), await a_worker(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()

    stolen = await other.settle(lease, Completed('{"stolen":1}'))

    assert stolen is ReportVerdict.GONE
    assert await state(store, organization, task) is TaskStatus.PROCESSING
    assert await worker.settle(lease) is ReportVerdict.ACCEPTED


@pytest.mark.parametrize("lease", ["", "x", "1.2", "1..2", "-1.a.b", "9" * 30 + ".a.b", "١.a.b", "1.a.b"])
async def test_a_report_about_nothing_is_gone(store: Store, lease: str) -> None:
    """A lease id that was never given out changes nothing and fails nothing."""
    worker = await a_worker(store)

    assert (await worker.exchange(Report(lease, DONE))).verdicts == (ReportVerdict.GONE,)


async def test_a_made_up_fence_is_gone(store: Store) -> None:
    """Who knows the task but not the fence cannot end its lease."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    await worker.take_one()

    reply = await worker.exchange(Report(f"{organization.id}.{task}.0000000000000000", DONE))

    assert reply.verdicts == (ReportVerdict.GONE,)
    assert await state(store, organization, task) is TaskStatus.PROCESSING


async def test_a_report_after_the_sweep_is_gone_and_changes_nothing(store: Store, clock: Clock) -> None:
    """A worker that was given up may not end the attempt of its successor."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()
    clock.advance(31)
    await store.sessions.end_expired()
    await store.sessions.return_orphans()
    successor = await a_worker(store)
    second = await successor.take_one()

    with pytest.raises(SessionGone):
        await worker.settle(lease)
    late = await successor.settle(lease)

    assert second.task_id == task
    assert late is ReportVerdict.GONE
    assert await state(store, organization, task) is TaskStatus.PROCESSING
    assert await successor.settle(second, Completed('{"n":2}')) is ReportVerdict.ACCEPTED
    assert (await store.tasks.find(organization.id, task)).result == '{"n":2}'  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["reopen", "crash"])
async def test_a_report_sent_again_after_a_restart_is_accepted_again(database: Database, how: str) -> None:
    """The worker that missed the verdict gets it from the next server."""
    organization, worker = await an_organization(database.store), await a_worker(database.store)
    (task,) = await submitted(database.store, organization)
    lease = await worker.take_one()
    await worker.settle(lease, Completed('{"n":1}'))

    worker.store = store = await getattr(database, how)()

    assert await worker.settle(lease, Completed('{"n":2}')) is ReportVerdict.ACCEPTED
    assert (await store.tasks.find(organization.id, task)).result == '{"n":1}'
    assert (await store.organizations.find(organization.name)).completed == 1


async def test_a_report_after_a_retry_does_not_end_the_next_attempt(store: Store) -> None:
    """Each attempt has a fence of its own."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    first = await worker.take_one()
    await worker.settle(first, AGAIN)
    second = await worker.take_one()

    assert await worker.settle(first, DONE) is ReportVerdict.GONE
    assert await state(store, organization, task) is TaskStatus.PROCESSING
    assert await worker.settle(second, DONE) is ReportVerdict.ACCEPTED


# Retries -------------------------------------------------------------------------------------------------------------


async def test_a_failed_attempt_waits_out_its_pause(store: Store, clock: Clock) -> None:
    """A paused task is queued, cannot start a millisecond early, and starts when it is due."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    await worker.settle(await worker.take_one(), Failed(cause="later", pause_ms=2_000))
    due_at = clock.at + 2_000

    clock.at = due_at - 1
    early = (await store.upkeep.promote(), await worker.take(1), await store.upkeep.next_due_at())
    clock.at = due_at
    moved = await store.upkeep.promote()

    assert early == (0, [], due_at)
    assert (moved, await store.upkeep.next_due_at()) == (1, None)
    lease = await worker.take_one()
    assert (lease.task_id, lease.attempt) == (task, 2)


async def test_the_pause_between_attempts_grows(store: Store, clock: Clock) -> None:
    """Without a pause of its own a failure waits half to all of 1, 2, 4 … seconds."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    pauses = []
    for _ in range(2):
        await worker.settle(await worker.take_one(), Failed(cause="it broke"))
        due_at = await store.upkeep.next_due_at()
        assert due_at is not None
        pauses.append(due_at - clock.at)
        clock.at = due_at
        await store.upkeep.promote()

    assert 500 <= pauses[0] <= 1_000
    assert 1_000 <= pauses[1] <= 2_000


async def test_a_pause_survives_a_restart(database: Database) -> None:
    """Due time and attempts are on disk."""
    organization, worker = await an_organization(database.store), await a_worker(database.store)
    await submitted(database.store, organization)
    await worker.settle(await worker.take_one(), Failed(cause="later", pause_ms=2_000))
    due_at = database.clock.at + 2_000

    worker.store = store = await database.crash()

    assert await store.upkeep.next_due_at() == due_at
    database.clock.at = due_at
    assert await store.upkeep.promote() == 1
    assert (await worker.take_one()).attempt == 2


async def test_a_pause_is_announced(store: Store, clock: Clock) -> None:
    """Who promotes is told when the next task is due."""
    heard = hears(store, "paused_until")
    organization, worker = await an_organization(store, slots=3), await a_worker(store)
    await submitted(store, organization, a_task(), a_task(), a_task())
    leases = await worker.take(3)
    pauses = [Failed(cause="x", pause_ms=pause_ms) for pause_ms in (9_000, 4_000, 7_000)]

    await worker.exchange(*[Report(lease.id, pause) for lease, pause in zip(leases, pauses, strict=True)])

    assert heard == [clock.at + 4_000]


async def test_after_the_last_attempt_the_task_fails_with_the_generic_failure(store: Store) -> None:
    """Three attempts, then the end; what broke stays with the operator."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    attempts = []
    for _ in range(3):
        lease = await worker.take_one()
        attempts.append(lease.attempt)
        await worker.settle(lease, AGAIN)

    view = await store.tasks.find(organization.id, task)
    assert attempts == [1, 2, 3]
    assert view is not None
    assert (view.status, view.failure) == (TaskStatus.FAILED, EXHAUSTED)
    assert await worker.take(1) == []
    assert (await store.organizations.find(organization.name)).failed == 1


async def test_the_last_attempts_own_failure_is_shown(store: Store) -> None:
    """A handler that failed with a code for the organization is quoted when attempts are used up."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(FRAGILE))
    failure = Failure(code="TIMEOUT", message="too slow")

    await worker.settle(await worker.take_one(), Failed(cause="x", failure=failure))

    view = await store.tasks.find(organization.id, task)
    assert view is not None
    assert (view.status, view.failure) == (TaskStatus.FAILED, failure)


async def test_a_failure_without_retry_ends_the_task_at_once(store: Store) -> None:
    """Attempts that are left are not made."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)

    await worker.settle(await worker.take_one(), Failed(cause="x", retry=False, pause_ms=5))

    view = await store.tasks.find(organization.id, task)
    assert view is not None
    assert (view.status, view.failure) == (TaskStatus.FAILED, EXHAUSTED)
    assert await store.upkeep.next_due_at() is None


async def test_an_attempt_handed_back_does_not_count(store: Store) -> None:
    """Released as often as may be, the task still has all its attempts, and is ready at once."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(FRAGILE))
    attempts = []
    for _ in range(4):
        lease = await worker.take_one()
        attempts.append(lease.attempt)
        await worker.settle(lease, RETURNED)

    assert attempts == [1] * 4


async def test_a_task_that_kills_its_worker_is_claimed_as_often_as_it_has_attempts(store: Store) -> None:
    """Attempts count when they are claimed, so a killer is stopped although nobody ever reports (I17)."""
    organization = await an_organization(store)
    (task,) = await submitted(store, organization)
    claims = 0
    for _ in range(10):
        worker = await a_worker(store)
        claims += len(await worker.take(1))
        await store.sessions.end(worker.id, reason=LossReason.LOST)

    view = await store.tasks.find(organization.id, task)
    assert claims == 3
    assert view is not None
    assert (view.status, view.failure) == (TaskStatus.FAILED, EXHAUSTED)


async def test_a_mix_of_endings_is_settled_in_one_exchange(store: Store) -> None:
    """Each report is decided on its own; verdicts come in their order, the gone among them."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])
    leases = await worker.take(5)
    endings: list[Ending] = [DONE, Failed(cause="x", retry=False), AGAIN, Failed(cause="x", pause_ms=1_000), RETURNED]
    reports = [Report(lease.id, ending) for lease, ending in zip(leases, endings, strict=True)]

    reply = await worker.exchange(*reports[:2], Report("1.x.y", DONE), *reports[2:])

    assert (
        reply.verdicts
        == (ReportVerdict.ACCEPTED, ReportVerdict.ACCEPTED, ReportVerdict.GONE) + (ReportVerdict.ACCEPTED,) * 3
    )
    assert [str(await state(store, organization, task)) for task in ids(leases)] == [
        "COMPLETED", "FAILED", "QUEUED", "QUEUED", "QUEUED",
    ]  # fmt: skip
    after = await store.organizations.find(organization.name)
    assert (after.submitted, after.completed, after.failed, after.queued) == (5, 1, 1, 3)
