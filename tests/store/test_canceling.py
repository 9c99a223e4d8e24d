"""Canceling: at once what waits, for certain what runs, and never what ended."""

import asyncio

import pytest

from fairlane.errors import NotFound, TaskEnded, TaskExists
from fairlane.model.leases import Ending, Failed, LossReason, Released, Report, ReportVerdict
from fairlane.model.tasks import TaskStatus, TaskView
from fairlane.rules.attempts import CANCELED
from fairlane.store import Store
from tests.builders import (
    AGAIN,
    DONE,
    FRAGILE,
    LIMITED,
    a_task,
    a_worker,
    an_organization,
    hears,
    ids,
    state,
    submitted,
)
from tests.store.databases import Clock, Database, in_one_commit


def is_canceled(view: TaskView | None) -> bool:
    """Whether this task ended by being canceled, at no cost."""
    return view is not None and view.status is TaskStatus.FAILED and view.failure == CANCELED and view.charged == 0


async def test_a_ready_task_is_over_at_once(store: Store) -> None:
    """FAILED, not charged, never started; the others keep their places and their order."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    first, second, third = await submitted(store, organization, a_task(cost=7), a_task(cost=7), a_task(cost=7))

    view = await store.tasks.cancel(organization.id, second)

    assert is_canceled(view)
    assert view == await store.tasks.find(organization.id, second)
    assert view.latency_ms is None
    assert (await store.tasks.status(organization.id)).queued == 2
    assert ids(await worker.take(9)) == [first, third]
    assert (await store.organizations.find(organization.name)).failed == 1


async def test_a_task_between_two_attempts_is_over_at_once(store: Store, clock: Clock) -> None:
    """Its latency counts from its first start; it is never promoted."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=60_000))
    clock.advance(3)

    view = await store.tasks.cancel(organization.id, task)

    assert is_canceled(view)
    assert view.latency_ms == 3_000
    clock.advance(60)
    assert await store.upkeep.promote() == 0
    assert await worker.take(9) == []


@pytest.mark.parametrize("ending", [DONE, AGAIN, Failed(cause="x"), Failed(cause="x", retry=False), Released()])
async def test_a_running_task_ends_canceled_however_its_handler_ends(store: Store, ending: Ending) -> None:
    """Its slot is taken until then; even what completed before it heard of it is not charged. The worker learns no
    more than that its report was taken."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    task, _ = await submitted(store, organization, a_task(cost=7), a_task())
    lease = await worker.take_one()

    view = await store.tasks.cancel(organization.id, task)

    assert view.status is TaskStatus.PROCESSING
    assert await store.leases.canceled([worker.id]) == {worker.id: [lease.id]}
    assert await worker.take(1) == []
    assert await worker.settle(lease, ending) is ReportVerdict.ACCEPTED
    assert await worker.settle(lease, ending) is ReportVerdict.ACCEPTED
    assert is_canceled(await store.tasks.find(organization.id, task))
    assert await store.leases.canceled([worker.id]) == {}
    assert len(await worker.take(9)) == 1


@pytest.mark.parametrize("reason", LossReason)
async def test_a_canceled_task_whose_worker_dies_is_over(store: Store, reason: LossReason) -> None:
    """It is not run again, whatever ended its session, and whatever attempts are left."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()
    await store.tasks.cancel(organization.id, task)

    await store.sessions.end(worker.id, reason=reason, overdue=[lease.id])

    assert is_canceled(await store.tasks.find(organization.id, task))
    assert (await store.tasks.status(organization.id)).queued == 0


async def test_a_worker_that_never_answers_holds_the_slot_for_a_bounded_time(store: Store, clock: Clock) -> None:
    """Its supervisor hears with its next renewal (10 s) and kills after its grace; after twice that the server ends
    the lease itself. What the worker reports then is gone."""
    organization, worker = await an_organization(store), await a_worker(store, lease_seconds=1_000)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()
    await store.tasks.cancel(organization.id, task)

    clock.advance(20)
    early = await store.sessions.return_orphans()
    clock.advance(0.001)
    late = await store.sessions.return_orphans()

    assert (early, late) == (0, 1)
    assert is_canceled(await store.tasks.find(organization.id, task))
    assert await worker.settle(lease) is ReportVerdict.GONE


async def test_a_cancel_never_gives_more_time(store: Store, clock: Clock) -> None:
    """Canceled shortly before its deadline, or canceled again and again: it is not held longer for that."""
    organization, worker = await an_organization(store), await a_worker(store, lease_seconds=1_000)
    (task,) = await submitted(store, organization)
    await worker.take_one()
    clock.advance(59)
    for _ in range(3):
        await store.tasks.cancel(organization.id, task)
        clock.advance(4)

    assert await store.sessions.return_orphans() == 1


async def test_renewals_name_what_is_to_end(store: Store) -> None:
    """So that a supervisor can kill a worker that cannot hear."""
    organization, worker = await an_organization(store), await a_worker(store)
    task, _ = await submitted(store, organization, a_task(), a_task())
    first, second = await worker.take(2)
    await store.tasks.cancel(organization.id, task)

    answer = await store.sessions.renew(worker.id, leases=[first.id, second.id], exchanges=[])

    assert answer.canceled == [first.id]


