"""``/v1/async/task``: accept one task, look one up."""

import asyncio
from typing import Any

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.operations import Operation, Operations
from fairlane.api.reader import read_json
from fairlane.api.serving import Serving
from fairlane.errors import BodyTooLarge, NotFound, QueueFull, Refusal, TaskExists
from fairlane.model import Caller, NewTask, Webhook
from fairlane.store import new_id

ENVELOPE_BYTES = 16 * 1024
"""How much a body may be larger than the largest payload."""
OFF_LOOP_BYTES = 256 * 1024
"""Larger bodies are read on a thread: the loop must not wait milliseconds for one caller's JSON."""
REFERENCE_LENGTH_MOST = wire.IDEMPOTENCY_KEY_LENGTH

OPERATIONS: Operations = {
    "POST /v1/async/task": Operation(
        id="submit_task",
        tag="tasks",
        summary="Accept one task",
        description="Durable when answered. The status in this answer is always QUEUED.",
        body="task",
        answer="created",
        examples=("created", "created_without_options"),
        refusals=(TaskExists, BodyTooLarge, QueueFull),
    ),
    "GET /v1/async/task/{taskId}": Operation(
        id="find_task",
        tag="tasks",
        summary="One task's state, and its result once it has ended",
        segments=("The task's id, or its idempotency key, percent-encoded.",),
        answer="task",
        examples=("task_queued", "task_processing", "task_completed", "task_completed_with_webhook", "task_failed"),
        refusals=(NotFound,),
    ),
}


class Tasks:
    """Submitting and finding."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._store = serving.store
        self._payload_most = serving.settings.payload_limit_bytes

    async def submit(self, request: Request, caller: Caller) -> Answer:
        """Accept one task; durable when answered."""
        self._serving.admit()
        body = await request.body(self._payload_most + ENVELOPE_BYTES, report_limit=self._payload_most)
        if len(body) > OFF_LOOP_BYTES:
            new = await asyncio.to_thread(self._read, body)
        else:
            new = self._read(body)
        [verdict] = await self._store.submit(caller.organization_id, [new])
        if isinstance(verdict, Refusal):
            raise verdict
        return Answer(wire.created_body(new, verdict))

    async def find(self, request: Request, caller: Caller) -> Answer:
        """One task by its id, or by its idempotency key."""
        [reference] = request.parameters
        found = None
        if len(reference) <= REFERENCE_LENGTH_MOST:
            found = await self._store.task(caller.organization_id, reference)
        if found is None:
            raise NotFound.task(reference)
        return Answer(wire.task_body(found), headers=(NO_STORE,))

    def _read(self, body: bytes) -> NewTask:
        """The task that a body asks for, its payload checked against its type."""
        document: Any = read_json(body)
        submission = wire.read_submission(body, document, self._serving.task_types)
        if len(submission.payload) > self._payload_most:
            raise BodyTooLarge(self._payload_most)
        task_type = self._serving.task_types[submission.task_type]
        task_type.decode(submission.payload)
        url = submission.webhook_url
        return NewTask(
            id=new_id(),
            task_type=submission.task_type,
            payload=submission.payload.decode(),
            priority=submission.priority,
            idempotency_key=submission.idempotency_key,
            cost=task_type.rule.cost,
            webhook=None if url is None else Webhook(url, self._serving.webhook_host(url, "webhook.url")),
        )
