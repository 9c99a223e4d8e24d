"""Lists: newest first, page by page, in any status, nothing twice and nothing left out."""

import pytest

from fairlane.errors import NotFound, TaskNotFailed
from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization
from fairlane.model.tasks import TaskFilter, TaskStatus, TaskView
from fairlane.store import Store
from tests.builders import FRAGILE, IMAGE, PAGE, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock

ENDED = Failed(cause="x", retry=False)


async def pages(store: Store, organization: Organization, status: TaskStatus | None, most: int) -> list[list[TaskView]]:
    """Every page of a list."""
    found, cursor = [], None
    while True:
        page = await store.tasks.page(organization.id, chosen=TaskFilter(status=status), cursor=cursor, most=most)
        found.append(list(page.tasks))
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("most", [1, 2, 3, 100])
@pytest.mark.parametrize("status", [None, *TaskStatus])
async def test_every_task_is_on_one_page(store: Store, status: TaskStatus | None, most: int) -> None:
    """Newest first, whatever the size of the pages; each is what a look at it shows, without its result."""
    organization, other = await an_organization(store, slots=9), await an_organization(store)
    worker = await a_worker(store)
    tasks = await submitted(store, organization, *[a_task(FRAGILE, priority=9) for _ in range(9)])
    leases = await worker.take(9)
    for lease, ending in zip(leases[:6], [ENDED, None] * 3, strict=True):
        await (worker.settle(lease) if ending is None else worker.settle(lease, ending))
    tasks += await submitted(
        store, organization, a_task(PAGE, priority=1), a_task(IMAGE, priority=9), a_task(PAGE, delay_seconds=9),
        a_task(PAGE, priority=9), a_task(IMAGE, priority=1, delay_seconds=9), a_task(PAGE, priority=1),
    )  # fmt: skip
    await submitted(store, other, a_task())

    found = await pages(store, organization, status, most)

    views = [await store.tasks.find(organization.id, task) for task in reversed(tasks)]
    expected = [view for view in views if view is not None and status in (None, view.status)]
    listed = [view for page in found for view in page]
    assert [view.id for view in listed] == [view.id for view in expected]
    for shown, view in zip(listed, expected, strict=True):
        assert (shown.status, shown.charged, shown.latency_ms) == (view.status, view.charged, view.latency_ms)
        assert (shown.run_at, shown.cost, shown.created_at) == (view.run_at, view.cost, view.created_at)
        assert (shown.result, shown.failure) == (None, view.failure)
    assert all(len(page) == most for page in found[:-1])


async def test_a_page_of_completed_tasks_is_full_however_many_others_are_newer(store: Store) -> None:
    """Those that are queued do not stand between."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    done = await submitted(store, organization, a_task(), a_task(), a_task())
    for lease in await worker.take(3):
        await worker.settle(lease)
    await submitted(store, organization, *[a_task() for _ in range(7)])

    found = await pages(store, organization, TaskStatus.COMPLETED, 2)

    assert [[view.id for view in page] for page in found] == [done[:0:-1], done[:1]]


async def test_what_comes_meanwhile_disturbs_no_page(store: Store) -> None:
    """A later page goes on where the one before it ended."""
    organization = await an_organization(store)
    tasks = await submitted(store, organization, *[a_task(priority=priority) for priority in (1, 5, 9, 5)])
    for status in (None, TaskStatus.QUEUED):
        first = await store.tasks.page(organization.id, chosen=TaskFilter(status=status), cursor=None, most=2)
        await submitted(store, organization, a_task(), a_task())

        second = await store.tasks.page(
            organization.id, chosen=TaskFilter(status=status), cursor=first.next_cursor, most=9
        )

        if status is None:
            assert [view.id for view in (*first.tasks, *second.tasks)] == tasks[::-1]
        else:
            assert [view.id for view in second.tasks] == tasks[::-1]


async def test_an_empty_list_is_one_empty_page(store: Store) -> None:
    """In every status."""
    organization = await an_organization(store)

    for status in (None, *TaskStatus):
        assert await pages(store, organization, status, 1) == [[]]


async def test_a_failed_task_is_handed_out_with_its_payload(store: Store) -> None:
    """By id and by key; what has not failed, or is not there, is refused."""
    organization, worker = await an_organization(store), await a_worker(store)
    failed, queued = await submitted(store, organization, a_task(FRAGILE, key="k", payload='{"a":1}'), a_task())
    with pytest.raises(TaskNotFailed):
        await store.tasks.failed(organization.id, failed)
    await worker.settle(await worker.take_one(), ENDED)

    for reference in (failed, "k"):
        view, payload = await store.tasks.failed(organization.id, reference)
        assert (view.id, payload) == (failed, '{"a":1}')
    with pytest.raises(TaskNotFailed) as caught:
        await store.tasks.failed(organization.id, queued)
    assert caught.value.details == {"id": queued, "status": "QUEUED"}
    with pytest.raises(NotFound):
        await store.tasks.failed(organization.id, "nothing")


async def test_a_repetition_names_what_it_repeats(store: Store, clock: Clock) -> None:
    """For as long as it is kept, also after that is gone."""
    organization = await an_organization(store)
    (first,) = await submitted(store, organization)

    (again,) = await submitted(store, organization, a_task(retry_of=first))

    assert (await store.tasks.find(organization.id, again)).retry_of == first  # type: ignore[union-attr]
    assert (await store.tasks.find(organization.id, first)).retry_of is None  # type: ignore[union-attr]
