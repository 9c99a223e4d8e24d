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
failure group, slot wait, worker wait): a row without its moment. The lease id is None if no worker reported the end;
started at is that of the last attempt, or None if the task ended without one, and so are the waits."""


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
    yield from together(
        *beside,
        query_failures(transaction, failures),
        change("insert_outcomes", outcomes, outcomes=outcomes, now=now, hour=hour_of(now), other=OTHER),
    )
    yield from owe_deliveries(transaction, told)
    transaction.effects.ended.update([outcome[0] for outcome in outcomes])
