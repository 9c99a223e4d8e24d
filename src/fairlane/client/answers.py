"""The JSON of the API, in and out, as the client sees it. Pure: bytes in, records out.

Fields that a newer server adds are ignored; an answer that lacks a field cannot be used and raises NoAnswer.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from fairlane.client.errors import NoAnswer, ValidationFailed
from fairlane.client.records import (
    Alert,
    Attempt,
    Bulk,
    Capacity,
    Credits,
    Delivery,
    DeliveryConditions,
    DeliveryHost,
    ErrorBody,
    FailureGroup,
    NewTask,
    Slot,
    Status,
    Task,
    TaskConditions,
    TaskCount,
    TimeWaited,
    Usage,
    UsageOfTypes,
    Verdict,
    WebhookState,
    Why,
)

Read = TypeVar("Read")

DEPTH_MOST = 200
"""The deepest nesting of a payload: more than the server takes. The search in a payload that contains itself ends
here."""

# In ------------------------------------------------------------------------------------------------------------------


class _TaskAnswer(Struct, rename="camel"):
    id: str
    task_type: str
    status: str
    priority: int
    created_at: datetime
    latency_ms: int | None = None
    idempotency_key: str | None = None
    run_at: datetime | None = None
    retry_of: str | None = None


class _CreditsAnswer(Struct, rename="camel"):
    credits_to_charge: int
    credits_charged: int | None = None


class _FoundAnswer(Struct):
    task: _TaskAnswer
    credits: _CreditsAnswer
    code: str | None = None
    waited: TimeWaited | None = None
    webhook: WebhookState | None = None
    response: dict[str, Any] | None = None


class _Page(Struct, rename="camel"):
    tasks: list[_FoundAnswer]
    next_cursor: str | None = None


class _Refused(Struct):
    error: ErrorBody


class _RanAnswer(Struct):
    result: dict[str, Any]


class _SlotPage(Struct, rename="camel"):
    slots: list[Slot]
    next_cursor: str | None = None


class _DeliveryPage(Struct, rename="camel"):
    deliveries: list[Delivery]
    next_cursor: str | None = None


class _DeliveryHosts(Struct, rename="camel"):
    hosts: list[DeliveryHost]
    next_cursor: str | None = None


class _OneDelivery(Struct):
    delivery: Delivery


class _Alerts(Struct):
    alerts: list[Alert]


class _OneAlert(Struct):
    alert: Alert


class _Attempts(Struct):
    attempts: list[Attempt]


class _Failures(Struct):
    failures: list[FailureGroup]


class _OneBulk(Struct):
    bulk: Bulk


class _ClearedAnswer(Struct):
    cleared: int


class _BatchResult(Struct):
    success: bool
    index: int
    task: _TaskAnswer | None = None
    error: ErrorBody | None = None


class _BatchAnswer(Struct):
    results: list[_BatchResult]


def read_bulk(body: bytes) -> Bulk:
    """Read the answer of a request about one bulk."""
    return _read(body, _OneBulk).bulk


def read_count(body: bytes) -> TaskCount:
    """Read the answer of ``GET /v1/async/tasks/count``."""
    return _read(body, TaskCount)


def bulk_text(chosen: TaskConditions, key: str) -> bytes:
    """Write the request for a bulk."""
    text = _BulkText(**msgspec.structs.asdict(_filter_text(chosen)), idempotency_key=key)
    return msgspec.json.encode(text)


def read_status(body: bytes) -> Status:
    """Read the answer of ``GET /v1/async/status``."""
    return _read(body, Status)


def read_task(body: bytes) -> Task:
    """Read the answer about one task."""
    return _task(_read(body, _FoundAnswer))


def read_page(body: bytes) -> tuple[list[Task], str | None]:
    """Read a page of tasks, and the cursor of the next page, or None on the last one."""
    page = _read(body, _Page)
    return [_task(found) for found in page.tasks], page.next_cursor


def read_slots(body: bytes) -> tuple[list[Slot], str | None]:
    """Read a page of slots in use, and the cursor of the next page, or None on the last one."""
    page = _read(body, _SlotPage)
    return page.slots, page.next_cursor


def read_deliveries(body: bytes) -> tuple[list[Delivery], str | None]:
    """Read a page of deliveries, and the cursor of the next page, or None on the last one."""
    page = _read(body, _DeliveryPage)
    return page.deliveries, page.next_cursor


def read_hosts(body: bytes) -> tuple[list[DeliveryHost], str | None]:
    """Read a page of hosts of webhooks, and the cursor of the next page, or None on the last one."""
    page = _read(body, _DeliveryHosts)
    return page.hosts, page.next_cursor


def read_delivery(body: bytes) -> Delivery:
    """Read the answer about one delivery."""
    return _read(body, _OneDelivery).delivery


def read_alerts(body: bytes) -> list[Alert]:
    """Read the list of all alerts."""
    return _read(body, _Alerts).alerts


def read_alert(body: bytes) -> Alert:
    """Read the answer about one alert."""
    return _read(body, _OneAlert).alert


def read_attempts(body: bytes) -> list[Attempt]:
    """Read the answer of ``GET /v1/async/task/{id}/attempts``."""
    return _read(body, _Attempts).attempts


def read_failures(body: bytes) -> list[FailureGroup]:
    """Read the answer of ``GET /v1/async/failures``."""
    return _read(body, _Failures).failures


def read_why(body: bytes) -> Why:
    """Read the answer of ``GET /v1/async/task/{id}/wait``."""
    return _read(body, Why)


def read_credits(body: bytes) -> Credits:
    """Read the answer of ``GET /v1/credits``."""
    return _read(body, Credits)


def read_usage(body: bytes) -> Usage:
    """Read the answer of ``GET /v1/async/usage``."""
    return _read(body, Usage)


def read_usage_by_type(body: bytes) -> UsageOfTypes:
    """Read the answer of ``GET /v1/async/usage/types``."""
    return _read(body, UsageOfTypes)


def read_cleared(body: bytes) -> int:
    """Read the number of tasks that were taken out of the queue."""
    return _read(body, _ClearedAnswer).cleared


def read_capacity(body: bytes) -> Capacity:
    """Read the answer about capacity."""
    return _read(body, Capacity)


def read_result(body: bytes) -> dict[str, Any]:
    """Read the result in the answer to a call."""
    return _read(body, _RanAnswer).result


def read_verdicts(body: bytes, keys: Sequence[str], first: int) -> list[Verdict]:
    """Read the outcome of a batch; its items had these keys, and its first item has the index ``first``."""
    results = _read(body, _BatchAnswer).results
    if [result.index for result in results] != list(range(len(keys))):
        raise NoAnswer("the answer to a batch does not name each of its tasks once, in order", sent=True)
    return [_verdict(result, key, first) for result, key in zip(results, keys, strict=True)]


class _Room(Struct, rename="camel"):
    remaining_capacity: int = 0


def read_room(details: Any) -> int:
    """Read how many tasks a full queue still takes, or 0 if the refusal does not say."""
    try:
        return msgspec.convert(details, _Room).remaining_capacity
    except msgspec.ValidationError:
        return 0


def read_error(body: bytes) -> ErrorBody | None:
    """Read the error in an envelope, or None if the body is not an envelope, such as an answer from a proxy."""
    try:
        return msgspec.json.decode(body, type=_Refused).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _verdict(result: _BatchResult, key: str, first: int) -> Verdict:
    error = result.error
    if not result.success and error is None:
        error = ErrorBody(code="UNKNOWN", message="the server gave no reason")
    existed = error is not None and error.code == "RESOURCE_ALREADY_EXISTS"
    return Verdict(
        index=first + result.index,
        idempotency_key=key,
        task_id=None if result.task is None else result.task.id,
        existed=existed,
        error=None if existed else error,
    )


def _task(found: _FoundAnswer) -> Task:
    task, credits = found.task, found.credits
    error = (found.response or {}).get("error") if task.status == "FAILED" else None
    return Task(
        id=task.id,
        task_type=task.task_type,
        status=task.status,
        priority=task.priority,
        created_at=task.created_at,
        latency_ms=task.latency_ms,
        idempotency_key=task.idempotency_key,
        credits_to_charge=credits.credits_to_charge,
        credits_charged=credits.credits_charged,
        webhook=found.webhook,
        response=found.response,
        code=found.code or (error.get("code") if isinstance(error, dict) else None),
        run_at=task.run_at,
        retry_of=task.retry_of,
        waited=found.waited,
    )


def _read(body: bytes, kind: type[Read]) -> Read:
    try:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError:  # A result may contain half a surrogate pair, which only json reads.
            return msgspec.convert(json.loads(body), kind)
    except (ValueError, RecursionError) as error:
        raise NoAnswer(f"this client cannot read the answer: {error}", sent=True) from error


# Out -----------------------------------------------------------------------------------------------------------------


class _WebhookAnswer(Struct):
    url: str


class _SubmissionAnswer(Struct, rename="camel", omit_defaults=True):
    task_type: str
    payload: Any
    idempotency_key: str
    priority: int | UnsetType = UNSET
    webhook: _WebhookAnswer | UnsetType = UNSET
    delay_seconds: int | UnsetType = UNSET
    run_at: datetime | UnsetType = UNSET


class _AlertRuleAnswer(Struct, rename="camel"):
    kind: str
    threshold: float
    for_seconds: int
    webhook: _WebhookAnswer


def submission_text(task: NewTask, key: str) -> bytes:
    """Write the JSON text that submits a task under this key. Raises ValidationFailed if a value cannot be written."""
    submission = _SubmissionAnswer(
        task.task_type,
        task.payload,
        key,
        UNSET if task.priority is None else task.priority,
        UNSET if task.webhook_url is None else _WebhookAnswer(task.webhook_url),
        UNSET if task.delay_seconds is None else task.delay_seconds,
        UNSET if task.run_at is None else task.run_at,
    )
    return _written(submission, lambda: _faults(submission))


def payload_text(payload: object) -> bytes:
    """Write the JSON text of a payload alone. Raises ValidationFailed if a value cannot be written."""
    return _written(payload, lambda: _fault(payload, "payload"))


def alert_text(kind: str, threshold: float, for_seconds: int, webhook_url: str) -> bytes:
    """Write the JSON text that creates an alert. Raises ValidationFailed if a value cannot be written."""
    rule = _AlertRuleAnswer(kind, threshold, for_seconds, _WebhookAnswer(webhook_url))
    return _written(rule, lambda: _faults(rule))


_FaultAnswer = tuple[str, str]
"""A path such as ``payload.pages.3``, and what is wrong there."""


def _written(document: Any, find_fault: Callable[[], _FaultAnswer | None]) -> bytes:
    unwritable = None
    try:
        text = msgspec.json.encode(document, enc_hook=_as_builtin)
    except (TypeError, ValueError, RecursionError) as error:
        unwritable, text = error, b"null"
    # NaN and infinity are silently written as null, so only texts that contain null need the search.
    fault = find_fault() if b"null" in text else None
    if fault is None and unwritable is not None:
        fault = ("body", f"cannot be written as JSON: {unwritable}")
    if fault is not None:
        details = [{"field": fault[0], "message": fault[1]}]
        raise ValidationFailed(
            "Request validation failed", code="VALIDATION_ERROR", status=400, details=details
        ) from unwritable
    return text


def _as_builtin(value: Any) -> Any:
    """Return what msgspec can write: pydantic models convert themselves, with the names that callers use."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"objects of type {type(value).__name__} are unsupported")


