"""History as customers read it: what happened in a span and in each of its steps.

Called by the API's endpoint. It only writes differences that the store has computed; it adds nothing up.
"""

from msgspec import Struct

from fairlane.model.usage import TypePoint, Usage, UsageByType, UsagePoint
from fairlane.wire.values import MomentText, encode, timestamp


class _UsagePointFields(Struct, rename="camel"):
    at: MomentText
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


class UsageBody(Struct, rename={"start": "from", "end": "to", "step_seconds": "stepSeconds"}):
    start: MomentText
    end: MomentText
    step_seconds: int
    total: _UsagePointFields
    usage: list[_UsagePointFields]


class _TypePointFields(Struct, rename="camel"):
    at: MomentText
    started: int
    completed: int
    failed: int
    wait_p50_seconds: float | None
    wait_p90_seconds: float | None
    wait_p99_seconds: float | None
    run_p50_seconds: float | None
    run_p90_seconds: float | None
    run_p99_seconds: float | None


class _TypeUsageFields(Struct, rename="camel"):
    task_type: str
    total: _TypePointFields
    usage: list[_TypePointFields]


class UsageByTypeBody(Struct, rename={"start": "from", "end": "to", "step_seconds": "stepSeconds"}):
    start: MomentText
    end: MomentText
    step_seconds: int
    types: list[_TypeUsageFields]


def usage_by_type_body(usage: UsageByType, *, step_ms: int) -> bytes:
    """Return the answer of ``GET /v1/async/usage/types``."""
    types = [
        _TypeUsageFields(one.task_type, _type_point(one.total), [_type_point(point) for point in one.points])
        for one in usage.types
    ]
    return encode(UsageByTypeBody(timestamp(usage.start), timestamp(usage.end), step_ms // 1000, types))


def usage_body(usage: Usage, *, step_ms: int) -> bytes:
    """Return the answer of ``GET /v1/async/usage``."""
    total = usage.total
    points = [_usage_point(point) for point in usage.points]
    return encode(UsageBody(timestamp(total.start), timestamp(total.end), step_ms // 1000, _usage_point(total), points))


def _usage_point(point: UsagePoint) -> _UsagePointFields:
    return _UsagePointFields(
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


def _type_point(point: TypePoint) -> _TypePointFields:
    return _TypePointFields(
        timestamp(point.start),
        point.started,
        point.completed,
        point.failed,
        _seconds(point.wait_p50_ms),
        _seconds(point.wait_p90_ms),
        _seconds(point.wait_p99_ms),
        _seconds(point.run_p50_ms),
        _seconds(point.run_p90_ms),
        _seconds(point.run_p99_ms),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
