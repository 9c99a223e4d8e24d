"""Claiming and settling: the only places where a slot is taken and given back."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct

from fairlane.errors import Refusal, SessionGone
from fairlane.model.attempts import AttemptEnding
from fairlane.model.leases import (
    Completed,
    Ending,
    Exchange,
    ExchangeReply,
    Failed,
    Lease,
    Lost,
    Released,
    Report,
    ReportVerdict,
)
from fairlane.model.tasks import Failure, TaskStatus
from fairlane.rules.attempts import UNPAID, Final, Paused, aftermath, ending_of, reason_of
from fairlane.rules.failures import Fingerprint, fingerprint_of
from fairlane.rules.fairness import share
from fairlane.store.attempts import ended_attempt, query_attempts
from fairlane.store.calls import end_calls, take_calls
from fairlane.store.failures import FailureSeen
from fairlane.store.lease_rows import (
    CALL,
    HeldLease,
    Place,
    correct,
    lease_id,
    lease_place,
    query_leases,
)
from fairlane.store.locked import CALL_TURN, QUEUE_TURN, Head, LockedOrganization
from fairlane.store.noun import Noun, Shared, weight
from fairlane.store.outcomes import Outcome, write_outcomes
from fairlane.store.slots import query_progress
from fairlane.store.statements import Operation, Query, Row, change, query, rows, rows_if, together
from fairlane.store.transaction import Transaction
from fairlane.store.type_limits import UsedRow, count_types, lock_types, rooms_left

CLAIM_ROUNDS = 8
"""How many times a claim looks again for tasks after it found fewer than it has places."""
PAYLOADS_MOST = 32 * 2**20
"""About how many bytes of payloads one claim hands out. A worker reads an answer at once: with many times this its loop
would stall for so long that it has to hand all of the answer back.
"""
INLINE_BYTES = 8_192
"""Payloads up to this length are read together with the queue; only the longer ones of tasks that start are read apart.
"""
UNPAID_MOST = 100
"""Most tasks that one round ends because their organization cannot pay them."""


class LeaseStore(Noun):
    """Running work: leases that workers take and report on."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._exchange = self._plural(exchange)

    async def exchange(self, one: Exchange) -> ExchangeReply:
        """Settle reports and fill free places in one transaction, so that a freed slot is refilled before the answer is
        sent. Never waits for work.

        A report on a lost lease changes nothing. An exchange that was answered before gets the same leases again.

        Raises:
            SessionGone: the session is dead or unknown, or another key opened it; nothing was settled.
        """
        texts = (report.ending.result if isinstance(report.ending, Completed) else "" for report in one.reports)
        return await self._database.write(self._exchange, one, weight=one.places + weight(texts))

    async def canceled(self, sessions: Sequence[str]) -> dict[str, list[str]]:
        """Return the leases of these sessions with a cancel request that still exist, by session."""
        return await self._database.read(canceled_leases(sessions))


class LiveSessionRow(Row, frozen=True):
    """A live session, and its types as JSON."""

    id: str
    types: str
    key_id: str | None


class PlaceRow(Row, frozen=True):
    """Where a lease's row is, and its id."""

    organization_id: int
    task_id: str
    id: str


class YieldedRow(Row, frozen=True):
    """A lease that was handed out before, with everything that an answer says of it."""

    exchange_id: str
    id: str
    task_id: str
    organization_id: int
    organization: str
    task_type: str
    attempt: int
    attempts: int
    timeout_ms: int
    started_at: int
    payload: str
    session_id: str
    kind: int
    traceparent: str | None


class EndedRow(Row, frozen=True):
    """Which lease wrote the outcome of a task, or None if none did."""

    task_id: str
    lease_id: str | None


class CanceledRow(Row, frozen=True):
    """A lease with a cancel request."""

    session_id: str
    id: str


class TurnsRow(Row, frozen=True):
    """The organizations next in turn for one type."""

    organizations: list[int]


class PayloadRow(Row, frozen=True):
    """The payload of a task."""

    task_id: str
    payload: str


# Exchange: settle, then claim, in one transaction --------------------------------------------------------------------


