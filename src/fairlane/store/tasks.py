"""Accept tasks, read them, cancel and clear them."""

from collections.abc import Awaitable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from fairlane.errors import CreditsShort, KeyRefused, NotFound, QueueFull, Refusal, TaskEnded, TaskExists, TaskNotFailed
from fairlane.model.status import QueueStatus, SlotUse
from fairlane.model.tasks import (
    Accepted,
    Failure,
    NewTask,
    TaskFilter,
    TaskList,
    TaskStatus,
    TaskView,
    Told,
    Waited,
)
from fairlane.rules.attempts import CANCELED
from fairlane.rules.fairness import priority_of, rank_of
from fairlane.store.counting import count_queues
from fairlane.store.filtering import LOOK_MOST, NEWEST, walk
from fairlane.store.locked import LockedOrganization
from fairlane.store.noun import Noun, Shared, weight
from fairlane.store.outcomes import write_outcomes
from fairlane.store.plans import refusal_by_plan
from fairlane.store.statements import (
    CHUNK,
    Operation,
    Query,
    Row,
    RowLookup,
    change,
    first,
    only,
    query,
    rows,
    rows_if,
    run_if,
)
from fairlane.store.transaction import Transaction


class TaskStore(Noun):
    """One organization's tasks. Accepted means durable."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._submit = self._plural(submit)

    def submit(
        self, organization_id: int, new: Sequence[NewTask], *, room: int = 0
    ) -> Awaitable[list[Accepted | Refusal]]:
        """Accept or refuse each task; return a verdict for each, in order.

        The accepted tasks become durable together. A refused task changes nothing and does not bind its key. A used key
        is refused before a full queue, so that the retry of an accepted request always finds its task. With ``room``
        the queue must have this many free places, or else nothing is accepted, and QueueFull is raised.
        """
        return self._database.write(
            self._submit, Submission(organization_id, new, room), weight=weight(task.payload for task in new)
        )

    async def status(self, organization_id: int) -> QueueStatus:
        """Return one organization's queue and slots, exact, in constant time. Raises KeyRefused if it does not exist.

        While the counters are in doubt, both counts are taken from the rows, and ``concurrency`` is None.
        """
        row = await self._database.find(STATUS, organization_id)
        if row is None:
            raise KeyRefused
        found = _status(row)
        if found.concurrency is None:
            found = await self._database.walk(counted_status(organization_id), share=organization_id)
        return found

    async def find(self, organization_id: int, reference: str) -> TaskView | None:
        """Return the organization's task with this id, or else this idempotency key, or None."""
        return await self._database.read(find_task(organization_id, reference))

    async def payload(self, organization_id: int, reference: str) -> str | None:
        """Return the payload of the task with this id, or else this idempotency key, as received, or None."""
        return await self._database.read(find_payload(organization_id, reference))

    async def failed(self, organization_id: int, reference: str) -> tuple[TaskView, str]:
        """Return a failed task by id or key, and its payload. Raises NotFound, or TaskNotFailed."""
        return await self._database.snapshot(_find_failed(organization_id, reference), share=organization_id)

    async def page(self, organization_id: int, *, chosen: TaskFilter, cursor: str | None, most: int) -> TaskList:
        """Return one page of an organization's tasks, newest first, at a constant cost regardless of their number.

        A page looks at a bounded number of tasks, so with a filter it may be short, or empty, and still have a next
        one. Tasks with a beginning of the key come in the order of their keys. A cursor comes from the page before: a
        place in the order of acceptance for the queued tasks of lanes, a key in the order of keys, otherwise an id. The
        caller has checked its shape.
        """
        return await self._database.snapshot(list_tasks(organization_id, chosen, cursor, most), share=organization_id)

    async def ended(self, asked: Sequence[tuple[int, str]]) -> set[str]:
        """Return which of these (organization, task) have ended, or do not exist any more."""
        return await self._database.read(ended_tasks(asked))

    async def cancel(self, organization_id: int, reference: str) -> TaskView:
        """End a task by id or key: a queued one at once, a running one by a cancel request. Return its new state.

        From the commit on a running task can only end as FAILED ``TASK_CANCELED``, even if its handler completes before
        it receives the request. Safe to repeat.

        Raises:
            NotFound: it does not exist.
            TaskEnded: it ended before, and not by a cancel.
        """
        return await self._write(cancel, organization_id, reference)

    async def clear(self, organization_id: int) -> int:
        """Delete every task that is queued now, in chunks that let other requests in between; return their number.

        Keys are deleted with their tasks; nothing is charged, no webhook is sent. A crash between two chunks leaves the
        rest queued; clearing again continues.
        """
        chunk = await self._write(clear, organization_id, None)
        total = chunk.count
        while chunk.more:
            chunk = await self._write(clear, organization_id, chunk.before)
            total += chunk.count
        return total


