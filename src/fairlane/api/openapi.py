"""``/openapi.json``: the requests and answers of the customers' API, in OpenAPI 3.1.

Built once, when the server starts, from the routes that are listed next to the endpoints, the bodies of ``wire``, the
refusals of ``errors`` and the application's payload types.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from fairlane import __version__, wire
from fairlane.api.calls import CONCURRENCY_HEADERS
from fairlane.api.http import Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.errors import (
    BodyTooLarge,
    BulkExists,
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
from fairlane.handlers import ServedType
from fairlane.payloads import schema_of
from fairlane.wire.schemas import REFERENCE, SUBMISSION_OPTIONS, TEXT, WHOLE, JsonSchema, fields, reference

EXAMPLES_PATH = Path(__file__).with_name("examples.json")
"""Copies of golden files; ``make format`` writes it."""

ANYBODYS_REFUSALS = (ValidationRefused, Unavailable)
"""Refusals that every request may get: for bytes that are not an HTTP request, or from a server that stops."""
CALLERS_REFUSALS = (KeyMissing, KeyMalformed, KeyRefused, RateLimited)
"""Refusals that every request with a key may get."""

HEADERS: dict[str, JsonSchema] = {
    "X-Request-ID": {"description": "Names this request in the server's log.", "schema": {**TEXT, "format": "uuid"}},
    "X-Latency-Ms": {"description": "Milliseconds from arrival to the start of the answer.", "schema": WHOLE},
    "Retry-After": {"description": "Seconds after which to try again.", "schema": {"type": "integer", "minimum": 1}},
    "X-RateLimit-Limit": {
        "description": "Requests per second that the key may make to this endpoint.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {"description": "How many of them are left in this second.", "schema": WHOLE},
    "Location": {"description": "Where the task, or the bulk, is found.", "schema": TEXT},
    "Preference-Applied": {"description": "`wait=N`, if the server waited.", "schema": TEXT},
    "X-Concurrency-Limit": {"description": "The organization's slots.", "schema": WHOLE},
    "X-Concurrency-Current": {"description": "Slots in use, this call's included.", "schema": WHOLE},
    "X-Concurrency-Remaining": {"description": "Slots that were left.", "schema": WHOLE},
    "X-Concurrent-Limit": {"description": "An older name of `X-Concurrency-Limit`.", "schema": WHOLE},
    "X-Concurrent-Current": {"description": "An older name of `X-Concurrency-Current`.", "schema": WHOLE},
    "X-Concurrent-Remaining": {"description": "An older name of `X-Concurrency-Remaining`.", "schema": WHOLE},
    "X-Credits-Charged": {"description": "What this call cost.", "schema": WHOLE},
    "X-Credits-Remaining": {"description": "What the organization may still spend.", "schema": WHOLE},
    "ETag": {"description": "Names this state of the body, for `If-None-Match`.", "schema": TEXT},
}
EVERY_ANSWERS_HEADERS = ("X-Request-ID", "X-Latency-Ms")
CALLERS_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining")
"""Headers of every answer to a request with a valid key."""

DETAILS: dict[type[Refusal], JsonSchema] = {
    ValidationRefused: {"type": "array", "items": fields({"field": TEXT, "message": TEXT})},
    NotFound: fields({"id": TEXT}),
    TaskExists: fields({"field": {"const": "idempotencyKey"}, "value": TEXT}),
    BulkExists: fields({"field": {"const": "idempotencyKey"}, "value": TEXT}),
    TaskEnded: fields({"id": TEXT, "status": TEXT}),
    TaskNotFailed: fields({"id": TEXT, "status": TEXT}),
    BodyTooLarge: fields({"limit": WHOLE}),
    EncodingRefused: fields({"contentEncoding": TEXT}),
    QueueFull: fields(dict.fromkeys(("limit", "queuedCount", "batchSize", "maxQueueSize", "remainingCapacity"), WHOLE)),
    ConcurrencyFull: fields({"limit": WHOLE}, {"taskType": TEXT}),
}
"""The shape of ``error.details``, for refusals that have any."""

FAILURE: JsonSchema = fields(
    {"code": TEXT, "message": TEXT, "timestamp": {**TEXT, "format": "date-time"}}, {"details": {}}
)
CALL_FAILURE_EXAMPLES = ("error_call_exhausted", "error_call_timeout", "error_call_failed", "error_call_external")
WEBHOOK_HEADERS = {
    "X-Cloro-Timestamp": "The moment of this try, Unix time in whole seconds.",
    "X-Cloro-Signature": "`v1=` and the HMAC-SHA256 of timestamp, a dot and the body, in lower-case hex.",
    "X-Cloro-Webhook-Id": "The task's id, a dash and the number of this try.",
    "webhook-id": "Standard Webhooks: the same at every try.",
    "webhook-timestamp": "Standard Webhooks: the moment of this try.",
    "webhook-signature": "Standard Webhooks: one signature per secret that signs.",
}


class DescriptionEndpoint:
    """The document of one application, ready to send."""

    def __init__(self, routes: Routes, task_types: Mapping[str, ServedType]) -> None:
        self._body = json.dumps(document(routes, task_types), ensure_ascii=False, separators=(",", ":")).encode()
        self._tag = f'"{sha256(self._body).hexdigest()[:32]}"'.encode()

    async def read(self, request: Request, who: None) -> Answer:
        """Return the whole document, or 304 if the caller already has it."""
        headers = ((b"etag", self._tag), (b"cache-control", b"no-cache"))
        if self._tag in (request.header(b"if-none-match") or b""):
            return Answer(b"", 304, headers)
        return Answer(self._body, headers=headers)

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/openapi.json",
            read,
            id="describe",
            tag="health",
            summary="This document",
            answer=Any,
            unchanged=True,
            open=True,
        ),
    )


def document(routes: Routes, task_types: Mapping[str, ServedType]) -> JsonSchema:
    """Return everything that customers can rely on, as an OpenAPI document."""
    bodies, components = _bodies(routes)
    refusals = {kind for route in routes for kind in _refusals(route)}
    schemas = {
        **components,
        **_submissions(task_types),
        **{_error_name(kind): _error(kind.code, DETAILS.get(kind)) for kind in refusals},
        "WebhookAddress": fields({"url": {**TEXT, "format": "uri", "maxLength": 2048}})
        | {"additionalProperties": False},
        "InternalServerError": _error("INTERNAL_SERVER_ERROR", None),
        "CallFailure": fields({"success": {"const": False}, "error": FAILURE}),
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
        "paths": _paths(routes, bodies),
        "webhooks": {name: {"post": _webhook(name, told, bodies)} for name, told in WEBHOOKS.items()},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": _refusal_responses(routes),
            "headers": {name: HEADERS[name] for name in sorted(HEADERS)},
            "examples": {name: {"value": _examples()[name]} for name in sorted(examples_named(routes))},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "`sk_live_…`"}},
        },
    }


# Operations ----------------------------------------------------------------------------------------------------------


def _paths(routes: Routes, bodies: Mapping[Any, JsonSchema]) -> JsonSchema:
    paths: JsonSchema = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, bodies[route.answer])
    return paths


def _operation(route: Route, body: JsonSchema) -> JsonSchema:
    described: JsonSchema = {"operationId": route.id, "tags": [route.tag], "summary": route.summary}
    if route.description:
        described["description"] = route.description
    if route.open:
        described["security"] = []
    parameters = [*_parameters(route)]
    if parameters:
        described["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": route.body}}
        described["requestBody"] = {"required": True, "content": content}
    callers = () if route.open else CALLERS_HEADERS
    names = (*EVERY_ANSWERS_HEADERS, *callers, *route.answer_headers, *(("ETag",) if route.unchanged else ()))
    responses = {str(route.status): _response("As asked.", body, names, route.examples)}
    if route.unchanged:
        responses["304"] = {"description": "The body is still the one that `If-None-Match` names."}
    described["responses"] = responses | _refused(route) | (_failures() if route.fails else {})
    return described


def _failures() -> JsonSchema:
    """Return the failures of a call: those that the handler declares, and those of a call without a result."""
    failure = reference("CallFailure")
    names = (*EVERY_ANSWERS_HEADERS, *CALLERS_HEADERS, *CONCURRENCY_HEADERS)
    return {
        "500": _response(
            "The attempts or the five minutes are used up, or the handler failed with its own code.",
            failure, names, CALL_FAILURE_EXAMPLES[:3],
        ),
        "502": _response(
            "`EXTERNAL_SERVICE_ERROR`: the handler reports that a service it needs failed.",
            failure, names, CALL_FAILURE_EXAMPLES[3:],
        ),
    }  # fmt: skip


def _parameters(route: Route) -> Iterator[JsonSchema]:
    schema = {**TEXT, "minLength": 1}
    for name, text in zip(re.findall(r"\{(\w+)\}", route.path), route.segments, strict=True):
        yield {"name": name, "in": "path", "required": True, "description": text, "schema": schema}
    for name, schema in route.query.items():
        yield {"name": name, "in": "query", "schema": schema}
    for name, schema in route.request_headers.items():
        yield {"name": name, "in": "header", "schema": schema}
    if route.unchanged:
        yield {"name": "If-None-Match", "in": "header", "schema": TEXT}


def _response(description: str, schema: JsonSchema, headers: Iterable[str], examples: Iterable[str]) -> JsonSchema:
    referred = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return {"description": description, "headers": referred, "content": _content(schema, examples)}


def _content(schema: JsonSchema, examples: Iterable[str]) -> JsonSchema:
    shown = {name: {"$ref": f"#/components/examples/{name}"} for name in examples}
    return {"application/json": {"schema": schema} | ({"examples": shown} if shown else {})}


# Bodies --------------------------------------------------------------------------------------------------------------


def _bodies(routes: Routes) -> tuple[dict[Any, JsonSchema], dict[str, JsonSchema]]:
    """Return a schema for each type of an answer or a message, and the components that they consist of."""
    types = [*dict.fromkeys((*(route.answer for route in routes), *(told.body for told in WEBHOOKS.values())))]
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    text = json.dumps(_constant([schemas, components]))
    found = json.loads(re.sub(r'"#/components/schemas/(\w+)"', lambda name: json.dumps(_referred(name[1])), text))
    named = {_public(name): {**schema, "title": _public(name)} for name, schema in found[1].items()}
    return dict(zip(types, found[0], strict=True)), named


def _public(name: str) -> str:
    """Return the name of a component: that of the wire's record, without what is only ours."""
    return name.removeprefix("_").removesuffix("Fields")


