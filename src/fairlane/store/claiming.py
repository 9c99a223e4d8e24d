"""Claiming: the only place where a task takes a slot."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter

import msgspec
from msgspec import Struct

from fairlane.model.attempts import AttemptEnding
from fairlane.model.leases import (
    Exchange,
    Lease,
)
from fairlane.model.tasks import TaskStatus
from fairlane.rules.attempts import UNPAID
from fairlane.rules.failures import Fingerprint
from fairlane.rules.fairness import share
from fairlane.store.calls import take_calls
from fairlane.store.failures import FailureSeen
from fairlane.store.lease_rows import (
    lease_id,
)
from fairlane.store.locked import CALL_TURN, QUEUE_TURN, Head, LockedOrganization
from fairlane.store.outcomes import write_outcomes
from fairlane.store.statements import Operation, Query, Row, change, query, rows_if, together
from fairlane.store.transaction import Transaction
from fairlane.store.type_limits import UsedRow, rooms_left

CLAIM_ROUNDS = 8
"""How many times a claim looks again for tasks after it found fewer than it has places."""
PAYLOADS_MOST = 32 * 2**20
"""About how many bytes of payloads one claim hands out. A worker reads an answer at once: with many times this its loop
would stall until it has to hand all of the answer back.
"""
INLINE_BYTES = 8_192
"""Payloads up to this length are read together with the queue; only the longer ones of tasks that start are read apart.
"""
UNPAID_MOST = 100
"""Most tasks that one round ends because their organization cannot pay them."""


class TurnsRow(Row, frozen=True):
    """The organizations next in turn for one type."""

    organizations: list[int]


class PayloadRow(Row, frozen=True):
    """The payload of a task."""

    task_id: str
    payload: str


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
            asked = query_turns(types, room, places - len(leases) + len(locked) + len(missed))
            yield from together(asked)
            turns = turns_of(asked)
            more = turns.more
            yield from lock_further(transaction, turns.organizations, types, places - len(leases))
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


def query_turns(types: Collection[str], startable: Collection[str], most: int) -> Query[TurnsRow]:
    """Return the query for the organizations next in turn to start calls of ``types`` and tasks of ``startable``.

    ``startable`` contains no types that are known to be full.
    """
    kinds = [*((name, CALL_TURN) for name in types), *((name, QUEUE_TURN) for name in startable)]
    return query("find_turns", kinds, into=TurnsRow, kinds=kinds, most=most)


def turns_of(found: Query[TurnsRow]) -> Turns:
    ids = [one for row in found.rows for one in row.organizations]
    return Turns(frozenset(ids), len(ids) >= found.parameters["most"])


def lock_further(transaction: Transaction, ids: Iterable[int], types: Collection[str], places: int) -> Operation[None]:
    """Lock those of these organizations that are not locked yet and that no other transaction holds."""
    further = set(ids) - transaction.locked.keys()
    ahead = query_ahead(further, types, places, {})
    yield from transaction.lock_further(further, ahead)
    keep_ahead(transaction, ahead)


def query_ahead(ids: Collection[int], types: Collection[str], places: int, ending: Mapping[int, int]) -> Query[Head]:
    """Return the query for the next tasks of these organizations, before it is known which of them start.

    It reads a share of the places for each, and as many as leases end: enough for most exchanges, and never many times
    what one can start.
    """
    share_of_each = -(-places // max(1, len(ids)))
    organizations = [(one, min(places, share_of_each + ending.get(one, 0)), ending.get(one, 0)) for one in sorted(ids)]
    asked = {"organizations": organizations, "types": sorted(types), "inline": INLINE_BYTES}
    return Query("find_heads_ahead", asked, Head, needed=bool(ids and types and places), ahead=True)


def keep_ahead(transaction: Transaction, found: Query[Head]) -> None:
    for head in found.rows:
        organization = transaction.locked.get(head.organization_id)
        if organization is not None:
            organization.ahead.append(head)


def _pick(
    transaction: Transaction, places: dict[int, int], room: dict[str, int]
) -> Operation[tuple[list[Head], dict[int, list[Head]]]]:
    """Return the next tasks of each organization, within its number of places and the room of each type, and apart by
    organization those with a cost that even its whole balance does not cover.

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
            if cost and not organization.can_pay(cost):
                unpaid.setdefault(organization_id, []).append(entry)
            elif cost and not organization.can_hold(held + cost):
                organization.want_credits(cost)
            else:
                held += cost
                room[entry.task_type] -= 1
                picks.append(entry)
    return picks, unpaid


def _find_heads(lanes: Sequence[tuple[int, str, int, int]], most: int) -> Operation[list[Head]]:
    return (yield from rows_if("find_heads", lanes, into=Head, lanes=lanes, most=most, inline=INLINE_BYTES))


_in_order = attrgetter("rank", "seq")


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
    organization.take(picks)
    for pick in picks:
        fingerprint = Fingerprint(pick.task_type, UNPAID.code, AttemptEnding.FAILED, "", "")
        failures.append(FailureSeen(organization.id, pick.task_id, fingerprint, 0, final=True))
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
    """Move these entries from the queue to leases: all of them, or the first ones up to a size of their payloads."""
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
    starting: dict[int, list[Head]] = {}
    for pick in picks:
        starting.setdefault(pick.organization_id, []).append(pick)
    waits = {organization_id: locked[organization_id].waits(now) for organization_id in starting}
    for organization_id, heads in starting.items():
        organization = locked[organization_id]
        organization.start(heads)
        organization.hold(sum([head.cost for head in heads]))
        for name, count in Counter([head.task_type for head in heads]).items():
            estimate_ms = kinds[name][1]
            organization.charge(estimate_ms * count)
            transaction.memory.seen.start(organization_id, name, count, [
                (max(0, now - head.ready_at), _waited(head, waits))
                for head in heads if head.task_type == name and head.first_started_at is None
            ])  # fmt: skip
    for pick, fence in zip(picks, transaction.config.new_fences(len(picks)), strict=True):
        rule, estimate_ms, limited = kinds[pick.task_type]
        attempt = pick.attempt + 1
        identity = lease_id(pick.organization_id, pick.task_id, fence)
        inserts.append((
            pick.organization_id, pick.task_id, identity, pick.task_type, pick.rank, pick.seq, pick.cost, attempt,
            rule.attempts, limited, estimate_ms,
            now if pick.first_started_at is None else pick.first_started_at, now + rule.timeout_ms, pick.webhook,
            pick.starts + 1, *_waited(pick, waits),
        ))  # fmt: skip
        leases.append(
            Lease(
                id=identity,
                task_id=pick.task_id,
                organization_id=pick.organization_id,
                organization=locked[pick.organization_id].name,
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


def _waited(head: Head, waits: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how long a task has waited for a slot, and for a worker; ``waits`` has its organization's integrals."""
    slot_ms, worker_ms = waits[head.organization_id]
    return slot_ms - head.slot_wait_from, worker_ms - head.worker_wait_from
