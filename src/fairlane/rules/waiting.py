"""Why a ready task waits, and an estimate of how long."""

import bisect
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from fairlane.model.insight import Estimate, WaitReason

OBSERVED_LEAST = 5
"""Fewer finished attempts of a type than this do not allow an estimate."""
NINE_TO_ONE = 1.2816
"""The 90th percentile of a normal distribution, in standard deviations."""


class Running(Struct, frozen=True):
    """A running attempt: its type, and how long it has run."""

    task_type: str
    ran_ms: int


class Standing(Struct, frozen=True, kw_only=True):
    """What stands between a ready task and its start."""

    stopped: bool
    used: int
    slots_max: int | None
    credits_held: bool
    """Whether running tasks hold the credits that the next task of this organization needs."""
    type_used: int
    """Running tasks of this type over all organizations; only known for a type with a limit."""
    type_limit: int | None
    places: int
    """Places of all live workers that serve this type."""
    places_free: int
    rivals_before: int
    """Organizations that have their turn for this type first."""
    share: float
    """This organization's share of the places while all organizations with startable tasks compete."""
    in_slots: tuple[Running, ...] = ()
    """Some of what holds the organization's slots. This and the next two are complete unless there are very many."""
    in_places: tuple[Running, ...] = ()
    """Some of what runs in the places."""
    in_type: tuple[Running, ...] = ()
    """Some of the running attempts of this type; only known for a type with a limit."""


def wait_reason(standing: Standing) -> WaitReason:
    """Return the first obstacle of a ready task, ordered from what lasts longest to what passes by itself."""
    if standing.stopped:
        return WaitReason.ORGANIZATION_PAUSED
    if standing.slots_max is None:
        return WaitReason.LIMIT_UNKNOWN
    if standing.places == 0:
        return WaitReason.TYPE_UNSERVED
    if standing.used >= standing.slots_max:
        return WaitReason.ORGANIZATION_AT_LIMIT
    if standing.credits_held:
        return WaitReason.CREDITS_HELD
    if standing.type_limit is not None and standing.type_used >= standing.type_limit:
        return WaitReason.TYPE_AT_LIMIT
    if standing.places_free > 0:
        return WaitReason.STARTING
    return WaitReason.FAIR_TURN if standing.rivals_before else WaitReason.WORKERS_BUSY


def wait_estimate(
    standing: Standing, ahead: Mapping[str, int], task_type: str, observed: Mapping[str, Sequence[int]]
) -> Estimate | None:
    """Estimate how long until a task starts, or return None if that is not possible.

    ``ahead`` are the ready tasks before it, counted by type.
    ``observed`` are the durations of recent attempts in milliseconds, by type. The task has to pass up to three gates:
    the slots of its organization, the places of the workers, and the limit of its type. Each gate lets a number of
    attempts run in parallel. A running attempt is expected to end like attempts of its type that ran at least as long,
    and each ending lets the next task in. The gate that opens last decides.

    Mean duration times turns divided by slots would be shorter, but it names a moment before which nothing can start
    if durations vary little and attempts began together, as after a burst.

    The estimate ignores later tasks with a higher priority, rivals that run out of work, and the order of types ahead.
    It assumes that tasks of rivals last as long as those that are ready here.
    """
    if standing.stopped or standing.slots_max is None or standing.places == 0 or standing.credits_held:
        return None
    ready = Counter(ahead)
    ready[task_type] += 1

    def among_rivals(number: int) -> int:
        """Return the turn of task number ``number`` of this organization while others compete."""
        return 1 + standing.rivals_before + round((number - 1) / standing.share)

    total = ready.total()
    taken = standing.places - standing.places_free
    gates = [
        _Gate(standing.slots_max, standing.used, standing.in_slots, total, ready),
        _Gate(standing.places, taken, standing.in_places, among_rivals(total), ready),
    ]
    if standing.type_limit is not None:
        own = {task_type: ready[task_type]}
        turn = among_rivals(own[task_type])
        gates.append(_Gate(standing.type_limit, standing.type_used, standing.in_type, turn, own))
    opened = [_opening(gate, observed) for gate in gates]
    known = [one for one in opened if one is not None]
    if len(known) < len(opened):
        return None
    return Estimate(max(one.p50_ms for one in known), max(one.p90_ms for one in known))


class _Gate(Struct, frozen=True):
    """A gate with ``lines`` servers, ``taken`` of them busy. The task is number ``turn`` in the line."""

    lines: int
    taken: int
    running: tuple[Running, ...]
    turn: int
    ready: Mapping[str, int]