def _referred(name: str) -> str:
    return REFERENCE.format(name=_public(name))


def _submissions(task_types: Mapping[str, ServedType]) -> dict[str, JsonSchema]:
    """Return one schema per task type, and the one that distinguishes them."""
    schemas: dict[str, JsonSchema] = {}
    for name, task_type in task_types.items():
        schemas |= _payload(name, task_type)
        required = {"taskType": {"type": "string", "const": name}, "payload": reference(f"Payload.{name}")}
        schemas[f"Submission.{name}"] = fields(required, SUBMISSION_OPTIONS) | {"additionalProperties": False}
    references = {name: REFERENCE.format(name=f"Submission.{name}") for name in task_types}
    schemas["Submission"] = {
        "oneOf": [{"$ref": one} for one in references.values()],
        "discriminator": {"propertyName": "taskType", "mapping": references},
    }
    return schemas


def _payload(name: str, task_type: ServedType) -> dict[str, JsonSchema]:
    """Return the components of one task type's payload: ``Payload.NAME``, and the ones that it refers to.

    Generators of clients name a class by the title of its schema: each has a title of its own, and no schema is only
    another name for one.
    """
    payload, parts = schema_of(task_type.hint, REFERENCE.replace("{name}", f"{name}.{{name}}"))
    found = {f"{name}.{part}": schema for part, schema in parts.items()}
    whole = f"Payload.{name}"
    other = str(payload.get("$ref", "")).removeprefix(REFERENCE.format(name=""))
    if payload.keys() == {"$ref"} and other in found:
        found[whole] = found.pop(other)
        text = json.dumps(found).replace(json.dumps(payload["$ref"]), json.dumps(REFERENCE.format(name=whole)))
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


