"""What the operations of one transaction share: its locked organizations, its clock, its effects.

Every operation that moves a task first locks the organizations it touches, changes their working copies
(``locked.py``), and saves them once. So a counter and the rows it counts change in one transaction, each with one
statement over the whole set. No other code writes these columns.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from fairlane.store.config import Config
from fairlane.store.effects import Effects
from fairlane.store.locked import Lane, LaneRow, LockedOrganization, ReadyCallsRow, Turn
from fairlane.store.memory import Memory
from fairlane.store.statements import (
    Operation,
    Query,
    change,
    clock,
    clock_query,
    query,
    rows_if,
    run_if,
    together,
)

Locked = dict[int, LockedOrganization]

_LOCK, _LOCK_FREE = "lock_organizations", "lock_further_organizations"


class Transaction:
    """One transaction under way. An adapter makes the effects, a noun gives the rest (``Noun``)."""

    __slots__ = ("config", "effects", "locked", "memory", "now")

    def __init__(self, config: Config, memory: Memory, effects: Effects) -> None:
        self.config = config
        self.memory = memory
        self.effects = effects
        self.locked: Locked = {}
        """The organizations that are locked, by id."""
        self.now = 0
        """The database's clock when it was last read, or 0 if it was not read yet."""

    def read_clock(self) -> Operation[int]:
        """Read the database's clock. Ask after locking: waiting for a lock takes time."""
        self.now = yield from clock()
        return self.now

    def lock(
        self, ids: Iterable[int], *reads: Query[Any], before: Sequence[Query[Any]] = (), all_of_them: bool = True
    ) -> Operation[Locked]:
        """Lock these organizations in id order, then read their lanes and the clock. Ids that do not exist are left
        out.

        Call it before any other lock of organizations or limits, and only once: a transaction that waits while it holds
        locks can deadlock. The queries ``reads`` run after the lock, those of ``before`` ahead of it, all in one go.
        Without ``all_of_them``: lock as :meth:`lock_some`.
        """
        wanted = set(ids)
        hurried = None if all_of_them else _LOCK_FREE
        clocked = clock_query(needed=bool(wanted))
        self.locked = yield from read_locked(wanted, *reads, clocked, before=before, hurried=hurried)
        if clocked.rows:
            [self.now] = clocked.rows
        return self.locked

    def lock_some(self, ids: Iterable[int]) -> Operation[Locked]:
        """Lock these organizations; if the transaction must not wait, leave out those that are locked."""
        return (yield from self.lock(ids, all_of_them=False))

    def lock_further(self, ids: Iterable[int], *reads: Query[Any]) -> Operation[None]:
        """Lock more organizations, besides those that are locked; leave out those that another server holds."""
        self.locked.update((yield from read_locked(ids, *reads, statement=_LOCK_FREE)))

    def save(self, *beside: Query[None]) -> Operation[None]:
        """Write counts, lanes and turns back, each with one statement over all organizations.

        ``beside`` are other changes, to other tables.
        """
        if self.locked and not self.now:
            yield from self.read_clock()
        counts, lanes = [], []
        stale: list[Turn] = []
        fresh: list[Turn] = []
        for one in self.locked.values():
            startable = one.startable_types()
            if startable or one.calling:
                one.enter(self.memory.virtual_time)
                self.effects.startable.update(startable, one.calling)
            sums = one.advanced(self.now)
            counts.append(
                (one.id, one.next_seq, one.queued, one.ready, one.processing, one.calls, one.calls_ready,
                 one.virtual_time, one.submitted, one.completed, one.failed, sums.slot_ms, sums.plan_limited_ms,
                 sums.worker_limited_ms, sums.at, one.credits_granted, one.credits_charged, one.credits_held,
                 one.credits_wanted)
            )  # fmt: skip
            for task_type, rank in one.touched:
                lane = one.lanes[task_type, rank]
                lanes.append((one.id, task_type, rank, lane.ready, lane.waiting, lane.head_seq))
            after = one.turns(startable)
            stale.extend(one.turns_before - after)
            fresh.extend(after - one.turns_before)
        yield from together(
            *beside,
            change("update_organizations", counts, organizations=counts),
            change("upsert_lanes", lanes, lanes=lanes),
            change("delete_turns", stale, turns=stale),
            change("insert_turns", fresh, turns=fresh),
        )
        doubted = [one.id for one in self.locked.values() if one.doubted]
        yield from run_if("update_drifted", doubted, ids=doubted, drifted=1)

    def freed(self, task_type: str) -> None:
        """Note that work of this type ended: other organizations may have waited for the type's limit."""
        if task_type in self.memory.limited or self.config.rule(task_type).limit is not None:
            self.effects.startable.add(task_type)


def read_locked(
    ids: Iterable[int],
    *reads: Query[Any],
    before: Sequence[Query[Any]] = (),
    statement: str = _LOCK,
    hurried: str | None = None,
) -> Operation[Locked]:
    """Lock these organizations, unless they are locked already, and return working copies of their rows now.

    All queries are one round trip on PostgreSQL. It runs them one after the other, each on a snapshot of its own
    (READ COMMITTED) that is taken when the query begins. So a query after the lock sees what was committed while the
    lock was waited for. Lanes of an organization that was not locked are dropped.
    """
    wanted = sorted(set(ids))
    lock = query(statement, wanted, into=LockedOrganization, ids=wanted)
    lock.hurried = hurried
    lanes = query("find_lanes", wanted, into=LaneRow, ids=wanted)
    yield from together(*before, lock, lanes, *reads)
    locked: Locked = {one.id: one for one in lock.rows}
    for one in lock.rows:
        one.held_before = (one.ready, one.used(), one.slots_max, one.stopped() or one.waits_for_credits())
    for lane in lanes.rows:
        if lane.organization_id in locked:
            locked[lane.organization_id].lanes[lane.task_type, lane.rank] = Lane(
                lane.ready, lane.waiting, lane.head_seq
            )
    with_calls = [one.id for one in lock.rows if one.calls_ready > 0]
    for calls in (yield from rows_if("count_ready_calls", with_calls, into=ReadyCallsRow, ids=with_calls)):
        locked[calls.organization_id].calling[calls.task_type] = calls.count
    for one in lock.rows:
        one.turns_before = one.turns(one.startable_types())
    return locked
