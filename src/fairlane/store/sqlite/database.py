"""The SQLite adapter: one file, one owner, one writer connection on one thread, group commit; several readers.

Puts the room together: the other modules do the work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from fairlane.errors import DatabaseError
from fairlane.model.diagnosis import DatabaseFacts
from fairlane.store.batching import Answer, Batches, Member, PluralOperation
from fairlane.store.database import Table
from fairlane.store.effects import Effects
from fairlane.store.schema import Schema
from fairlane.store.sqlite.asking import FileStatements
from fairlane.store.sqlite.backups import CopyProgress, back_up
from fairlane.store.sqlite.disk import FileLock, lock_path
from fairlane.store.sqlite.opening import FileConnections
from fairlane.store.sqlite.reading import ReadThreads
from fairlane.store.sqlite.writing import FileWriter
from fairlane.store.statements import Found, Operation, Result, RowLookup, load_patterns


class SqliteDatabase:
    """One open SQLite file."""

    exclusive = True
    target = None

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], int],
        tell: Callable[[Effects], None] = lambda _: None,
        lock_wait_seconds: float = 2.0,
    ) -> None:
        """For ``tell`` see :class:`Batches`."""
        self.path = path
        self.now = now
        self.statements = FileStatements(now)
        self.opening = FileConnections(path, self.statements)
        self.reading = ReadThreads(self.statements)
        self.writer = FileWriter(
            self.statements,
            broken=self._break,
            release_log=self.reading.release_log,
            log_is_needed=lambda: self._backups > 0,
        )
        self._batches = Batches(
            transact=self.writer.transact,
            # There is one writer, so operations of all kinds may share a transaction.
            split=lambda requests: [requests],
            translate=self.writer.translated,
            tell=tell,
            broken=self.writer.break_off,
        )
        self._lock = FileLock(path, lock_wait_seconds)
        self._backups = 0
        """How many backups are running. Each needs the log from its own start on."""
        self.on_broken: Callable[[], None] = lambda: None

    async def open(self, *, migrates: bool = True) -> None:
        """Own the file, create or migrate it, start the store thread. Call it while the event loop runs.

        With ``migrates`` False an older schema or a path without tables is refused, and nothing is created.

        Raises:
            DatabaseOwned: another process owns it.
            DatabaseError: it cannot be opened safely.
        """
        self.opening.refuse_old_library()
        self._loop = asyncio.get_running_loop()
        if not migrates and not lock_path(self.path).exists():
            self.opening.refuse_older()  # before the lock, which would leave its file beside a mistyped path
        self._lock.take()
        try:
            if not migrates:
                self.opening.refuse_older()
            self.writer.open(self.opening.writer())
            self.reading.open(self.opening.reader)
        except (OSError, apsw.Error) as error:
            self._lock.release()
            raise DatabaseError(f"cannot open {self.path}: {error}") from error
        except DatabaseError:
            self._lock.release()
            raise
        self._batches.start()

    async def close(self) -> None:
        """Finish the accepted requests, copy the log into the file, release the file."""
        await self._batches.stop()
        await self.reading.close()
        self.writer.close()
        self._lock.release()

    @property
    def file(self) -> "SqliteDatabase":
        """Return itself: the database is a file."""
        return self

    @property
    def lock_fd(self) -> int:
        """Return the descriptor of the lock."""
        return self._lock.fd

    @property
    def refusing(self) -> bool:
        """Return whether writes are refused because the disk is full."""
        return self.writer.full.going_on

    def describe(self, text: str) -> None:
        """Write into the lock file how to reach the owner."""
        self._lock.describe(text)

    async def inspect(self) -> Schema:
        """Return the version of its schema. Changes nothing, and works while another process owns the file.

        Raises:
            DatabaseError: it is not a readable database.
        """
        return await asyncio.to_thread(self.opening.inspect)

    async def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return the engine and, if its tables are those of this release, the operation's result on one snapshot.

        Changes nothing, and works while another process owns the file.

        Raises:
            DatabaseError: it is not a readable database.
        """
        return await asyncio.to_thread(self.opening.look, operation)

    def write(
        self, operation: PluralOperation[Member, Answer], member: Member, *, weight: int = 1, alone: bool = False
    ) -> Awaitable[Answer]:
        """Run a plural operation with this member, in one transaction with all waiting requests.

        Answers once the commit is on disk. Raises the member's Refusal, or StoreFault.
        """
        return self._batches.put(operation, member, weight=weight, alone=alone)

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement at once, on the committed state, without a change of thread."""
        return await self.reading.read(operation)

    async def find(self, lookup: RowLookup[Found], id: int) -> Found | None:
        """Return the committed row of this id, or None if there is none."""
        return self.reading.find(lookup, id)

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot, outside the event loop."""
        return await self.reading.snapshot(operation, share=share)

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a long operation on one snapshot. Other long operations take turns between its statements."""
        return await self.reading.walk(operation, share=share)

    def table_rows(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield every row of a table, in the order of its columns, from a connection of its own."""
        names = ", ".join(f'"{column}"' for column in table.columns)
        connection = self.opening.reader()
        try:
            yield from connection.execute(load_patterns()["read_table"].format(columns=names, table=f'"{table.name}"'))
        except apsw.Error as error:
            raise DatabaseError(f"cannot read {table.name} of {self.path}: {error}") from error
        finally:
            connection.close()

    async def backup(self, target: Path, made: Callable[[int], Operation[None]], progress: CopyProgress) -> int:
        """Copy the committed state of one moment into a new file, without stopping other work; return the moment.

        The rows that ``made`` writes for that moment are in the copy alone. Raises DatabaseError.
        """
        self._backups += 1
        try:
            return await asyncio.to_thread(back_up, self.opening, self.statements, target, made, progress)
        finally:
            self._backups -= 1

    def _break(self) -> None:
        self._loop.call_soon_threadsafe(self.on_broken)
