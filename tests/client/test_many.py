"""Submitting many: batches, the mark on the queue, partial failures, running again. The far end has a script."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fairlane.client import AsyncClient, Client, NewTask, QueueLimitExceeded, Unauthorized, Verdict
from fairlane.client.many import BATCH_BYTES
from tests.client.scripted import Asked, Reply, ScriptedServer, a_task, refused

KEY = "sk_live_1234567890abcdef1234567890abcdef"


class Queue:
    """A far end that keeps a queue: takes batches all or nothing, refuses used keys, and drains a little per status."""

    def __init__(self, *, queued: int = 0, drain: int = 0, limit: int = 100_000, body_most: int = 2**40) -> None:
        self.queued, self.drain, self.limit, self.body_most = queued, drain, limit, body_most
        self.keys: set[str] = set()
        self.batches: list[int] = []
        self.longest = queued
        self.lose_answers = 0
        """So many batches are taken without an answer."""

    def __call__(self, asked: Asked) -> Reply:
        """One request."""
        if asked.path == "/v1/async/status":
            self.queued = max(0, self.queued - self.drain)
            return Reply(200, {"queuedTasks": self.queued, "processingTasks": 0, "concurrency": None})
        assert (asked.method, asked.path) == ("POST", "/v1/async/task/batch")
        items = json.loads(asked.body)
        assert 1 <= len(items) <= 500
        if len(asked.body) > self.body_most:
            return Reply(413, refused("PAYLOAD_TOO_LARGE", details={"limit": self.body_most}))
        if self.queued + len(items) > self.limit:
            room = self.limit - self.queued
            self.queued = max(0, self.queued - self.drain)
            return Reply(429, refused("QUEUE_LIMIT_EXCEEDED", details={"limit": 1, "remainingCapacity": room}))
        self.batches.append(len(items))
        results = [self._take(index, item) for index, item in enumerate(items)]
        self.longest = max(self.longest, self.queued)
        if self.lose_answers:
            self.lose_answers -= 1
            return Reply(0)
        return Reply(200, {"success": True, "summary": {}, "results": results})

    def _take(self, index: int, item: dict[str, Any]) -> dict[str, Any]:
        key = item["idempotencyKey"]
        if item["payload"].get("wrong"):
            error = refused("VALIDATION_ERROR", details={"errors": []})["error"]
        elif key in self.keys:
            error = refused("RESOURCE_ALREADY_EXISTS")["error"]
        else:
            self.keys.add(key)
            self.queued += 1
            return {"success": True, "index": index, **a_task(f"id-{key}", key=key)}
        return {"success": False, "index": index, "error": error}


def client_of(server: ScriptedServer) -> Client:
    """A client of this far end."""
    return Client(server.address, KEY)


def tasks(count: int, **payload: Any) -> Iterator[NewTask]:
    """So many tasks with keys."""
    return (NewTask(task_type="ANY", payload=payload, idempotency_key=f"k{number}") for number in range(count))


def submitted(
    queue: Queue, given: Iterator[NewTask], pauses: list[float] | None = None, **options: Any
) -> list[Verdict]:
    """All verdicts."""
    noted: list[float] = [] if pauses is None else pauses
    with ScriptedServer(queue) as server, Client(server.address, KEY, sleep=noted.append) as client:
        return list(client.submit_many(given, **options))


def test_each_task_has_a_verdict_in_order() -> None:
    """With its key and its id."""
    verdicts = submitted(Queue(drain=500), tasks(1_203))

    assert [verdict.index for verdict in verdicts] == list(range(1_203))
    assert all(verdict.accepted and not verdict.existed for verdict in verdicts)
    assert verdicts[700].task_id == "id-k700"


@pytest.mark.parametrize("mark", [1, 2, 10, 500, 5_000])
def test_the_queue_never_grows_beyond_the_mark(mark: int) -> None:
    """Not by one, however fast or slowly it drains."""
    for drain in (1, 7, 10_000):
        queue = Queue(drain=drain)

        verdicts = submitted(queue, tasks(60 if mark < 500 else 1_200), keep_queued_below=mark)

        assert all(verdict.accepted for verdict in verdicts)
        assert queue.longest <= mark


def test_a_queue_that_is_full_already_is_waited_for() -> None:
    """With growing pauses; what others queued counts, too."""
    queue, pauses = Queue(queued=900, drain=100), list[float]()

    submitted(queue, tasks(10), pauses, keep_queued_below=500)

    assert len(pauses) >= 4
    assert pauses == sorted(pauses)


def test_room_that_does_not_come_is_given_up_on() -> None:
    """After the time asked for; what was accepted stays accepted."""
    times = iter(range(1_000))
    queue = Queue(queued=500)
    with ScriptedServer(queue) as server:
        client = Client(server.address, KEY, sleep=lambda _: None, clock=lambda: float(next(times)))
        with client, pytest.raises(QueueLimitExceeded, match="are queued after"):
            list(client.submit_many(tasks(10), timeout_seconds=5))

    assert queue.batches == []


def test_without_a_mark_batches_are_full_and_the_queue_limit_holds() -> None:
    """A batch that does not fit is cut to what fits, and the rest waits."""
    queue = Queue(limit=700, drain=100)

    verdicts = submitted(queue, tasks(1_500), keep_queued_below=None)

    assert [verdict.index for verdict in verdicts] == list(range(1_500))
    assert queue.batches[:2] == [500, 200]
    assert queue.longest == 700


def test_a_batch_larger_than_the_whole_queue_is_cut() -> None:
    """It would never fit otherwise."""
    queue = Queue(limit=3, drain=3)

    assert len(submitted(queue, tasks(10), keep_queued_below=None)) == 10
    assert max(queue.batches) <= 3


def test_single_refusals_stop_nothing() -> None:
    """The wrong one has its error, the rest is accepted."""
    given = [*tasks(3), NewTask(task_type="ANY", payload={"wrong": 1}, idempotency_key="w"), *tasks(5)]

    verdicts = submitted(Queue(), iter(given))

    assert [verdict.accepted for verdict in verdicts] == [True] * 3 + [False] + [True] * 5
    assert [verdict.existed for verdict in verdicts] == [False] * 3 + [False] + [True] * 3 + [False] * 2
    assert verdicts[3].error is not None
    assert verdicts[3].error.code == "VALIDATION_ERROR"


def test_running_it_again_submits_nothing_twice() -> None:
    """A second run with the same keys finds everything there."""
    queue = Queue(drain=1_000)
    submitted(queue, tasks(700))

    again = submitted(queue, tasks(701), keep_queued_below=None)

    assert [verdict.existed for verdict in again] == [True] * 700 + [False]
    assert all(verdict.accepted for verdict in again)
    assert len(queue.keys) == 701


def test_a_batch_whose_answer_is_lost_is_accepted_once() -> None:
    """Also without keys of the caller's: they are made up before the first try."""
    queue = Queue()
    queue.lose_answers = 1

    verdicts = submitted(queue, iter([NewTask(task_type="ANY", payload={})] * 10))

    assert len(queue.keys) == 10
    assert queue.batches == [10, 10]
    assert all(verdict.accepted for verdict in verdicts)


