"""Rows that many callers ask for at once: they share statements, and each still sees what was committed before."""

import asyncio
from typing import Any

import pytest

from fairlane.errors import StoreUnreachable
from fairlane.store.postgres.gathering import UNDER_WAY_MOST, Gathering
from fairlane.store.statements import Operation, Rows
from fairlane.store.tasks import STATUS, StatusRow
from tests.builders import a_task, an_organization, submitted
from tests.store.databases import PostgresServer, adapter_of


class Reader:
    """Statements that are answered when the test says so, with what was committed when they were sent."""

    def __init__(self) -> None:
        self.committed = 0
        self.sent: list[list[int]] = []
        self.answers: list[asyncio.Future[Rows]] = []

    async def read(self, operation: Operation[Rows]) -> Rows:
        ids = next(operation).parameters["ids"]
        self.sent.append(ids)
        rows = [StatusRow(self.committed, 0, 0, 1, 0, None, id) for id in ids if id < 100]
        answer: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        await answer
        return rows

    async def turn(self) -> None:
        """Let everything run that can."""
        for _ in range(5):
            await asyncio.sleep(0)


def asked(gathering: Gathering, *ids: int) -> list["asyncio.Task[Any]"]:
    return [asyncio.create_task(gathering.find(STATUS, id)) for id in ids]


async def test_calls_that_come_meanwhile_share_the_next_statement() -> None:
    """As many statements as connections are under way; a row that does not exist is None."""
    reader = Reader()
    gathering = Gathering(reader.read)
    first: list[asyncio.Task[Any]] = []
    for id in range(UNDER_WAY_MOST):
        first += asked(gathering, id)
        await reader.turn()
    later = asked(gathering, 7, 8, 7, 100)
    await reader.turn()
    assert reader.sent == [[id] for id in range(UNDER_WAY_MOST)]

    reader.answers[0].set_result([])
    await reader.turn()
    for answer in reader.answers[1:]:
        answer.set_result([])
    found = [None if row is None else row.id for row in await asyncio.gather(*first, *later)]

    assert reader.sent[UNDER_WAY_MOST:] == [[7, 8, 100]]
    assert found == [*range(UNDER_WAY_MOST), 7, 8, 7, None]


async def test_a_call_sees_what_was_committed_before_it() -> None:
    """A statement that was sent earlier never answers it, even for the same id."""
    reader = Reader()
    gathering = Gathering(reader.read)
    for _ in range(UNDER_WAY_MOST):
        asked(gathering, 1)
        await reader.turn()
    reader.committed = 5
    [late] = asked(gathering, 1)
    await reader.turn()

    for _ in range(2):
        for answer in reader.answers:
            if not answer.done():
                answer.set_result([])
        await reader.turn()

    row = await late
    assert row is not None
    assert row.queued == 5


async def test_a_caller_that_leaves_harms_no_other() -> None:
    """The others get their rows."""
    reader = Reader()
    gathering = Gathering(reader.read)
    leaving, staying = asked(gathering, 1, 2)
    await reader.turn()
    leaving.cancel()
    await reader.turn()
    reader.answers[0].set_result([])

    row = await staying
    assert row is not None
    assert row.id == 2


async def test_calls_behind_an_unreachable_database_do_not_wait_twice() -> None:
    """They are refused with those before them, and the next call asks again."""
    reader = Reader()
    gathering = Gathering(reader.read)
    calls: list[asyncio.Task[Any]] = []
    for id in range(UNDER_WAY_MOST + 3):
        calls += asked(gathering, id)
        await reader.turn()
    for answer in reader.answers:
        answer.set_exception(StoreUnreachable("no answer"))
    for call in calls:
        with pytest.raises(StoreUnreachable):
            await call
    [after] = asked(gathering, 1)
    await reader.turn()
    reader.answers[-1].set_result([])

    assert await after is not None


async def test_statuses_asked_at_once_take_few_statements(server: PostgresServer) -> None:
    """Forty callers of four organizations, each with the numbers of its own."""
    store = await server.open()
    organizations = [await an_organization(store) for _ in range(4)]
    for count, organization in enumerate(organizations, 1):
        await submitted(store, organization, *[a_task(priority=2 + number % 2) for number in range(count)])
    reading = adapter_of(store).reading
    statements, read = 0, reading.read

    async def counted(operation: Operation[Rows]) -> Rows:
        nonlocal statements
        statements += 1
        return await read(operation)

    adapter_of(store).gathering.read = counted

    found = await asyncio.gather(*[store.tasks.status(one.id) for one in organizations * 10])

    assert [one.queued for one in found] == [1, 2, 3, 4] * 10
    assert [sum(count for _, count in one.priorities) for one in found] == [1, 2, 3, 4] * 10
    assert statements <= UNDER_WAY_MOST
