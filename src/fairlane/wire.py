"""The customers' JSON, in and out: the only place that knows camelCase.

Pure functions between the records of ``model`` and bytes. Field names, their order and their nulls are the contract's;
each body has a golden file in ``tests/wire/``.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import gmtime, strftime
from typing import Annotated, Any, Literal

from msgspec import UNSET, DecodeError, Meta, Raw, Struct, UnsetType, ValidationError, defstruct
from msgspec.json import Decoder, Encoder
from msgspec.structs import astuple

from fairlane.errors import Refusal, ValidationRefused
from fairlane.model.alerts import Alert, AlertChange, AlertKind
from fairlane.model.insight import Slots, Wait, WaitReason
from fairlane.model.leases import Progress
from fairlane.model.organizations import Credits
from fairlane.model.simulation import Capacity, Projection
from fairlane.model.status import Busy, Concurrency, LiveOrganization, QueueStatus, Total, Verified
from fairlane.model.tasks import (
    PRIORITY_HIGHEST,
    PRIORITY_LOWEST,
    Accepted,
    Failure,
    NewTask,
    TaskList,
    TaskStatus,
    TaskView,
)
from fairlane.model.usage import Usage, UsagePoint
from fairlane.model.webhooks import Delivery, DeliveryTry

IDEMPOTENCY_KEY_LENGTH = 255
ALERT_FIELDS = ("kind", "threshold", "forSeconds", "webhook")
ALERT_SECONDS_MOST = 86_400
ALERT_THRESHOLD_MOST = 1_000_000_000
TIMESTAMP_LENGTH = 24
FIELD_ERRORS_MOST = 20
"""Most field errors one answer lists; a body of nothing but mistakes must not be answered with a larger one."""
DELAY_SECONDS_MOST = 30 * 86_400
"""How far ahead a task may be put off."""
BATCH_MOST = 500
"""Most tasks of one batch."""

_encoder = Encoder()


# In ------------------------------------------------------------------------------------------------------------------


class Submission(Struct, frozen=True, kw_only=True):
    """A checked request to create a task; the payload is still to be checked against its type."""

    task_type: str
    priority: int
    idempotency_key: str | None
    payload: bytes
    """The JSON object's text, exactly the bytes received."""
    webhook_url: str | None
    """Not checked yet but for its type."""
    run_at: int | None
    delay_ms: int


class _Envelope(Struct):
    payload: Raw


_envelope_decoder = Decoder(_Envelope)


def read_submission(body: bytes, document: Any, task_types: Collection[str], *, now: int) -> Submission:
    """Check one task as a customer sends it. ``document`` is ``body`` as the strict reader read it.

    ``now`` bounds the moment at which it is to start.

    Raises:
        ValidationRefused: with every field that is wrong.
    """
    if type(document) is not dict:
        raise ValidationRefused.at("body", "must be a JSON object")
    wrong = [*_wrong_fields(document, task_types), *_wrong_schedule(document, now)]
    if wrong:
        details = [{"field": field, "message": message} for field, message in wrong[:FIELD_ERRORS_MOST]]
        raise ValidationRefused(details=details)
    try:
        payload = bytes(_envelope_decoder.decode(body).payload)
    except DecodeError as error:  # Both readers must agree; where they do not, refusing is the safe answer.
        raise ValidationRefused.at("body", "is not valid JSON") from error
    return Submission(
        task_type=document["taskType"],
        priority=document.get("priority", PRIORITY_LOWEST),
        idempotency_key=document.get("idempotencyKey"),
        payload=payload,
        webhook_url=document["webhook"]["url"] if "webhook" in document else None,
        run_at=_moment_of(document["runAt"]) if "runAt" in document else None,
        delay_ms=document.get("delaySeconds", 0) * 1_000,
    )


def unknown_type() -> ValidationRefused:
    """The type of a task that is to run again is not registered any more."""
    return ValidationRefused.at("taskType", "is not a known task type")


def _wrong_schedule(document: dict[str, Any], now: int) -> Iterator[tuple[str, str]]:
    """What is wrong with the moment at which a task is to start."""
    if "delaySeconds" in document:
        delay = document["delaySeconds"]
        if not (type(delay) is int and 0 <= delay <= DELAY_SECONDS_MOST):
            yield "delaySeconds", f"must be an integer from 0 to {DELAY_SECONDS_MOST}"
    if "runAt" in document:
        run_at = _moment_of(document["runAt"])
        if run_at is None:
            yield "runAt", "must be an ISO 8601 moment with its offset, such as 2026-01-31T15:00:00Z"
        elif run_at > now + DELAY_SECONDS_MOST * 1_000:
            yield "runAt", f"must be at most {DELAY_SECONDS_MOST // 86_400} days ahead"
        if "delaySeconds" in document:
            yield "runAt", "cannot be combined with delaySeconds"


