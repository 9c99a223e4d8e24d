"""What operators see of all organizations: tasks with their causes, sessions, the audit, pages of all of them."""

import pytest

from fairlane.errors import InUse, NotFound
from fairlane.model.leases import Completed, LossReason
from fairlane.model.organizations import DEFAULT_PLAN, OrganizationChange, PlanChange
from fairlane.model.tasks import TaskFacts, TaskFilter, TaskStatus
from fairlane.store import AuditFilter, Store
from fairlane.store.filtering import LOOK_MOST
from tests.builders import (
    ACTOR,
    AGAIN,
    DONE,
    FRAGILE,
    IMAGE,
    PAGE,
    a_session,
    a_task,
    a_worker,
    an_organization,
    submitted,
)
from tests.store.databases import Clock, Database


async def all_tasks(
    store: Store,
    *,
    organization: str | None = None,
    status: TaskStatus | None = None,
    task_type: str | None = None,
    most: int = 2,
) -> list[TaskFacts]:
    """Every page, put together."""
    found: list[TaskFacts] = []
    after = None
    chosen = TaskFilter(status=status, task_type=task_type)
    while True:
        page = await store.overview.tasks(organization=organization, chosen=chosen, after=after, most=most)
        assert len(page.tasks) <= most
        found += page.tasks
        if page.after is None:
            return found
        assert page.after != after
        after = page.after


async def test_tasks_of_all_organizations_are_listed_in_pages(store: Store) -> None:
    """Newest organization first, newest task first; none twice, none left out, whatever the page's size."""
    older, newer = await an_organization(store), await an_organization(store)
    first = await submitted(store, older, *[a_task() for _ in range(5)])
    second = await submitted(store, newer, *[a_task() for _ in range(4)])
    expected = sorted(second, reverse=True) + sorted(first, reverse=True)

    for most in (1, 2, 9, 10):
        assert [one.id for one in await all_tasks(store, most=most)] == expected
    assert [one.id for one in await all_tasks(store, organization=older.name)] == sorted(first, reverse=True)
    with pytest.raises(NotFound):
        await all_tasks(store, organization="nobody")


async def test_tasks_are_chosen_by_status_and_type(store: Store, clock: Clock) -> None:
    """A pause between attempts is QUEUED, with the moment at which it ends."""
    organization = await an_organization(store, slots=3)
    [image] = await submitted(store, organization, a_task(IMAGE))
    worker = await a_worker(store)
    [lease] = await worker.take(1)
    await worker.settle(lease, DONE)
    [fragile, running, queued] = await submitted(
        store, organization, a_task(FRAGILE, priority=9), a_task(priority=8), a_task(priority=1)
    )
    [failing, _] = await worker.take(2)
    await worker.settle(failing, AGAIN)

    by_status = {status: [one.id for one in await all_tasks(store, status=status)] for status in TaskStatus}

    assert by_status == {
        TaskStatus.QUEUED: [queued],
        TaskStatus.PROCESSING: [running],
        TaskStatus.COMPLETED: [image],
        TaskStatus.FAILED: [fragile],
    }
    assert [one.id for one in await all_tasks(store, task_type=IMAGE)] == [image]
    assert await all_tasks(store, task_type=IMAGE, status=TaskStatus.FAILED) == []


async def test_one_task_is_found_whosever_it_is(store: Store) -> None:
    """With the cause that its organization does not see, and who runs it."""
    organization = await an_organization(store, slots=2)
    [fragile, running] = await submitted(store, organization, a_task(FRAGILE, priority=9, key="k"), a_task())
    worker = await a_worker(store)
    [first, second] = await worker.take(2)
    await worker.settle(first, AGAIN)

    failed, processing = await store.overview.task(fragile), await store.overview.task(running)

    assert (failed.status, failed.cause, failed.idempotency_key) == (TaskStatus.FAILED, AGAIN.cause, "k")
    assert failed.failure is not None
    assert (failed.organization, failed.attempt, failed.charged, failed.session) == (organization.name, 1, 0, None)
    assert (processing.status, processing.session, processing.attempt) == (TaskStatus.PROCESSING, worker.id, 1)
    assert processing.deadline_at == second.started_at + second.timeout_ms
    with pytest.raises(NotFound):
        await store.overview.task("0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11")


