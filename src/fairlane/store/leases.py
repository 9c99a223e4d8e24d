"""Leases: workers exchange reports of what ended for what to run next."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from fairlane.errors import Refusal, SessionGone
from fairlane.model.leases import (
    Completed,
    Exchange,
    ExchangeReply,
    Lease,
    ReportVerdict,
)
from fairlane.store.claiming import claim, keep_ahead, lock_further, query_ahead, query_turns, turns_of
from fairlane.store.lease_rows import (
    CALL,
    lease_place,
    query_leases,
)
from fairlane.store.noun import Noun, Shared, weight
from fairlane.store.settling import settle
from fairlane.store.slots import query_progress
from fairlane.store.statements import Operation, Query, Row, query, rows, rows_if, together
from fairlane.store.transaction import Transaction
from fairlane.store.type_limits import count_types, lock_types


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
    draining: int


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


class CanceledRow(Row, frozen=True):
    """A lease with a cancel request."""

    session_id: str
    id: str


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
    turns = query_turns(wanted, wanted, room + len(ending))
    # The organizations of the reports, or else those next in turn, may be waited for: no lock is held yet.
    before.append(turns)
    if not places:
        yield from together(*before)
        before = []
    locking = ending.keys() or turns_of(turns).organizations
    asked = list(dict.fromkeys((one.session_id, one.id) for one in exchanges))
    yielded = query("find_exchanged", asked, into=PlaceRow, exchanges=asked)
    holding, limited = query_leases(list(places.values())), lock_types(wanted)
    counted = count_types(wanted & memory.limited)
    ahead = query_ahead(locking, wanted, room, ending)
    yield from transaction.lock(
        locking, holding, yielded, limited, counted, ahead, before=before, all_of_them=bool(places)
    )  # fmt: skip
    live = {(row.id, row.key_id) for row in sessions.rows}
    draining = {row.id for row in sessions.rows if row.draining}
    served = [one for one in exchanges if (one.session_id, one.key_id) in live]
    if not served:
        return [SessionGone() for _ in exchanges]
    keep_ahead(transaction, ahead)
    limits = memory.know_limits(wanted, {row.task_type: row.most for row in limited.rows})
    reports = [(report, one.session_id) for one in served for report in one.reports]
    verdicts = yield from settle(transaction, reports, places, {lease.id: lease for lease in holding.rows})
    if places:
        yield from lock_further(transaction, turns_of(turns).organizations, wanted, room)
    settled = {
        report.lease_id
        for (report, _), verdict in zip(reports, verdicts, strict=True)
        if verdict is ReportVerdict.ACCEPTED
    }
    again = [(row.organization_id, row.task_id, row.id) for row in yielded.rows if row.id not in settled]
    if again and not transaction.now:
        yield from transaction.read_clock()
    found = yield from rows_if("find_yielded", again, into=YieldedRow, leases=again)
    answered = _answered(found, transaction.now)
    replies: list[ExchangeReply | Refusal] = []
    position = 0
    for one in exchanges:
        if (one.session_id, one.key_id) not in live:
            replies.append(SessionGone())
            continue
        leases = answered.get((one.session_id, one.id))
        if leases is None and one.session_id in draining:
            leases = []
        if leases is None:
            unchanged = None if reports or answered else counted
            leases = yield from claim(
                transaction, one, memory.served[one.session_id], limits, turns_of(turns), unchanged
            )
            answered[one.session_id, one.id] = leases
        replies.append(
            ExchangeReply(verdicts=tuple(verdicts[position : position + len(one.reports)]), leases=tuple(leases))
        )
        position += len(one.reports)
    yield from transaction.save(query_progress(served))
    return replies


def _answered(yielded: Sequence[YieldedRow], now: int) -> dict[tuple[str, str], list[Lease]]:
    """Return the leases that were handed out before, by session and exchange. Each has what is left of its time: its
    deadline stays, so that the attempt does not go on after the server ended it.
    """
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
                timeout_ms=max(1, row.timeout_ms - max(0, now - row.started_at)),
                started_at=row.started_at,
                payload=row.payload,
                call=row.kind == CALL,
                traceparent=row.traceparent,
            )
        )
    return answered


def canceled_leases(sessions: Sequence[str]) -> Operation[dict[str, list[str]]]:
    """Read the leases with a cancel request."""
    found: dict[str, list[str]] = {}
    for row in (yield from rows("find_canceled", into=CanceledRow, sessions=list(sessions))):
        found.setdefault(row.session_id, []).append(row.id)
    return found
