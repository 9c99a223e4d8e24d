"""Waiting callers of calls: a slot at once, the result, the end.

Called by ``api/callers.py``, for the calls of its own server. Never queues anything.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from fairlane.model.calls import Abandoned, Admitted, EndedCall, NewCall
from fairlane.settings import Settings
from fairlane.store import calls
from fairlane.store.calls import Abandonment, Named
from fairlane.store.database import Database
from fairlane.store.doors.door import Door, weight
from fairlane.store.memory import Memory


class CallerDoor(Door):
    """What a server needs for the calls of its own callers."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._begin_calls = partial(calls.begin_calls, memory=memory)
        self._abandon_calls = partial(calls.abandon_calls, memory=memory)

    async def begin_call(self, new: NewCall) -> Admitted:
        """Give a call its slot at once. A refusal leaves nothing behind.

        Raises:
            ConcurrencyFull: its organization has no free slot, or its task type no room.
            Unavailable: its organization is paused, or its limit cannot be read.
            KeyRefused: its organization is disabled or gone.
            CreditsShort: the part of the balance that is not held does not cover the cost.
        """
        admitted: Admitted = await self._database.write(self._begin_calls, new, weight=weight([new.payload]))
        return admitted

    async def abandon_call(self, organization_id: int, call_id: str, *, running: bool = True) -> Abandoned:
        """Give up a call after its caller is gone: it ends at once, or with its attempt. Return which.

        With ``running`` False, a call that a worker has is left alone.
        """
        one = Abandonment(organization_id, call_id, running)
        met: Abandoned = await self._database.write(self._abandon_calls, one)
        return met

    async def ended_calls(self, server_id: str, *, taken: Iterable[str] = (), most: int = 100) -> list[EndedCall]:
        """Return the results of a server's ended calls, without those that it has already taken."""
        found: list[EndedCall] = await self._database.read(calls.ended_calls(server_id, taken, most))
        return found

    async def server_calls(self, server_id: str) -> set[str]:
        """Return the ids of all existing calls of a server."""
        found: set[str] = await self._database.read(calls.server_calls(server_id))
        return found

    async def forget_calls(self, answered: Sequence[Named]) -> None:
        """Remove ended calls after their callers were answered."""
        await self._database.write(calls.forget_calls, answered, weight=max(1, len(answered)))
