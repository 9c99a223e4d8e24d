"""Lists by filter: every task that meets the conditions, once, whatever the size of the pages."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from fairlane.model.bulks import BulkKind, NewBulk
from fairlane.model.leases import Failed, Origin
from fairlane.model.organizations import Organization
from fairlane.model.tasks import Failure, NewTask, TaskFilter, TaskStatus, TaskView
from fairlane.store import Store
from fairlane.store.filtering import CLOCKS_MS, LOOK_MOST
from tests.builders import FRAGILE, IMAGE, PAGE, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock

BROKEN = Failed(cause="x", retry=False, failure=Failure(code="BROKEN", message="It broke"))
QUOTED = Failed(cause="x", retry=False, failure=Failure(code='A "B', message="It has a quote"))


async def listed(store: Store, organization: Organization, chosen: TaskFilter, most: int = 2) -> list[str]:
    """The tasks of every page, of an organization's list."""
    found: list[str] = []
    cursor = None
    while True:
        page = await store.tasks.page(organization.id, chosen=chosen, cursor=cursor, most=most)
        assert len(page.tasks) <= most
        found += [view.id for view in page.tasks]
        if page.next_cursor is None:
            return found
        assert page.next_cursor != cursor
        cursor = page.next_cursor


async def seen(store: Store, name: str | None, chosen: TaskFilter, most: int = 2) -> list[str]:
    """The tasks of every page, of an operator's list."""
    found: list[str] = []
    after = None
    while True:
        page = await store.overview.tasks(organization=name, chosen=chosen, after=after, most=most)
        found += [facts.id for facts in page.tasks]
        if page.after is None:
            return found
        assert page.after != after
        after = page.after


async def mixed(store: Store, clock: Clock, organization: Organization) -> list[TaskView]:
    """Tasks of every status, of several types, priorities, codes, keys and moments, oldest first."""
    worker = await a_worker(store)
    made: list[NewTask] = []
    for round_, (task_type, ending) in enumerate(
        [(FRAGILE, BROKEN), (FRAGILE, QUOTED), (PAGE, None), (IMAGE, None), (FRAGILE, BROKEN)]
    ):
        clock.advance(10)
        tasks = [a_task(task_type, priority=9, key=f"{'ab'[n % 2]}-{round_}-{n}") for n in range(3)]
        made += tasks
        await submitted(store, organization, *tasks)
        for lease in await worker.take(3):
            await (worker.settle(lease) if ending is None else worker.settle(lease, ending))
    tasks = [
        a_task(PAGE, priority=9), a_task(IMAGE, priority=8, key="a"), a_task(PAGE, priority=1, key="a-é"),
        a_task(IMAGE, priority=1, delay_seconds=9), a_task(PAGE, priority=1, delay_seconds=9, key="ab"),
    ]  # fmt: skip
    clock.advance(10)
    await submitted(store, organization, *tasks)
    assert len(await worker.take(2)) == 2
    views = [await store.tasks.find(organization.id, task.id) for task in [*made, *tasks]]
    return [view for view in views if view is not None]


def _filters(clock: Clock) -> list[TaskFilter]:
    """Every condition, and some pairs of them."""
    at = clock.at
    conditions: list[dict[str, Any]] = [
        *[{"status": status} for status in TaskStatus], *[{"task_type": one} for one in (PAGE, FRAGILE, "NONE")],
        *[{"priority": one} for one in (1, 9)], *[{"code": one} for one in ("BROKEN", "BROKE", 'A "B')],
        *[{"key_prefix": one} for one in ("a", "a-", "b-1", "a-é", "z")],
        *[{"accepted_from": at - one} for one in (0, 25_000)], *[{"accepted_before": at - one} for one in (0, 35_000)],
        {"accepted_from": at - 35_000, "accepted_before": at - 5_000},
    ]  # fmt: skip
    pairs = [{**one, **other} for one, other in itertools.combinations(conditions, 2)][::4]
    made = [TaskFilter(**chosen) for chosen in [{}, *conditions, *pairs]]
    return [one for one in made if one.code is None or one.status is TaskStatus.FAILED]


def _expected(tasks: Sequence[TaskView], chosen: TaskFilter) -> list[str]:
    """What a filter finds among all tasks."""
    found = []
    for view in tasks:
        key, code = view.idempotency_key or "", None if view.failure is None else view.failure.code
        if (
            chosen.status in (None, view.status)
            and chosen.task_type in (None, view.task_type)
            and chosen.priority in (None, view.priority)
            and chosen.code in (None, code)
            and (chosen.key_prefix is None or (view.idempotency_key is not None and key.startswith(chosen.key_prefix)))
            and (chosen.accepted_from or 0) <= view.created_at < (chosen.accepted_before or 2**60)
        ):
            found.append((key, view.id))
    if chosen.key_prefix is not None:
        return [task_id for _, task_id in sorted(found)]
    return [task_id for _, task_id in reversed(found)]


