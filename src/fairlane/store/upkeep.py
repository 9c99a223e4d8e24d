"""Upkeep that belongs to no single noun: make due work ready, delete what is old, check that the database takes writes.

Run by ``sweeper.py`` at any number of servers at once. Every operation is safe to repeat, and a kill leaves the rest to
the next round. No promise may depend on one server's memory.
"""

import secrets

from fairlane.errors import StoreUnreachable
from fairlane.store.calls import promote_calls
from fairlane.store.database import Database
from fairlane.store.deliveries import delete_deliveries_of, purge_tests
from fairlane.store.locked import lock_some_organizations, write_organizations
from fairlane.store.logouts import purge_logouts
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.statements import CHUNK, Operation, clock, rows, rows_if

PROBE_BYTES = 2**16


class UpkeepStore(Noun):
    """What runs by itself."""

    def __init__(self, database: Database, memory: Memory, *, retention_ms: int) -> None:
        """Tasks that ended longer ago than ``retention_ms`` are purged."""
        super().__init__(database, memory)
        self._retention_ms = retention_ms

    async def ping(self) -> None:
        """Check that the store thread answers and the database takes a transaction.

        After a refusal for a full disk a trial write has to succeed, too. Raises StoreUnreachable.
        """
        await self._write(_fill_probe if self._database.refusing else _nothing)
        if self._database.refusing:
            raise StoreUnreachable("the disk was full a moment ago")

    async def promote(self) -> int:
        """Make waiting tasks ready at their old place when their time has come, and calls at the end of their pause.

        Changes at most CHUNK of each; returns how many.
        """
        moved = await self._write(_promote, self._memory)
        return moved + await self._write(promote_calls, self._memory)

    async def next_due_at(self) -> int | None:
        """Return the earliest moment at which a waiting task or call becomes ready, or None if none waits."""
        return await self._database.read(next_due())

    async def purge(self) -> int:
        """Delete tasks that ended longer ago than the retention, with result, key and deliveries.

        Also deletes test events, webhook secrets and logouts that have expired. At most CHUNK of each kind; returns the
        largest count. A task with a due delivery stays until the delivery is over.
        """
        return await self._write(_purge, self._retention_ms)


def _nothing() -> Operation[None]:
    return None
    yield


def _fill_probe() -> Operation[None]:
    """Write about as much as a larger task needs, each time again, so that a disk without room for it is noticed."""
    yield from rows("empty_probe")
    yield from rows("fill_probe", filler=secrets.token_hex(PROBE_BYTES // 2))


def _promote(memory: Memory) -> Operation[int]:
    now = yield from clock()
    found = yield from rows("find_due", now=now, most=CHUNK)
    locked = yield from lock_some_organizations(row[0] for row in found)
    found = [row for row in found if row[0] in locked]
    due = yield from rows_if("take_waiting", found, entries=[(row[0], row[1]) for row in found])
    entries = []
    for organization_id, task_id, task_type, rank, seq, attempt, first_started_at in due:
        organization = locked[organization_id]
        organization.stop_waiting(task_type, rank)
        organization.enqueue(task_type, rank, seq)
        entries.append((organization_id, task_type, rank, seq, task_id, attempt, first_started_at))
    yield from rows_if("insert_queue_entries", entries, entries=entries)
    yield from write_organizations(locked, memory, now)
    return len(found)


def _purge(retention_ms: int) -> Operation[int]:
    now = yield from clock()
    expired = yield from rows("find_expired", before=now - retention_ms, most=CHUNK)
    ended = [(row[0], row[1]) for row in expired]
    keys = [(row[0], row[2]) for row in expired if row[2] is not None]
    yield from rows_if("delete_idempotency", keys, keys=keys)
    yield from delete_deliveries_of(ended)
    yield from rows_if("delete_outcomes", ended, tasks=ended)
    yield from rows_if("delete_tasks", ended, tasks=ended)
    tests = yield from purge_tests(now - retention_ms, CHUNK)
    yield from rows("delete_expired_webhook_secrets", now=now)
    logouts = yield from purge_logouts(now, CHUNK)
    return max(len(ended), tests, logouts)


def next_due() -> Operation[int | None]:
    """Read the moment of :meth:`UpkeepStore.next_due_at`."""
    [(due_at,)] = yield from rows("find_next_due")
    return None if due_at is None else int(due_at)