ROUNDS_MOST = 4
"""How many rounds of a gate are simulated; each earlier round takes the mean."""
GATE_LINES_MOST = 1_000
"""A wider gate is simulated at a smaller scale, with everything in proportion."""
GOLDEN = 0.618034
"""The golden ratio. The fractional parts of its multiples are evenly spread between 0 and 1, for any number of them."""


def _opening(gate: _Gate, observed: Mapping[str, Sequence[int]]) -> Estimate | None:
    """Return when this gate lets the task in, or None if no estimate is possible."""
    if gate.lines <= 0 or any(len(observed.get(name, ())) < OBSERVED_LEAST for name in gate.ready):
        return None
    if gate.turn <= gate.lines - gate.taken:
        return Estimate(0, 0)
    if (gate.taken > 0 and not gate.running) or any(
        len(observed.get(one.task_type, ())) < OBSERVED_LEAST for one in gate.running
    ):
        return None
    scale = max(1.0, gate.taken / max(1, len(gate.running)), gate.lines / GATE_LINES_MOST)
    lines, taken = max(1, round(gate.lines / scale)), round(gate.taken / scale)
    endings = max(1, round((gate.turn - gate.lines + gate.taken) / scale))
    mean, variance = _mixture(gate.ready, observed)
    excess = max(0, taken - lines)
    skipped = max(0, (endings - excess - 1) // lines - ROUNDS_MOST)
    ends = _ends(gate.running[:taken], observed)
    coming = _drawn(gate.ready, observed)
    ends += [next(coming) for _ in range(lines - taken)]
    heapq.heapify(ends)
    for number in range(endings - skipped * lines - 1):
        if number < excess:  # More attempts run than the limit allows, so the first endings let no task in.
            heapq.heappop(ends)
        else:
            heapq.heapreplace(ends, ends[0] + next(coming))
    of_running = min(endings, taken) * _variance(gate.running, observed)
    spread = math.sqrt(of_running + max(0, endings - taken) * variance) / lines
    expected = ends[0] + skipped * mean
    return Estimate(round(expected), round(expected + NINE_TO_ONE * spread))


def _ends(running: Sequence[Running], observed: Mapping[str, Sequence[int]]) -> list[float]:
    """Return when each of these ends, like observed attempts that ran as long, evenly spread over the observations.

    An attempt that has run longer than every observation is expected to end at once.
    """
    ordered = {name: sorted(observed[name]) for name in {one.task_type for one in running}}
    ends = []
    for one, chance in zip(running, _chances(), strict=False):
        longer = ordered[one.task_type][bisect.bisect_right(ordered[one.task_type], one.ran_ms) :]
        ends.append(float(longer[int(chance * len(longer))] - one.ran_ms) if longer else 0.0)
    return ends


def _variance(running: Sequence[Running], observed: Mapping[str, Sequence[int]]) -> float:
    """Return the average variance of the durations of these attempts."""
    counts = Counter(one.task_type for one in running)
    varies = math.fsum(count * _mixture({name: 1}, observed)[1] for name, count in counts.items())
    return varies / max(1, len(running))


def _drawn(ready: Mapping[str, int], observed: Mapping[str, Sequence[int]]) -> Iterator[float]:
    """Yield durations of the ready tasks, evenly spread over the observations of their types."""
    weighed = sorted((value, count / len(observed[name])) for name, count in ready.items() for value in observed[name])
    bounds = list(itertools.accumulate(weight for _, weight in weighed))
    for chance in _chances():
        yield float(weighed[min(len(weighed) - 1, bisect.bisect_right(bounds, chance * bounds[-1]))][0])


def _chances() -> Iterator[float]:
    """Yield numbers between 0 and 1, the middle first, evenly spread for any number of them."""
    return ((0.5 + GOLDEN * number) % 1 for number in itertools.count())


def _mixture(counts: Mapping[str, int], observed: Mapping[str, Sequence[int]]) -> tuple[float, float]:
    """Return mean and variance of the durations of attempts, with each type weighted by its count."""
    total = sum(counts.values())
    means = {name: math.fsum(observed[name]) / len(observed[name]) for name in counts}
    mean = math.fsum(count * means[name] for name, count in counts.items()) / total
    squares = math.fsum(
        count * math.fsum(value * value for value in observed[name]) / len(observed[name])
        for name, count in counts.items()
    )
    return mean, max(0.0, squares / total - mean * mean)
