"""What some organizations have in their slots and in their queues, for operators."""

from collections.abc import Iterable, Sequence

import msgspec

from fairlane.model.insight import Slot, WaitReason
from fairlane.model.lanes import Level, NextTask, OrganizationLanes
from fairlane.rules.fairness import priority_of
from fairlane.rules.waiting import Standing, wait_reason
from fairlane.store.fleet import ServingRow
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.slots import SlotRow, slot_of
from fairlane.store.statements import Operation, Row, clock, only, rows, rows_if
from fairlane.store.waits import RivalsRow

HOLDERS_MOST = 60
"""Most holders of one organization's slots that are read."""
RIVALS_MOST = 100
"""Most organizations that are counted before one."""


class WatchedOrganizationRow(Row, frozen=True):
    """An organization, with what decides about its next start."""

    id: int
    name: str
    plan: str
    slots_max: int | None
    used: int
    weight: int
    paused: int
    disabled: int
    queued: int
    virtual_time: int
    waits_for_credits: int


class WatchedLaneRow(Row, frozen=True):
    """A lane with tasks."""

    organization_id: int
    task_type: str
    rank: int
    ready: int
    waiting: int


class WatchedSlotRow(Row, frozen=True):
    """A lease, as the holder of a slot."""

    organization_id: int
    id: str
    task_type: str
    rank: int
    attempt: int
    attempts: int
    started_at: int
    deadline_at: int
    kind: int
    progress: str | None


class TypeOccupationRow(Row, frozen=True):
    """A limited type, and how many of it run."""

    task_type: str
    most: int
    used: int


class _PlaceCounts(msgspec.Struct):
    """Places of the live workers that serve one type."""

    all: int = 0
    free: int = 0


class LaneStore(Noun):
    """Organizations' slots and queues, for operators."""

    async def find(self, organization_ids: Sequence[int]) -> dict[int, OrganizationLanes]:
        """Return these organizations, in one snapshot; one that does not exist is left out.

        The cost grows with the organizations named, not with their queues or slots.
        """
        if not organization_ids:
            return {}
        return await self._database.snapshot(find_lanes_of(sorted(organization_ids), self._memory))


def find_lanes_of(ids: Sequence[int], memory: Memory) -> Operation[dict[int, OrganizationLanes]]:
    """Read the organizations. Needs one snapshot."""
    now = yield from clock()
    watched = yield from rows("find_watched", into=WatchedOrganizationRow, ids=list(ids))
    lanes: dict[int, list[WatchedLaneRow]] = {one.id: [] for one in watched}
    for lane in (yield from rows("find_watched_lanes", into=WatchedLaneRow, ids=list(lanes))):
        lanes[lane.organization_id].append(lane)
    holders: dict[int, list[Slot]] = {one.id: [] for one in watched}
    held = yield from rows_if(
        "find_watched_slots", list(lanes), into=WatchedSlotRow, ids=list(lanes), most=HOLDERS_MOST
    )
    for row in held:
        holders[row.organization_id].append(slot_of(row.to(SlotRow)))
    places = _places((yield from rows("find_serving", into=ServingRow, now=now)))
    limits = {one.task_type: one for one in (yield from rows("find_type_uses", into=TypeOccupationRow))}
    found = {}
    for one in watched:
        first = next((lane for lane in lanes[one.id] if lane.ready), None)
        standing = None if first is None else _standing(one, places.get(first.task_type), limits.get(first.task_type))
        found[one.id] = OrganizationLanes(
            id=one.id,
            name=one.name,
            plan=one.plan,
            slots_max=one.slots_max,
            used=one.used,
            weight=one.weight,
            paused=bool(one.paused),
            disabled=bool(one.disabled),
            queued=one.queued,
            holders=tuple(holders[one.id]),
            levels=_levels(lanes[one.id]),
            next=None
            if first is None or standing is None
            else (yield from _next(one, first.task_type, standing, memory.virtual_time)),
        )
    return found


def _next(one: WatchedOrganizationRow, task_type: str, standing: Standing, present: int) -> Operation[NextTask]:
    reason, rivals = wait_reason(standing), 0
    if reason is WaitReason.WORKERS_BUSY:
        found = yield from only(
            "find_rivals",
            into=RivalsRow,
            organization_id=one.id,
            task_type=task_type,
            virtual_time=max(one.virtual_time, present),
            most=RIVALS_MOST,
        )
        rivals = min(found.before, RIVALS_MOST)
        reason = WaitReason.FAIR_TURN if rivals else reason
    return NextTask(task_type=task_type, reason=reason, rivals=rivals)


def _standing(one: WatchedOrganizationRow, places: _PlaceCounts | None, limit: TypeOccupationRow | None) -> Standing:
    return Standing(
        stopped=bool(one.paused or one.disabled),
        used=one.used,
        slots_max=one.slots_max,
        credits_held=bool(one.waits_for_credits),
        type_used=0 if limit is None else limit.used,
        type_limit=None if limit is None else limit.most,
        places=0 if places is None else places.all,
        places_free=0 if places is None else places.free,
        rivals_before=0,
        share=1.0,
    )


def _places(serving: Iterable[ServingRow]) -> dict[str, _PlaceCounts]:
    """Return the places of each type; a place counts for every type of its worker."""
    found: dict[str, _PlaceCounts] = {}
    for session in serving:
        for task_type in msgspec.json.decode(session.types, type=list[str]):
            places = found.setdefault(task_type, _PlaceCounts())
            places.all += session.places
            places.free += max(0, session.places - session.taken)
    return found


def _levels(lanes: Iterable[WatchedLaneRow]) -> tuple[Level, ...]:
    by_rank: dict[int, tuple[int, int]] = {}
    for lane in lanes:
        ready, waiting = by_rank.get(lane.rank, (0, 0))
        by_rank[lane.rank] = ready + lane.ready, waiting + lane.waiting
    return tuple([Level(priority_of(rank), *counts) for rank, counts in sorted(by_rank.items())])
