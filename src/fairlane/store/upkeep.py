"""Upkeep that belongs to no single noun: make due work ready, delete what is old, check that the database takes writes.

Run by ``sweeper.py`` at any number of servers at once. Every operation is safe to repeat, and a kill leaves the rest to
the next round. No promise may depend on one server's memory.
"""

import secrets
import time
from collections.abc import Sequence

from fairlane.errors import StoreUnreachable
from fairlane.model.status import UpkeepFacts
from fairlane.store.bulks import purge_bulks
from fairlane.store.calls import promote_calls
from fairlane.store.deliveries import delete_deliveries_of, purge_tests
from fairlane.store.logouts import purge_logouts
from fairlane.store.noun import Noun, Shared
from fairlane.store.statements import (
    AFTER_ALL_IDS,
    CHUNK,
    Moment,
    Operation,
    Row,
    clock,
    only,
    rows,
    rows_if,
    run,
    run_if,
)
from fairlane.store.trail import STEP, TrailRow
from fairlane.store.transaction import Transaction

PROBE_BYTES = 2**16
TRIAL_SECONDS = 0.1
"""How long after a trial write on a full disk the next one comes, however often it is asked for: each takes room."""


class DueTaskRow(Row, frozen=True):
    """A task whose time has come."""

    organization_id: int
    seq: int


class PromotedRow(Row, frozen=True):
    """A task that stopped waiting."""

    organization_id: int
    task_id: str
    task_type: str
    rank: int
    seq: int
    attempt: int
    first_started_at: int | None
    starts: int
    slot_wait_ms: int
    worker_wait_ms: int


class ExpiredTaskRow(Row, frozen=True):
    """A task past its retention."""

    organization_id: int
    task_id: str
    idempotency_key: str | None


BACKUP_MADE = "backup.made"


class UpkeepStore(Noun):
    """What runs by itself."""

    def __init__(self, shared: Shared, *, retention_ms: int) -> None:
        """Tasks of organizations without a retention that ended longer ago than ``retention_ms`` are purged."""
        super().__init__(shared)
        self._retention_ms = retention_ms
        self._trial_at = 0.0
        """Before this moment there is no further trial write."""

    async def facts(self, *, recounted: int, differences: int) -> UpkeepFacts:
        """Return what upkeep has done. ``recounted`` and ``differences`` are this server's own counts."""
        return await self._database.snapshot(find_upkeep(recounted, differences))

    async def ping(self) -> None:
        """Check that the store thread answers and the database takes a transaction.

        After a refusal for a full disk a trial write has to succeed, too. Raises StoreUnreachable.
        """
        if not self._database.refusing:
            await self._write(_any_read)
        elif (now := time.monotonic()) >= self._trial_at:
            self._trial_at = now + TRIAL_SECONDS
            await self._write(_fill_probe)
        if self._database.refusing:
            raise StoreUnreachable("the disk was full a moment ago")

    async def promote(self) -> int:
        """Make waiting tasks ready at their old place when their time has come, and calls at the end of their pause.

        Changes at most CHUNK of each; returns how many.
        """
        moved = await self._write(_promote)
        return moved + await self._write(promote_calls)

    async def next_due_at(self) -> int | None:
        """Return the earliest moment at which a waiting task or call becomes ready, or None if none waits."""
        return await self._database.read(next_due())

    async def purge(self) -> int:
        """Delete tasks that ended longer ago than the retention, with result, key and deliveries.

        The retention is that of the task's organization when the task ended, or else the setting now. Also deletes
        bulks that ended as long ago as the setting says, and test events, webhook secrets and logouts that have
        expired. At most CHUNK of each kind; returns the largest count. A task with a due delivery stays until the
        delivery is over.
        """
        return await self._write(_purge, self._retention_ms)


def find_upkeep(recounted: int, differences: int) -> Operation[UpkeepFacts]:
    """Read the facts. Looks for a backup among a bounded number of changes. Needs one snapshot."""
    now = yield from clock()
    made = yield from rows(
        "find_audit", into=TrailRow, before=AFTER_ALL_IDS, looked=STEP, most=1, subject=None, action=BACKUP_MADE,
        actor=None,
    )  # fmt: skip
    return UpkeepFacts(
        at=now,
        bytes=(yield from only("find_size", into=int)),
        recounted=recounted,
        differences=differences,
        recounted_since=(yield from only("find_least_recount", into=Moment)).at or None,
        backup_at=made[0].at if made else None,
        backup_to=made[0].subject if made else None,
    )


def _any_read(transaction: Transaction) -> Operation[None]:
    """Read one row, so that the database has to answer: the commit of a transaction without a change need not be."""
    yield from run("find_shared_virtual_time")


def _fill_probe(transaction: Transaction) -> Operation[None]:
    """Write about as much as a larger task needs, each time again, so that a disk without room for it is noticed."""
    yield from run("empty_probe")
    yield from run("fill_probe", filler=secrets.token_hex(PROBE_BYTES // 2))


def _promote(transaction: Transaction) -> Operation[int]:
    now = yield from transaction.read_clock()
    found = yield from rows("find_due", into=DueTaskRow, now=now, most=CHUNK)
    locked = yield from transaction.lock_some(row.organization_id for row in found)
    free = [(row.organization_id, row.seq) for row in found if row.organization_id in locked]
    entries = []
    for row in (yield from rows_if("take_waiting", free, into=PromotedRow, entries=free)):
        organization = locked[row.organization_id]
        organization.stop_waiting(row.task_type, row.rank)
        organization.enqueue(row.task_type, row.rank, row.seq)
        slot_ms, worker_ms = organization.waits(now)
        entries.append((row.organization_id, row.task_type, row.rank, row.seq, row.task_id, row.attempt,
                        row.first_started_at, row.starts, slot_ms - row.slot_wait_ms,
                        worker_ms - row.worker_wait_ms))  # fmt: skip
    yield from run_if("insert_queue_entries", entries, entries=entries)
    yield from transaction.save()
    return len(free)


def _purge(transaction: Transaction, retention_ms: int) -> Operation[int]:
    now = yield from transaction.read_clock()
    expired = yield from rows("find_expired", into=ExpiredTaskRow, before=now - retention_ms, most=CHUNK)
    outlived = yield from rows("find_outlived", into=ExpiredTaskRow, now=now, most=CHUNK)
    yield from _delete_tasks([*expired, *outlived])
    tests = yield from purge_tests(now - retention_ms, CHUNK)
    yield from run("delete_expired_webhook_secrets", now=now)
    logouts = yield from purge_logouts(now, CHUNK)
    bulks = yield from purge_bulks(now - retention_ms, CHUNK)
    return max(len(expired), len(outlived), tests, logouts, bulks)


def _delete_tasks(expired: Sequence[ExpiredTaskRow]) -> Operation[None]:
    ended = [(row.organization_id, row.task_id) for row in expired]
    keys = [(row.organization_id, row.idempotency_key) for row in expired if row.idempotency_key is not None]
    yield from run_if("delete_idempotency", keys, keys=keys)
    yield from delete_deliveries_of(ended)
    yield from run_if("delete_attempts", ended, tasks=ended)
    yield from run_if("delete_outcomes", ended, tasks=ended)
    yield from run_if("delete_tasks", ended, tasks=ended)


def next_due() -> Operation[int | None]:
    """Read the moment of :meth:`UpkeepStore.next_due_at`."""
    return (yield from only("find_next_due", into=Moment)).at
