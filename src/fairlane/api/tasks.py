"""``/v1/async/task`` and its queue: accept tasks, look one up, drop what waits."""

import asyncio
from typing import Any

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.operations import Operation, Operations
from fairlane.api.reader import read_json
from fairlane.api.serving import Serving
from fairlane.errors import (
    BodyTooLarge,
    CreditsShort,
    NotFound,
    QueueFull,
    Refusal,
    TaskEnded,
    TaskExists,
    ValidationRefused,
)
from fairlane.model import Accepted, Caller, NewTask, Webhook
from fairlane.store import new_id

ENVELOPE_BYTES = 16 * 1024
"""How much a body may be larger than the largest payload."""
OFF_LOOP_BYTES = 256 * 1024
"""Larger bodies are read on a thread: the loop must not wait milliseconds for one caller's JSON."""
BATCH_BYTES_MOST = 32 * 1024 * 1024
BATCH_OFF_LOOP_BYTES = 16 * 1024
"""A batch this large may hold so many tasks that reading them takes milliseconds."""
REFERENCE_LENGTH_MOST = wire.IDEMPOTENCY_KEY_LENGTH
REFERENCE = "The task's id, or its idempotency key, percent-encoded."

OPERATIONS: Operations = {
    "POST /v1/async/task": Operation(
        id="submit_task",
        tag="tasks",
        summary="Accept one task",
        description="Durable when answered. The status in this answer is always QUEUED.",
        body="task",
        answer="created",
        examples=("created", "created_without_options"),
        refusals=(CreditsShort, TaskExists, BodyTooLarge, QueueFull),
    ),
    "POST /v1/async/task/batch": Operation(
        id="submit_batch",
        tag="tasks",
        summary="Accept up to 500 tasks",
        description="Each item is accepted or refused for itself, its verdict in its place. The queue must have "
        "room for as many as are sent: else the call is refused and nothing is created.",
        body="batch",
        answer="batch",
        examples=("batch", "batch_all_refused"),
        refusals=(BodyTooLarge, QueueFull),
    ),
    "DELETE /v1/async/task/{taskId}": Operation(
        id="cancel_task",
        tag="tasks",
        summary="Cancel one task",
        description="A queued task is FAILED with TASK_CANCELED at once. One that is processing is asked to end, and "
        "ends so whatever its handler makes of it, also if it completes before it hears of it. Nothing is charged. "
        "Safe to repeat.",
        segments=(REFERENCE,),
        answer="now",
        examples=("canceled", "canceled_processing"),
        refusals=(NotFound, TaskEnded),
    ),
    "DELETE /v1/async/queue": Operation(
        id="clear_queue",
        tag="tasks",
        summary="Drop every task that is still queued",
        description="Their records are gone and their idempotency keys free; nothing is charged, no webhook is told.",
        answer="cleared",
        examples=("cleared",),
    ),
    "GET /v1/async/task/{taskId}": Operation(
        id="find_task",
        tag="tasks",
        summary="One task's state, and its result once it has ended",
        segments=(REFERENCE,),
        answer="task",
        examples=("task_queued", "task_processing", "task_completed", "task_completed_with_webhook", "task_failed"),
        refusals=(NotFound,),
    ),
    "GET /v1/async/task/{taskId}/payload": Operation(
        id="find_payload",
        tag="tasks",
        summary="What was sent as the task's payload, byte for byte",
        segments=("The task's id, or its idempotency key, percent-encoded.",),
        answer="any",
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

    async def submit_batch(self, request: Request, caller: Caller) -> Answer:
        """Accept up to 500 tasks, each for itself, if the queue has room for as many as were sent."""
        self._serving.admit()
        body = await request.body(max(BATCH_BYTES_MOST, self._payload_most + ENVELOPE_BYTES))
        if len(body) > BATCH_OFF_LOOP_BYTES:
            read = await asyncio.to_thread(self._read_batch, body)
        else:
            read = self._read_batch(body)
        new = [item for item in read if isinstance(item, NewTask)]
        verdicts = iter(await self._store.submit(caller.organization_id, new, room=len(read)))
        items = [item if isinstance(item, Refusal) else _verdict(item, next(verdicts)) for item in read]
        return Answer(wire.batch_body(items, at=self._store.now()))

    async def clear(self, request: Request, caller: Caller) -> Answer:
        """Drop every task that is still queued."""
        return Answer(wire.cleared_body(await self._store.clear(caller.organization_id)))

    async def find(self, request: Request, caller: Caller) -> Answer:
        """One task by its id, or by its idempotency key."""
        reference = _reference(request)
        found = await self._store.task(caller.organization_id, reference)
        if found is None:
            raise NotFound.task(reference)
        return Answer(wire.task_body(found), headers=(NO_STORE,))

    async def payload(self, request: Request, caller: Caller) -> Answer:
        """What was sent as the task's payload, byte for byte."""
        reference = _reference(request)
        found = await self._store.payload(caller.organization_id, reference)
        if found is None:
            raise NotFound.task(reference)
        return Answer(found.encode(), headers=(NO_STORE,))

    async def cancel(self, request: Request, caller: Caller) -> Answer:
        """End one task before its time."""
        return Answer(wire.now_body(await self._store.cancel(caller.organization_id, _reference(request))))

    def _read_batch(self, body: bytes) -> list[NewTask | Refusal]:
        """Each item of a batch, read as if it had come alone."""
        return [self._read_item(item) for item in wire.split_batch(body)]

    def _read_item(self, body: bytes) -> NewTask | Refusal:
        try:
            return self._read(body)
        except ValidationRefused as refusal:
            return refusal
        except BodyTooLarge:  # no code of an item's (contract, 4)
            return ValidationRefused.at("payload", f"must be of at most {self._payload_most} bytes")

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


def _verdict(task: NewTask, verdict: Accepted | Refusal) -> tuple[NewTask, Accepted] | Refusal:
    return verdict if isinstance(verdict, Refusal) else (task, verdict)


def _reference(request: Request) -> str:
    """The id or key in the path. Raises NotFound for what can be neither."""
    [reference] = request.parameters
    if len(reference) > REFERENCE_LENGTH_MOST:
        raise NotFound.task(reference)
    return reference
