"""Sessions: open, renew and end them, and return the leases of dead ones."""

from collections.abc import Sequence

import msgspec

from fairlane.errors import SessionGone
from fairlane.model.leases import Ending, LossReason, NewSession
from fairlane.store.leases import LOST, OVERDUE, RELEASED, return_leases
from fairlane.store.memory import Memory
from fairlane.store.statements import CHUNK, Operation, clock, rows


def open_session(new: NewSession) -> Operation[None]:
    """Register a worker process."""
    yield from rows(
        "insert_session",
        id=new.id,
        name=new.name,
        types=msgspec.json.encode(new.types).decode(),
        places=new.places,
        local=int(new.local),
        key_id=new.key_id,
        lease_ms=new.lease_ms,
        now=(yield from clock()),
    )


def renew_session(
    session_id: str,
    key_id: str | None,
    leases: Sequence[str],
    exchanges: Sequence[str],
    withdrawn: Sequence[str],
    memory: Memory,
) -> Operation[list[str]]:
    """Keep a session alive. An expired session may still renew until a sweep has marked it dead.

    A session that another key opened is treated as missing.

    Leases that the worker does not know of, from exchanges it no longer waits for, return to the queue and do not
    count: their answer was lost, so they run nowhere. This applies only to leases older than a whole session lease,
    because the worker may have opened another exchange after it wrote this message. From exchanges that are
    ``withdrawn`` (the worker is blocked and takes no answers) every lease that it has not received is returned at once.

    Returns the leases with a cancel request: the supervisor kills a worker that cannot react.
    """
    now = yield from clock()
    renewed = yield from rows("renew_session", id=session_id, key_id=key_id, now=now)
    if not renewed:
        raise SessionGone
    known, given_up, young = set(leases), set(withdrawn), now - renewed[0][0]
    open_exchanges = set(exchanges) - given_up
    unknown: list[tuple[str, Ending]] = []
    canceled: list[str] = []
    for identity, exchange_id, started_at, canceled_at in (yield from rows("find_session_leases", id=session_id)):
        lost = exchange_id not in open_exchanges and started_at < young
        if identity not in known and (lost or exchange_id in given_up):
            unknown.append((identity, RELEASED))
        elif canceled_at is not None:
            canceled.append(identity)
    yield from return_leases(unknown, memory)
    return canceled


def renew_server(session_id: str) -> Operation[None]:
    """Keep a server's session alive; the server itself handles its calls. Raises SessionGone."""
    if not (yield from rows("renew_session", id=session_id, key_id=None, now=(yield from clock()))):
        raise SessionGone


def end_session(
    session_id: str, key_id: str | None, reason: LossReason, overdue: Sequence[str], memory: Memory
) -> Operation[int]:
    """End the session of a worker process that is gone; its leases are returned at once. Safe to repeat.

    A session that another key opened is treated as missing.
    """
    if not (yield from rows("end_session", id=session_id, key_id=key_id)):
        return 0
    late = set(overdue)
    otherwise = LOST if reason is LossReason.LOST else RELEASED
    held = yield from rows("find_session_leases", id=session_id)
    returns = [(row[0], OVERDUE if row[0] in late else otherwise) for row in held]
    return (yield from return_leases(returns, memory))


def end_local_sessions() -> Operation[None]:
    """End the sessions of an earlier server's local workers, which are certainly gone."""
    yield from rows("end_local_sessions")


def end_expired_sessions() -> Operation[list[str]]:
    """Mark expired sessions dead; return their names."""
    now = yield from clock()
    return [row[1] for row in (yield from rows("end_expired_sessions", now=now))]


def return_orphans(memory: Memory) -> Operation[int]:
    """Return leases with a dead or missing session, and those past their deadline by twice the grace.

    The supervisor ends an overdue attempt one grace after its deadline; this is the safety net. At most CHUNK of each;
    returns how many.
    """
    now = yield from clock()
    orphans = yield from rows("find_orphans", most=CHUNK)
    late = yield from rows("find_overdue", before=now - 2 * memory.kill_grace_ms, most=CHUNK)
    returns: dict[str, Ending] = {row[0]: OVERDUE for row in late}
    returns |= {row[0]: LOST for row in orphans}
    returned = yield from return_leases(list(returns.items()), memory, all_of_them=False)
    yield from rows("delete_orphaned_calls")
    yield from rows("delete_dead_sessions")
    return returned
