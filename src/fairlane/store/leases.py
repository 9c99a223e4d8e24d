"""Claiming and settling: the only places where a slot is taken and given back."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct

from fairlane.errors import Refusal, SessionGone
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
from fairlane.model.tasks import TaskStatus
from fairlane.rules.attempts import UNPAID, Final, Paused, aftermath
from fairlane.rules.fairness import share
from fairlane.store.calls import end_calls, take_calls
from fairlane.store.lease_rows import (
    CALL,
    HeldLease,
    Place,
    correct,
    lease_id,
    lease_place,
    query_leases,
)
from fairlane.store.locked import CALL_TURN, QUEUE_TURN, LockedOrganization
from fairlane.store.noun import Noun, Shared, weight
from fairlane.store.outcomes import write_outcomes
from fairlane.store.slots import query_progress
from fairlane.store.statements import Operation, Row, change, query, rows, rows_if, together
from fairlane.store.transaction import Transaction
from fairlane.store.type_limits import lock_types, rooms_left

CLAIM_ROUNDS = 8
"""How many times a claim looks again for tasks after it found fewer than it has places."""
PAYLOADS_MOST = 32 * 2**20
"""About how many bytes of payloads one claim hands out. A worker reads an answer at once: with many times this its loop
would stall for so long that it has to hand all of the answer back.
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


class CostRow(Row, frozen=True):
    """The cost of a task, and whether its end owes a webhook message."""

    task_id: str
    cost: int
    webhook: int


class ClaimedRow(Row, frozen=True):
    """A task that a claim takes. It could have started at ``ready_at``."""

    task_id: str
    cost: int
    payload: str
    webhook: int
    ready_at: int
    traceparent: str | None


# Exchange: settle, then claim, in one transaction --------------------------------------------------------------------


def exchange(transaction: Transaction, exchanges: Sequence[Exchange]) -> Operation[list[ExchangeReply | Refusal]]:
    """Settle and claim for all these exchanges; an exchange of a dead session is refused, and changes nothing."""
    ids = [one.session_id for one in exchanges]
    found = yield from rows("find_live_sessions", into=LiveSessionRow, ids=ids)
    live = {(row.id, row.key_id): msgspec.json.decode(row.types) for row in found}
    served = [one for one in exchanges if (one.session_id, one.key_id) in live]
    reports = [(report, one.session_id) for one in served for report in one.reports]
    places = {report.lease_id: place for report, _ in reports if (place := lease_place(report.lease_id))}
    asked = list(dict.fromkeys((one.session_id, one.id) for one in served))
    wanted = {
        name
        for one in served
        if one.places
        for name in live[one.session_id, one.key_id]
        if name in transaction.config.catalogue
    }
    # The organizations of the reports, or else those next in turn, may be waited for: no lock is held yet.
    turns = Turns() if places else (yield from _find_turns(wanted, wanted, sum(one.places for one in served)))
    holding, limited = query_leases(list(places.values())), lock_types(wanted)
    yielded = query("find_exchanged", asked, into=PlaceRow, exchanges=asked)
    yield from transaction.lock(
        [*(organization_id for organization_id, _, _ in places.values()), *turns.organizations],
        holding, yielded, limited, all_of_them=bool(places), with_clock=True,
    )  # fmt: skip
    limits = transaction.memory.know_limits(wanted, {row.task_type: row.most for row in limited.rows})
    held = {lease.id: lease for lease in holding.rows}
    verdicts = yield from settle(transaction, reports, places, held)
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
            leases = yield from claim(transaction, one, live[one.session_id, one.key_id], limits, turns)
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
    missing = [
        (organization_id, task_id) for lease, (organization_id, task_id, _) in places.items() if lease not in endings
    ]
    ended = {row.lease_id for row in (yield from rows_if("find_ended", missing, into=EndedRow, tasks=missing))}
    return [
        ReportVerdict.ACCEPTED if report.lease_id in endings or report.lease_id in ended else ReportVerdict.GONE
        for report, _ in reports
    ]


