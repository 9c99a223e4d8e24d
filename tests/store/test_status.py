"""What an organization reads: its status and its tasks."""

import pytest

from fairlane.errors import KeyRefused, NotFound
from fairlane.model.leases import Failed
from fairlane.model.organizations import OrganizationChange, PlanChange
from fairlane.model.status import SlotUse
from fairlane.model.tasks import Failure, TaskStatus
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
    a_task,
    a_worker,
    an_organization,
    submitted,
)
from tests.store.databases import Clock, Database


async def test_a_new_organization_reads_zero(store: Store) -> None:
    """Nothing queued, nothing runs, all slots free."""
    organization = await an_organization(store, slots=3)

    status = await store.tasks.status(organization.id)

    assert (status.queued, status.processing, status.priorities) == (0, 0, ())
    assert status.concurrency == SlotUse(used=0, max=3)


async def test_status_counts_what_is_there(store: Store) -> None:
    """Queued are ready and paused tasks, processing those with a slot; finished ones are in neither."""
    organization, worker = await an_organization(store, slots=4), await a_worker(store)
    await submitted(store, organization, *[a_task(priority=5) for _ in range(6)], a_task(IMAGE, priority=10))
    first, second, third, _ = await worker.take(4)
    await worker.settle(first, DONE)
    await worker.settle(second, Failed(cause="later", pause_ms=60_000))
    await worker.settle(third, RETURNED)

    status = await store.tasks.status(organization.id)

    assert (status.queued, status.processing) == (5, 1)
    assert status.concurrency == SlotUse(used=1, max=4)
    assert sum(count for _, count in status.priorities) == 5


async def test_priorities_are_listed_from_the_highest_and_only_where_something_waits(store: Store) -> None:
    """Levels of several types are summed; an empty level is not there."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(
        store, organization, a_task(priority=1), a_task(priority=10), a_task(IMAGE, priority=1), a_task(priority=5)
    )
    await worker.take(1)

    status = await store.tasks.status(organization.id)

    assert status.priorities == ((5, 1), (1, 2))


async def test_status_agrees_with_the_rows(store: Store) -> None:
    """Counted status (under maintenance) and kept status give the same two counts and levels."""
    organization, worker = await an_organization(store, slots=3), await a_worker(store)
    await submitted(store, organization, *[a_task(priority=priority) for priority in (1, 2, 2, 9, 9, 9)])
    leases = await worker.take(3)
    await worker.settle(leases[0], Failed(cause="later", pause_ms=5_000))
    kept = await store.tasks.status(organization.id)
    await store.organizations.change(organization.name, changes=OrganizationChange(maintenance=True), actor=ACTOR)

    counted = await store.tasks.status(organization.id)

    assert (counted.queued, counted.processing, counted.priorities) == (kept.queued, kept.processing, kept.priorities)
    assert counted.concurrency is None


async def test_status_reads_its_own_writes(store: Store) -> None:
    """After each answer the status says what the answer said."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    seen = []
    for change in (
        lambda: submitted(store, organization),
        lambda: worker.take(1),
        lambda: submitted(store, organization),
    ):
        await change()
        status = await store.tasks.status(organization.id)
        seen.append((status.queued, status.processing))

    assert seen == [(1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize("how", ["reopen", "crash"])
async def test_status_survives_a_restart(database: Database, how: str) -> None:
    """The numbers after a restart are those before it."""
    organization, worker = await an_organization(database.store, slots=2), await a_worker(database.store)
    await submitted(database.store, organization, *[a_task(priority=priority) for priority in (3, 4, 5)])
    await worker.take(1)
    before = await database.store.tasks.status(organization.id)

    store = await getattr(database, how)()

    assert await store.tasks.status(organization.id) == before


async def test_an_organization_reads_its_own_numbers_only(store: Store) -> None:
    """What another one submits changes nothing here."""
    organization, other = await an_organization(store), await an_organization(store)
    before = await store.tasks.status(organization.id)
    await submitted(store, other, a_task(), a_task())
    await (await a_worker(store)).take(1)

    assert await store.tasks.status(organization.id) == before


async def test_used_above_max_is_shown_as_it_is(store: Store) -> None:
    """After the limit was lowered the status shows what truly runs."""
    organization, worker = await an_organization(store, slots=3), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(4)])
    await worker.take(3)
    await store.organizations.change(organization.name, changes=OrganizationChange(slots=1), actor=ACTOR)

    status = await store.tasks.status(organization.id)

    assert status.concurrency == SlotUse(used=3, max=1)
    assert status.processing == 3


