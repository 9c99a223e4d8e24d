"""Organizations held under their lock for the length of one transaction.

Every operation that moves a task first locks the organizations it touches, changes their counts, lanes and turns in
memory through the methods here, and writes them back once. So a counter and the rows it counts change in one
transaction, each with one statement over the whole set. Nothing else writes these columns.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from fairlane.rules import Candidate, Integrals
from fairlane.store.memory import Memory
from fairlane.store.statements import Query, Rows, query_if, rows_if, together

QUEUE_TURN = 0
"""A turn to start tasks of a type."""
CALL_TURN = 1
"""A turn to start calls of a type, whose slots are taken already."""

Turn = tuple[str, int, int, int]
"""(task type, QUEUE_TURN or CALL_TURN, virtual time, organization id)."""


@dataclass(slots=True)
class Lane:
    """One organization's count for one type and rank."""

    ready: int
    waiting: int
    head_seq: int


@dataclass(slots=True)
class LockedOrganization:
    """The working copy of one organization's row and lanes."""

    id: int
    name: str
    slots_max: int | None
    queue_limit: int
    weight: int
    paused: int
    disabled: int
    next_seq: int
    queued: int
    ready: int
    processing: int
    calls: int
    """Slots that calls hold, from admission to end."""
    calls_ready: int
    """Those of them that wait for a free place of a worker."""
    virtual_time: int
    submitted: int
    completed: int
    failed: int
    integrals: Integrals
    credits_on: int
    credits_granted: int
    credits_charged: int
    credits_held: int
    """The costs of its leases, whether credits are on or not."""
    credits_wanted: int
    """What the task costs that waits for credits which running work holds; 0: none does."""
    lanes: dict[tuple[str, int], Lane] = field(default_factory=dict)
    calling: dict[str, int] = field(default_factory=dict)
    """Calls that wait for a free place, by type."""
    touched: set[tuple[str, int]] = field(default_factory=set)
    turns_before: frozenset[Turn] = frozenset()
    doubted: bool = False
    """Its counts were found to disagree with its rows: it is marked as drifted, and starts nothing here and now."""
    held_before: tuple[int, int, int | None, bool] = (0, 0, None, False)
    """(ready, in use, slots_max, kept from starting) since the row was last written; the integrals sum these up."""

    def slots_free(self) -> int:
        """How many more tasks may start now; 0 while paused, disabled, without a readable limit, or while the next one
        waits for credits."""
        return 0 if self.waits_for_credits() else self.slots_left()

    def slots_left(self) -> int:
        """How many slots may be taken now; 0 while paused, disabled or without a readable limit."""
        if self.stopped() or self.doubted or self.slots_max is None:
            return 0
        return max(0, self.slots_max - self.used())

    def used(self) -> int:
        """Slots in use."""
        return self.processing + self.calls

    def take_seq(self) -> int:
        """The next place in the order of acceptance."""
        seq = self.next_seq
        self.next_seq += 1
        return seq

    def enqueue(self, task_type: str, rank: int, seq: int) -> None:
        """A task became ready in this lane."""
        lane = self._lane(task_type, rank)
        lane.head_seq = min(lane.head_seq, seq) if lane.ready else seq
        lane.ready += 1
        self.ready += 1
        self.queued += 1

    def wait(self, task_type: str, rank: int) -> None:
        """A task started to wait in this lane."""
        self._lane(task_type, rank).waiting += 1
        self.queued += 1

    def stop_waiting(self, task_type: str, rank: int) -> None:
        """A waiting task left this lane."""
        lane = self._lane(task_type, rank)
        lane.waiting = self._less(lane.waiting)
        self.queued = self._less(self.queued)

    def start(self, task_type: str, rank: int, seq: int) -> None:
        """The oldest ready task of this lane took a slot."""
        self.take(task_type, rank, seq)
        self.processing += 1

    def take(self, task_type: str, rank: int, seq: int) -> None:
        """The oldest ready task of this lane left it."""
        lane = self._lane(task_type, rank)
        lane.ready = self._less(lane.ready)
        lane.head_seq = max(lane.head_seq, seq + 1)
        self.ready = self._less(self.ready)
        self.queued = self._less(self.queued)

    def leave(self, task_type: str, rank: int) -> None:
        """A ready task left this lane without starting."""
        lane = self._lane(task_type, rank)
        lane.ready = self._less(lane.ready)
        self.ready = self._less(self.ready)
        self.queued = self._less(self.queued)

    def end(self) -> None:
        """A task's slot became free."""
        self.processing = self._less(self.processing)

    def begin_call(self, task_type: str, cost: int) -> None:
        """A call took a slot, holds what it costs, and waits for a free place."""
        self.calls += 1
        self.hold(cost)
        self.ready_call(task_type)

    def ready_call(self, task_type: str) -> None:
        """A call that holds a slot waits for a free place."""
        self.calls_ready += 1
        self.calling[task_type] = self.calling.get(task_type, 0) + 1

    def start_call(self, task_type: str) -> None:
        """A call waits no more: a worker has it, or it is over or paused."""
        self.calls_ready = self._less(self.calls_ready)
        left = self._less(self.calling.pop(task_type, 0))
        if left:
            self.calling[task_type] = left

    def end_call(self, cost: int) -> None:
        """A call's slot became free, and what it held."""
        self.calls = self._less(self.calls)
        self.release(cost)

    def charge(self, units: int) -> None:
        """Service was taken (or, negative, turned out shorter than charged before)."""
        self.virtual_time = max(0, self.virtual_time + units)

    def stopped(self) -> bool:
        """Nothing of this organization may start, whatever its slots."""
        return bool(self.paused or self.disabled)

    # Credits ---------------------------------------------------------------------------------------------------------

    def balance(self) -> int:
        """What was granted and is not charged; below 0 only after a correction."""
        return self.credits_granted - self.credits_charged

    def can_pay(self, cost: int, *, besides: int = 0) -> bool:
        """Whether the balance covers this cost besides that of others. What costs nothing can always be paid."""
        return not self.credits_on or cost == 0 or self.balance() - besides >= cost

    def can_hold(self, cost: int) -> bool:
        """Whether so much of the balance is not held by running work."""
        return self.can_pay(cost, besides=self.credits_held)

    def hold(self, cost: int) -> None:
        """Something started that costs so much if it completes."""
        self.credits_held += cost

    def release(self, cost: int) -> None:
        """It ended, however."""
        self.credits_held -= cost
        if self.credits_held < 0:
            self.doubted, self.credits_held = True, 0

    def spend(self, cost: int) -> None:
        """It completed: this is the one place where credits are charged."""
        if self.credits_on:
            self.credits_charged += cost

    def want_credits(self, cost: int) -> None:
        """The next task waits until so much of the balance is not held, and all behind it with it: cheaper ones that
        passed it by would hold the credits it waits for, again and again. 0: nothing waits."""
        self.credits_wanted = cost

    def waits_for_credits(self) -> bool:
        """Whether nothing may start until running work ends or credits are granted. A task that even the whole balance
        does not cover does not wait: it is taken up, and fails. So this ends with the last running task at the latest,
        also if the task that waited is gone."""
        wanted = self.credits_wanted
        return wanted > 0 and self.can_pay(wanted) and not self.can_hold(wanted)

    # Turns -----------------------------------------------------------------------------------------------------------

    def startable_types(self) -> set[str]:
        """Types of which something could start at once."""
        if not self.slots_free():
            return set()
        return {task_type for (task_type, _), lane in self.lanes.items() if lane.ready > 0}

    def enter(self, virtual_time: int) -> None:
        """Who was idle, or held back by its own limit, banks no credit: its tag moves up to the present."""
        if not self.turns_before:
            self.virtual_time = max(self.virtual_time, virtual_time)

    def calls_of(self, types: Iterable[str]) -> int:
        """How many calls of these types wait for a free place."""
        if not self.calling or self.doubted:
            return 0
        return sum(self.calling.get(name, 0) for name in types)

    def candidate(self, room: dict[str, int], types: Iterable[str], memory: Memory) -> Candidate:
        """What this organization could start now: calls of ``types``, which have their slots, and tasks of the types in
        ``room``, at most that many of each."""
        ready: dict[str, int] = {}
        first = (11, "")
        for (task_type, rank), lane in self.lanes.items():
            if lane.ready > 0 and room.get(task_type, 0) > 0:
                ready[task_type] = ready.get(task_type, 0) + lane.ready
                first = min(first, (rank, task_type))
        startable = sum(min(count, room[task_type]) for task_type, count in ready.items())
        return Candidate(
            self.id,
            self.virtual_time,
            self.weight,
            self.calls_of(types) + min(self.slots_free(), startable),
            memory.estimate_ms(first[1]),
        )

    def turns(self) -> frozenset[Turn]:
        """The rows of ``turn`` that should be there."""
        tasks = [(task_type, QUEUE_TURN, self.virtual_time, self.id) for task_type in self.startable_types()]
        calls = [(task_type, CALL_TURN, self.virtual_time, self.id) for task_type in self.calling]
        return frozenset(tasks + calls)

    def _less(self, count: int) -> int:
        """One less. A count that would fall below zero was wrong before: a repair mends it. Failing here would fail the
        transaction, in which other organizations take part."""
        if count > 0:
            return count - 1
        self.doubted = True
        return 0

    def _lane(self, task_type: str, rank: int) -> Lane:
        key = (task_type, rank)
        self.touched.add(key)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(0, 0, 0)
        return lane


