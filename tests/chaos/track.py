"""The handlers' own log, read as an oracle: what really ran at once, told by nothing of fairlane's.

Each line is ``seconds process alive``, or ``seconds process start|end organization lease task``; the seconds are
those of the machine's monotonic clock. Pure: lines in, findings out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

STILL_SECONDS = 1.0
"""A process without a line for longer than this stood still. It writes one every 50 ms."""


@dataclass(kw_only=True)
class Run:
    """One handler that ran: from its start to its end, or to the last sign of life of its process."""

    organization: str
    task: str
    process: str
    began: float
    ended: float
    whole: bool
    """False: the process was killed while it ran, and ``ended`` is when the process was last seen alive."""


@dataclass
class Track:
    """What a run's handlers did."""

    runs: dict[str, Run] = field(default_factory=dict)
    """By lease."""
    stood_still: int = 0
    """Handlers that ran while their process stood still: the one overlap that no lease can prevent."""

    def ended(self, lease: str) -> bool:
        """Whether the handler with this lease came to its end."""
        return lease in self.runs and self.runs[lease].whole


def read(lines: Iterable[str]) -> Track:
    """Read the log. A handler counts as running no longer than its process is known to have run without a pause.

    A handler whose process stood still for longer than ``STILL_SECONDS`` is counted up to the beginning of the pause:
    its lease may run out meanwhile, and another attempt start. A killed handler is counted up to the last line of
    its process. So what is counted did run.
    """
    track, open_runs, seen = Track(), {}, defaultdict(list)
    for words in sorted((line.split() for line in lines), key=lambda words: float(words[0])):
        at, process, what = float(words[0]), words[1], words[2]
        seen[process].append(at)
        if what == "start":
            organization, lease, task = words[3:]
            open_runs[lease] = Run(
                organization=organization, task=task, process=process, began=at, ended=at, whole=False
            )
        elif what == "end":
            run = open_runs.pop(words[4])
            run.ended, run.whole = at, True
            track.runs[words[4]] = run
    for lease, run in open_runs.items():
        run.ended = seen[run.process][-1]
        track.runs[lease] = run
    pauses = {
        process: [(one, other) for one, other in pairwise(times) if other - one > STILL_SECONDS]
        for process, times in seen.items()
    }
    for run in track.runs.values():
        paused = [one for one, other in pauses[run.process] if one < run.ended and other > run.began]
        if paused:
            track.stood_still += 1
            run.ended = max(run.began, min(paused))
    return track


def over_limits(track: Track, limits: Mapping[str, int]) -> list[tuple[str, int, float]]:
    """Moments at which more handlers of an organization ran than its limit: organization, how many, when.

    ``limits`` has the largest limit that the organization had during the run.
    """
    steps = [(run.began, 1, run.organization) for run in track.runs.values()]
    steps += [(run.ended, -1, run.organization) for run in track.runs.values()]
    running: Counter[str] = Counter()
    over = []
    for at, step, organization in sorted(steps):  # at the same moment an end comes before a start
        running[organization] += step
        if step > 0 and running[organization] > limits[organization]:
            over.append((organization, running[organization], at))
    return over


def overlaps(track: Track) -> int:
    """How often two attempts of one task ran at the same time, without one whose process stood still."""
    by_task: dict[str, list[Run]] = defaultdict(list)
    for run in track.runs.values():
        by_task[run.task].append(run)
    count = 0
    for runs in by_task.values():
        runs.sort(key=lambda run: run.began)
        count += sum(one.ended > other.began for one, other in pairwise(runs))
    return count