def _moment_of(value: Any) -> int | None:
    """Milliseconds since the epoch; None: it is no such moment."""
    if type(value) is not str or _MOMENT.fullmatch(value) is None:
        return None
    try:
        moment = (datetime.fromisoformat(value) - _EPOCH) // timedelta(milliseconds=1)
    except ValueError:
        return None
    return moment if moment >= _YEAR_ONE else None


_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_ONE = -62_135_596_800_000
"""An offset may lead to a moment before it, which cannot be written again."""


# An array of at most BATCH_MOST values, whatever they are: decoding stops at the first one too many, so that a body of
# nothing but commas never becomes millions of objects.
_Batch = defstruct(
    "_Batch",
    [("first", Raw), *((f"item_{number}", Raw, Raw(b"")) for number in range(2, BATCH_MOST + 1))],
    array_like=True,
    forbid_unknown_fields=True,
)
_batch_decoder = Decoder(_Batch)


def split_batch(body: bytes) -> list[bytes]:
    """The items of a batch, each as its own bytes, not read yet: what is wrong in one is that one's matter.

    Raises:
        ValidationRefused: it is no array of 1 to BATCH_MOST values.
    """
    try:
        batch = _batch_decoder.decode(body)
    except ValidationError as error:
        raise ValidationRefused.at("body", f"must be a JSON array of 1 to {BATCH_MOST} tasks") from error
    except (DecodeError, RecursionError) as error:
        raise ValidationRefused.at("body", "is not valid JSON") from error
    return [bytes(item) for item in astuple(batch) if memoryview(item)]


def _wrong_fields(document: dict[str, Any], task_types: Collection[str]) -> list[tuple[str, str]]:
    wrong = []
    task_type, payload = document.get("taskType"), document.get("payload")
    if task_type is None:
        wrong.append(("taskType", "is required"))
    elif type(task_type) is not str:
        wrong.append(("taskType", "must be a string"))
    elif task_type not in task_types:
        wrong.append(("taskType", "is not a known task type"))
    if payload is None:
        wrong.append(("payload", "is required"))
    elif type(payload) is not dict:
        wrong.append(("payload", "must be an object"))
    if "webhook" in document:
        wrong += _wrong_address(document["webhook"], "webhook")
    for field, value in document.items():
        message = _wrong_option(field, value)
        if message is not None:
            wrong.append((field, message))
    return wrong


def _wrong_option(field: str, value: Any) -> str | None:
    """What is wrong with an optional field; None: nothing."""
    match field:
        case "taskType" | "payload" | "webhook" | "runAt" | "delaySeconds":
            return None
        case "priority":
            # The exact type: True is an int to isinstance, and 5.0 equals 5.
            fits = type(value) is int and PRIORITY_LOWEST <= value <= PRIORITY_HIGHEST
            return None if fits else f"must be an integer from {PRIORITY_LOWEST} to {PRIORITY_HIGHEST}"
        case "idempotencyKey":
            fits = type(value) is str and 1 <= len(value) <= IDEMPOTENCY_KEY_LENGTH
            return None if fits else f"must be a string of 1 to {IDEMPOTENCY_KEY_LENGTH} characters"
        case _:
            return "is not a known field"


def read_address(document: Any) -> str:
    """The URL in ``{"url": …}``, checked only for its type.

    Raises:
        ValidationRefused: with every field that is wrong.
    """
    wrong = _wrong_address(document, "")
    if wrong:
        raise ValidationRefused(details=[{"field": field, "message": message} for field, message in wrong])
    url: str = document["url"]
    return url


def _wrong_address(document: Any, path: str) -> list[tuple[str, str]]:
    """What is wrong with ``{"url": …}`` at this path; an empty one is the body itself."""
    if type(document) is not dict:
        return [(path or "body", "must be an object with a url" if path else "must be a JSON object")]
    prefix = f"{path}." if path else ""
    wrong = [(f"{prefix}{field}", "is not a known field") for field in document if field != "url"]
    if "url" not in document:
        wrong.append((f"{prefix}url", "is required"))
    elif type(document["url"]) is not str:
        wrong.append((f"{prefix}url", "must be a string"))
    return wrong[:FIELD_ERRORS_MOST]


