"""Calls: requests that run now while the caller waits. A call takes a slot at once or is refused; it is never queued.

A call's lease exists from its admission to its end. Until a worker takes it, and between two attempts, the lease
belongs to the call's server, so that the calls of a dead server end with it. The row of ``call`` has payload and
result, so that any server may hand it out and settle it, and the caller's server finds the result.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from fairlane.errors import ConcurrencyFull, CreditsShort, KeyRefused, Refusal, Unavailable
from fairlane.model.calls import Abandoned, Admitted, EndedCall, NewCall
from fairlane.model.leases import Ending, Exchange, Lease
from fairlane.model.organizations import CreditTotals
from fairlane.model.tasks import Failure, TaskStatus
from fairlane.rules.attempts import CALL_MS, TIMED_OUT, Final, Paused, call_aftermath
from fairlane.store.lease_rows import HeldLease, correct, lease_id
from fairlane.store.locked import LockedOrganization
from fairlane.store.noun import Noun, Shared, weight
from fairlane.store.plans import refusal_by_plan
from fairlane.store.statements import CHUNK, Operation, Row, change, rows, rows_if, run_if
from fairlane.store.transaction import Transaction
from fairlane.store.type_limits import count_types, lock_types, rooms_left

Named = tuple[int, str]
"""(organization id, call id)."""


NEVER_STARTED = Final(TaskStatus.FAILED, failure=TIMED_OUT, cause="no free place in time")


class CallStore(Noun):
    """Calls with waiting callers: a slot at once, the result, the end."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._begin = self._plural(begin_calls)
        self._abandon = self._plural(_abandon)
        self._forget = self._plural(_forget)

    async def begin(self, new: NewCall) -> Admitted:
        """Give a call its slot at once. A refusal leaves nothing behind.

        Raises:
            ConcurrencyFull: its organization has no free slot, or its task type no room.
            Unavailable: its organization is paused, or its limit cannot be read.
            KeyRefused: its organization is disabled or gone.
            ValidationRefused: its organization's plan does not allow the task type.
            CreditsShort: the part of the balance that is not held does not cover the cost.
        """
        return await self._database.write(self._begin, new, weight=weight([new.payload]))

    async def abandon(self, organization_id: int, call_id: str, *, running: bool = True) -> Abandoned:
        """Give up a call after its caller is gone; return the state in which it was found.

        A call that no worker has is removed and its slot freed. A running call keeps its slot to the end of its
        attempt, which is its last; its result is dropped. With ``running`` False, a running call is left alone.
        """
        return await self._database.write(self._abandon, Abandonment(organization_id, call_id, running))

    async def ended(self, server_id: str, *, taken: Iterable[str] = (), most: int = 100) -> list[EndedCall]:
        """Return a server's calls that ended, without those it has ``taken`` already; at most ``most``."""
        return await self._database.read(ended_calls(server_id, taken, most))

    async def of_server(self, server_id: str) -> set[str]:
        """Return the ids of all existing calls of a server, ended or not."""
        return await self._database.read(server_calls(server_id))

    async def forget(self, answered: Sequence[Named]) -> None:
        """Remove ended calls after their callers were answered."""
        await self._database.write(self._forget, answered, weight=max(1, len(answered)))


class CallRow(Row, frozen=True):
    """A call's row, as needed to change it."""

    organization_id: int
    id: str
    task_type: str
    server_id: str
    ready: int
    give_up_at: int
    ended: int
    cost: int
    wanted: int
    """Whether the caller still waits: the call is not canceled, and its server is alive."""


class ReadyCallRow(Row, frozen=True):
    """A call that waits for a free place."""

    organization_id: int
    id: str
    task_type: str
    give_up_at: int
    cost: int


class ClaimedCallRow(Row, frozen=True):
    """A call that a claim takes."""

    organization_id: int
    id: str
    task_type: str
    payload: str
    give_up_at: int
    attempt: int
    """Attempts made so far."""
    attempts: int


class CallIdRow(Row, frozen=True):
    """The key of a call."""

    organization_id: int
    id: str


class EndedCallRow(Row, frozen=True):
    """A call that ended, and its organization's credits."""

    organization_id: int
    id: str
    result: str | None
    failure: str | None
    charged: int
    credits_on: int
    credits_granted: int
    credits_charged: int
    credits_held: int


class PromotedCallRow(Row, frozen=True):
    """A call whose pause is over."""

    organization_id: int
    task_type: str


# Admission -----------------------------------------------------------------------------------------------------------


