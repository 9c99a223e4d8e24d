"""Sessions of the dashboard that were ended before their time, kept until their cookies expire by themselves.

A session is a signed cookie, not a row: a forged one costs the
database nothing.
"""

from collections.abc import Sequence

from fairlane.store.noun import Noun
from fairlane.store.statements import Operation, rows, rows_if, run
from fairlane.store.transaction import Transaction

KEPT_MS = 24 * 3_600_000
"""How long a row stays after its cookie expired, in milliseconds: setting the clock back must revive no session."""


class LogoutStore(Noun):
    """Sessions of the dashboard that were ended."""

    async def add(self, session_id: str, *, expires_at: int) -> None:
        """End a session with a cookie that expires at ``expires_at``, at every server from the return on. Safe to
        repeat."""
        await self._write(_add, session_id, expires_at)

    async def contains(self, session_id: str) -> bool:
        """Return whether a session of the dashboard was ended, according to the database now."""
        return bool(await self._database.read(find_logouts([session_id])))


def _add(transaction: Transaction, session_id: str, expires_at: int) -> Operation[None]:
    yield from run("insert_logout", id=session_id, expires_at=expires_at)


def find_logouts(session_ids: Sequence[str]) -> Operation[frozenset[str]]:
    """Return those of these sessions that were ended."""
    return frozenset((yield from rows_if("find_logouts", session_ids, into=str, ids=session_ids)))


def purge_logouts(now: int, most: int) -> Operation[int]:
    """Delete the rows of cookies that expired long ago. At most ``most``; returns how many."""
    return len((yield from rows("purge_logouts", into=str, before=now - KEPT_MS, most=most)))