async def test_operators_read_what_a_task_has_and_gave(store: Store) -> None:
    """Of any organization, byte for byte; a task that has no result yet has None, one that is not there is refused."""
    organization = await an_organization(store)
    [done, waiting] = await submitted(store, organization, a_task(payload='{"n": 1.50}'), a_task())
    worker = await a_worker(store)
    [lease] = await worker.take(1)
    await worker.settle(lease, Completed(result='{"pages": 12}'))

    assert await store.overview.payload(done) == '{"n": 1.50}'
    assert await store.overview.result(done) == '{"pages": 12}'
    assert await store.overview.result(waiting) is None
    for read in (store.overview.payload, store.overview.result):
        with pytest.raises(NotFound):
            await read("nothing")


async def test_a_page_looks_at_no_more_than_a_bounded_number_of_tasks(store: Store) -> None:
    """So a rare task far down costs several short pages, never one long one."""
    organization = await an_organization(store)
    [rare] = await submitted(store, organization, a_task(IMAGE))
    for _ in range(LOOK_MOST // 500):
        await submitted(store, organization, *[a_task(PAGE) for _ in range(500)])
    chosen = TaskFilter(task_type=IMAGE)

    first = await store.overview.tasks(organization=None, chosen=chosen, after=None, most=10)

    assert first.tasks == ()
    assert first.after is not None
    second = await store.overview.tasks(organization=None, chosen=chosen, after=first.after, most=10)
    assert [one.id for one in second.tasks] == [rare]
    assert second.after is None


async def test_the_trace_has_what_ended_in_the_order_in_which_it_ended(store: Store, clock: Clock) -> None:
    """Of all organizations, from a moment on and before another, each once over pages; what never started is not in it,
    nor what has not ended."""
    first, second = await an_organization(store, slots=3), await an_organization(store)
    await submitted(store, first, a_task(IMAGE, priority=9), a_task(delay_seconds=2))
    [canceled, _] = await submitted(store, second, a_task(), a_task(priority=8))
    await store.tasks.cancel(second.id, canceled)
    worker, start = await a_worker(store), clock.at
    clock.advance(3)
    await store.upkeep.promote()
    leases = await worker.take(3)
    for lease in leases:
        clock.advance(4)
        await worker.settle(lease)
    await submitted(store, first, a_task(), a_task())
    await worker.take(1)

    pages, after = [], (0, "")
    for _ in range(9):
        page = await store.overview.trace(start=start, before=clock.at + 1, after=after, most=1)
        pages.append(len(page.tasks))
        if page.after is None:
            break
        after = page.after
    whole = (await store.overview.trace(start=start, before=clock.at + 1, most=10)).tasks

    assert [one.finished_at for one in whole] == [start + 7_000, start + 11_000, start + 15_000]
    assert sorted((one.organization, one.task_type, one.priority, one.run_at) for one in whole) == sorted(
        [
            (first.name, IMAGE, 9, None),
            (first.name, PAGE, 5, start + 2_000),
            (second.name, PAGE, 8, None),
        ]
    )
    assert {(one.accepted_at, one.started_at) for one in whole} == {(start, start + 3_000)}
    assert [one.ready_at - start for one in whole if one.run_at is not None] == [2_000]
    assert sum(pages) == 3
    assert (await store.overview.trace(start=start, before=start + 7_000, most=10)).tasks == ()
    assert (await store.overview.trace(start=start + 7_001, before=start + 15_000, most=10)).tasks == (whole[1],)
    assert (await store.overview.trace(start=start + 7_000, before=start + 7_001, most=10)).tasks == (whole[0],)


async def test_organizations_come_in_pages_by_name(store: Store) -> None:
    """None twice, none left out."""
    names = [(await an_organization(store, name)).name for name in ("b", "a", "c")]

    first = await store.organizations.all(most=2)
    rest = await store.organizations.all(after=first[-1].name, most=2)

    assert [one.name for one in [*first, *rest]] == sorted(names)
    assert [one.name for one in await store.organizations.all()] == sorted(names)


async def test_live_sessions_are_listed_with_what_they_run(store: Store) -> None:
    """Dead ones are not."""
    organization = await an_organization(store, slots=2)
    await submitted(store, organization)
    worker, gone = await a_worker(store, [PAGE], local=True), a_session()
    await store.sessions.open(gone)
    await worker.take(1)

    both = await store.sessions.all(most=10)
    await store.sessions.end(gone.id, reason=LossReason.LOST)
    [left] = await store.sessions.all(most=10)

    assert sorted(one.id for one in both) == sorted([worker.id, gone.id])
    assert (left.id, left.types, left.places, left.local, left.leases) == (worker.id, (PAGE,), 10, True, 1)
    assert [one.id for one in await store.sessions.all(after=left.id, most=10)] == []


async def test_the_audit_is_read_in_pages_and_filtered(store: Store) -> None:
    """By subject, action and actor; together all must fit."""
    organization = await an_organization(store, "acme")
    await an_organization(store, "globex")
    for paused in (True, False):
        await store.organizations.change(organization.name, changes=OrganizationChange(paused=paused), actor="somebody")

    newest = await store.trail.page(1)
    older = await store.trail.page(10, before=newest[0].id)
    chosen = await store.trail.page(10, chosen=AuditFilter(subject="acme", actor="somebody"))

    assert [row.details for row in chosen] == [{"paused": False}, {"paused": True}]
    assert newest[0] not in older
    assert [row.action for row in older][:3] == ["organization.changed", "organization.created", "organization.created"]
    assert await store.trail.page(10, chosen=AuditFilter(subject="acme", action="plan.created")) == []


async def test_a_plan_without_organizations_is_deleted(store: Store) -> None:
    """Never one that is in use, or the default one; the name can be taken again."""
    await store.plans.create("pro", slots=5, queue_limit=10, weight=2, actor=ACTOR)
    organization = await an_organization(store, plan="pro")

    for name in ("pro", DEFAULT_PLAN):
        with pytest.raises(InUse):
            await store.plans.delete(name, actor=ACTOR)
    await store.organizations.change(organization.name, changes=OrganizationChange(plan=DEFAULT_PLAN), actor=ACTOR)
    await store.plans.delete("pro", actor=ACTOR)

    with pytest.raises(NotFound):
        await store.plans.find("pro")
    with pytest.raises(NotFound):
        await store.plans.delete("pro", actor=ACTOR)
    await store.plans.create("pro", slots=6, queue_limit=10, weight=2, actor=ACTOR)
    actions = [row.action for row in await store.trail.page(2)]
    assert actions == ["plan.created", "plan.deleted"]


async def test_a_plan_lowered_below_what_runs_ends_nothing_and_shows_the_truth(store: Store) -> None:
    """Nothing starts until fewer run than may; then exactly one does."""
    await store.plans.create("pro", slots=3, queue_limit=10, weight=1, actor=ACTOR)
    organization = await an_organization(store, plan="pro", slots=None)
    await submitted(store, organization, *[a_task() for _ in range(5)])
    worker = await a_worker(store)
    leases = await worker.take(3)

    await store.plans.change("pro", changes=PlanChange(slots=1), actor=ACTOR)

    seen = []
    for lease in leases:
        status = await store.tasks.status(organization.id)
        assert status.concurrency is not None
        seen.append((status.concurrency.used, status.concurrency.max, len(await worker.take(5))))
        await worker.settle(lease)
    assert seen == [(3, 1, 0), (2, 1, 0), (1, 1, 0)]
    assert len(await worker.take(5)) == 1


async def test_a_plan_raised_acts_at_the_next_claim(database: Database) -> None:
    """Without a restart, and after one."""
    store = database.store
    await store.plans.create("pro", slots=1, queue_limit=10, weight=1, actor=ACTOR)
    organization = await an_organization(store, plan="pro", slots=None)
    await submitted(store, organization, *[a_task() for _ in range(5)])
    worker = await a_worker(store)
    assert len(await worker.take(5)) == 1

    await store.plans.change("pro", changes=PlanChange(slots=3), actor=ACTOR)

    assert len(await worker.take(5)) == 2
