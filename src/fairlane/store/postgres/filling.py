"""An empty database while it is filled, in one transaction; used by ``store/moving.py``."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg import sql

from fairlane.store.database import Table
from fairlane.store.postgres.numbering import storable
from fairlane.store.postgres.opening import Opening, Plain
from fairlane.store.statements import Operation, Result, load_patterns

UNHURRIED = (
    "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)


class PostgresLoading:
    """An empty database while it is filled."""

    def __init__(self, opening: Opening, connection: Plain) -> None:
        self._opening = opening
        self._connection = connection
        self._patterns = load_patterns()

    async def run(self, operation: Operation[Result]) -> Result:
        """Run an operation in it."""
        return await self._opening.run(self._connection, operation)

    async def count(self, table: Table) -> int:
        """Return how many rows a table has."""
        counted = self._patterns["count_table"].format(table=f'"{table.name}"')
        cursor = await self._connection.execute(counted.encode())
        [(count,)] = await cursor.fetchall()
        return int(count)

    async def empty(self, table: Table) -> None:
        """Delete all rows of a table."""
        await self._connection.execute(self._patterns["empty_table"].format(table=f'"{table.name}"').encode())

    async def copy(self, table: Table, records: Iterable[Sequence[Any]]) -> None:
        """Append these rows to a table."""
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        copied = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), columns)
        async with self._connection.cursor() as cursor, cursor.copy(copied) as copy:
            for record in records:
                await copy.write_row([storable(value) for value in record])

    async def learn(self, table: Table) -> None:
        """Update the planner's statistics of a table."""
        await self._connection.execute(self._patterns["analyze_table"].format(table=f'"{table.name}"').encode())


class Filling:
    """A database that a move fills."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[PostgresLoading]:
        """Open one transaction that fills an empty database. Servers that start meanwhile wait for its end.

        Raises:
            DatabaseError: it cannot be used, as for a server; or the connection was lost. Then the database is empty,
                unless the connection was lost during the commit.
        """
        opening = self._opening
        async with opening.connected() as connection:
            await opening.check(connection)
            if await opening.applied(connection):
                await opening.refuse_older(connection)
            await opening.migrate(connection)
            async with connection.transaction():
                await connection.execute(UNHURRIED)
                await opening.ask(connection, "lock_schema_version")
                yield PostgresLoading(opening, connection)
