"""Outcomes: the one place that writes how a task ended, with what its webhook is owed."""

from collections.abc import Sequence
from typing import Any

from fairlane.store.deliveries import owe_deliveries
from fairlane.store.memory import Memory
from fairlane.store.statements import Operation, Query, query_if, together

Outcome = tuple[Any, ...]
"""(task id, organization id, status, result, failure, cause, charged, attempt, first started at, lease id): a row, but
for the moment. No lease id: no worker said so."""


def write_outcomes(
    outcomes: Sequence[Outcome], told: Sequence[tuple[int, str]], memory: Memory, now: int, *beside: Query | None
) -> Operation:
    """These tasks have ended; those of ``told`` (organization, task) owe a webhook. Who waits for them is woken.
    ``beside``: what else changes, in other tables."""
    yield from together(*beside, query_if("insert_outcomes", outcomes, outcomes=outcomes, now=now))
    yield from owe_deliveries(told, memory, now)
    memory.ended.update([outcome[0] for outcome in outcomes])