class AskedAlert(Struct, frozen=True, kw_only=True):
    """A checked alert; its URL is not checked yet but for its type."""

    kind: AlertKind
    threshold: float
    for_ms: int
    url: str


def read_alert(document: Any) -> AskedAlert:
    """``{"kind": …, "threshold": …, "forSeconds": …, "webhook": {"url": …}}``.

    Raises:
        ValidationRefused: with every field that is wrong.
    """
    if type(document) is not dict:
        raise ValidationRefused.at("body", "must be a JSON object")
    wrong = [(field, "is not a known field") for field in document if field not in ALERT_FIELDS]
    kind: Any = document.get("kind")
    threshold: Any = document.get("threshold")
    seconds: Any = document.get("forSeconds")
    if type(kind) is not str or kind not in tuple(AlertKind):
        wrong.append(("kind", f"must be one of {', '.join(AlertKind)}"))
    if type(threshold) not in (int, float) or not 0 <= threshold <= ALERT_THRESHOLD_MOST:
        wrong.append(("threshold", f"must be a number from 0 to {ALERT_THRESHOLD_MOST}"))
    if type(seconds) is not int or not 0 <= seconds <= ALERT_SECONDS_MOST:
        wrong.append(("forSeconds", f"must be an integer from 0 to {ALERT_SECONDS_MOST}"))
    wrong += _wrong_address(document.get("webhook"), "webhook")
    if wrong:
        raise ValidationRefused(
            details=[{"field": field, "message": message} for field, message in wrong[:FIELD_ERRORS_MOST]]
        )
    return AskedAlert(
        kind=AlertKind(kind), threshold=float(threshold), for_ms=seconds * 1000, url=document["webhook"]["url"]
    )


def read_moment(text: str, field: str) -> int:
    """A moment as :func:`timestamp` writes it, or with fewer decimals.

    Raises:
        ValidationRefused: it is none.
    """
    try:
        moment = datetime.fromisoformat(text) if len(text) <= TIMESTAMP_LENGTH and text.endswith("Z") else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValidationRefused.at(field, "must be a moment like 2025-11-10T15:00:00.000Z")
    return round(moment.timestamp() * 1000)


# Out -----------------------------------------------------------------------------------------------------------------

# Types that say to /openapi.json more than Python's own; nothing is checked by them when a body is written.
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Count = Annotated[int, Meta(ge=0)]
Priority = Annotated[int, Meta(ge=PRIORITY_LOWEST, le=PRIORITY_HIGHEST)]
State = Annotated[str, Meta(extra_json_schema={"enum": [*TaskStatus]})]
Object = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Yes = Annotated[bool, Meta(extra_json_schema={"const": True})]


class _Concurrency(Struct):
    used: Count
    max: Annotated[int, Meta(ge=1)]


class _PriorityCount(Struct):
    priority: Priority
    count: Annotated[int, Meta(ge=1)]


class _Difference(Struct, rename="camel"):
    name: str
    kept: int
    counted: int


class _Verification(Struct, rename="camel"):
    checked_at: Moment
    drift: Count
    differences: list[_Difference]


class _Status(Struct, rename="camel"):
    queued_tasks: Count
    processing_tasks: Count
    concurrency: _Concurrency | None
    priority_breakdown: list[_PriorityCount]
    verification: _Verification | UnsetType = UNSET


class _Task(Struct, rename="camel"):
    id: Uuid
    task_type: str
    status: State
    priority: Priority
    created_at: Moment
    latency_ms: Count | None
    idempotency_key: str | None
    run_at: Moment | UnsetType = UNSET
    retry_of: Uuid | UnsetType = UNSET


class _Credits(Struct, rename="camel"):
    credits_to_charge: Count
    credits_charged: Count | None


class _Created(Struct):
    success: Yes
    task: _Task
    credits: _Credits


class _Error(Struct):
    code: str
    message: str
    details: Any = UNSET
    timestamp: str | UnsetType = UNSET


class _Refused(Struct):
    success: bool
    error: _Error


class _Summary(Struct):
    total: Count
    succeeded: Count
    failed: Count


