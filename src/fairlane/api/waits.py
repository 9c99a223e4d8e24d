"""``GET /v1/async/task/{id}/wait``: why a task waits, what is ahead of it, and for how long."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.errors import NotFound
from fairlane.model.keys import Caller
from fairlane.store import Store


class WaitEndpoints:
    """The endpoint of reasons to wait."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return why one task of the caller waits, by its id or its idempotency key."""
        [reference] = request.parameters
        found = None
        if len(reference) <= wire.IDEMPOTENCY_KEY_LENGTH:
            found = await self._store.waits.find(caller.organization_id, reference)
        if found is None:
            raise NotFound.task(reference)
        return Answer(wire.wait_body(found), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/async/task/{taskId}/wait",
            read,
            id="read_wait",
            tag="tasks",
            summary="Why a task waits, what is ahead of it, and for how long",
            description="`estimate` is null if none is possible; `tasksAhead` while the task is not in the queue's "
            "order.",
            segments=("The task's id, or its idempotency key.",),
            answer=wire.WaitBody,
            examples=("wait_organization_at_limit", "wait_retry_pause", "wait_type_unserved", "wait_running"),
            refusals=(NotFound,),
        ),
    )
