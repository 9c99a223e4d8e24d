"""JSON Schemas that routes and ``/openapi.json`` share: request bodies, and the parts that they are made of."""

from collections.abc import Mapping, Sequence
from typing import Any

from fairlane.model.alerts import AlertKind
from fairlane.model.bulks import BulkKind
from fairlane.model.tasks import PRIORITY_HIGHEST, PRIORITY_LOWEST, TaskStatus
from fairlane.model.webhooks import DeliveryStatus
from fairlane.wire.alerts import ALERT_SECONDS_MOST, ALERT_THRESHOLD_MOST
from fairlane.wire.bulks import BULK_KEY, BULK_STATUSES
from fairlane.wire.deliveries import HOST_PREFIX_LENGTH_MOST, URL_PREFIX_LENGTH_MOST
from fairlane.wire.filters import FILTER_TEXT_LENGTH_MOST, KEY_PREFIX, OF_FAILURES
from fairlane.wire.submissions import BATCH_MOST, DELAY_SECONDS_MOST, IDEMPOTENCY_KEY_LENGTH

JsonSchema = dict[str, Any]
"""JSON Schema, as in OpenAPI 3.1."""

REFERENCE = "#/components/schemas/{name}"
WHOLE: JsonSchema = {"type": "integer", "minimum": 0}
TEXT: JsonSchema = {"type": "string"}


def fields(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> JsonSchema:
    """Return the schema of an object with these fields, and perhaps more."""
    return {"type": "object", "required": [*required], "properties": {**required, **(optional or {})}}


def reference(name: str) -> JsonSchema:
    """Return a reference to a component of the document."""
    return {"$ref": REFERENCE.format(name=name)}


ADDRESS: JsonSchema = reference("WebhookAddress")
SUBMISSION_OPTIONS: dict[str, JsonSchema] = {
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
        "maxLength": IDEMPOTENCY_KEY_LENGTH,
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
        "maximum": DELAY_SECONDS_MOST,
    },
}
"""The optional fields of a task, in addition to its type and payload."""
SUBMISSION: JsonSchema = reference("Submission")
BATCH: JsonSchema = {"type": "array", "items": SUBMISSION, "minItems": 1, "maxItems": BATCH_MOST}
ALERT: JsonSchema = fields(
    {
        "kind": {"type": "string", "enum": [*AlertKind]},
        "threshold": {"type": "number", "minimum": 0, "maximum": ALERT_THRESHOLD_MOST},
        "forSeconds": {"type": "integer", "minimum": 0, "maximum": ALERT_SECONDS_MOST},
        "webhook": ADDRESS,
    }
) | {"additionalProperties": False}
FILTER: dict[str, JsonSchema] = {
    "status": {"type": "string", "enum": [*TaskStatus]},
    "type": {"description": "The task type.", "type": "string", "minLength": 1, "maxLength": FILTER_TEXT_LENGTH_MOST},
    "code": {
        "description": "The code of the failure; only failed tasks have one.",
        "type": "string",
        "minLength": 1,
        "maxLength": FILTER_TEXT_LENGTH_MOST,
    },
    "group": {
        "description": "The group of the failure, as the list of failures names it; only failed tasks have one.",
        "type": "string",
        "minLength": 1,
        "maxLength": FILTER_TEXT_LENGTH_MOST,
    },
    "priority": {"type": "integer", "minimum": PRIORITY_LOWEST, "maximum": PRIORITY_HIGHEST},
    "from": {"description": "Accepted at this moment or later.", "type": "string", "format": "date-time"},
    "to": {"description": "Accepted before this moment.", "type": "string", "format": "date-time"},
    KEY_PREFIX: {
        "description": "The beginning of the idempotency key. The tasks come in the order of their keys.",
        "type": "string",
        "minLength": 1,
        "maxLength": IDEMPOTENCY_KEY_LENGTH,
    },
}
"""The conditions of a filter of tasks."""
DELIVERY_FILTER: dict[str, JsonSchema] = {
    "status": {"type": "string", "enum": [*DeliveryStatus]},
    "urlPrefix": {
        "description": "The beginning of the URL, as it was written.",
        "type": "string",
        "minLength": 1,
        "maxLength": URL_PREFIX_LENGTH_MOST,
    },
    "hostPrefix": {
        "description": "The beginning of host and port, such as `app.example:443`.",
        "type": "string",
        "minLength": 1,
        "maxLength": HOST_PREFIX_LENGTH_MOST,
    },
    "taskId": {"description": "The id of the task whose outcome it tells.", "type": "string", "format": "uuid"},
    "from": {"description": "Created at this moment or later.", "type": "string", "format": "date-time"},
    "to": {"description": "Created before this moment.", "type": "string", "format": "date-time"},
}
"""The conditions of a filter of deliveries."""
HOST_FILTER: dict[str, JsonSchema] = {
    "hostPrefix": {
        "description": "The beginning of host and port; an empty one fits every host. A `cursor` needs it.",
        "type": "string",
        "maxLength": HOST_PREFIX_LENGTH_MOST,
    },
}
"""The conditions of a filter of hosts."""
_BULK_KEY: JsonSchema = {
    "description": "Names the bulk: a repeated request with the key begins no second one.",
    "type": "string",
    "minLength": 1,
    "maxLength": IDEMPOTENCY_KEY_LENGTH,
}


def _bulk(statuses: Sequence[TaskStatus], *without: str) -> JsonSchema:
    chosen = {name: schema for name, schema in FILTER.items() if name not in without}
    status = {"type": "string", "enum": [*statuses]}
    return fields({}, {**chosen, "status": status, BULK_KEY: _BULK_KEY}) | {"additionalProperties": False}


RETRY: JsonSchema = _bulk(BULK_STATUSES[BulkKind.RETRY])
CANCEL: JsonSchema = _bulk(BULK_STATUSES[BulkKind.CANCEL], *OF_FAILURES)
