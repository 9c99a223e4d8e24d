"""The PostgreSQL adapter: any number of equal servers, one writer connection each, group commit.

Runs store operations; the only file that imports asyncpg. The writer works on the store thread with an event loop of
its own, so that a stall of the HTTP loop never holds an organization's lock. Reads take no locks and run from a small
pool on the loop of the caller. A request is answered after its commit is known; if the answer of a commit is lost, the
adapter asks the database for its outcome. Nothing depends on the state of a database session: a pooler may give each
transaction another one.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from msgspec import Struct

from fairlane.connecting import reason_of
from fairlane.errors import DatabaseError, LocksHeld, StoreFault, StoreUnreachable
from fairlane.loops import new_event_loop
from fairlane.model.diagnosis import DatabaseFacts, DeadRows
from fairlane.outages import Outage
from fairlane.store.batching import TRY_SECONDS, Answer, Batches, Member, PendingWrite, PluralOperation, by_operation
from fairlane.store.effects import Effects
from fairlane.store.moving import Table
from fairlane.store.numbering import join_statements, numbered, storable
from fairlane.store.read_limits import ReadLimits
from fairlane.store.records import packed_records, records
from fairlane.store.schema import Schema, compare, missing, refuse_older
from fairlane.store.statements import (
    CLOCK,
    TOGETHER,
    Operation,
    Query,
    Result,
    Rows,
    load_migrations,
    load_patterns,
    load_statements,
    wall_clock,
)

_log = logging.getLogger("fairlane.store")

OLDEST_POSTGRES = 140_000
ENCODING = "UTF8"
"""Other encodings cannot store every text that a customer may send."""
SAFETY = ("fsync", "full_page_writes", "synchronous_commit")
"""Settings that must be on, because an acknowledged write could be lost otherwise."""
LOOK_SECONDS = 60.0
"""How long one statement of a look may take. It delays no other request."""
READERS_MOST = 8
SNAPSHOTS_MOST = READERS_MOST // 2
"""Most connections for short reads of several statements. The rest, without walks, are for reads of one statement."""
WALKS_MOST = 2
"""Most connections for long reads."""
WALK_WAIT_SECONDS = 10.0
"""How long a long read waits for one of these connections before it is answered 503."""
STATEMENTS_KEPT = 500
TRY_SECONDS_LEAST = 0.3
ANSWER_SECONDS = 1.8
"""Longest wait for a database that does not answer."""
SILENT_SECONDS = 1.2
"""A statement without an answer for this long means that the database does not answer."""
PROBE_SECONDS = 1.0
"""How long a probe may ask whether the database still runs that statement."""
WATCH_SECONDS = 0.1
RESOLVE_SECONDS = 1.8
"""How long the adapter asks for the outcome of a commit."""
STATEMENT_SECONDS = 10.0
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
LAST_SECONDS = 5.0
"""How long accepted requests may still take when the store is closed."""
MIGRATION_TRIES = 60
"""How many times a migration tries to lock tables that are in use."""
PAUSE_SECONDS = 0.01
PAUSE_SECONDS_MOST = 0.2

# Every statement has an index that gives its rows in order. Without this, a plan made while a table was empty or
# without statistics would later read and sort all rows of an organization.
_PLANS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
_SETTINGS = (
    f"{_PLANS}; SET LOCAL lock_timeout = '150ms'; SET LOCAL statement_timeout = '5s'; "
    "SET LOCAL idle_in_transaction_session_timeout = '5s'"
)
BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_SETTINGS}"
BEGIN_HURRIED = f"{BEGIN}; SET LOCAL lock_timeout = '10ms'"
HURRY_SECONDS = 1.0
"""For this long after a lock timeout, transactions use the short lock timeout. Requests that need the lock are retried
separately, so others lose little time."""
FULL_SECONDS = 1.0
"""The disk counts as recovered after a write that succeeds, if none was refused for this long."""
HELD_SECONDS = 0.1
"""How long a row that was seen locked counts as locked; no transaction tries it meanwhile."""
_WAIT_FOR_OTHERS = "SET LOCAL lock_timeout = '5s'"
_TAKE_TABLES = "SET LOCAL lock_timeout = '200ms'"
_UNHURRIED = (
    "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
BEGIN_SNAPSHOT = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_PLANS}"
COMMIT = "COMMIT"
LOCK, LOCK_FREE = "lock_organizations", "lock_further_organizations"
"""The statements that lock organizations: with a wait, and without."""
READ_CLOCK = "read_clock"
ROLLBACK = "ROLLBACK"

_ANY = {"target_session_attrs": "any"}
"""The options of a look, which also reads a standby."""

AWAY_SECONDS = 0.2
"""After a refused connection, no connection is tried for this long, so that a starting database is not overloaded."""

_AGAIN = (
    asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError,
)  # fmt: skip
"""Errors after which the transaction was undone and may be run again. (The last: another server has just migrated.)"""
LOST = (
    OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError, asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
)  # fmt: skip
"""Errors after which the connection is useless, but another one may work. The last two are raised by asyncpg for calls
on a broken connection."""

_UNUSABLE = (*LOST, ValueError, asyncpg.PostgresError)
"""Errors that mean that the database cannot be opened."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class _Attempt(Struct):
    """The state of one try of a transaction."""

    identity: str | None = None
    asked_at: float = 0.0
    """When the statement was sent that is now awaited."""
    connection: "Connection | None" = None
    """The connection of that statement, or None if the try is over."""
    hurried: bool = False
    """It uses the short lock timeout."""
    locking: Sequence[int] = ()
    """The organizations that it locks."""


