"""Many tasks at once: submitting them without flooding the queue, and taking their outcomes as they come.

Both hold a bounded number of tasks in memory, however many there are.
"""

import math
from collections.abc import Generator
from typing import Any

from msgspec import Struct

from fairlane.client.answers import read_room, read_verdicts, submission_text
from fairlane.client.effects import Answer, Ask, Clock, Give, Operation, Pause, Stream, Take, clock
from fairlane.client.errors import NotInTime, QueueFull, TooLarge, ValidationRefused
from fairlane.client.operations import (
    LONG_POLL_SECONDS,
    POLL_FIRST_SECONDS,
    POLL_MOST_SECONDS,
    find,
    new_key,
    status,
)
from fairlane.client.records import ErrorBody, NewTask, Task, Verdict
from fairlane.client.retrying import Policy, exchange

BATCH_TASKS = 500
BATCH_BYTES = 8 * 2**20
"""A batch is sent before it grows beyond this; one task alone may be larger."""
WINDOW_TASKS = 256
"""So many outcomes are waited for at once; the rest is taken from the caller later."""


class _Entry(Struct, frozen=True):
    index: int
    key: str
    text: bytes


class _Source:
    """What the caller gave, one task ahead."""

    def __init__(self) -> None:
        self._index = 0
        self._next: _Entry | None = None

    def peek(self) -> Generator[Take, Any, _Entry | None]:
        """The next task without taking it; None: there is none."""
        if self._next is None:
            task: NewTask | None = yield Take()
            if task is not None:
                key = task.idempotency_key or new_key()
                self._next = _Entry(self._index, key, _text(task, key, self._index))
                self._index += 1
        return self._next

    def take(self, most: int) -> Generator[Take, Any, list[_Entry]]:
        """The next tasks for one batch: at least one if there is one, at most ``most``."""
        taken: list[_Entry] = []
        size = 0
        while len(taken) < most:
            entry = yield from self.peek()
            if entry is None or (taken and size + len(entry.text) > BATCH_BYTES):
                break
            taken.append(entry)
            size += len(entry.text)
            self._next = None
        return taken


def submit_many(policy: Policy, *, keep_queued_below: int | None, timeout_seconds: float | None) -> Stream:
    """Submit what the caller gives in batches, a verdict for each, never filling the queue beyond a mark.

    Raises:
        QueueFull: there was no room for ``timeout_seconds`` seconds.
    """
    source = _Source()
    while (yield from source.peek()) is not None:
        room = BATCH_TASKS
        if keep_queued_below is not None:
            room = yield from _room(policy, keep_queued_below, timeout_seconds)
        batch = yield from source.take(min(room, BATCH_TASKS))
        yield from _submit(policy, batch, timeout_seconds)


def _room(policy: Policy, keep_queued_below: int, timeout_seconds: float | None) -> Operation[int]:
    """How many tasks may be queued now, once that is worth a request: a request per freed slot is not."""
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
            raise QueueFull(
                f"{now_queued} tasks stay queued for {timeout_seconds:g} s, to be kept below {keep_queued_below}",
                code="QUEUE_LIMIT_EXCEEDED",
                status=429,
            )
        yield Pause(pause_seconds)
        pause_seconds = min(pause_seconds * 1.5, POLL_MOST_SECONDS)


def _submit(policy: Policy, batch: list[_Entry], timeout_seconds: float | None) -> Stream:
    """Send one batch; in halves if it is refused as a whole, again and again while the queue is full."""
    ahead = [batch]
    full_since: float | None = None
    pause_seconds = POLL_FIRST_SECONDS
    while ahead:
        part = ahead.pop()
        try:
            verdicts = yield from _send(policy, part)
        except (TooLarge, ValidationRefused) as error:
            # The one that is wrong spoils the whole request: halves find it.
            if len(part) == 1:
                yield Give(_refused(part[0], ErrorBody(error.code, error.message, error.details)))
            else:
                ahead += [part[len(part) // 2 :], part[: len(part) // 2]]
            continue
        except QueueFull as error:
            # All or nothing: where some would fit, they go first.
            fitting = min(read_room(error.details), len(part) - 1)
            if 0 < fitting < len(part):
                ahead += [part[fitting:], part[:fitting]]
                continue
            now: float = yield Clock()
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


def _send(policy: Policy, batch: list[_Entry]) -> Operation[list[Verdict]]:
    content = b"[" + b",".join([entry.text for entry in batch]) + b"]"
    answer: Answer = yield from exchange(Ask(method="POST", path="v1/async/task/batch", content=content), policy)
    return read_verdicts(answer.body, [entry.key for entry in batch], batch[0].index)


def _refused(entry: _Entry, error: ErrorBody) -> Verdict:
    return Verdict(index=entry.index, idempotency_key=entry.key, task_id=None, existed=False, error=error)


def _text(task: NewTask, key: str, index: int) -> bytes:
    try:
        return submission_text(task, key)
    except (TypeError, ValueError) as error:
        raise TypeError(f"task {index} cannot be written as JSON: {error}") from error


# Outcomes ------------------------------------------------------------------------------------------------------------


def as_completed(policy: Policy, *, timeout_seconds: float | None) -> Stream:
    """The tasks that the caller names, each as soon as it has ended.

    Raises:
        NotInTime: ``timeout_seconds`` seconds passed in which none ended.
    """
    pending: list[str] = []
    last_at = yield from clock()
    pause_seconds = POLL_FIRST_SECONDS
    wait_seconds = 0
    while True:
        yield from _refill(pending)
        if not pending:
            return
        ended, oldest = 0, None
        asked_at = yield from clock()
        for reference in list(pending):
            task = yield from find(policy, reference, wait_seconds=0 if oldest else wait_seconds)
            oldest = oldest or task
            if task.done:
                ended += 1
                pending.remove(reference)
                yield Give(task)
        now = yield from clock()
        if ended:
            last_at, pause_seconds, wait_seconds = now, POLL_FIRST_SECONDS, 0
            continue
        assert oldest is not None
        if timeout_seconds is not None and now - last_at >= timeout_seconds:
            raise NotInTime(oldest, now - last_at)
        # The oldest one is likely to end first, so the next round waits for it at the server; the others are looked at
        # after a second or so all the same.
        left = math.inf if timeout_seconds is None else timeout_seconds - (now - last_at)
        wait_seconds = int(min(1 if len(pending) > 1 else LONG_POLL_SECONDS, left))
        if now - asked_at < pause_seconds:
            yield Pause(min(pause_seconds, left))
        pause_seconds = min(pause_seconds * 1.5, POLL_MOST_SECONDS / 5)


def _refill(pending: list[str]) -> Generator[Take, Any, None]:
    while len(pending) < WINDOW_TASKS:
        given: str | Task | Verdict | None = yield Take()
        if given is None:
            return
        pending.append(reference_of(given))


def reference_of(given: str | Task | Verdict) -> str:
    """What names a task in a path."""
    match given:
        case str():
            return given
        case Task():
            return given.id
        case Verdict():
            return given.task_id or given.idempotency_key
