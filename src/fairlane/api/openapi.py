"""``/openapi.json``: the requests and answers of the customers' API, in OpenAPI 3.1.

Built once, when the server starts, from the tables next to the endpoints (``OPERATIONS``), the bodies of ``wire``, the
refusals of ``errors`` and the application's payload types. Decides nothing: a test compares it with the router.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from fairlane import __version__, wire
from fairlane.api.calls import CONCURRENCY_HEADERS, call_operations
from fairlane.api.http import Answer, Request
from fairlane.api.operations import Operation, Operations, Schema
from fairlane.errors import (
    BodyTooLarge,
    ConcurrencyFull,
    EncodingRefused,
    KeyMalformed,
    KeyMissing,
    KeyRefused,
    NotFound,
    QueueFull,
    RateLimited,
    Refusal,
    TaskEnded,
    TaskExists,
    TaskNotFailed,
    Unavailable,
    ValidationRefused,
)
from fairlane.handlers import TaskType
from fairlane.model.alerts import AlertKind
from fairlane.model.tasks import PRIORITY_HIGHEST, PRIORITY_LOWEST
from fairlane.payloads import schema_of

EXAMPLES_PATH = Path(__file__).with_name("examples.json")
"""Copies of golden files; ``make format`` writes it."""

OPERATIONS: Operations = {
    "GET /openapi.json": Operation(
        id="describe", tag="health", summary="This document", answer="any", unchanged=True, open=True
    )
}

ANYBODYS_REFUSALS = (ValidationRefused, Unavailable)
"""Refusals that every request may get: for bytes that are not an HTTP request, or from a server that stops."""
CALLERS_REFUSALS = (KeyMissing, KeyMalformed, KeyRefused, RateLimited)
"""Refusals that every request with a key may get."""

_REFERENCE = "#/components/schemas/{name}"
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> Schema:
    return {"type": "object", "required": [*required], "properties": {**required, **(optional or {})}}


HEADERS: dict[str, Schema] = {
    "X-Request-ID": {"description": "Names this request in the server's log.", "schema": {**_TEXT, "format": "uuid"}},
    "X-Latency-Ms": {"description": "Milliseconds from arrival to the start of the answer.", "schema": _WHOLE},
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer", "minimum": 1}},
    "X-RateLimit-Limit": {
        "description": "Requests per second that the key may make to this endpoint.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {"description": "How many of them are left in this second.", "schema": _WHOLE},
    "Location": {"description": "Where the task is found.", "schema": _TEXT},
    "Preference-Applied": {"description": "`wait=N`, if the server waited.", "schema": _TEXT},
    "X-Concurrency-Limit": {"description": "The organization's slots.", "schema": _WHOLE},
    "X-Concurrency-Current": {"description": "Slots in use, this call's included.", "schema": _WHOLE},
    "X-Concurrency-Remaining": {"description": "Slots that were left.", "schema": _WHOLE},
    "X-Concurrent-Limit": {"description": "An older name of `X-Concurrency-Limit`.", "schema": _WHOLE},
    "X-Concurrent-Current": {"description": "An older name of `X-Concurrency-Current`.", "schema": _WHOLE},
    "X-Concurrent-Remaining": {"description": "An older name of `X-Concurrency-Remaining`.", "schema": _WHOLE},
    "X-Credits-Charged": {"description": "What this call cost.", "schema": _WHOLE},
    "X-Credits-Remaining": {"description": "What the organization may still spend.", "schema": _WHOLE},
    "ETag": {"description": "Names this state of the body, for `If-None-Match`.", "schema": _TEXT},
}
EVERY_ANSWERS_HEADERS = ("X-Request-ID", "X-Latency-Ms")
CALLERS_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining")
"""Headers of every answer to a request with a valid key."""

DETAILS: dict[type[Refusal], Schema] = {
    ValidationRefused: {"type": "array", "items": _object({"field": _TEXT, "message": _TEXT})},
    NotFound: _object({"id": _TEXT}),
    TaskExists: _object({"field": {"const": "idempotencyKey"}, "value": _TEXT}),
    TaskEnded: _object({"id": _TEXT, "status": _TEXT}),
    TaskNotFailed: _object({"id": _TEXT, "status": _TEXT}),
    BodyTooLarge: _object({"limit": _WHOLE}),
    EncodingRefused: _object({"contentEncoding": _TEXT}),
    QueueFull: _object(
        dict.fromkeys(("limit", "queuedCount", "batchSize", "maxQueueSize", "remainingCapacity"), _WHOLE)
    ),
    ConcurrencyFull: _object({"limit": _WHOLE}, {"taskType": _TEXT}),
}
"""The shape of ``error.details``, for refusals that have any."""

FAILURE: Schema = _object(
    {"code": _TEXT, "message": _TEXT, "timestamp": {**_TEXT, "format": "date-time"}}, {"details": {}}
)
CALL_FAILURE_EXAMPLES = ("error_call_exhausted", "error_call_timeout", "error_call_failed", "error_call_external")
ADDRESS: Schema = {"$ref": _REFERENCE.format(name="WebhookAddress")}
SUBMISSION_OPTIONS: dict[str, Schema] = {
    "priority": {
        "description": "Higher runs first, within the organization.",
        "type": "integer",
        "minimum": PRIORITY_LOWEST,
        "maximum": PRIORITY_HIGHEST,
        "default": PRIORITY_LOWEST,
    },
    "idempotencyKey": {
        "description": "Unique in the organization while the task's record is kept.",
        "type": "string",
        "minLength": 1,
        "maxLength": wire.IDEMPOTENCY_KEY_LENGTH,
    },
    "webhook": ADDRESS,
    "runAt": {
        "description": "Starts no sooner; at most 30 days ahead. Not together with `delaySeconds`.",
        "type": "string",
        "format": "date-time",
    },
    "delaySeconds": {
        "description": "Starts no sooner than this many seconds after its acceptance.",
        "type": "integer",
        "minimum": 0,
        "maximum": wire.DELAY_SECONDS_MOST,
    },
}
"""The optional fields of a task, in addition to its type and payload."""
REQUESTS: dict[str, Schema] = {
    "task": {"$ref": _REFERENCE.format(name="Submission")},
    "batch": {
        "type": "array",
        "items": {"$ref": _REFERENCE.format(name="Submission")},
        "minItems": 1,
        "maxItems": wire.BATCH_MOST,
    },
    "address": ADDRESS,
    "alert": _object(
        {
            "kind": {"type": "string", "enum": [*AlertKind]},
            "threshold": {"type": "number", "minimum": 0, "maximum": wire.ALERT_THRESHOLD_MOST},
            "forSeconds": {"type": "integer", "minimum": 0, "maximum": wire.ALERT_SECONDS_MOST},
            "webhook": ADDRESS,
        }
    )
    | {"additionalProperties": False},
}
"""Request bodies, by the name that an operation uses for them."""

WEBHOOK_HEADERS = {
    "X-Cloro-Timestamp": "The moment of this try, Unix time in whole seconds.",
    "X-Cloro-Signature": "`v1=` and the HMAC-SHA256 of timestamp, a dot and the body, in lower-case hex.",
    "X-Cloro-Webhook-Id": "The task's id, a dash and the number of this try.",
    "webhook-id": "Standard Webhooks: the same at every try.",
    "webhook-timestamp": "Standard Webhooks: the moment of this try.",
    "webhook-signature": "Standard Webhooks: one signature per secret that signs.",
}


class Description:
    """The document of one application, ready to send."""

    def __init__(self, operations: Operations, task_types: Mapping[str, TaskType]) -> None:
        self._body = json.dumps(document(operations, task_types), ensure_ascii=False, separators=(",", ":")).encode()
        self._tag = f'"{sha256(self._body).hexdigest()[:32]}"'.encode()

    async def read(self, request: Request, who: None) -> Answer:
        """Return the whole document, or 304 if the caller already has it."""
        headers = ((b"etag", self._tag), (b"cache-control", b"no-cache"))
        if self._tag in (request.header(b"if-none-match") or b""):
            return Answer(b"", 304, headers)
        return Answer(self._body, headers=headers)


def document(operations: Operations, task_types: Mapping[str, TaskType]) -> Schema:
    """Return everything that customers can rely on, as an OpenAPI document."""
    operations = {**operations, **call_operations(task_types)}
    shapes, components = _shapes()
    refusals = {kind for operation in operations.values() for kind in _refusals(operation)}
    schemas = {
        **components,
        **_submissions(task_types),
        **{_error_name(kind): _error(kind.code, DETAILS.get(kind)) for kind in refusals},
        "WebhookAddress": _object({"url": {**_TEXT, "format": "uri", "maxLength": 2048}})
        | {"additionalProperties": False},
        "InternalServerError": _error("INTERNAL_SERVER_ERROR", None),
        "CallFailure": _object({"success": {"const": False}, "error": FAILURE}),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fairlane",
            "version": __version__,
            "description": "Asynchronous tasks, run within your organization's concurrency slots. "
            "Fields may be added at any time; ignore those you do not know.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": _paths(operations, shapes),
        "webhooks": {name: {"post": _webhook(name, told, shapes)} for name, told in WEBHOOKS.items()},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": _refusal_responses(operations.values()),
            "headers": {name: HEADERS[name] for name in sorted(HEADERS)},
            "examples": {name: {"value": _examples()[name]} for name in sorted(examples_named(operations))},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`sk_live_…`"}},
        },
    }


# Operations ----------------------------------------------------------------------------------------------------------


def _paths(operations: Operations, shapes: Mapping[str, Schema]) -> Schema:
    paths: Schema = {}
    for route, operation in operations.items():
        method, _, path = route.partition(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(path, operation, shapes)
    return paths


def _operation(path: str, operation: Operation, shapes: Mapping[str, Schema]) -> Schema:
    described: Schema = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    if operation.open:
        described["security"] = []
    parameters = [*_parameters(path, operation)]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {"application/json": {"schema": _request(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    callers = () if operation.open else CALLERS_HEADERS
    names = (*EVERY_ANSWERS_HEADERS, *callers, *operation.answer_headers, *(("ETag",) if operation.unchanged else ()))
    responses = {"200": _response("As asked.", shapes[operation.answer], names, operation.examples)}
    if operation.unchanged:
        responses["304"] = {"description": "The body is still the one that `If-None-Match` names."}
    described["responses"] = responses | _refused(operation) | (_failures() if operation.fails else {})
    return described


def _request(body: str) -> Schema:
    """Return the schema of a request body: a fixed shape, or the payload of a task type."""
    kind, _, name = body.partition(" ")
    return {"$ref": _REFERENCE.format(name=f"Payload.{name}")} if kind == "payload" else REQUESTS[body]


def _failures() -> Schema:
    """Return the failures of a call: those that the handler declares, and those of a call without a result."""
    reference = {"$ref": _REFERENCE.format(name="CallFailure")}
    names = (*EVERY_ANSWERS_HEADERS, *CALLERS_HEADERS, *CONCURRENCY_HEADERS)
    return {
        "500": _response(
            "The attempts or the five minutes are used up, or the handler failed with its own code.",
            reference, names, CALL_FAILURE_EXAMPLES[:3],
        ),
        "502": _response(
            "`EXTERNAL_SERVICE_ERROR`: the handler reports that a service it needs failed.",
            reference, names, CALL_FAILURE_EXAMPLES[3:],
        ),
    }  # fmt: skip


def _parameters(path: str, operation: Operation) -> Iterator[Schema]:
    schema = {**_TEXT, "minLength": 1}
    for name, text in zip(re.findall(r"\{(\w+)\}", path), operation.segments, strict=True):
        yield {"name": name, "in": "path", "required": True, "description": text, "schema": schema}
    for name, schema in operation.query.items():
        yield {"name": name, "in": "query", "schema": schema}
    for name, schema in operation.request_headers.items():
        yield {"name": name, "in": "header", "schema": schema}
    if operation.unchanged:
        yield {"name": "If-None-Match", "in": "header", "schema": _TEXT}


def _response(description: str, schema: Schema, headers: Iterable[str], examples: Iterable[str]) -> Schema:
    referred = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return {"description": description, "headers": referred, "content": _content(schema, examples)}


def _content(schema: Schema, examples: Iterable[str]) -> Schema:
    shown = {name: {"$ref": f"#/components/examples/{name}"} for name in examples}
    return {"application/json": {"schema": schema} | ({"examples": shown} if shown else {})}


# Bodies --------------------------------------------------------------------------------------------------------------


def _shapes() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return a schema for each name in ``wire.SHAPES``, and the components that they consist of."""
    schemas, components = msgspec.json.schema_components(wire.SHAPES.values(), ref_template=_REFERENCE)
    # The wire's records have private names; readers of the document need not see that.
    text = json.dumps(_constant([schemas, components]))
    found = json.loads(text.replace('"#/components/schemas/_', '"#/components/schemas/'))
    named = {name.lstrip("_"): {**schema, "title": name.lstrip("_")} for name, schema in found[1].items()}
    return dict(zip(wire.SHAPES, found[0], strict=True)) | {"any": {}}, named


