"""Before a database is used: whether it is safe, its schema and its migrations, and what can be said of it unopened.

Called by ``database.py`` and ``filling.py``. Uses connections of its own, which run one statement after the other.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor, errors
from psycopg.types.string import TextLoader

from fairlane.errors import DatabaseError
from fairlane.model.diagnosis import DatabaseFacts, DeadRows
from fairlane.store.postgres.asking import BEGIN_SNAPSHOT, STATEMENT_SECONDS, Asking, run_within
from fairlane.store.postgres.connector import CONNECT_SECONDS, UNUSABLE, Connector
from fairlane.store.schema import Schema, compare, missing, refuse_older
from fairlane.store.statements import Operation, Query, Result, Rows, load_migrations, wall_clock

_log = logging.getLogger("fairlane.store")

OLDEST_POSTGRES = 140_000
ENCODING = "UTF8"
"""Other encodings cannot store every text that a customer may send."""
SAFETY = ("fsync", "full_page_writes", "synchronous_commit")
"""Settings that must be on, because an acknowledged write could be lost otherwise."""
LOOK_SECONDS = 60.0
"""How long one statement of a look may take. It delays no other request."""
MIGRATION_TRIES = 60
"""How many times a migration tries to lock tables that are in use."""
PAUSE_SECONDS_MOST = 0.2

WAIT_FOR_OTHERS = "SET LOCAL lock_timeout = '5s'"
TAKE_TABLES = "SET LOCAL lock_timeout = '200ms'"

Plain = AsyncConnection[tuple[Any, ...]]
"""A connection that runs one statement after the other."""


class Opening:
    """What is done before a server serves, or instead."""

    def __init__(self, connector: Connector, asking: Asking) -> None:
        self._connector = connector
        self._asking = asking

    async def prepare(self, *, migrates: bool) -> None:
        """Check that the database is safe to use, and upgrade its schema, or refuse one that is not up to date.

        Raises:
            DatabaseError: it cannot be reached, could lose acknowledged writes, or has a newer schema.
        """
        async with self.connected() as connection:
            await self.check(connection)
            if not migrates:
                await self.refuse_older(connection)
            await self.migrate(connection)
            await self.ask(connection, "delete_last_commits")

    async def inspect(self) -> Schema:
        """Return the version of its schema. Changes nothing.

        Raises:
            DatabaseError: it cannot be reached.
        """
        async with self.connected() as connection, asyncio.timeout(STATEMENT_SECONDS):
            return compare(await self.applied(connection), load_migrations("postgres"))

    async def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return the engine and, if its tables are those of this release, the operation's result on one snapshot.

        Changes nothing.

        Raises:
            DatabaseError: it cannot be reached.
        """
        async with self.connected() as connection:
            engine = await self._engine(connection)
            if engine.schema_pending or engine.schema_unknown:
                return engine, None
            await connection.execute(BEGIN_SNAPSHOT.sql.encode())
            await self.ask(connection, "steady_plans")
            found = await self.run(connection, operation)
            await connection.execute("ROLLBACK")
            return engine, found

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Plain]:
        """Open a connection of its own, also to a standby.

        Raises:
            DatabaseError: it cannot be reached, or failed.
        """
        try:
            connection = await self._connect()
            try:
                yield connection
            finally:
                await connection.close()
        except UNUSABLE as error:
            raise self._connector.unusable(error) from error

    async def _connect(self) -> Plain:
        """Prefer a server that accepts changes: an address may name several."""
        options: dict[str, Any] = {
            "autocommit": True, "prepare_threshold": None, "cursor_factory": AsyncRawCursor, "client_encoding": "UTF8",
        }  # fmt: skip
        async with asyncio.timeout(CONNECT_SECONDS):
            address = self._connector.address
            try:
                connection = await AsyncConnection.connect(address, **options, target_session_attrs="read-write")
            except psycopg.OperationalError:
                connection = await AsyncConnection.connect(address, **options, target_session_attrs="any")
        # JSON is decoded into the records of a query.
        connection.adapters.register_loader("json", TextLoader)
        return connection

    # Running statements ----------------------------------------------------------------------------------------------

    async def ask(self, connection: Plain, statement: str, **parameters: Any) -> Rows:
        """Run one statement and return its rows."""
        return await self.rows(connection, Query(statement, parameters))

    async def run(self, connection: Plain, operation: Operation[Result]) -> Result:
        """Run an operation in the running transaction."""
        return await run_within(LOOK_SECONDS, operation, partial(self.rows, connection))

    async def rows(self, connection: Plain, query: Query[Any]) -> Rows:
        """Run one query."""
        asked_at = wall_clock()
        answers: list[Rows] = []
        for statement, arguments in self._asking.sent(query):
            cursor = await connection.execute(statement.sql.encode(), arguments)
            answers.append(await cursor.fetchall() if cursor.description else [])
        return self._asking.found(query, answers, asked_at=asked_at)

    # Safety ----------------------------------------------------------------------------------------------------------

    async def check(self, connection: Plain) -> None:
        """Refuse a database that could lose acknowledged writes or cannot store every text."""
        name = self._connector.name
        found = dict(await self.ask(connection, "find_safety"))
        if int(found["server_version_num"]) < OLDEST_POSTGRES:
            raise DatabaseError(f"PostgreSQL {OLDEST_POSTGRES // 10_000} or newer is needed")
        if found["server_encoding"] != ENCODING:
            raise DatabaseError(
                f"{name} keeps texts as {found['server_encoding']}, {ENCODING} is needed: "
                f"create a database with CREATE DATABASE … TEMPLATE template0 ENCODING '{ENCODING}'"
            )
        if found["transaction_read_only"] == "on":
            raise self._connector.read_only()
        for setting in SAFETY:
            if found[setting] == "off":
                raise DatabaseError(
                    f"{name} has {setting} = off, so that it may lose what it acknowledged: switch {setting} on"
                )

    async def _engine(self, connection: Plain) -> DatabaseFacts:
        schema = compare(await self.applied(connection), load_migrations("postgres"))
        found = dict(await self.ask(connection, "find_safety"))
        process = connection.info.backend_pid
        [(known, version, autovacuum)] = await self.ask(connection, "find_identity", process=process)
        before = wall_clock()
        at: int = (await self.ask(connection, "read_clock"))[0][0]
        oldest = await self.ask(connection, "find_oldest_transaction", process=process)
        return DatabaseFacts(
            name="PostgreSQL",
            address=self._connector.name,
            version=version,
            schema_version=schema.version,
            schema_known=schema.known,
            schema_pending=schema.pending,
            schema_unknown=schema.unknown,
            skew_ms=at - (before + wall_clock()) // 2,
            unsafe=tuple(name for name in SAFETY if found[name] == "off"),
            read_only=found["transaction_read_only"] == "on",
            encoding=None if found["server_encoding"] == ENCODING else found["server_encoding"],
            autovacuum=autovacuum == "on",
            dead_rows=tuple(
                DeadRows(table=table, live=live, dead=dead, vacuumed=vacuumed)
                for table, live, dead, vacuumed in await self.ask(connection, "find_dead_rows")
            ),
            oldest_transaction=tuple(oldest[0]) if oldest else None,
            # A pooler gives its clients a process id of its own.
            pooled=not known,
        )

    # The schema ------------------------------------------------------------------------------------------------------

    async def applied(self, connection: Plain) -> set[int]:
        """Return the versions of the migrations that were applied."""
        if not (await self.ask(connection, "has_schema_version"))[0][0]:
            return set()
        return {row[0] for row in await self.ask(connection, "find_schema_versions")}

    async def refuse_older(self, connection: Plain) -> None:
        """Refuse a schema that is not up to date."""
        schema = compare(await self.applied(connection), load_migrations("postgres"))
        refuse_older(schema, database=self._connector.name)

    async def migrate(self, connection: Plain) -> None:
        """Apply all missing migrations, in one transaction, one server at a time. A kill leaves all of them to the next
        server."""
        if not (await self.ask(connection, "has_schema_version"))[0][0]:
            # Two servers may create it at the same moment; then one of them gets an error.
            try:
                await self.ask(connection, "create_schema_version")
            except (errors.UniqueViolation, errors.DuplicateTable, errors.DuplicateObject):
                _log.debug("schema.shared")
        await self.ask(connection, "insert_schema_lock", now=wall_clock())
        refused = 0
        while refused < MIGRATION_TRIES:
            try:
                async with connection.transaction():
                    if not await self._alone(connection):
                        raise psycopg.Rollback
                    await self._migrate_alone(connection)
                    return
            except (errors.LockNotAvailable, errors.DeadlockDetected):
                refused += 1
                _log.warning("schema.refused tries=%d", refused)
                await asyncio.sleep(random.uniform(PAUSE_SECONDS_MOST, 5 * PAUSE_SECONDS_MOST))  # noqa: S311 - spreads load, guards nothing
        raise DatabaseError(
            f"{self._connector.name} is not migrated: its tables are in use and gave no lock in "
            f"{MIGRATION_TRIES} tries; look for old transactions with 'fairlane doctor', then start again"
        )

    async def _alone(self, connection: Plain) -> bool:
        """Take the migration lock until this transaction ends. Return False if another server still holds it: try
        again."""
        await connection.execute(WAIT_FOR_OTHERS)
        try:
            await self.ask(connection, "lock_schema_version")
        except errors.LockNotAvailable:
            _log.warning("schema.waiting")
            return False
        return True

    async def _migrate_alone(self, connection: Plain) -> None:
        pending = missing(await self.applied(connection), load_migrations("postgres"), database=self._connector.name)
        # While a migration waits for a table lock, all queries on that table queue behind it. So the timeout is short.
        await connection.execute(TAKE_TABLES)
        for version, name, script in pending:
            if script:
                await connection.execute(script.encode())
            await self.ask(connection, "insert_schema_version", version=version, now=wall_clock())
            _log.info("schema.migrated version=%d name=%s", version, name)
