"""Measurements of the demonstration and conclusions from them. Pure arithmetic: no I/O, no clock."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from fairlane.client import Status, Task

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


def queued_spans(tasks: Iterable[Task]) -> list[Span]:
    """Return when each started task was queued, as the server recorded it."""
    return [Span(_accepted_ms(task), _started_ms(task)) for task in tasks if task.waited is not None]


def slot_spans(tasks: Iterable[Task]) -> list[Span]:
    """Return when each ended task held its slot, as the server recorded it."""
    started = [(_started_ms(task), task.latency_ms) for task in tasks if task.waited is not None]
    return [Span(start, start + latency) for start, latency in started if latency is not None]


def _accepted_ms(task: Task) -> int:
    return round(task.created_at.timestamp() * 1000)


def _started_ms(task: Task) -> int:
    waited = task.waited
    assert waited is not None
    return _accepted_ms(task) + waited.for_slot_ms + waited.for_worker_ms


def both_waiting(queued: Iterable[Sequence[Span]]) -> Span | None:
    """Return the longest span during which every organization had queued tasks, or None if there was none."""
    common: list[Span] | None = None
    for spans in queued:
        own = _joined(spans)
        common = own if common is None else _overlaps(common, own)
    return max(common or (), key=lambda span: span.seconds, default=None)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Return the time that any of these spans covers, in order, as few spans."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _overlaps(some: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    cut = (Span(max(one.start, other.start), min(one.end, other.end)) for one in some for other in others)
    return [span for span in cut if span.start < span.end]


def service_ms(held: Iterable[Span], within: Span) -> int:
    """Return the time for which slots were held inside a span."""
    return sum(max(0, min(one.end, within.end) - max(one.start, within.start)) for one in held)


def share_of(name: str, held: Mapping[str, Sequence[Span]], within: Span) -> float:
    """Return one organization's share of all service inside a span; 0.0 if there was none."""
    service = {owner: service_ms(spans, within) for owner, spans in held.items()}
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