class _Item(Struct):
    """Either ``task`` and ``credits``, or ``error``."""

    success: bool
    index: Count
    task: "_Task | UnsetType" = UNSET
    credits: "_Credits | UnsetType" = UNSET
    error: _Error | UnsetType = UNSET


class _BatchAnswer(Struct):
    success: Yes
    summary: _Summary
    results: list[_Item]


class _Cleared(Struct):
    success: Yes
    cleared: Count


class _FailedResponse(Struct):
    error: _Error


class _Webhook(Struct, rename="camel"):
    url: str
    delivered_at: Moment | None
    delivered: bool


class _Found(Struct):
    task: _Task
    credits: _Credits
    webhook: _Webhook | UnsetType = UNSET
    response: Object | _FailedResponse | UnsetType = UNSET


CREDITS_UNCOUNTED = 1_000_000_000
"""What remains where credits are switched off: a number, because clients need one."""


def credits_body(credits: Credits) -> bytes:
    """The answer of ``GET /v1/credits``; nobody has a subscription. A debt reads as nothing left."""
    return _encoder.encode(_Balance(credits_remaining(credits), None, None))


def credits_remaining(credits: Credits) -> int:
    """What an organization may still spend, as it is told: never below 0."""
    return max(0, credits.balance()) if credits.on else CREDITS_UNCOUNTED


def countries_body(countries: Sequence[str]) -> bytes:
    """The answer of ``GET /v1/countries``: a bare array."""
    return _encoder.encode(list(countries))


def states_body(states: Sequence[tuple[str, str]]) -> bytes:
    """The answer of ``GET /v1/states``, from codes and names."""
    return _encoder.encode([_State(code, name) for code, name in states])


class _Listed(Struct):
    task: _Task
    credits: _Credits


class _Tasks(Struct, rename="camel"):
    tasks: list[_Listed]
    next_cursor: str | None


class _Now(Struct):
    """A task as it is now, to who just acted on it or waited for it."""

    success: Yes
    task: _Task
    credits: _Credits
    webhook: _Webhook | UnsetType = UNSET
    response: Object | _FailedResponse | UnsetType = UNSET


def status_body(status: QueueStatus) -> bytes:
    """The answer of ``GET /v1/async/status``."""
    return _encoder.encode(_status(status))


def _status(status: QueueStatus) -> _Status:
    return _Status(
        status.queued,
        status.processing,
        _concurrency(status.concurrency),
        [_PriorityCount(priority, count) for priority, count in status.priorities],
    )


def _concurrency(slots: Concurrency | None) -> _Concurrency | None:
    return None if slots is None else _Concurrency(slots.used, slots.max)


def verified_body(verified: Verified, *, at: int) -> bytes:
    """The answer of ``GET /v1/async/status?verify=true``: the plain one, and what the recount found beside it."""
    differences = [_Difference(one.name, one.kept, one.counted) for one in verified.drift]
    body = _status(verified.status)
    body.verification = _Verification(timestamp(at), len(differences), differences[:FIELD_ERRORS_MOST])
    return _encoder.encode(body)


class _Estimate(Struct, rename="camel"):
    p50_seconds: float
    p90_seconds: float


class _Progress(Struct, rename="camel"):
    fraction: float | None
    done: float | None
    total: float | None
    note: str | None
    at: Moment


def _progress(progress: Progress | None) -> _Progress | None:
    if progress is None:
        return None
    done, total = progress.done, progress.total
    fraction = done if total is None else done / total if total else None
    shown = None if total is None else done
    return _Progress(fraction, shown, total, progress.note, timestamp(progress.at))


class _Wait(Struct, rename="camel"):
    task_id: Uuid
    task_type: str
    status: State
    reason: Annotated[str, Meta(extra_json_schema={"enum": [*WaitReason]})]
    until: Moment | None
    tasks_ahead: Count | None
    tasks_ahead_bounded: bool
    estimate: _Estimate | None
    progress: _Progress | None


def wait_body(wait: Wait) -> bytes:
    """The answer of ``GET /v1/async/task/{id}/wait``."""
    estimate = wait.estimate
    return _encoder.encode(
        _Wait(
            wait.task_id,
            wait.task_type,
            wait.status,
            wait.reason,
            _moment(wait.until),
            wait.ahead,
            wait.ahead_bounded,
            None if estimate is None else _Estimate(estimate.p50_ms / 1000, estimate.p90_ms / 1000),
            _progress(wait.progress),
        )
    )


