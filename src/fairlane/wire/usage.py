"""History as customers read it: what happened in a span and in each of its steps.

Called by the API's endpoint. It only writes differences that the store has computed; it adds nothing up.
"""

from msgspec import Struct

from fairlane.model.usage import Usage, UsagePoint
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


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
