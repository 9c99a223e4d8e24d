"""``GET /v1/async/status``: one organization's queue and slots, now."""

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.model import Caller
from fairlane.store import Store


class Status:
    """The queue's state. Never cached: callers decide by it whether to submit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, caller: Caller) -> Answer:
        """One snapshot of the caller's organization."""
        status = await self._store.status(caller.organization_id)
        return Answer(wire.status_body(status), headers=(NO_STORE,))