def examples_named(routes: Routes) -> set[str]:
    """Return the golden files that a document of these routes shows."""
    kinds = {kind for route in routes for kind in _refusals(route)}
    shown = {name for route in routes for name in route.examples}
    failures = CALL_FAILURE_EXAMPLES if any(route.fails for route in routes) else ()
    told = {example for one in WEBHOOKS.values() for example in one.examples}
    return shown | {f"error_{kind.__name__}" for kind in kinds} | {"error_internal", *failures, *told}


# Errors --------------------------------------------------------------------------------------------------------------


def _refusals(route: Route) -> tuple[type[Refusal], ...]:
    everybodys = ANYBODYS_REFUSALS if route.open else ANYBODYS_REFUSALS + CALLERS_REFUSALS
    readers = () if route.body is None else (EncodingRefused,)
    return (*everybodys, *readers, *(kind for kind in route.refusals if kind not in everybodys))


def _refused(route: Route) -> JsonSchema:
    """Return references to the unsuccessful answers of a route, by status."""
    groups = {str(kinds[0].status): _response_name(kinds) for kinds in _by_status(route)} | {"500": "500"}
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in sorted(groups.items())}


def _refusal_responses(routes: Routes) -> JsonSchema:
    """Return every unsuccessful answer; many routes share most of them."""
    groups = {_response_name(kinds): kinds for route in routes for kinds in _by_status(route)}
    internal = reference("InternalServerError")
    responses = {name: _refusal_response(kinds) for name, kinds in groups.items()}
    responses["500"] = _response(
        "`INTERNAL_SERVER_ERROR`", internal, (*EVERY_ANSWERS_HEADERS, *CALLERS_HEADERS), ["error_internal"]
    )
    return dict(sorted(responses.items()))


