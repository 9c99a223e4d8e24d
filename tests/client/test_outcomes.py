"""Taking outcomes as they come: what it costs, and what is missing. The far end has a script."""

import asyncio
from collections.abc import Iterable
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from fairlane.client import AsyncClient, Client, NotFound, NotInTime, Task
from fairlane.client.many import WINDOW_TASKS
from tests.client.scripted import Asked, Reply, ScriptedServer, a_task, refused

KEY = "sk_live_1234567890abcdef1234567890abcdef"
OTHERS = 400


class Tasks:
    """A far end that has tasks, the oldest first, some of which have ended."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = list(ids)
        self.done: set[str] = set()
        self.ends: list[str] = []
        """Whoever waits sees the next of these end."""
        self.looks = 0
        """How often the oldest one was waited for."""

    def __call__(self, asked: Asked) -> Reply:
        """One request."""
        url = urlsplit(asked.path)
        if url.path == "/v1/async/tasks":
            query = parse_qs(url.query)
            [cursor], most = query["cursor"], int(query["limit"][0])
            older = self.ids[: self.ids.index(cursor)][::-1]
            page = [self._shown(one) for one in older[:most]]
            return Reply(200, {"tasks": page, "nextCursor": older[most - 1] if len(older) > most else None})
        id = unquote(url.path.rpartition("/")[2]).removeprefix("key-")
        if "Prefer" in asked.headers:
            self.looks += 1
            self.done |= set(self.ends[:1])
            self.ends = self.ends[1:]
        if id not in self.ids:
            return Reply(404, refused("RESOURCE_NOT_FOUND", f"Task {id} not found"))
        return Reply(200, {**self._shown(id), "response": {"n": id}} if id in self.done else self._shown(id))

    def _shown(self, id: str) -> dict[str, object]:
        shown = a_task(id, "COMPLETED" if id in self.done else "QUEUED", key=f"key-{id}")
        place = self.ids.index(id)
        shown["task"]["createdAt"] = f"2026-04-09T{15 + place // 3600:02}:{place // 60 % 60:02}:{place % 60:02}.000Z"
        return shown


class Time:
    """A clock that only pauses and looks move."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.now += seconds

    def read(self) -> float:
        """A millisecond later each time."""
        self.now += 0.001
        return self.now


def walk(tasks: Tasks, references: Iterable[str], *, timeout_seconds: float | None = None) -> tuple[list[Task], int]:
    """What came out, and how many requests it took."""
    time = Time()
    ended: list[Task] = []
    with ScriptedServer(tasks) as server:
        client = Client(server.address, KEY, sleep=time.sleep, clock=time.read)
        try:
            with client:
                ended += client.as_completed(references, timeout_seconds=timeout_seconds)
        except NotInTime:
            pass
        return ended, len(server.asked)


@pytest.mark.parametrize("order", ["oldest first", "newest first", "by key"])
def test_waiting_tasks_cost_a_few_requests_a_round_however_many_they_are(order: str) -> None:
    """A page of the list tells of a hundred at once, whoever else submitted in between and in whatever order given."""
    tasks = Tasks(f"t{number}" for number in range(2 * WINDOW_TASKS + OTHERS))
    given = tasks.ids[: 2 * WINDOW_TASKS : 2]
    references = {"oldest first": given, "newest first": given[::-1], "by key": [f"key-{id}" for id in given]}[order]

    ended, requests = walk(tasks, references, timeout_seconds=10)

    assert ended == []
    assert tasks.looks >= 10
    assert requests / (tasks.looks + 1) < 12


def test_each_ended_task_costs_one_request_more() -> None:
    """In whatever order they end, each is given once with its response."""
    tasks = Tasks(f"t{number}" for number in range(50))
    tasks.ends = tasks.ids[::-1]

    ended, requests = walk(tasks, tasks.ids)

    assert [task.id for task in ended] == tasks.ids[::-1]
    assert all(task.response == {"n": task.id} for task in ended)
    assert requests < 50 * 5


def test_tasks_far_apart_are_looked_at_one_by_one() -> None:
    """Pages that tell of nothing are not asked for again and again."""
    tasks = Tasks(f"t{number}" for number in range(3_000))
    given = tasks.ids[::300]
    tasks.done = set(given[3:5])

    ended, requests = walk(tasks, given, timeout_seconds=3)

    assert {task.id for task in ended} == set(given[3:5])
    assert requests / (tasks.looks + 1) < 2 * len(given)


def test_a_task_that_is_gone_ends_no_stream() -> None:
    """All others are given first, then it is said."""
    tasks = Tasks(f"t{number}" for number in range(5))
    tasks.done = set(tasks.ids)
    references = ["gone", *tasks.ids[:3], "purged", *tasks.ids[3:]]
    ended: list[Task] = []
    with (
        ScriptedServer(tasks) as server,
        Client(server.address, KEY) as client,
        pytest.raises(NotFound, match="gone"),
    ):
        for task in client.as_completed(references):
            ended.append(task)

    assert sorted(task.id for task in ended) == tasks.ids


def test_the_async_client_asks_no_more() -> None:
    """It is the same logic."""
    tasks = Tasks(f"t{number}" for number in range(WINDOW_TASKS))
    time = Time()

    async def sleep(seconds: float) -> None:
        time.sleep(seconds)

    async def wait(address: str) -> None:
        async with AsyncClient(address, KEY, sleep=sleep, clock=time.read) as client:
            with pytest.raises(NotInTime):
                _ = [task async for task in client.as_completed(tasks.ids, timeout_seconds=10)]

    with ScriptedServer(tasks) as server:
        asyncio.run(wait(server.address))

        assert len(server.asked) / (tasks.looks + 1) < 8
