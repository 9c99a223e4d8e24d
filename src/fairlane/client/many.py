"""Many tasks at once: submitting them without flooding the queue, and returning each when it has ended.

Both hold a limited number of tasks in memory, independent of the total.
"""

import math
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from fairlane.client.answers import read_room, read_verdicts, submission_text
from fairlane.client.effects import Ask, Feed, Give, Pause, ReadClock, Response, Steps, Take, clock
from fairlane.client.errors import NotFound, NotInTime, QueueLimitExceeded, TooLarge, ValidationFailed
from fairlane.client.operations import (
    LONG_POLL_SECONDS,
    PAGE_TASKS,
    POLL_FIRST_SECONDS,
    POLL_MOST_SECONDS,
    find,
    new_key,
    page,
    status,
)
from fairlane.client.records import Bulk, ErrorBody, NewTask, Task, Verdict
from fairlane.client.retrying import Policy, exchange

BATCH_TASKS = 500
BATCH_BYTES = 8 * 2**20
"""Most bytes of a batch; one larger task is sent alone."""
WINDOW_TASKS = 256
"""Most tasks that are awaited at once; further ones are read from the caller later."""
PAGE_PAYS = 2
"""A page of the list that shows fewer of the awaited tasks is not worth its request."""
FRUITLESS_PAGES_MOST = 3
"""After this many such pages in a round, tasks are requested one by one."""
_LATEST = datetime.max.replace(tzinfo=UTC)


class _Entry(Struct, frozen=True):
    index: int
    key: str
    text: bytes
    error: ErrorBody | None = None
    """Why it cannot be sent, or None if it can."""


class _TaskSource:
    """The tasks that the caller gave, read one task ahead."""

    def __init__(self) -> None:
        self._index = 0
        self._next: _Entry | None = None

    def peek(self) -> Generator[Take, Any, _Entry | None]:
        """Return the next task without taking it, or None if there is none."""
        if self._next is None:
            task: NewTask | None = yield Take()
            if task is not None:
                key = new_key() if task.idempotency_key is None else task.idempotency_key
                self._next = _entry(self._index, key, task)
                self._index += 1
        return self._next

    def take(self, most: int) -> Generator[Take, Any, list[_Entry]]:
        """Take the next tasks for one batch: from one (if there is one) to ``most``, ending before a wrong one."""
        taken: list[_Entry] = []
        size = 0
        while len(taken) < most:
            entry = yield from self.peek()
            if entry is None or (taken and (entry.error or size + len(entry.text) > BATCH_BYTES)):
                break
            taken.append(entry)
            size += len(entry.text)
            self._next = None
        return taken


def submit_many(policy: Policy, *, keep_queued_below: int | None, timeout_seconds: float | None) -> Feed:
    """Submit the caller's tasks in batches, with a verdict for each, without filling the queue beyond a mark.

    Raises:
        QueueLimitExceeded: there was no room for ``timeout_seconds`` seconds.
    """
    source = _TaskSource()
    while (entry := (yield from source.peek())) is not None:
        if entry.error is not None:
            yield from source.take(1)
            yield Give(_refused(entry, entry.error))
            continue
        room = BATCH_TASKS
        if keep_queued_below is not None:
            room = yield from _room(policy, keep_queued_below, timeout_seconds)
        batch = yield from source.take(min(room, BATCH_TASKS))
        yield from _submit(policy, batch, timeout_seconds)


