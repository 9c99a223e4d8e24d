"""Measurements of the demonstration and conclusions from them. Pure arithmetic: no I/O, no clock."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from fairlane.client import Status

RATE_MS = 3_000
"""Time over which tasks per second are shown, in milliseconds."""


class Sample(Struct, frozen=True):
    """The status of every organization at one moment."""

    at: int
    statuses: Mapping[str, Status]
    done: Mapping[str, int]
    """Submitted tasks that are neither queued nor processing."""


class Span(Struct, frozen=True):
    """A span of time."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        """Return its length."""
        return (self.end - self.start) / 1000


def both_waiting(samples: Sequence[Sample]) -> Span | None:
    """Return the longest span during which every organization had queued tasks, or None if there was none."""
    longest: Span | None = None
    start: int | None = None
    for sample in samples:
        if not all(status.queued_tasks > 0 for status in sample.statuses.values()):
            start = None
            continue
        start = sample.at if start is None else start
        if longest is None or sample.at - start > longest.end - longest.start:
            longest = Span(start, sample.at)
    return longest


def service_ms(runs: Iterable[Span], within: Span) -> int:
    """Return the time that handlers ran inside a span."""
    return sum(max(0, min(run.end, within.end) - max(run.start, within.start)) for run in runs)


def share_of(name: str, runs: Mapping[str, Sequence[Span]], within: Span) -> float:
    """Return one organization's share of all service inside a span; 0.0 if there was none."""
    service = {owner: service_ms(spans, within) for owner, spans in runs.items()}
    total = sum(service.values())
    return service[name] / total if total else 0.0


def highest_used(name: str, samples: Iterable[Sample]) -> int:
    """Return the most slots that an organization was seen to use."""
    slots = [sample.statuses[name].concurrency for sample in samples]
    return max((one.used for one in slots if one is not None), default=0)


def adds_up(status: Status) -> bool:
    """Return whether the numbers of one answer agree with each other."""
    by_priority = sum(level.count for level in status.priority_breakdown)
    slots = status.concurrency
    return by_priority == status.queued_tasks and (slots is None or slots.used == status.processing_tasks)


def rate(name: str, samples: Sequence[Sample]) -> float:
    """Return how many tasks of an organization ended per second, over the last few seconds."""
    if len(samples) < 2:
        return 0.0
    last = samples[-1]
    first = next(sample for sample in samples if last.at - sample.at <= RATE_MS)
    if last.at == first.at:
        return 0.0
    return max(0, last.done[name] - first.done[name]) / (last.at - first.at) * 1000
