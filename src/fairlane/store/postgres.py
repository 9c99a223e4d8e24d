"""The PostgreSQL adapter: any number of equal servers, one writer connection each, group commit.

Runs store operations; the only file that knows asyncpg. The writer works on the store thread with an event loop of its
own, so that a stall of the HTTP loop never holds an organization's lock. Reads take no locks and run from a small pool
on the loop that asks. Nothing is answered before its commit is known; one whose outcome was lost is looked up, never
guessed. Nothing depends on the state of a database session: a pooler may hand each transaction another one.
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
from msgspec import json as msgspec_json

from fairlane.errors import DatabaseError, LocksHeld, StoreFault, StoreUnreachable
from fairlane.loops import new_event_loop
from fairlane.model.diagnosis import DeadRows, Engine
from fairlane.store.batching import TRY_SECONDS, Batches, PluralOperation, Request, by_operation
from fairlane.store.moving import Table
from fairlane.store.numbering import join_statements, numbered, storable
from fairlane.store.outages import Outage
from fairlane.store.places import Places
from fairlane.store.schema import Schema, compare, missing, refuse_older
from fairlane.store.statements import (
    CLOCK,
    TOGETHER,
    Operation,
    Query,
    Rows,
    load_migrations,
    load_patterns,
    load_statements,
    wall_clock,
)

_log = logging.getLogger("fairlane.store")

OLDEST_POSTGRES = 140_000
ENCODING = "UTF8"
"""Any other cannot keep every text that a customer may send."""
SAFETY = ("fsync", "full_page_writes", "synchronous_commit")
"""Settings without which an acknowledgement is no promise."""
LOOK_SECONDS = 60.0
"""How long one statement of a look may take; nobody waits for it but the one who looks."""
READERS_MOST = 8
SNAPSHOTS_MOST = READERS_MOST // 2
"""Most connections that short reads of several statements use. What these and walks leave is for reads of one."""
WALKS_MOST = 2
"""Most connections that long reads use."""
WALK_WAIT_SECONDS = 10.0
"""How long a long read waits for one of them before it is answered 503."""
STATEMENTS_KEPT = 500
TRY_SECONDS_LEAST = 0.3
ANSWER_SECONDS = 1.8
"""A database that says nothing at all may keep nobody waiting for longer."""
SILENT_SECONDS = 1.2
"""A statement without an answer for so long means that it says nothing."""
PROBE_SECONDS = 1.0
"""How long it is looked for who works on it then."""
WATCH_SECONDS = 0.1
RESOLVE_SECONDS = 1.8
"""How long the fate of a commit is looked for."""
STATEMENT_SECONDS = 10.0
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
LAST_SECONDS = 5.0
"""How long what was accepted may still take when the store is closed."""
MIGRATION_TRIES = 60
"""How often a migration asks for tables that others work on."""
PAUSE_SECONDS = 0.01
PAUSE_SECONDS_MOST = 0.2

# Every statement has an index that gives its rows in their order. A table that was empty when its plan was made, or of
# which there are no statistics yet, grows at once: the planner would read all of an organization's rows, and sort them.
_PLANS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
_SETTINGS = (
    f"{_PLANS}; SET LOCAL lock_timeout = '150ms'; SET LOCAL statement_timeout = '5s'; "
    "SET LOCAL idle_in_transaction_session_timeout = '5s'"
)
BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_SETTINGS}"
BEGIN_HURRIED = f"{BEGIN}; SET LOCAL lock_timeout = '10ms'"
HURRY_SECONDS = 1.0
"""Who met locks that were not given free in time begins in a hurry for so long: whoever waits for them waits apart, and
everybody else pays for a short try, not for a long one."""
FULL_SECONDS = 1.0
"""A disk has room again once a write succeeds and for this long none was refused."""
HELD_SECONDS = 0.1
"""A row that somebody was seen to hold is taken for held for so long: nobody tries it meanwhile."""
_WAIT_FOR_OTHERS = "SET LOCAL lock_timeout = '5s'"
_TAKE_TABLES = "SET LOCAL lock_timeout = '200ms'"
_UNHURRIED = (
    "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
BEGIN_SNAPSHOT = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_PLANS}"
COMMIT = "COMMIT"
LOCK, LOCK_FREE = "lock_organizations", "lock_further_organizations"
"""With a wait, and without."""
READ_CLOCK = "read_clock"
ROLLBACK = "ROLLBACK"

_ANY = {"target_session_attrs": "any"}
"""A standby may be looked at."""

AWAY_SECONDS = 0.2
"""Nobody tries to connect for so long after a connection was refused: a database that starts must not be stormed."""

_AGAIN = (
    asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError,
)  # fmt: skip
"""The transaction was undone and may be run again. (The last: another server has just migrated.)"""
LOST = (
    OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError, asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
)  # fmt: skip
"""The connection is of no more use; another one may be. The last two are what asyncpg says when it is asked for more on
a connection that broke off."""

_UNUSABLE = (*LOST, ValueError, asyncpg.PostgresError)
"""Why a database cannot be opened."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class _Attempt(Struct):
    """What one try of a transaction knows of itself."""

    identity: str | None = None
    asked_at: float = 0.0
    """When the statement was sent whose answer is awaited."""
    connection: "Connection | None" = None
    """Where it is awaited; None: it is over."""
    hurried: bool = False
    """It does not wait for locks, or hardly."""
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
        harvest: Callable[[], Any],
        announce: Callable[[Any], None],
        prepare: bool = True,
    ) -> None:
        """``now``: for tests; None is the database's own clock. ``prepare``: statements are prepared once for each
        connection, which a pooler in transaction mode may not allow. ``harvest`` and ``announce``: see
        :class:`Batches`."""
        self.address = address
        self._moved_clock = now
        self._ahead_ms = 0
        """How far the database's clock was before ours when it was last read."""
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
        """Statements that run together, as one; there are as many as there are combinations in the code."""
        self._batches = Batches(
            transact=self._transact,
            split=_split,
            translate=self._translated,
            harvest=harvest,
            announce=announce,
            broken=self._break,
            end=self._end,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Connection | None = None
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._snapshots = Places(SNAPSHOTS_MOST, each=SNAPSHOTS_MOST // 2, wait_seconds=TRY_SECONDS)
        self._walks = Places(WALKS_MOST, each=1, wait_seconds=WALK_WAIT_SECONDS)
        self.on_broken: Callable[[], None] = lambda: None
        self._asking_loop: asyncio.AbstractEventLoop | None = None
        """Where requests come from; ``_loop`` is the store thread's own."""
        self._unreachable = Outage(_log, "store.unreachable", "store.reached")
        self._full = Outage(_log, "disk.filled", "disk.recovered", quiet_seconds=FULL_SECONDS)
        self._away = False
        """Whether the last that tried to connect was refused."""
        self._turn_at = 0.0
        """When the next may try, while it is away."""
        self._unanswered: deque[tuple[float, asyncio.Future[Any]]] = deque()
        """Writes, oldest first, with the moment at which each came."""
        self._watched = False
        self._probe_at = 0.0
        """When the next look may be taken after a statement without an answer."""
        self._probe: asyncio.Future[None] | None = None
        self._leaving: set[asyncio.Future[None]] = set()
        self._current: _Attempt | None = None
        self._hurry_until = 0.0
        self._given_up = False
        """Whether the store is closed, and does not wait for the database any more."""
        self._held: dict[int, float] = {}
        """Organizations that somebody holds, and until when that may be believed."""
        self._busy_until = 0.0

    def now(self) -> int:
        """The database's clock, as far as we know it without asking."""
        return wall_clock() + self._ahead_ms if self._moved_clock is None else self._moved_clock()

    # Opening and closing ---------------------------------------------------------------------------------------------

    async def open(self, *, migrates: bool = True) -> None:
        """Check that the database is safe to use, bring its schema up to date, connect. Call with the loop running.

        ``migrates`` False: one whose schema is not up to date is refused.

        Raises:
            DatabaseError: it cannot be reached, is set up so that it may lose what it acknowledged, or is newer.
        """
        try:
            # A migration takes as long as it takes.
            unhurried = self._options | {"command_timeout": None}
            connection: Connection = await asyncpg.connect(**unhurried, timeout=CONNECT_SECONDS)
            try:
                await self._check(connection)
                if not migrates:
                    await self._refuse_older(connection)
                await self._migrate(connection)
            finally:
                await connection.close()
            # None is kept for its own sake: asyncpg would try to replace it all through an outage, and log each try.
            self._pool = await asyncpg.create_pool(
                **self._options, min_size=0, max_size=READERS_MOST, timeout=CONNECT_SECONDS, reset=_leave_as_it_is
            )
        except _UNUSABLE as error:
            raise self._unusable(error) from error
        self._asking_loop = asyncio.get_running_loop()
        self._batches.start()

    async def close(self) -> None:
        """Finish what was accepted, then disconnect."""
        stopping = asyncio.ensure_future(self._batches.stop())
        _, late = await asyncio.wait([stopping], timeout=LAST_SECONDS)
        if late and self._loop is not None:
            # It waits for a database that says nothing; what came of its last statement, nobody will know.
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
        """Whether writes are refused because the database's disk is full."""
        return self._full.going_on

    def describe(self, text: str) -> None:
        """Nobody needs to be told who uses a database that many use."""

    async def _check(self, connection: Connection) -> None:
        """Refuse what would make an acknowledgement a lie."""
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
        """How far its tables are. Changes nothing.

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

    async def look(self, operation: Operation) -> tuple[Engine, Any]:
        """The engine and, if its tables are those of this release, what the operation finds on one snapshot. Changes
        nothing.

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

    async def _engine(self, connection: Connection) -> Engine:
        schema = compare(await self._applied(connection), load_migrations("postgres"))
        settings = dict(await self._ask(connection, "find_safety"))
        process = connection.get_server_pid()
        [(known, version, autovacuum)] = await self._ask(connection, "find_identity", process=process)
        before = wall_clock()
        at: int = (await self._ask(connection, "read_clock"))[0][0]
        oldest = await self._ask(connection, "find_oldest_transaction", process=process)
        return Engine(
            name="PostgreSQL",
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
            # A pooler tells its clients a process of its own making.
            pooled=not known,
        )

    def _unusable(self, error: BaseException) -> DatabaseError:
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return self._read_only()
        return DatabaseError(f"cannot open {without_password(self.address)}: {error}")

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
        """All that is missing, in one transaction, one server at a time. A kill leaves all of it to the next."""
        if not (await self._ask(connection, "has_schema_version"))[0][0]:
            # Of two that create it at the same moment one is told that it is there.
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
        """Whether nobody else migrates or moves until this transaction ends. False: somebody still does, wait on."""
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
        # Whoever works on a table waits behind a migration that waits for it, so it must not wait long.
        await connection.execute(_TAKE_TABLES)
        for version, name, script in pending:
            await connection.execute(script)
            await self._ask(connection, "insert_schema_version", version=version, now=wall_clock())
            _log.info("schema.migrated version=%d name=%s", version, name)

    # Being filled ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def loading(self) -> AsyncIterator["_Loading"]:
        """One transaction in which an empty database is filled. Servers that start meanwhile wait for its end.

        Raises:
            DatabaseError: it cannot be used, as for a server; or the connection was lost, and nothing is there, unless
                it was lost just when all was committed.
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

    def write(self, operation: PluralOperation, member: Any, *, weight: int = 1, alone: bool = False) -> Awaitable[Any]:
        """Run a plural operation with this member, in one transaction with the others of its kind that wait.

        Answers once the commit is known. Raises the member's Refusal, StoreFault, or StoreUnreachable.
        """
        answer = self._batches.put(operation, member, weight=weight, alone=alone)
        self._unanswered.append((time.monotonic(), answer))
        if not self._watched:
            self._watched = True
            answer.get_loop().call_later(WATCH_SECONDS, self._watch)
        return answer

    async def read(self, operation: Operation) -> Any:
        """Run an operation of one statement on the committed state."""
        return await self._read(operation, begin=None)

    async def snapshot(self, operation: Operation, *, share: Hashable = None) -> Any:
        """Run a short operation of several statements on one snapshot."""
        return await self._placed(self._snapshots, operation, share)

    async def walk(self, operation: Operation, *, share: Hashable = None) -> Any:
        """Run a long operation on one snapshot, on a connection that no short one waits for."""
        return await self._placed(self._walks, operation, share)

    async def _placed(self, places: Places, operation: Operation, share: Hashable) -> Any:
        await places.take(share)
        try:
            return await self._read(operation, begin=BEGIN_SNAPSHOT)
        finally:
            places.give(share)

    async def _read(self, operation: Operation, *, begin: str | None) -> Any:
        """Without a lock, on a connection of the pool."""
        try:
            connection = await self._reader()
        except LOST as error:
            self._unreachable.refuse(error)
            raise StoreUnreachable(f"the database does not answer: {error}") from error
        try:
            answer = await self._read_on(connection, operation, begin)
        except LOST as error:
            self._dismiss(connection)
            self._unreachable.refuse(error)
            raise StoreUnreachable(f"the database does not answer: {error}") from error
        except asyncio.CancelledError:
            # Before it gave it back, asyncpg would wait until a server that may say nothing has ended the statement.
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
        """A connection is of no more use. The pool waits until the server has taken note, nobody else does."""
        # One that broke off has left the pool by itself, and nothing can be asked of it any more.
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
        """A connection of the pool."""
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

    async def _read_on(self, connection: Any, operation: Operation, begin: str | None) -> Any:
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

    async def _run(self, connection: Any, operation: Operation, attempt: _Attempt) -> Any:
        found: Rows | None = None
        try:
            while True:
                query = next(operation) if found is None else operation.send(found)
                found = await self._rows(connection, query, attempt)
        except StopIteration as stop:
            return stop.value

    async def _rows(self, connection: Any, query: Query, attempt: _Attempt) -> Rows:
        if query.name == CLOCK:
            return [(await self._clock(connection, attempt),)]
        if query.name == TOGETHER:
            return await self._together(connection, query.parameters["queries"], attempt)
        name = query.hurried if query.hurried is not None and attempt.hurried else query.name
        attempt.locking = query.parameters["ids"] if name == LOCK else ()
        self._pass_by(attempt.locking)
        attempt.asked_at = time.monotonic()
        statement = self._statements[name]
        records = await connection.fetch(statement.sql, *statement.arguments(query.parameters))
        if statement.packed:
            return msgspec_json.decode(records[0][0])  # type: ignore[no-any-return]
        return [tuple(record) for record in records]

    async def _together(self, connection: Any, queries: Sequence[Query], attempt: _Attempt) -> Rows:
        """One statement of them all: what changes rows becomes a WITH, what reads them a column."""
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
                found.append([(self._moved_clock(),)])
                continue
            rows = next(columns)
            if query.name == CLOCK:
                [(at, attempt.identity)] = rows
                self._ahead_ms = at - (before + wall_clock()) // 2
                found.append([(int(at),)])
            elif self._statements[query.name].packed:
                found.append(msgspec_json.decode(rows[0][0]))
            else:
                found.append([] if rows is None else [tuple(row) for row in rows])
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

    def _transact(self, requests: list[Request]) -> list[Any]:
        if self._loop is None:
            self._loop = new_event_loop()
        return self._loop.run_until_complete(self._transaction(requests))

    def _end(self) -> None:
        if self._loop is not None:
            if self._writer is not None:
                self._loop.run_until_complete(_close(self._writer))
            self._loop.close()

    async def _transaction(self, requests: list[Request]) -> list[Any]:
        """Until it is committed, or time is up. Run again only after what certainly changed nothing.

        Raises:
            LocksHeld: somebody holds rows that it needs.
            StoreUnreachable: time is up.
        """
        [(operation, _)] = by_operation(requests)
        members = [request.member for request in requests]
        give_up_at = min(request.came_at for request in requests) + TRY_SECONDS
        pause = PAUSE_SECONDS
        while not self._given_up:
            try:
                answers: list[Any] = await self._try(operation, members, give_up_at)
            except (LocksHeld, asyncpg.LockNotAvailableError) as error:
                self._hurry_until = time.monotonic() + HURRY_SECONDS
                raise LocksHeld("somebody else holds rows that this request needs") from error
            except (*_AGAIN, *LOST) as error:
                if time.monotonic() + pause > give_up_at:
                    if isinstance(error, LOST):
                        self._unreachable.refuse(error, count=len(requests))
                    else:
                        _log.warning("store.busy error=%s message=%r", type(error).__name__, str(error))
                    raise StoreUnreachable(f"the database does not answer: {error}") from error
            else:
                self._heard()
                return answers
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads load, guards nothing
            pause = min(2 * pause, PAUSE_SECONDS_MOST)
        raise StoreUnreachable("the store is closed, and the database does not answer")

    async def _try(self, operation: PluralOperation, members: Sequence[Any], give_up_at: float) -> list[Any]:
        connection = await self._connected(give_up_at)
        attempt = self._current = _Attempt(asked_at=time.monotonic(), connection=connection)
        try:
            attempt.hurried = time.monotonic() < self._hurry_until
            await self._begin(connection, BEGIN_HURRIED if attempt.hurried else BEGIN)
            answers: list[Any] = await self._run(connection, operation(members), attempt)
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
        return answers

    async def _see_held(self, connection: Connection, ids: Sequence[int]) -> None:
        """Which of these organizations somebody else holds."""
        free = {row[0] for row in await self._ask(connection, LOCK_FREE, ids=ids)} if ids else set()
        until = time.monotonic() + HELD_SECONDS
        self._held = {one: at for one, at in self._held.items() if at > until - HELD_SECONDS and one not in free}
        self._held |= dict.fromkeys(set(ids) - free, until)

    def _pass_by(self, ids: Sequence[int]) -> None:
        """Who would lock one that is held need not try. Raises LocksHeld."""
        if self._held and any(self._held.get(one, 0.0) > time.monotonic() for one in ids):
            raise LocksHeld("somebody else held it a moment ago")

    async def _begin(self, connection: Connection, begin: str) -> None:
        try:
            await connection.execute(begin, timeout=SILENT_SECONDS)
        except asyncpg.FeatureNotSupportedError as error:
            # What a standby says of READ WRITE.
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
        """Undo the transaction that met this error. False: its connection is lost, and nobody knows how far it came."""
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
        """End a connection whose statement nobody works on."""
        if attempt.connection is not None and attempt.asked_at == asked_at:
            _log.warning("connection.cut seconds=%.1f", time.monotonic() - asked_at)
            attempt.connection.terminate()

    def _drop(self, connection: Connection) -> None:
        self._writer = None
        connection.terminate()

    async def _committed(self, identity: str | None) -> bool:
        """What became of a transaction whose commit got no answer.

        Raises:
            StoreUnreachable: nobody can say yet.
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
        """What the caller learns of a failed transaction."""
        if isinstance(error, LocksHeld):
            # One line for as long as somebody is held up, not one for each request.
            now = time.monotonic()
            if now > self._busy_until:
                _log.warning("store.busy error=%s message=%r", type(error).__name__, str(error))
            self._busy_until = now + HURRY_SECONDS
        if not isinstance(error, asyncpg.PostgresError):
            return error
        if isinstance(error, asyncpg.DiskFullError):
            self._full.refuse(error)
            full = StoreUnreachable("the database's disk is full")
            full.__cause__ = error
            return full
        _log.error("store.failed error=%s message=%r", type(error).__name__, str(error))
        fault = StoreFault(f"the database refused: {type(error).__name__}: {error}")
        fault.__cause__ = error
        return fault

    # Away and back ---------------------------------------------------------------------------------------------------

    def _take_turn(self) -> None:
        """While the database is away, one may try to connect at a time. Raises ConnectionRefusedError for the rest."""
        if self._away:
            now = time.monotonic()
            if now < self._turn_at:
                raise ConnectionRefusedError("it could not be reached a moment ago")
            self._turn_at = now + AWAY_SECONDS

    def _refused(self, error: Exception) -> None:
        """Nobody could connect. (Whose time was up may only have waited for others' reads.)"""
        if not isinstance(error, TimeoutError):
            self._away, self._turn_at = True, time.monotonic() + AWAY_SECONDS

    def _watch(self) -> None:
        """Whoever waits for a write while the database says nothing is told so in time; what came of it, nobody knows.

        Slowness alone is no reason: an answer that came a moment ago lets everybody go on waiting.
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
                self._unreachable.refuse(error)
                answer.set_exception(error)
            self._unanswered.popleft()
        self._watched = bool(self._unanswered)
        if self._watched:
            asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch)

    async def _look_after(self, attempt: _Attempt) -> None:
        """A statement got no answer: if a new connection works, and says that nobody works on that statement, then the
        old one leads nowhere, as it does when its host has vanished without a word."""
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
        """It answered."""
        self._away = False
        self._unreachable.succeed()

    def _break(self, error: BaseException) -> None:
        """The store thread ended by a mistake of ours: the process has to end."""
        _log.critical("store.broken error=%s message=%r", type(error).__name__, str(error))
        if self._asking_loop is not None:
            self._asking_loop.call_soon_threadsafe(self.on_broken)


class _Loading:
    """An empty database while it is filled; for ``moving.py``."""

    def __init__(self, database: PostgresDatabase, connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self._patterns = load_patterns()

    async def run(self, operation: Operation) -> Any:
        """Run an operation in it."""
        return await self._database._run(self._connection, operation, _Attempt())

    async def count(self, table: Table) -> int:
        """How many rows a table has."""
        return int(await self._connection.fetchval(self._patterns["count_table"].format(table=f'"{table.name}"')))

    async def empty(self, table: Table) -> None:
        """Delete them."""
        await self._connection.execute(self._patterns["empty_table"].format(table=f'"{table.name}"'))

    async def copy(self, table: Table, records: Iterable[Sequence[Any]]) -> None:
        """Append these."""
        kept = (tuple(storable(value) for value in record) for record in records)
        await self._connection.copy_records_to_table(table.name, columns=table.columns, records=kept)

    async def learn(self) -> None:
        """Let the planner see what there is now."""
        await self._database._ask(self._connection, "analyze")


def without_password(address: str) -> str:
    """A database's address, fit for a log."""
    parts = urlsplit(address)
    if parts.password is None:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":…@")))


def _split(requests: list[Request]) -> list[list[Request]]:
    """Each kind of operation has a transaction of its own: together they would lock in no common order."""
    parts: dict[Any, list[Request]] = {}
    for request in requests:
        parts.setdefault(id(request) if request.alone else request.operation, []).append(request)
    return list(parts.values())


def _crowded() -> StoreUnreachable:
    """Whoever waited only for others' reads knows nothing of the database."""
    return StoreUnreachable("all connections are busy with other reads")


async def _leave_as_it_is(_: Connection) -> None:
    """Connections carry no state of ours that would have to be reset."""


async def _close(connection: Connection) -> None:
    try:
        await connection.close(timeout=CLOSE_SECONDS)
    except (*LOST, asyncpg.PostgresError):
        connection.terminate()