def _submissions(task_types: Mapping[str, TaskType]) -> dict[str, Schema]:
    """Return one schema per task type, and the one that distinguishes them."""
    schemas: dict[str, Schema] = {}
    for name, task_type in task_types.items():
        schemas |= _payload(name, task_type)
        reference = {"$ref": _REFERENCE.format(name=f"Payload.{name}")}
        fields = {"taskType": {"type": "string", "const": name}, "payload": reference}
        schemas[f"Submission.{name}"] = _object(fields, SUBMISSION_OPTIONS) | {"additionalProperties": False}
    references = {name: _REFERENCE.format(name=f"Submission.{name}") for name in task_types}
    schemas["Submission"] = {
        "oneOf": [{"$ref": reference} for reference in references.values()],
        "discriminator": {"propertyName": "taskType", "mapping": references},
    }
    return schemas


def _payload(name: str, task_type: TaskType) -> dict[str, Schema]:
    """Return the components of one task type's payload: ``Payload.NAME``, and the ones that it refers to.

    Generators of clients name a class by the title of its schema: each has a title of its own, and no schema is only
    another name for one.
    """
    payload, parts = schema_of(task_type.hint, _REFERENCE.replace("{name}", f"{name}.{{name}}"))
    found = {f"{name}.{part}": schema for part, schema in parts.items()}
    whole = f"Payload.{name}"
    other = str(payload.get("$ref", "")).removeprefix(_REFERENCE.format(name=""))
    if payload.keys() == {"$ref"} and other in found:
        found[whole] = found.pop(other)
        text = json.dumps(found).replace(json.dumps(payload["$ref"]), json.dumps(_REFERENCE.format(name=whole)))
        found = json.loads(text)
    else:
        found[whole] = payload
    return {part: {**_constant(schema), "title": part} for part, schema in found.items()}