class _Slot(Struct, rename="camel"):
    kind: Annotated[str, Meta(extra_json_schema={"enum": ["task", "call"]})]
    id: Uuid
    task_id: Uuid | None
    task_type: str
    priority: Priority
    attempt: Count
    attempts: Count
    started_at: Moment
    deadline_at: Moment
    progress: _Progress | None


class _Slots(Struct, rename="camel"):
    concurrency: _Concurrency | None
    slots: list[_Slot]
    next_cursor: str | None


def slots_body(slots: Slots, next_cursor: str | None) -> bytes:
    """The answer of ``GET /v1/async/slots``."""
    held = [
        _Slot(
            "call" if one.call else "task",
            one.id,
            None if one.call else one.id,
            one.task_type,
            one.priority,
            one.attempt,
            one.attempts,
            timestamp(one.started_at),
            timestamp(one.deadline_at),
            _progress(one.progress),
        )
        for one in slots.slots
    ]
    return _encoder.encode(_Slots(_concurrency(slots.concurrency), held, next_cursor))


class _Live(Struct, rename="camel"):
    at: str
    status: Raw
    submitted: int
    completed: int
    failed: int


class _Everything(Struct):
    at: str
    total: Total
    busiest: Sequence[Busy]


def live_body(one: LiveOrganization, *, at: int) -> bytes:
    """One moment of an organization, for its viewers."""
    status = Raw(status_body(one.status))
    return _encoder.encode(_Live(timestamp(at), status, one.submitted, one.completed, one.failed))


def everything_body(busiest: Sequence[Busy], total: Total, *, at: int) -> bytes:
    """One moment of all organizations, for operators: the model's own spelling, like the operator's API."""
    return _encoder.encode(_Everything(timestamp(at), total, busiest))


class _AlertAddress(Struct):
    url: str


class _Alert(Struct, rename="camel"):
    id: Uuid
    kind: Annotated[str, Meta(extra_json_schema={"enum": [*AlertKind]})]
    threshold: float
    for_seconds: Count
    webhook: _AlertAddress
    firing: bool
    changed_at: Moment | None
    created_at: Moment


class _Alerts(Struct):
    alerts: list[_Alert]


class _KeptAlert(Struct):
    success: Yes
    alert: _Alert


class _AlertMessage(Struct):
    type: Literal["alert.fired", "alert.recovered"]
    at: Moment
    value: float | None
    alert: _Alert


def alert_body(alert: Alert) -> bytes:
    """The answer to who asked for an alert."""
    return _encoder.encode(_KeptAlert(True, _alert(alert)))


def alerts_body(alerts: Sequence[Alert]) -> bytes:
    """An organization's alerts."""
    return _encoder.encode(_Alerts([_alert(one) for one in alerts]))


def alert_message_body(change: AlertChange) -> bytes:
    """What a webhook is told of an alert that began or ceased to fire."""
    alert = _alert(change.alert)
    alert.firing, alert.changed_at = change.firing, timestamp(change.at)
    kind: Literal["alert.fired", "alert.recovered"] = "alert.fired" if change.firing else "alert.recovered"
    return _encoder.encode(_AlertMessage(kind, timestamp(change.at), change.value, alert))


def _alert(alert: Alert) -> _Alert:
    rule = alert.rule
    return _Alert(
        alert.id,
        rule.kind,
        rule.threshold,
        rule.for_ms // 1000,
        _AlertAddress(rule.webhook.url),
        alert.firing,
        _moment(alert.changed_at),
        timestamp(alert.created_at),
    )


class _UsagePoint(Struct, rename="camel"):
    at: Moment
    submitted: int
    started: int
    completed: int
    failed: int
    wait_p50_seconds: float | None
    wait_p99_seconds: float | None
    run_seconds: float
    slot_seconds: float
    plan_limited_seconds: float
    worker_limited_seconds: float


class _Usage(Struct, rename={"start": "from", "end": "to", "step_seconds": "stepSeconds"}):
    start: Moment
    end: Moment
    step_seconds: int
    total: _UsagePoint
    usage: list[_UsagePoint]