def exchange(transaction: Transaction, exchanges: Sequence[Exchange]) -> Operation[list[ExchangeReply | Refusal]]:
    """Settle and claim for all these exchanges; an exchange of a dead session is refused, and changes nothing.

    On PostgreSQL it usually takes two round trips: one locks and reads everything, one writes and commits. Without
    reports another one comes first, to find the organizations to lock.
    """
    memory, ids = transaction.memory, [one.session_id for one in exchanges]
    sessions = query("find_live_sessions", ids, into=LiveSessionRow, ids=ids)
    before: list[Query[Any]] = [sessions]
    if not memory.served.keys() >= set(ids):
        yield from together(*before)
        before = []
        for row in sessions.rows:
            memory.served[row.id] = tuple(msgspec.json.decode(row.types))
    wanted = {
        name
        for one in exchanges
        if one.places
        for name in memory.served.get(one.session_id, ())
        if name in transaction.config.catalogue
    }
    places = {
        report.lease_id: place for one in exchanges for report in one.reports if (place := lease_place(report.lease_id))
    }
    ending = Counter(organization_id for organization_id, _, _ in places.values())
    room = sum(one.places for one in exchanges)
    turns = _query_turns(wanted, wanted, room + len(ending))
    # The organizations of the reports, or else those next in turn, may be waited for: no lock is held yet.
    before.append(turns)
    if not places:
        yield from together(*before)
        before = []
    locking = ending.keys() or _turns(turns).organizations
    asked = list(dict.fromkeys((one.session_id, one.id) for one in exchanges))
    yielded = query("find_exchanged", asked, into=PlaceRow, exchanges=asked)
    holding, limited = query_leases(list(places.values())), lock_types(wanted)
    counted = count_types(wanted & memory.limited)
    ahead = _query_ahead(locking, wanted, room, ending)
    yield from transaction.lock(
        locking, holding, yielded, limited, counted, ahead, before=before, all_of_them=bool(places)
    )  # fmt: skip
    live = {(row.id, row.key_id) for row in sessions.rows}
    served = [one for one in exchanges if (one.session_id, one.key_id) in live]
    if not served:
        return [SessionGone() for _ in exchanges]
    _keep_ahead(transaction, ahead)
    limits = memory.know_limits(wanted, {row.task_type: row.most for row in limited.rows})
    reports = [(report, one.session_id) for one in served for report in one.reports]
    verdicts = yield from settle(transaction, reports, places, {lease.id: lease for lease in holding.rows})
    if places:
        yield from _lock_further(transaction, _turns(turns).organizations, wanted, room)
    settled = {
        report.lease_id
        for (report, _), verdict in zip(reports, verdicts, strict=True)
        if verdict is ReportVerdict.ACCEPTED
    }
    again = [(row.organization_id, row.task_id, row.id) for row in yielded.rows if row.id not in settled]
    answered = _answered((yield from rows_if("find_yielded", again, into=YieldedRow, leases=again)))
    replies: list[ExchangeReply | Refusal] = []
    position = 0
    for one in exchanges:
        if (one.session_id, one.key_id) not in live:
            replies.append(SessionGone())
            continue
        leases = answered.get((one.session_id, one.id))
        if leases is None:
            unchanged = None if reports or answered else counted
            leases = yield from claim(transaction, one, memory.served[one.session_id], limits, _turns(turns), unchanged)
            answered[one.session_id, one.id] = leases
        replies.append(
            ExchangeReply(verdicts=tuple(verdicts[position : position + len(one.reports)]), leases=tuple(leases))
        )
        position += len(one.reports)
    yield from transaction.save(query_progress(served))
    return replies


def _answered(yielded: Sequence[YieldedRow]) -> dict[tuple[str, str], list[Lease]]:
    """Return the leases that were handed out before, by session and exchange."""
    answered: dict[tuple[str, str], list[Lease]] = {}
    for row in yielded:
        answered.setdefault((row.session_id, row.exchange_id), []).append(
            Lease(
                id=row.id,
                task_id=row.task_id,
                organization_id=row.organization_id,
                organization=row.organization,
                task_type=row.task_type,
                attempt=row.attempt,
                attempts=row.attempts,
                timeout_ms=row.timeout_ms,
                started_at=row.started_at,
                payload=row.payload,
                call=row.kind == CALL,
                traceparent=row.traceparent,
            )
        )
    return answered


