"""Clearing the queue: all that is queued and nothing else, exactly counted, in chunks, across a crash."""

import asyncio

import pytest

from fairlane.model.leases import Failed
from fairlane.model.tasks import Accepted, TaskStatus
from fairlane.store import CHUNK, Store
from fairlane.store import tasks as operations
from fairlane.store.tasks import Cleared
from tests.builders import IMAGE, PAGE, Operations, a_task, a_worker, an_organization, state, submitted
from tests.store.databases import Clock, Database, in_one_commit


async def test_what_is_queued_is_gone(store: Store) -> None:
    """Ready and paused tasks of every type and priority; what runs, what ended and other organizations' tasks stay."""
    organization, other, worker = await an_organization(store), await an_organization(store), await a_worker(store)
    running, ended, paused = await submitted(store, organization, a_task(), a_task(), a_task())
    first, second = await worker.take(2)
    await worker.settle(second)
    third = await worker.take_one()
    await worker.settle(third, Failed(cause="x", pause_ms=60_000))
    queued = await submitted(store, organization, a_task(IMAGE), a_task(PAGE, priority=1), a_task(PAGE, priority=9))
    (theirs,) = await submitted(store, other)

    cleared = await store.tasks.clear(organization.id)

    assert (first.task_id, second.task_id, third.task_id) == (running, ended, paused)
    assert cleared == 4
    for task_id in (paused, *queued):
        assert await store.tasks.find(organization.id, task_id) is None
    assert await state(store, organization, running) is TaskStatus.PROCESSING
    assert await state(store, organization, ended) is TaskStatus.COMPLETED
    assert await state(store, other, theirs) is TaskStatus.QUEUED
    status = await store.tasks.status(organization.id)
    assert (status.queued, status.processing, status.priorities) == (0, 1, ())


async def test_it_can_be_repeated(store: Store) -> None:
    """The second time there is nothing."""
    organization = await an_organization(store)
    await submitted(store, organization, a_task(), a_task())

    assert [await store.tasks.clear(organization.id) for _ in range(2)] == [2, 0]


async def test_cleared_keys_are_free(store: Store) -> None:
    """The same key names a new task afterwards; the key of a running task stays its own."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(key="running"))
    await worker.take(1)
    await submitted(store, organization, a_task(key="queued"))
    await store.tasks.clear(organization.id)

    again, kept = await store.tasks.submit(organization.id, [a_task(key="queued"), a_task(key="running")])

    assert isinstance(again, Accepted)
    assert not isinstance(kept, Accepted)


async def test_no_webhook_is_owed_for_a_cleared_task(store: Store) -> None:
    """There never was such a task."""
    organization = await an_organization(store)
    await submitted(store, organization, a_task(webhook="hooks.example"))

    await store.tasks.clear(organization.id)

    assert await store.deliveries.next_due_at() is None
    assert (await store.deliveries.page(organization.id, most=10)).deliveries == ()


async def test_what_comes_after_a_clear_runs(store: Store) -> None:
    """Lanes that were emptied take tasks again, in order."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])
    await store.tasks.clear(organization.id)

    later = await submitted(store, organization, a_task(), a_task())

    assert [lease.task_id for lease in await worker.take(9)] == later


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
async def test_every_task_is_counted_across_chunks(store: Store, count: int) -> None:
    """However the queue falls into chunks."""
    organization = await an_organization(store, queue_limit=10_000)
    await submitted(store, organization, *[a_task() for _ in range(count)])

    assert await store.tasks.clear(organization.id) == count
    assert (await store.tasks.status(organization.id)).queued == 0


async def test_what_is_accepted_after_its_start_stays(store: Store, clock: Clock) -> None:
    """A clear ends although somebody goes on submitting: what came after its first chunk is not meant."""
    organization = await an_organization(store, queue_limit=10_000)
    await submitted(store, organization, *[a_task() for _ in range(CHUNK + 5)])
    chunk = await chunk_of(store, organization.id, None)

    later = await submitted(store, organization, a_task(priority=10), a_task())
    rest = await chunk_of(store, organization.id, chunk.before)

    assert (chunk.count, chunk.more) == (CHUNK, True)
    assert (rest.count, rest.more) == (5, False)
    assert [await state(store, organization, task_id) for task_id in later] == [TaskStatus.QUEUED] * 2


async def test_a_crash_between_chunks_loses_nothing(database: Database) -> None:
    """What was not cleared yet is queued as before, exactly counted; clearing again goes on."""
    organization = await an_organization(database.store, queue_limit=10_000)
    await submitted(database.store, organization, *[a_task() for _ in range(CHUNK + 5)])
    await chunk_of(database.store, organization.id, None)

    store = await database.crash()

    assert (await store.tasks.status(organization.id)).queued == 5
    assert await store.recount.find() == []
    assert await store.tasks.clear(organization.id) == 5


async def test_concurrent_clears_count_each_task_once(store: Store) -> None:
    """Their sum is what was there."""
    organization = await an_organization(store, queue_limit=10_000)
    await submitted(store, organization, *[a_task() for _ in range(CHUNK + 50)])

    counts = await asyncio.gather(*(store.tasks.clear(organization.id) for _ in range(4)))

    assert sum(counts) == CHUNK + 50


async def test_others_are_served_between_chunks(store: Store) -> None:
    """Whoever comes while a long queue is cleared waits for one chunk, not for all of them."""
    organization, other = await an_organization(store, queue_limit=10_000), await an_organization(store)
    await submitted(store, organization, *[a_task() for _ in range(4 * CHUNK)])

    clearing = asyncio.ensure_future(store.tasks.clear(organization.id))
    await submitted(store, other)

    assert not clearing.done()
    assert await clearing == 4 * CHUNK


async def test_a_clear_shares_a_commit_with_whatever_comes(store: Store, clock: Clock) -> None:
    """Submits before it are cleared, those after it are not; claims take what is left. Every count stays exact."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(), a_task())

    await in_one_commit(
        store, clock,
        lambda: store.tasks.submit(organization.id, [a_task()]),
        lambda: worker.take(1),
        lambda: store.tasks.clear(organization.id),
        lambda: store.tasks.submit(organization.id, [a_task()]),
    )  # fmt: skip

    assert await store.recount.find() == []
    assert await store.recount.states() == {1: (await store.tasks.status(organization.id)).queued + 1}


async def chunk_of(store: Store, organization_id: int, before: int | None) -> Cleared:
    """One chunk alone, as a server does that is gone before the next."""
    return await Operations(store.shared).run(operations.clear, organization_id, before)
