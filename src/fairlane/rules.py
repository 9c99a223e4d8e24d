"""Pure decisions: who is next, how long to pause, what a row becomes. No I/O, no clock, no randomness of its own.

Called by ``store/``. Everything here can be tested with numbers alone.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from fairlane.model import PRIORITY_HIGHEST, Completed, Ending, Failed, Failure, Lost, Released, TaskStatus

VIRTUAL_UNITS_PER_MS = 1_000
"""Virtual time is an integer: this many units for one millisecond of service at weight 1."""

FIRST_ESTIMATE_MS = 1_000
"""How long an attempt of a type nobody has timed yet is taken to last (design, section 5)."""

RETRY_PAUSE_MAX_MS = 3_600_000
EXHAUSTED = Failure(code="INTERNAL_SERVER_ERROR", message="Maximum retries exceeded")
"""What an organization sees of a task whose attempts are used up; the cause stays with the operator (contract, 8)."""
UNPAID = Failure(code="INSUFFICIENT_CREDITS", message="Insufficient credits")
"""What it sees of a task that its balance did not cover when its turn came."""


def rank_of(priority: int) -> int:
    """The sort key of a priority: 0 is taken first."""
    return PRIORITY_HIGHEST - priority


def priority_of(rank: int) -> int:
    """The inverse of :func:`rank_of`."""
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
    """Deal ``places`` out one by one, always to the organization with the smallest virtual time.

    This is start-time fair queueing: each pick moves its organization's tag by the estimated service over its weight,
    so that over time service is proportional to weights, and nobody waits for an organization that keeps submitting.
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
    """The virtual time that this much service is worth at this weight."""
    return milliseconds * VIRTUAL_UNITS_PER_MS // weight


def next_estimate(estimate_ms: float | None, observed_ms: int) -> float:
    """A moving average of how long an attempt of one type lasts; the first observation replaces the guess."""
    return observed_ms if estimate_ms is None else estimate_ms + (observed_ms - estimate_ms) * 0.2


# How an attempt ends -------------------------------------------------------------------------------------------------


class Requeued(Struct, frozen=True):
    """The task is ready again at its old place; ``attempt`` attempts have been made."""

    attempt: int


class Paused(Struct, frozen=True):
    """The task waits ``pause_ms`` before its next attempt."""

    attempt: int
    pause_ms: int


class Final(Struct, frozen=True):
    """The task is over. Exactly one of result and failure is set."""

    status: TaskStatus
    result: str | None = None
    failure: Failure | None = None
    cause: str | None = None


Aftermath = Requeued | Paused | Final


def aftermath(ending: Ending, *, attempt: int, attempts: int, pause_base_ms: int, chance: float) -> Aftermath:
    """What becomes of a task whose attempt number ``attempt`` of at most ``attempts`` ended so.

    ``chance`` in [0, 1) spreads the pauses.
    """
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


# Webhooks ------------------------------------------------------------------------------------------------------------

DELIVERY_JITTER = 0.1


def delivery_pause_ms(number: int, pauses_ms: Sequence[int], chance: float) -> int | None:
    """How long to wait after failed try ``number``, a tenth more or less; None: that was the last one."""
    if number > len(pauses_ms):
        return None
    return int(pauses_ms[number - 1] * (1 - DELIVERY_JITTER + 2 * DELIVERY_JITTER * chance))


class DeliveryLimits(Struct, frozen=True, kw_only=True):
    """How many tries may be under way at once."""

    total: int = 256
    organization: int = 10
    host: int = 4


Addressed = tuple[int, str]
"""(organization id, host) of a delivery."""


def choose_deliveries(due: Iterable[Addressed], under_way: Iterable[Addressed], limits: DeliveryLimits) -> list[int]:
    """The positions in ``due``, oldest first, of those that may be tried now beside those ``under_way``.

    Nobody waits behind a delivery whose host or organization has its places full.
    """
    organizations: Counter[int] = Counter()
    hosts: Counter[str] = Counter()
    for organization_id, host in under_way:
        organizations[organization_id] += 1
        hosts[host] += 1
    free = limits.total - organizations.total()
    chosen: list[int] = []
    for position, (organization_id, host) in enumerate(due):
        if len(chosen) >= free:
            break
        if organizations[organization_id] < limits.organization and hosts[host] < limits.host:
            organizations[organization_id] += 1
            hosts[host] += 1
            chosen.append(position)
    return chosen


# Integrals -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Integrals:
    """Milliseconds summed over an organization's life (design, section 3).

    ``slot_ms``: slots in use, summed. ``plan_limited_ms``: work was ready and every slot taken (or none allowed).
    ``worker_limited_ms``: work was ready and a slot free, so only workers were missing.
    """

    slot_ms: int
    plan_limited_ms: int
    worker_limited_ms: int
    at: int

    def advance(self, now: int, ready: int, used: int, slots_max: int | None, stopped: bool) -> None:
        """Account for the time since the last change, during which these values held."""
        elapsed = max(0, now - self.at)  # a clock that stepped back adds nothing
        self.at = max(self.at, now)
        self.slot_ms += elapsed * used
        if ready == 0 or stopped:
            return
        if slots_max is None or used >= slots_max:
            self.plan_limited_ms += elapsed
        else:
            self.worker_limited_ms += elapsed
