"""Group commit: how every database adapter takes a request to its answer.

Requests that arrive while a transaction is in flight form the next one, so speed comes from batching and an idle store
adds no delay. One thread, the store thread, runs all transactions; a request is answered after its commit is known. A
request that needs locks held by another transaction is taken out of the batch and retried separately.
"""

import asyncio
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fairlane.errors import LocksHeld, Refusal, StoreBroken, StoreFault, StoreUnreachable
from fairlane.store.effects import Effects
from fairlane.store.statements import Operation

TRANSACTION_WEIGHT = 1_000
"""A transaction takes no more members once it weighs this much (a task weighs 1)."""
TRY_SECONDS = 1.5
"""How long a request may wait for an unreachable database, or for locks, before it is answered 503."""
HELD_PAUSE_SECONDS = 0.05
"""Longest pause before a blocked request is tried again; the shortest is half of it."""

Member = TypeVar("Member")
Answer = TypeVar("Answer")

PluralOperation = Callable[[Effects, Sequence[Member]], Operation[Sequence[Answer | Refusal]]]
"""Takes the effects of its transaction and the members of many requests; returns an answer for each: a result, or a
Refusal."""


@dataclass(slots=True)
class PendingWrite:
    """One member of a plural operation, and the future of its answer."""

    operation: PluralOperation[Any, Any]
    member: Any
    weight: int
    alone: bool
    """It locks in an order of its own: where locks are rows it needs a transaction to itself."""
    came_at: float
    answer: "asyncio.Future[Any]"
    held_by: LocksHeld | None = None
    """The lock timeout of its last try, or None if locks do not block it."""
    again_at: float = 0.0
    """When a blocked request may be tried again."""


