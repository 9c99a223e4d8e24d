"""Group commit: the way from a request to its answer that every database adapter shares.

Whatever arrives while a transaction is in flight forms the next one, so speed comes from batching and an idle store
adds no delay. One thread, the store thread, runs all transactions; nothing is answered before its commit is known.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fairlane.errors import StoreFault, StoreUnreachable
from fairlane.store.statements import Operation

TRANSACTION_WEIGHT = 1_000
"""A transaction takes no more members once it weighs this much (a task weighs 1)."""

PluralOperation = Callable[[Sequence[Any]], Operation]
"""Takes the members of many requests, yields one answer for each: a result, or a Refusal."""


@dataclass(slots=True)
class Request:
    """One member of a plural operation, and who waits for its answer."""

    operation: PluralOperation
    member: Any
    weight: int
    alone: bool
    """It locks in an order of its own: where locks are rows it needs a transaction to itself."""
    came_at: float
    answer: "asyncio.Future[Any]"


class Batches:
    """The store thread."""

    def __init__(
        self,
        *,
        transact: Callable[[list[Request]], list[Any]],
        split: Callable[[list[Request]], list[list[Request]]],
        translate: Callable[[Exception], Exception],
        harvest: Callable[[], Any],
        announce: Callable[[Any], None],
        end: Callable[[], None] = lambda: None,
    ) -> None:
        """``split`` parts what waits into transactions; ``transact`` runs one of them, on the store thread, and returns
        an answer for each request; ``translate`` says what a caller learns of a failed one. ``harvest`` runs on the
        store thread after each transaction, whatever became of it; what it returns is handed to ``announce`` on the
        event loop if the transaction was committed. ``end`` is the thread's last act."""
        self._transact = transact
        self._split = split
        self._translate = translate
        self._harvest = harvest
        self._announce = announce
        self._end = end
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="fairlane-store", daemon=True)
        self._closing = False

    def start(self) -> None:
        """Call with the event loop running: answers are delivered there."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finish what was accepted; refuse what comes later."""
        self._closing = True
        if self._thread.ident is not None:
            self._requests.put(None)
            await asyncio.to_thread(self._thread.join)

    def put(self, operation: PluralOperation, member: Any, *, weight: int, alone: bool) -> "asyncio.Future[Any]":
        """Answers once the commit is known. Raises the member's Refusal, or StoreFault."""
        if self._closing:
            raise StoreFault("the store is closed")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._requests.put(Request(operation, member, weight, alone, time.monotonic(), answer))
        return answer

    def _serve(self) -> None:
        ended = False
        while not ended and (first := self._requests.get()) is not None:
            requests, ended = self._gather(first)
            for part in self._split(requests):
                self._loop.call_soon_threadsafe(self._deliver, *self._commit(part))
        self._end()

    def _gather(self, first: Request) -> tuple[list[Request], bool]:
        """What waits now, up to the weight of one transaction; and whether the end was among it."""
        requests, weight = [first], first.weight
        while weight < TRANSACTION_WEIGHT:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                break
            if request is None:
                return requests, True
            requests.append(request)
            weight += request.weight
        return requests, False

    def _commit(self, requests: list[Request]) -> tuple[list[tuple[Request, Any]], list[Any]]:
        """Run requests in one transaction; if that fails, each alone, so that one request never fails another's."""
        try:
            answers = self._transact(requests)
            return list(zip(requests, answers, strict=True)), [self._harvest()]
        except Exception as error:  # noqa: BLE001 - whatever it was, it is handed to whom it concerns
            self._harvest()
            if len(requests) == 1 or isinstance(error, StoreUnreachable):
                translated = self._translate(error)
                return [(request, translated) for request in requests], []
        answered, harvests = [], []
        for request in requests:
            pairs, harvest = self._commit([request])
            answered += pairs
            harvests += harvest
        return answered, harvests

    def _deliver(self, answered: list[tuple[Request, Any]], harvests: list[Any]) -> None:
        for request, answer in answered:
            if request.answer.done():
                continue  # the caller went away; what was committed stays committed
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        for harvest in harvests:
            self._announce(harvest)


def by_operation(requests: Iterable[Request]) -> list[tuple[PluralOperation, list[Request]]]:
    """Requests of the same operation together, in the order in which the first of each came."""
    groups: dict[PluralOperation, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.operation, []).append(request)
    return list(groups.items())