def test_a_batch_that_is_too_large_is_halved_down_to_the_one_that_is() -> None:
    """Only that one is refused."""
    given = [*tasks(7), NewTask(task_type="ANY", payload={"x": "y" * 5_000}, idempotency_key="large"), *tasks(9)]

    verdicts = submitted(Queue(body_most=2_000), iter(given))

    refused_ones = [verdict for verdict in verdicts if not verdict.accepted]
    assert [verdict.index for verdict in verdicts] == list(range(17))
    assert [(one.index, one.error.code) for one in refused_ones if one.error] == [(7, "PAYLOAD_TOO_LARGE")]


def test_batches_are_bounded_in_bytes() -> None:
    """Large payloads do not gather in memory."""
    queue = Queue()

    submitted(queue, tasks(20, text="x" * (BATCH_BYTES // 8)))

    assert queue.batches == [7, 7, 6]


def test_nothing_is_read_before_it_is_needed() -> None:
    """The caller's tasks are taken a batch at a time: memory does not grow with their number."""
    taken = 0

    def counted() -> Iterator[NewTask]:
        nonlocal taken
        for task in tasks(100_000):
            taken += 1
            yield task

    with ScriptedServer(Queue()) as server, Client(server.address, KEY) as client:
        verdicts = client.submit_many(counted())
        assert taken == 0
        next(verdicts)

    assert taken <= 501


def test_a_refusal_of_everything_is_raised() -> None:
    """A revoked key is no matter of single tasks."""
    with ScriptedServer([Reply(401, refused("INVALID_OR_EXPIRED_API_KEY"))]) as server, client_of(server) as client:
        verdicts = client.submit_many(tasks(3))
        with pytest.raises(Unauthorized):
            next(verdicts)


def test_what_is_no_json_is_refused_at_its_place_and_the_rest_goes_on() -> None:
    """Each with the path of the value; nothing that was read of the caller's is lost."""
    nan, infinity = math.nan, -math.inf
    wrong: list[Any] = [{"a": object()}, {"a": [1, {"b": nan}]}, {"a": infinity}, {"a": {(1, 2): 3}}, "\ud800"]
    given = [NewTask(task_type="ANY", payload=payload) for payload in wrong]
    given = [one for pair in zip(tasks(5), given, strict=True) for one in pair]
    queue = Queue()

    verdicts = submitted(queue, iter(given))

    assert [verdict.index for verdict in verdicts] == list(range(10))
    assert [verdict.accepted for verdict in verdicts] == [True, False] * 5
    errors = [verdict.error for verdict in verdicts if verdict.error is not None]
    assert {error.code for error in errors} == {"VALIDATION_ERROR"}
    fields = [error.details["errors"][0]["field"] for error in errors]
    assert fields == ["payload.a", "payload.a.1.b", "payload.a", "payload.a", "payload"]
    assert queue.keys == {f"k{number}" for number in range(5)}


def test_a_payload_with_nothing_in_it_is_no_fault() -> None:
    """None is null; what looks like it in a text is text."""
    given = [NewTask(task_type="ANY", payload={"a": None, "b": [None, "null", 1.5], "c": {"d": ()}})]

    assert [verdict.accepted for verdict in submitted(Queue(), iter(given))] == [True]


def test_nothing_to_submit_asks_nothing() -> None:
    """Not even for the status."""
    with ScriptedServer(Queue()) as server, Client(server.address, KEY) as client:
        assert list(client.submit_many([])) == []

    assert server.asked == []


def test_the_async_client_takes_async_and_plain_iterables() -> None:
    """With the same verdicts."""

    async def slowly() -> AsyncIterator[NewTask]:
        for task in tasks(3):
            await asyncio.sleep(0)
            yield task

    async def walk(address: str) -> list[list[bool]]:
        async with AsyncClient(address, KEY) as client:
            first = [verdict.existed async for verdict in client.submit_many(slowly())]
            return [first, [verdict.existed async for verdict in client.submit_many(tasks(4))]]

    with ScriptedServer(Queue()) as server:
        assert asyncio.run(walk(server.address)) == [[False] * 3, [True, True, True, False]]
