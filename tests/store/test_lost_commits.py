"""What became of a commit without an answer, on PostgreSQL: the numbers in ``last_commit`` tell, also after a crash."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors

from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.postgres.asking import Asking, TransactionTry
from fairlane.store.postgres.asking import Clock as DatabaseClock
from fairlane.store.postgres.commits import COMMIT, ROWS, Commits
from fairlane.store.postgres.connection import Connection
from fairlane.store.postgres.connector import Connector
from fairlane.store.postgres.numbering import plain
from tests import cluster
from tests.builders import a_catalogue, a_task, an_organization
from tests.store.databases import Clock, PostgresServer, adapter_of, until_somebody_waits

NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
RUNNING = "SELECT max(backend_xid::text::bigint) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
TAKE = "SELECT pg_current_xact_id()::text::bigint"


def lose_next_commit(store: Store, meanwhile: Callable[[], None]) -> None:
    """Let the next transaction send its changes and lose its connection before it commits, once this has happened."""
    writer: Any = adapter_of(store).writer
    finish = writer.finish

    def lose(connection: Connection, attempt: TransactionTry) -> None:
        writer.finish = finish
        connection.end_trip()
        connection.answers(5)
        meanwhile()
        connection.cut()
        raise ConnectionResetError("cut by the test")

    writer.finish = lose


def numbers(address: str, sql: str, until: int = 0) -> list[int]:
    """Return what a statement returns, asked again until it is at least this."""
    found: list[int] = []
    with psycopg.connect(address, autocommit=True) as connection:
        while not found or found[-1] < until:
            found += connection.execute(sql.encode()).fetchone() or [until]
    return found


async def test_a_transaction_is_not_taken_for_another_of_the_same_number(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL gives the number of a transaction again if the first one was lost with the server's memory. The answer
    is that of our transaction, not that of the one that has the number now. (I1)"""
    # Only commits write the log to the disk.
    monkeypatch.setattr(cluster, "SETTINGS", cluster.SETTINGS | {"wal_writer_delay": "10s"})
    server = await asyncio.to_thread(cluster.join, f"again-{os.getpid()}")
    store = await Store.open(Settings(database=server.address), a_catalogue(), now=clock)
    given: list[int] = []

    def crash() -> None:
        [lost] = numbers(server.address, RUNNING)
        server.kill()
        server.restart()
        given.extend([lost, *numbers(server.address, TAKE, until=lost)])

    try:
        organization = await an_organization(store)
        lose_next_commit(store, crash)
        (answer,) = await asyncio.gather(store.tasks.submit(organization.id, [a_task(key="k")]), return_exceptions=True)

        lost, *later = given
        assert lost in later, "the number was not given again, so this test shows nothing"
        accepted = not isinstance(answer, BaseException)
        assert (await store.tasks.status(organization.id)).queued == accepted
    finally:
        await store.close()
        server.leave()


class Server:
    """The numbers of a server, and connections with transactions of it."""

    def __init__(self, address: str) -> None:
        self._asking = Asking(DatabaseClock(None))
        self._connector = Connector(address, prepare=True)
        self._commits = Commits(self._asking)
        self.connections: list[Connection] = []

    def transaction(self, lock_timeout: str = "150ms") -> Connection:
        """Return a connection with a transaction that has begun."""
        connection = self._connector.connect(seconds=5)
        self.connections.append(connection)
        connection.send(plain("begin", "BEGIN"), [])
        connection.ask(plain("limit", f"SET LOCAL lock_timeout = '{lock_timeout}'"), [], 5)
        return connection

    def mark(self, number: int, begun: Connection | None = None) -> Connection:
        """Return a connection with a transaction that has written this number and may commit."""
        connection = begun or self.transaction()
        self._commits.mark(connection, number)
        connection.end_trip()
        connection.answers(5)
        return connection

    def committed(self, number: int, lock_timeout: str = "150ms") -> bool:
        """Return what a server is told that asks for this number."""
        return self._commits.committed(self.transaction(lock_timeout), number, seconds=5)


@pytest.fixture
async def one(server: PostgresServer) -> AsyncIterator[Server]:
    """A server on a database with its tables."""
    made = Server(server.address)
    yield made
    for connection in made.connections:
        connection.close()


async def test_what_was_committed_is_committed_however_often_it_is_asked_for(one: Server) -> None:
    """Also when the answer to the first question was lost."""
    for number in (1, 2):
        one.mark(number).ask(COMMIT, [], 5)

        assert [one.committed(number) for _ in range(3)] == [True] * 3


async def test_what_was_not_committed_can_no_longer_commit(one: Server) -> None:
    """Its COMMIT was late: the question came first, before the first number and after others."""
    for number in (1, 3, 3 + ROWS):
        late = one.transaction()
        assert [one.committed(number) for _ in range(2)] == [False] * 2

        with pytest.raises(errors.DivisionByZero):
            one.mark(number, late)
        one.mark(number + 1).ask(COMMIT, [], 5)
        assert one.committed(number + 1)


async def test_a_transaction_that_is_just_being_committed_is_waited_for(one: Server) -> None:
    """It holds its number, so that the question is answered neither yes nor no."""
    one.mark(1).ask(COMMIT, [], 5)
    committing = one.mark(2)

    with pytest.raises(errors.LockNotAvailable):
        one.committed(2)
    committing.ask(COMMIT, [], 5)

    assert one.committed(2)


async def test_a_transaction_that_was_undone_while_it_was_waited_for_is_undone(
    server: PostgresServer, one: Server
) -> None:
    """Its session ended in place of its COMMIT."""
    undone = one.mark(1)

    told = asyncio.create_task(asyncio.to_thread(one.committed, 1, "5s"))
    await until_somebody_waits(server)
    undone.close()

    assert await told is False


async def test_the_numbers_of_a_server_are_spread_over_rows(server: PostgresServer, one: Server) -> None:
    """Each row has the last number of its remainder, so while a snapshot is held no row is changed by every commit."""
    for number in (1, 2, 1 + ROWS):
        one.mark(number).ask(COMMIT, [], 5)

    assert sorted(server.rows("SELECT remainder, number FROM last_commit")) == [(1, 1 + ROWS), (2, 2)]


async def test_servers_have_numbers_of_their_own(server: PostgresServer, one: Server) -> None:
    """The first number of a server that starts again is not that of the server before."""
    other = Server(server.address)
    one.mark(1).ask(COMMIT, [], 5)

    assert (one.committed(1), other.committed(1)) == (True, False)
    for connection in other.connections:
        connection.close()


async def test_a_server_that_starts_deletes_numbers_of_servers_that_are_gone(server: PostgresServer) -> None:
    """Those that committed nothing for a day; a server that committed a minute less ago keeps its own."""
    with psycopg.connect(server.address, autocommit=True) as connection:
        for name, minutes in (("gone", 24 * 60 + 1), ("there", 24 * 60 - 1)):
            connection.execute(
                f"INSERT INTO last_commit VALUES ('{name}', 1, 1, 0, {NOW} - {minutes} * 60000)".encode()
            )

    await server.open()

    assert {name for (name,) in server.rows("SELECT server_id FROM last_commit")} >= {"there"}
    assert server.rows("SELECT server_id FROM last_commit WHERE server_id = 'gone'") == []
