"""Sessions: open, renew and end them, and return the leases of dead ones."""

from collections.abc import Sequence

import msgspec

from fairlane.errors import NotFound, SessionGone
from fairlane.model.leases import Ending, LossReason, NewSession, Renewal, SessionFacts
from fairlane.store.failed_starts import forget_failed_starts
from fairlane.store.noun import Noun
from fairlane.store.settling import LOST, OVERDUE, RELEASED, return_leases
from fairlane.store.statements import CHUNK, Operation, Row, query, rows, run, together
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction


class SessionLeaseRow(Row, frozen=True):
    """A lease that a session holds."""

    id: str
    exchange_id: str
    started_at: int
    canceled_at: int | None


class ExpiredRow(Row, frozen=True):
    """A session that expired."""

    id: str
    name: str


class OrphanRow(Row, frozen=True):
    """A lease with a dead or missing session."""

    id: str
    session_id: str


class RenewedRow(Row, frozen=True):
    """A session that was renewed."""

    lease_ms: int
    draining: int


class SessionRow(Row, frozen=True):
    """A live session."""

    id: str
    name: str
    types: str
    places: int
    local: int
    key: str | None
    started_at: int
    lease_until: int
    draining: int
    version: str
    leases: int


class SessionStore(Noun):
    """Live processes: workers, and servers (no types, no places)."""

    async def open(self, new: NewSession) -> None:
        """Register a live process."""
        await self._write(_open, new)

    async def renew(
        self,
        session_id: str,
        *,
        leases: Sequence[str],
        exchanges: Sequence[str],
        withdrawn: Sequence[str] = (),
        key_id: str | None = None,
    ) -> Renewal:
        """Keep a session alive, and return to the queue the leases that its worker cannot have received.

        An expired session may still renew until a sweep has marked it dead. A session that another key opened is
        treated as missing.

        Leases that the worker does not know of, from exchanges it no longer waits for, return to the queue and do not
        count: their answer was lost, so they run nowhere. This applies only to leases older than a whole session lease,
        because the worker may have opened another exchange after it wrote this message. From exchanges that are
        ``withdrawn`` (the worker is blocked and takes no answers) every lease that it has not received is returned at
        once.

        Raises SessionGone.
        """
        return await self._write(_renew, session_id, key_id, leases, exchanges, withdrawn)

    async def renew_server(self, server_id: str) -> None:
        """Keep a server's session alive; the server itself handles its calls.

        Raises SessionGone: its calls are being ended, it has to open a new session.
        """
        await self._write(_renew_server, server_id)

    async def end(
        self, session_id: str, *, reason: LossReason, overdue: Sequence[str] = (), key_id: str | None = None
    ) -> int:
        """End the session of a worker process that is gone; return how many leases were returned. Safe to repeat.

        A session that another key opened is treated as missing.
        """
        return await self._write(_end, session_id, key_id, reason, overdue)

    async def drain(self, session_id: str, *, actor: str) -> None:
        """Have a worker take no more tasks from now on, and end after those that it runs. Raises NotFound."""
        await self._write(_drain, session_id, actor)

    async def all(self, *, after: str = "", most: int) -> list[SessionFacts]:
        """Return live sessions by id."""
        return await self._database.read(find_sessions(after, most))

    async def end_expired(self) -> list[str]:
        """Mark expired sessions dead; return their names."""
        return await self._write(_end_expired)

    async def return_orphans(self, *, overdue: bool = True) -> int:
        """Return leases with a dead or missing session and, with ``overdue``, those past their deadline by twice the
        grace.

        The supervisor ends an overdue attempt one grace after its deadline; this is the safety net. At most CHUNK of
        each; returns how many.
        """
        return await self._write(_return_orphans, overdue)

    async def return_local_leases(self) -> int:
        """Return the leases of an earlier server's local workers, if this server is the only one on the database.

        They are certainly gone, because this server holds the lock that they inherited. With several servers, the
        sessions of lost workers expire.
        """
        if not self._database.exclusive:
            return 0
        await self._write(_end_local)
        total = 0
        while returned := await self.return_orphans(overdue=False):
            total += returned
        return total


def _open(transaction: Transaction, new: NewSession) -> Operation[None]:
    yield from run(
        "insert_session",
        id=new.id,
        name=new.name,
        types=msgspec.json.encode(new.types).decode(),
        places=new.places,
        local=int(new.local),
        key_id=new.key_id,
        version=new.version,
        supervisor=new.supervisor,
        reports=new.reports,
        lease_ms=new.lease_ms,
        now=(yield from transaction.read_clock()),
    )
    if new.application:
        yield from forget_failed_starts(new.key_id, new.host, new.application)