Locked = dict[int, LockedOrganization]


def lock_organizations(ids: Iterable[int]) -> Generator[Query, Rows, Locked]:
    """Lock these organizations in id order and read their lanes. Ids that do not exist are left out.

    Call it before anything else is locked, and once: waiting while holding is how deadlocks are made.
    """
    return (yield from lock_and_read(ids))[0]


def lock_and_read(
    ids: Iterable[int], *reads: Query | None, all_of_them: bool = True
) -> Generator[Query, Rows, tuple[Locked, list[Rows]]]:
    """:func:`lock_organizations`, and what these queries then find, in one go with the lanes.

    Not ``all_of_them``: as :func:`lock_some_organizations`.
    """
    return (yield from _lock(_LOCK, ids, *reads, hurried=None if all_of_them else _LOCK_FREE))


def lock_some_organizations(ids: Iterable[int]) -> Generator[Query, Rows, Locked]:
    """The same for who can do without one that somebody holds for long: it may be left out."""
    return (yield from lock_and_read(ids, all_of_them=False))[0]


def lock_further_organizations(ids: Iterable[int]) -> Generator[Query, Rows, Locked]:
    """The same where a transaction holds organizations already: those that another server holds are left out, too."""
    return (yield from _lock(_LOCK_FREE, ids))[0]


