"""Sums over time: months, durations in buckets, and the integrals of an organization."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fairlane.model.usage import Totals, TypePoint, TypeSample, TypeUsage, Usage, UsagePoint


def month_of(moment: int) -> str:
    """Return the month of a moment, UTC, such as 2026-11."""
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m")


def next_month_at(moment: int) -> int:
    """Return the moment at which the month after this moment's begins, UTC."""
    at = datetime.fromtimestamp(moment / 1000, UTC)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp()) * 1000


BUCKETS = 64
"""Durations are counted by powers of the square root of two: 1 ms, 1.4 ms, 2 ms … to 35 days."""


def bucket_of(milliseconds: int) -> int:
    """Return the bucket of a duration: the first one with a bound that is not below it."""
    # The logarithm of a square to the base of two, rounded up: without an error of floating point, and quicker.
    return 0 if milliseconds <= 1 else min(BUCKETS - 1, (milliseconds * milliseconds - 1).bit_length())


def bucket_bound_ms(bucket: int) -> float:
    """Return the longest duration in a bucket; the last bucket has no bound."""
    return float(2 ** (bucket / 2))


def quantile_ms(counts: Mapping[int, int], share: float) -> int | None:
    """Return the duration that this share of all does not exceed, accurate to a fifth, or None if there are none."""
    total = sum(counts.values())
    if total <= 0:
        return None
    wanted, passed = share * total, 0
    for bucket in sorted(counts):
        count = counts[bucket]
        if count > 0 and passed + count >= wanted:
            low = bucket_bound_ms(bucket - 1) if bucket else 0.0
            return round(low + (bucket_bound_ms(bucket) - low) * (wanted - passed) / count)
        passed += count
    return None


def usage_points(samples: Sequence[Totals], *, start: int, end: int, step_ms: int) -> Usage:
    """Return what happened from ``start`` to ``end`` in steps, from samples in the order of time.

    Each boundary uses the last sample that is not after it, so that every step is whole and their sum is the total. The
    first sample must not be after ``start``.
    """
    boundaries = [*range(start, end, step_ms), max(start, end)]
    states = []
    position = 0
    for boundary in boundaries:
        while position + 1 < len(samples) and samples[position + 1].at <= boundary:
            position += 1
        states.append(samples[position])
    points = [
        _difference(states[index], states[index + 1], boundaries[index], boundaries[index + 1])
        for index in range(len(boundaries) - 1)
    ]
    return Usage(total=_difference(states[0], states[-1], start, boundaries[-1]), points=tuple(points))


def _difference(before: Totals, after: Totals, start: int, end: int) -> UsagePoint:
    waits = {bucket: count - before.waits.get(bucket, 0) for bucket, count in after.waits.items()}
    return UsagePoint(
        start=start,
        end=end,
        submitted=after.submitted - before.submitted,
        started=after.started - before.started,
        completed=after.completed - before.completed,
        failed=after.failed - before.failed,
        wait_p50_ms=quantile_ms(waits, 0.5),
        wait_p99_ms=quantile_ms(waits, 0.99),
        run_ms=after.run_ms - before.run_ms,
        slot_ms=after.slot_ms - before.slot_ms,
        plan_limited_ms=after.plan_limited_ms - before.plan_limited_ms,
        worker_limited_ms=after.worker_limited_ms - before.worker_limited_ms,
    )


def usage_by_type(samples: Iterable[TypeSample], *, start: int, step_ms: int) -> tuple[TypeUsage, ...]:
    """Return what the samples add up to by type, in steps from ``start``; the first sample must not be before it."""
    kinds: dict[str, dict[int, list[TypeSample]]] = {}
    for one in samples:
        step = start + (one.at - start) // step_ms * step_ms
        kinds.setdefault(one.task_type, {}).setdefault(step, []).append(one)
    return tuple(
        TypeUsage(
            task_type=task_type,
            total=_type_point(start, [one for group in steps.values() for one in group]),
            points=tuple(_type_point(step, steps[step]) for step in sorted(steps)),
        )
        for task_type, steps in sorted(kinds.items())
    )


def _type_point(start: int, samples: Sequence[TypeSample]) -> TypePoint:
    waits: Counter[int] = Counter()
    runs: Counter[int] = Counter()
    for one in samples:
        waits.update(one.waits)
        runs.update(one.runs)
    return TypePoint(
        start=start,
        started=sum(one.started for one in samples),
        completed=sum(one.completed for one in samples),
        failed=sum(one.failed for one in samples),
        wait_p50_ms=quantile_ms(waits, 0.5),
        wait_p90_ms=quantile_ms(waits, 0.9),
        wait_p99_ms=quantile_ms(waits, 0.99),
        run_p50_ms=quantile_ms(runs, 0.5),
        run_p90_ms=quantile_ms(runs, 0.9),
        run_p99_ms=quantile_ms(runs, 0.99),
    )


@dataclass(slots=True)
class Integrals:
    """Milliseconds summed over an organization's life (design, section 3).

    ``slot_ms``: slots in use, summed over time. ``plan_limited_ms``: work was ready and every slot taken (or none
    allowed).
    ``worker_limited_ms``: work was ready and a slot free, so only workers were missing.
    """

    slot_ms: int
    plan_limited_ms: int
    worker_limited_ms: int
    at: int

    def advance(self, now: int, ready: int, used: int, slots_max: int | None, stopped: bool) -> None:
        """Add the time since the last change, during which these values held."""
        elapsed = max(0, now - self.at)  # a clock that was set back adds nothing
        self.at = max(self.at, now)
        self.slot_ms += elapsed * used
        if ready == 0 or stopped:
            return
        if slots_max is None or used >= slots_max:
            self.plan_limited_ms += elapsed
        else:
            self.worker_limited_ms += elapsed
