"""Two servers that meet in the middle of their transactions: one waits for the other, and neither is undone.

Organizations first, in the order of their ids; then limits of types; then everything else. PostgreSQL only, because
SQLite has one writer.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from typing import Any

import asyncpg
import pytest

from fairlane.model.leases import Exchange, LossReason, Progress, Report
from fairlane.settings import Settings
from fairlane.store import Store, new_id
from fairlane.store.postgres import writing
from fairlane.store.postgres.asking import parts
from fairlane.store.postgres.locks import LOCK, LOCK_FREE
from fairlane.store.statements import Query
from fairlane.store.type_limits import declare_limits
from tests.builders import (
    DONE,
    LIMITED,
    PAGE,
    Operations,
    a_call,
    a_catalogue,
    a_server,
    a_task,
    a_worker,
    an_organization,
    submitted,
)
from tests.store.databases import Clock, PostgresServer, adapter_of, in_one_commit, until_somebody_waits

SECONDS = 20


class Gate:
    """Where a server stands, once, before it sends this statement; and what undid its transactions since."""

    def __init__(self, store: Store, statement: str) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()
        self.undone: list[Exception] = []
        self._statement = statement
        database = adapter_of(store)
        writer = database.writer
        self._rows, self._rolled_back = writer.rows, writer.rolled_back
        writer.rows, writer.rolled_back = self._stand, self._note

    def open(self) -> None:
        """Let it go on."""
        self._opened.set()

    def _stand(self, connection: Any, query: Query, attempt: Any) -> Any:
        if self._statement in [one.name for one in parts(query)] and not self.reached.is_set():
            self.reached.set()
            self._opened.wait(SECONDS)
        return self._rows(connection, query, attempt)

    def _note(self, connection: Any, error: Exception) -> bool:
        self.undone.append(error)
        return bool(self._rolled_back(connection, error))


@pytest.fixture
async def pair(
    server: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Store, Store]]:
    """Two servers that wait for locks until PostgreSQL finds a deadlock, which takes it a second."""
    monkeypatch.setattr(writing, "LOCK_TIMEOUT", "10s")
    first, second = [await Store.open(Settings(database=server.address), a_catalogue(), now=clock) for _ in range(2)]
    yield first, second
    assert await first.recount.find() == []
    await asyncio.gather(first.close(), second.close())


async def meet(
    server: PostgresServer, first: Awaitable[Any], gate: Gate, second: Awaitable[Any], other: Gate
) -> tuple[Any, Any]:
    """What both answer. The first stands at its gate until the second stands at its own, or waits for the first."""
    one = asyncio.ensure_future(first)
    await _until(gate.reached.is_set)
    two = asyncio.ensure_future(second)
    await _until(lambda: other.reached.is_set() or two.done() or _waiting(server) > 0)
    gate.open()
    await _until(lambda: one.done() or not other.reached.is_set() or _waiting(server) > 0)
    other.open()
    async with asyncio.timeout(SECONDS):
        answers = await one, await two
    assert [*gate.undone, *other.undone] == []
    return answers


async def test_an_exchange_and_a_call_of_a_limited_type(server: PostgresServer, pair: tuple[Store, Store]) -> None:
    """The exchange locks its organizations before the limit, as the call does."""
    organization = await an_organization(pair[0], slots=5)
    await submitted(pair[0], organization, a_task(LIMITED))
    worker, caller = await a_worker(pair[0], [LIMITED]), await a_server(pair[1])

    gates = Gate(pair[0], "find_turns"), Gate(pair[1], "lock_type_limits")
    reply, admitted = await meet(
        server,
        worker.exchange(places=1),
        gates[0],
        pair[1].calls.begin(a_call(organization, caller, LIMITED)),
        gates[1],
    )

    assert len(reply.leases) == 1
    assert admitted.slots_used in (1, 2)


async def test_progress_and_a_cancel(server: PostgresServer, pair: tuple[Store, Store]) -> None:
    """What a worker says of its lease is written when everything is locked that is waited for."""
    organization = await an_organization(pair[0], slots=5)
    (task,) = await submitted(pair[0], organization)
    worker = await a_worker(pair[0])
    lease = await worker.take_one()
    await submitted(pair[0], organization)
    progress = Progress(done=0.5, total=None, note="half", at=1)

    gates = Gate(pair[0], "find_turns"), Gate(pair[1], "cancel_leases")
    reply, _ = await meet(
        server,
        pair[0].leases.exchange(
            Exchange(session_id=worker.id, id=new_id(), places=1, progress=((lease.id, progress),))
        ),
        gates[0],
        pair[1].tasks.cancel(organization.id, task),
        gates[1],
    )

    assert len(reply.leases) == 1
    wait = await pair[1].waits.find(organization.id, task)
    assert wait is not None
    assert wait.progress == progress


async def test_progress_passes_over_a_lease_that_somebody_changes(
    server: PostgresServer, pair: tuple[Store, Store]
) -> None:
    """It waits for nobody, and the exchange is answered."""
    organization = await an_organization(pair[0])
    await submitted(pair[0], organization)
    worker = await a_worker(pair[0])
    lease = await worker.take_one()
    progress = Progress(done=0.5, total=None, note="half", at=1)
    connection = await asyncpg.connect(server.address)
    async with connection.transaction():
        await connection.execute("SELECT 1 FROM lease FOR UPDATE")

        async with asyncio.timeout(SECONDS):
            await pair[0].leases.exchange(
                Exchange(session_id=worker.id, id=new_id(), places=0, progress=((lease.id, progress),))
            )

    await connection.close()
    assert server.rows("SELECT progress FROM lease") == [(None,)]


async def test_the_end_of_a_session_and_a_sweep(server: PostgresServer, pair: tuple[Store, Store]) -> None:
    """The sweep leaves a dead session alone that somebody holds; the next one deletes it."""
    organization = await an_organization(pair[0], slots=5)
    await submitted(pair[0], organization)
    worker = await a_worker(pair[0])
    await worker.take_one()
    server.rows("UPDATE session SET dead = 1")

    gates = Gate(pair[0], "find_session_leases"), Gate(pair[1], "delete_dead_sessions")
    ended, returned = await meet(
        server,
        pair[0].sessions.end(worker.id, reason=LossReason.LOST),
        gates[0],
        pair[1].sessions.return_orphans(),
        gates[1],
    )

    assert (ended, returned) == (0, 1)
    await pair[1].sessions.return_orphans()
    assert server.rows("SELECT id FROM session") == []


async def test_a_server_that_declares_a_limit_and_an_exchange(
    server: PostgresServer, pair: tuple[Store, Store]
) -> None:
    """Leases that count from now on belong to organizations that are locked before the limit is."""
    organization = await an_organization(pair[0], slots=5)
    await submitted(pair[0], organization, a_task(LIMITED))
    worker = await a_worker(pair[0], [LIMITED])
    lease = await worker.take_one()
    server.rows("UPDATE lease SET limited = 0")

    gates = Gate(pair[1], "limit_leases"), Gate(pair[0], "lock_type_limits")
    _, reply = await meet(
        server,
        Operations(pair[1].shared).run(declare_limits, a_catalogue(), alone=False),
        gates[0],
        worker.exchange(Report(lease.id, DONE), places=1),
        gates[1],
    )

    assert len(reply.verdicts) == 1
    assert server.rows("SELECT task_type, most FROM type_limit") == [(LIMITED, 2)]


async def test_an_exchange_reads_what_was_committed_while_it_waited(
    server: PostgresServer, pair: tuple[Store, Store]
) -> None:
    """Its reads travel with its lock, and yet see the task that another server accepted under that lock."""
    organization = await an_organization(pair[0], slots=1)
    await submitted(pair[0], organization)
    worker = await a_worker(pair[0], [PAGE])
    lease = await worker.take_one()
    later = a_task()

    gates = Gate(pair[1], "insert_tasks"), Gate(pair[0], "nothing")
    _, reply = await meet(
        server,
        pair[1].tasks.submit(organization.id, [later]),
        gates[0],
        worker.exchange(Report(lease.id, DONE), places=1),
        gates[1],
    )

    assert [one.task_id for one in reply.leases] == [later.id]


async def test_a_jump_of_the_clock_and_an_exchange(
    server: PostgresServer, pair: tuple[Store, Store], clock: Clock
) -> None:
    """Sessions are given a new lease before all organizations are locked."""
    organization = await an_organization(pair[0])
    await submitted(pair[0], organization)
    worker = await a_worker(pair[0])
    await pair[1].jumps.follow(lambda: 0.0)
    clock.advance(3_600)

    gates = Gate(pair[1], "extend_sessions"), Gate(pair[0], "lock_organizations")
    jumped, reply = await meet(server, pair[1].jumps.follow(lambda: 1.0), gates[0], worker.exchange(places=1), gates[1])

    assert jumped == 3_599_000
    assert len(reply.leases) == 1


async def test_expired_sessions_that_are_in_use_are_left_alone(
    server: PostgresServer, pair: tuple[Store, Store], clock: Clock
) -> None:
    """Nobody waits for them, and they are ended by a later pass."""
    sessions = [(await a_worker(pair[0], [PAGE])).id for _ in range(2)]
    clock.advance(60)
    connection = await asyncpg.connect(server.address)
    async with connection.transaction():
        await connection.execute("SELECT 1 FROM session WHERE id = $1 FOR UPDATE", sessions[0])

        async with asyncio.timeout(SECONDS):
            first = await pair[0].sessions.end_expired()

    await connection.close()
    assert len(first) == 1
    assert len(await pair[0].sessions.end_expired()) == 1


def _waiting(server: PostgresServer) -> int:
    return len(
        server.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    )


async def _until(condition: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def test_organizations_are_locked_in_the_order_of_their_ids(server: PostgresServer) -> None:
    """However they are named: a transaction that waits for one holds all before it, and none after it."""
    store = await server.open()
    ids = sorted([(await an_organization(store)).id for _ in range(9)])
    statements = {name: adapter_of(store).asking.statements[name].sql for name in (LOCK, LOCK_FREE)}
    holder, locker, looker = [await asyncpg.connect(server.address) for _ in range(3)]
    try:
        await holder.execute("BEGIN")
        await holder.fetch(statements[LOCK], [ids[4]])
        await locker.execute("BEGIN")
        locking = asyncio.ensure_future(locker.fetch(statements[LOCK], [*reversed(ids)]))
        await until_somebody_waits(server)

        free = {row[0] for row in await looker.fetch(statements[LOCK_FREE], ids)}

        await holder.execute("COMMIT")
        await locking
    finally:
        for connection in (holder, locker, looker):
            await connection.close()
    assert free == set(ids[5:])


async def test_what_locks_in_an_order_of_its_own_has_a_transaction_to_itself(
    server: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operations that are no kind are never members of one transaction, in which they would lock in no common order."""
    store = await server.open()
    adapter = adapter_of(store)
    began, begin = [0], adapter.writer.begin

    def counted(connection: Any, attempt: Any) -> None:
        began[0] += 1
        begin(connection, attempt)

    monkeypatch.setattr(adapter.writer, "begin", counted)
    plans = [partial(store.plans.create, name, slots=1, queue_limit=1, weight=1, actor="a test") for name in "abc"]

    answers = await in_one_commit(store, clock, *plans)

    assert not [one for one in answers if isinstance(one, Exception)]
    assert began[0] == 1 + len(plans)  # the first is that of ``in_one_commit`` itself