# Settling ------------------------------------------------------------------------------------------------------------


def settle(
    transaction: Transaction,
    reports: Sequence[tuple[Report, str]],
    places: Mapping[str, Place],
    held: Mapping[str, HeldLease],
) -> Operation[list[ReportVerdict]]:
    """End the leases that these (report, session id) name, each exactly once; return verdicts in the same order.

    ``places`` are those of the leases, with their organizations locked; ``held`` are the leases that still exist. A
    lease that is gone, or held by another session, changes nothing. If its task ended by this very lease the answer is
    ACCEPTED again, so a report may be sent twice.
    """
    endings: dict[str, tuple[HeldLease, Ending]] = {}
    for report, session_id in reports:
        lease = held.get(report.lease_id)
        if lease is not None and lease.session_id == session_id:
            endings.setdefault(report.lease_id, (lease, report.ending))
    yield from end_leases(transaction, endings.values(), reported=True)
    unheld = {report.lease_id for report, _ in reports} - endings.keys()
    missing = [(organization_id, task_id) for organization_id, task_id, lease in places.values() if lease in unheld]
    ended = {row.lease_id for row in (yield from rows_if("find_ended", missing, into=EndedRow, tasks=missing))}
    return [
        ReportVerdict.ACCEPTED if report.lease_id in endings or report.lease_id in ended else ReportVerdict.GONE
        for report, _ in reports
    ]


def end_leases(
    transaction: Transaction, endings: Iterable[tuple[HeldLease, Ending]], *, reported: bool
) -> Operation[None]:
    """Delete these leases and write the next state of their tasks: an outcome, a place in the queue, or a pause.

    An attempt that does not complete its task is kept as a row; one that does is in the outcome.
    ``reported`` is true if workers report the endings. Only then does the outcome name the lease: a report sent again
    is accepted again, and one that arrives after the lease was returned is not. With an outcome goes the delivery owed
    to its webhook. Calls are ended by :func:`end_calls`.
    """
    locked, now = transaction.locked, transaction.now
    leases, outcomes, entries, pauses, told, calls = [], [], [], [], [], []
    attempts: list[tuple[Any, ...]] = []
    failures: list[FailureSeen] = []
    endings = list(endings)
    for task_type in {lease.task_type for lease, _ in endings}:
        transaction.freed(task_type)
    for lease, ending in endings:
        if lease.kind == CALL:
            calls.append((lease, ending))
            continue
        organization = locked[lease.organization_id]
        leases.append((lease.organization_id, lease.task_id))
        organization.end()
        organization.release(lease.cost)
        correct(transaction, organization, lease, ending)
        canceled = lease.canceled_at is not None
        after = aftermath(
            ending,
            attempt=lease.attempt,
            attempts=lease.attempts,
            pause_base_ms=transaction.config.retry_pause_ms,
            chance=0.0 if isinstance(ending, Completed) else transaction.config.chance(),
            canceled=canceled,
        )
        due_at = now + after.pause_ms if isinstance(after, Paused) else None
        how = ending_of(ending, canceled=canceled)
        seen = None
        if how is not AttemptEnding.COMPLETED:
            failure, cause = reason_of(ending, after)
            attempts.append(ended_attempt(lease, how, failure=failure, cause=cause, due_at=due_at))
            seen = _failure_seen(lease, ending, how, failure, final=isinstance(after, Final))
        if seen is not None:
            failures.append(seen)
        done = after.status if isinstance(after, Final) else None
        transaction.memory.seen.end(
            lease.organization_id, lease.task_type, max(0, now - lease.started_at),
            completed=done is TaskStatus.COMPLETED, failed=done is TaskStatus.FAILED,
        )  # fmt: skip
        if isinstance(after, Final):
            outcomes.append(_outcome(organization, lease, after, reported=reported, seen=seen))
            if lease.webhook:
                told.append((lease.organization_id, lease.task_id))
            continue
        if due_at is not None:
            organization.wait(lease.task_type, lease.rank)
            transaction.effects.pause_until(due_at)
            pauses.append((lease.organization_id, lease.task_id, lease.task_type, lease.rank, lease.seq,
                           after.attempt, lease.first_started_at, due_at, lease.starts, lease.slot_wait_ms,
                           lease.worker_wait_ms))  # fmt: skip
        else:
            organization.enqueue(lease.task_type, lease.rank, lease.seq)
            slot_ms, worker_ms = organization.waits(now)
            entries.append((lease.organization_id, lease.task_type, lease.rank, lease.seq, lease.task_id,
                            after.attempt, lease.first_started_at, lease.starts, slot_ms - lease.slot_wait_ms,
                            worker_ms - lease.worker_wait_ms))  # fmt: skip
    yield from write_outcomes(transaction, outcomes, told,
        change("delete_leases", leases, leases=leases),
        change("insert_queue_entries", entries, entries=entries),
        change("insert_waiting", pauses, entries=pauses),
        query_attempts(transaction, attempts),
        failures=failures,
    )  # fmt: skip
    yield from end_calls(transaction, calls)


