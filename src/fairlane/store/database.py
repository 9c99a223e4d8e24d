"""The thin adapter beneath the store, as the store sees it: what SQLite and PostgreSQL have in common.

Called by the nouns of the store (``noun.py``); ``sqlite.py`` and ``postgres.py`` are the adapters. Never knows an
organization or a task.
"""

from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol

from fairlane.model.diagnosis import DatabaseFacts
from fairlane.store.batching import Answer, Member, PluralOperation
from fairlane.store.schema import Schema
from fairlane.store.statements import Operation, Result


class Database(Protocol):
    """What the store needs from an adapter."""

    exclusive: bool
    lock_fd: int
    on_broken: Callable[[], None]
    """Called on the event loop when this process has to end: see StoreBroken."""

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

    def describe(self, text: str) -> None:
        """Write how to reach the owner, if there is one."""

    async def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return the engine and, if its tables match, the operation's result; it need not be open. Raises
        DatabaseError."""

    def write(
        self, operation: PluralOperation[Member, Answer], member: Member, *, weight: int = 1, alone: bool = False
    ) -> Awaitable[Answer]:
        """Run a plural operation with this member and others of the same operation. ``alone``: it takes no others."""

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement on the committed state."""

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot.

        ``share`` is the organization that asks, so that none takes all places, or None for the server itself or an
        operator.
        """

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run an operation on one snapshot that may read very many rows, separately from short ones.

        Each of its statements is short; other operations take turns in between.
        """
