"""``GET /v1/async/status``: one organization's queue and slots, now."""

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.operations import Operation, Operations
from fairlane.model import Caller
from fairlane.store import Store

OPERATIONS: Operations = {
    "GET /v1/async/status": Operation(
        id="read_status",
        tag="status",
        summary="The organization's queue and slots, now",
        description="One consistent snapshot, exact at any queue depth. `concurrency` is null only while the slot "
        "information cannot be vouched for.",
        answer="status",
        examples=("status", "status_idle", "status_over_limit", "status_null"),
    )
}


class Status:
    """The queue's state. Never cached: callers decide by it whether to submit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, caller: Caller) -> Answer:
        """One snapshot of the caller's organization."""
        status = await self._store.status(caller.organization_id)
        return Answer(wire.status_body(status), headers=(NO_STORE,))
