"""Attempts: each that did not complete its task leaves one row, which goes when the task goes."""

from functools import partial

import pytest

from fairlane.errors import NotFound
from fairlane.model.attempts import AttemptEnding, AttemptFacts
from fairlane.model.leases import Ending, Failed, LossReason, Report
from fairlane.model.organizations import Organization
from fairlane.model.tasks import Failure, Waited
from fairlane.rules.attempts import EXHAUSTED
from fairlane.store import Store
from fairlane.store.attempts import KEPT, TEXT_MOST
from tests.builders import (
    ACTOR,
    AGAIN,
    DONE,
    FRAGILE,
    IMAGE,
    RETURNED,
    Worker,
    a_call,
    a_server,
    a_task,
    a_worker,
    an_organization,
    submitted,
)
from tests.store.databases import Clock, Database, in_one_commit

PAUSED = Failed(cause="KeyError: 'x'", pause_ms=5_000)
REFUSED = Failed(cause="Fail: too large", failure=Failure(code="TOO_LARGE", message="m" * 2_000), retry=False)


AT_ONCE = Waited(0, 0)


async def attempts(store: Store, organization: Organization, task: str) -> tuple[AttemptFacts, ...]:
    """The attempts at a task, as its organization gets them."""
    return (await store.attempts.find(organization.id, task)).attempts


async def running(store: Store) -> tuple[Organization, Worker, str]:
    """An organization with one submitted task, and a worker."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(key="k"))
    return organization, worker, task


async def test_a_task_that_completes_at_once_leaves_no_row(database: Database) -> None:
    """Its one attempt is read from the outcome; while it ran, from the lease."""
    store = database.store
    organization, worker, task = await running(store)
    began = database.clock.at
    lease = await worker.take_one()
    while_it_ran = await attempts(store, organization, task)
    database.clock.advance(2)
    await worker.settle(lease, DONE)

    assert database.rows("SELECT count(*) FROM attempt") == [(0,)]
    assert while_it_ran == (
        AttemptFacts(
            waited=AT_ONCE,
            number=1,
            started_at=began,
            ended_at=None,
            ending=None,
            worker=worker.session.name,
            lease=lease.id,
        ),
    )
    assert await attempts(store, organization, "k") == (
        AttemptFacts(
            waited=AT_ONCE,
            number=1,
            started_at=began,
            ended_at=began + 2_000,
            ending=AttemptEnding.COMPLETED,
            lease=lease.id,
        ),
    )


async def test_every_attempt_that_did_not_complete_the_task_is_told(store: Store, clock: Clock) -> None:
    """Number, times, ending, cause, worker and pause; the text of a failure only where the organization may see it."""
    organization, worker, task = await running(store)
    began = clock.at
    first = await worker.take_one()
    clock.advance(1)
    await worker.settle(first, PAUSED)
    clock.advance(5)
    await store.upkeep.promote()
    second = await worker.take_one()
    await worker.settle(second, RETURNED)
    third = await worker.take_one()
    await worker.settle(third, REFUSED)

    found = await attempts(store, organization, task)

    assert found == (
        AttemptFacts(
            waited=AT_ONCE,
            number=1, started_at=began, ended_at=began + 1_000, ending=AttemptEnding.FAILED, due_at=began + 6_000,
            cause="KeyError: 'x'", worker=worker.session.name, lease=first.id,
        ),
        AttemptFacts(
            waited=AT_ONCE,
            number=2, started_at=began + 6_000, ended_at=began + 6_000, ending=AttemptEnding.HANDED_BACK,
            worker=worker.session.name, lease=second.id,
        ),
        AttemptFacts(
            waited=AT_ONCE,
            number=2, started_at=began + 6_000, ended_at=began + 6_000, ending=AttemptEnding.FAILED, code="TOO_LARGE",
            message="m" * TEXT_MOST, cause="Fail: too large", worker=worker.session.name, lease=third.id,
        ),
    )  # fmt: skip
    assert (await store.attempts.of_any(task)).attempts == found
    view = await store.tasks.find(organization.id, task)
    assert view is not None
    assert view.failure == REFUSED.failure


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        (AGAIN, AttemptEnding.FAILED),
        (RETURNED, AttemptEnding.HANDED_BACK),
        (Failed(cause="timeout", pause_ms=0, how=AttemptEnding.TIMED_OUT), AttemptEnding.TIMED_OUT),
        (Failed(cause="lost: -9", pause_ms=0, how=AttemptEnding.WORKER_LOST), AttemptEnding.WORKER_LOST),
    ],
)
async def test_a_report_says_how_an_attempt_ended(store: Store, ending: Ending, how: AttemptEnding) -> None:
    """What a worker reports once is kept once, also when it is sent again, or twice in one commit."""
    organization, worker, task = await running(store)
    lease = await worker.take_one()

    await worker.exchange(Report(lease.id, ending), Report(lease.id, AGAIN))
    await worker.settle(lease, AGAIN)

    (one,) = await attempts(store, organization, task)
    assert (one.ending, one.lease) == (how, lease.id)


@pytest.mark.parametrize("ending", [AGAIN, DONE])
async def test_no_attempt_ends_before_it_began(store: Store, clock: Clock, ending: Ending) -> None:
    """The clock was set back meanwhile, and no sweep has noticed it yet."""
    organization, worker, task = await running(store)
    lease = await worker.take_one()
    clock.advance(-3_600)

    await worker.settle(lease, ending)

    (one,) = await attempts(store, organization, task)
    assert one.ended_at == clock.at
    assert one.started_at == clock.at


async def test_two_reports_of_one_commit_leave_one_row(store: Store, clock: Clock) -> None:
    """The lease ends once, and its row goes with it."""
    organization, worker, task = await running(store)
    lease = await worker.take_one()

    await in_one_commit(store, clock, *[partial(worker.settle, lease, AGAIN) for _ in range(2)])

    assert len(await attempts(store, organization, task)) == 1


async def test_an_attempt_that_ends_with_its_worker_is_lost_handed_back_or_overdue(store: Store) -> None:
    """As the supervisor says; the name of the worker stays when its session is gone."""
    organization, task = await an_organization(store, slots=1), ""
    (task,) = await submitted(store, organization)
    names = []
    for reason in (LossReason.DRAINED, LossReason.OVERDUE, LossReason.LOST):
        worker = await a_worker(store)
        lease = await worker.take_one()
        await store.sessions.end(worker.id, reason=reason, overdue=[lease.id] if reason is LossReason.OVERDUE else [])
        await store.sessions.return_orphans()
        names.append(worker.session.name)
        await store.upkeep.promote()
        if reason is LossReason.OVERDUE:
            break

    found = await attempts(store, organization, task)

    assert [(one.ending, one.number, one.cause) for one in found] == [
        (AttemptEnding.HANDED_BACK, 1, None),
        (AttemptEnding.TIMED_OUT, 1, "past its deadline"),
    ]
    assert [one.worker for one in found] == names


async def test_a_silent_worker_loses_its_attempt(store: Store, clock: Clock) -> None:
    """The sweep that returns the lease writes the row, once; a late report writes none."""
    organization, worker, task = await running(store)
    lease = await worker.take_one()
    clock.advance(31)
    await store.sessions.end_expired()
    for _ in range(2):
        await store.sessions.return_orphans()

    (one,) = await attempts(store, organization, task)
    assert (one.ending, one.cause, one.code, one.lease) == (AttemptEnding.WORKER_LOST, "worker lost", None, lease.id)


async def test_the_last_attempt_tells_what_the_task_failed_with(store: Store) -> None:
    """Without a failure of its handler that is the generic one."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(FRAGILE))
    await worker.settle(await worker.take_one(), AGAIN)

    (one,) = await attempts(store, organization, task)
    assert (one.code, one.message, one.due_at) == (EXHAUSTED.code, EXHAUSTED.message, None)