def begin_calls(transaction: Transaction, new: Sequence[NewCall]) -> Operation[list[Admitted | Refusal]]:
    """Give each call a slot at once, or refuse it, in order.

    Atomic over all calls. Never admits more than an organization's free slots, than the room of a type, which tasks and
    calls share, or than its unheld credits cover. A refused call leaves nothing behind; an admitted call is ready for
    the next free place.
    """
    types = {one.task_type for one in new}
    limited, counted = lock_types(types), count_types(types & transaction.memory.limited)
    locked = yield from transaction.lock((one.organization_id for one in new), limited, counted)
    now = transaction.now
    limits = transaction.memory.know_limits(types, {row.task_type: row.most for row in limited.rows})
    room = yield from rooms_left(limits, counted)
    answers: list[Admitted | Refusal] = []
    calls, leases = [], []
    fences = transaction.config.new_fences(len(new))
    for one, fence in zip(new, fences, strict=True):
        organization = locked.get(one.organization_id)
        refusal = _refusal(organization, one, limits, room)
        if refusal is not None or organization is None or organization.slots_max is None:
            answers.append(refusal or Unavailable())
            continue
        organization.begin_call(one.task_type, one.cost)
        if one.task_type in room:
            room[one.task_type] -= 1
        rule, seq = transaction.config.rule(one.task_type), organization.take_seq()
        calls.append((organization.id, one.id, seq, one.task_type, one.payload, one.cost, one.server_id))
        leases.append((organization.id, one.id, lease_id(organization.id, one.id, fence), one.task_type, seq, one.cost,
                       rule.attempts, int(one.task_type in limits), one.server_id))  # fmt: skip
        answers.append(
            Admitted(slots_used=organization.used(), slots_max=organization.slots_max, give_up_at=now + CALL_MS)
        )
    yield from transaction.save(change("insert_calls", calls, calls=calls, now=now, give_up_at=now + CALL_MS),
        change("insert_call_leases", leases, leases=leases, now=now, give_up_at=now + CALL_MS),
    )  # fmt: skip
    return answers


def _refusal(
    organization: LockedOrganization | None, new: NewCall, limits: Mapping[str, int], room: Mapping[str, int]
) -> Refusal | None:
    """Return why this call gets no slot. A paused organization, or one without a readable limit, has to try again
    later."""
    if organization is None or organization.disabled:
        return KeyRefused()
    not_allowed = refusal_by_plan(organization, new.task_type)
    if not_allowed is not None:
        return not_allowed
    if organization.paused or organization.slots_max is None:
        return Unavailable()
    if organization.slots_left() <= 0:
        return ConcurrencyFull(slots_used=organization.used(), slots_max=organization.slots_max)
    if room.get(new.task_type, 1) <= 0:
        return ConcurrencyFull(
            slots_used=organization.used(),
            slots_max=organization.slots_max,
            full=(new.task_type, limits[new.task_type]),
        )
    if not organization.can_hold(new.cost):
        return CreditsShort()
    return None


# Handing out ---------------------------------------------------------------------------------------------------------


class Taken(Struct, frozen=True):
    """The calls that a claim took, and what remains.

    ``places_left``: places of each organization left for tasks. ``ended``: types of the calls that ran out of time;
    each freed a slot and room of its type.
    """

    leases: list[Lease]
    places_left: dict[int, int]
    ended: list[str]


def take_calls(
    transaction: Transaction, places: Mapping[int, int], types: Sequence[str], one: Exchange
) -> Operation[Taken]:
    """Give the oldest waiting calls of these types to the places of their organizations."""
    locked, now = transaction.locked, transaction.now
    left = dict(places)
    calling = {
        organization_id: count for organization_id in places if (count := locked[organization_id].calls_of(types))
    }
    ready = yield from rows_if(
        "find_ready_calls", list(calling), into=ReadyCallRow, ids=list(calling), types=list(types)
    )
    chosen: list[Named] = []
    late: list[tuple[int, str, Final]] = []
    ended: list[str] = []
    for call in ready:
        organization = locked[call.organization_id]
        calling[call.organization_id] -= 1
        if call.give_up_at <= now:
            organization.start_call(call.task_type)
            organization.end_call(call.cost)
            late.append((call.organization_id, call.id, NEVER_STARTED))
            ended.append(call.task_type)
            transaction.freed(call.task_type)
        elif left[call.organization_id] > 0:
            left[call.organization_id] -= 1
            organization.start_call(call.task_type)
            chosen.append((call.organization_id, call.id))
    for organization_id, missing in calling.items():
        if missing:
            locked[organization_id].doubted = True  # it counts calls that do not exist
    yield from _finish(transaction, late, {})
    leases = yield from _start(transaction, chosen, one)
    # The slot of a call that ran out of time may be one too many: the limit was lowered, or the organization is paused.
    free = {one: min(count, locked[one].slots_free()) for one, count in left.items()}
    return Taken(leases, {one: count for one, count in free.items() if count > 0}, ended)


