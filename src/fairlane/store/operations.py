"""Tasks and sessions of all organizations for operators: in bounded pages, with the true causes."""

from typing import Any

import msgspec

from fairlane.model.leases import SessionFacts
from fairlane.model.simulation import Traced, TracePage
from fairlane.model.tasks import Failure, TaskFacts, TaskPage, TaskStatus
from fairlane.store.statements import Operation, rows

SCAN_MOST = 1_000
"""Most tasks that one page looks at, including those it does not show."""
OWNERS_MOST = 1_000
LAST = 2**62
"""Larger than every organization's id."""


def find_tasks(
    organization_id: int | None,
    status: TaskStatus | None,
    task_type: str | None,
    start: tuple[int, str] | None,
    most: int,
) -> Operation[TaskPage]:
    """Return one page of tasks, newest organization first, newest task first, from ``start`` on.

    A page looks at no more than SCAN_MOST tasks, so it may be short, or empty, and still have a next one.
    """
    first = start or (LAST if organization_id is None else organization_id + 1, "")
    found = yield from rows(
        "find_tasks_from", least=organization_id or 0, organization_id=first[0], id=first[1], most=SCAN_MOST + 1
    )
    page: list[TaskFacts] = []
    for row in found[:SCAN_MOST]:
        if len(page) == most:
            return TaskPage(tuple(page), (row[0], row[2]))
        facts = _facts(row)
        if status in (None, facts.status) and task_type in (None, facts.task_type):
            page.append(facts)
    after = found[SCAN_MOST] if len(found) > SCAN_MOST else None
    return TaskPage(tuple(page), None if after is None else (after[0], after[2]))


def find_task_facts(task_id: str) -> Operation[TaskFacts | None]:
    """Return one task of any organization, or None."""
    ids = [row[0] for row in (yield from rows("find_organization_ids"))]
    for start in range(0, len(ids), OWNERS_MOST):
        owners = yield from rows("find_task_owner", id=task_id, ids=ids[start : start + OWNERS_MOST])
        if owners:
            owner = owners[0][0]
            found = yield from rows("find_tasks_from", least=owner, organization_id=owner, id=task_id, most=1)
            return _facts(found[0])
    return None


def find_trace(start: int, before: int, after: tuple[int, str], most: int) -> Operation[TracePage]:
    """Return one page of the tasks that ended from ``start`` on and before ``before``, behind ``after``.

    Tasks that never started are left out, so a page may be short, or empty, and still have a next one.
    """
    first = max((start, ""), after)
    found = yield from rows("find_trace", start=first[0], id=first[1], before=before, most=most)
    tasks = tuple(
        Traced(
            organization=organization,
            task_type=task_type,
            priority=priority,
            accepted_at=accepted_at,
            run_at=run_at,
            started_at=started_at,
            finished_at=finished_at,
        )
        for finished_at, _, organization, task_type, priority, accepted_at, run_at, started_at in found
        if started_at is not None
    )
    return TracePage(tasks, (found[-1][0], found[-1][1]) if len(found) == most else None)


def _facts(row: Any) -> TaskFacts:
    organization, task_id, task_type, priority, created_at, key, cost, ended, failure, cause, charged = row[1:12]
    attempt, first_started_at, finished_at, running, running_since, session_id, deadline_at, due_at = row[12:]
    leased = session_id is not None
    return TaskFacts(
        id=task_id,
        organization=organization,
        task_type=task_type,
        status=TaskStatus(ended) if ended else TaskStatus.PROCESSING if leased else TaskStatus.QUEUED,
        priority=priority,
        created_at=created_at,
        idempotency_key=key,
        cost=cost,
        charged=charged,
        attempt=running if leased else attempt,
        started_at=running_since if leased else first_started_at,
        finished_at=finished_at,
        due_at=due_at,
        deadline_at=deadline_at,
        session=session_id,
        failure=msgspec.json.decode(failure, type=Failure) if failure else None,
        cause=cause,
    )


def find_sessions(after: str, most: int) -> Operation[list[SessionFacts]]:
    """Return live sessions by id."""
    found = yield from rows("find_sessions", after=after, most=most)
    return [
        SessionFacts(
            id=row[0],
            name=row[1],
            types=tuple(msgspec.json.decode(row[2])),
            places=row[3],
            local=bool(row[4]),
            key=row[5],
            started_at=row[6],
            lease_until=row[7],
            leases=row[8],
        )
        for row in found
    ]