async def test_nobody_has_no_status(store: Store) -> None:
    """An organization that does not exist is refused like a key that does not work."""
    with pytest.raises(KeyRefused):
        await store.tasks.status(10**12)


# Null concurrency: exactly three cases -------------------------------------------------------------------------------


async def _busy(store: Store):
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    await submitted(store, organization, a_task(priority=2), a_task(), a_task())
    await worker.take(1)
    return organization


async def test_concurrency_is_null_under_the_organizations_maintenance(store: Store) -> None:
    """Maintenance of one organization hides its own concurrency, keeps its counts right, and ends."""
    organization, other = await _busy(store), await an_organization(store)

    await store.organizations.change(organization.name, changes=OrganizationChange(maintenance=True), actor=ACTOR)
    during, beside = await store.tasks.status(organization.id), await store.tasks.status(other.id)
    await store.organizations.change(organization.name, changes=OrganizationChange(maintenance=False), actor=ACTOR)
    after = await store.tasks.status(organization.id)

    assert (during.queued, during.processing, during.concurrency) == (2, 1, None)
    assert beside.concurrency is not None
    assert after.concurrency == SlotUse(used=1, max=2)


async def test_concurrency_is_null_under_maintenance_of_all(store: Store) -> None:
    """Maintenance of the installation hides everyone's concurrency, keeps the counts right, and ends."""
    organization, other = await _busy(store), await an_organization(store)

    await store.maintenance.set(True, actor=ACTOR)
    during, beside, on = (
        await store.tasks.status(organization.id),
        await store.tasks.status(other.id),
        await store.maintenance.on(),
    )
    await store.maintenance.set(False, actor=ACTOR)
    after = await store.tasks.status(organization.id)

    assert on is True
    assert (during.queued, during.processing, during.concurrency, beside.concurrency) == (2, 1, None, None)
    assert after.concurrency == SlotUse(used=1, max=2)


async def test_concurrency_is_null_without_a_readable_limit(store: Store) -> None:
    """While the plan has no slots nothing starts and concurrency is null; with slots it is there again."""
    await store.plans.create("unpriced", slots=None, queue_limit=10, weight=1, actor=ACTOR)
    organization = await an_organization(store, slots=None, plan="unpriced")
    worker = await a_worker(store)
    await submitted(store, organization, a_task(), a_task())

    nothing, before = await worker.take(5), await store.tasks.status(organization.id)
    await store.plans.change("unpriced", changes=PlanChange(slots=1), actor=ACTOR)
    something, after = await worker.take(5), await store.tasks.status(organization.id)

    assert nothing == []
    assert (before.queued, before.processing, before.concurrency) == (2, 0, None)
    assert len(something) == 1
    assert after.concurrency == SlotUse(used=1, max=1)


async def test_concurrency_is_null_from_the_audit_that_finds_drift_until_the_repair(database: Database) -> None:
    """An organization that drifts is not vouched for: its counts come from the rows, and right, until it is mended."""
    organization, other = await _busy(database.store), await an_organization(database.store)
    await database.close()
    database.rows("UPDATE organization SET queued = 40, ready = 39 WHERE id = :id", id=organization.id)
    store = await database.open()

    unnoticed = await store.tasks.status(organization.id)
    found = await store.recount.audit_next() + await store.recount.audit_next()
    noticed, beside = await store.tasks.status(organization.id), await store.tasks.status(other.id)
    await store.recount.audit_next()
    await store.recount.audit_next()
    still = await store.tasks.status(organization.id)
    mended = await store.recount.repair(organization.name, actor=ACTOR)
    after = await store.tasks.status(organization.id)

    assert unnoticed.concurrency is not None
    assert {drift.organization for drift in found} == {organization.name}
    assert (noticed.queued, noticed.processing, noticed.concurrency) == (2, 1, None)
    assert noticed.priorities == ((5, 1), (2, 1))
    assert beside.concurrency is not None
    assert still.concurrency is None
    assert mended == found
    assert after.concurrency == SlotUse(used=1, max=2)
    assert after.queued == 2


async def test_concurrency_is_there_in_every_other_state(store: Store) -> None:
    """Paused, disabled, full, overfull: the number is known, so it is shown."""
    organization = await _busy(store)
    seen = []
    for changes in (
        OrganizationChange(paused=True),
        OrganizationChange(paused=False, disabled=True),
        OrganizationChange(disabled=False, slots=1),
        OrganizationChange(slots=None),
    ):
        await store.organizations.change(organization.name, changes=changes, actor=ACTOR)
        seen.append((await store.tasks.status(organization.id)).concurrency)
    await store.recount.audit_next()
    seen.append((await store.tasks.status(organization.id)).concurrency)

    assert [one.used for one in seen if one is not None] == [1] * 5
    assert [one.max for one in seen if one is not None] == [2, 2, 1, 10, 10]