def end_leases(
    transaction: Transaction, endings: Iterable[tuple[HeldLease, Ending]], *, reported: bool
) -> Operation[None]:
    """Delete these leases and write the next state of their tasks: an outcome, a place in the queue, or a pause.

    ``reported`` is true if workers report the endings. Only then does the outcome name the lease: a report sent again
    is accepted again, and one that arrives after the lease was returned is not. With an outcome goes the delivery owed
    to its webhook. Calls are ended by :func:`end_calls`.
    """
    locked, now = transaction.locked, transaction.now
    leases, outcomes, entries, pauses, told, calls = [], [], [], [], [], []
    for lease, ending in endings:
        transaction.freed(lease.task_type)
        if lease.kind == CALL:
            calls.append((lease, ending))
            continue
        organization = locked[lease.organization_id]
        leases.append((lease.organization_id, lease.task_id))
        organization.end()
        organization.release(lease.cost)
        correct(transaction, organization, lease, ending)
        after = aftermath(
            ending,
            attempt=lease.attempt,
            attempts=lease.attempts,
            pause_base_ms=transaction.config.retry_pause_ms,
            chance=transaction.config.chance(),
            canceled=lease.canceled_at is not None,
        )
        done = after.status if isinstance(after, Final) else None
        transaction.memory.seen.end(
            lease.organization_id, lease.task_type, max(0, now - lease.started_at),
            completed=done is TaskStatus.COMPLETED, failed=done is TaskStatus.FAILED,
        )  # fmt: skip
        if isinstance(after, Final):
            outcomes.append(_outcome(organization, lease, after, reported=reported))
            if lease.webhook:
                told.append((lease.organization_id, lease.task_id))
            continue
        if isinstance(after, Paused):
            organization.wait(lease.task_type, lease.rank)
            due_at = now + after.pause_ms
            transaction.effects.pause_until(due_at)
            pauses.append((lease.organization_id, lease.task_id, lease.task_type, lease.rank, lease.seq,
                           after.attempt, lease.first_started_at, due_at))  # fmt: skip
        else:
            organization.enqueue(lease.task_type, lease.rank, lease.seq)
            entries.append((lease.organization_id, lease.task_type, lease.rank, lease.seq, lease.task_id,
                            after.attempt, lease.first_started_at))  # fmt: skip
    yield from write_outcomes(transaction, outcomes, told,
        change("delete_leases", leases, leases=leases),
        change("insert_queue_entries", entries, entries=entries),
        change("insert_waiting", pauses, entries=pauses),
    )  # fmt: skip
    yield from end_calls(transaction, calls)


def _outcome(organization: LockedOrganization, lease: HeldLease, after: Final, *, reported: bool) -> tuple[Any, ...]:
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
        lease.id if reported else None,
    )  # fmt: skip


# Canceling ------------------------------------------------------------------------------------------------------------


def canceled_leases(sessions: Sequence[str]) -> Operation[dict[str, list[str]]]:
    """Read the leases with a cancel request."""
    found: dict[str, list[str]] = {}
    for row in (yield from rows("find_canceled", into=CanceledRow, sessions=list(sessions))):
        found.setdefault(row.session_id, []).append(row.id)
    return found


# Claiming ------------------------------------------------------------------------------------------------------------


class Pick(Row, frozen=True):
    """A queue entry that is about to take a slot."""

    organization_id: int
    task_type: str
    rank: int
    seq: int
    task_id: str
    attempt: int
    first_started_at: int | None


class Turns(Struct, frozen=True):
    """The organizations next in turn."""

    organizations: frozenset[int] = frozenset()
    more: bool = True
    """False if these are all: then another search finds the same ones."""


def claim(
    transaction: Transaction, one: Exchange, served: Sequence[str], limits: dict[str, int], turns: Turns
) -> Operation[list[Lease]]:
    """Fill the free places of one exchange in fair order.

    Within an organization calls come first, oldest first; then tasks, highest priority and oldest first. Never starts
    more tasks than an organization's free slots, a type's own limit, or its credits allow; calls have all that already.
    ``limits`` are those of the locked types; ``turns`` were found before. The claim locks further organizations; the
    caller saves them.
    """
    locked = transaction.locked
    places = min(one.places, transaction.config.claim_most)
    types = [name for name in served if name in transaction.config.catalogue]
    if not places or not types:
        return []
    room = yield from _room(types, limits, places)
    leases: list[Lease] = []
    passed: set[int] = set()
    more = turns.more
    missed = turns.organizations - locked.keys()
    for _ in range(CLAIM_ROUNDS):
        if places <= len(leases):
            break
        missed_before = len(missed)
        if more:
            turns = yield from _find_turns(types, room, places - len(leases) + len(locked) + len(missed))
            yield from transaction.lock_further(turns.organizations - locked.keys())
            missed, more = missed | turns.organizations - locked.keys(), turns.more
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
        picks = yield from _pick(transaction, taken.places_left, room)
        picks = yield from _paid(transaction, picks, room, passed)
        if taken.leases or picks:
            transaction.memory.picked(shares.virtual_time)
            leases += taken.leases
        if picks:
            started = yield from _lease(transaction, picks, one, limits)
            leases += started
            if len(started) < len(picks):
                break  # their payloads are large; the rest goes with the next exchanges
    return leases


