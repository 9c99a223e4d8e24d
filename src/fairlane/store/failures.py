"""Failures by cause: how many of each group an organization had in each hour, counted while they are settled.

Attempts that failed and are tried again are counted, too, apart from tasks that ended: a fault shows with its first
attempt. Nothing is counted for a task that completes at once. Called by ``outcomes.py`` for the counts, and by the API
for the lists.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from fairlane.model.attempts import AttemptEnding
from fairlane.model.failures import FailureCount, FailureFacts, FailureList, FailureSample
from fairlane.model.tasks import Failure
from fairlane.rules.failures import HOUR_MS, OTHER, Fingerprint, hour_of
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import CHUNK, Operation, Query, Row, change, first, rows, rows_if, run_if
from fairlane.store.transaction import Transaction

GROUPS_MOST = 100
"""Most groups that are told apart of one organization in one hour; the failures of others are one group, OTHER."""
KEPT_MS = 14 * 86_400_000
"""How long counts are kept."""
ROWS_MOST = 50_000
"""Most counts that one list sums up: those of the newest hours."""


class FailureSeen(Struct, frozen=True):
    """An attempt that failed."""

    organization_id: int
    task_id: str
    fingerprint: Fingerprint
    line: int
    final: bool
    """Whether its task failed with it."""


class FailureGroupRow(Row, frozen=True):
    """The sums of one group over some hours; its sample is the newest task."""

    group_id: str
    task_type: str
    code: str
    ending: str
    exception: str
    place: str
    line: int
    failures: int
    retried: int
    organizations: int
    first_at: int
    last_at: int
    organization_id: int
    task_id: str


class FailureHourRow(Row, frozen=True):
    """The sums of one group over one hour."""

    group_id: str
    hour: int
    failures: int
    retried: int


class FailureSampleRow(Row, frozen=True):
    """A task, and what is known of its failure."""

    task_id: str
    organization: str
    failure: str | None
    cause: str | None
    message: str | None
    attempt_cause: str | None


class FailureKeyRow(Row, frozen=True):
    """The key of one count."""

    organization_id: int
    hour: int
    group_id: str


class FailureStore(Noun):
    """Failures by cause."""

    async def find(self, organization_id: int, *, since: int, most: int) -> FailureList:
        """Return an organization's groups of failures since this moment's hour, those with most failures first."""
        return await self._database.snapshot(find_failures(organization_id, since, most), share=organization_id)

    async def all(self, *, organization: str | None, since: int, most: int) -> FailureList:
        """Return the groups of one organization or of all, with causes for operators. Raises NotFound."""
        return await self._database.snapshot(_find_failures(organization, since, most))

    async def purge(self) -> int:
        """Delete old counts, at most CHUNK; return how many."""
        return await self._write(_purge)


# Counting ------------------------------------------------------------------------------------------------------------


def query_failures(transaction: Transaction, seen: Iterable[FailureSeen]) -> Query[None]:
    """Return the query that counts these failures in their groups, for :func:`together`. It comes before the outcomes,
    which name their groups as they were counted.
    """
    counts: dict[tuple[int, str], tuple[FailureSeen, int, int]] = {}
    for one in seen:
        key = (one.organization_id, one.fingerprint.group())
        sample, failures, retried = counts.get(key, (one, 0, 0))
        # A task that ended is a better sample than one that is tried again.
        sample = one if one.final or not sample.final else sample
        counts[key] = (sample, failures + one.final, retried + (not one.final))
    rows_of = [
        (organization_id, group, one.fingerprint.task_type, one.fingerprint.code, str(one.fingerprint.ending),
         one.fingerprint.exception, one.fingerprint.place, one.line, failures, retried, one.task_id)
        for (organization_id, group), (one, failures, retried) in counts.items()
    ]  # fmt: skip
    return change("count_failures", rows_of, failures=rows_of, hour=hour_of(transaction.now), now=transaction.now,
                  most=GROUPS_MOST, other=OTHER)  # fmt: skip


# Lists ---------------------------------------------------------------------------------------------------------------


def find_failures(organization_id: int | None, since: int, most: int) -> Operation[FailureList]:
    """Read the groups of one organization, or of all. Needs one snapshot."""
    asked = {"since": hour_of(since), "rows": ROWS_MOST}
    left_out: int | None = None  # An organization has fewer counts than this.
    if organization_id is None:
        groups = yield from rows("find_failure_groups", into=FailureGroupRow, **asked, most=most + 1)
        hours = yield from rows("find_failure_hours", into=FailureHourRow, **asked)
        left_out = yield from first("find_failure_behind", into=int, since=asked["since"], skipped=ROWS_MOST)
    else:
        asked["organization_id"] = organization_id
        groups = yield from rows("find_failure_groups_of", into=FailureGroupRow, **asked, most=most + 1)
        hours = yield from rows("find_failure_hours_of", into=FailureHourRow, **asked)
    shown = groups[:most]
    samples = yield from _samples(shown)
    by_group: dict[str, list[FailureCount]] = {}
    for row in hours:
        by_group.setdefault(row.group_id, []).append(FailureCount(row.hour * HOUR_MS, row.failures, row.retried))
    return FailureList(
        tuple([_group(row, by_group[row.group_id], samples.get(row.task_id)) for row in shown]),
        since=asked["since"] * HOUR_MS,
        more=len(groups) > most,
        complete_from=None if left_out is None else (left_out + 1) * HOUR_MS,
    )


def _find_failures(organization: str | None, since: int, most: int) -> Operation[FailureList]:
    chosen = None if organization is None else (yield from find_organization_id(organization))
    return (yield from find_failures(chosen, since, most))


def _samples(groups: Sequence[FailureGroupRow]) -> Operation[dict[str, FailureSample]]:
    """Read the samples that are still there."""
    asked = [(row.organization_id, row.task_id) for row in groups]
    found = yield from rows_if("find_failure_samples", asked, into=FailureSampleRow, tasks=asked)
    return {
        row.task_id: FailureSample(
            task=row.task_id,
            organization=row.organization,
            message=row.message if row.failure is None else msgspec.json.decode(row.failure, type=Failure).message,
            cause=row.cause or row.attempt_cause,
        )
        for row in found
    }


def _group(row: FailureGroupRow, hours: Sequence[FailureCount], sample: FailureSample | None) -> FailureFacts:
    other = row.group_id == OTHER
    return FailureFacts(
        group=row.group_id,
        task_type=None if other else row.task_type,
        code=None if other else row.code,
        ending=None if other else AttemptEnding(row.ending),
        exception=row.exception or None,
        place=row.place or None,
        line=row.line or None,
        failures=row.failures,
        retried=row.retried,
        organizations=row.organizations,
        first_at=row.first_at,
        last_at=row.last_at,
        sample=sample,
        hours=tuple(hours),
    )


# Upkeep --------------------------------------------------------------------------------------------------------------


def _purge(transaction: Transaction) -> Operation[int]:
    now = yield from transaction.read_clock()
    found = yield from rows("find_old_failures", into=FailureKeyRow, before=hour_of(now - KEPT_MS), most=CHUNK)
    keys = [(row.organization_id, row.hour, row.group_id) for row in found]
    yield from run_if("delete_failures", keys, keys=keys)
    return len(keys)
