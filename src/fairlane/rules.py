"""Pure decisions: which organization is next, how long to pause, how a row changes. No I/O, no clock, no randomness.

Called by ``store/``. Everything here can be tested with numbers alone.
"""

import bisect
import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from fairlane.model.alerts import Alert
from fairlane.model.insight import Estimate, WaitReason
from fairlane.model.leases import Completed, Ending, Failed, Lost, Released
from fairlane.model.tasks import PRIORITY_HIGHEST, Failure, TaskStatus
from fairlane.model.usage import Totals, Usage, UsagePoint

VIRTUAL_UNITS_PER_MS = 1_000
"""Virtual time is an integer: this many units for one millisecond of service at weight 1."""

FIRST_ESTIMATE_MS = 1_000
"""Expected duration of an attempt of a type without observations (design, section 5)."""

RETRY_PAUSE_MAX_MS = 3_600_000
EXHAUSTED = Failure(code="INTERNAL_SERVER_ERROR", message="Maximum retries exceeded")
"""What an organization sees of a task without attempts left; only the operator sees the cause (contract, 8)."""
CANCELED = Failure(code="TASK_CANCELED", message="Task was canceled")
"""What an organization sees of a task that it canceled itself."""
UNPAID = Failure(code="INSUFFICIENT_CREDITS", message="Insufficient credits")
"""What an organization sees of a task that its balance did not cover when its turn came."""


def rank_of(priority: int) -> int:
    """Return the sort key of a priority: 0 is taken first."""
    return PRIORITY_HIGHEST - priority


def priority_of(rank: int) -> int:
    """Return the priority of a rank; the inverse of :func:`rank_of`."""
    return PRIORITY_HIGHEST - rank


# Fair order ----------------------------------------------------------------------------------------------------------


class Candidate(Struct, frozen=True):
    """An organization that can start ``startable`` tasks now."""

    organization_id: int
    virtual_time: int
    weight: int
    startable: int
    estimate_ms: int


class Shares(Struct, frozen=True):
    """How many places each candidate gets, and the tag of the last pick."""

    places: dict[int, int]
    virtual_time: int


def share(candidates: Iterable[Candidate], places: int) -> Shares:
    """Distribute ``places`` one by one, always to the organization with the smallest virtual time.

    This is start-time fair queueing: each pick moves its organization's tag by the estimated service divided by its
    weight. Over time, service is proportional to weights, and an organization that keeps submitting does not delay the
    others.
    """
    heap = [(one.virtual_time, one.organization_id, one) for one in candidates if one.startable > 0]
    heapq.heapify(heap)
    dealt: dict[int, int] = {}
    last_tag = 0
    while places > 0 and heap:
        tag, organization_id, one = heap[0]
        last_tag = max(last_tag, tag)
        count = dealt[organization_id] = dealt.get(organization_id, 0) + 1
        places -= 1
        if count < one.startable:
            heapq.heapreplace(heap, (tag + service(one.estimate_ms, one.weight), organization_id, one))
        else:
            heapq.heappop(heap)
    return Shares(dealt, last_tag)


def service(milliseconds: int, weight: int) -> int:
    """Return the virtual time that this much service is worth at this weight."""
    return milliseconds * VIRTUAL_UNITS_PER_MS // weight


def next_estimate(estimate_ms: float | None, observed_ms: int) -> float:
    """Return a moving average of how long an attempt of one type lasts; the first observation replaces the guess."""
    return observed_ms if estimate_ms is None else estimate_ms + (observed_ms - estimate_ms) * 0.2


# How an attempt ends -------------------------------------------------------------------------------------------------


class Requeued(Struct, frozen=True):
    """The task is ready again at its old position; ``attempt`` attempts have been made."""

    attempt: int


class Paused(Struct, frozen=True):
    """The task waits ``pause_ms`` before its next attempt."""

    attempt: int
    pause_ms: int


class Final(Struct, frozen=True):
    """The task has ended. Exactly one of result and failure is set."""

    status: TaskStatus
    result: str | None = None
    failure: Failure | None = None
    cause: str | None = None


Aftermath = Requeued | Paused | Final