def _failure_seen(
    lease: HeldLease, ending: Ending, how: AttemptEnding, failure: Failure | None, *, final: bool
) -> FailureSeen | None:
    """Return an attempt as a failure of its group, or None if it did not fail."""
    origin = ending.origin if isinstance(ending, Failed) else None
    fingerprint = fingerprint_of(lease.task_type, how, failure, origin)
    if fingerprint is None:
        return None
    return FailureSeen(lease.organization_id, lease.task_id, fingerprint, 0 if origin is None else origin.line, final)


def _outcome(
    organization: LockedOrganization, lease: HeldLease, after: Final, *, reported: bool, seen: FailureSeen | None
) -> Outcome:
    completed = after.status is TaskStatus.COMPLETED
    if completed:
        organization.completed += 1
        organization.spend(lease.cost)
    else:
        organization.failed += 1
    failure = msgspec.json.encode(after.failure).decode() if after.failure else None
    return (
        lease.task_id, lease.organization_id, str(after.status), after.result, failure, after.cause,
        lease.cost if completed else 0, lease.attempt, lease.first_started_at,
        lease.id if reported else None, lease.started_at, None if seen is None else seen.fingerprint.group(),
        lease.slot_wait_ms, lease.worker_wait_ms,
    )  # fmt: skip


# Canceling ------------------------------------------------------------------------------------------------------------


def canceled_leases(sessions: Sequence[str]) -> Operation[dict[str, list[str]]]:
    """Read the leases with a cancel request."""
    found: dict[str, list[str]] = {}
    for row in (yield from rows("find_canceled", into=CanceledRow, sessions=list(sessions))):
        found.setdefault(row.session_id, []).append(row.id)
    return found


# Claiming ------------------------------------------------------------------------------------------------------------


class Turns(Struct, frozen=True):
    """The organizations next in turn."""

    organizations: frozenset[int]
    more: bool
    """False if these are all: then another search finds the same ones."""


def claim(
    transaction: Transaction,
    one: Exchange,
    served: Sequence[str],
    limits: dict[str, int],
    turns: Turns,
    counted: Query[UsedRow] | None = None,
) -> Operation[list[Lease]]:
    """Fill the free places of one exchange in fair order.

    Within an organization calls come first, oldest first; then tasks, highest priority and oldest first. Never starts
    more tasks than an organization's free slots, a type's own limit, or its credits allow; calls have all that already.
    ``limits`` are those of the locked types; ``turns`` were found before, and locked where possible; for ``counted``
    see :func:`rooms_left`. The claim locks further organizations; the caller saves them.
    """
    locked = transaction.locked
    places = min(one.places, transaction.config.claim_most)
    types = [name for name in served if name in transaction.config.catalogue]
    if not places or not types:
        return []
    limited = {name: limits[name] for name in types if name in limits}
    left = yield from rooms_left(limited, counted)
    room = {name: count for name in types if (count := min(places, left.get(name, places))) > 0}
    leases: list[Lease] = []
    passed: set[int] = set()
    missed: frozenset[int] = frozenset()
    # Of types that were full when the turns were found, there may be room now.
    look = bool(limited) and counted is None
    more = turns.more or look
    for _ in range(CLAIM_ROUNDS):
        if places <= len(leases):
            break
        missed_before = len(missed)
        if look and more:
            asked = _query_turns(types, room, places - len(leases) + len(locked) + len(missed))
            yield from together(asked)
            turns = _turns(asked)
            more = turns.more
            yield from _lock_further(transaction, turns.organizations, types, places - len(leases))
        missed, look = missed | turns.organizations - locked.keys(), True
        candidates = [
            organization.candidate(room, types, transaction.memory)
            for organization in locked.values()
            if organization.id not in passed
        ]
        shares = share(candidates, places - len(leases))
        if not shares.places:
            if len(missed) > missed_before:
                continue  # other transactions hold those next in turn; there may be more behind them
            break
        taken = yield from take_calls(transaction, shares.places, types, one)
        for task_type in taken.ended:
            if task_type in limits:
                room[task_type] = room.get(task_type, 0) + 1
                more = True
        picks, unpaid = yield from _pick(transaction, taken.places_left, room)
        passed |= yield from _end_what_is_unpaid(transaction, unpaid, room)
        if taken.leases or picks:
            transaction.memory.picked(shares.virtual_time)
            leases += taken.leases
        if picks:
            started = yield from _lease(transaction, picks, one, limits)
            leases += started
            if len(started) < len(picks):
                break  # their payloads are large; the rest goes with the next exchanges
    return leases