def usage_body(usage: Usage, *, step_ms: int) -> bytes:
    """The answer of ``GET /v1/async/usage``."""
    total = usage.total
    points = [_usage_point(point) for point in usage.points]
    return _encoder.encode(
        _Usage(timestamp(total.start), timestamp(total.end), step_ms // 1000, _usage_point(total), points)
    )


def _usage_point(point: UsagePoint) -> _UsagePoint:
    return _UsagePoint(
        timestamp(point.start),
        point.submitted,
        point.started,
        point.completed,
        point.failed,
        _seconds(point.wait_p50_ms),
        _seconds(point.wait_p99_ms),
        point.run_ms / 1000,
        point.slot_ms / 1000,
        point.plan_limited_ms / 1000,
        point.worker_limited_ms / 1000,
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


class _Projection(Struct, rename="camel"):
    max: int
    wait_p50_seconds: float
    wait_p90_seconds: float
    wait_p99_seconds: float


class _Replayed(Struct, rename="camel"):
    tasks: int
    estimate: Yes
    measured: _Projection | None


class _Capacity(
    Struct,
    rename={
        "start": "from",
        "end": "to",
        "plan_limited_share": "planLimitedShare",
        "worker_limited_share": "workerLimitedShare",
        "plan_limited_seconds": "planLimitedSeconds",
        "worker_limited_seconds": "workerLimitedSeconds",
        "slots_used_average": "slotsUsedAverage",
    },
):
    advice: str
    start: Moment
    end: Moment
    max: int | None
    plan_limited_share: float
    worker_limited_share: float
    plan_limited_seconds: float
    worker_limited_seconds: float
    slots_used_average: float
    replayed: _Replayed
    projections: list[_Projection]


def capacity_body(capacity: Capacity) -> bytes:
    """The answer of ``GET /v1/async/capacity``."""
    total = capacity.total
    span_ms = max(1, total.end - total.start)
    measured = capacity.measured
    return _encoder.encode(
        _Capacity(
            _advice(capacity),
            timestamp(total.start),
            timestamp(total.end),
            capacity.slots_max,
            round(total.plan_limited_ms / span_ms, 4),
            round(total.worker_limited_ms / span_ms, 4),
            total.plan_limited_ms / 1000,
            total.worker_limited_ms / 1000,
            round(total.slot_ms / span_ms, 3),
            _Replayed(capacity.tasks, True, None if measured is None else _projection(measured)),
            [_projection(one) for one in capacity.projections],
        )
    )


def _projection(one: Projection) -> _Projection:
    return _Projection(one.slots, one.wait_p50_ms / 1000, one.wait_p90_ms / 1000, one.wait_p99_ms / 1000)


def _span(span_ms: int) -> str:
    """A span of time for people: days, or hours or minutes while there are few."""
    units = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000))
    unit, unit_ms = next(((unit, ms) for unit, ms in units if span_ms >= 2 * ms), units[-1])
    number = f"{max(1.0, span_ms / unit_ms):.3g}"
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


def _advice(capacity: Capacity) -> str:
    """One or two sentences for people."""
    total = capacity.total
    span_ms = max(1, total.end - total.start)
    plan, workers = total.plan_limited_ms / span_ms, total.worker_limited_ms / span_ms
    said = [f"Limited by the plan {plan:.0%} and by workers {workers:.0%} of the last {_span(span_ms)}."]
    now, *more = capacity.projections or (None,)
    better = [one for one in more if now is not None and one.wait_p90_ms <= now.wait_p90_ms / 2]
    if now is not None and now.wait_p90_ms > 0 and better:
        said.append(
            f"With {better[0].slots} slots instead of {now.slots} nine of ten of the last {capacity.tasks} tasks would "
            f"have waited less than {better[0].wait_p90_ms / 1000:.3g} s instead of {now.wait_p90_ms / 1000:.3g} s, "
            "by an estimate."
        )
    elif now is not None:
        said.append("More slots would not have shortened the waits much, by an estimate.")
    return " ".join(said)


def created_body(task: NewTask, accepted: Accepted) -> bytes:
    """The answer to an accepted task: always QUEUED, even if a worker takes it in the same instant."""
    return _encoder.encode(_Created(True, *_created(task, accepted)))


def _created(task: NewTask, accepted: Accepted) -> tuple[_Task, _Credits]:
    created_at = timestamp(accepted.created_at)
    return (
        _Task(
            task.id,
            task.task_type,
            TaskStatus.QUEUED,
            task.priority,
            created_at,
            None,
            task.idempotency_key,
            UNSET if accepted.run_at is None else timestamp(accepted.run_at),
            task.retry_of or UNSET,
        ),
        _Credits(task.cost, None),
    )


