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
from fairlane.store.locked import Lane, LaneRow, ReadyCallsRow
from fairlane.store.noun import Noun, Shared
from fairlane.store.organizations import find_organization_id, find_organizations
from fairlane.store.statements import CHUNK, Operation, Row, first, only, rows, run, run_if
from fairlane.store.tasks import counted_status, status
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

AUDIT_SHARE = 600
"""A rolling audit round covers this part of all organizations, so that each is audited once within the hour."""
DRIFTED_MOST = 100


class CountedRow(Row, frozen=True):
    """The kept counts of an organization, each beside the count of its rows."""

    id: int
    name: str
    ready: int
    waiting: int
    processing: int
    leases: int
    credits_held: int
    lease_costs: int
    credits_granted: int
    grants: int
    calls: int
    call_leases: int
    calls_ready: int
    ready_calls: int
    open_calls: int


class TurnDriftRow(Row, frozen=True):
    """A turn that exists and should not, or should and does not."""

    organization_id: int
    task_type: str
    kept: int
    due: int


class StatesRow(Row, frozen=True):
    """How many tasks, or calls, are in this number of states."""

    states: int
    count: int


class TaskIdRow(Row, frozen=True):
    """Where a walk over all tasks goes on."""

    organization_id: int
    id: str


class RecountStore(Noun):
    """The kept counts, and the counts of their rows."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
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
        return await self._write(_repair, organization, actor)

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


class CountComparison(Struct, frozen=True):
    """Kept counts of some organizations, and the counts of their rows."""

    organizations: list[CountedRow]
    kept: dict[LaneKey, LaneRow]
    lanes: dict[LaneKey, CountedLane]
    turns: list[TurnDriftRow]

    def queued(self) -> dict[int, tuple[int, int]]:
        """Return the counted ready entries and waiting tasks of each organization."""
        sums = {row.id: (0, 0) for row in self.organizations}
        for (organization_id, _, _), lane in self.lanes.items():
            ready, waiting = sums.get(organization_id, (0, 0))
            sums[organization_id] = (ready + lane.ready, waiting + lane.waiting)
        return sums


def recount(ids: Sequence[int] | None) -> Operation[list[Drift]]:
    """Return every kept count of these organizations (None for all) that differs from its rows. Needs one snapshot."""
    every = ids is None
    if ids is None:
        ids = yield from rows("find_organization_ids", into=int)
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


def _count(ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> Operation[CountComparison]:
    chosen = list(ids)
    organizations = yield from rows("recount_organizations", into=CountedRow, ids=chosen)
    found = yield from rows("find_lanes", into=LaneRow, ids=chosen)
    kept = {(row.organization_id, row.task_type, row.rank): row for row in found}
    lanes: dict[LaneKey, CountedLane] = {}
    for span in spans:
        lanes |= yield from count_queues(*span)
    turns = yield from rows("recount_turns", into=TurnDriftRow, ids=chosen)
    return CountComparison(organizations, kept, lanes, turns)


def _drift(counted: CountComparison) -> list[Drift]:
    drift, names = [], {row.id: row.name for row in counted.organizations}
    queued = counted.queued()
    for row in counted.organizations:
        ready, waiting = queued[row.id]
        drift += _differences(
            row.name,
            {
                "ready": (row.ready, ready),
                "waiting": (row.waiting, waiting),
                "processing": (row.processing, row.leases),
                "credits held": (row.credits_held, row.lease_costs),
                "credits granted": (row.credits_granted, row.grants),
                "calls": (row.calls, row.call_leases),
                "calls ready": (row.calls_ready, row.ready_calls),
                "call leases": (row.call_leases, row.open_calls),
            },
        )
    for key in sorted({*counted.kept, *counted.lanes}):
        if key[0] not in names:
            continue
        kept = counted.kept.get(key) or LaneRow(*key, 0, 0, 0)
        lane = counted.lanes.get(key) or CountedLane()
        title, name = f"lane {key[1]}/{key[2]}", names[key[0]]
        drift += _differences(
            name, {f"{title} ready": (kept.ready, lane.ready), f"{title} waiting": (kept.waiting, lane.waiting)}
        )
        # The kept head is a bound: no ready entry may be below it.
        if lane.head is not None and kept.head_seq > lane.head:
            drift.append(Drift(organization=name, name=f"{title} head", kept=kept.head_seq, counted=lane.head))
    for turn in counted.turns:
        name = f"turn {turn.task_type}"
        drift.append(Drift(organization=names[turn.organization_id], name=name, kept=turn.kept, counted=turn.due))
    return drift


def _differences(organization: str, pairs: dict[str, Sequence[int]]) -> list[Drift]:
    return [
        Drift(organization=organization, name=name, kept=kept, counted=counted)
        for name, (kept, counted) in pairs.items()
        if kept != counted
    ]


def least_audited() -> Operation[list[int]]:
    """Return the organizations that are next in the rolling audit."""
    total = yield from only("count_organizations", into=int)
    return (yield from rows("find_least_audited", into=int, most=max(1, -(-total // AUDIT_SHARE))))


def _mark_audited(transaction: Transaction, ids: Sequence[int], drifted: Sequence[int]) -> Operation[None]:
    yield from transaction.lock([*ids, *drifted])
    yield from run_if("update_audited", ids, ids=list(ids), now=transaction.now)
    yield from run_if("update_drifted", drifted, ids=list(drifted), drifted=1)


def find_drifted(most: int) -> Operation[list[str]]:
    """Read the organizations with counters in doubt."""
    return (yield from rows("find_drifted", into=str, most=most))


def _repair(transaction: Transaction, organization: str, actor: str) -> Operation[list[Drift]]:
    """Recount under the organization's lock."""
    organization_id = yield from find_organization_id(organization)
    locked = yield from transaction.lock([organization_id])
    count = yield from _count([organization_id], [(organization_id, organization_id)])
    drift, one, counted = _drift(count), locked[organization_id], count.organizations[0]
    yield from run("delete_lanes", ids=[organization_id])
    yield from run("delete_all_turns", ids=[organization_id])
    ready, waiting = count.queued()[organization_id]
    one.ready, one.processing = ready, counted.leases
    one.calls, one.calls_ready = counted.call_leases, counted.ready_calls
    calling = yield from rows("count_ready_calls", into=ReadyCallsRow, ids=[organization_id])
    one.calling = {row.task_type: row.count for row in calling}
    one.queued = ready + waiting
    one.credits_held, one.credits_granted = counted.lease_costs, counted.grants
    one.lanes = {key[1:]: Lane(0, 0, 0) for key in count.kept} | {
        key[1:]: Lane(lane.ready, lane.waiting, lane.head or 0) for key, lane in count.lanes.items()
    }
    one.touched, one.turns_before = set(one.lanes), frozenset()
    yield from transaction.save()
    yield from run("update_drifted", ids=[organization_id], drifted=0)
    yield from write_trail(
        transaction, actor, "organization.repaired", one.name, [msgspec.structs.asdict(entry) for entry in drift]
    )
    return drift


def count_states() -> Operation[dict[int, int]]:
    """Count the states in bounded steps."""
    counted = yield from rows("count_call_states", into=StatesRow)
    states = Counter({row.states: row.count for row in counted})
    start: TaskIdRow | None = TaskIdRow(0, "")
    while start is not None:
        place = {"organization_id": start.organization_id, "id": start.id}
        for row in (yield from rows("count_states", into=StatesRow, **place, most=STEP)):
            states[row.states] += row.count
        start = yield from first("find_task_behind", into=TaskIdRow, **place, skipped=STEP - 1)
    return dict(states)