def _renew(
    transaction: Transaction,
    session_id: str,
    key_id: str | None,
    leases: Sequence[str],
    exchanges: Sequence[str],
    withdrawn: Sequence[str],
) -> Operation[Renewal]:
    now = yield from transaction.read_clock()
    before = query("find_session_end", [session_id], into=int, id=session_id)
    renewed = query("renew_session", [session_id], into=RenewedRow, id=session_id, key_id=key_id, now=now)
    held = query("find_session_leases", [session_id], into=SessionLeaseRow, id=session_id)
    yield from together(before, renewed, held)
    if not renewed.rows:
        raise SessionGone
    [row] = renewed.rows
    # This request may be late, and then knows nothing of exchanges that began after it was written: leases that are
    # younger than a lease time are left. If the session looks expired, the clock may have been set, and tells no age.
    until = before.rows[0]
    young = (now if now <= until else until - row.lease_ms) - row.lease_ms
    known, given_up = set(leases), set(withdrawn)
    open_exchanges = set(exchanges) - given_up
    unknown: list[tuple[str, Ending]] = []
    canceled: list[str] = []
    for lease in held.rows:
        lost = lease.exchange_id not in open_exchanges and lease.started_at < young
        if lease.id not in known and (lost or lease.exchange_id in given_up):
            unknown.append((lease.id, RELEASED))
        elif lease.canceled_at is not None:
            canceled.append(lease.id)
    yield from return_leases(transaction, unknown)
    return Renewal(canceled, draining=bool(row.draining))


def _renew_server(transaction: Transaction, session_id: str) -> Operation[None]:
    if not (
        yield from rows(
            "renew_session", into=RenewedRow, id=session_id, key_id=None, now=(yield from transaction.read_clock())
        )
    ):
        raise SessionGone


def _end(
    transaction: Transaction, session_id: str, key_id: str | None, reason: LossReason, overdue: Sequence[str]
) -> Operation[int]:
    if not (yield from rows("end_session", into=str, id=session_id, key_id=key_id)):
        return 0
    late = set(overdue)
    otherwise = LOST if reason is LossReason.LOST else RELEASED
    held = yield from rows("find_session_leases", into=SessionLeaseRow, id=session_id)
    returns = [(row.id, OVERDUE if row.id in late else otherwise) for row in held]
    return (yield from return_leases(transaction, returns))


def _drain(transaction: Transaction, session_id: str, actor: str) -> Operation[None]:
    found = yield from rows("drain_session", into=str, id=session_id)
    if not found:
        raise NotFound.named("session", session_id)
    yield from write_trail(transaction, actor, "worker.drained", found[0], {"session": session_id})


def _end_local(transaction: Transaction) -> Operation[None]:
    yield from run("end_local_sessions")


def _end_expired(transaction: Transaction) -> Operation[list[str]]:
    now = yield from transaction.read_clock()
    return [row.name for row in (yield from rows("end_expired_sessions", into=ExpiredRow, now=now))]


def _return_orphans(transaction: Transaction, overdue: bool) -> Operation[int]:
    now = yield from transaction.read_clock()
    orphans = yield from rows("find_orphans", into=OrphanRow, most=CHUNK)
    returns: dict[str, Ending] = {}
    if overdue:
        before = now - 2 * transaction.config.kill_grace_ms
        returns |= dict.fromkeys((yield from rows("find_overdue", into=str, before=before, most=CHUNK)), OVERDUE)
    returns |= {row.id: LOST for row in orphans}
    returned = yield from return_leases(transaction, list(returns.items()), all_of_them=False)
    yield from run("delete_orphaned_calls")
    yield from run("delete_dead_sessions")
    return returned


def find_sessions(after: str, most: int) -> Operation[list[SessionFacts]]:
    """Read live sessions."""
    return [
        SessionFacts(
            id=row.id,
            name=row.name,
            types=tuple(msgspec.json.decode(row.types)),
            places=row.places,
            local=bool(row.local),
            key=row.key,
            started_at=row.started_at,
            lease_until=row.lease_until,
            draining=bool(row.draining),
            version=row.version,
            leases=row.leases,
        )
        for row in (yield from rows("find_sessions", into=SessionRow, after=after, most=most))
    ]