def batch_body(items: Sequence[tuple[NewTask, Accepted] | Refusal], *, at: int) -> bytes:
    """The answer to a batch: what became of each item, in the order in which they came."""
    results = [_item(index, item, at) for index, item in enumerate(items)]
    succeeded = sum(result.success for result in results)
    return _encoder.encode(_BatchAnswer(True, _Summary(len(items), succeeded, len(items) - succeeded), results))


def _item(index: int, item: tuple[NewTask, Accepted] | Refusal, at: int) -> _Item:
    if not isinstance(item, Refusal):
        return _Item(True, index, *_created(*item))
    if isinstance(item, ValidationRefused):
        # The details of an item are an object, those of a call an array (contract, 4).
        message, details = f"Invalid task at index {index}", {"errors": item.details}
        return _Item(False, index, error=_Error(item.code, message, details, timestamp(at)))
    return _Item(False, index, error=_refused(item, at))


def cleared_body(cleared: int) -> bytes:
    """The answer to ``DELETE /v1/async/queue``."""
    return _encoder.encode(_Cleared(True, cleared))


def tasks_body(page: TaskList) -> bytes:
    """One page of an organization's tasks: what GET answers of each, without webhook and response."""
    listed = [_Listed(found.task, found.credits) for found in map(_found, page.tasks)]
    return _encoder.encode(_Tasks(listed, page.next_cursor))


def task_body(task: TaskView) -> bytes:
    """The answer of ``GET /v1/async/task/{id}``; the result is embedded as it was stored."""
    return _encoder.encode(_found_and_told(task))


def now_body(task: TaskView) -> bytes:
    """The answer to who acted on a task, or waited for one: what GET answers, and that it succeeded."""
    found = _found_and_told(task)
    return _encoder.encode(_Now(True, found.task, found.credits, found.webhook, found.response))


def _found_and_told(task: TaskView) -> _Found:
    found = _found(task)
    if task.webhook is not None and task.status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
        delivered_at = task.webhook.delivered_at
        found.webhook = _Webhook(task.webhook.url, _moment(delivered_at), delivered_at is not None)
    return found


def webhook_body(task: TaskView) -> bytes:
    """What a webhook is told of a final task: the answer of GET without the webhook block, the same at every try."""
    return _encoder.encode(_found(task))


def test_event_body(delivery_id: str, *, at: int) -> bytes:
    """What a webhook is told when somebody tries it: shaped like a task that there never was."""
    task = _Task(delivery_id, "WEBHOOK_TEST", TaskStatus.COMPLETED, PRIORITY_LOWEST, timestamp(at), 0, None)
    return _encoder.encode(_Found(task, _Credits(0, 0), response=Raw(b'{"test":true}')))


def _found(task: TaskView) -> _Found:
    found = _Found(
        _Task(
            task.id,
            task.task_type,
            task.status,
            task.priority,
            timestamp(task.created_at),
            task.latency_ms,
            task.idempotency_key,
            UNSET if task.run_at is None else timestamp(task.run_at),
            task.retry_of or UNSET,
        ),
        _Credits(task.cost, task.charged),
    )
    if task.result is not None:
        found.response = Raw(task.result)
    elif task.failure is not None:
        found.response = _FailedResponse(_failure(task.failure))
    return found


class _Try(Struct, rename="camel"):
    number: Annotated[int, Meta(ge=1)]
    at: Moment
    outcome: Annotated[str, Meta(extra_json_schema={"enum": ["delivered", "timeout", "refused_by_policy", "failed"]})]
    status: Annotated[str, Meta(pattern="^[1-9]xx$")] | None


class _Delivery(Struct, rename="camel"):
    id: Uuid
    task_id: Uuid | None
    alert_id: Uuid | None
    url: str
    created_at: Moment
    status: Annotated[str, Meta(extra_json_schema={"enum": ["due", "trying", "delivered", "given_up"]})]
    delivered: bool
    delivered_at: Moment | None
    next_try_at: Moment | None
    tries: list[_Try]


class _Deliveries(Struct, rename="camel"):
    deliveries: list[_Delivery]
    next_cursor: str | None


class _Owed(Struct):
    success: Yes
    delivery: _Delivery


def deliveries_body(deliveries: Sequence[Delivery], next_cursor: str | None) -> bytes:
    """One page of an organization's deliveries."""
    return _encoder.encode(_Deliveries([_delivery(one) for one in deliveries], next_cursor))


