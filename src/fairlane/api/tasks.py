"""``/v1/async/task`` and related routes: accept tasks, return them, wait for them, cancel them, run them again."""

from hashlib import blake2b
from typing import Any, ClassVar

from msgspec.structs import replace

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import ID_LENGTH, page_query, read_cursor, read_number
from fairlane.api.reader import BYTE_ORDER_MARK, read_json
from fairlane.api.routes import Route, Routes
from fairlane.api.serving import Serving
from fairlane.api.waiting import applied, wait_seconds
from fairlane.errors import (
    BodyTooLarge,
    CreditsShort,
    NotFound,
    QueueFull,
    Refusal,
    TaskEnded,
    TaskExists,
    TaskNotFailed,
    ValidationRefused,
)
from fairlane.model.keys import Caller
from fairlane.model.tasks import Accepted, NewTask, TaskFilter
from fairlane.model.webhooks import Webhook
from fairlane.scanning import have_more_values
from fairlane.store import new_id
from fairlane.wire import schemas

ENVELOPE_BYTES = 16 * 1024
"""How much larger a body may be than the largest payload."""
BATCH_BYTES_MOST = 32 * 1024 * 1024
BATCH_VALUES_MOST = 1_000_000
"""Most JSON values in a batch: as many as ten items of the largest size. Reading them takes half a second."""
REFERENCE_LENGTH_MOST = wire.IDEMPOTENCY_KEY_LENGTH
CACHE = (b"cache-control", b"private, no-cache")
"""A cache must ask each time whether its answer is still valid."""
PAGE_MOST = 100
PAGE_DEFAULT = 50
PREFER = {"Prefer": {"type": "string", "description": "`wait=N`: answer once the task has ended, after N s at most."}}
TRACE = {
    "traceparent": {
        "type": "string",
        "description": "W3C trace context of the caller; a malformed one is ignored.",
    }
}
REFERENCE = "The task's id, or its idempotency key, percent-encoded."