def aftermath(
    ending: Ending, *, attempt: int, attempts: int, pause_base_ms: int, chance: float, canceled: bool = False
) -> Aftermath:
    """Return the next state of a task after attempt number ``attempt`` of at most ``attempts``.

    ``chance`` in [0, 1) spreads the pauses. A ``canceled`` task is final no matter what its handler returned, because
    the answer to the cancel request promised that.
    """
    if canceled:
        return Final(TaskStatus.FAILED, failure=CANCELED, cause="canceled")
    if isinstance(ending, Released):
        return Requeued(attempt - 1)
    if isinstance(ending, Completed):
        return Final(TaskStatus.COMPLETED, result=ending.result)
    if isinstance(ending, Lost):
        ending = Failed(cause="worker lost", pause_ms=0)
    if not ending.retry or attempt >= attempts:
        return Final(TaskStatus.FAILED, failure=ending.failure or EXHAUSTED, cause=ending.cause)
    pause_ms = retry_pause_ms(attempt, pause_base_ms, chance) if ending.pause_ms is None else ending.pause_ms
    return Paused(attempt, pause_ms) if pause_ms > 0 else Requeued(attempt)


def retry_pause_ms(attempt: int, base_ms: int, chance: float) -> int:
    """Exponential backoff with jitter: between half and all of ``base · 2^(attempt−1)``, at most an hour."""
    full = min(base_ms * 2 ** min(attempt - 1, 30), RETRY_PAUSE_MAX_MS)
    return int(full * (0.5 + chance / 2))


# Clocks --------------------------------------------------------------------------------------------------------------

JUMP_MS = 2_000
"""Tolerance: a clock was set if its time differs by more than this from the time that passed."""


def jump_of(went_ms: int, *, passed_ms: tuple[int, int], since_even_ms: int) -> int:
    """Return how far a clock was set, or 0 if it was not.

    The clock advanced by ``went_ms`` while between least and most ``passed_ms`` passed here. Returns 0 also if another
    server saw the clock run normally more recently (``since_even_ms`` ago) than the jump is long: then this process was
    suspended.
    """
    least, most = passed_ms
    jumped = went_ms - most if went_ms > most else min(0, went_ms - least)
    if abs(jumped) <= JUMP_MS or since_even_ms < jumped - JUMP_MS:
        return 0
    return jumped


# Calls ---------------------------------------------------------------------------------------------------------------

CALL_MS = 300_000
"""Longest wait of a caller; no attempt starts later (contract, 6)."""
TIMED_OUT = Failure(code="INTERNAL_SERVER_ERROR", message="Maximum timeout (5 minutes) exceeded")


def call_aftermath(
    ending: Ending, *, attempt: int, attempts: int, left_ms: int, pause_base_ms: int, chance: float
) -> Aftermath:
    """Return the next state of a call after an attempt that ended ``left_ms`` before the call's time is over.

    As for a task, except that an attempt that cannot start in time ends the call.
    """
    after = aftermath(ending, attempt=attempt, attempts=attempts, pause_base_ms=pause_base_ms, chance=chance)
    if isinstance(after, Final):
        return after
    pause_ms = after.pause_ms if isinstance(after, Paused) else 0
    if pause_ms >= left_ms:
        return Final(TaskStatus.FAILED, failure=TIMED_OUT, cause="no time for another attempt")
    return after


# Webhooks ------------------------------------------------------------------------------------------------------------

DELIVERY_JITTER = 0.1
"""The share of a pause by which chance may shorten it. Pauses are never lengthened: a try begins after it is due."""
ASKED_WAIT_MS_MAX = 86_400_000
"""Longest wait that a receiver may ask for; after a day it is tried again."""


def delivery_pause_ms(number: int, pauses_ms: Sequence[int], chance: float) -> int | None:
    """Return how long to wait after failed try ``number``, up to a tenth less, or None if that was the last one."""
    if number > len(pauses_ms):
        return None
    return int(pauses_ms[number - 1] * (1 - DELIVERY_JITTER + DELIVERY_JITTER * chance))