class Submission(Struct, frozen=True):
    """The tasks of one request."""

    organization_id: int
    tasks: Sequence[NewTask]
    room: int = 0
    """Places that the queue must have free, or else nothing of it is accepted."""


class UsedKeyRow(Row, frozen=True):
    """An idempotency key that is in use."""

    organization_id: int
    key: str


class StatusRow(Row, frozen=True):
    """An organization's counts; the levels are a text of ``rank:count``, separated by commas."""

    queued: int
    processing: int
    calls: int
    slots_max: int | None
    doubted: int
    levels: str | None
    id: int


STATUS = RowLookup("find_status", "find_statuses", StatusRow)


class ViewRow(Row, frozen=True):
    """A task, as its organization sees it."""

    id: str
    task_type: str
    priority: int
    created_at: int
    idempotency_key: str | None
    cost: int
    ended: str | None
    result: str | None
    failure: str | None
    charged: int | None
    latency_ms: int | None
    leased: int
    webhook_url: str | None
    delivered_at: int | None
    run_at: int | None
    retry_of: str | None
    slot_wait_ms: int | None
    worker_wait_ms: int | None


class NewestRow(Row, frozen=True):
    """A queued task, and its place in the order of acceptance."""

    seq: int
    task_id: str


class NewestWaitingRow(NewestRow, frozen=True):
    """A waiting task, and its lane."""

    task_type: str
    rank: int


class NewestReadyRow(Row, frozen=True):
    """The newest ready tasks of one lane."""

    entries: list[NewestRow]


class QueuedRow(Row, frozen=True):
    """A queued task that is about to be cleared."""

    task_id: str
    task_type: str
    rank: int
    seq: int
    idempotency_key: str | None


class CancelRow(Row, frozen=True):
    """A task and its state, as canceling needs them."""

    id: str
    task_type: str
    priority: int
    seq: int
    webhook: int
    ready_attempt: int | None
    """None if it is not ready. The next two work in the same way."""
    waiting_attempt: int | None
    session_id: str | None
    first_started_at: int | None
    deadline_at: int | None
    canceled_at: int | None
    ended: str | None
    failure: str | None


Verdicts = list[Accepted | Refusal]


def submit(transaction: Transaction, submissions: Sequence[Submission]) -> Operation[list[Verdicts | Refusal]]:
    """Accept or refuse each task of each submission, in order; one Refusal for a submission refuses all its tasks.

    Atomic over all submissions.
    """
    asked = [
        (one.organization_id, task.idempotency_key)
        for one in submissions
        for task in one.tasks
        if task.idempotency_key is not None
    ]
    bound = query("find_used_keys", asked, into=UsedKeyRow, keys=asked)
    locked = yield from transaction.lock((one.organization_id for one in submissions), bound)
    now = transaction.now
    used = {(row.organization_id, row.key) for row in bound.rows}
    answers: list[Verdicts | Refusal] = []
    accepted = Acceptance()
    for submission in submissions:
        organization = locked.get(submission.organization_id)
        refused = _refusal_of_all(organization, submission.room)
        if refused is not None:
            answers.append(refused)
            continue
        verdicts: Verdicts = []
        spent = 0
        for task in submission.tasks:
            refusal = refusal_of(organization, task, used, spent)
            due_at = _due_at(task, now)
            verdicts.append(refusal or Accepted(now, due_at))
            if refusal is not None or organization is None:
                continue
            spent += task.cost
            if task.idempotency_key is not None:
                used.add((organization.id, task.idempotency_key))
            accepted.add(transaction, organization, task, due_at)
        answers.append(verdicts)
    yield from transaction.save(*accepted.changes(now))
    return answers


