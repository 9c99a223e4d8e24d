"""History: samples of running totals, and the usage between them."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from fairlane.errors import KeyRefused
from fairlane.model.organizations import EVERY_ORGANIZATION
from fairlane.model.simulation import Ran, WorkRecord
from fairlane.model.tasks import TaskStatus
from fairlane.model.usage import Totals, Usage
from fairlane.rules.history import Integrals, usage_points
from fairlane.store.attempt_counts import OrganizationCounts, SampledCounts, total_counts
from fairlane.store.fleet import ServingRow
from fairlane.store.locked import LockedOrganization
from fairlane.store.noun import Noun, Shared
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import CHUNK, Operation, Row, clock, first, only, rows, run_if
from fairlane.store.transaction import Transaction
from fairlane.store.type_usage import write_type_usage

MINUTE_MS = 60_000
DAY_MS = 86_400_000
FINE_MINUTES = 2 * 24 * 60
"""How long every minute is kept; after that, only the last one of each hour."""
THINNED_MINUTES = 24 * 60
"""How far before that minutes are thinned out: a server that was down for longer leaves older ones as they are."""


class TotalsRow(Row, frozen=True):
    """A sample of running totals; the waits are JSON."""

    at: int
    submitted: int
    started: int
    completed: int
    failed: int
    run_ms: int
    slot_ms: int
    plan_limited_ms: int
    worker_limited_ms: int
    waits: str


class LastTotalsRow(TotalsRow, frozen=True):
    """The newest sample of an organization."""

    organization_id: int


class RunningTotalsRow(Row, frozen=True):
    """An organization's totals now, and what has held since its integrals were last written."""

    created_at: int
    submitted: int
    completed: int
    failed: int
    slot_ms: int
    plan_limited_ms: int
    worker_limited_ms: int
    integrals_at: int
    ready: int
    used: int
    slots_max: int | None
    stopped: int


class SlotsMaxRow(Row, frozen=True):
    """An organization's slots, or None if its plan has none."""

    slots_max: int | None


class RanRow(Row, frozen=True):
    """A finished task."""

    ready_at: int
    started_at: int
    finished_at: int
    priority: int
    id: str


class MinuteRow(Row, frozen=True):
    """The key of a sample."""

    organization_id: int
    minute: int


class UsageStore(Noun):
    """Organizations' usage over time."""

    def __init__(self, shared: Shared, *, retention_ms: int) -> None:
        """Samples older than ``retention_ms`` are purged."""
        super().__init__(shared)
        self._retention_ms = retention_ms
        self._sampled_at: int | None = None
        """When the last sample of this server was started, or None if it has taken none."""

    async def find(self, organization_id: int, *, start: int, end: int | None, step_ms: int) -> Usage:
        """Return the usage from ``start`` to ``end`` (None for now), in steps. Raises KeyRefused.

        Usage since the last sample is added from the organization's row, up to now.
        """
        return await self._database.snapshot(find_usage(organization_id, start, end, step_ms), share=organization_id)

    async def record(self, organization_id: int, *, start: int, most: int) -> WorkRecord:
        """Return the effect of an organization's limits since ``start``, and ``most`` of its newest finished tasks.

        Starts no earlier than the organization's creation: earlier time must not count as unlimited. Raises KeyRefused.
        """
        return await self._database.snapshot(find_record(organization_id, start, most), share=organization_id)

    async def record_of(self, organization: str, *, start: int, most: int) -> WorkRecord:
        """Return :meth:`record` by the organization's name. Raises NotFound."""
        return await self._database.snapshot(_find_record_of(organization, start, most))

    async def sample(self) -> int:
        """Write the totals of organizations that may have changed since the last sample; return how many were
        examined."""
        began, since = self._database.now(), self._sampled_at
        if since is None:
            since = await self._database.read(last_sampled())
        after = looked = 0
        sample_id, everything = self._config.new_id(), OrganizationCounts()
        while ids := await self._database.snapshot(find_due(since, after)):
            taken = await self._write(_sample, ids, sample_id)
            self._memory.seen.sampled.append(taken)
            for counts in taken.values():
                for task_type, one in counts.items():
                    everything.setdefault(task_type, SampledCounts()).add(one)
            after, looked = ids[-1], looked + len(ids)
        if everything:
            await self._write(_sample_everything, sample_id, everything)
        self._sampled_at = began
        return looked

    async def purge(self) -> int:
        """Delete rows past the retention, and all but one an hour of those past two days. At most CHUNK of each."""
        return await self._write(_purge, self._retention_ms)


