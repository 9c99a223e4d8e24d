"""Batches of 500 tasks over HTTP, each batch durable before its answer; beside them the same rows bare.

Bare: the statement that fairlane itself inserts accepted tasks with, run by its driver in a loop, 500 rows and one
synced commit each, into the same table with its indexes. No HTTP, no checks, no queue, no counters.
"""

import asyncio
import time
from collections.abc import Sequence

import apsw
import msgspec
from psycopg import AsyncConnection, AsyncRawCursor

from benchmarks.filling import CHUNK, Party, fill, new_task
from benchmarks.homes import Database, Home
from benchmarks.load import Program, request_bytes
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Fairlane
from fairlane.model.tasks import NewTask
from fairlane.settings import database_path, is_postgres
from fairlane.store.postgres.numbering import numbered
from fairlane.store.statements import load_statements, wall_clock

CONNECTIONS = 2
"""One batch is read and checked while the other one's commit is under way."""
PARTIES = [Party(f"organization-{number}", slots=5) for number in range(CONNECTIONS)]
BODY = b"[" + b",".join([b'{"taskType":"NOOP","payload":{"prompt":"a payload of usual size"}}'] * CHUNK) + b"]"
STATEMENT = "insert_tasks"


class Batches:
    """One database for all rounds, and one more for the bare rows; both grow."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._database = home.database("batches")
        self._bare = home.database("bare")
        self._scale = scale

    def prepare(self) -> None:
        """Make the organizations, and the same tables for the bare rows."""
        fill(self._database, PARTIES)
        fill(self._bare, [])

    def measure(self, turn: int) -> Figures:
        """Load one server, then insert bare rows."""
        with Fairlane(self._database, workers=0) as server:
            requests = [request_bytes("POST", "/v1/async/task/batch", key=party.key, body=BODY) for party in PARTIES]
            Program(server.url, requests, connections=CONNECTIONS, seconds=0.5).result()
            load = Program(server.url, requests, connections=CONNECTIONS, seconds=self._scale.load_seconds).result()
        if load.refused:
            raise RuntimeError(f"batches: {load.refused} of {load.answered} answers were not 200")
        bare = insert_bare(self._bare, first=turn * 10**9, seconds=self._scale.load_seconds)
        return {
            "batches.tasks_per_second": load.per_second * CHUNK,
            "batches.p50_us": load.p50_us,
            "batches.p99_us": load.p99_us,
            "batches.bare_per_second": bare,
            "batches.to_bare": load.per_second * CHUNK / bare,
        }


def insert_bare(database: Database, *, first: int, seconds: float) -> float:
    """Rows per second. ``first``: rows are numbered from here on, so that each round has its own."""
    if is_postgres(database.address):
        return asyncio.run(_insert_postgres(database, first, seconds))
    return _insert_sqlite(database, first, seconds)


def _rows(first: int) -> list[tuple[object, ...]]:
    return [_row(first + number, new_task("NOOP")) for number in range(CHUNK)]


def _row(seq: int, task: NewTask) -> tuple[object, ...]:
    return (task.id, 1, seq, task.task_type, task.priority, task.payload, None, task.cost, *[None] * 5)


async def _insert_postgres(database: Database, first: int, seconds: float) -> float:
    statement = numbered(load_statements("postgres")[STATEMENT])
    inserted, spent = 0, 0.0
    async with await AsyncConnection.connect(database.address, cursor_factory=AsyncRawCursor) as connection:
        while spent < seconds:
            parameters = {"tasks": _rows(first + inserted), "now": wall_clock()}
            began_at = time.perf_counter()
            await connection.execute(statement.sql.encode(), statement.arguments(parameters), prepare=True)
            await connection.commit()
            spent += time.perf_counter() - began_at
            inserted += CHUNK
    return inserted / spent


def _insert_sqlite(database: Database, first: int, seconds: float) -> float:
    statement = load_statements("sqlite")[STATEMENT]
    connection = apsw.Connection(str(database_path(database.address)))
    connection.execute("PRAGMA synchronous = FULL")
    inserted, spent = 0, 0.0
    while spent < seconds:
        rows: Sequence[object] = _rows(first + inserted)
        began_at = time.perf_counter()
        with connection:
            connection.execute(statement.sql, {"tasks": msgspec.json.encode(rows).decode(), "now": wall_clock()})
        spent += time.perf_counter() - began_at
        inserted += CHUNK
    connection.close()
    return inserted / spent
