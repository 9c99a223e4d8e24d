"""Why a task waits and who holds the slots, as customers are told.

The api's endpoints call it. A reason is written by its name; what it means and what to do about it is the
documentation's part, never a body's.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from fairlane.model import insight as model
from fairlane.model.leases import Progress
from fairlane.wire.status import Concurrency, concurrency
from fairlane.wire.values import Count, Moment, Priority, State, Uuid, encode, moment, timestamp


class _Estimate(Struct, rename="camel"):
    p50_seconds: float
    p90_seconds: float


class _Progress(Struct, rename="camel"):
    fraction: float | None
    done: float | None
    total: float | None
    note: str | None
    at: Moment


class _Wait(Struct, rename="camel"):
    task_id: Uuid
    task_type: str
    status: State
    reason: Annotated[str, Meta(extra_json_schema={"enum": [*model.WaitReason]})]
    until: Moment | None
    tasks_ahead: Count | None
    tasks_ahead_bounded: bool
    estimate: _Estimate | None
    progress: _Progress | None


def wait_body(wait: model.Wait) -> bytes:
    """The answer of ``GET /v1/async/task/{id}/wait``."""
    estimate = wait.estimate
    return encode(
        _Wait(
            wait.task_id,
            wait.task_type,
            wait.status,
            wait.reason,
            moment(wait.until),
            wait.ahead,
            wait.ahead_bounded,
            None if estimate is None else _Estimate(estimate.p50_ms / 1000, estimate.p90_ms / 1000),
            _progress(wait.progress),
        )
    )


# Its docstring would be told to the readers of /openapi.json.
class Slot(Struct, rename="camel"):
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
    concurrency: Concurrency | None
    slots: list[Slot]
    next_cursor: str | None


def slots_body(slots: model.Slots, next_cursor: str | None) -> bytes:
    """The answer of ``GET /v1/async/slots``."""
    return encode(_Slots(concurrency(slots.concurrency), [holder(one) for one in slots.slots], next_cursor))


def holder(one: model.Slot) -> Slot:
    """Who holds a slot."""
    return Slot(
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


def _progress(progress: Progress | None) -> _Progress | None:
    if progress is None:
        return None
    done, total = progress.done, progress.total
    fraction = done if total is None else done / total if total else None
    shown = None if total is None else done
    return _Progress(fraction, shown, total, progress.note, timestamp(progress.at))


SHAPES: dict[str, Any] = {"wait": _Wait, "slots": _Slots}
