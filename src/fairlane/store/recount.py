"""The recount: compare the counters with the rows that they count, and repair them.

Upkeep recounts every organization within the hour, a part at a time; operators ask for a recount when they want one.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from fairlane.errors import KeyRefused
from fairlane.model.status import Drift, Verified
from fairlane.store.counting import STEP, CountedLane, LaneKey, count_queues
from fairlane.store.database import Database
from fairlane.store.locked import Lane, lock_organizations, write_organizations
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id, find_organizations
from fairlane.store.statements import CHUNK, Operation, Rows, clock, rows, rows_if
from fairlane.store.tasks import counted_status, status
from fairlane.store.trail import write_trail

AUDIT_SHARE = 600
"""A rolling audit round covers this part of all organizations, so that each is audited once within the hour."""
DRIFTED_MOST = 100


class RecountStore(Noun):
    """The kept counts, and the counts of their rows."""

    def __init__(self, database: Database, memory: Memory) -> None:
        super().__init__(database, memory)
        self.audited = 0
        """Organizations that the self-audit recounted since this server started."""
        self.differences = 0
        """Counts that the self-audit found to differ."""

    async def find(self, organization: str | None = None) -> list[Drift]:
        """Return every kept count that differs from its rows, in one snapshot; [] if all are exact. Raises NotFound."""
        return await self._database.walk(_recount_named(organization))

    async def verify(self, organization_id: int) -> Verified:
        """Return an organization's status, and its differences from the counted rows, in one snapshot.

        Costs a walk over the organization's queue. Raises KeyRefused.
        """
        return await self._database.walk(verified_status(organization_id), share=organization_id)

    async def states(self) -> dict[int, int]:
        """Count tasks by how many of the four states they are in, in one snapshot. Only 1 may be a key.

        Calls are counted by how many of lease and end they have.
        """
        return await self._database.walk(count_states())

    async def repair(self, organization: str, *, actor: str) -> list[Drift]:
        """Set one organization's counters to the counts of its rows; return the differences. Raises NotFound."""
        return await self._write(_repair, organization, actor, self._memory)

    async def audit_next(self) -> list[Drift]:
        """Recount the next part of the rolling self-audit.

        The counters of drifting organizations are in doubt until repaired.
        """
        ids, drift = await self._database.walk(_recount_next(), share="audit")
        names = {entry.organization for entry in drift}
        every = await self._database.read(find_organizations()) if names else []
        drifted = [one.id for one in every if one.name in names]
        if ids:
            await self._write(_mark_audited, ids, drifted)
        self.audited += len(ids)
        self.differences += len(drift)
        return drift

    async def drifted(self) -> list[str]:
        """Return organizations with counters in doubt until they are repaired; at most a hundred."""
        return await self._database.read(find_drifted(DRIFTED_MOST))


def _recount_named(organization: str | None) -> Operation[list[Drift]]:
    ids = None if organization is None else [(yield from find_organization_id(organization))]
    return (yield from recount(ids))


def _recount_next() -> Operation[tuple[list[int], list[Drift]]]:
    ids = yield from least_audited()
    return ids, (yield from recount(ids))


class Counted(Struct, frozen=True):
    """Kept counts of some organizations, and the counts of their rows."""

    organizations: Rows
    kept: dict[LaneKey, Sequence[int]]
    """Ready, waiting and head of each lane, as kept."""
    lanes: dict[LaneKey, CountedLane]
    turns: Rows

    def queued(self) -> dict[int, tuple[int, int]]:
        """Return the counted ready entries and waiting tasks of each organization."""
        sums = {row[0]: (0, 0) for row in self.organizations}
        for (organization_id, _, _), lane in self.lanes.items():
            ready, waiting = sums.get(organization_id, (0, 0))
            sums[organization_id] = (ready + lane.ready, waiting + lane.waiting)
        return sums


def recount(ids: Sequence[int] | None) -> Operation[list[Drift]]:
    """Return every kept count of these organizations (None for all) that differs from its rows. Needs one snapshot."""
    every = ids is None
    if ids is None:
        ids = [row[0] for row in (yield from rows("find_organization_ids"))]
    drift: list[Drift] = []
    for start in range(0, len(ids), CHUNK):
        chosen = ids[start : start + CHUNK]
        # For all organizations those between two ids are one span; for some each is a span of its own.
        spans = [(chosen[0], chosen[-1])] if every else [(one, one) for one in chosen]
        drift += _drift((yield from _count(chosen, spans)))
    return drift


def verified_status(organization_id: int) -> Operation[Verified]:
    """Read the status and recount. Needs one snapshot."""
    found = yield from status(organization_id)
    if found is None:
        raise KeyRefused
    if found.concurrency is None:
        found = yield from counted_status(organization_id)
    return Verified(status=found, drift=tuple((yield from recount([organization_id]))))