class TaskEndpoints:
    """The endpoints of tasks."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._store = serving.store
        self._payload_most = serving.settings.payload_limit_bytes

    async def submit(self, request: Request, caller: Caller) -> Answer:
        """Accept one task; it is durable when answered."""
        self._serving.admit()
        body = await request.body(self._payload_most + ENVELOPE_BYTES, report_limit=self._payload_most)
        new = await request.read(len(body), self._read, body)
        [verdict] = await self._accept(request, caller, [new])
        new = replace(new, payload="")
        del body  # The wait may be long.
        return await self._submitted(request, caller, new, verdict)

    async def retry(self, request: Request, caller: Caller) -> Answer:
        """Run a failed task again, as a new task that passes the same checks.

        This needs two calls of the store. Between them the payload is checked against its current type, which may run
        the application's code. A failed task stays failed, so no change can happen in between.
        """
        self._serving.admit()
        failed, payload = await self._store.tasks.failed(caller.organization_id, _reference(request))
        task_type = self._serving.task_types.get(failed.task_type)
        if task_type is None:
            raise wire.unknown_type(self._serving.task_types)
        await request.read(len(payload), task_type.decode, payload)
        new = NewTask(
            id=new_id(),
            task_type=failed.task_type,
            payload=payload,
            priority=failed.priority,
            cost=task_type.rule.cost,
            webhook=None if failed.webhook is None else self._webhook(failed.webhook.url),
            retry_of=failed.id,
        )
        [verdict] = await self._accept(request, caller, [new])
        return await self._submitted(request, caller, new, verdict)

    async def _submitted(self, request: Request, caller: Caller, new: NewTask, verdict: Accepted | Refusal) -> Answer:
        if isinstance(verdict, Refusal):
            raise verdict
        location = (b"location", f"/v1/async/task/{new.id}".encode())
        seconds, waiting = wait_seconds(request), self._serving.waiting
        if seconds and waiting.has_room(caller.organization_id):
            request.release()
            ended = await waiting.ended(caller.organization_id, new.id, seconds=seconds, gone=request.gone)
            # None: the queue was cleared in the meantime, but the task had been accepted.
            body = wire.created_body(new, verdict) if ended is None else wire.changed_task_body(ended)
            return Answer(body, headers=(location, applied(seconds)))
        return Answer(wire.created_body(new, verdict), headers=(location,))

    async def _accept(
        self, request: Request, caller: Caller, new: list[NewTask], *, room: int = 0
    ) -> list[Accepted | Refusal]:
        """Submit the tasks to the store, within a span if traces are on."""
        if self._serving.tracing is None:
            return await self._store.tasks.submit(caller.organization_id, new, room=room)
        with self._serving.tracing.submit(request.every_header(b"traceparent"), new) as span:
            named = [replace(one, traceparent=span.traceparent) for one in new]
            verdicts = await self._store.tasks.submit(caller.organization_id, named, room=room)
            span.decided(new, verdicts)
            return verdicts

    async def submit_batch(self, request: Request, caller: Caller) -> Answer:
        """Accept up to 500 tasks, each on its own, if the queue has room for all of them."""
        self._serving.admit()
        body = await request.body(max(BATCH_BYTES_MOST, self._payload_most + ENVELOPE_BYTES))
        read = await request.read(len(body), self._read_batch, body)
        del body
        new = [item for item in read if isinstance(item, NewTask)]
        verdicts = iter(await self._accept(request, caller, new, room=len(read)))
        items = [item if isinstance(item, Refusal) else _verdict(item, next(verdicts)) for item in read]
        return Answer(wire.batch_body(items, at=self._store.now()))

    async def clear(self, request: Request, caller: Caller) -> Answer:
        """Drop every task that is still queued."""
        return Answer(wire.cleared_body(await self._store.tasks.clear(caller.organization_id)))

    async def find(self, request: Request, caller: Caller) -> Answer:
        """Return one task by its id, or by its idempotency key."""
        reference = _reference(request)
        found = await self._store.tasks.find(caller.organization_id, reference)
        headers = [CACHE]
        seconds, waiting = wait_seconds(request), self._serving.waiting
        if found is not None and seconds and waiting.has_room(caller.organization_id):
            headers.append(applied(seconds))
            found = await waiting.ended(caller.organization_id, found.id, seconds=seconds, gone=request.gone)
        if found is None:
            raise NotFound.task(reference)
        body = wire.task_body(found)
        # Made from the bytes, so that two different bodies never share it.
        tag = b'"%b"' % blake2b(body, digest_size=16).hexdigest().encode()
        headers.append((b"etag", tag))
        if _has(request, tag):
            return Answer(b"", 304, tuple(headers))
        return Answer(body, headers=tuple(headers))

    async def page(self, request: Request, caller: Caller) -> Answer:
        """Return one page of the organization's tasks, newest first."""
        query = request.query(*wire.FILTER_FIELDS, "cursor", "limit")
        chosen = wire.filter_of_query(query)
        most = read_number("limit", query.get("limit"), usual=PAGE_DEFAULT, most=PAGE_MOST)
        page = await self._store.tasks.page(
            caller.organization_id, chosen=chosen, cursor=_cursor(query.get("cursor"), chosen), most=most
        )
        return Answer(wire.tasks_body(page), headers=(NO_STORE,))

    async def payload(self, request: Request, caller: Caller) -> Answer:
        """Return the task's payload as it was sent, byte for byte."""
        reference = _reference(request)
        found = await self._store.tasks.payload(caller.organization_id, reference)
        if found is None:
            raise NotFound.task(reference)
        return Answer(found.encode(), headers=(NO_STORE,))

    async def cancel(self, request: Request, caller: Caller) -> Answer:
        """Cancel one task."""
        return Answer(
            wire.changed_task_body(await self._store.tasks.cancel(caller.organization_id, _reference(request)))
        )

    def _read_batch(self, body: bytes) -> list[NewTask | Refusal]:
        """Read each item of a batch as if it had been sent alone."""
        if body.startswith(BYTE_ORDER_MARK):
            read_json(body)  # refuses it
        if have_more_values(body, BATCH_VALUES_MOST):
            raise ValidationRefused.at("body", f"has more than {BATCH_VALUES_MOST} values")
        return [self._read_item(item) for item in wire.split_batch(body, self._payload_most + ENVELOPE_BYTES)]

    def _read_item(self, body: bytes | None) -> NewTask | Refusal:
        try:
            if body is None:
                raise BodyTooLarge(self._payload_most)
            return self._read(body, suggests=False)
        except ValidationRefused as refusal:
            return refusal
        except BodyTooLarge:  # This code does not exist for items (contract, 4).
            return ValidationRefused.at("payload", f"must be of at most {self._payload_most} bytes")

    def _read(self, body: bytes, *, suggests: bool = True) -> NewTask:
        """Return the task in a body, with its payload checked against its type."""
        document: Any = read_json(body)
        submission = wire.read_submission(
            body, document, self._serving.task_types, now=self._store.now(), suggests=suggests
        )
        if len(submission.payload) > self._payload_most:
            raise BodyTooLarge(self._payload_most)
        task_type = self._serving.task_types[submission.task_type]
        task_type.decode(submission.payload)
        return NewTask(
            id=new_id(),
            task_type=submission.task_type,
            payload=submission.payload.decode(),
            priority=submission.priority,
            idempotency_key=submission.idempotency_key,
            cost=task_type.rule.cost,
            webhook=None if submission.webhook_url is None else self._webhook(submission.webhook_url),
            run_at=submission.run_at,
            delay_ms=submission.delay_ms,
        )

    def _webhook(self, url: str) -> Webhook:
        return Webhook(url, self._serving.webhook_host(url, "webhook.url"))

    routes: ClassVar[Routes] = (
        Route(
            "POST",
            "/v1/async/task",
            submit,
            id="submit_task",
            tag="tasks",
            summary="Accept one task",
            description="Durable when answered. The status in this answer is always QUEUED. If the server waited "
            "(`Prefer: wait=N`, answered with `Preference-Applied`), the answer is that of GET with `success`. If the "
            "task was cleared in the meantime, the answer is that it was accepted.",
            body=schemas.SUBMISSION,
            request_headers=PREFER | TRACE,
            answer=wire.ChangedTaskBody,
            answer_headers=("Location", "Preference-Applied"),
            examples=("created", "created_without_options", "created_later", "waited"),
            refusals=(CreditsShort, TaskExists, BodyTooLarge, QueueFull),
        ),
        Route(
            "POST",
            "/v1/async/task/batch",
            submit_batch,
            id="submit_batch",
            tag="tasks",
            summary="Accept up to 500 tasks",
            description="Each item is accepted or refused on its own; verdicts are in the order of the items. The "
            "queue must have room for all of them; otherwise the request is refused and nothing is created.",
            body=schemas.BATCH,
            request_headers=TRACE,
            answer=wire.BatchBody,
            examples=("batch", "batch_all_refused"),
            refusals=(BodyTooLarge, QueueFull),
        ),
        Route(
            "DELETE",
            "/v1/async/task/{taskId}",
            cancel,
            id="cancel_task",
            tag="tasks",
            summary="Cancel one task",
            description="A queued task becomes FAILED with TASK_CANCELED at once. A running one is asked to end and "
            "ends in the same way, even if its handler completes before it sees the cancel request. Nothing is "
            "charged. Safe to repeat.",
            segments=(REFERENCE,),
            answer=wire.ChangedTaskBody,
            examples=("canceled", "canceled_processing"),
            refusals=(NotFound, TaskEnded),
        ),
        Route(
            "DELETE",
            "/v1/async/queue",
            clear,
            id="clear_queue",
            tag="tasks",
            summary="Drop every task that is still queued",
            description="Their records are deleted and their idempotency keys are free again. Nothing is charged, and "
            "no webhook is notified.",
            answer=wire.ClearedBody,
            examples=("cleared",),
        ),
        Route(
            "GET",
            "/v1/async/task/{taskId}",
            find,
            id="find_task",
            tag="tasks",
            summary="One task's state, and its result once it has ended",
            segments=(REFERENCE,),
            request_headers=PREFER,
            answer_headers=("Preference-Applied",),
            unchanged=True,
            answer=wire.TaskBody,
            examples=("task_queued", "task_processing", "task_completed", "task_completed_with_webhook", "task_failed"),
            refusals=(NotFound,),
        ),
        Route(
            "GET",
            "/v1/async/tasks",
            page,
            id="list_tasks",
            tag="tasks",
            summary="The organization's tasks, newest first",
            description="Every page costs the same: with a filter it may be short, or empty. Continue with "
            "`nextCursor` until it is null.",
            query={
                **schemas.FILTER,
                **page_query(usual=PAGE_DEFAULT, most=PAGE_MOST, cursor=schemas.TEXT),
            },
            answer=wire.TasksBody,
            examples=("tasks", "tasks_none"),
        ),
        Route(
            "POST",
            "/v1/async/task/{taskId}/retry",
            retry,
            id="retry_task",
            tag="tasks",
            summary="Run a failed task again, as a new one",
            description="The new task has the same type, payload, priority and webhook, today's cost and no delay. "
            "`retryOf` names the old task, which stays as it is. Refused for the same reasons as any submission.",
            segments=("The failed task's id, or its idempotency key, percent-encoded.",),
            request_headers=PREFER | TRACE,
            answer=wire.ChangedTaskBody,
            answer_headers=("Location", "Preference-Applied"),
            examples=("created_again",),
            refusals=(CreditsShort, NotFound, TaskNotFailed, QueueFull),
        ),
        Route(
            "GET",
            "/v1/async/task/{taskId}/payload",
            payload,
            id="find_payload",
            tag="tasks",
            summary="The task's payload as it was sent, byte for byte",
            segments=(REFERENCE,),
            answer=Any,
            refusals=(NotFound,),
        ),
    )