def _room(policy: Policy, keep_queued_below: int, timeout_seconds: float | None) -> Steps[int]:
    """Wait until a request is worthwhile and return how many tasks may be queued; one free slot alone is not enough."""
    worth = max(1, min(keep_queued_below, BATCH_TASKS) // 2)
    began = yield from clock()
    pause_seconds = POLL_FIRST_SECONDS
    while True:
        now_queued = (yield from status(policy)).queued_tasks
        room = keep_queued_below - now_queued
        if room >= worth:
            return room
        now = yield from clock()
        if timeout_seconds is not None and now - began >= timeout_seconds:
            raise QueueLimitExceeded(
                f"{now_queued} tasks are queued after {timeout_seconds:g} s; keep_queued_below is {keep_queued_below}",
                code="QUEUE_LIMIT_EXCEEDED",
                status=429,
            )
        yield Pause(pause_seconds)
        pause_seconds = min(pause_seconds * 1.5, POLL_MOST_SECONDS)


def _submit(policy: Policy, batch: list[_Entry], timeout_seconds: float | None) -> Feed:
    """Send one batch, in halves if it is refused as a whole, and repeatedly while the queue is full."""
    ahead = [batch]
    full_since: float | None = None
    pause_seconds = POLL_FIRST_SECONDS
    while ahead:
        part = ahead.pop()
        try:
            verdicts = yield from _send(policy, part)
        except (TooLarge, ValidationFailed) as error:
            # One wrong task causes the refusal of the whole request; halving finds it.
            if len(part) == 1:
                yield Give(_refused(part[0], ErrorBody(error.code, error.message, error.details)))
            else:
                ahead += [part[len(part) // 2 :], part[: len(part) // 2]]
            continue
        except QueueLimitExceeded as error:
            # The server takes all or nothing, so the tasks that fit are sent first.
            fitting = min(read_room(error.details), len(part) - 1)
            if 0 < fitting < len(part):
                ahead += [part[fitting:], part[:fitting]]
                continue
            now: float = yield ReadClock()
            full_since = now if full_since is None else full_since
            if timeout_seconds is not None and now - full_since >= timeout_seconds:
                raise
            ahead.append(part)
            yield Pause(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, POLL_MOST_SECONDS)
            continue
        full_since, pause_seconds = None, POLL_FIRST_SECONDS
        for verdict in verdicts:
            yield Give(verdict)


def _send(policy: Policy, batch: list[_Entry]) -> Steps[list[Verdict]]:
    content = b"[" + b",".join([entry.text for entry in batch]) + b"]"
    answer: Response = yield from exchange(Ask(method="POST", path="v1/async/task/batch", content=content), policy)
    return read_verdicts(answer.body, [entry.key for entry in batch], batch[0].index)


def _refused(entry: _Entry, error: ErrorBody) -> Verdict:
    return Verdict(index=entry.index, idempotency_key=entry.key, task_id=None, existed=False, error=error)


def _entry(index: int, key: str, task: NewTask) -> _Entry:
    try:
        return _Entry(index, key, submission_text(task, key))
    except ValidationFailed as error:  # Reported as the API would report it in a batch.
        return _Entry(index, key, b"", ErrorBody(error.code, error.message, {"errors": error.details}))


# Outcomes ------------------------------------------------------------------------------------------------------------


def as_completed(policy: Policy, *, timeout_seconds: float | None) -> Feed:
    """Yield each of the caller's tasks as soon as it has ended.

    Raises:
        NotInTime: no task ended for ``timeout_seconds`` seconds.
        NotFound: some tasks do not exist; raised after all others were returned.
    """
    window = _Window(policy)
    last_at = yield from clock()
    pause_seconds = POLL_FIRST_SECONDS
    wait_seconds = 0
    while True:
        if (yield from window.refill()):
            wait_seconds = 0
        if not window.pending:
            if window.missing is not None:
                raise window.missing
            return
        before = len(window.pending)
        asked_at = yield from clock()
        yield from window.look(wait_seconds)
        now = yield from clock()
        progressed = len(window.pending) < before
        last_at = now if progressed else last_at
        left = math.inf if timeout_seconds is None else timeout_seconds - (now - last_at)
        if left <= 0 and not progressed:
            assert window.waiting is not None
            raise NotInTime(window.waiting, now - last_at)
        # The oldest task is likely to end first, so the next round waits for it at the server. The others are still
        # checked after about a second.
        wait_seconds = int(min(1 if len(window.pending) > 1 else LONG_POLL_SECONDS, left))
        if progressed:
            pause_seconds = POLL_FIRST_SECONDS
            continue
        if now - asked_at < pause_seconds:
            yield Pause(min(pause_seconds, left))
        pause_seconds = min(pause_seconds * 1.5, POLL_MOST_SECONDS / 5)


class _Window:
    """The tasks that are awaited now."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._made: dict[str, datetime] = {}
        self.pending: list[str] = []
        self.waiting: Task | None = None
        """A task that had not ended when it was last checked."""
        self.missing: NotFound | None = None
        """The error about the first task that does not exist."""

    def refill(self) -> Generator[Take, Any, bool]:
        """Replace tasks that ended by further ones, and return whether there were any."""
        before = len(self.pending)
        while len(self.pending) < WINDOW_TASKS:
            given: str | Task | Verdict | None = yield Take()
            if given is None:
                break
            if not isinstance(given, Verdict) or given.accepted:  # A refused task never ends.
                self.pending.append(reference_of(given))
        return len(self.pending) > before

    def look(self, wait_seconds: int) -> Feed:
        """Check each task and yield those that have ended; the check of the oldest waits for this long.

        Tasks that were submitted together are neighbors in the list of all tasks, so a page of the list covers many of
        them with one request. Tasks without such neighbors are requested one by one.
        """
        # Unseen tasks last: they are likely to be the newest, in the order in which they were given.
        unseen = sorted(self.pending, key=lambda reference: self._made.get(reference, _LATEST))
        oldest = yield from self._find(unseen.pop(0), wait_seconds)
        fruitless = 0
        while unseen:
            task = yield from self._find(unseen.pop())
            if oldest is not None and task is not None and oldest.created_at > task.created_at:
                task, oldest, unseen = oldest, None, unseen[::-1]  # They were given in the opposite order.
            cursor = None if task is None else task.id
            while cursor is not None and fruitless < FRUITLESS_PAGES_MOST and len(unseen) >= PAGE_PAYS:
                listed, cursor = yield from page(self._policy, {}, cursor=cursor, most=PAGE_TASKS)
                known = {one.idempotency_key: one for one in listed} | {one.id: one for one in listed}
                seen = [reference for reference in unseen if reference in known]
                unseen = [reference for reference in unseen if reference not in known]
                for reference in seen:
                    if known[reference].done:
                        yield from self._find(reference)  # Lists have no responses.
                    else:
                        self._note(reference, known[reference])
                if len(seen) < PAGE_PAYS:
                    fruitless += 1
                    break

    def _find(self, reference: str, wait_seconds: int = 0) -> Generator[Any, Any, Task | None]:
        """Check one task, or return None if it does not exist."""
        try:
            task = yield from find(self._policy, reference, wait_seconds=wait_seconds)
        except NotFound as error:
            self.pending.remove(reference)
            self.missing = self.missing or error
            return None
        if task.done:
            self.pending.remove(reference)
            self._made.pop(reference, None)
            yield Give(task)
        else:
            self._note(reference, task)
        return task

    def _note(self, reference: str, task: Task) -> None:
        self._made[reference] = task.created_at
        self.waiting = task


def reference_of(given: str | Task | Verdict) -> str:
    """Return what names a task in a path."""
    match given:
        case str():
            return given
        case Task():
            return given.id
        case Verdict():
            return given.task_id or given.idempotency_key


def identity_of(given: str | Bulk) -> str:
    """Return what names a bulk in a path."""
    return given if isinstance(given, str) else given.id