def _count(ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> Operation[Counted]:
    chosen = list(ids)
    organizations = yield from rows("recount_organizations", ids=chosen)
    kept = {(row[0], row[1], row[2]): row[3:6] for row in (yield from rows("find_lanes", ids=chosen))}
    lanes: dict[LaneKey, CountedLane] = {}
    for first, last in spans:
        lanes |= yield from count_queues(first, last)
    turns = yield from rows("recount_turns", ids=chosen)
    return Counted(organizations, kept, lanes, turns)


def _drift(counted: Counted) -> list[Drift]:
    drift, names = [], {row[0]: row[1] for row in counted.organizations}
    queued = counted.queued()
    for row in counted.organizations:
        ready, waiting = queued[row[0]]
        drift += _differences(
            row[1],
            {
                "ready": (row[2], ready),
                "waiting": (row[3], waiting),
                "processing": row[4:6],
                "credits held": row[6:8],
                "credits granted": row[8:10],
                "calls": row[10:12],
                "calls ready": row[12:14],
                "call leases": row[14:16],
            },
        )
    for key in sorted({*counted.kept, *counted.lanes}):
        if key[0] not in names:
            continue
        kept_ready, kept_waiting, kept_head = counted.kept.get(key, (0, 0, 0))
        lane = counted.lanes.get(key) or CountedLane()
        title, name = f"lane {key[1]}/{key[2]}", names[key[0]]
        drift += _differences(
            name, {f"{title} ready": (kept_ready, lane.ready), f"{title} waiting": (kept_waiting, lane.waiting)}
        )
        # The kept head is a bound: no ready entry may be below it.
        if lane.head is not None and kept_head > lane.head:
            drift.append(Drift(organization=name, name=f"{title} head", kept=kept_head, counted=lane.head))
    for organization_id, task_type, is_kept, due in counted.turns:
        drift.append(Drift(organization=names[organization_id], name=f"turn {task_type}", kept=is_kept, counted=due))
    return drift


def _differences(organization: str, pairs: dict[str, Sequence[int]]) -> list[Drift]:
    return [
        Drift(organization=organization, name=name, kept=kept, counted=counted)
        for name, (kept, counted) in pairs.items()
        if kept != counted
    ]


def least_audited() -> Operation[list[int]]:
    """Return the organizations that are next in the rolling audit."""
    total = (yield from rows("count_organizations"))[0][0]
    return [row[0] for row in (yield from rows("find_least_audited", most=max(1, -(-total // AUDIT_SHARE))))]


def _mark_audited(ids: Sequence[int], drifted: Sequence[int]) -> Operation[None]:
    yield from lock_organizations([*ids, *drifted])
    yield from rows_if("update_audited", ids, ids=list(ids), now=(yield from clock()))
    yield from rows_if("update_drifted", drifted, ids=list(drifted), drifted=1)


def find_drifted(most: int) -> Operation[list[str]]:
    """Read the organizations with counters in doubt."""
    return [row[0] for row in (yield from rows("find_drifted", most=most))]


def _repair(organization: str, actor: str, memory: Memory) -> Operation[list[Drift]]:
    """Recount under the organization's lock."""
    organization_id = yield from find_organization_id(organization)
    locked = yield from lock_organizations([organization_id])
    count = yield from _count([organization_id], [(organization_id, organization_id)])
    drift, one, counted = _drift(count), locked[organization_id], count.organizations[0]
    yield from rows("delete_lanes", ids=[organization_id])
    yield from rows("delete_all_turns", ids=[organization_id])
    ready, waiting = count.queued()[organization_id]
    one.ready, one.processing, one.calls, one.calls_ready = ready, counted[5], counted[11], counted[13]
    one.calling = {row[1]: row[2] for row in (yield from rows("count_ready_calls", ids=[organization_id]))}
    one.queued = ready + waiting
    one.credits_held, one.credits_granted = counted[7], counted[9]
    one.lanes = {key[1:]: Lane(0, 0, 0) for key in count.kept} | {
        key[1:]: Lane(lane.ready, lane.waiting, lane.head or 0) for key, lane in count.lanes.items()
    }
    one.touched, one.turns_before = set(one.lanes), frozenset()
    yield from write_organizations(locked, memory, (yield from clock()))
    yield from rows("update_drifted", ids=[organization_id], drifted=0)
    yield from write_trail(
        actor, "organization.repaired", one.name, [msgspec.structs.asdict(entry) for entry in drift], memory
    )
    return drift


def count_states() -> Operation[dict[int, int]]:
    """Count the states in bounded steps."""
    states = Counter[int](dict((yield from rows("count_call_states"))))
    place: tuple[int, str] | None = (0, "")
    while place is not None:
        organization_id, task_id = place
        found = yield from rows("count_states", organization_id=organization_id, id=task_id, most=STEP)
        states.update(dict(found))
        ends = yield from rows("find_task_behind", organization_id=organization_id, id=task_id, skipped=STEP - 1)
        place = (ends[0][0], ends[0][1]) if ends else None
    return dict(states)