def _verdict(task: NewTask, verdict: Accepted | Refusal) -> tuple[NewTask, Accepted] | Refusal:
    return verdict if isinstance(verdict, Refusal) else (task, verdict)


def _reference(request: Request) -> str:
    """Return the id or key in the path. Raises NotFound if it is too long to be either."""
    [reference] = request.parameters
    if len(reference) > REFERENCE_LENGTH_MOST:
        raise NotFound.task(reference)
    return reference


def _has(request: Request, tag: bytes) -> bool:
    """Return whether the caller already has the body of this tag (``If-None-Match``)."""
    tags = ",".join(request.every_header(b"if-none-match")).split(",")
    return any(one.strip().removeprefix("W/") in ("*", tag.decode()) for one in tags)


def _cursor(text: str | None, chosen: TaskFilter) -> str | None:
    """Return a cursor that has the format of this list's cursors."""
    if text is None:
        return None
    if chosen.key_prefix is not None:
        fits = text.startswith(chosen.key_prefix) and len(text) <= wire.IDEMPOTENCY_KEY_LENGTH
    elif chosen.is_of_lanes:
        fits = text.isascii() and text.isdigit() and len(text) < 19
    else:
        return read_cursor(text, length=ID_LENGTH)
    if not fits:
        raise ValidationRefused.at("cursor", "is not one that was given out")
    return text
