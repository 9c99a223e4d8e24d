"""Working copies of organizations that are locked for the length of one transaction.

Their methods change counts, lanes and turns in memory; ``transaction.py`` locks the rows and writes them back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from fairlane.rules.fairness import Candidate, charged, entered
from fairlane.rules.history import Integrals
from fairlane.store.memory import Memory
from fairlane.store.statements import Row

QUEUE_TURN = 0
"""A turn to start tasks of a type."""
CALL_TURN = 1
"""A turn to start calls of a type, which already hold their slots."""

Turn = tuple[str, int, int, int]
"""(task type, QUEUE_TURN or CALL_TURN, virtual time, organization id)."""


class LaneRow(Row, frozen=True):
    """A lane, as kept."""

    organization_id: int
    task_type: str
    rank: int
    ready: int
    waiting: int
    head_seq: int


class ReadyCallsRow(Row, frozen=True):
    """How many calls of one type wait for a free place."""

    organization_id: int
    task_type: str
    count: int


class Head(Row, frozen=True):
    """A ready task that is one of the next of its organization, with everything that its start or end needs."""

    organization_id: int
    task_type: str
    rank: int
    seq: int
    task_id: str
    attempt: int
    first_started_at: int | None
    starts: int
    """How many times it was started, also for attempts that do not count."""
    slot_wait_from: int
    """What its organization's integrals were when it became ready, less what it had waited before; so the next one."""
    worker_wait_from: int
    cost: int
    webhook: int
    """Whether a webhook message is owed when it ends."""
    ready_at: int
    """When it could have started: at its acceptance or its ``runAt``, whichever is later."""
    traceparent: str | None
    size: int
    """The length of its payload in bytes."""
    payload: str | None
    """None if it is long, and has to be read apart."""


@dataclass(slots=True)
class Lane:
    """One organization's count for one type and rank."""

    ready: int
    waiting: int
    head_seq: int