# One task ------------------------------------------------------------------------------------------------------------


async def test_a_task_reads_queued_then_processing_then_completed(store: Store, clock: Clock) -> None:
    """What belongs to a final state is absent until then; latency is from the first start to the outcome."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(priority=8, cost=4))
    created_at = clock.at
    clock.advance(100)
    queued = await store.tasks.find(organization.id, task)
    lease = await worker.take_one()
    clock.advance(2.5)
    processing = await store.tasks.find(organization.id, task)
    await worker.settle(lease, DONE)
    clock.advance(50)
    completed = await store.tasks.find(organization.id, task)

    views = [view for view in (queued, processing, completed) if view]
    assert [view.status for view in views] == [TaskStatus.QUEUED, TaskStatus.PROCESSING, TaskStatus.COMPLETED]
    assert {(view.id, view.task_type, view.priority, view.created_at, view.cost) for view in views} == {
        (task, PAGE, 8, created_at, 4)
    }
    assert [view.charged for view in views] == [None, None, 4]
    assert [view.latency_ms for view in views] == [None, None, 2_500]
    assert [view.result for view in views] == [None, None, DONE.result]
    assert [view.failure for view in views] == [None, None, None]


async def test_a_failed_task_costs_nothing_and_says_why(store: Store, clock: Clock) -> None:
    """The handler's own failure reaches the organization; the operator's cause does not."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(cost=4))
    failure = Failure(code="NO_PAGE", message="404", details={"url": "x"})
    lease = await worker.take_one()
    clock.advance(1)

    await worker.settle(lease, Failed(cause="secret", failure=failure, retry=False))

    view = await store.tasks.find(organization.id, task)
    assert view is not None
    assert (view.status, view.failure, view.result, view.charged, view.latency_ms) == (
        TaskStatus.FAILED, failure, None, 0, 1_000,
    )  # fmt: skip
    assert "secret" not in str(view)


async def test_latency_spans_all_attempts_and_the_pauses_between(store: Store, clock: Clock) -> None:
    """The first wait is left out; everything from the first start on is counted."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    clock.advance(1_000)
    lease = await worker.take_one()
    clock.advance(1)
    await worker.settle(lease, Failed(cause="later", pause_ms=10_000))
    between = await store.tasks.find(organization.id, task)
    clock.advance(10)
    await store.upkeep.promote()
    clock.advance(5)
    lease = await worker.take_one()
    clock.advance(2)
    await worker.settle(lease, DONE)

    view = await store.tasks.find(organization.id, task)

    assert view is not None
    assert between is not None
    assert (between.status, between.latency_ms) == (TaskStatus.QUEUED, None)
    assert view.latency_ms == 18_000


async def test_a_task_of_another_organization_is_not_there(store: Store) -> None:
    """A foreign id and a foreign key read like unknown ones, in every state."""
    organization, other = await an_organization(store), await an_organization(store)
    worker = await a_worker(store)
    (task,) = await submitted(store, other, a_task(key="theirs"))

    queued = [await store.tasks.find(organization.id, reference) for reference in (task, "theirs", "unknown")]
    lease = await worker.take_one()
    running = await store.tasks.find(organization.id, task)
    await worker.settle(lease)
    ended = await store.tasks.find(organization.id, task)

    assert [*queued, running, ended] == [None] * 5


async def test_an_outcome_never_changes(store: Store, clock: Clock) -> None:
    """After a task ended, late reports, sweeps and restarts leave it as it was read first."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(FRAGILE))
    lease = await worker.take_one()
    await worker.settle(lease, AGAIN)
    first = await store.tasks.find(organization.id, task)

    await worker.settle(lease, DONE)
    clock.advance(3_000)
    await store.sessions.end_expired()
    await store.sessions.return_orphans()

    assert first is not None
    assert first.status is TaskStatus.FAILED
    assert await store.tasks.find(organization.id, task) == first


async def test_an_unknown_organization_is_not_found(store: Store) -> None:
    """The operator's reads name what is not there."""
    for read in (store.organizations.find, store.plans.find, store.keys.all, store.recount.find):
        with pytest.raises(NotFound):
            await read("nobody")


async def test_a_limited_type_is_shown_like_any_other(store: Store) -> None:
    """A task that waits for its type's room is queued."""
    organization, worker = await an_organization(store, slots=5), await a_worker(store)
    await submitted(store, organization, *[a_task(LIMITED) for _ in range(3)])

    await worker.take(5)

    status = await store.tasks.status(organization.id)
    assert (status.queued, status.processing) == (1, 2)