def _room(types: Sequence[str], limits: dict[str, int], places: int) -> Operation[dict[str, int]]:
    """Return how many more tasks of each type may start across all organizations; types that are full are left out."""
    left = yield from rooms_left({name: limits[name] for name in types if name in limits})
    room = {name: min(places, left.get(name, places)) for name in types}
    return {name: count for name, count in room.items() if count > 0}


def _find_turns(types: Collection[str], startable: Collection[str], most: int) -> Operation[Turns]:
    """Return the organizations next in turn to start calls of ``types`` and tasks of ``startable``.

    ``startable`` contains no types that are full.
    """
    kinds = [*((name, CALL_TURN) for name in types), *((name, QUEUE_TURN) for name in startable)]
    found = yield from rows_if("find_turns", kinds, into=TurnsRow, kinds=kinds, most=most)
    ids = [one for row in found for one in row.organizations]
    return Turns(frozenset(ids), len(ids) >= most)


def _pick(transaction: Transaction, places: dict[int, int], room: dict[str, int]) -> Operation[list[Pick]]:
    """Return the first ready entries of each organization, within its number of places and the room of each type."""
    locked = transaction.locked
    lanes = [lane for organization_id, count in places.items() for lane in _lanes(locked[organization_id], count, room)]
    heads = yield from rows_if("find_heads", lanes, into=Pick, lanes=lanes, most=max(places.values(), default=0))
    queues: dict[int, list[Pick]] = {}
    for head in heads:
        queues.setdefault(head.organization_id, []).append(head)
    picks = []
    for organization_id, count in places.items():
        entries = queues.get(organization_id)
        if entries is None:
            locked[organization_id].doubted = True  # its lanes count entries that do not exist
            continue
        entries.sort(key=lambda entry: (entry.rank, entry.seq))
        taken = 0
        for entry in entries:
            if taken < count and room.get(entry.task_type, 0) > 0:
                taken += 1
                room[entry.task_type] -= 1
                picks.append(entry)
    return picks


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


def _paid(transaction: Transaction, picks: list[Pick], room: dict[str, int], passed: set[int]) -> Operation[list[Pick]]:
    """Return the picks with a cost that their organizations can hold.

    If even the balance does not cover a cost, the task ends here. If only running work stands in the way, the
    organization waits, together with its further picks. Organizations that may have more tasks to end are added to
    ``passed``: they must not use up the rounds of others.
    """
    locked = transaction.locked
    counted = [(pick.organization_id, pick.task_id) for pick in picks if locked[pick.organization_id].credits_on]
    if not counted:
        return picks
    costs = {row.task_id: row for row in (yield from rows("find_costs", into=CostRow, tasks=counted))}
    paid: list[Pick] = []
    unpaid: dict[int, list[Pick]] = {}
    holds: dict[int, int] = {}
    for pick in picks:
        organization = locked[pick.organization_id]
        cost = costs[pick.task_id].cost if organization.credits_on else 0
        if pick.organization_id not in holds:
            holds[pick.organization_id] = 0
            organization.want_credits(0)
        if organization.credits_wanted == 0 and not organization.can_pay(cost):
            unpaid.setdefault(pick.organization_id, []).append(pick)
        elif organization.credits_wanted == 0 and organization.can_hold(holds[pick.organization_id] + cost):
            holds[pick.organization_id] += cost
            paid.append(pick)
            continue
        elif organization.credits_wanted == 0:
            organization.want_credits(cost)
        room[pick.task_type] += 1
    for organization_id, ended in unpaid.items():
        organization = locked[organization_id]
        yield from _end_unpaid(transaction, organization, ended, costs)
        further = yield from _unpaid_heads(organization, room, costs)
        yield from _end_unpaid(transaction, organization, further, costs)
        if len(further) == UNPAID_MOST:
            passed.add(organization_id)
    return paid


