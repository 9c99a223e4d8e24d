"""Replays recorded work with other limits, using the same rules as the server.

Pure and fast: no clock, no store. Used for capacity advice and ``fairlane simulate``. The result is an estimate: it
keeps the recorded durations, including pauses between attempts, and ignores calls, credits, limits of types and lost
workers.
"""

import heapq
import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from fairlane.model.simulation import Capacity, Projection, SimulatedOrganization, Traced, Waits, WhatIf, WorkRecord
from fairlane.rules.capacity import enough, replay_fits
from fairlane.rules.fairness import Candidate, charged, entered, expected_ms, next_estimate, rank_of, share


class Arrival(Struct, frozen=True, kw_only=True):
    """A task that was accepted, and how long it ran from its first start to its end."""

    party: str
    at: int
    """When it could have started."""
    duration_ms: int
    rank: int = 0


class _SimulatedState:
    """One party during the replay."""

    def __init__(self, number: int, party: SimulatedOrganization) -> None:
        self.number = number
        self.party = party
        self.queue: list[tuple[int, int]] = []
        """(rank, position of the arrival): highest priority and oldest first."""
        self.used = 0
        self.virtual_time = 0
        self.startable = False
        self.estimate_ms: float | None = None

    def candidate(self, virtual_time: int) -> Candidate:
        """Return the party as the claim sees it. A party that was idle or at its own limit gains no credit from that
        time.
        """
        startable = min(self.party.slots - self.used, len(self.queue))
        if startable > 0 and not self.startable:
            self.virtual_time = entered(self.virtual_time, virtual_time)
        self.startable = startable > 0
        return Candidate(
            self.number, self.virtual_time, self.party.weight, max(0, startable), expected_ms(self.estimate_ms)
        )

    def charge(self, milliseconds: int) -> None:
        """Add service to the virtual time."""
        self.virtual_time = charged(self.virtual_time, milliseconds, self.party.weight)


def simulate(
    parties: Mapping[str, SimulatedOrganization], arrivals: Sequence[Arrival], *, places: int | None
) -> dict[str, list[int]]:
    """Return how long each task would have waited, in milliseconds, by party in the order in which they start.

    Arrivals are in the order of acceptance, which decides between tasks of one priority even if one may start later.
    ``places`` are those of all workers together, or None for no limit.
    """
    states = {name: _SimulatedState(number, party) for number, (name, party) in enumerate(sorted(parties.items()))}
    by_number = {state.number: name for name, state in states.items()}
    order = sorted(range(len(arrivals)), key=lambda position: arrivals[position].at)
    ends: list[tuple[int, int, str, int]] = []
    waits: dict[str, list[int]] = {name: [] for name in parties}
    queued: dict[str, _SimulatedState] = {}
    """Parties with work that may start: of many organizations, only these are examined."""
    virtual_time, running, next_arrival = 0, 0, 0
    while next_arrival < len(order) or ends:
        now = min(
            ends[0][0] if ends else arrivals[order[next_arrival]].at,
            arrivals[order[next_arrival]].at if next_arrival < len(order) else ends[0][0],
        )
        while ends and ends[0][0] <= now:
            _, position, name, charged_ms = heapq.heappop(ends)
            running -= 1
            _end(states[name], arrivals[position].duration_ms, charged_ms)
        while next_arrival < len(order) and arrivals[order[next_arrival]].at <= now:
            arrival = arrivals[order[next_arrival]]
            state = queued[arrival.party] = states[arrival.party]
            heapq.heappush(state.queue, (arrival.rank, order[next_arrival]))
            next_arrival += 1
        free = len(arrivals) if places is None else places - running
        if free <= 0:
            continue
        shares = share([state.candidate(virtual_time) for state in queued.values()], free)
        virtual_time = max(virtual_time, shares.virtual_time)
        for number, count in shares.places.items():
            name = by_number[number]
            for _ in range(count):
                position, charged_ms = _start(states[name])
                waits[name].append(now - arrivals[position].at)
                heapq.heappush(ends, (now + arrivals[position].duration_ms, position, name, charged_ms))
                running += 1
            states[name].startable = bool(states[name].queue) and states[name].used < states[name].party.slots
            if not states[name].queue:
                del queued[name]
    return waits


