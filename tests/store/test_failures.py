"""Failures by cause: counted once each while they are settled, in a bounded number of groups."""

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from fairlane.errors import NotFound
from fairlane.model.attempts import AttemptEnding
from fairlane.model.failures import FailureFacts, FailureList
from fairlane.model.leases import Ending, Failed, LossReason, Origin, Report
from fairlane.model.organizations import Organization, OrganizationChange
from fairlane.model.tasks import Failure
from fairlane.rules.attempts import EXHAUSTED
from fairlane.rules.failures import HOUR_MS, OTHER
from fairlane.store import Store, failures
from fairlane.store.postgres.connection import Connection
from fairlane.store.sqlite.asking import FileStatements
from tests.builders import (
    ACTOR,
    AGAIN,
    DONE,
    FRAGILE,
    IMAGE,
    PAGE,
    RETURNED,
    Worker,
    a_task,
    a_worker,
    an_organization,
    submitted,
)
from tests.store.databases import Clock, Database

BROKEN = Failed(cause="KeyError: 'x'", retry=False, origin=Origin("KeyError", "shop.orders:total", 12))
REFUSED = Failed(
    cause="Fail: m", failure=Failure(code="TOO_LARGE", message="It is too large"), retry=False,
    origin=Origin("Fail", "shop.orders:check", 5),
)  # fmt: skip


async def listed(store: Store, organization: Organization | None = None, *, since: int = 0) -> tuple[FailureFacts, ...]:
    """The groups of one organization, or of all."""
    name = None if organization is None else organization.name
    return (await store.failures.all(organization=name, since=since, most=50)).groups


async def failed(store: Store, organization: Organization, worker: Worker, *endings: Failed) -> list[str]:
    """The tasks that end so, all in one exchange."""
    tasks = await submitted(store, organization, *[a_task(IMAGE) for _ in endings])
    leases = {lease.task_id: lease.id for lease in await worker.take(len(tasks))}
    await worker.exchange(*[Report(leases[task], ending) for task, ending in zip(tasks, endings, strict=True)])
    return tasks


def group_of(database: Database, task: str) -> str | None:
    """The group in a task's outcome."""
    [(group,)] = database.rows(f"SELECT failure_group FROM outcome WHERE task_id = '{task}'")
    return None if group is None else str(group)


async def test_failures_with_one_cause_are_one_group(database: Database) -> None:
    """Counted with first and last, a sample, and what they have in common; the line is that of the last."""
    store, clock = database.store, database.clock
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    first_at = clock.at
    tasks = await failed(store, organization, worker, BROKEN, REFUSED, BROKEN)
    clock.advance(5)
    moved = replace(BROKEN, origin=Origin("KeyError", "shop.orders:total", 13))
    tasks += await failed(store, organization, worker, moved)

    broken, refused = await listed(store)

    assert broken == FailureFacts(
        group=broken.group, task_type=IMAGE, code=EXHAUSTED.code, ending=AttemptEnding.FAILED, exception="KeyError",
        place="shop.orders:total", line=13, failures=3, retried=0, organizations=1, first_at=first_at,
        last_at=first_at + 5_000, sample=broken.sample, hours=broken.hours,
    )  # fmt: skip
    assert broken.sample is not None
    assert broken.sample.task == tasks[3]
    assert (broken.sample.organization, broken.sample.message) == (organization.name, EXHAUSTED.message)
    assert broken.sample.cause == "KeyError: 'x'"
    assert [(one.failures, one.retried) for one in broken.hours] == [(3, 0)]
    assert (refused.code, refused.failures, refused.sample.message) == ("TOO_LARGE", 1, "It is too large")  # type: ignore[union-attr]
    groups = [group_of(database, task) for task in tasks]
    assert groups == [broken.group, refused.group, broken.group, broken.group]


