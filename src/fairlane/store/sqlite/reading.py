"""Reads, outside the writer's thread: of one statement at once, short ones in a few threads, long ones in turns."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

import apsw

from fairlane.errors import StoreFault, StoreUnreachable
from fairlane.store.read_limits import ReadLimits
from fairlane.store.sqlite.asking import FileStatements
from fairlane.store.statements import Found, Operation, Result, RowLookup, Rows

READERS = 4
"""Threads for short reads of several statements, each with a connection of its own."""
LONG_READS = 4
"""Most long reads at once. They take turns on one thread, a step each, so that they use one processor at most."""
READ_WAIT_SECONDS = 1.5
"""How long a short read waits for its turn before it is answered 503."""
LONG_READ_WAIT_SECONDS = 10.0
"""How long a long read waits for its turn before it is answered 503."""


class ReadThreads:
    """The connections that only read."""

    def __init__(self, statements: FileStatements) -> None:
        self._statements = statements
        self._short = ThreadPoolExecutor(READERS, thread_name_prefix="fairlane-read")
        self._short_places = ReadLimits(READERS, each=READERS // 2, wait_seconds=READ_WAIT_SECONDS)
        self._short_readers: SimpleQueue[apsw.Connection] = SimpleQueue()
        """Connections for short reads; a thread takes one and puts it back."""
        self._long = ThreadPoolExecutor(1, thread_name_prefix="fairlane-long-read")
        self._long_places = ReadLimits(LONG_READS, each=1, wait_seconds=LONG_READ_WAIT_SECONDS)
        self._long_readers: SimpleQueue[apsw.Connection] = SimpleQueue()
        self.opened: list[apsw.Connection] = []
        self._log_turns = 0
        """How many times long reads were told to release the log. A read that began before the last time ends."""
        self._closing = False

    def open(self, connect: Callable[[], apsw.Connection]) -> None:
        """Open all connections. Call it while the event loop runs."""
        self._loop = asyncio.get_running_loop()
        self.opened = [connect() for _ in range(1 + READERS + LONG_READS)]
        self._reader, *others = self.opened
        for number, reader in enumerate(others):
            (self._short_readers if number < READERS else self._long_readers).put(reader)

    async def close(self) -> None:
        """Finish the short reads, end the long ones after their present step, close the connections."""
        self._closing = True
        await asyncio.to_thread(self._short.shutdown)
        await asyncio.to_thread(self._long.shutdown)
        for reader in self.opened:
            reader.close()

    def release_log(self) -> None:
        """End the long reads that are under way, each after its present step: the log has grown too long."""
        self._log_turns += 1

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement at once, on the committed state, without a change of thread."""
        try:
            return self._statements.run(self._reader, operation)
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error

    def find(self, lookup: RowLookup[Found], id: int) -> Found | None:
        """Return the committed row of this id."""
        try:
            return self._statements.found(self._reader, lookup, id)
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot, outside the event loop."""
        await self._short_places.take(share)
        reading = self._submit(self._short, self._read_snapshot, operation)
        reading.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._short_places.give, share))
        return await asyncio.wrap_future(reading)

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a long operation on one snapshot. Other long operations take turns between its statements."""
        await self._long_places.take(share)
        connection = self._long_readers.get_nowait()
        log_turns, step = self._log_turns, partial(self._in_long_thread, self._step, connection, operation)
        try:
            answer, found = await step(None)
            while found is not None:
                if self._log_turns != log_turns:
                    raise StoreUnreachable("a long read was broken off, because the log had grown too long")
                answer, found = await step(found)
            result: Result = answer
            return result
        finally:
            if not self._closing:
                # If the caller is gone, this runs after the step that still runs.
                letting_go = self._submit(self._long, self._let_go, connection)
                letting_go.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._long_places.give, share))

    async def _in_long_thread(self, action: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._submit(self._long, action, *arguments))

    def _submit(self, threads: ThreadPoolExecutor, action: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        if self._closing:
            raise StoreFault("the store is closed")
        return threads.submit(action, *arguments)

    def _read_snapshot(self, operation: Operation[Result]) -> Result:
        connection = self._short_readers.get_nowait()
        try:
            connection.execute("BEGIN")
            try:
                return self._statements.run(connection, operation)
            finally:
                connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error
        finally:
            self._short_readers.put(connection)

    def _step(
        self, connection: apsw.Connection, operation: Operation[Any], found: Rows | None
    ) -> tuple[Any, Rows | None]:
        """Run an operation up to its next statement and return the rows, or no rows and the answer when it has
        ended."""
        try:
            if found is None:
                connection.execute("BEGIN")
            try:
                query = next(operation) if found is None else operation.send(found)
            except StopIteration as stop:
                return stop.value, None
            return None, self._statements.rows(connection, query)
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error

    def _let_go(self, connection: apsw.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        self._long_readers.put(connection)