def asked_wait_ms(retry_after: str | None, now: int) -> int:
    """Return how long a ``Retry-After`` asks to wait, at most a day; 0 if it is missing or cannot be read.

    It is a number of seconds or a moment in one of HTTP's formats.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text) * 1_000, ASKED_WAIT_MS_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0, round(zoned.timestamp() * 1_000) - now), ASKED_WAIT_MS_MAX)


class DeliveryLimits(Struct, frozen=True, kw_only=True):
    """How many tries one server may run at once."""

    total: int = 256
    reserve: int = 256
    """Places beyond ``total``. An organization holds at most one of them, and none for a hanging host."""
    organization: int = 10
    host: int = 4
    """For one host and port, over all organizations. An organization without a try there gets one more."""
    bytes_free: int = 64 * 1024
    """A message of at most this size needs no room in memory: the places bound their sum."""
    bytes_organization: int = 32 * 1024 * 1024
    """What the larger messages of one organization may have in memory at once. One that is larger counts as this."""
    bytes_total: int = 128 * 1024 * 1024
    """What those of all organizations may have at once."""
    bytes_reserve: int = 64 * 1024 * 1024
    """Room beyond ``bytes_total``, for organizations that have no larger message in memory."""


HANGING_MS = 1_000
"""A try that takes this long hangs. Its host and port get no place of the reserve until a faster try."""

Addressed = tuple[int, str]
"""(organization id, host and port) of a delivery."""
Message = tuple[int, str, int]
"""(organization id, host and port, bytes of the body) of a delivery."""


class SenderState(Struct, frozen=True, kw_only=True):
    """What the sender of one server knows when it claims. Each server keeps its own virtual time."""

    limits: DeliveryLimits = DeliveryLimits()
    under_way: Sequence[tuple[int, str, bool, int]] = ()
    """Of each try the organization id, the host and port, whether it holds a place of the reserve, and how many bytes
    of its body are in memory."""
    virtual_time: int = 0
    """The tag of the last pick."""
    tags: Mapping[int, int] = {}
    """Virtual times of organizations; one that is missing has that of the last pick."""
    estimates_ms: Mapping[int, float] = {}
    """Expected duration of a try of each organization."""
    hanging: Collection[Addressed] = ()
    organizations_after: int = 0
    """The id after which the next scan of the organizations begins."""
    hosts_after: Mapping[int, str] = {}
    """The host after which the next scan of an organization's hosts begins; if missing, at the first."""


class DeliveryChoice:
    """The picks of one claim: start-time fair queueing over organizations, within the limits of the server.

    While there are places in the reserve, no organization waits for the tries of another. An organization without tries
    gains no credit: its tag is at least that of the last pick. If a large message finds no
    room in memory, no large message of another organization begins before it, so that the room becomes free.
    """

    def __init__(self, state: SenderState) -> None:
        self._state = state
        self._bytes: Counter[int] = Counter()
        self._room_due = False
        """A message waits for room that others have."""
        self._organizations: Counter[int] = Counter()
        self._hosts: Counter[str] = Counter()
        self._pairs: Counter[Addressed] = Counter()
        self._in_reserve: set[int] = set()
        self._unreserved = 0
        for organization_id, host, reserved, size in state.under_way:
            self._count(organization_id, host, reserved, size)

    @property
    def full(self) -> bool:
        """Return whether no place is left for any organization."""
        limits = self._state.limits
        return self._unreserved >= limits.total and len(self._in_reserve) >= limits.reserve

    def in_turn(self, organizations: Iterable[int]) -> list[int]:
        """Return the organizations that may begin a try, the one with the smallest virtual time first."""
        may_begin = (one for one in organizations if self._organizations[one] < self._state.limits.organization)
        return sorted(may_begin, key=lambda one: (self._tag(one), one))

    def choose(self, due: Sequence[Message]) -> list[int]:
        """Return the positions in ``due`` of the tries that begin now, in the order in which they begin.

        ``due`` is in the order of each organization. A try that cannot begin does not block the ones behind it.
        """
        waiting: dict[int, deque[int]] = {}
        for position, (organization_id, *_) in enumerate(due):
            waiting.setdefault(organization_id, deque()).append(position)
        heap = [(self._tag(organization_id), organization_id) for organization_id in waiting]
        heapq.heapify(heap)
        chosen: list[int] = []
        while heap:
            tag, organization_id = heap[0]
            queue = waiting[organization_id]
            while queue and not self._take(*due[queue[0]]):
                queue.popleft()
            if queue:
                chosen.append(queue.popleft())
                estimate_ms = round(self._state.estimates_ms.get(organization_id, FIRST_ESTIMATE_MS))
                heapq.heapreplace(heap, (tag + service(estimate_ms, 1), organization_id))
            else:
                heapq.heappop(heap)
        return chosen

    def _tag(self, organization_id: int) -> int:
        return max(self._state.virtual_time, self._state.tags.get(organization_id, 0))

    def _take(self, organization_id: int, host: str, size: int) -> bool:
        """Take a place if there is one. A try that finds none now finds none later in this claim."""
        limits = self._state.limits
        if self._organizations[organization_id] >= limits.organization:
            return False
        if self._hosts[host] >= limits.host and self._pairs[organization_id, host]:
            return False
        reserved = self._unreserved >= limits.total
        if reserved and not self._may_reserve(organization_id, host):
            return False
        if not self._has_room(organization_id, self._weight(size)):
            return False
        self._count(organization_id, host, reserved, size)
        return True

    def _weight(self, size: int) -> int:
        """Return the bytes that a message counts as."""
        return 0 if size <= self._state.limits.bytes_free else min(size, self._state.limits.bytes_organization)

    def _has_room(self, organization_id: int, weight: int) -> bool:
        limits, held = self._state.limits, self._bytes[organization_id]
        if not weight:
            return True
        if self._room_due or held + weight > limits.bytes_organization:
            return False
        total = limits.bytes_total if held else limits.bytes_total + limits.bytes_reserve
        self._room_due = self._bytes.total() + weight > total
        return not self._room_due

    def _may_reserve(self, organization_id: int, host: str) -> bool:
        return (
            len(self._in_reserve) < self._state.limits.reserve
            and organization_id not in self._in_reserve
            and (organization_id, host) not in self._state.hanging
        )

    def _count(self, organization_id: int, host: str, reserved: bool, size: int) -> None:
        if weight := self._weight(size):
            self._bytes[organization_id] += weight
        self._organizations[organization_id] += 1
        self._hosts[host] += 1
        self._pairs[organization_id, host] += 1
        if reserved:
            self._in_reserve.add(organization_id)
        else:
            self._unreserved += 1