class PostgresDatabase:
    """One PostgreSQL database, as one of its servers sees it."""

    exclusive = False
    lock_fd = -1

    def __init__(
        self,
        address: str,
        *,
        now: Callable[[], int] | None,
        tell: Callable[[Effects], None],
        prepare: bool = True,
    ) -> None:
        """Take ``now`` as the clock in tests; with None use the database's own clock.

        ``prepare``: prepare statements once for each connection, which a pooler in transaction mode may not allow. For
        ``tell`` see :class:`Batches`.
        """
        self.address = address
        self._moved_clock = now
        self._ahead_ms = 0
        """How far the database's clock was ahead of this process's clock when it was last read."""
        self._options: dict[str, Any] = {
            "dsn": address,
            "statement_cache_size": STATEMENTS_KEPT if prepare else 0,
            "max_cached_statement_lifetime": 0,
            "command_timeout": STATEMENT_SECONDS,
            # After a failover an address may lead to a standby for a while.
            "target_session_attrs": "read-write",
        }
        self._statements = {name: numbered(one) for name, one in load_statements("postgres").items()}
        self._joined: dict[tuple[str, ...], str] = {}
        """Joined statements by their names; there are as many as there are combinations in the code."""
        self._batches = Batches(
            transact=self._transact,
            split=_split,
            translate=self._translated,
            tell=tell,
            broken=self._break,
            end=self._end,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Connection | None = None
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._snapshots = ReadLimits(SNAPSHOTS_MOST, each=SNAPSHOTS_MOST // 2, wait_seconds=TRY_SECONDS)
        self._walks = ReadLimits(WALKS_MOST, each=1, wait_seconds=WALK_WAIT_SECONDS)
        self.on_broken: Callable[[], None] = lambda: None
        self._asking_loop: asyncio.AbstractEventLoop | None = None
        """The loop of the callers; ``_loop`` is the store thread's own."""
        self._unreachable = Outage(_log, "store.unreachable", "store.reached")
        self._full = Outage(_log, "disk.filled", "disk.recovered", quiet_seconds=FULL_SECONDS)
        self._away = False
        """Whether the last try to connect was refused."""
        self._turn_at = 0.0
        """When the next try to connect is allowed while the database is unreachable."""
        self._unanswered: deque[tuple[float, asyncio.Future[Any]]] = deque()
        """Writes, oldest first, with the time of arrival of each."""
        self._watched = False
        self._probe_at = 0.0
        """When the next probe is allowed after a statement without an answer."""
        self._probe: asyncio.Future[None] | None = None
        self._leaving: set[asyncio.Future[None]] = set()
        self._current: _Attempt | None = None
        self._hurry_until = 0.0
        self._given_up = False
        """Whether the store is closed, and no longer waits for the database."""
        self._held: dict[int, float] = {}
        """Organizations that another transaction holds, and until when that is assumed."""
        self._busy_until = 0.0

    def now(self) -> int:
        """Return the database's clock, estimated without a query."""
        return wall_clock() + self._ahead_ms if self._moved_clock is None else self._moved_clock()

    # Opening and closing ---------------------------------------------------------------------------------------------

    async def open(self, *, migrates: bool = True) -> None:
        """Check that the database is safe to use, upgrade its schema, connect. Call it while the event loop runs.

        With ``migrates`` False a schema that is not up to date is refused.

        Raises:
            DatabaseError: it cannot be reached, could lose acknowledged writes, or has a newer schema.
        """
        try:
            # A migration has no time limit.
            unhurried = self._options | {"command_timeout": None}
            connection: Connection = await asyncpg.connect(**unhurried, timeout=CONNECT_SECONDS)
            try:
                await self._check(connection)
                if not migrates:
                    await self._refuse_older(connection)
                await self._migrate(connection)
            finally:
                await connection.close()
            # The pool keeps no minimum: through an outage asyncpg would try to replace all connections, and log each
            # try.
            self._pool = await asyncpg.create_pool(
                **self._options, min_size=0, max_size=READERS_MOST, timeout=CONNECT_SECONDS, reset=_leave_as_it_is
            )
        except _UNUSABLE as error:
            raise self._unusable(error) from error
        self._asking_loop = asyncio.get_running_loop()
        self._batches.start()

    async def close(self) -> None:
        """Finish the accepted requests, then disconnect."""
        stopping = asyncio.ensure_future(self._batches.stop())
        _, late = await asyncio.wait([stopping], timeout=LAST_SECONDS)
        if late and self._loop is not None:
            # The store thread waits for a database that does not answer; the outcome of its last statement stays
            # unknown.
            self._given_up = True
            self._loop.call_soon_threadsafe(self._cut)
        await stopping
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), CLOSE_SECONDS)
            except (*LOST, asyncpg.PostgresError):
                self._pool.terminate()

    @property
    def refusing(self) -> bool:
        """Return whether writes are refused because the database's disk is full."""
        return self._full.going_on

    def describe(self, text: str) -> None:
        """Do nothing: several servers share the database."""

    async def _check(self, connection: Connection) -> None:
        """Refuse a database that could lose acknowledged writes or cannot store every text."""
        found = dict(await self._ask(connection, "find_safety"))
        if int(found["server_version_num"]) < OLDEST_POSTGRES:
            raise DatabaseError(f"PostgreSQL {OLDEST_POSTGRES // 10_000} or newer is needed")
        if found["server_encoding"] != ENCODING:
            raise DatabaseError(
                f"{without_password(self.address)} keeps texts as {found['server_encoding']}, {ENCODING} is needed: "
                f"create a database with CREATE DATABASE … TEMPLATE template0 ENCODING '{ENCODING}'"
            )
        if found["transaction_read_only"] == "on":
            raise self._read_only()
        for name in SAFETY:
            if found[name] == "off":
                raise DatabaseError(
                    f"{without_password(self.address)} has {name} = off, so that it may lose what it acknowledged: "
                    f"switch {name} on"
                )

    async def inspect(self) -> Schema:
        """Return the version of its schema. Changes nothing.

        Raises:
            DatabaseError: it cannot be reached.
        """
        try:
            connection: Connection = await asyncpg.connect(**self._options | _ANY, timeout=CONNECT_SECONDS)
            try:
                return compare(await self._applied(connection), load_migrations("postgres"))
            finally:
                await connection.close()
        except _UNUSABLE as error:
            raise self._unusable(error) from error

    async def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return the engine and, if its tables are those of this release, the operation's result on one snapshot.

        Changes nothing.

        Raises:
            DatabaseError: it cannot be reached.
        """
        try:
            connection: Connection = await asyncpg.connect(
                **self._options | _ANY | {"statement_cache_size": 0, "command_timeout": LOOK_SECONDS},
                timeout=CONNECT_SECONDS,
            )
            try:
                engine = await self._engine(connection)
                if engine.schema_pending or engine.schema_unknown:
                    return engine, None
                await connection.execute(BEGIN_SNAPSHOT)
                found = await self._run(connection, operation, _Attempt())
                await connection.execute(ROLLBACK)
                return engine, found
            finally:
                await _close(connection)
        except _UNUSABLE as error:
            raise self._unusable(error) from error

    async def _engine(self, connection: Connection) -> DatabaseFacts:
        schema = compare(await self._applied(connection), load_migrations("postgres"))
        settings = dict(await self._ask(connection, "find_safety"))
        process = connection.get_server_pid()
        [(known, version, autovacuum)] = await self._ask(connection, "find_identity", process=process)
        before = wall_clock()
        at: int = (await self._ask(connection, "read_clock"))[0][0]
        oldest = await self._ask(connection, "find_oldest_transaction", process=process)
        return DatabaseFacts(
            name="PostgreSQL",
            address=without_password(self.address),
            version=version,
            schema_version=schema.version,
            schema_known=schema.known,
            schema_pending=schema.pending,
            schema_unknown=schema.unknown,
            skew_ms=at - (before + wall_clock()) // 2,
            unsafe=tuple(name for name in SAFETY if settings[name] == "off"),
            read_only=settings["transaction_read_only"] == "on",
            encoding=None if settings["server_encoding"] == ENCODING else settings["server_encoding"],
            autovacuum=autovacuum == "on",
            dead_rows=tuple(
                DeadRows(table=table, live=live, dead=dead, vacuumed=vacuumed)
                for table, live, dead, vacuumed in await self._ask(connection, "find_dead_rows")
            ),
            oldest_transaction=tuple(oldest[0]) if oldest else None,
            # A pooler gives its clients a process id of its own.
            pooled=not known,
        )

    def _unusable(self, error: BaseException) -> DatabaseError:
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return self._read_only()
        if isinstance(error, ValueError):
            return DatabaseError(
                f"the address {without_password(self.address)} cannot be read ({error}): "
                "give postgresql://USER:PASSWORD@HOST:PORT/NAME"
            )
        reason = str(error) if isinstance(error, asyncpg.PostgresError) else reason_of(error)
        return DatabaseError(f"cannot open {without_password(self.address)}: {reason}")

    def _read_only(self) -> DatabaseError:
        return DatabaseError(f"{without_password(self.address)} is read-only: give the address of the primary")

    async def _applied(self, connection: Connection) -> set[int]:
        if not (await self._ask(connection, "has_schema_version"))[0][0]:
            return set()
        return {row[0] for row in await self._ask(connection, "find_schema_versions")}

    async def _refuse_older(self, connection: Connection) -> None:
        schema = compare(await self._applied(connection), load_migrations("postgres"))
        refuse_older(schema, database=without_password(self.address))

    async def _migrate(self, connection: Connection) -> None:
        """Apply all missing migrations, in one transaction, one server at a time. A kill leaves all of them to the next
        server."""
        if not (await self._ask(connection, "has_schema_version"))[0][0]:
            # Two servers may create it at the same moment; then one of them gets an error.
            try:
                await self._ask(connection, "create_schema_version")
            except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
                _log.debug("schema.shared")
        await self._ask(connection, "insert_schema_lock", now=wall_clock())
        refused = 0
        while refused < MIGRATION_TRIES:
            try:
                async with connection.transaction():
                    if not await self._alone(connection):
                        continue
                    await self._migrate_alone(connection)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                refused += 1
                _log.warning("schema.refused tries=%d", refused)
                await asyncio.sleep(random.uniform(PAUSE_SECONDS_MOST, 5 * PAUSE_SECONDS_MOST))  # noqa: S311 - as above
            else:
                return
        raise DatabaseError(
            f"{without_password(self.address)} is not migrated: its tables are in use and gave no lock in "
            f"{MIGRATION_TRIES} tries; look for old transactions with 'fairlane doctor', then start again"
        )

    async def _alone(self, connection: Connection) -> bool:
        """Take the migration lock until this transaction ends. Return False if another server still holds it: try
        again."""
        await connection.execute(_WAIT_FOR_OTHERS)
        try:
            await self._ask(connection, "lock_schema_version")
        except asyncpg.LockNotAvailableError:
            _log.warning("schema.waiting")
            return False
        return True

    async def _migrate_alone(self, connection: Connection) -> None:
        pending = missing(
            await self._applied(connection), load_migrations("postgres"), database=without_password(self.address)
        )
        # While a migration waits for a table lock, all queries on that table queue behind it. So the timeout is short.
        await connection.execute(_TAKE_TABLES)
        for version, name, script in pending:
            if script:
                await connection.execute(script)
            await self._ask(connection, "insert_schema_version", version=version, now=wall_clock())
            _log.info("schema.migrated version=%d name=%s", version, name)

    # Being filled ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def loading(self) -> AsyncIterator["_Loading"]:
        """Open one transaction that fills an empty database. Servers that start meanwhile wait for its end.

        Raises:
            DatabaseError: it cannot be used, as for a server; or the connection was lost. Then the database is empty,
                unless the connection was lost during the commit.
        """
        unhurried = self._options | {"command_timeout": None}
        try:
            connection: Connection = await asyncpg.connect(**unhurried, timeout=CONNECT_SECONDS)
            try:
                await self._check(connection)
                if await self._applied(connection):
                    await self._refuse_older(connection)
                await self._migrate(connection)
                async with connection.transaction():
                    await connection.execute(_UNHURRIED)
                    await self._ask(connection, "lock_schema_version")
                    yield _Loading(self, connection)
            finally:
                await _close(connection)
        except _UNUSABLE as error:
            raise self._unusable(error) from error

    # Running operations ----------------------------------------------------------------------------------------------

    def write(
        self, operation: PluralOperation[Member, Answer], member: Member, *, weight: int = 1, alone: bool = False
    ) -> Awaitable[Answer]:
        """Run a plural operation with this member, in one transaction with waiting members of the same operation.

        Answers once the commit is known. Raises the member's Refusal, StoreFault, or StoreUnreachable.
        """
        answer = self._batches.put(operation, member, weight=weight, alone=alone)
        self._unanswered.append((time.monotonic(), answer))
        if not self._watched:
            self._watched = True
            answer.get_loop().call_later(WATCH_SECONDS, self._watch)
        return answer

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement on the committed state."""
        return await self._read(operation, begin=None)

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot."""
        return await self._placed(self._snapshots, operation, share)

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a long operation on one snapshot, on a connection that short operations do not use."""
        return await self._placed(self._walks, operation, share)

    async def _placed(self, places: ReadLimits, operation: Operation[Result], share: Hashable) -> Result:
        await places.take(share)
        try:
            return await self._read(operation, begin=BEGIN_SNAPSHOT)
        finally:
            places.give(share)

    async def _read(self, operation: Operation[Result], *, begin: str | None) -> Result:
        """Run an operation without locks, on a connection of the pool."""
        try:
            connection = await self._reader()
        except LOST as error:
            self._unreachable.fail(error)
            raise StoreUnreachable(f"the database does not answer: {error}") from error
        try:
            answer = await self._read_on(connection, operation, begin)
        except LOST as error:
            self._dismiss(connection)
            self._unreachable.fail(error)
            raise StoreUnreachable(f"the database does not answer: {error}") from error
        except asyncio.CancelledError:
            # Otherwise asyncpg would wait until a server, which may not answer, has ended the statement.
            self._dismiss(connection)
            raise
        except BaseException as error:
            await self._release(connection)
            if isinstance(error, asyncpg.PostgresError):
                raise StoreFault(f"read failed: {type(error).__name__}: {error}") from error
            raise
        await self._release(connection)
        self._heard()
        return answer

    def _dismiss(self, connection: Any) -> None:
        """Close a useless connection. The pool waits until the server has noticed, in the background."""
        # A broken connection has already left the pool by itself, and calls on it raise.
        with suppress(asyncpg.InterfaceError):
            connection.terminate()
        leaving = asyncio.ensure_future(self._release(connection))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _release(self, connection: Any) -> None:
        assert self._pool is not None
        with suppress(*LOST):
            await self._pool.release(connection)

    async def _reader(self) -> Any:
        """Return a connection of the pool."""
        assert self._pool is not None
        if not self._pool.get_idle_size():
            self._take_turn()
        try:
            return await self._pool.acquire(timeout=TRY_SECONDS)
        except LOST as error:
            if isinstance(error, TimeoutError) and self._pool.get_size() - self._pool.get_idle_size() >= READERS_MOST:
                raise _crowded() from error
            self._refused(error)
            raise

    async def _read_on(self, connection: Any, operation: Operation[Result], begin: str | None) -> Result:
        if begin is None:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._run(connection, operation, _Attempt())
        await connection.execute(begin, timeout=SILENT_SECONDS)
        try:
            answer = await self._run(connection, operation, _Attempt())
        except Exception:
            if not connection.is_closed():
                await connection.execute(ROLLBACK)
            raise
        await connection.execute(ROLLBACK)
        return answer

    async def _run(self, connection: Any, operation: Operation[Result], attempt: _Attempt) -> Result:
        found: Rows | None = None
        try:
            while True:
                query = next(operation) if found is None else operation.send(found)
                found = await self._rows(connection, query, attempt)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def _rows(self, connection: Any, query: Query[Any], attempt: _Attempt) -> Rows:
        if query.name == CLOCK:
            return [await self._clock(connection, attempt)]
        if query.name == TOGETHER:
            return await self._together(connection, query.parameters["queries"], attempt)
        name = query.hurried if query.hurried is not None and attempt.hurried else query.name
        attempt.locking = query.parameters["ids"] if name == LOCK else ()
        self._pass_by(attempt.locking)
        attempt.asked_at = time.monotonic()
        statement = self._statements[name]
        found = await connection.fetch(statement.sql, *statement.arguments(query.parameters))
        return packed_records(found[0][0], query.into) if statement.packed else records(found, query.into)

    async def _together(self, connection: Any, queries: Sequence[Query[Any]], attempt: _Attempt) -> Rows:
        """Run these statements as one: changes become WITH clauses, reads become columns."""
        asked = [query for query in queries if query.name != CLOCK or self._moved_clock is None]
        names = tuple([READ_CLOCK if query.name == CLOCK else query.name for query in asked])
        joined = self._joined.get(names)
        if joined is None:
            joined = self._joined[names] = join_statements([self._statements[name] for name in names])
        arguments = [
            argument
            for name, query in zip(names, asked, strict=True)
            for argument in self._statements[name].arguments(query.parameters)
        ]
        attempt.asked_at = time.monotonic()
        before = wall_clock()
        record = await connection.fetchrow(joined, *arguments)
        found: Rows = []
        columns = iter(record)
        for query in queries:
            if query.name == CLOCK and self._moved_clock is not None:
                found.append([self._moved_clock()])
                continue
            rows = next(columns)
            if query.name == CLOCK:
                [(at, attempt.identity)] = rows
                self._ahead_ms = at - (before + wall_clock()) // 2
                found.append([int(at)])
            elif self._statements[query.name].packed:
                found.append(packed_records(rows[0][0], query.into))
            else:
                found.append([] if rows is None else records(rows, query.into))
        return found

    async def _ask(self, connection: Any, statement: str, **parameters: Any) -> Rows:
        return await self._rows(connection, Query(statement, parameters), _Attempt())

    async def _clock(self, connection: Any, attempt: _Attempt) -> int:
        if self._moved_clock is not None:
            return self._moved_clock()
        before = wall_clock()
        [(at, attempt.identity)] = await self._ask(connection, READ_CLOCK)
        self._ahead_ms = at - (before + wall_clock()) // 2
        return int(at)

    # The store thread ------------------------------------------------------------------------------------------------

    def _transact(self, requests: list[PendingWrite]) -> tuple[Sequence[Any], Effects]:
        if self._loop is None:
            self._loop = new_event_loop()
        return self._loop.run_until_complete(self._transaction(requests))

    def _end(self) -> None:
        if self._loop is not None:
            if self._writer is not None:
                self._loop.run_until_complete(_close(self._writer))
            self._loop.close()

    async def _transaction(self, requests: list[PendingWrite]) -> tuple[Sequence[Any], Effects]:
        """Run the operation until it is committed, or time is up. Run again only after a try that certainly changed
        nothing.

        Raises:
            LocksHeld: other transactions hold rows that it needs.
            StoreUnreachable: time is up.
        """
        [(operation, _)] = by_operation(requests)
        members = [request.member for request in requests]
        give_up_at = min(request.came_at for request in requests) + TRY_SECONDS
        pause = PAUSE_SECONDS
        while not self._given_up:
            try:
                answers = await self._try(operation, members, give_up_at)
            except (LocksHeld, asyncpg.LockNotAvailableError) as error:
                self._hurry_until = time.monotonic() + HURRY_SECONDS
                raise LocksHeld("another transaction holds rows that this request needs") from error
            except (*_AGAIN, *LOST) as error:
                if time.monotonic() + pause > give_up_at:
                    if isinstance(error, LOST):
                        self._unreachable.fail(error, count=len(requests))
                    else:
                        _log.warning("store.busy error=%s message=%r", type(error).__name__, str(error))
                    raise StoreUnreachable(f"the database does not answer: {error}") from error
            else:
                self._heard()
                return answers
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads load, guards nothing
            pause = min(2 * pause, PAUSE_SECONDS_MOST)
        raise StoreUnreachable("the store is closed, and the database does not answer")

    async def _try(
        self, operation: PluralOperation[Any, Any], members: Sequence[Any], give_up_at: float
    ) -> tuple[Sequence[Any], Effects]:
        connection = await self._connected(give_up_at)
        effects = Effects()
        attempt = self._current = _Attempt(asked_at=time.monotonic(), connection=connection)
        try:
            attempt.hurried = time.monotonic() < self._hurry_until
            await self._begin(connection, BEGIN_HURRIED if attempt.hurried else BEGIN)
            answers = await self._run(connection, operation(effects, members), attempt)
            if attempt.identity is None:
                attempt.identity = (await self._ask(connection, "find_transaction"))[0][0]
        except Exception as error:
            attempt.connection = None
            if await self._rolled_back(connection, error):
                if isinstance(error, asyncpg.LockNotAvailableError):
                    await self._see_held(connection, attempt.locking)
                raise
            raise ConnectionResetError("the connection was lost before the commit") from error
        attempt.asked_at = time.monotonic()
        try:
            await self._finish(connection)
        except Exception as error:
            attempt.connection = None
            if await self._rolled_back(connection, error):
                raise
            if not await self._committed(attempt.identity):
                raise ConnectionResetError("the transaction was not committed") from error
        attempt.connection = None
        if attempt.identity is not None:
            self._full.succeed()
        return answers, effects

    async def _see_held(self, connection: Connection, ids: Sequence[int]) -> None:
        """Note which of these organizations other transactions hold."""
        free = {row[0] for row in await self._ask(connection, LOCK_FREE, ids=ids)} if ids else set()
        until = time.monotonic() + HELD_SECONDS
        self._held = {one: at for one, at in self._held.items() if at > until - HELD_SECONDS and one not in free}
        self._held |= dict.fromkeys(set(ids) - free, until)

    def _pass_by(self, ids: Sequence[int]) -> None:
        """Raise LocksHeld, without a try, if one of these organizations was held a moment ago."""
        if self._held and any(self._held.get(one, 0.0) > time.monotonic() for one in ids):
            raise LocksHeld("another transaction held it a moment ago")

    async def _begin(self, connection: Connection, begin: str) -> None:
        try:
            await connection.execute(begin, timeout=SILENT_SECONDS)
        except asyncpg.FeatureNotSupportedError as error:
            # The error of a standby for READ WRITE.
            raise ConnectionRefusedError(str(error)) from error

    async def _finish(self, connection: Connection) -> None:
        await connection.execute(COMMIT)

    async def _connected(self, give_up_at: float) -> Connection:
        if self._writer is not None and not self._writer.is_closed():
            return self._writer
        self._take_turn()
        seconds = max(TRY_SECONDS_LEAST, give_up_at - time.monotonic())
        try:
            self._writer = await asyncpg.connect(**self._options, timeout=seconds)
        except LOST as error:
            self._refused(error)
            raise
        return self._writer

    async def _rolled_back(self, connection: Connection, error: Exception) -> bool:
        """Undo the transaction that met this error. Return False if its connection is lost, and its state unknown."""
        if not isinstance(error, LOST) and not connection.is_closed():
            try:
                await connection.execute(ROLLBACK)
            except (*LOST, asyncpg.PostgresError):
                self._drop(connection)
            return True
        self._drop(connection)
        return False

    def _cut(self) -> None:
        if self._writer is not None:
            self._writer.terminate()

    def _cut_silent(self, attempt: _Attempt, asked_at: float) -> None:
        """Close a connection if the database no longer runs its statement."""
        if attempt.connection is not None and attempt.asked_at == asked_at:
            _log.warning("connection.cut seconds=%.1f", time.monotonic() - asked_at)
            attempt.connection.terminate()

    def _drop(self, connection: Connection) -> None:
        self._writer = None
        connection.terminate()

    async def _committed(self, identity: str | None) -> bool:
        """Return whether a transaction was committed after its commit got no answer.

        Raises:
            StoreUnreachable: the outcome is not known in time.
        """
        if identity is None:
            return True  # it wrote nothing, so there was nothing to commit
        give_up_at = time.monotonic() + RESOLVE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                connection = await self._connected(give_up_at)
                fate = (await self._ask(connection, "find_fate", identity=identity))[0][0]
            except LOST:
                if self._writer is not None:
                    self._drop(self._writer)
                fate = None
            if fate in ("committed", "aborted"):
                _log.warning("commit.resolved fate=%s", fate)
                return bool(fate == "committed")
            await asyncio.sleep(PAUSE_SECONDS_MOST / 4)
        _log.error("commit.unresolved")
        raise StoreUnreachable("the database did not say whether it committed")

    def _translated(self, error: Exception) -> Exception:
        """Return the caller's error for a failed transaction."""
        if isinstance(error, LocksHeld):
            # One log line for each period of lock timeouts, not one for each request.
            now = time.monotonic()
            if now > self._busy_until:
                _log.warning("store.busy error=%s message=%r", type(error).__name__, str(error))
            self._busy_until = now + HURRY_SECONDS
        if not isinstance(error, asyncpg.PostgresError):
            return error
        if isinstance(error, asyncpg.DiskFullError):
            self._full.fail(error)
            full = StoreUnreachable("the database's disk is full")
            full.__cause__ = error
            return full
        _log.error("store.failed error=%s message=%r", type(error).__name__, str(error))
        fault = StoreFault(f"the database refused: {type(error).__name__}: {error}")
        fault.__cause__ = error
        return fault

    # Outages
    # -----------------------------------------------------------------------------------------------------------

    def _take_turn(self) -> None:
        """Allow one try to connect at a time while the database is unreachable. Raise ConnectionRefusedError for the
        others."""
        if self._away:
            now = time.monotonic()
            if now < self._turn_at:
                raise ConnectionRefusedError("it could not be reached a moment ago")
            self._turn_at = now + AWAY_SECONDS

    def _refused(self, error: Exception) -> None:
        """Note that a connection failed. (A timeout may only mean that the pool was full.)"""
        if not isinstance(error, TimeoutError):
            self._away, self._turn_at = True, time.monotonic() + AWAY_SECONDS

    def _watch(self) -> None:
        """Fail writes that have had no answer for ANSWER_SECONDS. Whether they were committed is unknown.

        Slowness alone is not a reason: an answer a moment ago lets all writes wait on.
        """
        now = time.monotonic()
        attempt = self._current
        silent = attempt is not None and now - attempt.asked_at > SILENT_SECONDS
        if attempt is not None and silent and now > self._probe_at:
            self._probe_at = now + SILENT_SECONDS
            self._probe = asyncio.ensure_future(self._look_after(attempt))
        while self._unanswered:
            came_at, answer = self._unanswered[0]
            if not answer.done():
                if not silent or now - came_at < ANSWER_SECONDS:
                    break
                error = StoreUnreachable("the database does not answer")
                self._unreachable.fail(error)
                answer.set_exception(error)
            self._unanswered.popleft()
        self._watched = bool(self._unanswered)
        if self._watched:
            asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch)

    async def _look_after(self, attempt: _Attempt) -> None:
        """Cut a connection that leads nowhere, for example because its host disappeared without closing it.

        A statement got no answer: if a new connection works, and the database does not run that statement, the old
        connection is closed.
        """
        silent, asked_at = attempt.connection, attempt.asked_at
        if silent is None:
            return
        with suppress(*LOST, asyncpg.PostgresError):
            async with asyncio.timeout(PROBE_SECONDS):
                connection: Connection = await asyncpg.connect(**self._options, timeout=PROBE_SECONDS)
                try:
                    working = await self._ask(connection, "find_working", process=silent.get_server_pid())
                finally:
                    connection.terminate()
            if not working and self._loop is not None:
                self._loop.call_soon_threadsafe(self._cut_silent, attempt, asked_at)

    def _heard(self) -> None:
        """Note an answer of the database."""
        self._away = False
        self._unreachable.succeed()

    def _break(self, error: BaseException) -> None:
        """Let the process end after a bug has ended the store thread."""
        _log.critical("store.broken error=%s message=%r", type(error).__name__, str(error))
        if self._asking_loop is not None:
            self._asking_loop.call_soon_threadsafe(self.on_broken)


