"""Tasks of all organizations for operators: in bounded pages, with the true causes."""

import msgspec

from fairlane.errors import NotFound
from fairlane.model.simulation import Traced, TracePage
from fairlane.model.tasks import Failure, TaskFacts, TaskFilter, TaskPage, TaskStatus
from fairlane.store.filtering import AFTER_ALL, LOOK_MOST, NEWEST, next_organization, walk
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import Operation, Row, first, rows, rows_if
from fairlane.store.tasks import cancel, find_payload
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

WALKS_MOST = 20
"""Most organizations that one page of all organizations walks."""
OWNERS_MOST = 1_000


class TaskFactsRow(Row, frozen=True):
    """A task of any organization; what it ended with or runs with is None in its other states."""

    organization_id: int
    organization: str
    id: str
    task_type: str
    priority: int
    created_at: int
    idempotency_key: str | None
    cost: int
    status: str | None
    failure: str | None
    cause: str | None
    charged: int | None
    attempt: int | None
    first_started_at: int | None
    finished_at: int | None
    running_attempt: int | None
    running_since: int | None
    session_id: str | None
    deadline_at: int | None
    due_at: int | None
    slot_wait_ms: int | None
    worker_wait_ms: int | None


class TracedRow(Row, frozen=True):
    """A task that ended."""

    finished_at: int
    id: str
    organization: str
    task_type: str
    priority: int
    accepted_at: int
    run_at: int | None
    started_at: int | None


class ResultRow(Row, frozen=True):
    """What a task that ended has as its result."""

    result: str | None


class OverviewStore(Noun):
    """Tasks of all organizations, as operators see them."""

    async def tasks(
        self,
        *,
        organization: str | None,
        chosen: TaskFilter,
        after: tuple[int, str] | None,
        most: int,
    ) -> TaskPage:
        """Return one page of tasks behind a place: newest organization first, newest task first.

        A page looks at no more than LOOK_MOST tasks, so it may be short, or empty, and still have a next one. Tasks
        with a beginning of the key come in the order of their keys, and need an organization. Raises NotFound.
        """
        return await self._database.snapshot(_find_tasks(organization, chosen, after, most))

    async def task(self, task_id: str) -> TaskFacts:
        """Return one task of any organization, with the cause of its failure. Raises NotFound."""
        return await self._database.snapshot(find_task_facts(task_id))

    async def payload(self, task_id: str) -> str:
        """Return the payload of a task of any organization, as received. Raises NotFound."""
        return await self._database.snapshot(_find_payload_of_any(task_id))

    async def result(self, task_id: str) -> str | None:
        """Return the result of a task of any organization, or None if it has none. Raises NotFound."""
        return await self._database.snapshot(find_result_of_any(task_id))

    async def cancel(self, task_id: str, *, actor: str) -> TaskFacts:
        """End a task of any organization, as the organization itself could. Raises NotFound, or TaskEnded."""
        facts = await self.task(task_id)
        await self._write(_cancel, facts.organization, task_id, actor)
        return await self.task(task_id)

    async def trace(self, *, start: int, before: int, after: tuple[int, str] = (0, ""), most: int) -> TracePage:
        """Return one page of the tasks that ended from ``start`` on and before ``before``, behind ``after``.

        Tasks that never started are left out, so a page may be short, or empty, and still have a next one.
        """
        return await self._database.snapshot(find_trace(start, before, after, most))


def _find_tasks(
    organization: str | None, chosen: TaskFilter, after: tuple[int, str] | None, most: int
) -> Operation[TaskPage]:
    owner = None if organization is None else (yield from find_organization_id(organization))
    return (yield from find_tasks(owner, chosen, after, most))


def _cancel(transaction: Transaction, organization: str, task_id: str, actor: str) -> Operation[None]:
    found = yield from find_organization_id(organization)
    yield from cancel(transaction, found, task_id)
    yield from write_trail(transaction, actor, "task.canceled", organization, {"task": task_id})


