"""Attempts: the only module that writes those that did not complete their task, and the lists of attempts.

The row is written by the transaction that ends the lease, so each such attempt has exactly one, however often it is
reported. An attempt that completed its task is in the outcome, and one that runs is in the lease: they cost no row.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from fairlane.errors import NotFound
from fairlane.model.attempts import AttemptEnding, AttemptFacts, AttemptList
from fairlane.model.tasks import Failure, Waited
from fairlane.store.lease_rows import HeldLease
from fairlane.store.noun import Noun
from fairlane.store.overview import find_owner
from fairlane.store.statements import Operation, Query, Row, change, first, rows
from fairlane.store.tasks import waited_of
from fairlane.store.transaction import Transaction

KEPT = 100
"""Most attempts that are kept of one task: the newest ones."""
TEXT_MOST = 1_000
"""Longest message or cause that is kept of an attempt, in characters; the outcome has the whole text of the last."""


class AttemptedRow(Row, frozen=True):
    """A task with its running and its completing attempt; what belongs to either is None without it."""

    id: str
    running: int | None
    running_since: int | None
    lease_id: str | None
    worker: str | None
    completed: int | None
    completed_since: int | None
    finished_at: int | None
    completed_lease_id: str | None
    slot_wait_ms: int | None
    worker_wait_ms: int | None


class AttemptRow(Row, frozen=True):
    """An attempt that did not complete its task."""

    starts: int
    number: int
    started_at: int
    ended_at: int
    ending: str
    code: str | None
    message: str | None
    due_at: int | None
    cause: str | None
    worker: str | None
    lease: str
    slot_wait_ms: int
    """How long its task waited for a slot before this attempt and earlier ones; the next one, for a worker."""
    worker_wait_ms: int


class AttemptStore(Noun):
    """Attempts at tasks. Those of calls are not kept: a call is deleted when its caller has the answer."""

    async def find(self, organization_id: int, reference: str) -> AttemptList:
        """Return the attempts at the organization's task with this id, or else this idempotency key. Raises NotFound.

        The newest KEPT of those that did not complete it; and the one that runs now, or that completed it.
        """
        return await self._database.snapshot(find_attempts(organization_id, reference), share=organization_id)

    async def of_any(self, task_id: str) -> AttemptList:
        """Return the attempts at a task of any organization. Raises NotFound."""
        return await self._database.snapshot(_find_of_any(task_id))


def ended_attempt(
    lease: HeldLease, ending: AttemptEnding, *, failure: Failure | None, cause: str | None, due_at: int | None, now: int
) -> tuple[Any, ...]:
    """Return the row of an attempt that did not complete its task, for :func:`query_attempts`.

    A clock that was set back meanwhile makes it short, not negative.
    """
    return (
        lease.organization_id, lease.task_id, lease.starts, lease.attempt, lease.id,
        min(lease.started_at, now), str(ending),
        None if failure is None else failure.code, None if failure is None else failure.message[:TEXT_MOST],
        None if cause is None else cause[:TEXT_MOST], lease.session_id, due_at,
        lease.slot_wait_ms, lease.worker_wait_ms,
    )  # fmt: skip


def query_attempts(transaction: Transaction, attempts: Sequence[tuple[Any, ...]]) -> Query[None]:
    """Return the query that writes these attempts, for :func:`together`. Their leases end in the same transaction."""
    return change("insert_attempts", attempts, attempts=attempts, kept=KEPT, now=transaction.now)


def find_attempts(organization_id: int, reference: str) -> Operation[AttemptList]:
    """Read the attempts at one task, or refuse with NotFound. Needs one snapshot."""
    task = yield from first("find_attempted", into=AttemptedRow, organization_id=organization_id, reference=reference)
    if task is None:
        raise NotFound.task(reference)
    found = yield from rows("find_attempts", into=AttemptRow, organization_id=organization_id, task_id=task.id)
    omitted = found[0].starts - 1 if found else 0
    last = Waited(0, 0)
    attempts: list[AttemptFacts] = []
    for row in found:
        waited = Waited(row.slot_wait_ms, row.worker_wait_ms)
        since = _since(last, waited) if attempts or not omitted else None
        attempts.append(replace(row.to(AttemptFacts), waited=since))
        last = waited
    waited_in_all = waited_of(task.slot_wait_ms, task.worker_wait_ms)
    waited_last = None if waited_in_all is None else _since(last, waited_in_all)
    if task.running is not None and task.running_since is not None:
        attempts.append(
            AttemptFacts(
                number=task.running,
                started_at=task.running_since,
                ended_at=None,
                ending=None,
                waited=waited_last,
                worker=task.worker,
                lease=task.lease_id,
            )
        )
    elif task.completed is not None and task.completed_since is not None and task.finished_at is not None:
        attempts.append(
            AttemptFacts(
                number=task.completed,
                started_at=min(task.completed_since, task.finished_at),
                ended_at=task.finished_at,
                ending=AttemptEnding.COMPLETED,
                waited=waited_last,
                lease=task.completed_lease_id,
            )
        )
    return AttemptList(task=task.id, attempts=tuple(attempts), omitted=omitted)


def _since(before: Waited, after: Waited) -> Waited:
    return Waited(after.slot_ms - before.slot_ms, after.worker_ms - before.worker_ms)


def _find_of_any(task_id: str) -> Operation[AttemptList]:
    owner = yield from find_owner(task_id)
    return (yield from find_attempts(owner, task_id))