class Batches:
    """The store thread."""

    def __init__(
        self,
        *,
        transact: Callable[[list[PendingWrite]], tuple[Sequence[Any], Effects]],
        split: Callable[[list[PendingWrite]], list[list[PendingWrite]]],
        translate: Callable[[Exception], Exception],
        tell: Callable[[Effects], None],
        broken: Callable[[BaseException], None],
        end: Callable[[], None] = lambda: None,
    ) -> None:
        """``split`` divides the waiting requests into transactions.

        ``transact`` runs one of them on the store thread and returns an answer for each request and the effects of
        all, or raises LocksHeld if a lock timeout let it change nothing. ``translate`` returns the error that a caller
        sees for a failed one. ``tell`` is called on the event loop with the effects of each committed transaction.
        ``broken`` is called on the store thread if a bug ends it; the waiting requests are refused. ``end`` runs last
        on the thread.
        """
        self._transact = transact
        self._split = split
        self._translate = translate
        self._tell = tell
        self._broken = broken
        self._end = end
        self._ended_by: BaseException | None = None
        """The mistake that ended the store thread."""
        self._taken: list[PendingWrite] = []
        """What the store thread works on."""
        self._requests: queue.SimpleQueue[PendingWrite | None] = queue.SimpleQueue()
        self._held_up: deque[PendingWrite] = deque()
        self._thread = threading.Thread(target=self._serve, name="fairlane-store", daemon=True)
        self._closing = False

    def start(self) -> None:
        """Start the thread. Call it while the event loop runs: answers are delivered there."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finish the accepted requests; refuse later ones."""
        self._closing = True
        if self._thread.ident is not None:
            self._requests.put(None)
            await asyncio.to_thread(self._thread.join)

    def put(
        self, operation: PluralOperation[Member, Answer], member: Member, *, weight: int, alone: bool
    ) -> "asyncio.Future[Answer]":
        """Return a future that is set once the commit is known, to the result, the member's Refusal, or StoreFault."""
        if self._closing:
            raise StoreFault("the store is closed")
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._requests.put(PendingWrite(operation, member, weight, alone, time.monotonic(), answer))
        if self._ended_by is not None:
            self._refuse_all()
        return answer

    def _serve(self) -> None:
        ended = False
        try:
            while not ended or self._held_up:
                self._taken, ended = self._gather(ended)
                for part in self._split(self._taken):
                    self._commit(part)
                self._try_again()
        except BaseException as error:  # noqa: BLE001 - without this thread every write would wait for ever
            self._ended_by = error
            self._broken(error)
            self._refuse_all()
        self._end()

    def _refuse_all(self) -> None:
        """Refuse the current and the waiting requests after a bug has ended the store thread."""
        refused = [*self._taken, *self._held_up]
        with suppress(queue.Empty):
            while True:
                request = self._requests.get_nowait()
                refused += [] if request is None else [request]
        self._answer([(request, StoreBroken("the store thread has ended")) for request in refused])

    def _gather(self, ended: bool) -> tuple[list[PendingWrite], bool]:
        """Return the waiting requests, up to the weight of one transaction, and whether the end has come.

        Waits for the first request, but no longer than until a blocked one is due.
        """
        requests: list[PendingWrite] = []
        weight = 0
        pause = max(0.0, min(one.again_at for one in self._held_up) - time.monotonic()) if self._held_up else None
        if ended:
            time.sleep(pause or 0.0)
            return requests, ended
        while weight < TRANSACTION_WEIGHT:
            try:
                request = self._requests.get_nowait() if requests else self._requests.get(timeout=pause)
            except queue.Empty:
                break
            if request is None:
                return requests, True
            requests.append(request)
            weight += request.weight
        return requests, False

    def _commit(self, requests: list[PendingWrite]) -> None:
        """Run requests in one transaction. If it fails, run each alone, so that no request fails another.

        After a lock timeout, run it by halves, until only the requests that need those locks wait.
        """
        try:
            answers, effects = self._transact(requests)
        except LocksHeld as error:
            if len(requests) == 1:
                self._wait(requests[0], error)
            else:
                middle = len(requests) // 2
                self._commit(requests[:middle])
                self._commit(requests[middle:])
        except Exception as error:  # noqa: BLE001 - every error is handed to the callers of these requests
            if len(requests) == 1 or isinstance(error, StoreUnreachable):
                translated = self._translate(error)
                self._answer([(request, translated) for request in requests])
            else:
                for request in requests:
                    self._commit([request])
        else:
            self._answer(list(zip(requests, answers, strict=True)), effects)

    def _wait(self, request: PendingWrite, error: LocksHeld) -> None:
        """Keep a blocked request to be tried again by itself until its time is over."""
        pause = random.uniform(HELD_PAUSE_SECONDS / 2, HELD_PAUSE_SECONDS)  # noqa: S311 - spreads load, guards nothing
        request.held_by, request.again_at = error, time.monotonic() + pause
        self._held_up.append(request)

    def _try_again(self) -> None:
        """Retry blocked requests one at a time.

        Stop at the first that is still blocked, so a new request waits for at most one retry.
        """
        now = time.monotonic()
        late = [one for one in self._held_up if now >= one.came_at + TRY_SECONDS]
        for one in late:
            assert one.held_by is not None
            self._held_up.remove(one)
            self._answer([(one, self._translate(one.held_by))])
        for _ in range(len(self._held_up)):
            request = self._held_up.popleft()
            if time.monotonic() >= request.again_at:
                self._commit([request])
                if self._held_up and self._held_up[-1] is request:
                    return
            else:
                self._held_up.append(request)

    def _answer(self, answered: list[tuple[PendingWrite, Any]], effects: Effects | None = None) -> None:
        self._loop.call_soon_threadsafe(self._deliver, answered, effects)

    def _deliver(self, answered: list[tuple[PendingWrite, Any]], effects: Effects | None) -> None:
        for request, answer in answered:
            if request.answer.done():
                continue  # the caller is gone; the commit stays
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        if effects is not None:
            self._tell(effects)


def by_operation(requests: Iterable[PendingWrite]) -> list[tuple[PluralOperation[Any, Any], list[PendingWrite]]]:
    """Group requests by operation, in the order of each operation's first request."""
    groups: dict[PluralOperation[Any, Any], list[PendingWrite]] = {}
    for request in requests:
        groups.setdefault(request.operation, []).append(request)
    return list(groups.items())
