"""Advice on slots as customers read it: shares of time, projections, and some sentences for people.

Called by the API's endpoints for customers and for operators. Everything that it says about other limits is called an
estimate.
"""

from msgspec import Struct

from fairlane.model.simulation import Capacity, Projection, Waits
from fairlane.wire.values import MomentText, Yes, encode, timestamp


class _ProjectionFields(Struct, rename="camel"):
    max: int
    wait_p50_seconds: float
    wait_p90_seconds: float
    wait_p99_seconds: float


class _MeasuredFields(Struct, rename="camel"):
    wait_p50_seconds: float
    wait_p90_seconds: float
    wait_p99_seconds: float


class _ReplayedFields(Struct, rename="camel"):
    tasks: int
    estimate: Yes
    measured: _MeasuredFields | None
    trusted: bool | None


class CapacityBody(
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
    start: MomentText
    end: MomentText
    max: int | None
    plan_limited_share: float
    worker_limited_share: float
    plan_limited_seconds: float
    worker_limited_seconds: float
    slots_used_average: float
    replayed: _ReplayedFields
    projections: list[_ProjectionFields]


def capacity_body(capacity: Capacity) -> bytes:
    """Return the answer of ``GET /v1/async/capacity``."""
    total = capacity.total
    span_ms = max(1, total.end - total.start)
    return encode(
        CapacityBody(
            _advice(capacity),
            timestamp(total.start),
            timestamp(total.end),
            capacity.slots_max,
            round(total.plan_limited_ms / span_ms, 4),
            round(total.worker_limited_ms / span_ms, 4),
            total.plan_limited_ms / 1000,
            total.worker_limited_ms / 1000,
            round(total.slot_ms / span_ms, 3),
            _ReplayedFields(capacity.tasks, True, _measured(capacity.measured), capacity.trusted),
            [_projection(one) for one in capacity.projections],
        )
    )


def _measured(waits: Waits) -> _MeasuredFields | None:
    if waits.p50_ms is None or waits.p90_ms is None or waits.p99_ms is None:
        return None
    return _MeasuredFields(waits.p50_ms / 1000, waits.p90_ms / 1000, waits.p99_ms / 1000)


def _projection(one: Projection) -> _ProjectionFields:
    return _ProjectionFields(one.slots, one.wait_p50_ms / 1000, one.wait_p90_ms / 1000, one.wait_p99_ms / 1000)


def _advice(capacity: Capacity) -> str:
    """Return the advice as some sentences for people."""
    total = capacity.total
    span_ms = max(1, total.end - total.start)
    plan, workers = total.plan_limited_ms / span_ms, total.worker_limited_ms / span_ms
    said = f"Limited by the plan {plan:.0%} and by workers {workers:.0%} of the last {_span(span_ms)}."
    measured_ms = capacity.measured.p90_ms
    if capacity.enough and measured_ms:
        waited = f"Nine of ten of the last {capacity.tasks} tasks waited less than {_seconds(measured_ms)}"
        return f"{said} {waited}: there is enough of both."
    if capacity.enough:
        return f"{said} Nothing waited: there is enough of both."
    if measured_ms is None or not capacity.projections:
        return said
    return " ".join([said, *_compared(capacity, measured_ms)])


def _compared(capacity: Capacity, measured_ms: int) -> list[str]:
    """Return sentences about what more slots would have done, if the replay can tell."""
    now, *more = capacity.projections
    if not capacity.trusted:
        missing = capacity.total.worker_limited_ms > capacity.total.plan_limited_ms
        cause = "workers were missing" if missing else "such as pauses between attempts, or limits that have changed"
        replayed = (
            f"Replayed with the {now.slots} slots of now, nine of ten of the last {capacity.tasks} tasks wait less"
        )
        compared = f"than {_seconds(now.wait_p90_ms)} where {_seconds(measured_ms)} was measured."
        held_up = f"Something else than slots held them up ({cause}):"
        return [replayed, compared, held_up, "the estimates for more slots are not to be trusted."]
    better = next((one for one in more if one.wait_p90_ms <= now.wait_p90_ms / 2), None) if now.wait_p90_ms else None
    if better is None:
        said = [f"More slots would not have shortened the waits of the last {capacity.tasks} tasks, by an estimate."]
    else:
        less = f"waited less than {_seconds(better.wait_p90_ms)}" if better.wait_p90_ms else "not waited at all"
        tried = f"With {better.slots} slots instead of {now.slots}, and workers enough for them,"
        waited = f"nine of ten of the last {capacity.tasks} tasks would have {less}"
        said = [tried, waited, f"instead of {_seconds(now.wait_p90_ms)}, by an estimate."]
    if 0 < capacity.places < (better or now).slots:
        said.append(f"The workers of now run {capacity.places} at once, of all organizations together.")
    return said


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3g} s"


def _span(span_ms: int) -> str:
    """Return a span of time for people, in the largest of days, hours and minutes that fits at least twice."""
    units = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000))
    unit, unit_ms = next(((unit, ms) for unit, ms in units if span_ms >= 2 * ms), units[-1])
    number = f"{max(1.0, span_ms / unit_ms):.3g}"
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"
