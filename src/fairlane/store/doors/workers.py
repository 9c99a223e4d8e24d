"""Workers and their supervisors: sessions, and the exchange of reports for leases.

Called by ``api/worker.py`` and ``api/parking.py``, and by ``api/callers.py`` for a server's own session. Never waits
for work, and ignores a report on a lease that is gone.
"""

from collections.abc import Sequence
from functools import partial

from fairlane.model.leases import Completed, Exchange, ExchangeReply, LossReason, NewSession
from fairlane.settings import Settings
from fairlane.store import leases, sessions
from fairlane.store.database import Database
from fairlane.store.doors.door import Door, weight
from fairlane.store.memory import Memory


class WorkerDoor(Door):
    """What a worker and its supervisor need."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._exchange = partial(leases.exchange, memory=memory)

    async def open_session(self, new: NewSession) -> None:
        """Register a live process: a worker, or a server (no types, no places)."""
        await self._write(sessions.open_session, new)

    async def exchange(self, one: Exchange) -> ExchangeReply:
        """Settle reports and claim for free places, in one transaction. Never waits for work.

        Raises:
            SessionGone: the session is dead or unknown, or another key opened it; nothing was settled.
        """
        texts = (report.ending.result if isinstance(report.ending, Completed) else "" for report in one.reports)
        reply = await self._database.write(self._exchange, one, weight=one.places + weight(texts))
        assert isinstance(reply, ExchangeReply)
        return reply

    async def canceled_leases(self, sessions: Sequence[str]) -> dict[str, list[str]]:
        """Return the leases of these sessions with a cancel request that still exist, by session."""
        found: dict[str, list[str]] = await self._database.read(leases.canceled_leases(sessions))
        return found

    async def renew_session(
        self,
        session_id: str,
        *,
        leases: Sequence[str],
        exchanges: Sequence[str],
        withdrawn: Sequence[str] = (),
        key_id: str | None = None,
    ) -> list[str]:
        """Keep a session alive, and return to the queue the leases that its worker cannot have received. Raises
        SessionGone.

        Returns the leases it holds that have a cancel request.
        """
        canceled: list[str] = await self._write(
            sessions.renew_session, session_id, key_id, leases, exchanges, withdrawn, self._memory
        )
        return canceled

    async def renew_server(self, server_id: str) -> None:
        """Keep a server's session alive. Raises SessionGone: its calls are being ended, it has to open a new
        session."""
        await self._write(sessions.renew_server, server_id)

    async def end_session(
        self, session_id: str, *, reason: LossReason, overdue: Sequence[str] = (), key_id: str | None = None
    ) -> int:
        """End the session of a worker process that is gone; return how many leases were returned. Safe to repeat."""
        returned: int = await self._write(sessions.end_session, session_id, key_id, reason, overdue, self._memory)
        return returned