def _constant(schema: Any) -> Any:
    """Return a schema in which each enumeration of one value is a constant: fewer generators understand the former."""
    match schema:
        case {"enum": [only], **rest}:
            return {**_constant(rest), "const": only}
        case dict():
            return {name: _constant(part) for name, part in schema.items()}
        case list():
            return [_constant(part) for part in schema]
    return schema


@cache
def _examples() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EXAMPLES_PATH.read_text("utf-8"))
    return found


def examples_named(operations: Operations) -> set[str]:
    """Return the golden files that a document of these operations shows."""
    kinds = {kind for operation in operations.values() for kind in _refusals(operation)}
    shown = {name for operation in operations.values() for name in operation.examples}
    failures = CALL_FAILURE_EXAMPLES if any(operation.fails for operation in operations.values()) else ()
    told = {example for one in WEBHOOKS.values() for example in one.examples}
    return shown | {f"error_{kind.__name__}" for kind in kinds} | {"error_internal", *failures, *told}


# Errors --------------------------------------------------------------------------------------------------------------


def _refusals(operation: Operation) -> tuple[type[Refusal], ...]:
    everybodys = ANYBODYS_REFUSALS if operation.open else ANYBODYS_REFUSALS + CALLERS_REFUSALS
    readers = () if operation.body is None else (EncodingRefused,)
    return (*everybodys, *readers, *(kind for kind in operation.refusals if kind not in everybodys))


