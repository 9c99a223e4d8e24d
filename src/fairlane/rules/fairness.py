"""The fair order: which organization starts its next task or call, by weighted virtual time."""

import heapq
from collections.abc import Iterable

from msgspec import Struct

from fairlane.model.tasks import PRIORITY_HIGHEST

VIRTUAL_UNITS_PER_MS = 1_000
"""Virtual time is an integer: this many units for one millisecond of service at weight 1."""

FIRST_ESTIMATE_MS = 1_000
"""Expected duration of an attempt of a type without observations (design, section 5)."""


def rank_of(priority: int) -> int:
    """Return the sort key of a priority: 0 is taken first."""
    return PRIORITY_HIGHEST - priority


def priority_of(rank: int) -> int:
    """Return the priority of a rank; the inverse of :func:`rank_of`."""
    return PRIORITY_HIGHEST - rank


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


def entered(own: int, present: int) -> int:
    """Return the virtual time of an organization that could start nothing until now: idle time earns no credit."""
    return max(own, present)


def charged(own: int, milliseconds: int, weight: int) -> int:
    """Return an organization's virtual time after this much service; negative if it was charged too much before."""
    return max(0, own + service(milliseconds, weight))


def expected_ms(estimate_ms: float | None) -> int:
    """Return how long an attempt of a type with this estimate is expected to last."""
    return max(1, int(FIRST_ESTIMATE_MS if estimate_ms is None else estimate_ms))


def next_estimate(estimate_ms: float | None, observed_ms: int) -> float:
    """Return a moving average of how long an attempt of one type lasts; the first observation replaces the guess."""
    return observed_ms if estimate_ms is None else estimate_ms + (observed_ms - estimate_ms) * 0.2
