"""One server's counts and durations of attempts, for history and metrics. Hints, like all of memory.

Written on the store thread, one or two additions an attempt. Numbers of an organization go into its history with the
next sample; numbers of a task type are read by metrics and count since this server started.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fairlane.rules.history import BUCKETS, bucket_of


@dataclass(slots=True)
class Histogram:
    """How many durations fell into each bucket, and the sum of all."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    sum_ms: int = 0

    def add(self, milliseconds: int, bucket: int) -> None:
        """Add one duration, in its bucket."""
        self.counts[bucket] += 1
        self.sum_ms += milliseconds


@dataclass(slots=True)
class SampledCounts:
    """Attempts of one type, of one organization or of all, since the last sample."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    run_ms: int = 0
    waits: dict[int, int] = field(default_factory=dict)
    """Number of tasks by the bucket of their wait for the first start."""
    runs: dict[int, int] = field(default_factory=dict)
    """Number of ended attempts by the bucket of their duration."""

    def add(self, other: "SampledCounts", sign: int = 1) -> None:
        """Add other counts, or subtract them."""
        self.started += sign * other.started
        self.completed += sign * other.completed
        self.failed += sign * other.failed
        self.run_ms += sign * other.run_ms
        for mine, others in ((self.waits, other.waits), (self.runs, other.runs)):
            for bucket, count in others.items():
                mine[bucket] = mine.get(bucket, 0) + sign * count

    def empty(self) -> bool:
        """Return whether nothing was counted."""
        return not self.started and not any(self.runs.values())


OrganizationCounts = dict[str, SampledCounts]
"""Attempts of one organization since its last sample, by type."""


def total_counts(counts: Iterable[SampledCounts]) -> SampledCounts:
    """Return the sum of counts."""
    total = SampledCounts()
    for one in counts:
        total.add(one)
    return total


@dataclass(slots=True)
class TypeCounts:
    """Attempts of one type since this server started."""

    waits: Histogram = field(default_factory=Histogram)
    runs: Histogram = field(default_factory=Histogram)
    started: int = 0
    completed: int = 0
    failed: int = 0
    slot_wait_ms: int = 0
    """Of the waits, how long they were for a slot, and for a worker."""
    worker_wait_ms: int = 0


@dataclass(slots=True)
class AttemptCounts:
    """All counts of this server."""

    organizations: dict[int, OrganizationCounts] = field(default_factory=dict)
    types: dict[str, TypeCounts] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    """Webhook tries by outcome, since this server started."""
    sampled: list[dict[int, OrganizationCounts]] = field(default_factory=list)
    """Amounts of committed samples, to be subtracted before the next one."""

    def start(
        self, organization_id: int, task_type: str, count: int, first: Iterable[tuple[int, tuple[int, int]]]
    ) -> None:
        """Count the start of ``count`` attempts, of which ``first`` are the first of their tasks.

        Of each of these it has how long it waited, and how many milliseconds of that for a slot, and for a worker.
        """
        one = self._sampled(organization_id, task_type)
        one.started += count
        kind = self._type(task_type)
        kind.started += count
        for waited_ms, (slot_wait_ms, worker_wait_ms) in first:
            bucket = bucket_of(waited_ms)
            one.waits[bucket] = one.waits.get(bucket, 0) + 1
            kind.waits.add(waited_ms, bucket)
            kind.slot_wait_ms += slot_wait_ms
            kind.worker_wait_ms += worker_wait_ms

    def end(
        self, organization_id: int, task_type: str, ran_ms: Sequence[int], *, completed: int = 0, failed: int = 0
    ) -> None:
        """Count the end of attempts; of their tasks, ``completed`` and ``failed`` ended with them."""
        one = self._sampled(organization_id, task_type)
        one.run_ms += sum(ran_ms)
        one.completed += completed
        one.failed += failed
        kind = self._type(task_type)
        for milliseconds in ran_ms:
            bucket = bucket_of(milliseconds)
            one.runs[bucket] = one.runs.get(bucket, 0) + 1
            kind.runs.add(milliseconds, bucket)
        kind.completed += completed
        kind.failed += failed

    def try_ended(self, outcome: str) -> None:
        """Count one try of a webhook message."""
        self.tries[outcome] = self.tries.get(outcome, 0) + 1

    def settle_samples(self) -> None:
        """Subtract durable samples; types and organizations with nothing left are forgotten."""
        while self.sampled:
            for organization_id, sampled in self.sampled.pop().items():
                kept = self.organizations.get(organization_id, {})
                for task_type, counts in sampled.items():
                    one = kept.get(task_type)
                    if one is not None:
                        one.add(counts, -1)
                        if one.empty():
                            del kept[task_type]
                if not kept:
                    self.organizations.pop(organization_id, None)

    def _sampled(self, organization_id: int, task_type: str) -> SampledCounts:
        kinds = self.organizations.get(organization_id)
        if kinds is None:
            kinds = self.organizations[organization_id] = {}
        one = kinds.get(task_type)
        if one is None:
            one = kinds[task_type] = SampledCounts()
        return one

    def _type(self, task_type: str) -> TypeCounts:
        kind = self.types.get(task_type)
        if kind is None:
            kind = self.types[task_type] = TypeCounts()
        return kind