class LockedOrganization(Struct, array_like=True):
    """The working copy of one organization's row and lanes.

    The fields without a default are the columns of ``lock_organizations``.
    """

    id: int
    name: str
    slots_max: int | None
    queue_limit: int
    weight: int
    priority_limit: int | None
    task_types: str | None
    """A JSON array of the task types that it may submit; None for any."""
    retention_seconds: int | None
    """How long its tasks stay readable after their ends; None for the setting."""
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
    slot_ms: int
    plan_limited_ms: int
    worker_limited_ms: int
    integrals_at: int
    credits_on: int
    credits_granted: int
    credits_charged: int
    credits_held: int
    """The costs of its leases, whether credits are on or not."""
    credits_wanted: int
    """The cost of the next task if it waits for credits that running work holds; 0 if no task waits for credits."""
    lanes: dict[tuple[str, int], Lane] = {}
    calling: dict[str, int] = {}
    """Calls that wait for a free place, by type."""
    touched: set[tuple[str, int]] = set()
    ahead: list[Head] = []
    """Its next ready tasks in the order of their start, if they were read together with its row: all, or the first
    ones."""
    turns_before: frozenset[Turn] = frozenset()
    doubted: bool = False
    """Its counts do not match its rows: it is marked as drifted, and starts nothing in this transaction."""
    held_before: tuple[int, int, int | None, bool] = (0, 0, None, False)
    """(ready, in use, slots_max, kept from starting) since the row was last written; the integrals sum these up."""

    def advanced(self, now: int) -> Integrals:
        """Return the integrals up to this moment."""
        sums = Integrals(self.slot_ms, self.plan_limited_ms, self.worker_limited_ms, self.integrals_at)
        sums.advance(now, *self.held_before)
        return sums

    def waits(self, now: int) -> tuple[int, int]:
        """Return its integrals of waiting up to this moment: for a slot, and for a worker."""
        sums = self.advanced(now)
        return sums.plan_limited_ms, sums.worker_limited_ms

    def slots_free(self) -> int:
        """Return how many more tasks may start now.

        This is 0 while paused, disabled, without a readable limit, or while the next task waits for credits.
        """
        return 0 if self.waits_for_credits() else self.slots_left()

    def slots_left(self) -> int:
        """Return how many slots may be taken now; 0 while paused, disabled or without a readable limit."""
        if self.stopped() or self.doubted or self.slots_max is None:
            return 0
        return max(0, self.slots_max - self.used())

    def used(self) -> int:
        """Return the slots in use."""
        return self.processing + self.calls

    def take_seq(self) -> int:
        """Return the next number in the order of acceptance."""
        seq = self.next_seq
        self.next_seq += 1
        return seq

    def enqueue(self, task_type: str, rank: int, seq: int) -> None:
        """Count a task that became ready in this lane."""
        self.ahead.clear()  # it may come before those
        lane = self._lane(task_type, rank)
        lane.head_seq = min(lane.head_seq, seq) if lane.ready else seq
        lane.ready += 1
        self.ready += 1
        self.queued += 1

    def wait(self, task_type: str, rank: int) -> None:
        """Count a task that started to wait in this lane."""
        self._lane(task_type, rank).waiting += 1
        self.queued += 1

    def stop_waiting(self, task_type: str, rank: int) -> None:
        """Remove a waiting task from this lane."""
        lane = self._lane(task_type, rank)
        lane.waiting = self._less(lane.waiting)
        self.queued = self._less(self.queued)

    def start(self, heads: Sequence[Head]) -> None:
        """Start these tasks in a slot each."""
        self.take(heads)
        self.processing += len(heads)

    def take(self, heads: Sequence[Head]) -> None:
        """Remove these tasks, which are the oldest ready ones of their lanes, in the order of their start."""
        if self.ahead[: len(heads)] == heads:
            del self.ahead[: len(heads)]
        else:
            self.ahead.clear()
        for head in heads:
            lane = self._lane(head.task_type, head.rank)
            lane.ready = self._less(lane.ready)
            lane.head_seq = max(lane.head_seq, head.seq + 1)
        self.ready = self._less(self.ready, len(heads))
        self.queued = self._less(self.queued, len(heads))

    def leave(self, task_type: str, rank: int) -> None:
        """Remove a ready task that does not start from this lane."""
        lane = self._lane(task_type, rank)
        lane.ready = self._less(lane.ready)
        self.ready = self._less(self.ready)
        self.queued = self._less(self.queued)

    def end(self, count: int = 1) -> None:
        """Free the slots of this many tasks."""
        self.processing = self._less(self.processing, count)

    def begin_call(self, task_type: str, cost: int) -> None:
        """Give a call a slot, hold its cost, and count it as waiting for a free place."""
        self.calls += 1
        self.hold(cost)
        self.ready_call(task_type)

    def ready_call(self, task_type: str) -> None:
        """Count a call that holds a slot and waits for a free place."""
        self.calls_ready += 1
        self.calling[task_type] = self.calling.get(task_type, 0) + 1

    def start_call(self, task_type: str) -> None:
        """Count a call out that no longer waits: a worker has it, or it is over or paused."""
        self.calls_ready = self._less(self.calls_ready)
        left = self._less(self.calling.pop(task_type, 0))
        if left:
            self.calling[task_type] = left

    def end_call(self, cost: int) -> None:
        """Free the slot of a call, and the credits it held."""
        self.calls = self._less(self.calls)
        self.release(cost)

    def charge(self, milliseconds: int) -> None:
        """Add service to the virtual time; negative if an attempt was shorter than charged."""
        self.virtual_time = charged(self.virtual_time, milliseconds, self.weight)

    def stopped(self) -> bool:
        """Return whether nothing of this organization may start, regardless of its slots."""
        return bool(self.paused or self.disabled)

    # Credits ---------------------------------------------------------------------------------------------------------

    def balance(self) -> int:
        """Return the credits granted and not charged; below 0 only after a correction."""
        return self.credits_granted - self.credits_charged

    def can_pay(self, cost: int, *, besides: int = 0) -> bool:
        """Return whether the balance covers this cost in addition to ``besides``. A cost of 0 can always be paid."""
        return not self.credits_on or cost == 0 or self.balance() - besides >= cost

    def can_hold(self, cost: int) -> bool:
        """Return whether the part of the balance that running work does not hold covers this cost."""
        return self.can_pay(cost, besides=self.credits_held)

    def hold(self, cost: int) -> None:
        """Hold the cost of work that started."""
        self.credits_held += cost

    def release(self, cost: int) -> None:
        """Release the held cost of work that ended."""
        self.credits_held -= cost
        if self.credits_held < 0:
            self.doubted, self.credits_held = True, 0

    def spend(self, cost: int) -> None:
        """Charge the cost of work that completed: this is the only place where credits are charged."""
        if self.credits_on:
            self.credits_charged += cost

    def want_credits(self, cost: int) -> None:
        """Let the next task wait for ``cost`` free credits and block the queue; 0 if no task waits.

        Otherwise cheaper tasks would keep taking the credits it needs.
        """
        self.credits_wanted = cost

    def waits_for_credits(self) -> bool:
        """Return whether nothing may start until running work ends or credits are granted.

        A task that even the whole balance does not cover does not wait: it is claimed, and fails. So the wait ends with
        the last running task at the latest, even if the waiting task is gone.
        """
        wanted = self.credits_wanted
        return wanted > 0 and self.can_pay(wanted) and not self.can_hold(wanted)

    # Turns -----------------------------------------------------------------------------------------------------------

    def startable_types(self) -> set[str]:
        """Return the types of which a task could start at once."""
        if not self.slots_free():
            return set()
        return {task_type for (task_type, _), lane in self.lanes.items() if lane.ready > 0}

    def enter(self, virtual_time: int) -> None:
        """Raise the virtual time of an organization that had no turn to the present: idle time earns no credit."""
        if not self.turns_before:
            self.virtual_time = entered(self.virtual_time, virtual_time)

    def calls_of(self, types: Iterable[str]) -> int:
        """Return how many calls of these types wait for a free place."""
        if not self.calling or self.doubted:
            return 0
        return sum(self.calling.get(name, 0) for name in types)

    def candidate(self, room: dict[str, int], types: Iterable[str], memory: Memory) -> Candidate:
        """Return what this organization could start now, after it entered the fair order.

        These are calls of ``types``, which already have their slots, and tasks of the types in ``room``, at most that
        many of each.
        """
        self.enter(memory.virtual_time)
        ready: dict[str, int] = {}
        first = (11, 0, "")
        for (task_type, rank), lane in self.lanes.items():
            if lane.ready > 0 and room.get(task_type, 0) > 0:
                ready[task_type] = ready.get(task_type, 0) + lane.ready
                first = min(first, (rank, lane.head_seq, task_type))
        startable = sum(min(count, room[task_type]) for task_type, count in ready.items())
        return Candidate(
            self.id,
            self.virtual_time,
            self.weight,
            self.calls_of(types) + min(self.slots_free(), startable),
            memory.estimate_ms(first[2]),
        )

    def turns(self, startable: Iterable[str]) -> frozenset[Turn]:
        """Return the rows of ``turn`` that should exist for these :meth:`startable_types`."""
        tasks = [(task_type, QUEUE_TURN, self.virtual_time, self.id) for task_type in startable]
        calls = [(task_type, CALL_TURN, self.virtual_time, self.id) for task_type in self.calling]
        return frozenset(tasks + calls)

    def _less(self, count: int, by: int = 1) -> int:
        """Return so much less. A count that would fall below zero was already wrong: a repair fixes it.

        An exception would fail the transaction, which includes other organizations.
        """
        if count >= by:
            return count - by
        self.doubted = True
        return 0

    def _lane(self, task_type: str, rank: int) -> Lane:
        key = (task_type, rank)
        self.touched.add(key)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(0, 0, 0)
        return lane