class Acceptance:
    """Tasks that one transaction accepts."""

    __slots__ = ("_entries", "_keys", "_later", "_tasks", "_waits")

    def __init__(self) -> None:
        self._tasks: list[tuple[Any, ...]] = []
        self._entries: list[tuple[Any, ...]] = []
        self._later: list[tuple[Any, ...]] = []
        self._keys: list[tuple[Any, ...]] = []
        self._waits: dict[int, tuple[int, int]] = {}

    def add(
        self, transaction: Transaction, organization: LockedOrganization, task: NewTask, due_at: int | None
    ) -> None:
        """Put a task into the queue of its organization, or let it wait until ``due_at``."""
        seq, rank = organization.take_seq(), rank_of(task.priority)
        organization.submitted += 1
        if task.idempotency_key is not None:
            self._keys.append((organization.id, task.idempotency_key, task.id))
        self._tasks.append(
            (task.id, organization.id, seq, task.task_type, task.priority, task.payload, task.idempotency_key,
             task.cost, *((None, None) if task.webhook is None else (task.webhook.url, task.webhook.host)),
             due_at, task.retry_of, task.traceparent)
        )  # fmt: skip
        if due_at is None or due_at <= transaction.now:
            organization.enqueue(task.task_type, rank, seq)
            self._entries.append((organization.id, task.task_type, rank, seq, task.id, 0, None, 0,
                                  *self._waits_of(organization, transaction.now)))  # fmt: skip
        else:
            organization.wait(task.task_type, rank)
            transaction.effects.pause_until(due_at)
            self._later.append((organization.id, task.id, task.task_type, rank, seq, 0, None, due_at, 0, 0, 0))

    def _waits_of(self, organization: LockedOrganization, now: int) -> tuple[int, int]:
        waits = self._waits.get(organization.id)
        if waits is None:
            waits = self._waits[organization.id] = organization.waits(now)
        return waits

    def changes(self, now: int) -> list[Query[Any]]:
        """Return the statements that write them."""
        return [
            change("insert_tasks", self._tasks, tasks=self._tasks, now=now),
            change("insert_queue_entries", self._entries, entries=self._entries),
            change("insert_waiting", self._later, entries=self._later),
            change("insert_idempotency", self._keys, keys=self._keys),
        ]


def _due_at(task: NewTask, now: int) -> int | None:
    """Return the moment before which this task must not start, or None if it may start at once."""
    return now + task.delay_ms if task.run_at is None and task.delay_ms else task.run_at


def _refusal_of_all(organization: LockedOrganization | None, room: int) -> Refusal | None:
    """Return why a submission that needs ``room`` places is refused as a whole, or None."""
    if not room:
        return None
    if organization is None or organization.disabled:
        return KeyRefused()
    return _full(organization, room)


def _full(organization: LockedOrganization, wanted: int) -> Refusal | None:
    if organization.queued + wanted <= organization.queue_limit:
        return None
    return QueueFull(limit=organization.queue_limit, queued=organization.queued, wanted=wanted)


def refusal_of(
    organization: LockedOrganization | None, task: NewTask, used: set[tuple[int, str]], spent: int
) -> Refusal | None:
    """Return why this task is not accepted, or None. ``spent`` is the cost of tasks accepted before it in its
    request."""
    if organization is None or organization.disabled:
        return KeyRefused()
    if task.idempotency_key is not None and (organization.id, task.idempotency_key) in used:
        return TaskExists(task.idempotency_key)
    not_allowed = refusal_by_plan(organization, task.task_type, task.priority)
    if not_allowed is not None:
        return not_allowed
    full = _full(organization, 1)
    if full is None and not organization.can_pay(task.cost, besides=spent):
        return CreditsShort()
    return full