async def test_every_filter_finds_what_meets_its_conditions(store: Store, clock: Clock) -> None:
    """Each condition and each pair of them, in an organization's list and in an operator's, in pages of any size."""
    other, organization = await an_organization(store), await an_organization(store, slots=3)
    tasks = await mixed(store, clock, organization)
    await submitted(store, other, a_task(IMAGE, key="a-other"))

    for number, chosen in enumerate(_filters(clock)):
        expected = _expected(tasks, chosen)
        most = (1, 2, 3, 100)[number % 4]

        assert await listed(store, organization, chosen, most) == expected, chosen
        assert await seen(store, organization.name, chosen, most) == expected, chosen


async def test_operators_filter_the_tasks_of_all_organizations(store: Store, clock: Clock) -> None:
    """Newest organization first; those without such tasks cost nothing."""
    first, _, second = [await an_organization(store, slots=3) for _ in range(3)]
    older = await mixed(store, clock, first)
    await store.tasks.clear(first.id)
    newer = await mixed(store, clock, second)
    chosen = TaskFilter(status=TaskStatus.FAILED, code="BROKEN")

    for most in (1, 5, 6, 100):
        assert await seen(store, None, chosen, most) == _expected(newer, chosen) + _expected(older, chosen)


async def test_a_page_with_a_filter_looks_at_a_bounded_number_of_tasks(store: Store) -> None:
    """A rare task far down is found after short pages; the same for queued tasks that wait for their time."""
    organization = await an_organization(store)
    [rare, delayed] = await submitted(store, organization, a_task(IMAGE), a_task(IMAGE, delay_seconds=9))
    for _ in range(LOOK_MOST // 500):
        await submitted(store, organization, *[a_task(PAGE, delay_seconds=9) for _ in range(500)])

    for chosen in (TaskFilter(task_type=IMAGE), TaskFilter(status=TaskStatus.QUEUED, task_type=IMAGE)):
        first = await store.tasks.page(organization.id, chosen=chosen, cursor=None, most=10)
        second = await store.tasks.page(organization.id, chosen=chosen, cursor=first.next_cursor, most=10)

        assert (first.tasks, first.next_cursor is None) == ((), False)
        assert ([view.id for view in second.tasks], second.next_cursor) == ([delayed, rare], None)


@pytest.mark.parametrize("behind_ms", [-CLOCKS_MS + 1, 0, CLOCKS_MS - 1])
async def test_a_moment_leads_to_its_tasks_by_their_ids(store: Store, clock: Clock, behind_ms: int) -> None:
    """The walk begins near the moment, although the clocks of servers, which are in the ids, differ by a minute."""
    organization = await an_organization(store)
    tasks = []
    for _ in range(6):
        clock.advance(50)
        time = f"{clock.at - behind_ms:012x}"
        identity = f"{time[:8]}-{time[8:]}-7000-8000-000000000000"
        tasks += await submitted(store, organization, replace(a_task(), id=identity))

    for after, before in itertools.combinations(range(7), 2):
        start = clock.at - 250_000
        chosen = TaskFilter(accepted_from=start + 50_000 * after, accepted_before=start + 50_000 * before)

        assert await listed(store, organization, chosen, 1) == tasks[after:before][::-1]


async def test_a_group_of_failures_leads_to_its_tasks(store: Store) -> None:
    """In an organization's list, in an operator's, with other conditions, and in a bulk."""
    organization, other = await an_organization(store, slots=3), await an_organization(store, slots=3)
    worker = await a_worker(store)
    tasks: list[str] = []
    for owner in (organization, other):
        for ending in (BROKEN, Failed(cause="y", retry=False, origin=Origin("KeyError", "shop:total", 7))):
            tasks += await submitted(store, owner, a_task(FRAGILE, key=f"k{len(tasks)}"))
            await worker.settle(await worker.take_one(), ending)
    groups = await store.failures.find(organization.id, since=0, most=10)
    [group] = [one.group for one in groups.groups if one.code != "BROKEN"]
    chosen = TaskFilter(status=TaskStatus.FAILED, group=group)

    assert await listed(store, organization, chosen) == [tasks[1]]
    assert await listed(store, organization, replace(chosen, key_prefix="k")) == [tasks[1]]
    assert await listed(store, organization, replace(chosen, code="BROKEN")) == []
    assert await seen(store, None, chosen) == [tasks[3], tasks[1]]
    assert (await store.bulks.count(None, chosen)).count == 2
    bulk = await store.bulks.begin(NewBulk(kind=BulkKind.RETRY, chosen=chosen, organization_id=organization.id))
    step = await store.bulks.look(bulk.id, 0)
    assert step is not None
    assert [one.id for one in step.tasks] == [tasks[1]]
    await store.bulks.apply(step, {})