def _unpaid_heads(
    organization: LockedOrganization, room: dict[str, int], costs: dict[str, CostRow]
) -> Operation[list[Pick]]:
    """Return the next tasks in order, up to the first that the balance covers. Their costs are added to ``costs``."""
    lanes = _lanes(organization, UNPAID_MOST, room)
    heads = yield from rows_if("find_heads", lanes, into=Pick, lanes=lanes, most=UNPAID_MOST)
    heads = sorted(heads, key=lambda head: (head.rank, head.seq))[:UNPAID_MOST]
    asked = [(organization.id, head.task_id) for head in heads]
    costs.update({row.task_id: row for row in (yield from rows_if("find_costs", asked, into=CostRow, tasks=asked))})
    unpaid = []
    for head in heads:
        if organization.can_pay(costs[head.task_id].cost):
            break
        unpaid.append(head)
    return unpaid


def _end_unpaid(
    transaction: Transaction, organization: LockedOrganization, picks: Sequence[Pick], costs: dict[str, CostRow]
) -> Operation[None]:
    """Move these tasks from the queue to failures that cost nothing."""
    failure = msgspec.json.encode(UNPAID).decode()
    outcomes, entries, told = [], [], []
    for pick in picks:
        organization.take(pick.task_type, pick.rank, pick.seq)
        organization.failed += 1
        entries.append((organization.id, pick.task_type, pick.rank, pick.seq))
        outcomes.append((pick.task_id, organization.id, str(TaskStatus.FAILED), None, failure, "balance below cost", 0,
                         pick.attempt, pick.first_started_at, None))  # fmt: skip
        if costs[pick.task_id].webhook:
            told.append((organization.id, pick.task_id))
    yield from write_outcomes(transaction, outcomes, told, change("delete_queue_entries", entries, entries=entries))


def _lease(
    transaction: Transaction, picks: Sequence[Pick], one: Exchange, limits: dict[str, int]
) -> Operation[list[Lease]]:
    """Move these entries from the queue to leases: all of them, or the first ones whose payloads are not too large."""
    locked, now = transaction.locked, transaction.now
    asked = [(pick.organization_id, pick.task_id) for pick in picks]
    tasks = {task.task_id: task for task in (yield from rows("find_claimed", into=ClaimedRow, tasks=asked))}
    sizes = accumulate(len(tasks[pick.task_id].payload) for pick in picks)
    picks = [pick for pick, size in zip(picks, sizes, strict=True) if pick is picks[0] or size <= PAYLOADS_MOST]
    inserts, leases = [], []
    for pick, fence in zip(picks, transaction.config.new_fences(len(picks)), strict=True):
        organization, rule = locked[pick.organization_id], transaction.config.rule(pick.task_type)
        task = tasks[pick.task_id]
        estimate_ms = transaction.memory.estimate_ms(pick.task_type)
        organization.start(pick.task_type, pick.rank, pick.seq)
        organization.hold(task.cost)
        organization.charge(estimate_ms)
        first = pick.first_started_at is None
        transaction.memory.seen.start(
            pick.organization_id, pick.task_type, max(0, now - task.ready_at) if first else None
        )
        attempt = pick.attempt + 1
        identity = lease_id(pick.organization_id, pick.task_id, fence)
        inserts.append((
            pick.organization_id, pick.task_id, identity, pick.task_type, pick.rank, pick.seq, task.cost, attempt,
            rule.attempts, int(pick.task_type in limits), estimate_ms,
            now if pick.first_started_at is None else pick.first_started_at, now + rule.timeout_ms, task.webhook,
        ))  # fmt: skip
        leases.append(
            Lease(
                id=identity,
                task_id=pick.task_id,
                organization_id=pick.organization_id,
                organization=organization.name,
                task_type=pick.task_type,
                payload=task.payload,
                attempt=attempt,
                attempts=rule.attempts,
                timeout_ms=rule.timeout_ms,
                started_at=now,
                traceparent=task.traceparent,
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
OVERDUE = Failed(cause="past its deadline")
RELEASED = Released()


def return_leases(
    transaction: Transaction, returns: Sequence[tuple[str, Ending]], *, all_of_them: bool = True
) -> Operation[int]:
    """End these leases with the given endings, whichever session holds them; return how many existed.

    Without ``all_of_them``: leases of organizations that are locked for long may stay.
    """
    endings = dict(returns)
    places = [place for identity in endings if (place := lease_place(identity))]
    locked = yield from transaction.lock((organization_id for organization_id, _, _ in places), all_of_them=all_of_them)
    yield from transaction.read_clock()
    held = query_leases([place for place in places if place[0] in locked])
    yield from together(held)
    yield from end_leases(transaction, [(lease, endings[lease.id]) for lease in held.rows], reported=False)
    yield from transaction.save()
    return len(held.rows)
