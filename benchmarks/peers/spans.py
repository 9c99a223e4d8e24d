"""What the records of tasks say: how many ran in a second, how full the slots were, how many ran at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.protocol import RECORD

SECOND = 1_000_000_000


class Span(NamedTuple):
    """One task that ran, in nanoseconds."""

    organization: int
    began_at: int
    ended_at: int


def read_spans(path: Path) -> list[Span]:
    """Return what the tasks have recorded until now, in the order in which they began."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = len(content) - len(content) % RECORD.size
    return sorted((Span(*one) for one in RECORD.iter_unpack(content[:whole])), key=lambda span: span.began_at)


def per_second(spans: Sequence[Span], *, seconds: float) -> float:
    """Return the tasks that ran per second, from the first one on, for at most this long."""
    first = spans[0].began_at
    ended = [span.ended_at for span in spans if span.ended_at <= first + seconds * SECOND]
    return len(ended) / max(1, max(ended) - first) * SECOND


def busy_share(spans: Sequence[Span], *, slots: int, after: float, seconds: float, filled: int) -> float:
    """Return the busy slot time divided by all slot time, within a window.

    The window begins ``after`` seconds after the first start and lasts ``seconds``, or until nine tenths of the tasks
    that were queued had started: then queues begin to run out.
    """
    begin = spans[0].began_at + int(after * SECOND)
    end = begin + int(seconds * SECOND)
    last = int(filled * 0.9)
    if len(spans) > last:
        end = min(end, spans[last].began_at)
    if end <= begin:
        raise ValueError("the queue was empty before the window began")
    busy = sum(max(0, min(span.ended_at, end) - max(span.began_at, begin)) for span in spans)
    return busy / (slots * (end - begin))


def most_at_once(spans: Sequence[Span]) -> int:
    """Return the largest number of tasks of one organization that ever ran at the same time."""
    running: dict[int, int] = {}
    most = 0
    changes = [(span.began_at, 1, span.organization) for span in spans]
    changes += [(span.ended_at, -1, span.organization) for span in spans]
    for _, change, organization in sorted(changes):
        running[organization] = running.get(organization, 0) + change
        most = max(most, running[organization])
    return most