class _Loading:
    """An empty database while it is filled; used by ``moving.py``."""

    def __init__(self, database: PostgresDatabase, connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self._patterns = load_patterns()

    async def run(self, operation: Operation[Result]) -> Result:
        """Run an operation in it."""
        return await self._database._run(self._connection, operation, _Attempt())

    async def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        return int(await self._connection.fetchval(self._patterns["count_table"].format(table=f'"{table.name}"')))

    async def empty(self, table: Table) -> None:
        """Delete all rows of a table."""
        await self._connection.execute(self._patterns["empty_table"].format(table=f'"{table.name}"'))

    async def copy(self, table: Table, records: Iterable[Sequence[Any]]) -> None:
        """Append these rows to a table."""
        kept = (tuple(storable(value) for value in record) for record in records)
        await self._connection.copy_records_to_table(table.name, columns=table.columns, records=kept)

    async def learn(self) -> None:
        """Update the planner's statistics."""
        await self._database._ask(self._connection, "analyze")


def without_password(address: str) -> str:
    """Return a database's address without its password, for logs."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "postgresql://…"
    if parts.password is None:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":…@")))


def _split(requests: list[PendingWrite]) -> list[list[PendingWrite]]:
    """Group requests by operation, one transaction each: together they would lock in no common order."""
    parts: dict[Any, list[PendingWrite]] = {}
    for request in requests:
        parts.setdefault(id(request) if request.alone else request.operation, []).append(request)
    return list(parts.values())


def _crowded() -> StoreUnreachable:
    """Return the error for a full pool. It says nothing about the database's health."""
    return StoreUnreachable("all connections are busy with other reads")


async def _leave_as_it_is(_: Connection) -> None:
    """Do nothing: connections carry no state that would have to be reset."""


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=CLOSE_SECONDS)
    except (*LOST, asyncpg.PostgresError):
        connection.terminate()