@pytest.mark.parametrize(
    "other",
    [
        replace(BROKEN, failure=Failure(code="ANOTHER", message="m")),
        replace(BROKEN, how=AttemptEnding.TIMED_OUT),
        replace(BROKEN, origin=Origin("ValueError", "shop.orders:total", 12)),
        replace(BROKEN, origin=Origin("KeyError", "shop.orders:tax", 12)),
        replace(BROKEN, origin=None),
    ],
)
async def test_another_cause_is_another_group(store: Store, other: Failed) -> None:
    """Code, ending, exception and place tell groups apart; line, message and cause do not."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    same = replace(BROKEN, cause="KeyError: 'y'", failure=replace(EXHAUSTED, message="other"))

    await failed(store, organization, worker, BROKEN, same, other)

    assert sorted(one.failures for one in await listed(store)) == [1, 2]


async def test_nothing_is_counted_that_did_not_fail(database: Database) -> None:
    """Completed, handed back or canceled: no row, and no group."""
    store = database.store
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    done, returned, running, queued = await submitted(
        store, organization, *[a_task(PAGE, priority=9) for _ in range(3)], a_task(FRAGILE)
    )
    leases = {lease.task_id: lease for lease in await worker.take(3)}
    for task in (running, queued):
        await store.tasks.cancel(organization.id, task)
    await worker.exchange(
        Report(leases[done].id, DONE), Report(leases[returned].id, RETURNED), Report(leases[running].id, AGAIN)
    )

    assert await listed(store) == ()
    assert [group_of(database, task) for task in (done, running, queued)] == [None] * 3


async def test_an_attempt_that_is_tried_again_is_counted_apart(store: Store) -> None:
    """So a fault shows with its first attempt. The end of the task belongs to the same group."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(PAGE))
    for expected in ((0, 1), (0, 2), (1, 2)):
        await worker.settle(await worker.take_one(), AGAIN)
        (group,) = await listed(store)
        assert (group.failures, group.retried) == expected
        assert group.sample is not None
        assert (group.sample.task, group.sample.cause) == (task, "it broke")


async def test_what_ends_without_a_report_is_counted(store: Store) -> None:
    """A lost worker, a killed one, and credits that do not suffice."""
    organization = await an_organization(store)
    for reason in (LossReason.LOST, LossReason.OVERDUE):
        worker = await a_worker(store)
        await submitted(store, organization, a_task(FRAGILE))
        lease = await worker.take_one()
        overdue = [lease.id] if reason is LossReason.OVERDUE else []
        await store.sessions.end(worker.id, reason=reason, overdue=overdue)
    await submitted(store, organization, a_task(FRAGILE, cost=3))
    await store.organizations.change(organization.name, changes=OrganizationChange(credits=True), actor=ACTOR)
    await (await a_worker(store)).exchange(places=1)

    found = {(one.ending, one.code, one.failures) for one in await listed(store)}

    assert found == {
        (AttemptEnding.WORKER_LOST, EXHAUSTED.code, 1),
        (AttemptEnding.TIMED_OUT, EXHAUSTED.code, 1),
        (AttemptEnding.FAILED, "INSUFFICIENT_CREDITS", 1),
    }


async def test_a_report_sent_twice_counts_once(store: Store) -> None:
    """The lease is gone, and with it the failure."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    lease = await worker.take_one()

    for _ in range(2):
        await worker.exchange(Report(lease.id, BROKEN), Report(lease.id, REFUSED))

    (group,) = await listed(store)
    assert group.failures == 1


async def test_hours_organizations_and_since(store: Store, clock: Clock) -> None:
    """Each hour is counted on its own, a group over all organizations; a list begins with the hour asked for."""
    worker = await a_worker(store)
    first, second = await an_organization(store), await an_organization(store)
    clock.advance((HOUR_MS - clock.at % HOUR_MS) / 1_000)
    begins = clock.at
    await failed(store, first, worker, BROKEN)
    clock.advance(2 * 3_600)
    await failed(store, second, worker, BROKEN, BROKEN)

    (both,) = await listed(store)
    (late,) = await listed(store, since=begins + 2 * HOUR_MS + 1)

    assert (both.organizations, both.failures, both.first_at, both.last_at) == (2, 3, begins, begins + 2 * HOUR_MS)
    assert [(one.at, one.failures) for one in both.hours] == [(begins, 1), (begins + 2 * HOUR_MS, 2)]
    assert (late.organizations, late.failures) == (1, 2)
    (own,) = (await store.failures.find(first.id, since=0, most=5)).groups
    assert (own.group, own.failures, own.organizations) == (both.group, 1, 1)
    assert await listed(store, second, since=begins) == await listed(store, second)
    with pytest.raises(NotFound):
        await store.failures.all(organization="nothing", since=0, most=1)


async def test_groups_are_bounded_by_the_hour(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after the last one that has room is one group: in the list, and in the outcomes."""
    store, clock = database.store, database.clock
    monkeypatch.setattr(failures, "GROUPS_MOST", 3)
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    different = [replace(BROKEN, origin=Origin(f"Error{number}", "a:b", 1)) for number in range(6)]
    tasks = await failed(store, organization, worker, different[0], different[0], different[1])
    tasks += await failed(store, organization, worker, *different)

    found = {one.group: one for one in await listed(store)}

    groups = [group_of(database, task) for task in tasks]
    assert {group: one.failures for group, one in found.items()} == {
        group: groups.count(group) for group in set(groups)
    }
    assert (len(found), groups.count(OTHER)) == (4, 3)
    other = found[OTHER]
    assert (other.task_type, other.code, other.ending, other.exception, other.line) == (None, None, None, None, None)
    clock.advance(3_600)
    await failed(store, organization, worker, different[5])
    assert len(await listed(store)) == 5, "the next hour has room again"