def _faults(document: Struct) -> _FaultAnswer | None:
    fields = zip(document.__struct_encode_fields__, document.__struct_fields__, strict=True)
    found = (_fault(value, name) for name, field in fields if (value := getattr(document, field)) is not UNSET)
    return next((fault for fault in found if fault is not None), None)


def _fault(value: Any, path: str, depth: int = 0) -> _FaultAnswer | None:
    """Return the first place in a value that cannot be written, or that would change when written, or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else (path, "must be a finite number")
    if isinstance(value, dict | list | tuple):
        if depth == DEPTH_MOST:
            return path, f"must not be nested more than {DEPTH_MOST} deep"
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        found = (_fault(part, f"{path}.{name}", depth + 1) for name, part in parts)
        below = next((fault for fault in found if fault is not None), None)
        if below is not None or not isinstance(value, dict):
            return below
        value = dict.fromkeys(value)  # The values are valid, so only the names remain to be checked.
    try:
        msgspec.json.encode(value, enc_hook=_as_builtin)
    except (TypeError, ValueError, RecursionError) as error:
        return path, f"cannot be written as JSON: {error}"
    if value is None or isinstance(value, str | int | dict | Raw):
        return None
    plain = msgspec.to_builtins(value, enc_hook=_as_builtin)  # A record or a set becomes one of these.
    return _fault(plain, path, depth + 1) if isinstance(plain, dict | list) and depth < DEPTH_MOST else None


class _FilterText(Struct, rename="camel", omit_defaults=True):
    """The conditions of a filter; ``from_`` and ``to`` are moments."""

    status: str | None = None
    type: str | None = None
    code: str | None = None
    group: str | None = None
    priority: int | None = None
    from_: str | None = None
    to: str | None = None
    idempotency_key_prefix: str | None = None


class _BulkText(_FilterText):
    idempotency_key: str | None = None


def filter_fields(chosen: TaskConditions) -> dict[str, str | int]:
    """Return the conditions as the API names them. Raises ValueError for a moment without a time zone."""
    fields: dict[str, str | int] = msgspec.to_builtins(_filter_text(chosen))
    return fields


def _filter_text(chosen: TaskConditions) -> _FilterText:
    return _FilterText(
        status=chosen.get("status"),
        type=chosen.get("task_type"),
        code=chosen.get("code"),
        group=chosen.get("group"),
        priority=chosen.get("priority"),
        from_=moment_text(chosen.get("accepted_from")),
        to=moment_text(chosen.get("accepted_before")),
        idempotency_key_prefix=chosen.get("key_prefix"),
    )


class _DeliveryFilterText(Struct, rename="camel", omit_defaults=True):
    """The conditions of a filter of deliveries or hosts; ``from_`` and ``to`` are moments."""

    status: str | None = None
    url_prefix: str | None = None
    host_prefix: str | None = None
    task_id: str | None = None
    from_: str | None = None
    to: str | None = None


def delivery_fields(chosen: DeliveryConditions) -> dict[str, str]:
    """Return the conditions as the API names them. Raises ValueError for a moment without a time zone."""
    filtered = _DeliveryFilterText(
        status=chosen.get("status"),
        url_prefix=chosen.get("url_prefix"),
        host_prefix=chosen.get("host_prefix"),
        task_id=chosen.get("task_id"),
        from_=moment_text(chosen.get("created_from")),
        to=moment_text(chosen.get("created_before")),
    )
    fields: dict[str, str] = msgspec.to_builtins(filtered)
    return fields


def moment_text(at: datetime | None) -> str | None:
    """Write a moment as the API does. Raises ValueError for one without a time zone, because it is ambiguous."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise ValueError(f"the moment {at} has no time zone")
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
