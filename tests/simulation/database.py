"""One SQLite database in memory, used by several servers at once, with the faults of a database on the network.

The statements are the real ones, and so are the code of the adapter that runs them and the code of group commit. Only
the threads are gone, and the file. What PostgreSQL lets happen between two transactions happens here, too: what a
transaction read before its first lock may be stale by the time it has it.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import apsw

from fairlane.errors import LocksHeld, StoreUnreachable
from fairlane.model.tasks import Catalogue
from fairlane.settings import Settings
from fairlane.store import Effects, Store
from fairlane.store.batching import Batches, PendingWrite
from fairlane.store.sqlite.asking import FileStatements
from fairlane.store.sqlite.writing import FileWriter
from fairlane.store.statements import (
    CLOCK,
    TOGETHER,
    Operation,
    Query,
    Result,
    Rows,
    load_migrations,
    load_statements,
    run_to_end,
)

CHANGES = re.compile(r"\b(INSERT|UPDATE|DELETE|FOR SHARE|FOR KEY SHARE)\b")


@cache
def changes_or_locks(name: str) -> bool:
    """Return whether this statement takes a lock on PostgreSQL."""
    return CHANGES.search(load_statements("postgres")[name].sql) is not None


class Faults:
    """What may happen to one transaction. The world decides; without a world nothing does."""

    def reachable(self) -> bool:
        """Return whether the database answers now."""
        return True

    def commit_seconds(self) -> float:
        """Return how long the next transaction waits before it begins."""
        return 0.0

    def gap_seconds(self) -> float | None:
        """Return how long passes between a transaction's reads and its first lock, or None for no time."""
        return None

    def fate(self) -> str:
        """Return what becomes of the next transaction: ``commit``, ``fail``, ``unknown`` or ``locked``."""
        return "commit"

    def committed(self, requests: Sequence[PendingWrite], answers: Sequence[Any], effects: Effects) -> None:
        """Take note of a commit."""


class Steps(Batches):
    """Group commit without its thread: a task of the loop takes what waits, and runs it."""

    def __init__(self, *, faults: Faults, prepare: Callable[[list[PendingWrite]], None], **parts: Any) -> None:
        super().__init__(**parts)
        self._faults = faults
        self._prepare = prepare
        self._came = asyncio.Event()

    def start(self) -> None:
        """Start the task."""
        self._loop = asyncio.get_running_loop()
        self._serving = self._loop.create_task(self._serve_for_ever())

    async def stop(self) -> None:
        """Refuse later requests; those that wait are never answered."""
        self._closing = True
        self._serving.cancel()

    def put(self, *arguments: Any, **options: Any) -> Any:
        """Wait for a request's answer."""
        answer = super().put(*arguments, **options)
        self._came.set()
        return answer

    async def _serve_for_ever(self) -> None:
        while True:
            self._came.clear()
            if self._requests.empty() and not self._held_up:
                await self._came.wait()
            await asyncio.sleep(self._faults.commit_seconds())
            self._taken = []
            if not self._requests.empty():
                self._taken, _ = self._gather(False)
            for part in self._split(self._taken):
                gap = self._faults.gap_seconds()
                if gap is not None:
                    self._prepare(part)
                    await asyncio.sleep(gap)
                self._commit(part)
            self._taken = []
            if self._held_up:
                await asyncio.sleep(0.02)
            self._try_again()


class Fed(FileStatements):
    """The statements of one server. A transaction can be given answers that it read before."""

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.fed: list[Rows] = []

    def run(self, connection: apsw.Connection, operation: Operation[Result]) -> Result:
        """Run an operation; its first queries get the answers that are there already."""
        fed, self.fed = self.fed, []
        return run_to_end(operation, lambda query: fed.pop(0) if fed else self.rows(connection, query))


