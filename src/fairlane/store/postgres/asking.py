"""From the queries of operations to statements of PostgreSQL, and from its answers to rows; and the database's clock.

Called by ``reading.py``, ``writing.py`` and ``opening.py``. Sends nothing itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec import Struct

from fairlane.store.postgres.connection import Connection
from fairlane.store.postgres.numbering import Arguments, NumberedStatement, numbered, plain
from fairlane.store.records import packed_records, records
from fairlane.store.statements import CLOCK, TOGETHER, Operation, Query, Result, Rows, load_statements, wall_clock

READ_CLOCK = "read_clock"
BEGIN_SNAPSHOT = plain("begin_snapshot", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
STATEMENT_SECONDS = 10.0
"""How long one statement may take."""

Sent = tuple[NumberedStatement, Arguments]


class TransactionTry(Struct):
    """The state of one try of a transaction."""

    number: int = 0
    """Its number among the transactions of this server."""
    changed: bool = False
    """A change was sent. Without one it does not matter whether it is committed."""
    asked_at: float = 0.0
    """When the statement was sent that is now awaited."""
    working_at: float = 0.0
    """When the database was last seen to run it."""
    connection: Connection | None = None
    """The connection of that statement, or None if the try is over."""
    hurried: bool = False
    """It uses the short lock timeout."""
    locking: Sequence[int] = ()
    """The organizations that it locks."""


class Clock:
    """The database's clock, or the one that tests move."""

    def __init__(self, moved: Callable[[], int] | None) -> None:
        self.moved = moved
        self._ahead_ms = 0
        """How far the database's clock was ahead of this process's clock when it was last read."""

    def now(self) -> int:
        """Return it, estimated without a query."""
        return wall_clock() + self._ahead_ms if self.moved is None else self.moved()

    def learn(self, at: int, asked_at: int) -> None:
        """Take what the database said, which was asked at this moment of this process's clock."""
        self._ahead_ms = at - (asked_at + wall_clock()) // 2


class Asking:
    """The statements of this release in PostgreSQL's form."""

    def __init__(self, clock: Clock) -> None:
        self.statements = {name: numbered(one) for name, one in load_statements("postgres").items()}
        self.clock = clock

    def sent(self, query: Query[Any], *, hurried: bool = False) -> list[Sent]:
        """Return what to send for a query, in order. A clock that tests move is not asked of the database."""
        found: list[Sent] = []
        for one in parts(query):
            if one.name == CLOCK:
                found += [(self.statements[READ_CLOCK], [])] if self.clock.moved is None else []
                continue
            statement = self.statements[one.hurried if hurried and one.hurried is not None else one.name]
            found.append((statement, statement.arguments(one.parameters)))
        return found

    def found(self, query: Query[Any], answers: Sequence[Rows], *, asked_at: int) -> Rows:
        """Return what an operation receives for its query, made of bare rows."""
        left = iter(answers)
        found: list[Any] = []
        for one in parts(query):
            if one.name != CLOCK:
                packed = self.statements[one.name].packed
                found.append((_unpacked if packed else records)(next(left), one.into))
            elif self.clock.moved is not None:
                found.append([self.clock.moved()])
            else:
                [(at,)] = next(left)
                self.clock.learn(at, asked_at)
                found.append([at])
        return found if query.name == TOGETHER else found[0]


async def run_within(
    seconds: float, operation: Operation[Result], rows: Callable[[Query[Any]], Awaitable[Rows]]
) -> Result:
    """Run an operation to its end; ``rows`` runs one of its queries, each within this time."""
    found: Any = None
    try:
        while True:
            query = operation.send(found)
            async with asyncio.timeout(seconds):
                found = await rows(query)
    except StopIteration as stop:
        result: Result = stop.value
        return result


def parts(query: Query[Any]) -> Sequence[Query[Any]]:
    """Return the queries of a query for several, or the query itself."""
    asked: Sequence[Query[Any]] = query.parameters["queries"] if query.name == TOGETHER else (query,)
    return asked


def _unpacked(found: Rows, into: type[Any] | None) -> Rows:
    """Return the records of a packed answer: one row with one JSON array, or with nothing."""
    [(text,)] = found
    return packed_records(text or b"[]", into)