_LOCK, _LOCK_FREE = "lock_organizations", "lock_further_organizations"


def _lock(
    statement: str, ids: Iterable[int], *reads: Query | None, hurried: str | None = None
) -> Generator[Query, Rows, tuple[Locked, list[Rows]]]:
    wanted = sorted(set(ids))
    locked: Locked = {}
    rows_found: Rows = (yield Query(statement, {"ids": wanted}, hurried)) if wanted else []
    for row in rows_found:
        one = LockedOrganization(*[*row[:17], Integrals(*row[17:21]), *row[21:]])
        one.held_before = (one.ready, one.used(), one.slots_max, one.stopped() or one.waits_for_credits())
        locked[one.id] = one
    lanes, *found = yield from together(query_if("find_lanes", list(locked), ids=list(locked)), *reads)
    for organization_id, task_type, rank, ready, waiting, head_seq in lanes:
        locked[organization_id].lanes[task_type, rank] = Lane(ready, waiting, head_seq)
    with_calls = [one.id for one in locked.values() if one.calls_ready > 0]
    for organization_id, task_type, count in (yield from rows_if("count_ready_calls", with_calls, ids=with_calls)):
        locked[organization_id].calling[task_type] = count
    for one in locked.values():
        one.turns_before = one.turns()
    return locked, found


def write_organizations(
    locked: Locked, memory: Memory, now: int, *beside: Query | None
) -> Generator[Query, Rows, None]:
    """Write counts, lanes and turns back; each statement covers all of them. ``beside``: what else changes, in other
    tables."""
    counts, lanes = [], []
    stale: list[Turn] = []
    fresh: list[Turn] = []
    for one in locked.values():
        startable = one.startable_types() | one.calling.keys()
        if startable:
            one.enter(memory.virtual_time)
            memory.startable |= startable
        sums = one.integrals
        sums.advance(now, *one.held_before)
        counts.append(
            (one.id, one.next_seq, one.queued, one.ready, one.processing, one.calls, one.calls_ready, one.virtual_time,
             one.submitted, one.completed, one.failed, sums.slot_ms, sums.plan_limited_ms, sums.worker_limited_ms,
             sums.at, one.credits_granted, one.credits_charged, one.credits_held, one.credits_wanted)
        )  # fmt: skip
        for task_type, rank in one.touched:
            lane = one.lanes[task_type, rank]
            lanes.append((one.id, task_type, rank, lane.ready, lane.waiting, lane.head_seq))
        after = one.turns()
        stale.extend(one.turns_before - after)
        fresh.extend(after - one.turns_before)
    yield from together(
        *beside,
        query_if("update_organizations", counts, organizations=counts),
        query_if("upsert_lanes", lanes, lanes=lanes),
        query_if("delete_turns", stale, turns=stale),
        query_if("insert_turns", fresh, turns=fresh),
    )
    doubted = [one.id for one in locked.values() if one.doubted]
    yield from rows_if("update_drifted", doubted, ids=doubted, drifted=1)
