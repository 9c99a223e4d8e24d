"""The thin adapter beneath the store, as the store sees it: what SQLite and PostgreSQL have in common.

Called by the nouns of the store (``noun.py``); ``sqlite/`` and ``postgres/`` are the adapters. Never knows an
organization or a task.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from fairlane.model.diagnosis import DatabaseFacts
from fairlane.store.batching import Answer, Member, PluralOperation
from fairlane.store.schema import Schema
from fairlane.store.statements import Found, Operation, Result, RowLookup


class Database(Protocol):
    """What the store needs from an adapter."""

    exclusive: bool
    """Whether one server owns the database."""
    on_broken: Callable[[], None]
    """Called on the event loop when this process has to end: see StoreBroken."""

    @property
    def file(self) -> "OwnedFile | None":
        """Return what a file offers, or None if the database is not a file."""

    @property
    def target(self) -> "Target | None":
        """Return what a move fills, or None if a move cannot fill the database."""

    @property
    def refusing(self) -> bool:
        """Return whether writes are refused because the disk is full. Ends with a write that succeeds."""

    def now(self) -> int:
        """Return the database's clock, estimated."""

    async def open(self, *, migrates: bool = True) -> None:
        """Open the database, create or migrate it. For ``migrates`` see :meth:`Store.open`.

        Raises DatabaseError, DatabaseOwned.
        """

    async def inspect(self) -> Schema:
        """Return the version of its schema; it need not be open, and nothing is changed. Raises DatabaseError."""

    async def close(self) -> None:
        """Finish the accepted requests and close the database."""

    async def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return the engine and, if its tables match, the operation's result; it need not be open. Raises
        DatabaseError."""

    def write(
        self, operation: PluralOperation[Member, Answer], member: Member, *, weight: int = 1, alone: bool = False
    ) -> Awaitable[Answer]:
        """Run a plural operation with this member and others of the same operation. ``alone``: it takes no others."""

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement on the committed state."""

    async def find(self, lookup: RowLookup[Found], id: int) -> Found | None:
        """Return the committed row of this id, or None if there is none.

        On PostgreSQL calls that come while others are answered share a statement. Each sees what was committed before
        it.
        """

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot.

        ``share`` is the organization that asks, so that none takes all places, or None for the server itself or an
        operator.
        """

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run an operation on one snapshot that may read very many rows, separately from short ones.

        Each of its statements is short; other operations take turns in between.
        """


class Table(Struct, frozen=True):
    """One table of the schema."""

    name: str
    columns: tuple[str, ...]


class Source(Protocol):
    """The database that is copied."""

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement."""

    def table_rows(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield every row of a table, in the order of its columns, with only some of them in memory at a time."""


class Loading(Protocol):
    """The target while it is filled, in one transaction."""

    async def run(self, operation: Operation[Result]) -> Result:
        """Run an operation in it."""

    async def count(self, table: Table) -> int:
        """Return how many rows a table has."""

    async def empty(self, table: Table) -> None:
        """Delete all rows of a table."""

    async def copy(self, table: Table, records: Iterable[Sequence[Any]]) -> None:
        """Append these rows to a table."""

    async def learn(self, table: Table) -> None:
        """Update the planner's statistics of a table."""


class Target(Protocol):
    """The database that is filled."""

    def loading(self) -> AbstractAsyncContextManager[Loading]:
        """Open the target: migrated, closed to starting servers, and committed at the end unless an exception is
        raised."""


class OwnedFile(Source, Protocol):
    """What a database offers that is a file which one server owns."""

    @property
    def lock_fd(self) -> int:
        """Return the descriptor of the lock; a worker process that inherits it keeps the lock until it has ended."""

    def describe(self, text: str) -> None:
        """Write into the lock file how to reach the owner."""

    async def backup(
        self, target: Path, made: Callable[[int], Operation[None]], progress: Callable[[int, int], None]
    ) -> int:
        """Copy the committed state of one moment into a new file, and return the moment. Raises DatabaseError.

        The rows that ``made`` writes for that moment are in the copy alone.
        """