async def test_a_canceled_attempt_is_canceled_whatever_its_handler_returned(store: Store) -> None:
    """The task did not complete, so the attempt has a row. A task that is canceled while queued has none."""
    organization, worker, task = await running(store)
    (queued,) = await submitted(store, organization)
    lease = await worker.take_one()
    for one in (task, queued):
        await store.tasks.cancel(organization.id, one)
    await worker.settle(lease, DONE)

    (canceled,) = await attempts(store, organization, task)
    assert (canceled.ending, canceled.code) == (AttemptEnding.CANCELED, "TASK_CANCELED")
    assert await attempts(store, organization, queued) == ()


async def test_the_newest_attempts_of_a_task_are_kept(database: Database) -> None:
    """A task that is handed back again and again keeps a bounded number of rows, and tells how many are missing."""
    store = database.store
    organization, worker, task = await running(store)
    leases = []
    for _ in range(KEPT + 3):
        leases.append(await worker.take_one())
        await worker.settle(leases[-1], RETURNED)

    found = await store.attempts.find(organization.id, task)

    assert [one.lease for one in found.attempts] == [lease.id for lease in leases[3:]]
    assert found.omitted == 3
    assert database.rows("SELECT count(*) FROM attempt") == [(KEPT,)]


@pytest.mark.parametrize("how", ["purge", "clear", "erase"])
async def test_attempts_go_with_their_task(database: Database, how: str) -> None:
    """No row is left of a task that is purged, cleared or erased; another organization's stay."""
    store = database.store
    organization, worker, task = await running(store)
    other = await an_organization(store)
    await submitted(store, other, a_task(IMAGE))
    for lease in await worker.take(2):
        await worker.settle(lease, AGAIN if how == "clear" or lease.task_id != task else REFUSED)
    if how == "purge":
        database.clock.advance(2 * 86_400)
        await store.upkeep.purge()
    elif how == "clear":
        await store.tasks.clear(organization.id)
    else:
        while not (await store.erasing.erase(organization.name, actor=ACTOR)).done:
            pass

    assert database.rows("SELECT organization_id FROM attempt") == [(other.id,)]


async def test_attempts_are_the_organizations_own(store: Store) -> None:
    """Another organization's task, and one that does not exist, get the same answer."""
    _, _, task = await running(store)
    other = await an_organization(store)

    for reference in (task, "k", "nothing"):
        with pytest.raises(NotFound):
            await store.attempts.find(other.id, reference)
    with pytest.raises(NotFound):
        await store.attempts.of_any("nothing")


async def test_a_call_leaves_no_attempts(database: Database) -> None:
    """It is deleted when its caller has the answer."""
    store = database.store
    organization, worker = await an_organization(store), await a_worker(store)
    await store.calls.begin(a_call(organization, await a_server(store)))
    await worker.settle(await worker.take_one(), AGAIN)

    assert database.rows("SELECT count(*) FROM attempt") == [(0,)]
