"""The PostgreSQL adapter: any number of equal servers, one writer each, group commit.

Puts the room together: the other modules do the work. The writer works on the store thread, so that a stall of the HTTP
loop never holds an organization's lock; reads run on the loop of the caller.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from fairlane.model.diagnosis import DatabaseFacts
from fairlane.store.batching import Answer, Batches, Member, PendingWrite, PluralOperation
from fairlane.store.database import Target
from fairlane.store.effects import Effects
from fairlane.store.postgres.asking import Asking, Clock
from fairlane.store.postgres.connector import Connector
from fairlane.store.postgres.filling import Filling
from fairlane.store.postgres.gathering import Gathering
from fairlane.store.postgres.opening import Opening
from fairlane.store.postgres.outage import Health, Watch
from fairlane.store.postgres.reading import Readers
from fairlane.store.postgres.writing import Writer
from fairlane.store.schema import Schema
from fairlane.store.statements import Found, Operation, Result, RowLookup

_log = logging.getLogger("fairlane.store")

LAST_SECONDS = 5.0
"""How long accepted requests may still take when the store is closed."""


class PostgresDatabase:
    """One PostgreSQL database, as one of its servers sees it."""

    exclusive = False
    file = None

    def __init__(
        self,
        address: str,
        *,
        now: Callable[[], int] | None,
        tell: Callable[[Effects], None],
        prepare: bool = True,
    ) -> None:
        """Take ``now`` as the clock in tests; with None use the database's own clock.

        ``prepare``: prepare statements once for each connection, which a pooler in transaction mode may not allow. For
        ``tell`` see :class:`Batches`.
        """
        self.connector = Connector(address, prepare=prepare)
        self.asking = Asking(Clock(now))
        self.health = Health()
        self.opening = Opening(self.connector, self.asking)
        self.reading = Readers(self.connector, self.asking, self.health)
        self.gathering = Gathering(self.reading.read)
        self.writer = Writer(self.connector, self.asking, self.health)
        self._watch = Watch(self.health, self.connector, self.asking, self.writer)
        self._batches = Batches(
            transact=self.writer.transact,
            split=_split,
            translate=self.writer.translated,
            tell=tell,
            broken=self._break,
            end=self.writer.end,
        )
        self.on_broken: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop of the callers."""

    def now(self) -> int:
        """Return the database's clock, estimated without a query."""
        return self.asking.clock.now()

    async def open(self, *, migrates: bool = True) -> None:
        """Check that the database is safe to use, upgrade its schema, connect. Call it while the event loop runs.

        With ``migrates`` False a schema that is not up to date is refused.

        Raises:
            DatabaseError: it cannot be reached, could lose acknowledged writes, or has a newer schema.
        """
        await self.opening.prepare(migrates=migrates)
        self._loop = asyncio.get_running_loop()
        self._batches.start()

    async def close(self) -> None:
        """Finish the accepted requests, then disconnect."""
        stopping = asyncio.ensure_future(self._batches.stop())
        _, late = await asyncio.wait([stopping], timeout=LAST_SECONDS)
        if late:
            self.writer.give_up()
        await stopping
        await self._watch.stop()
        await self.reading.close()

    @property
    def refusing(self) -> bool:
        """Return whether writes are refused because the database's disk is full."""
        return self.health.full.going_on

    async def inspect(self) -> Schema:
        """Return the version of its schema. Changes nothing. Raises DatabaseError."""
        return await self.opening.inspect()

    async def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return the engine and, if its tables are those of this release, the operation's result on one snapshot.

        Changes nothing. Raises DatabaseError.
        """
        return await self.opening.look(operation)

    @property
    def target(self) -> Target:
        """Return what a move fills."""
        return Filling(self.opening)

    def write(
        self, operation: PluralOperation[Member, Answer], member: Member, *, weight: int = 1, alone: bool = False
    ) -> Awaitable[Answer]:
        """Run a plural operation with this member, in one transaction with waiting members of the same operation.

        Answers once the commit is known. Raises the member's Refusal, StoreFault, or StoreUnreachable.
        """
        answer = self._batches.put(operation, member, weight=weight, alone=alone)
        self._watch.add(answer)
        return answer

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement on the committed state."""
        return await self.reading.read(operation)

    async def find(self, lookup: RowLookup[Found], id: int) -> Found | None:
        """Return the committed row of this id, or None if there is none."""
        return await self.gathering.find(lookup, id)

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot."""
        return await self.reading.snapshot(operation, share=share)

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a long operation on one snapshot, on a connection that short operations do not use."""
        return await self.reading.walk(operation, share=share)

    def _break(self, error: BaseException) -> None:
        """Let the process end after a bug has ended the store thread."""
        _log.critical("store.broken error=%s message=%r", type(error).__name__, str(error))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.on_broken)


def _split(requests: list[PendingWrite]) -> list[list[PendingWrite]]:
    """Group requests by operation, one transaction each: together they would lock in no common order."""
    parts: dict[Any, list[PendingWrite]] = {}
    for request in requests:
        parts.setdefault(id(request) if request.alone else request.operation, []).append(request)
    return list(parts.values())