def status(organization_id: int) -> Operation[QueueStatus | None]:
    """Return one organization's numbers in one statement, in constant time at any depth, or None if it does not exist.

    ``concurrency`` is None when the limit cannot be read or the counters are in doubt: then use :func:`counted_status`.
    """
    row = yield from first("find_status", into=StatusRow, id=organization_id)
    return None if row is None else _status(row)


def _status(row: StatusRow) -> QueueStatus:
    ranks: dict[int, int] = {}
    for lane in row.levels.split(",") if row.levels else ():
        rank, _, count = lane.partition(":")
        ranks[int(rank)] = ranks.get(int(rank), 0) + int(count)
    return QueueStatus(
        queued=row.queued,
        processing=row.processing,
        concurrency=None
        if row.doubted or row.slots_max is None
        else SlotUse(row.processing + row.calls, row.slots_max),
        priorities=tuple((priority_of(rank), ranks[rank]) for rank in sorted(ranks)),
    )


def counted_status(organization_id: int) -> Operation[QueueStatus]:
    """Count the tasks from their rows, in one snapshot, without concurrency."""
    lanes = yield from count_queues(organization_id, organization_id)
    leases = yield from only("count_leases", into=int, organization_id=organization_id)
    ranks: dict[int, int] = {}
    for (_, _, rank), lane in lanes.items():
        ranks[rank] = ranks.get(rank, 0) + lane.ready + lane.waiting
    return QueueStatus(
        queued=sum(ranks.values()),
        processing=leases,
        concurrency=None,
        priorities=tuple((priority_of(rank), ranks[rank]) for rank in sorted(ranks)),
    )


def find_task(organization_id: int, reference: str) -> Operation[TaskView | None]:
    """Read one task by id, or else by key."""
    found = yield from first("find_task", into=ViewRow, organization_id=organization_id, reference=reference)
    return None if found is None else _view(found)


def find_payload(organization_id: int, reference: str) -> Operation[str | None]:
    """Read one payload."""
    return (yield from first("find_payload", into=str, organization_id=organization_id, reference=reference))


def _view(row: ViewRow) -> TaskView:
    return TaskView(
        id=row.id,
        task_type=row.task_type,
        status=TaskStatus(row.ended) if row.ended else TaskStatus.PROCESSING if row.leased else TaskStatus.QUEUED,
        priority=row.priority,
        created_at=row.created_at,
        idempotency_key=row.idempotency_key,
        cost=row.cost,
        charged=row.charged,
        latency_ms=row.latency_ms,
        result=row.result,
        failure=msgspec.json.decode(row.failure, type=Failure) if row.failure else None,
        webhook=None if row.webhook_url is None else Told(row.webhook_url, row.delivered_at),
        run_at=row.run_at,
        retry_of=row.retry_of,
        waited=waited_of(row.slot_wait_ms, row.worker_wait_ms),
    )


def waited_of(slot_ms: int | None, worker_ms: int | None) -> Waited | None:
    """Return how long a task waited, or None if that is not known."""
    return None if slot_ms is None or worker_ms is None else Waited(slot_ms, worker_ms)


def ended_tasks(asked: Sequence[tuple[int, str]]) -> Operation[set[str]]:
    """Read which tasks have ended."""
    going_on = yield from rows_if("find_going_on", asked, into=str, tasks=asked)
    return {task_id for _, task_id in asked}.difference(going_on)


def _find_failed(organization_id: int, reference: str) -> Operation[tuple[TaskView, str]]:
    view = yield from find_task(organization_id, reference)
    if view is None:
        raise NotFound.task(reference)
    if view.status is not TaskStatus.FAILED:
        raise TaskNotFailed(view.id, view.status)
    payload = yield from only("find_payload", into=str, organization_id=organization_id, reference=view.id)
    return view, payload


