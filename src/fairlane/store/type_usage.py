"""Run times and waits by task type and minute, of an organization or of all.

Samples are written by ``usage.py`` together with an organization's totals, from the counts in a server's memory: no
statement belongs to a single task.
"""

from collections.abc import Mapping

import msgspec

from fairlane.model.organizations import EVERY_ORGANIZATION
from fairlane.model.usage import TypeSample, UsageByType
from fairlane.rules.history import usage_by_type
from fairlane.store.attempt_counts import OrganizationCounts
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import CHUNK, Operation, Row, clock, rows, run_if
from fairlane.store.transaction import Transaction

MINUTE_MS = 60_000
KEPT_MINUTES = 24 * 60
ROWS_MOST = 20_000
"""Most rows that one answer reads."""


class TypeUsageRow(Row, frozen=True):
    """What a sample added; the durations are JSON."""

    minute: int
    task_type: str
    started: int
    completed: int
    failed: int
    waits: str
    runs: str


class TypeUsageKeyRow(Row, frozen=True):
    """The key of a row."""

    organization_id: int
    minute: int
    task_type: str
    sample_id: str


class TypeUsageStore(Noun):
    """Run times and waits by task type."""

    async def find(self, organization_id: int, *, start: int, end: int | None, step_ms: int) -> UsageByType:
        """Return an organization's attempts by type from ``start``, a whole minute, to ``end`` (None for now).

        The current minute is not in it, and less is returned if there are more than ROWS_MOST rows: ``end`` of the
        answer says how far it goes.
        """
        return await self._database.read(find_type_usage(organization_id, start, end, step_ms))

    async def all(self, *, organization: str | None, start: int, end: int | None, step_ms: int) -> UsageByType:
        """Return the same of one organization, or of all together. Raises NotFound."""
        return await self._database.snapshot(_find_any(organization, start, end, step_ms))

    async def purge(self) -> int:
        """Delete rows older than a day, at most CHUNK; return how many."""
        return await self._write(_purge)


def write_type_usage(
    transaction: Transaction, sample_id: str, taken: Mapping[int, OrganizationCounts]
) -> Operation[None]:
    """Write what this sample took of each organization and type. The transaction has read its clock."""
    minute = transaction.now // MINUTE_MS
    written = [
        (organization_id, minute, task_type, sample_id, one.started, one.completed, one.failed, _text(one.waits),
         _text(one.runs))
        for organization_id, counts in taken.items()
        for task_type, one in counts.items()
        if not one.empty()
    ]  # fmt: skip
    yield from run_if("insert_type_usage", written, usage=written)


def find_type_usage(organization_id: int, start: int, end: int | None, step_ms: int) -> Operation[UsageByType]:
    """Read the minutes of a span that are over."""
    now = yield from clock()
    last = min(now if end is None else end, now) // MINUTE_MS
    found = yield from rows(
        "find_type_usage",
        into=TypeUsageRow,
        organization_id=organization_id,
        first=start // MINUTE_MS,
        last=last,
        most=ROWS_MOST,
    )
    if len(found) == ROWS_MOST:
        last = found[-1].minute
        found = [row for row in found if row.minute < last]
    return UsageByType(
        start=start,
        end=max(start, last * MINUTE_MS),
        types=usage_by_type((_sample(row) for row in found), start=start, step_ms=step_ms),
    )


def _find_any(organization: str | None, start: int, end: int | None, step_ms: int) -> Operation[UsageByType]:
    chosen = EVERY_ORGANIZATION if organization is None else (yield from find_organization_id(organization))
    return (yield from find_type_usage(chosen, start, end, step_ms))


def _sample(row: TypeUsageRow) -> TypeSample:
    return TypeSample(
        at=row.minute * MINUTE_MS,
        task_type=row.task_type,
        started=row.started,
        completed=row.completed,
        failed=row.failed,
        waits=dict(msgspec.json.decode(row.waits)),
        runs=dict(msgspec.json.decode(row.runs)),
    )


def _text(counts: Mapping[int, int]) -> str:
    return msgspec.json.encode(sorted((bucket, count) for bucket, count in counts.items() if count)).decode()


def _purge(transaction: Transaction) -> Operation[int]:
    before = (yield from transaction.read_clock()) // MINUTE_MS - KEPT_MINUTES
    found = yield from rows("find_old_type_usage", into=TypeUsageKeyRow, before=before, most=CHUNK)
    keys = [(row.organization_id, row.minute, row.task_type, row.sample_id) for row in found]
    yield from run_if("delete_type_usage", keys, rows=keys)
    return len(keys)