async def test_it_can_be_repeated(store: Store) -> None:
    """While it is ending and after it ended, by id and by key: the same answer, one outcome."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(key="k", webhook="hooks.example"))
    lease = await worker.take_one()

    running = [await store.tasks.cancel(organization.id, reference) for reference in (task, "k", task)]
    await worker.settle(lease)
    ended = [await store.tasks.cancel(organization.id, reference) for reference in (task, "k", task)]

    assert {view.status for view in running} == {TaskStatus.PROCESSING}
    assert all(is_canceled(view) for view in ended)
    assert len((await store.deliveries.page(organization.id, most=10)).deliveries) == 1


@pytest.mark.parametrize("ending", [DONE, Failed(cause="x", retry=False)])
async def test_what_ended_otherwise_is_refused(store: Store, ending: Ending) -> None:
    """And stays as it was."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    await worker.settle(await worker.take_one(), ending)
    before = await store.tasks.find(organization.id, task)

    with pytest.raises(TaskEnded) as caught:
        await store.tasks.cancel(organization.id, task)

    assert caught.value.details == {"id": task, "status": before.status}  # type: ignore[union-attr]
    assert await store.tasks.find(organization.id, task) == before


async def test_a_foreign_or_unknown_task_is_not_there(store: Store) -> None:
    """Another organization's task is not touched."""
    organization, other = await an_organization(store), await an_organization(store)
    (theirs,) = await submitted(store, other, a_task(key="k"))

    for reference in (theirs, "k", "nothing"):
        with pytest.raises(NotFound):
            await store.tasks.cancel(organization.id, reference)

    assert await state(store, other, theirs) is TaskStatus.QUEUED


async def test_a_webhook_is_owed_as_for_any_outcome(store: Store) -> None:
    """Of a queued task at once, of a running one when it has ended; its key stays its own."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    running, queued = await submitted(
        store, organization, a_task(webhook="hooks.example"), a_task(key="k", webhook="hooks.example")
    )
    lease = await worker.take_one()

    owed = []
    for task in (running, queued):
        await store.tasks.cancel(organization.id, task)
        owed.append([one.task_id for one in (await store.deliveries.page(organization.id, most=9)).deliveries])
    await worker.settle(lease)
    owed.append([one.task_id for one in (await store.deliveries.page(organization.id, most=9)).deliveries])

    assert owed == [[], [queued], [running, queued]]
    (again,) = await store.tasks.submit(organization.id, [a_task(key="k")])
    assert isinstance(again, TaskExists)


async def test_the_wish_outlives_the_server(database: Database) -> None:
    """It stands in the lease: the next server tells the worker, and a report to it ends the task so."""
    organization, worker = await an_organization(database.store), await a_worker(database.store)
    running, queued = await submitted(database.store, organization, a_task(), a_task())
    lease = await worker.take_one()
    await database.store.tasks.cancel(organization.id, running)
    await database.store.tasks.cancel(organization.id, queued)

    worker.store = await database.crash()

    assert await worker.store.leases.canceled([worker.id]) == {worker.id: [lease.id]}
    assert is_canceled(await worker.store.tasks.find(organization.id, queued))
    await worker.settle(lease)
    assert is_canceled(await worker.store.tasks.find(organization.id, running))


async def test_the_order_of_commits_decides(store: Store, clock: Clock) -> None:
    """A completion before the cancel in one commit stands; one after it does not."""
    organization, worker = await an_organization(store), await a_worker(store)
    first, second = await submitted(store, organization, a_task(FRAGILE), a_task(FRAGILE))
    one, other = await worker.take(2)

    await in_one_commit(
        store, clock,
        lambda: worker.exchange(Report(one.id, DONE)),
        lambda: store.tasks.cancel(organization.id, first),
    )  # fmt: skip
    *_, verdicts = await in_one_commit(
        store, clock,
        lambda: store.tasks.cancel(organization.id, second),
        lambda: worker.exchange(Report(other.id, DONE)),
    )  # fmt: skip

    assert await state(store, organization, first) is TaskStatus.COMPLETED
    assert verdicts.verdicts == (ReportVerdict.ACCEPTED,)
    assert is_canceled(await store.tasks.find(organization.id, second))


async def test_a_cancel_and_a_claim_leave_one_winner(store: Store) -> None:
    """Raced: each task either never ran, or runs with the wish in its lease. No count drifts."""
    organization, worker = await an_organization(store, slots=50), await a_worker(store)
    tasks = await submitted(store, organization, *[a_task() for _ in range(50)])

    claiming = asyncio.ensure_future(worker.take(25))
    views = await asyncio.gather(*(store.tasks.cancel(organization.id, task) for task in tasks))
    leases = await claiming

    started = set(ids(leases))
    for task, view in zip(tasks, views, strict=True):
        assert view.status is (TaskStatus.PROCESSING if task in started else TaskStatus.FAILED)
    await worker.exchange(*[Report(lease.id, DONE) for lease in leases])
    assert all([is_canceled(await store.tasks.find(organization.id, task)) for task in tasks])


async def test_a_canceled_task_that_waited_for_room_of_its_type_leaves_it_to_others(store: Store) -> None:
    """Whoever waits behind it starts."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    tasks = await submitted(store, organization, *[a_task(LIMITED) for _ in range(4)])
    first, _ = await worker.take(9)
    await store.tasks.cancel(organization.id, tasks[2])

    reply = await worker.exchange(Report(first.id, DONE), places=9)

    assert ids(reply.leases) == [tasks[3]]


async def test_a_cancel_tells_who_listens(store: Store) -> None:
    """The session of a running task, and the end of one that was queued; nobody when it changed nothing."""
    canceled = hears(store, "canceled")
    ended = hears(store, "ended")
    organization, worker = await an_organization(store), await a_worker(store)
    running, queued = await submitted(store, organization, a_task(FRAGILE), a_task(FRAGILE))
    lease = await worker.take_one()

    for task in (running, running, queued, queued):
        await store.tasks.cancel(organization.id, task)
    await worker.settle(lease)

    assert canceled == [frozenset({worker.id})]
    assert ended == [frozenset({queued}), frozenset({running})]