def _start(transaction: Transaction, chosen: Sequence[Named], one: Exchange) -> Operation[list[Lease]]:
    now = transaction.now
    found = yield from rows_if("find_claimed_calls", chosen, into=ClaimedCallRow, calls=chosen)
    started, leases = [], []
    for call, fence in zip(found, transaction.config.new_fences(len(found)), strict=True):
        organization = transaction.locked[call.organization_id]
        estimate_ms = transaction.memory.estimate_ms(call.task_type)
        organization.charge(estimate_ms)
        timeout_ms = min(transaction.config.rule(call.task_type).timeout_ms, call.give_up_at - now)
        identity = lease_id(call.organization_id, call.id, fence)
        attempt = call.attempt + 1
        started.append((call.organization_id, call.id, identity, attempt, estimate_ms, now + timeout_ms))
        leases.append(
            Lease(
                id=identity,
                task_id=call.id,
                organization_id=call.organization_id,
                organization=organization.name,
                task_type=call.task_type,
                payload=call.payload,
                attempt=attempt,
                attempts=call.attempts,
                timeout_ms=timeout_ms,
                started_at=now,
                call=True,
            )
        )
    yield from run_if(
        "start_call_leases", started, leases=started, now=now, session_id=one.session_id, exchange_id=one.id
    )
    begun = [(call.organization_id, call.id, 0, None) for call in found]
    yield from run_if("update_calls_ready", begun, calls=begun)
    return leases


# Ending --------------------------------------------------------------------------------------------------------------


def end_calls(transaction: Transaction, endings: Sequence[tuple[HeldLease, Ending]]) -> Operation[None]:
    """Settle the leases of calls: the call is over and its slot free, or it keeps the slot for another attempt.

    A call without a waiting caller is over, whatever the result of its attempt.
    """
    if not endings:
        return
    locked, now = transaction.locked, transaction.now
    standing = yield from find_calls([(lease.organization_id, lease.task_id) for lease, _ in endings])
    over: list[tuple[int, str, Final]] = []
    removed: list[Named] = []
    again, readiness, costs = [], [], {}
    for lease, ending in endings:
        organization, call = locked[lease.organization_id], standing.get(lease.task_id)
        waits = call is not None and lease.session_id == call.server_id
        if not waits:
            correct(transaction, organization, lease, ending)
        if call is not None and call.ready:
            organization.start_call(lease.task_type)
        if call is None or not call.wanted:
            organization.end_call(lease.cost)
            removed.append((lease.organization_id, lease.task_id))
            continue
        after = (
            NEVER_STARTED
            if waits
            else call_aftermath(
                ending,
                attempt=lease.attempt,
                attempts=lease.attempts,
                left_ms=call.give_up_at - now,
                pause_base_ms=transaction.config.retry_pause_ms,
                chance=transaction.config.chance(),
            )
        )
        if isinstance(after, Final):
            organization.end_call(lease.cost)
            if after.status is TaskStatus.COMPLETED:
                organization.spend(lease.cost)
            costs[lease.task_id] = lease.cost
            over.append((lease.organization_id, lease.task_id, after))
            continue
        due_at = now + after.pause_ms if isinstance(after, Paused) else None
        if due_at is None:
            organization.ready_call(lease.task_type)
        else:
            transaction.effects.pause_until(due_at)
        readiness.append((lease.organization_id, lease.task_id, int(due_at is None), due_at))
        again.append((lease.organization_id, lease.task_id, int(due_at is None), due_at,
                      after.attempt, call.give_up_at, call.server_id))  # fmt: skip
    yield from run_if("return_call_leases", again, calls=again)
    yield from run_if("update_calls_ready", readiness, calls=readiness)
    yield from _finish(transaction, over, costs)
    yield from _remove(removed)