async def test_counts_are_kept_for_two_weeks(database: Database) -> None:
    """Then upkeep deletes them. A sample that was purged before is not named."""
    store, clock = database.store, database.clock
    organization, worker = await an_organization(store), await a_worker(store)
    await failed(store, organization, worker, BROKEN)
    clock.advance(failures.KEPT_MS / 1_000)
    await store.upkeep.purge()
    kept = await store.failures.purge()
    (group,) = await listed(store)
    clock.advance(3_600)

    assert (kept, group.failures, group.sample) == (0, 1, None)
    assert (await store.failures.purge(), await store.failures.purge()) == (1, 0)
    assert await listed(store) == ()


async def test_a_list_says_whether_there_are_more(store: Store) -> None:
    """The groups with most failures come first."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    await failed(store, organization, worker, REFUSED, BROKEN, BROKEN)

    first = await store.failures.all(organization=None, since=0, most=1)
    both = await store.failures.all(organization=None, since=0, most=2)

    assert ([one.failures for one in first.groups], first.more) == ([2], True)
    assert ([one.failures for one in both.groups], both.more) == ([2, 1], False)
    assert isinstance(both, FailureList)


async def test_a_list_says_from_when_it_is_complete(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the counts are too many, those of the oldest hours are left out, and it says which."""
    organization, worker = await an_organization(store, slots=9), await a_worker(store, lease_seconds=9_000)
    hours = []
    for _ in range(3):
        await failed(store, organization, worker, REFUSED)
        hours.append(clock() // 3_600_000 * 3_600_000)
        clock.advance(3_600)
    whole = await store.failures.all(organization=None, since=0, most=9)

    monkeypatch.setattr(failures, "ROWS_MOST", 2)
    cut = await store.failures.all(organization=None, since=0, most=9)

    assert (whole.complete_from, [one.failures for one in whole.groups]) == (None, [3])
    assert (cut.complete_from, [one.failures for one in cut.groups]) == (hours[1], [2])


async def test_a_failure_costs_two_statements_and_a_completed_task_none(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many fail in one exchange, for good or not: one keeps the attempts, one counts the causes."""
    store = database.store
    organization, worker = await an_organization(store, slots=30), await a_worker(store)
    asked: Counter[str] = Counter()
    rows, send = FileStatements.rows, Connection.send

    def ran(statements: FileStatements, connection: Any, query: Any) -> Any:
        asked[query.name] += 1
        return rows(statements, connection, query)

    def sent(connection: Connection, statement: Any, arguments: Any) -> Any:
        asked[statement.name] += 1
        return send(connection, statement, arguments)

    monkeypatch.setattr(FileStatements, "rows", ran)
    monkeypatch.setattr(Connection, "send", sent)

    async def asked_for(*endings: Ending) -> Counter[str]:
        await submitted(store, organization, *[a_task(IMAGE) for _ in endings])
        leases = await worker.take(len(endings))
        asked.clear()
        await worker.exchange(*[Report(one.id, ending) for one, ending in zip(leases, endings, strict=True)])
        return Counter({name: asked[name] for name in ("insert_attempts", "count_failures") if asked[name]})

    assert await asked_for(*[DONE] * 9) == {}
    assert await asked_for(BROKEN) == {"count_failures": 1, "insert_attempts": 1}
    assert await asked_for(*[BROKEN] * 9, *[REFUSED] * 9, DONE) == {"count_failures": 1, "insert_attempts": 1}
    assert await asked_for(*[AGAIN] * 9, DONE) == {"count_failures": 1, "insert_attempts": 1}
