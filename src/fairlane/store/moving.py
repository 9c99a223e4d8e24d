"""Copy a stopped installation into another database: every row of every table, in one transaction.

Tables and columns are read from the schema, so that those of a later migration are copied, too. The rows of the target
appear all together or not at all; a server that starts on it meanwhile waits for the end.
"""

from collections.abc import Callable, Iterator, Sequence
from graphlib import TopologicalSorter
from typing import Any

from msgspec import Struct

from fairlane.errors import DatabaseError
from fairlane.store.database import Loading, Source, Table, Target
from fairlane.store.recount import count_states, recount
from fairlane.store.statements import Operation, Row, rows

NOT_CARRIED = frozenset({"schema_version", "last_commit"})
"""Tables that are not copied: each database has its own."""
MADE_BY_MIGRATIONS = frozenset({"installation"})
"""Tables that have a row from the beginning; the source's row replaces it."""
PROGRESS_ROWS = 10_000

MoveProgress = Callable[[str, int, bool], None]
"""Called with the name of a table, how many of its rows were copied, and whether these are all."""


class ColumnRow(Row, frozen=True):
    """One column of one table."""

    table_name: str
    column_name: str


class ReferenceRow(Row, frozen=True):
    """A table, and one that it refers to."""

    table_name: str
    referred: str


class Moved(Struct, frozen=True):
    """The result of a move."""

    rows: dict[str, int]
    """Rows copied, by table."""
    returned: int
    """Leases of the stopped installation that were first returned to their queues."""


async def carry(source: Source, target: Target, *, returned: int, progress: MoveProgress) -> Moved:
    """Fill the target with every row of the source, and check that they arrived.

    Raises:
        DatabaseError: the target is not empty, or its rows differ from the source. Nothing was changed then.
    """
    carried: dict[str, int] = {}
    async with target.loading() as loading:
        tables = _in_order(
            _same(await source.read(_tables()), await loading.run(_tables())), await loading.run(_references())
        )
        for table in tables:
            if table.name not in MADE_BY_MIGRATIONS and await loading.count(table):
                raise DatabaseError(
                    f"the target is not empty ({table.name} has rows): a move that was committed is complete, so look "
                    "there first; else give a new database"
                )
        for table in tables:
            if table.name in MADE_BY_MIGRATIONS:
                await loading.empty(table)
            read = _Counted(source.table_rows(table), table.name, progress)
            await loading.copy(table, read)
            there = await loading.count(table)
            if there != read.count:
                raise DatabaseError(f"{table.name}: of {read.count} rows {there} arrived; nothing was moved")
            carried[table.name] = there
            progress(table.name, there, True)
        for table in tables:
            await loading.learn(table)
        await _prove(loading)
    return Moved(carried, returned)


def _tables() -> Operation[list[Table]]:
    columns: dict[str, list[str]] = {}
    for row in (yield from rows("find_columns", into=ColumnRow)):
        columns.setdefault(row.table_name, []).append(row.column_name)
    return [Table(name, tuple(found)) for name, found in columns.items() if name not in NOT_CARRIED]


def _references() -> Operation[list[ReferenceRow]]:
    return (yield from rows("find_references", into=ReferenceRow))


def _same(left: Sequence[Table], right: Sequence[Table]) -> Sequence[Table]:
    """Return the tables of one database, if the other has exactly the same."""
    if {(table.name, frozenset(table.columns)) for table in left} != {
        (table.name, frozenset(table.columns)) for table in right
    }:
        raise DatabaseError("the two databases do not have the same tables: the target must be of fairlane alone")
    return left


def _in_order(tables: Sequence[Table], references: Sequence[ReferenceRow]) -> list[Table]:
    """Return the tables so that a referenced table comes before those that refer to it."""
    named = {table.name: table for table in tables}
    order = TopologicalSorter[str](dict.fromkeys(sorted(named), ()))
    for row in references:
        order.add(row.table_name, row.referred)
    return [named[name] for name in order.static_order()]


async def _prove(loading: Loading) -> None:
    """Check that every kept count equals its rows, and that every task is in exactly one state."""
    drift = await loading.run(recount(None))
    if drift:
        raise DatabaseError(
            f"{drift[0].organization}: {drift[0].name} says {drift[0].kept}, counted are {drift[0].counted}; nothing "
            "was moved: start a server on the source, its self-audit fixes that, then try again"
        )
    states = await loading.run(count_states())
    if set(states) - {1}:
        raise DatabaseError(
            f"tasks by the number of states they are in: {states}, all must be in one; nothing was moved"
        )


class _Counted(Iterator[Sequence[Any]]):
    """Rows on their way, counted."""

    def __init__(self, found: Iterator[Sequence[Any]], table: str, progress: MoveProgress) -> None:
        self._found = found
        self._table = table
        self._progress = progress
        self.count = 0

    def __next__(self) -> Sequence[Any]:
        row = next(self._found)
        self.count += 1
        if self.count % PROGRESS_ROWS == 0:
            self._progress(self._table, self.count, False)
        return row
