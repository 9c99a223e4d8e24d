"""``GET /v1/async/task/{id}/attempts``: the attempts at a task, how each ended, and the pauses between them."""

from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.errors import NotFound
from fairlane.model.keys import Caller
from fairlane.store import Store


class AttemptEndpoints:
    """The endpoint of attempts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return the attempts at one task of the caller, by its id or its idempotency key."""
        [reference] = request.parameters
        if len(reference) > wire.IDEMPOTENCY_KEY_LENGTH:
            raise NotFound.task(reference)
        found = await self._store.attempts.find(caller.organization_id, reference)
        return Answer(wire.attempts_body(found), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/async/task/{taskId}/attempts",
            read,
            id="list_attempts",
            tag="tasks",
            summary="The attempts at a task, and how each ended",
            description="The oldest first: those that did not complete the task, at most the newest 100 of them, and "
            "the one that runs now or that completed it. `omitted` is the number of earlier ones that are not kept. "
            "`failure` is null if the handler named no failure and another attempt followed; `nextAttemptAt` if no "
            "pause followed.",
            segments=("The task's id, or its idempotency key.",),
            answer=wire.AttemptsBody,
            examples=("attempts", "attempts_none"),
            refusals=(NotFound,),
        ),
    )