def delivery_body(delivery: Delivery) -> bytes:
    """The answer to who asked for a delivery."""
    return _encoder.encode(_Owed(True, _delivery(delivery)))


def _delivery(one: Delivery) -> _Delivery:
    return _Delivery(
        one.id,
        one.task_id,
        one.alert_id,
        one.url,
        timestamp(one.created_at),
        _delivery_status(one),
        one.delivered_at is not None,
        _moment(one.delivered_at),
        _moment(one.due_at),
        [_Try(tried.number, timestamp(tried.at), _outcome(tried), _status_class(tried)) for tried in one.tries],
    )


def _delivery_status(one: Delivery) -> str:
    if one.trying:
        return "trying"
    if one.due_at is not None:
        return "due"
    return "given_up" if one.delivered_at is None else "delivered"


_SHOWN_ERRORS = {None: "delivered", "timeout": "timeout", "refused_by_policy": "refused_by_policy"}
"""What is told apart. Anything finer would let callers learn through us what answers on our network."""


def _outcome(tried: DeliveryTry) -> str:
    return _SHOWN_ERRORS.get(tried.error, "failed")


def _status_class(tried: DeliveryTry) -> str | None:
    return None if tried.http_status is None else f"{tried.http_status // 100}xx"


def _moment(at: int | None) -> str | None:
    return None if at is None else timestamp(at)


def _failure(failure: Failure) -> _Error:
    details = UNSET if failure.details is None else failure.details
    return _Error(failure.code, failure.message, details)


def error_body(refusal: Refusal, *, at: int) -> bytes:
    """The envelope of every answer that is not a success; ``at`` is the moment it is given."""
    return _encoder.encode(_Refused(False, _refused(refusal, at)))


def _refused(refusal: Refusal, at: int) -> _Error:
    details = UNSET if refusal.details is None else refusal.details
    return _Error(refusal.code, str(refusal), details, timestamp(at))


def envelope(code: str, message: str, *, at: int, details: Any = UNSET) -> bytes:
    """The envelope from its parts, for what is no refusal."""
    return _encoder.encode(_Refused(False, _Error(code, message, details, timestamp(at))))


def call_body(result: str) -> bytes:
    """The answer to a call; the result is embedded as it was stored."""
    return _encoder.encode(_Called(True, Raw(result)))


def failure_body(failure: Failure, *, at: int) -> bytes:
    """The envelope of a call that failed: what a task's GET would show as ``response.error``, with the moment."""
    details = UNSET if failure.details is None else failure.details
    return envelope(failure.code, failure.message, at=at, details=details)


def timestamp(at: int) -> str:
    """ISO 8601, UTC, three decimals and ``Z``: ``2025-11-10T15:00:00.000Z``."""
    second, millisecond = divmod(at, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


# Most answers of one second share it, and strftime costs more than the rest of a status answer.
@lru_cache(maxsize=4096)
def _second(second: int) -> str:
    moment = gmtime(second)
    # Not %Y: a year before 1000 would lose its zeros with some C libraries.
    return f"{moment.tm_year:04}{strftime('-%m-%dT%H:%M:%S', moment)}"


# Described -----------------------------------------------------------------------------------------------------------


class _Message(Struct):
    """What a webhook is told: a final task, as GET answers it, without the webhook block."""

    task: _Task
    credits: _Credits
    response: Object | _FailedResponse


class _Health(Struct):
    status: Literal["alive", "ready"]


class _Balance(Struct, rename="camel"):
    remaining: int
    per_cycle: int | None
    cycle_resets_at: str | None


class _State(Struct):
    code: str
    name: str


class _Called(Struct):
    success: Literal[True]
    result: Raw


SHAPES: dict[str, Any] = {
    "status": _Status,
    "batch": _BatchAnswer,
    "cleared": _Cleared,
    "now": _Now,
    "tasks": _Tasks,
    "call": _Called,
    "task": _Found,
    "webhook": _Message,
    "wait": _Wait,
    "slots": _Slots,
    "usage": _Usage,
    "capacity": _Capacity,
    "alert": _KeptAlert,
    "alerts": _Alerts,
    "deliveries": _Deliveries,
    "delivery": _Owed,
    "health": _Health,
    "credits": _Balance,
    "countries": list[str],
    "states": list[_State],
}
"""What each successful body consists of, by the name under which an operation refers to it in /openapi.json."""