def _refused(operation: Operation) -> Schema:
    """Return references to the unsuccessful answers of an operation, by status."""
    groups = {str(kinds[0].status): _response_name(kinds) for kinds in _by_status(operation)} | {"500": "500"}
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in sorted(groups.items())}


def _refusal_responses(operations: Iterable[Operation]) -> Schema:
    """Return every unsuccessful answer; many operations share most of them."""
    groups = {_response_name(kinds): kinds for operation in operations for kinds in _by_status(operation)}
    internal = {"$ref": _REFERENCE.format(name="InternalServerError")}
    responses = {name: _refusal_response(kinds) for name, kinds in groups.items()}
    responses["500"] = _response(
        "`INTERNAL_SERVER_ERROR`", internal, (*EVERY_ANSWERS_HEADERS, *CALLERS_HEADERS), ["error_internal"]
    )
    return dict(sorted(responses.items()))


def _by_status(operation: Operation) -> Iterator[list[type[Refusal]]]:
    kinds = _refusals(operation)
    for status in dict.fromkeys(kind.status for kind in kinds):
        yield [kind for kind in kinds if kind.status == status]


def _response_name(kinds: list[type[Refusal]]) -> str:
    return ".".join([str(kinds[0].status), *(kind.__name__ for kind in kinds)])


