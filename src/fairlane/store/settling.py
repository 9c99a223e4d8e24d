"""Settling: the only place where a slot is given back, by a report or without one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fairlane.model.attempts import AttemptEnding
from fairlane.model.leases import (
    Completed,
    Ending,
    Failed,
    Lost,
    Released,
    Report,
    ReportVerdict,
)
from fairlane.model.tasks import Failure, TaskStatus
from fairlane.rules.attempts import Final, Paused, aftermath, ending_of, reason_of
from fairlane.rules.failures import fingerprint_of
from fairlane.store.attempts import ended_attempt, query_attempts
from fairlane.store.calls import end_calls
from fairlane.store.failures import FailureSeen
from fairlane.store.lease_rows import (
    CALL,
    HeldLease,
    Place,
    correct,
    lease_place,
    query_leases,
)
from fairlane.store.outcomes import Outcome, write_outcomes
from fairlane.store.statements import Operation, Row, change, rows_if
from fairlane.store.transaction import Transaction

LOST = Lost()
OVERDUE = Failed(cause="past its deadline", how=AttemptEnding.TIMED_OUT)
RELEASED = Released()

_COMPLETED = str(TaskStatus.COMPLETED)


class EndedRow(Row, frozen=True):
    """Which lease wrote the outcome of a task, or None if none did."""

    task_id: str
    lease_id: str | None


def settle(
    transaction: Transaction,
    reports: Sequence[tuple[Report, str]],
    places: Mapping[str, Place],
    held: Mapping[str, HeldLease],
) -> Operation[list[ReportVerdict]]:
    """End the leases that these (report, session id) name, each exactly once; return verdicts in the same order.

    ``places`` are those of the leases, with their organizations locked; ``held`` are the leases that still exist. A
    lease that is gone, or held by another session, changes nothing. If its task ended by this very lease the answer is
    ACCEPTED again, so a report may be sent twice.
    """
    endings: dict[str, tuple[HeldLease, Ending]] = {}
    for report, session_id in reports:
        lease = held.get(report.lease_id)
        if lease is not None and lease.session_id == session_id:
            endings.setdefault(report.lease_id, (lease, report.ending))
    yield from end_leases(transaction, endings.values(), reported=True)
    unheld = {report.lease_id for report, _ in reports} - endings.keys()
    missing = [(organization_id, task_id) for organization_id, task_id, lease in places.values() if lease in unheld]
    ended = {row.lease_id for row in (yield from rows_if("find_ended", missing, into=EndedRow, tasks=missing))}
    return [
        ReportVerdict.ACCEPTED if report.lease_id in endings or report.lease_id in ended else ReportVerdict.GONE
        for report, _ in reports
    ]


def end_leases(
    transaction: Transaction, endings: Iterable[tuple[HeldLease, Ending]], *, reported: bool
) -> Operation[None]:
    """Delete these leases and write the next state of their tasks: an outcome, a place in the queue, or a pause.

    An attempt that does not complete its task is kept as a row; one that does is in the outcome.
    ``reported`` is true if workers report the endings. Only then does the outcome name the lease: a report sent again
    is accepted again, and one that arrives after the lease was returned is not. With an outcome goes the delivery owed
    to its webhook. Calls are ended by :func:`end_calls`.
    """
    locked, now = transaction.locked, transaction.now
    leases, outcomes, entries, pauses, told, calls = [], [], [], [], [], []
    attempts: list[tuple[Any, ...]] = []
    failures: list[FailureSeen] = []
    completed: list[tuple[HeldLease, Completed]] = []
    endings = list(endings)
    for task_type in {lease.task_type for lease, _ in endings}:
        transaction.freed(task_type)
    for lease, ending in endings:
        if lease.kind == CALL:
            calls.append((lease, ending))
            continue
        organization = locked[lease.organization_id]
        leases.append((lease.organization_id, lease.task_id))
        canceled = lease.canceled_at is not None
        if isinstance(ending, Completed) and not canceled:
            completed.append((lease, ending))
            continue
        organization.end()
        organization.release(lease.cost)
        correct(transaction, organization, lease, ending)
        after = aftermath(
            ending,
            attempt=lease.attempt,
            attempts=lease.attempts,
            pause_base_ms=transaction.config.retry_pause_ms,
            chance=transaction.config.chance(),
            canceled=canceled,
        )
        due_at = now + after.pause_ms if isinstance(after, Paused) else None
        how = ending_of(ending, canceled=canceled)
        failure, cause = reason_of(ending, after)
        attempts.append(ended_attempt(lease, how, failure=failure, cause=cause, due_at=due_at, now=now))
        seen = _failure_seen(lease, ending, how, failure, final=isinstance(after, Final))
        if seen is not None:
            failures.append(seen)
        transaction.memory.seen.end(
            lease.organization_id, lease.task_type, [max(0, now - lease.started_at)], failed=isinstance(after, Final)
        )
        if isinstance(after, Final):
            organization.failed += 1
            outcomes.append(_failed(lease, after, reported=reported, seen=seen))
            if lease.webhook:
                told.append((lease.organization_id, lease.task_id))
            continue
        if due_at is not None:
            organization.wait(lease.task_type, lease.rank)
            transaction.effects.pause_until(due_at)
            pauses.append((lease.organization_id, lease.task_id, lease.task_type, lease.rank, lease.seq,
                           after.attempt, lease.first_started_at, due_at, lease.starts, lease.slot_wait_ms,
                           lease.worker_wait_ms))  # fmt: skip
        else:
            organization.enqueue(lease.task_type, lease.rank, lease.seq)
            slot_ms, worker_ms = organization.waits(now)
            entries.append((lease.organization_id, lease.task_type, lease.rank, lease.seq, lease.task_id,
                            after.attempt, lease.first_started_at, lease.starts, slot_ms - lease.slot_wait_ms,
                            worker_ms - lease.worker_wait_ms))  # fmt: skip
    outcomes += _complete(transaction, completed, reported=reported)
    told += [(lease.organization_id, lease.task_id) for lease, _ in completed if lease.webhook]
    yield from write_outcomes(transaction, outcomes, told,
        change("delete_leases", leases, leases=leases),
        change("insert_queue_entries", entries, entries=entries),
        change("insert_waiting", pauses, entries=pauses),
        query_attempts(transaction, attempts),
        failures=failures,
    )  # fmt: skip
    yield from end_calls(transaction, calls)


def _failure_seen(
    lease: HeldLease, ending: Ending, how: AttemptEnding, failure: Failure | None, *, final: bool
) -> FailureSeen | None:
    """Return an attempt as a failure of its group, or None if it did not fail."""
    origin = ending.origin if isinstance(ending, Failed) else None
    fingerprint = fingerprint_of(lease.task_type, how, failure, origin)
    if fingerprint is None:
        return None
    return FailureSeen(lease.organization_id, lease.task_id, fingerprint, 0 if origin is None else origin.line, final)


def _complete(
    transaction: Transaction, endings: Sequence[tuple[HeldLease, Completed]], *, reported: bool
) -> list[Outcome]:
    """Give back the slots of attempts that completed their tasks, charge the tasks, and return their outcomes.

    Most endings are of this kind, so what counts them works on all of one organization and type at once.
    """
    now, memory = transaction.now, transaction.memory
    groups: dict[tuple[int, str], list[HeldLease]] = {}
    for lease, _ in endings:
        groups.setdefault((lease.organization_id, lease.task_type), []).append(lease)
    for (organization_id, task_type), leases in groups.items():
        organization = transaction.locked[organization_id]
        cost, count = sum([lease.cost for lease in leases]), len(leases)
        organization.end(count)
        organization.release(cost)
        organization.spend(cost)
        organization.completed += count
        took_ms = [max(0, min(now, lease.deadline_at) - lease.started_at) for lease in leases]
        memory.observe(task_type, took_ms)
        organization.charge(sum(took_ms) - sum([lease.estimate_ms for lease in leases]))
        memory.seen.end(
            organization_id, task_type, [max(0, now - lease.started_at) for lease in leases], completed=count
        )
    return [
        (
            lease.task_id,
            lease.organization_id,
            _COMPLETED,
            ending.result,
            None,
            None,
            lease.cost,
            lease.attempt,
            lease.first_started_at,
            lease.id if reported else None,
            lease.started_at,
            None,
            lease.slot_wait_ms,
            lease.worker_wait_ms,
        )
        for lease, ending in endings
    ]


def _failed(lease: HeldLease, after: Final, *, reported: bool, seen: FailureSeen | None) -> Outcome:
    failure = msgspec.json.encode(after.failure).decode() if after.failure else None
    return (
        lease.task_id, lease.organization_id, str(after.status), after.result, failure, after.cause, 0, lease.attempt,
        lease.first_started_at, lease.id if reported else None, lease.started_at,
        None if seen is None else seen.fingerprint.group(), lease.slot_wait_ms, lease.worker_wait_ms,
    )  # fmt: skip


def return_leases(
    transaction: Transaction, returns: Sequence[tuple[str, Ending]], *, all_of_them: bool = True
) -> Operation[int]:
    """End these leases with the given endings, whichever session holds them; return how many existed.

    Without ``all_of_them``: leases of organizations that are locked for long may stay.
    """
    endings = dict(returns)
    places = [place for identity in endings if (place := lease_place(identity))]
    if not places:
        return 0
    held = query_leases(places)
    locked = yield from transaction.lock(
        (organization_id for organization_id, _, _ in places), held, all_of_them=all_of_them
    )
    found = [(lease, endings[lease.id]) for lease in held.rows if lease.organization_id in locked]
    yield from end_leases(transaction, found, reported=False)
    yield from transaction.save()
    return len(found)