def _start(state: _SimulatedState) -> tuple[int, int]:
    """Start the next task, and return its position and what was charged for it."""
    _, position = heapq.heappop(state.queue)
    charged_ms = expected_ms(state.estimate_ms)
    state.used += 1
    state.charge(charged_ms)
    return position, charged_ms


def _end(state: _SimulatedState, duration_ms: int, charged_ms: int) -> None:
    state.used -= 1
    state.charge(duration_ms - charged_ms)
    state.estimate_ms = next_estimate(state.estimate_ms, duration_ms)


def quantile(waits: Sequence[int], part: float) -> int | None:
    """Return the wait that this part of all does not exceed, or None if there are no waits."""
    if not waits:
        return None
    ordered = sorted(waits)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


# Other limits for all organizations ----------------------------------------------------------------------------------


def what_if(
    trace: Sequence[Traced],
    now: Mapping[str, SimulatedOrganization],
    then: Mapping[str, SimulatedOrganization],
    *,
    places_now: int | None,
    places_then: int | None,
) -> list[WhatIf]:
    """Return each organization's waits with the current limits and with others, by name. Both contain every
    organization.
    """
    trace = sorted(trace, key=lambda one: one.accepted_at)
    arrivals = [
        Arrival(
            party=one.organization,
            at=one.ready_at,
            duration_ms=max(0, one.finished_at - one.started_at),
            rank=rank_of(one.priority),
        )
        for one in trace
    ]
    measured: dict[str, list[int]] = {}
    for one in trace:
        measured.setdefault(one.organization, []).append(max(0, one.started_at - one.ready_at))
    replayed_now = simulate(now, arrivals, places=places_now)
    replayed_then = simulate(then, arrivals, places=places_then)
    found = []
    for name, waits in sorted(measured.items()):
        waits_measured, waits_now = _waits(waits), _waits(replayed_now[name])
        found.append(
            WhatIf(
                organization=name,
                tasks=len(waits),
                now=now[name],
                then=then[name],
                waits_measured=waits_measured,
                waits_now=waits_now,
                waits_then=_waits(replayed_then[name]),
                trusted=replay_fits(waits_measured.p90_ms or 0, waits_now.p90_ms or 0),
            )
        )
    return found


def _waits(waits: Sequence[int]) -> Waits:
    ordered = sorted(waits)
    return Waits(p50_ms=quantile(ordered, 0.5), p90_ms=quantile(ordered, 0.9), p99_ms=quantile(ordered, 0.99))


# Advice on one organization ------------------------------------------------------------------------------------------

FACTORS = (1.0, 1.25, 1.5, 2.0, 4.0)
"""Factors by which the current number of slots is multiplied."""


def advise(record: WorkRecord) -> Capacity:
    """Return what the waits would have been with more slots and enough workers."""
    arrivals = [
        Arrival(party="", at=one.ready_at, duration_ms=one.finished_at - one.started_at, rank=rank_of(one.priority))
        for one in record.ran
    ]
    tried = sorted({math.ceil(record.slots_max * factor) for factor in FACTORS}) if record.slots_max else []
    projections = [
        _projection(slots, simulate({"": SimulatedOrganization(slots=slots)}, arrivals, places=None)[""])
        for slots in tried
        if arrivals
    ]
    measured = _waits([max(0, one.started_at - one.ready_at) for one in record.ran])
    total = record.total
    span_ms = max(1, total.end - total.start)
    return Capacity(
        total=total,
        slots_max=record.slots_max,
        tasks=len(record.ran),
        measured=measured,
        projections=tuple(projections),
        trusted=replay_fits(measured.p90_ms or 0, projections[0].wait_p90_ms) if projections else None,
        enough=enough(
            measured.p90_ms,
            plan_share=total.plan_limited_ms / span_ms,
            worker_share=total.worker_limited_ms / span_ms,
        ),
        places=record.places,
    )


def _projection(slots: int, waits: Sequence[int]) -> Projection:
    p50, p90, p99 = (quantile(waits, part) or 0 for part in (0.5, 0.9, 0.99))
    return Projection(slots=slots, wait_p50_ms=p50, wait_p90_ms=p90, wait_p99_ms=p99)