# Lists: newest first, one page at a constant cost --------------------------------------------------------------------

NEWEST_SEQ = 2**63 - 1

Found = tuple[list[str], str | None]
"""Ids, newest first, and where the next page begins, or None if there is none."""


def list_tasks(organization_id: int, chosen: TaskFilter, cursor: str | None, most: int) -> Operation[TaskList]:
    """Read one page. Needs one snapshot."""
    if chosen.is_of_lanes:
        ids, following = yield from _newest_queued(organization_id, chosen, int(cursor or NEWEST_SEQ), most)
    elif not chosen.is_open:
        step = yield from walk(organization_id, chosen, cursor, most)
        ids, following = [row.id for row in step.tasks], step.after
    else:
        match chosen.status:
            case TaskStatus.COMPLETED | TaskStatus.FAILED:
                statement, status = "find_newest_ended", {"status": chosen.status.value}
            case TaskStatus.PROCESSING:
                statement, status = "find_newest_leased", {}
            case _:
                statement, status = "find_newest_tasks", {}
        ids, following = yield from _newest(statement, organization_id, cursor, most, **status)
    asked = [(organization_id, task_id) for task_id in ids]
    found = {row.id: _view(row) for row in (yield from rows_if("find_listed", asked, into=ViewRow, tasks=asked))}
    return TaskList(tuple([found[task_id] for task_id in ids]), following)


def _newest(statement: str, organization_id: int, cursor: str | None, most: int, **parameters: str) -> Operation[Found]:
    ids = yield from rows(
        statement, into=str, organization_id=organization_id, before=cursor or NEWEST, most=most + 1, **parameters
    )
    return ids[:most], ids[most - 1] if len(ids) > most else None


def _newest_queued(organization_id: int, chosen: TaskFilter, before: int, most: int) -> Operation[Found]:
    """Return the newest queued tasks, merged from the newest of each lane and of waiting tasks, in few reads at any
    depth."""
    rank = None if chosen.priority is None else rank_of(chosen.priority)
    asked = {"organization_id": organization_id, "before": before}
    lanes = yield from rows(
        "find_newest_ready", into=NewestReadyRow, task_type=chosen.task_type, rank=rank, most=most + 1, **asked
    )
    # Waiting tasks have no index by lane: others are left out of a bounded number of them.
    looks = most + 1 if chosen.is_open else LOOK_MOST
    waiting = yield from rows("find_newest_waiting", into=NewestWaitingRow, most=looks, **asked)
    known = waiting[-1].seq if len(waiting) == looks else 0
    mine = [row for row in waiting if chosen.task_type in (None, row.task_type) and rank in (None, row.rank)]
    queued = [*(entry for lane in lanes for entry in lane.entries if entry.seq >= known), *mine]
    queued.sort(key=attrgetter("seq"), reverse=True)
    page = queued[:most]
    following = page[-1].seq if len(queued) > most else known
    return [entry.task_id for entry in page], str(following) if following else None


class Cleared(Struct, frozen=True):
    """One chunk of a clear."""

    count: int
    before: int
    """Tasks below this place in the order of acceptance are cleared; the first chunk sets it."""
    more: bool


