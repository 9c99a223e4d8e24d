"""Reads: on the loop of the caller, without locks, on connections that the writer does not use.

A read of one statement shares a connection with others: each is sent at once, and answered in order. A read of several
statements has a connection for its snapshot. A read that only waited for others is answered 503, and does not count as
an outage.
"""

import asyncio
from collections.abc import Hashable
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg

from fairlane.errors import StoreFault, StoreUnreachable
from fairlane.store.batching import TRY_SECONDS
from fairlane.store.postgres.asking import BEGIN_SNAPSHOT, STATEMENT_SECONDS, Asking, run_within
from fairlane.store.postgres.connection import LOST
from fairlane.store.postgres.connector import CONNECT_SECONDS, Connector
from fairlane.store.postgres.lines import Line
from fairlane.store.postgres.numbering import plain
from fairlane.store.postgres.outage import ANSWER_SECONDS, SILENT_SECONDS, Health
from fairlane.store.read_limits import ReadLimits
from fairlane.store.statements import Operation, Query, Result, Rows, wall_clock

LINES = 2
"""Connections that reads of one statement share."""
READS_MOST = 256
"""Most reads of one statement at once."""
SNAPSHOTS_MOST = 4
"""Most connections for short reads of several statements."""
WALKS_MOST = 2
"""Most connections for long reads."""
WALK_WAIT_SECONDS = 10.0
"""How long a long read waits for one of these connections before it is answered 503."""

ROLLBACK = plain("rollback", "ROLLBACK")


class Readers:
    """The connections for reads, on one event loop."""

    def __init__(self, connector: Connector, asking: Asking, health: Health) -> None:
        self._connector = connector
        self._asking = asking
        self._health = health
        self.limits = ReadLimits(READS_MOST, each=READS_MOST, wait_seconds=TRY_SECONDS)
        self._snapshots = ReadLimits(SNAPSHOTS_MOST, each=SNAPSHOTS_MOST // 2, wait_seconds=TRY_SECONDS)
        self._walks = ReadLimits(WALKS_MOST, each=1, wait_seconds=WALK_WAIT_SECONDS)
        self.shared: list[Line] = []
        self._left: set[Line] = set()
        """Connections that no new read uses."""
        self._opening: asyncio.Task[Line] | None = None
        """A shared connection on its way."""
        self.own: set[Line] = set()
        """Connections for snapshots."""
        self._idle: list[Line] = []
        """Those of them that no read uses."""
        self._closed = False

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement on the committed state."""
        await self.limits.take(None)
        line = None
        try:
            line = await self._shared_line()
            answer = await run_within(ANSWER_SECONDS, operation, partial(self.rows, line))
        except LOST as error:
            if isinstance(error, TimeoutError) and line is not None:
                self._leave(line)
            raise self._unreachable(error) from error
        except psycopg.Error as error:
            raise _failed(error) from error
        finally:
            self.limits.give(None)
        self._health.heard()
        return answer

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot."""
        return await self._placed(self._snapshots, operation, share)

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a long operation on one snapshot, on a connection that short operations do not use."""
        return await self._placed(self._walks, operation, share)

    async def close(self) -> None:
        """Disconnect. Reads that are under way fail."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        for line in [*self.shared, *self._left, *self.own]:
            line.close()

    async def rows(self, line: Line, query: Query[Any]) -> Rows:
        """Run one query on this connection."""
        asked_at, sent = wall_clock(), self._asking.sent(query)
        answers = await line.ask(sent) if sent else []
        return self._asking.found(query, answers, asked_at=asked_at)

    # Connections that reads share ------------------------------------------------------------------------------------

    async def _shared_line(self) -> Line:
        """Return the connection with the fewest questions. Another one is opened while all are busy."""
        self.shared = [line for line in self.shared if line.alive()]
        if self.shared:
            quietest = min(self.shared, key=lambda line: line.pending)
            if quietest.pending and len(self.shared) < LINES and self._opening is None:
                with suppress(ConnectionRefusedError):
                    self._open_shared()
            return quietest
        if self._opening is None:
            self._open_shared()
        assert self._opening is not None
        async with asyncio.timeout(TRY_SECONDS):
            return await asyncio.shield(self._opening)

    def _open_shared(self) -> None:
        self._health.take_turn()
        opening = self._opening = asyncio.ensure_future(self._add_shared())
        opening.add_done_callback(self._opened)

    async def _add_shared(self) -> Line:
        line = await self._line()
        self.shared.append(line)
        return line

    def _opened(self, opening: "asyncio.Task[Line]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # those that wait for it raise it

    def _leave(self, line: Line) -> None:
        """Use a connection without an answer no longer; give the answers to others that it may still have."""
        if line in self.shared:
            self.shared.remove(line)
            self._left.add(line)
            asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._close_left, line)

    def _close_left(self, line: Line) -> None:
        self._left.discard(line)
        line.close()

    # Connections for snapshots ---------------------------------------------------------------------------------------

    async def _placed(self, limits: ReadLimits, operation: Operation[Result], share: Hashable) -> Result:
        await limits.take(share)
        try:
            return await self._on_snapshot(operation)
        finally:
            limits.give(share)

    async def _on_snapshot(self, operation: Operation[Result]) -> Result:
        line = None
        try:
            line = await self._own_line()
            answer = await self._run_snapshot(line, operation)
        except LOST as error:
            self._dismiss(line)
            raise self._unreachable(error) from error
        except asyncio.CancelledError:
            self._dismiss(line)  # its statement may go on for long
            raise
        except BaseException as error:
            if line is not None:
                self._idle.append(line)
            if isinstance(error, psycopg.Error):
                raise _failed(error) from error
            raise
        self._idle.append(line)
        self._health.heard()
        return answer

    async def _run_snapshot(self, line: Line, operation: Operation[Result]) -> Result:
        begun = line.ask([(BEGIN_SNAPSHOT, []), *self._asking.sent(Query("steady_plans", {}))])
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                await begun
            return await run_within(STATEMENT_SECONDS, operation, partial(self.rows, line))
        finally:
            line.tell([(ROLLBACK, [])])  # the next statement on this connection comes after it

    async def _own_line(self) -> Line:
        while self._idle:
            line = self._idle.pop()
            if line.alive():
                return line
            self.own.discard(line)
        self._health.take_turn()
        async with asyncio.timeout(TRY_SECONDS):
            line = await self._line()
        self.own.add(line)
        return line

    def _dismiss(self, line: Line | None) -> None:
        if line is not None:
            self.own.discard(line)
            line.close()

    async def _line(self) -> Line:
        if self._closed:
            raise StoreFault("the store is closed")
        try:
            return Line(await self._connector.connect_aside(seconds=min(TRY_SECONDS, CONNECT_SECONDS)))
        except LOST:
            self._health.refused()
            raise

    def _unreachable(self, error: BaseException) -> StoreUnreachable | StoreFault:
        if self._closed:
            return StoreFault("the store is closed")
        self._health.unreachable.fail(error)
        return StoreUnreachable(f"the database does not answer: {error}")


def _failed(error: psycopg.Error) -> StoreFault:
    return StoreFault(f"read failed: {type(error).__name__}: {error}")
