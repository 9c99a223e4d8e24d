"""``/v1/monitor/…``: run one payload now and answer with its result. Each task type that can be called has a path."""

import logging
from collections.abc import Mapping
from functools import partial

from fairlane import wire
from fairlane.api.callers import Callers
from fairlane.api.http import NO_STORE, Answer, Header, Request
from fairlane.api.reader import read_json
from fairlane.api.routes import Route, Routes
from fairlane.api.serving import Serving
from fairlane.errors import BodyTooLarge, ConcurrencyFull, CreditsShort, RequestCanceled, ValidationRefused
from fairlane.handlers import ServedType
from fairlane.model.calls import Admitted, NewCall
from fairlane.model.keys import Caller
from fairlane.model.tasks import Failure
from fairlane.payloads import ROOT
from fairlane.store import new_id
from fairlane.wire.schemas import reference

logger = logging.getLogger(__name__)

FAILURE_STATUSES = {"VALIDATION_ERROR": 400, "EXTERNAL_SERVICE_ERROR": 502}
"""Status for a failure that the handler declares; any other code is a 500 with that code."""
CONCURRENCY_HEADERS = tuple(
    f"X-{word}-{part}" for word in ("Concurrency", "Concurrent") for part in ("Limit", "Current", "Remaining")
)
CREDITS_HEADERS = ("X-Credits-Charged", "X-Credits-Remaining")


def call_routes(task_types: Mapping[str, ServedType]) -> Routes:
    """Return the routes of an application's calls: one for each task type that can be called."""
    return tuple(
        Route(
            "POST",
            task_type.path,
            partial(CallEndpoints.run, task_type=task_type),
            id=f"call_{name.lower()}",
            tag="calls",
            summary=f"Run one {name} now and wait for its result",
            description="The body is the payload itself. Takes one of the organization's slots at once, or is refused: "
            "a call is never queued. Wait at least 300 s for the answer; a caller that disconnects is not charged.",
            body=reference(f"Payload.{name}"),
            answer=wire.CallBody,
            examples=("call",),
            refusals=(BodyTooLarge, CreditsShort, ConcurrencyFull),
            answer_headers=CONCURRENCY_HEADERS + CREDITS_HEADERS,
            fails=True,
        )
        for name, task_type in task_types.items()
        if task_type.path is not None
    )


class CallEndpoints:
    """The endpoints that run payloads while their callers wait."""

    def __init__(self, serving: Serving, callers: Callers) -> None:
        self._serving = serving
        self._store = serving.store
        self._callers = callers
        self._payload_most = serving.settings.payload_limit_bytes
        self.routes = call_routes(serving.task_types)

    async def run(self, request: Request, caller: Caller, *, task_type: ServedType) -> Answer:
        """Run one payload of this type, and answer with its result or its failure."""
        self._serving.admit()
        body = await request.body(self._payload_most)
        await request.read(len(body), _check, body, task_type)
        rule = task_type.rule
        new = NewCall(
            id=new_id(),
            organization_id=caller.organization_id,
            task_type=rule.name,
            payload=body.decode(),
            server_id=self._callers.server_id,
            cost=rule.cost if rule.call_cost is None else rule.call_cost,
        )
        call_id = new.id

        def admitted(admission: Admitted) -> None:
            request.release()
            request.marks += _concurrency(admission.slots_used, admission.slots_max)

        call = self._callers.call(new, admitted=admitted, gone=request.gone)
        del body, new  # The wait may be long.
        try:
            ended = await call
        except ConcurrencyFull as full:
            request.marks += _concurrency(full.slots_used, full.slots_max)
            raise
        except RequestCanceled as canceled:
            logger.info(
                "call.canceled",
                extra={"request_id": request.id, "call_id": call_id, "status": canceled.status, "code": canceled.code},
            )
            raise
        if ended.failure is not None:
            return self._failed(ended.failure)
        # The store is not used from here on: a charged caller gets the answer even if the database is now unreachable.
        assert ended.result is not None
        assert ended.credits is not None
        charged, remaining = str(ended.charged).encode(), str(wire.credits_remaining(ended.credits)).encode()
        return Answer(
            wire.call_body(ended.result),
            headers=(NO_STORE, (b"x-credits-charged", charged), (b"x-credits-remaining", remaining)),
        )

    def _failed(self, failure: Failure) -> Answer:
        body = wire.failure_body(failure, at=self._store.now())
        return Answer(body, FAILURE_STATUSES.get(failure.code, 500), (NO_STORE,))


def _check(body: bytes, task_type: ServedType) -> None:
    """Refuse a payload that the type's tasks would not accept; fields are named as the caller sent them."""
    if type(read_json(body)) is not dict:
        raise ValidationRefused.at("body", "must be a JSON object")
    try:
        task_type.decode(body)
    except ValidationRefused as refusal:
        raise ValidationRefused(
            details=[{**place, "field": _field(place["field"])} for place in refusal.details]
        ) from refusal


def _field(path: str) -> str:
    return path.removeprefix(f"{ROOT}.") if path != ROOT else "body"


def _concurrency(used: int, most: int) -> tuple[Header, ...]:
    """Return the headers in both spellings, for older and newer clients."""
    values = {"limit": most, "current": used, "remaining": max(0, most - used)}
    return tuple(
        (f"x-{word}-{part}".encode(), str(value).encode())
        for word in ("concurrency", "concurrent")
        for part, value in values.items()
    )