# Why a ready task waits -----------------------------------------------------------------------------------------------

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


# Months --------------------------------------------------------------------------------------------------------------


def month_of(moment: int) -> str:
    """Return the month of a moment, UTC, such as 2026-11."""
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m")


# Alerts --------------------------------------------------------------------------------------------------------------

RECOVERY_MS_LEAST = 30_000
"""Minimum time at or below the threshold before recovery is reported, even if the rule's own time is shorter."""


def judge_alert(alert: Alert, value: float | None, now: int) -> tuple[bool, int | None]:
    """Return (firing, since) of an alert with this value.

    The state changes only after the value stayed on the other side for the rule's whole time, so a value that swings
    around the threshold causes no messages.
    """
    if value is None:
        return alert.firing, alert.since
    if (value > alert.rule.threshold) == alert.firing:
        return alert.firing, None
    since = now if alert.since is None else min(alert.since, now)
    needed_ms = max(alert.rule.for_ms, RECOVERY_MS_LEAST) if alert.firing else alert.rule.for_ms
    return (not alert.firing, None) if now - since >= needed_ms else (alert.firing, since)


# History -------------------------------------------------------------------------------------------------------------

BUCKETS = 64
"""Durations are counted by powers of the square root of two: 1 ms, 1.4 ms, 2 ms … to 35 days."""


def bucket_of(milliseconds: int) -> int:
    """Return the bucket of a duration: the first one with a bound that is not below it."""
    return 0 if milliseconds <= 1 else min(BUCKETS - 1, math.ceil(2 * math.log2(milliseconds)))


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


# Integrals -----------------------------------------------------------------------------------------------------------


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


# Advice on slots -----------------------------------------------------------------------------------------------------

NOTICEABLE_MS = 1_000
"""A wait, or a difference between two, that is shorter than this many milliseconds needs no advice."""
ENOUGH_SHARE = 0.2
"""Slots or workers may be the limit for this share of the time and still be enough, as long as waits are short."""


def enough(wait_ms: int | None, *, plan_share: float, worker_share: float) -> bool:
    """Return whether there are enough slots and workers.

    ``wait_ms`` is the 90th percentile of the waits, or None if no task has ended.
    """
    if wait_ms is None:
        return plan_share == 0 == worker_share
    return wait_ms < NOTICEABLE_MS and max(plan_share, worker_share) <= ENOUGH_SHARE


def replay_fits(measured_ms: int, replayed_ms: int) -> bool:
    """Return whether a replay of today's limits is close enough to the measurement to trust it about other limits.

    It may differ by a third of the measured wait. A difference that is not noticeable does not count.
    """
    miss_ms = abs(replayed_ms - measured_ms)
    return miss_ms < NOTICEABLE_MS or 3 * miss_ms <= measured_ms