def last_sampled() -> Operation[int]:
    """Return the start of the last minute that any server sampled, or 0 if there is none."""
    return (yield from only("find_last_sampled", into=int)) * MINUTE_MS


def find_due(since: int, after: int) -> Operation[list[int]]:
    """Return a chunk of organizations with totals that may have changed since this moment."""
    return (yield from rows("find_usage_due", into=int, since=since, after=after, most=CHUNK))


def _sample_everything(transaction: Transaction, sample_id: str, counts: OrganizationCounts) -> Operation[None]:
    """Write what this server saw of each type over all organizations, after it is in their own rows."""
    yield from transaction.read_clock()
    yield from write_type_usage(transaction, sample_id, {EVERY_ORGANIZATION: counts})


def _sample(transaction: Transaction, ids: Sequence[int], sample_id: str) -> Operation[dict[int, OrganizationCounts]]:
    """Write the current totals of these organizations, if they differ from their last row.

    Returns what was taken from this server's memory, to be subtracted there once it is durable. The organizations'
    locks make it safe for several servers: each adds what it saw itself.
    """
    transaction.memory.seen.settle_samples()
    locked = yield from transaction.lock_some(ids)
    now = transaction.now
    found = yield from rows("find_last_usage", into=LastTotalsRow, ids=list(locked))
    last = {row.organization_id: _totals(row) for row in found}
    taken: dict[int, OrganizationCounts] = {}
    written = []
    for one in locked.values():
        seen = transaction.memory.seen.organizations.get(one.id)
        if seen is not None:
            taken[one.id] = {task_type: total_counts([counts]) for task_type, counts in seen.items()}
        before = last.get(one.id)
        totals = _grown(one, before, total_counts(taken.get(one.id, {}).values()), now)
        if before is None or msgspec.structs.replace(totals, at=before.at) != before:
            written.append((one.id, now // MINUTE_MS, *_row(totals)))
    yield from run_if("upsert_usage", written, usage=written)
    yield from write_type_usage(transaction, sample_id, taken)
    return taken


def _grown(one: LockedOrganization, before: Totals | None, seen: SampledCounts, now: int) -> Totals:
    sums = one.advanced(now)
    waits = dict(before.waits) if before else {}
    for bucket, count in seen.waits.items():
        if count:
            waits[bucket] = waits.get(bucket, 0) + count
    return Totals(
        at=now,
        submitted=one.submitted,
        started=(before.started if before else 0) + seen.started,
        completed=one.completed,
        failed=one.failed,
        run_ms=(before.run_ms if before else 0) + seen.run_ms,
        slot_ms=sums.slot_ms,
        plan_limited_ms=sums.plan_limited_ms,
        worker_limited_ms=sums.worker_limited_ms,
        waits=waits,
    )


def find_usage(organization_id: int, start: int, end: int | None, step_ms: int) -> Operation[Usage]:
    """Read the usage. Needs one snapshot."""
    now = yield from clock()
    until = now if end is None else min(end, now)
    live = yield from _live(organization_id, now)
    found = yield from rows(
        "find_usage",
        into=TotalsRow,
        organization_id=organization_id,
        first=start // MINUTE_MS,
        last=-(-until // MINUTE_MS),
    )
    samples = [_totals(row) for row in found]
    newest = samples[-1] if samples else None
    created_at, live_totals = live
    if until == now:
        if newest is not None:
            live_totals = msgspec.structs.replace(
                live_totals, started=newest.started, run_ms=newest.run_ms, waits=newest.waits
            )
        samples.append(live_totals)
    if not samples or samples[0].at > start:
        # Nothing older is kept: an organization starts with zero totals, otherwise its first row is where history
        # starts.
        samples.insert(0, Totals(at=created_at) if created_at >= start else _empty_from(samples, start))
    return usage_points(samples, start=start, end=until, step_ms=step_ms)


def find_record(organization_id: int, start: int, most: int) -> Operation[WorkRecord]:
    """Read the record. Needs one snapshot."""
    created_at, _ = yield from _live(organization_id, (yield from clock()))
    start = max(start, created_at)
    usage = yield from find_usage(organization_id, start, None, DAY_MS)
    found: list[RanRow] = []
    for status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
        found += yield from rows(
            "find_ran", into=RanRow, organization_id=organization_id, status=status.value, since=start, most=most
        )
    newest = sorted(found, key=attrgetter("id"))[-most:]
    serving = yield from rows("find_serving", into=ServingRow, now=(yield from clock()))
    return WorkRecord(
        total=usage.total,
        slots_max=(yield from only("find_slots_max", into=SlotsMaxRow, organization_id=organization_id)).slots_max,
        ran=tuple([row.to(Ran) for row in newest]),
        places=sum(session.places for session in serving),
    )


def _find_record_of(organization: str, start: int, most: int) -> Operation[WorkRecord]:
    organization_id = yield from find_organization_id(organization)
    return (yield from find_record(organization_id, start, most))


def _empty_from(samples: Sequence[Totals], start: int) -> Totals:
    return msgspec.structs.replace(samples[0], at=start) if samples else Totals(at=start)


def _live(organization_id: int, now: int) -> Operation[tuple[int, Totals]]:
    row = yield from first("find_running_totals", into=RunningTotalsRow, organization_id=organization_id)
    if row is None:
        raise KeyRefused
    sums = Integrals(row.slot_ms, row.plan_limited_ms, row.worker_limited_ms, row.integrals_at)
    sums.advance(now, row.ready, row.used, row.slots_max, bool(row.stopped))
    return row.created_at, Totals(
        at=now,
        submitted=row.submitted,
        completed=row.completed,
        failed=row.failed,
        slot_ms=sums.slot_ms,
        plan_limited_ms=sums.plan_limited_ms,
        worker_limited_ms=sums.worker_limited_ms,
    )


def _purge(transaction: Transaction, retention_ms: int) -> Operation[int]:
    today = (yield from transaction.read_clock()) // MINUTE_MS
    old = yield from rows("find_old_usage", into=MinuteRow, before=today - retention_ms // MINUTE_MS, most=CHUNK)
    fine_until = (today - FINE_MINUTES) // 60 * 60
    fine = yield from rows(
        "find_fine_usage", into=MinuteRow, after=fine_until - THINNED_MINUTES, before=fine_until, most=CHUNK
    )
    gone = [(row.organization_id, row.minute) for row in (*old, *fine)]
    yield from run_if("delete_usage", gone, rows=gone)
    return max(len(old), len(fine))


def _totals(row: TotalsRow) -> Totals:
    return Totals(
        at=row.at,
        submitted=row.submitted,
        started=row.started,
        completed=row.completed,
        failed=row.failed,
        run_ms=row.run_ms,
        slot_ms=row.slot_ms,
        plan_limited_ms=row.plan_limited_ms,
        worker_limited_ms=row.worker_limited_ms,
        waits=dict(msgspec.json.decode(row.waits)),
    )


def _row(totals: Totals) -> tuple[Any, ...]:
    waits = msgspec.json.encode(sorted(totals.waits.items())).decode()
    return (
        totals.at, totals.submitted, totals.started, totals.completed, totals.failed, totals.run_ms, totals.slot_ms,
        totals.plan_limited_ms, totals.worker_limited_ms, waits,
    )  # fmt: skip