def _finish(
    transaction: Transaction, over: Sequence[tuple[int, str, Final]], costs: Mapping[str, int]
) -> Operation[None]:
    """Write how these calls ended and free their slots. Only a result is charged."""
    ended = [
        (
            organization_id, call_id, str(after.status), after.result,
            None if after.failure is None else msgspec.json.encode(after.failure).decode(), after.cause,
            costs[call_id] if after.status is TaskStatus.COMPLETED else 0,
        )
        for organization_id, call_id, after in over
    ]  # fmt: skip
    yield from run_if("end_calls", ended, calls=ended)
    yield from run_if(
        "delete_leases", over, leases=[(organization_id, call_id) for organization_id, call_id, _ in over]
    )
    transaction.effects.calls_ended = transaction.effects.calls_ended or bool(ended)


def _remove(calls: Sequence[Named]) -> Operation[None]:
    yield from run_if("delete_leases", calls, leases=calls)
    yield from run_if("delete_calls", calls, calls=calls)


def find_calls(calls: Sequence[Named]) -> Operation[dict[str, CallRow]]:
    """Return the calls that exist, by id."""
    return {call.id: call for call in (yield from rows_if("find_calls", calls, into=CallRow, calls=calls))}


class Abandonment(Struct, frozen=True):
    """The caller of a call is gone. With ``running`` False, give the call up only if no worker has it."""

    organization_id: int
    call_id: str
    running: bool = True


def _abandon(transaction: Transaction, abandoned: Sequence[Abandonment]) -> Operation[list[Abandoned]]:
    named = [(one.organization_id, one.call_id) for one in abandoned]
    locked = yield from transaction.lock(organization_id for organization_id, _ in named)
    standing = yield from find_calls(named)
    waiting = {row.id for row in (yield from rows_if("find_waiting_calls", named, into=CallIdRow, calls=named))}
    removed: dict[str, Named] = {}
    canceled: list[Named] = []
    answers = []
    for one, call in ((one, standing.get(one.call_id)) for one in abandoned):
        if call is None:
            answers.append(Abandoned.GONE)
        elif call.ended:
            answers.append(Abandoned.ENDED)
        elif call.id in waiting:
            answers.append(Abandoned.REMOVED)
            if call.id not in removed:
                _release(transaction, locked[call.organization_id], call)
                removed[call.id] = (call.organization_id, call.id)
        else:
            answers.append(Abandoned.RUNNING)
            if one.running:
                canceled.append((call.organization_id, call.id))
    yield from _remove(list(removed.values()))
    yield from run_if("cancel_calls", canceled, calls=canceled)
    yield from transaction.save()
    return answers


def _release(transaction: Transaction, organization: LockedOrganization, call: CallRow) -> None:
    if call.ready:
        organization.start_call(call.task_type)
    organization.end_call(call.cost)
    transaction.freed(call.task_type)


# A server's own calls -------------------------------------------------------------------------------------------------


def ended_calls(server_id: str, taken: Iterable[str], most: int) -> Operation[list[EndedCall]]:
    """Read the ended calls of a server."""
    found = yield from rows("find_ended_calls", into=EndedCallRow, server_id=server_id, taken=list(taken), most=most)
    return [
        EndedCall(
            organization_id=row.organization_id,
            id=row.id,
            result=row.result,
            failure=None if row.failure is None else msgspec.json.decode(row.failure, type=Failure),
            charged=row.charged,
            credits=CreditTotals(
                on=bool(row.credits_on),
                granted=row.credits_granted,
                charged=row.credits_charged,
                held=row.credits_held,
            ),
        )
        for row in found
    ]


def server_calls(server_id: str) -> Operation[set[str]]:
    """Read the calls of a server."""
    return set((yield from rows("find_server_calls", into=str, server_id=server_id)))


def _forget(transaction: Transaction, calls: Sequence[Sequence[Named]]) -> Operation[list[None]]:
    ended = [named for one in calls for named in one]
    yield from run_if("delete_calls", ended, calls=ended)
    return [None for _ in calls]


# Upkeep --------------------------------------------------------------------------------------------------------------


def promote_calls(transaction: Transaction) -> Operation[int]:
    """Make calls ready at the end of their pause. Changes at most CHUNK; returns how many."""
    now = yield from transaction.read_clock()
    found = yield from rows("find_due_calls", into=CallIdRow, now=now, most=CHUNK)
    locked = yield from transaction.lock_some(row.organization_id for row in found)
    due = [(row.organization_id, row.id) for row in found if row.organization_id in locked]
    for call in (yield from rows_if("ready_due_calls", due, into=PromotedCallRow, calls=due, now=now)):
        locked[call.organization_id].ready_call(call.task_type)
    yield from transaction.save()
    return len(due)
