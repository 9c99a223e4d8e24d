"""Tasks of all organizations for operators: in bounded pages, with the true causes."""

from typing import Any

import msgspec

from fairlane.errors import NotFound
from fairlane.model.simulation import Traced, TracePage
from fairlane.model.tasks import Failure, TaskFacts, TaskPage, TaskStatus
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import Operation, rows
from fairlane.store.tasks import cancel
from fairlane.store.trail import write_trail

SCAN_MOST = 1_000
"""Most tasks that one page looks at, including those it does not show."""
OWNERS_MOST = 1_000
LAST = 2**62
"""Larger than every organization's id."""


class OverviewStore(Noun):
    """Tasks of all organizations, as operators see them."""

    async def tasks(
        self,
        *,
        organization: str | None,
        status: TaskStatus | None,
        task_type: str | None,
        start: tuple[int, str] | None,
        most: int,
    ) -> TaskPage:
        """Return one page of tasks, newest organization first, newest task first, from ``start`` on.

        A page looks at no more than SCAN_MOST tasks, so it may be short, or empty, and still have a next one. Raises
        NotFound.
        """
        return await self._database.snapshot(_find_tasks(organization, status, task_type, start, most))

    async def task(self, task_id: str) -> TaskFacts:
        """Return one task of any organization, with the cause of its failure. Raises NotFound."""
        return await self._database.snapshot(find_task_facts(task_id))

    async def cancel(self, task_id: str, *, actor: str) -> TaskFacts:
        """End a task of any organization, as the organization itself could. Raises NotFound, or TaskEnded."""
        facts = await self.task(task_id)
        await self._write(_cancel, facts.organization, task_id, actor, self._memory)
        return await self.task(task_id)

    async def trace(self, *, start: int, before: int, after: tuple[int, str] = (0, ""), most: int) -> TracePage:
        """Return one page of the tasks that ended from ``start`` on and before ``before``, behind ``after``.

        Tasks that never started are left out, so a page may be short, or empty, and still have a next one.
        """
        return await self._database.snapshot(find_trace(start, before, after, most))


def _find_tasks(
    organization: str | None, status: TaskStatus | None, task_type: str | None, start: tuple[int, str] | None, most: int
) -> Operation[TaskPage]:
    chosen = None if organization is None else (yield from find_organization_id(organization))
    return (yield from find_tasks(chosen, status, task_type, start, most))


def _cancel(organization: str, task_id: str, actor: str, memory: Memory) -> Operation[None]:
    found = yield from find_organization_id(organization)
    yield from cancel(found, task_id, memory)
    yield from write_trail(actor, "task.canceled", organization, {"task": task_id}, memory)


def find_tasks(
    organization_id: int | None,
    status: TaskStatus | None,
    task_type: str | None,
    start: tuple[int, str] | None,
    most: int,
) -> Operation[TaskPage]:
    """Read a page of tasks, by the id of the organization."""
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


def find_task_facts(task_id: str) -> Operation[TaskFacts]:
    """Read one task of any organization, or refuse with NotFound."""
    ids = [row[0] for row in (yield from rows("find_organization_ids"))]
    for start in range(0, len(ids), OWNERS_MOST):
        owners = yield from rows("find_task_owner", id=task_id, ids=ids[start : start + OWNERS_MOST])
        if owners:
            owner = owners[0][0]
            found = yield from rows("find_tasks_from", least=owner, organization_id=owner, id=task_id, most=1)
            return _facts(found[0])
    raise NotFound.task(task_id)


def find_trace(start: int, before: int, after: tuple[int, str], most: int) -> Operation[TracePage]:
    """Read a page of ended tasks."""
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