def _refusal_response(kinds: list[type[Refusal]]) -> Schema:
    schemas = [{"$ref": _REFERENCE.format(name=_error_name(kind))} for kind in kinds]
    callers = () if kinds[0].status == KeyMissing.status else CALLERS_HEADERS
    waits = any(kind.retry_after_seconds is not None for kind in kinds)
    return _response(
        "\n\n".join(f"`{kind.code}`: {' '.join((kind.__doc__ or '').split())}" for kind in kinds),
        schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
        (*EVERY_ANSWERS_HEADERS, *callers, *(("Retry-After",) if waits else ())),
        [f"error_{kind.__name__}" for kind in kinds],
    )


def _error_name(kind: type[Refusal]) -> str:
    return f"Error.{kind.__name__}"


def _error(code: str, details: Schema | None) -> Schema:
    timestamp = {"type": "string", "format": "date-time"}
    error = _object(
        {"code": {"const": code}, "message": _TEXT, "timestamp": timestamp},
        None if details is None else {"details": details},
    )
    return _object({"success": {"const": False}, "error": error})


# Webhooks ------------------------------------------------------------------------------------------------------------


class Told(Struct, frozen=True, kw_only=True):
    """One kind of message to webhooks."""

    summary: str
    description: str
    shape: str
    """The name of its body in ``wire.SHAPES``."""
    examples: tuple[str, ...]


WEBHOOKS = {
    "finished": Told(
        summary="A task that was submitted with a webhook has ended",
        description="The answer of GET for the final state, without its `webhook` block; the same bytes at every try. "
        "Headers are sent to organizations that have a webhook secret.",
        shape="webhook",
        examples=("webhook_completed", "webhook_failed", "webhook_test"),
    ),
    "alert": Told(
        summary="An alert began to fire, or recovered",
        description="The same bytes at every try. Headers are sent to organizations that have a webhook secret.",
        shape="alert_message",
        examples=("webhook_alert_fired", "webhook_alert_recovered"),
    ),
}


def _webhook(name: str, told: Told, shapes: Mapping[str, Schema]) -> Schema:
    parameters = [
        {"name": header, "in": "header", "description": text, "schema": _TEXT}
        for header, text in WEBHOOK_HEADERS.items()
    ]
    return {
        "operationId": name,
        "tags": ["webhooks"],
        "summary": told.summary,
        "description": told.description,
        "security": [],
        "parameters": parameters,
        "requestBody": {"required": True, "content": _content(shapes[told.shape], told.examples)},
        "responses": {
            "2XX": {"description": "Received; it is not sent again."},
            "default": {"description": "It is tried again, up to five times in all."},
        },
    }