def clear(transaction: Transaction, organization_id: int, before: int | None) -> Operation[Cleared]:
    """Delete at most CHUNK queued tasks, ready and waiting.

    With ``before`` None this is the first chunk, and covers all tasks queued now.
    """
    locked = yield from transaction.lock([organization_id])
    organization = locked.get(organization_id)
    if organization is None:
        raise KeyRefused
    bound = organization.next_seq if before is None else before
    asked = {"organization_id": organization_id, "before": bound}
    ready = yield from rows("find_ready_before", into=QueuedRow, **asked, most=CHUNK)
    waiting = yield from rows("find_waiting_before", into=QueuedRow, **asked, most=CHUNK - len(ready))
    for row in ready:
        organization.leave(row.task_type, row.rank)
    for row in waiting:
        organization.stop_waiting(row.task_type, row.rank)
    organization.want_credits(0)  # the task that waited for credits may be gone
    entries = [(organization_id, row.task_type, row.rank, row.seq) for row in ready]
    yield from run_if("delete_queue_entries", entries, entries=entries)
    pauses = [(organization_id, row.seq) for row in waiting]
    yield from run_if("take_waiting", pauses, entries=pauses)
    cleared = [*ready, *waiting]
    keys = [(organization_id, row.idempotency_key) for row in cleared if row.idempotency_key is not None]
    yield from run_if("delete_idempotency", keys, keys=keys)
    tasks = [(organization_id, row.task_id) for row in cleared]
    yield from run_if("delete_attempts", tasks, tasks=tasks)
    yield from run_if("delete_tasks", tasks, tasks=tasks)
    transaction.effects.ended.update(task_id for _, task_id in tasks)
    yield from transaction.save()
    return Cleared(len(cleared), bound, len(cleared) == CHUNK)


def cancel(transaction: Transaction, organization_id: int, reference: str) -> Operation[TaskView]:
    """Cancel one task, under its organization's lock."""
    asked = {"organization_id": organization_id, "reference": reference}
    found = query("find_place", asked, into=CancelRow, **asked)
    locked = yield from transaction.lock([organization_id], found)
    organization = locked.get(organization_id)
    if not found.rows or organization is None:
        raise NotFound.task(reference)
    [task] = found.rows
    if task.ended is not None:
        if task.failure is None or msgspec.json.decode(task.failure, type=Failure).code != CANCELED.code:
            raise TaskEnded(task.id, task.ended)
    else:
        yield from cancel_all(transaction, organization, [task])
    yield from transaction.save()
    view = yield from find_task(organization_id, task.id)
    assert view is not None
    return view


def cancel_all(
    transaction: Transaction, organization: LockedOrganization, tasks: Sequence[CancelRow]
) -> Operation[None]:
    """Cancel tasks of a locked organization that have not ended: queued ones at once, running ones by a request."""
    yield from _cancel_leases(transaction, organization, [one for one in tasks if one.session_id is not None])
    yield from _cancel_queued(transaction, organization, [one for one in tasks if one.session_id is None])


def _cancel_leases(
    transaction: Transaction, organization: LockedOrganization, tasks: Sequence[CancelRow]
) -> Operation[None]:
    now = transaction.now
    leases = []
    for task in tasks:
        if task.session_id is not None and task.canceled_at is None:
            # The supervisor gets it with its next renewal at the latest, and kills the process after the grace period.
            deadline_at = min(task.deadline_at or now, now + transaction.config.renew_ms)
            leases.append((organization.id, task.id, deadline_at))
            transaction.effects.canceled.add(task.session_id)
    yield from run_if("cancel_leases", leases, leases=leases, now=now)


def _cancel_queued(
    transaction: Transaction, organization: LockedOrganization, tasks: Sequence[CancelRow]
) -> Operation[None]:
    if not tasks:
        return
    entries, pauses, outcomes = [], [], []
    failure = msgspec.json.encode(CANCELED).decode()
    for task in tasks:
        rank = rank_of(task.priority)
        if task.ready_attempt is not None:
            organization.leave(task.task_type, rank)
            entries.append((organization.id, task.task_type, rank, task.seq))
        else:
            organization.stop_waiting(task.task_type, rank)
            pauses.append((organization.id, task.seq))
        attempt = task.waiting_attempt if task.ready_attempt is None else task.ready_attempt
        outcomes.append((task.id, organization.id, str(TaskStatus.FAILED), None, failure, "canceled", 0, attempt,
                         task.first_started_at, None, None, None, None, None))  # fmt: skip
    organization.want_credits(0)  # the task that waited for credits may be one of these
    organization.failed += len(tasks)
    yield from run_if("delete_queue_entries", entries, entries=entries)
    yield from run_if("take_waiting", pauses, entries=pauses)
    told = [(organization.id, task.id) for task in tasks if task.webhook]
    yield from write_outcomes(transaction, outcomes, told)
