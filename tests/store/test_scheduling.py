"""Tasks that start later: queued at once, ready on time, in their old place."""

import pytest

from fairlane.errors import QueueFull
from fairlane.model.tasks import Accepted, TaskStatus
from fairlane.store import Store
from tests.builders import a_task, a_worker, an_organization, hears, ids, state, submitted
from tests.store.databases import Clock, Database


@pytest.mark.parametrize("way", ["delay", "moment"])
async def test_a_task_starts_on_its_moment_and_not_before(store: Store, clock: Clock, way: str) -> None:
    """Counted as queued until then; the answer and every look at it name the moment."""
    organization, worker = await an_organization(store), await a_worker(store)
    due_at = clock.at + 10_000
    task = a_task(delay_seconds=10) if way == "delay" else a_task(run_at=due_at)

    (answer,) = await store.tasks.submit(organization.id, [task])

    assert answer == Accepted(clock.at, due_at)
    assert await store.upkeep.next_due_at() == due_at
    assert (await store.tasks.status(organization.id)).queued == 1
    assert (await store.tasks.find(organization.id, task.id)).run_at == due_at  # type: ignore[union-attr]
    clock.advance(9.999)
    assert (await store.upkeep.promote(), await worker.take(1)) == (0, [])
    clock.advance(0.001)
    assert await store.upkeep.promote() == 1
    assert ids(await worker.take(1)) == [task.id]


@pytest.mark.parametrize("early_ms", [0, 1, 10**11])
async def test_a_moment_that_has_passed_is_now(store: Store, clock: Clock, early_ms: int) -> None:
    """Clocks of callers go wrong: such a task is ready at once."""
    organization, worker = await an_organization(store), await a_worker(store)

    (task,) = await submitted(store, organization, a_task(run_at=clock.at - early_ms))

    assert ids(await worker.take(1)) == [task]


async def test_a_delayed_task_holds_up_nobody_and_keeps_its_place(store: Store, clock: Clock) -> None:
    """Those accepted after it start before it; once it is ready it is the oldest."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    later, first, second = await submitted(store, organization, a_task(delay_seconds=5), a_task(), a_task())

    taken = await worker.take_one()
    clock.advance(5)
    await store.upkeep.promote()
    await worker.settle(taken)
    following = await worker.take_one()

    assert (taken.task_id, following.task_id) == (first, later)
    assert await state(store, organization, second) is TaskStatus.QUEUED


async def test_delayed_tasks_need_room_in_the_queue(store: Store) -> None:
    """They count like any other."""
    organization = await an_organization(store, queue_limit=1)

    first, second = await store.tasks.submit(organization.id, [a_task(delay_seconds=99), a_task()])

    assert isinstance(first, Accepted)
    assert isinstance(second, QueueFull)


async def test_a_submission_tells_when_the_first_of_it_is_due(store: Store, clock: Clock) -> None:
    """So that the promotion can be set to that moment."""
    heard = hears(store, "paused_until")
    organization = await an_organization(store)

    await submitted(store, organization, a_task(), *[a_task(delay_seconds=seconds) for seconds in (9, 4, 7)])

    assert heard == [clock.at + 4_000]


@pytest.mark.parametrize("how", ["reopen", "crash"])
async def test_a_restart_forgets_no_moment(database: Database, how: str) -> None:
    """The task waits on, and starts on time."""
    organization = await an_organization(database.store)
    (task,) = await submitted(database.store, organization, a_task(delay_seconds=60))

    store = await getattr(database, how)()

    assert await store.upkeep.promote() == 0
    database.clock.advance(60)
    assert await store.upkeep.promote() == 1
    assert ids(await (await a_worker(store)).take(1)) == [task]


async def test_what_waits_can_be_canceled_and_cleared(store: Store) -> None:
    """Like whatever is queued."""
    organization = await an_organization(store)
    canceled, cleared = await submitted(store, organization, a_task(delay_seconds=9), a_task(delay_seconds=9))

    await store.tasks.cancel(organization.id, canceled)

    assert await store.tasks.clear(organization.id) == 1
    assert await state(store, organization, canceled) is TaskStatus.FAILED
    assert await store.tasks.find(organization.id, cleared) is None
    assert await store.upkeep.next_due_at() is None