def _query_turns(types: Collection[str], startable: Collection[str], most: int) -> Query[TurnsRow]:
    """Return the query for the organizations next in turn to start calls of ``types`` and tasks of ``startable``.

    ``startable`` contains no types that are known to be full.
    """
    kinds = [*((name, CALL_TURN) for name in types), *((name, QUEUE_TURN) for name in startable)]
    return query("find_turns", kinds, into=TurnsRow, kinds=kinds, most=most)


def _turns(found: Query[TurnsRow]) -> Turns:
    ids = [one for row in found.rows for one in row.organizations]
    return Turns(frozenset(ids), len(ids) >= found.parameters["most"])


def _lock_further(transaction: Transaction, ids: Iterable[int], types: Collection[str], places: int) -> Operation[None]:
    """Lock those of these organizations that are not locked yet and that no other transaction holds."""
    further = set(ids) - transaction.locked.keys()
    ahead = _query_ahead(further, types, places, {})
    yield from transaction.lock_further(further, ahead)
    _keep_ahead(transaction, ahead)


def _query_ahead(ids: Collection[int], types: Collection[str], places: int, ending: Mapping[int, int]) -> Query[Head]:
    """Return the query for the next tasks of these organizations, before it is known which of them start.

    It reads a share of the places for each, and as many as leases end: enough for most exchanges, and never many times
    what one can start.
    """
    share_of_each = -(-places // max(1, len(ids)))
    organizations = [(one, min(places, share_of_each + ending.get(one, 0)), ending.get(one, 0)) for one in sorted(ids)]
    asked = {"organizations": organizations, "types": sorted(types), "inline": INLINE_BYTES}
    return Query("find_heads_ahead", asked, Head, needed=bool(ids and types and places), ahead=True)


def _keep_ahead(transaction: Transaction, found: Query[Head]) -> None:
    for head in found.rows:
        organization = transaction.locked.get(head.organization_id)
        if organization is not None:
            organization.ahead.append(head)


def _pick(
    transaction: Transaction, places: dict[int, int], room: dict[str, int]
) -> Operation[tuple[list[Head], dict[int, list[Head]]]]:
    """Return the next tasks of each organization, within its number of places and the room of each type, and apart by
    organization those whose cost even its whole balance does not cover.

    If only running work stands in the way of a cost, the organization waits, together with its further tasks. Only what
    starts takes room: else a task that waits for credits would let another organization's be passed over.
    """
    locked = transaction.locked
    queues = {one: locked[one].ahead for one, count in places.items() if _reach(locked[one].ahead, count, room)}
    lanes = [
        lane
        for organization_id, count in places.items()
        if organization_id not in queues
        for lane in _lanes(locked[organization_id], count, room)
    ]
    for head in (yield from _find_heads(lanes, max(places.values(), default=0))):
        queues.setdefault(head.organization_id, []).append(head)
    picks: list[Head] = []
    unpaid: dict[int, list[Head]] = {}
    for organization_id, count in places.items():
        organization, entries = locked[organization_id], queues.get(organization_id)
        if entries is None:
            organization.doubted = True  # its lanes count entries that do not exist
            continue
        taken = held = 0
        organization.want_credits(0)
        for entry in sorted(entries, key=_in_order):
            if taken == count or organization.credits_wanted:
                break
            if room.get(entry.task_type, 0) <= 0:
                continue
            taken += 1
            cost = entry.cost if organization.credits_on else 0
            if not organization.can_pay(cost):
                unpaid.setdefault(organization_id, []).append(entry)
            elif not organization.can_hold(held + cost):
                organization.want_credits(cost)
            else:
                held += cost
                room[entry.task_type] -= 1
                picks.append(entry)
    return picks, unpaid


def _find_heads(lanes: Sequence[tuple[int, str, int, int]], most: int) -> Operation[list[Head]]:
    return (yield from rows_if("find_heads", lanes, into=Head, lanes=lanes, most=most, inline=INLINE_BYTES))


def _in_order(head: Head) -> tuple[int, int]:
    return head.rank, head.seq


def _reach(heads: Sequence[Head], count: int, room: Mapping[str, int]) -> bool:
    """Return whether this many of these tasks can start, within the room of each type."""
    if len(heads) < count:
        return False
    kinds = Counter([head.task_type for head in heads])
    return sum(min(found, room.get(name, 0)) for name, found in kinds.items()) >= count


def _lanes(organization: LockedOrganization, count: int, room: dict[str, int]) -> list[tuple[int, str, int, int]]:
    """Return the lanes that contain the next ``count`` entries: whole ranks, from the highest, until there are
    enough."""
    ranked = sorted(
        (rank, task_type, lane)
        for (task_type, rank), lane in organization.lanes.items()
        if lane.ready > 0 and room.get(task_type, 0) > 0
    ) if count else []  # fmt: skip
    chosen, found, last_rank = [], 0, -1
    for rank, task_type, lane in ranked:
        if found >= count and rank != last_rank:
            break
        chosen.append((organization.id, task_type, rank, lane.head_seq))
        found, last_rank = found + min(lane.ready, room[task_type]), rank
    return chosen


def _end_what_is_unpaid(
    transaction: Transaction, unpaid: Mapping[int, Sequence[Head]], room: dict[str, int]
) -> Operation[set[int]]:
    """End these tasks, and those next in order that cannot be paid either.

    Return the organizations that may have more of them: they must not use up the rounds of others.
    """
    more = set()
    for organization_id, ended in unpaid.items():
        organization = transaction.locked[organization_id]
        yield from _end_unpaid(transaction, organization, ended)
        further = yield from _unpaid_heads(organization, room)
        yield from _end_unpaid(transaction, organization, further)
        if len(further) == UNPAID_MOST:
            more.add(organization_id)
    return more


def _unpaid_heads(organization: LockedOrganization, room: dict[str, int]) -> Operation[list[Head]]:
    """Return the next tasks in order, up to the first that the balance covers."""
    heads = yield from _find_heads(_lanes(organization, UNPAID_MOST, room), UNPAID_MOST)
    unpaid = []
    for head in sorted(heads, key=_in_order)[:UNPAID_MOST]:
        if organization.can_pay(head.cost):
            break
        unpaid.append(head)
    return unpaid


def _end_unpaid(transaction: Transaction, organization: LockedOrganization, picks: Sequence[Head]) -> Operation[None]:
    """Move these tasks from the queue to failures that cost nothing."""
    failure = msgspec.json.encode(UNPAID).decode()
    outcomes, entries, told, failures = [], [], [], []
    for pick in picks:
        fingerprint = Fingerprint(pick.task_type, UNPAID.code, AttemptEnding.FAILED, "", "")
        failures.append(FailureSeen(organization.id, pick.task_id, fingerprint, 0, final=True))
        organization.take(pick.task_type, pick.rank, pick.seq)
        organization.failed += 1
        entries.append((organization.id, pick.task_type, pick.rank, pick.seq))
        outcomes.append((pick.task_id, organization.id, str(TaskStatus.FAILED), None, failure, "balance below cost", 0,
                         pick.attempt, pick.first_started_at, None, None,
                         fingerprint.group(), None, None))  # fmt: skip
        if pick.webhook:
            told.append((organization.id, pick.task_id))
    yield from write_outcomes(
        transaction, outcomes, told, change("delete_queue_entries", entries, entries=entries), failures=failures
    )


def _lease(
    transaction: Transaction, picks: Sequence[Head], one: Exchange, limits: dict[str, int]
) -> Operation[list[Lease]]:
    """Move these entries from the queue to leases: all of them, or the first ones whose payloads are not too large."""
    locked, now = transaction.locked, transaction.now
    sizes = accumulate(pick.size for pick in picks)
    picks = [pick for pick, size in zip(picks, sizes, strict=True) if pick is picks[0] or size <= PAYLOADS_MOST]
    apart = [(pick.organization_id, pick.task_id) for pick in picks if pick.payload is None]
    found = yield from rows_if("find_payloads", apart, into=PayloadRow, tasks=apart)
    payloads = {row.task_id: row.payload for row in found}
    inserts, leases = [], []
    kinds = {
        name: (transaction.config.rule(name), transaction.memory.estimate_ms(name), int(name in limits))
        for name in {pick.task_type for pick in picks}
    }
    waits = {one: locked[one].waits(now) for one in {pick.organization_id for pick in picks}}
    for pick, fence in zip(picks, transaction.config.new_fences(len(picks)), strict=True):
        organization = locked[pick.organization_id]
        rule, estimate_ms, limited = kinds[pick.task_type]
        slot_ms, worker_ms = waits[pick.organization_id]
        waited = slot_ms - pick.slot_wait_from, worker_ms - pick.worker_wait_from
        organization.start(pick.task_type, pick.rank, pick.seq)
        organization.hold(pick.cost)
        organization.charge(estimate_ms)
        first = pick.first_started_at is None
        transaction.memory.seen.start(
            pick.organization_id, pick.task_type, max(0, now - pick.ready_at) if first else None, waited
        )
        attempt = pick.attempt + 1
        identity = lease_id(pick.organization_id, pick.task_id, fence)
        inserts.append((
            pick.organization_id, pick.task_id, identity, pick.task_type, pick.rank, pick.seq, pick.cost, attempt,
            rule.attempts, limited, estimate_ms,
            now if pick.first_started_at is None else pick.first_started_at, now + rule.timeout_ms, pick.webhook,
            pick.starts + 1, *waited,
        ))  # fmt: skip
        leases.append(
            Lease(
                id=identity,
                task_id=pick.task_id,
                organization_id=pick.organization_id,
                organization=organization.name,
                task_type=pick.task_type,
                payload=payloads[pick.task_id] if pick.payload is None else pick.payload,
                attempt=attempt,
                attempts=rule.attempts,
                timeout_ms=rule.timeout_ms,
                started_at=now,
                traceparent=pick.traceparent,
            )
        )
    entries = [(pick.organization_id, pick.task_type, pick.rank, pick.seq) for pick in picks]
    yield from together(
        change("delete_queue_entries", entries, entries=entries),
        change("insert_leases", inserts, leases=inserts, session_id=one.session_id, exchange_id=one.id, now=now),
    )
    return leases


# Returning abandoned leases ----------------------------------------------------------------------------------------

LOST = Lost()
OVERDUE = Failed(cause="past its deadline", how=AttemptEnding.TIMED_OUT)
RELEASED = Released()


def return_leases(
    transaction: Transaction, returns: Sequence[tuple[str, Ending]], *, all_of_them: bool = True
) -> Operation[int]:
    """End these leases with the given endings, whichever session holds them; return how many existed.

    Without ``all_of_them``: leases of organizations that are locked for long may stay.
    """
    endings = dict(returns)
    places = [place for identity in endings if (place := lease_place(identity))]
    if not places:
        return 0
    held = query_leases(places)
    locked = yield from transaction.lock(
        (organization_id for organization_id, _, _ in places), held, all_of_them=all_of_them
    )
    found = [(lease, endings[lease.id]) for lease in held.rows if lease.organization_id in locked]
    yield from end_leases(transaction, found, reported=False)
    yield from transaction.save()
    return len(found)