def _by_status(route: Route) -> Iterator[list[type[Refusal]]]:
    kinds = _refusals(route)
    for status in dict.fromkeys(kind.status for kind in kinds):
        yield [kind for kind in kinds if kind.status == status]


def _response_name(kinds: list[type[Refusal]]) -> str:
    return ".".join([str(kinds[0].status), *(kind.__name__ for kind in kinds)])


def _refusal_response(kinds: list[type[Refusal]]) -> JsonSchema:
    schemas = [reference(_error_name(kind)) for kind in kinds]
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


def _error(code: str, details: JsonSchema | None) -> JsonSchema:
    timestamp = {"type": "string", "format": "date-time"}
    error = fields(
        {"code": {"const": code}, "message": TEXT, "timestamp": timestamp},
        None if details is None else {"details": details},
    )
    return fields({"success": {"const": False}, "error": error})


# Webhooks ------------------------------------------------------------------------------------------------------------


class WebhookMessage(Struct, frozen=True, kw_only=True):
    """One kind of message to webhooks."""

    summary: str
    description: str
    body: Any
    """The type of its body, from ``wire``."""
    examples: tuple[str, ...]


WEBHOOKS = {
    "finished": WebhookMessage(
        summary="A task that was submitted with a webhook has ended",
        description="The answer of GET for the final state, without its `webhook` block; the same bytes at every try. "
        "Headers are sent to organizations that have a webhook secret.",
        body=wire.WebhookBody,
        examples=("webhook_completed", "webhook_failed", "webhook_test"),
    ),
    "alert": WebhookMessage(
        summary="An alert began to fire, or recovered",
        description="The same bytes at every try. Headers are sent to organizations that have a webhook secret.",
        body=wire.AlertMessageBody,
        examples=("webhook_alert_fired", "webhook_alert_recovered"),
    ),
}


def _webhook(name: str, told: WebhookMessage, bodies: Mapping[Any, JsonSchema]) -> JsonSchema:
    parameters = [
        {"name": header, "in": "header", "description": text, "schema": TEXT}
        for header, text in WEBHOOK_HEADERS.items()
    ]
    return {
        "operationId": name,
        "tags": ["webhooks"],
        "summary": told.summary,
        "description": told.description,
        "security": [],
        "parameters": parameters,
        "requestBody": {"required": True, "content": _content(bodies[told.body], told.examples)},
        "responses": {
            "2XX": {"description": "Received; it is not sent again."},
            "default": {"description": "It is tried again, up to five times in all."},
        },
    }