def find_tasks(
    organization_id: int | None, chosen: TaskFilter, after: tuple[int, str] | None, most: int
) -> Operation[TaskPage]:
    """Read a page of tasks, by the id of the organization."""
    if organization_id is None:
        found, following = yield from _walk_all(chosen, after or (AFTER_ALL, ""), most)
    else:
        step = yield from walk(organization_id, chosen, after and after[1], most)
        found = [(organization_id, row.id) for row in step.tasks]
        following = None if step.after is None else (organization_id, step.after)
    facts = {
        (row.organization_id, row.id): _facts(row)
        for row in (yield from rows_if("find_task_facts", found, into=TaskFactsRow, tasks=found))
    }
    return TaskPage(tuple([facts[one] for one in found]), following)


def _walk_all(
    chosen: TaskFilter, after: tuple[int, str], most: int
) -> Operation[tuple[list[tuple[int, str]], tuple[int, str] | None]]:
    """Walk through one organization after the other, for a bounded number of tasks and organizations.

    A place without a task is behind all tasks of its organization.
    """
    found: list[tuple[int, str]] = []
    organization_id, place = after
    looks = LOOK_MOST
    for _ in range(WALKS_MOST):
        if not place:
            having, onward = yield from next_organization(chosen.status, organization_id)
            if having is None and onward is None:
                return found, None
            organization_id, place = (onward or 0, "") if having is None else (having, NEWEST)
        if place:
            step = yield from walk(organization_id, chosen, place, most - len(found), looks=looks)
            found += [(organization_id, row.id) for row in step.tasks]
            looks -= step.looked
            place = step.after or ""
        if looks <= 0 or (place and len(found) == most):
            break
    return found, (organization_id, place)


def find_task_facts(task_id: str) -> Operation[TaskFacts]:
    """Read one task of any organization, or refuse with NotFound."""
    owner = yield from find_owner(task_id)
    [row] = yield from rows("find_task_facts", into=TaskFactsRow, tasks=[(owner, task_id)])
    return _facts(row)


def find_owner(task_id: str) -> Operation[int]:
    """Read the organization of a task, or refuse with NotFound."""
    ids = yield from rows("find_organization_ids", into=int)
    for start in range(0, len(ids), OWNERS_MOST):
        owner = yield from first("find_task_owner", into=int, id=task_id, ids=ids[start : start + OWNERS_MOST])
        if owner is not None:
            return owner
    raise NotFound.task(task_id)


def _find_payload_of_any(task_id: str) -> Operation[str]:
    owner = yield from find_owner(task_id)
    payload = yield from find_payload(owner, task_id)
    assert payload is not None
    return payload


def find_result_of_any(task_id: str) -> Operation[str | None]:
    """Read the result of a task, or refuse with NotFound."""
    yield from find_owner(task_id)
    found = yield from rows("find_result", into=ResultRow, task_id=task_id)
    return found[0].result if found else None


def find_trace(start: int, before: int, after: tuple[int, str], most: int) -> Operation[TracePage]:
    """Read a page of ended tasks."""
    at, task_id = max((start, ""), after)
    found = yield from rows("find_trace", into=TracedRow, start=at, id=task_id, before=before, most=most)
    tasks = tuple(row.to(Traced) for row in found if row.started_at is not None)
    return TracePage(tasks, (found[-1].finished_at, found[-1].id) if len(found) == most else None)


def _facts(row: TaskFactsRow) -> TaskFacts:
    leased = row.session_id is not None
    return TaskFacts(
        id=row.id,
        organization=row.organization,
        task_type=row.task_type,
        status=TaskStatus(row.status) if row.status else TaskStatus.PROCESSING if leased else TaskStatus.QUEUED,
        priority=row.priority,
        created_at=row.created_at,
        idempotency_key=row.idempotency_key,
        cost=row.cost,
        charged=row.charged,
        attempt=row.running_attempt if leased else row.attempt,
        started_at=row.running_since if leased else row.first_started_at,
        finished_at=row.finished_at,
        due_at=row.due_at,
        deadline_at=row.deadline_at,
        session=row.session_id,
        failure=msgspec.json.decode(row.failure, type=Failure) if row.failure else None,
        cause=row.cause,
        slot_wait_ms=row.slot_wait_ms,
        worker_wait_ms=row.worker_wait_ms,
    )