class SimulatedDatabase:
    """One server's connection to the database that all share."""

    exclusive = False
    file = target = None
    refusing = False

    def __init__(
        self, connection: apsw.Connection, *, now: Callable[[], int], tell: Callable[[Effects], None], faults: Faults
    ) -> None:
        self.now = now
        self.on_broken: Callable[[], None] = lambda: None
        self._connection = connection
        self._faults = faults
        self._ahead: list[Rows] = []
        """What the next transaction read before its first lock."""
        self._statements = Fed(now)
        self._writer = FileWriter(
            self._statements, broken=self._break, release_log=lambda: None, log_is_needed=lambda: False
        )
        self._writer.open(connection)
        self._batches = Steps(
            faults=faults,
            prepare=self._read_ahead,
            transact=self._transact,
            split=_split,
            translate=self._writer.translated,
            tell=tell,
            broken=self._writer.break_off,
        )

    async def open(self, *, migrates: bool = True) -> None:
        """Start to take requests."""
        self._batches.start()

    async def close(self) -> None:
        """Take no more requests."""
        await self._batches.stop()

    def write(self, operation: Any, member: Any, *, weight: int = 1, alone: bool = False) -> Any:
        """Run a plural operation with this member."""
        return self._batches.put(operation, member, weight=weight, alone=alone)

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation at once. Nothing else runs meanwhile."""
        if not self._faults.reachable():
            raise StoreUnreachable("the database does not answer")
        return self._statements.run(self._connection, operation)

    async def snapshot(self, operation: Operation[Result], *, share: Any = None) -> Result:
        """Run a short operation of several statements."""
        return await self.read(operation)

    async def walk(self, operation: Operation[Result], *, share: Any = None) -> Result:
        """Run a long operation of several statements."""
        return await self.read(operation)

    def _break(self) -> None:
        self.on_broken()

    def _read_ahead(self, requests: list[PendingWrite]) -> None:
        """Run what a transaction of these requests reads before its first lock, and keep it."""
        self._ahead = []
        if not self._faults.reachable():
            return
        operation = requests[0].operation(Effects(), [request.member for request in requests])
        found: Any = None
        try:
            while True:
                query = operation.send(found)
                if _locks(query):
                    break
                found = self._statements.rows(self._connection, query)
                self._ahead.append(found)
        except Exception:
            self._ahead = []
        operation.close()

    def _transact(self, requests: list[PendingWrite]) -> tuple[list[Any], Effects]:
        ahead, self._ahead = self._ahead, []
        fate = self._faults.fate() if self._faults.reachable() else "fail"
        if fate == "locked":
            raise LocksHeld("another transaction holds rows that this request needs")
        if fate == "fail":
            raise StoreUnreachable("the connection was lost before the commit")
        self._statements.fed = ahead
        try:
            answers, effects = self._writer.transact(requests)
        finally:
            self._statements.fed = []
        self._faults.committed(requests, answers, effects)
        if fate == "unknown":
            raise StoreUnreachable("the connection was lost, and the outcome of the commit is unknown")
        return answers, effects


class SimulatedStore(Store):
    """A store of one server on the database that all share."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        *,
        now: Callable[[], int],
        connection: apsw.Connection,
        faults: Faults,
    ) -> None:
        self._connection = connection
        self._faults = faults
        super().__init__(settings, catalogue, now=now)

    async def begin(self) -> None:
        """Open it."""
        await self._database.open()
        await self._prepare()

    def _adapter(self, settings: Settings, now: Callable[[], int] | None) -> Any:
        assert now is not None
        return SimulatedDatabase(self._connection, now=now, tell=self._tell, faults=self._faults)


def _locks(query: Query[Any]) -> bool:
    if query.name == CLOCK:
        return False
    if query.name == TOGETHER:
        return any(_locks(one) for one in query.parameters["queries"])
    return changes_or_locks(query.name)


def _split(requests: list[PendingWrite]) -> list[list[PendingWrite]]:
    """Divide requests into transactions, as on PostgreSQL."""
    parts: dict[Any, list[PendingWrite]] = {}
    for request in requests:
        parts.setdefault(id(request) if request.alone else id(request.operation), []).append(request)
    return list(parts.values())


@cache
def _database() -> tuple[apsw.Connection, dict[str, list[Any]]]:
    """Return a database in memory with the tables of today, and the rows that a new one has, by table."""
    connection = apsw.Connection(":memory:", statementcachesize=512)
    connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)")
    for version, _, script in load_migrations("sqlite"):
        connection.execute(script)
        connection.execute("INSERT INTO schema_version VALUES (?, 0)", (version,))
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return connection, {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}


def a_database() -> apsw.Connection:
    """Return an empty database in memory. Its statements stay prepared, so one process has one at a time."""
    connection, rows_by_table = _database()
    connection.preupdate_hook(None)
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA foreign_keys = 0")
    for table, rows in rows_by_table.items():
        connection.execute(f"DELETE FROM {table}")
        for row in rows:
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    connection.execute("PRAGMA foreign_keys = 1")
    return connection
