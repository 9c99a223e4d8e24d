"""Outcomes: the only module that writes how a task ended, together with the deliveries owed to its webhook."""

from collections.abc import Sequence
from typing import Any

from fairlane.rules.failures import OTHER, hour_of
from fairlane.store.deliveries import owe_deliveries
from fairlane.store.failures import FailureSeen, query_failures
from fairlane.store.statements import Operation, Query, change, together
from fairlane.store.transaction import Transaction

Outcome = tuple[Any, ...]
"""(task id, organization id, status, result, failure, cause, charged, attempt, first started at, lease id, started at,
failure group, slot wait, worker wait): a row without the moments of its end and of its deletion. The lease id is None
if no worker reported the end; started at is that of the last attempt, or None if the task ended without one, and so are
the waits."""
SECOND_MS = 1_000


def write_outcomes(
    transaction: Transaction,
    outcomes: Sequence[Outcome],
    told: Sequence[tuple[int, str]],
    *beside: Query[None],
    failures: Sequence[FailureSeen] = (),
) -> Operation[None]:
    """Write how these tasks ended; those of ``told`` (organization, task) owe a webhook. Requests that wait are woken.

    ``beside`` are other changes, to other tables. ``failures`` are counted in their groups: of every outcome with a
    group, and of attempts that failed and are tried again.
    """
    now = transaction.now
    expiries = {
        one.id: now + one.retention_seconds * SECOND_MS
        for one in transaction.locked.values()
        if one.retention_seconds is not None
    }
    dated = [(*outcome, expiries.get(outcome[1])) for outcome in outcomes]
    yield from together(
        *beside,
        query_failures(transaction, failures),
        change("insert_outcomes", dated, outcomes=dated, now=now, hour=hour_of(now), other=OTHER),
    )
    yield from owe_deliveries(transaction, told)
    transaction.effects.ended.update([outcome[0] for outcome in outcomes])
