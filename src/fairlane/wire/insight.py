"""Why a task waits and what holds the slots, as customers are told.

Called by the API's endpoints. A reason is written as its name and as a sentence for people; the documentation says
what to do about it.
"""

from typing import Annotated

from msgspec import Meta, Struct

from fairlane.model import insight as model
from fairlane.model.leases import Progress
from fairlane.wire.status import ConcurrencyFields, concurrency
from fairlane.wire.values import Count, MomentText, Priority, State, Uuid, encode, moment, timestamp

_EXPLANATIONS = {
    model.WaitReason.ORGANIZATION_AT_LIMIT: "every slot of the organization is in use",
    model.WaitReason.TYPE_AT_LIMIT: "this type is at its limit, over all organizations",
    model.WaitReason.WORKERS_BUSY: "every worker that serves this type is busy",
    model.WaitReason.FAIR_TURN: "it is the turn of other organizations",
    model.WaitReason.STARTING: "it is about to start",
    model.WaitReason.DELAYED: "it is to start later",
    model.WaitReason.RETRY_PAUSE: "it pauses before its next attempt",
    model.WaitReason.CREDITS_HELD: "running tasks hold the credits",
    model.WaitReason.TYPE_UNSERVED: "no live worker serves this type",
    model.WaitReason.ORGANIZATION_PAUSED: "the organization is paused",
    model.WaitReason.LIMIT_UNKNOWN: "the organization's plan has no slots yet",
    model.WaitReason.RUNNING: "it runs",
    model.WaitReason.FINISHED: "it is over",
}


class _EstimateFields(Struct, rename="camel"):
    p50_seconds: float
    p90_seconds: float


class _ProgressFields(Struct, rename="camel"):
    fraction: float | None
    done: float | None
    total: float | None
    note: str | None
    at: MomentText


class WaitBody(Struct, rename="camel"):
    task_id: Uuid
    task_type: str
    status: State
    reason: Annotated[str, Meta(extra_json_schema={"enum": [*model.WaitReason]})]
    explanation: str
    until: MomentText | None
    tasks_ahead: Count | None
    tasks_ahead_bounded: bool
    estimate: _EstimateFields | None
    progress: _ProgressFields | None


def wait_body(wait: model.Wait) -> bytes:
    """Return the answer of ``GET /v1/async/task/{id}/wait``."""
    estimate = wait.estimate
    return encode(
        WaitBody(
            wait.task_id,
            wait.task_type,
            wait.status,
            wait.reason,
            _EXPLANATIONS[wait.reason],
            moment(wait.until),
            wait.ahead,
            wait.ahead_bounded,
            None if estimate is None else _EstimateFields(estimate.p50_ms / 1000, estimate.p90_ms / 1000),
            _progress(wait.progress),
        )
    )


# Not a docstring, because readers of /openapi.json would see it.
class SlotFields(Struct, rename="camel"):
    kind: Annotated[str, Meta(extra_json_schema={"enum": ["task", "call"]})]
    id: Uuid
    task_id: Uuid | None
    task_type: str
    priority: Priority
    attempt: Count
    attempts: Count
    started_at: MomentText
    deadline_at: MomentText
    progress: _ProgressFields | None


class SlotsBody(Struct, rename="camel"):
    concurrency: ConcurrencyFields | None
    slots: list[SlotFields]
    next_cursor: str | None


def slots_body(slots: model.Slots, next_cursor: str | None) -> bytes:
    """Return the answer of ``GET /v1/async/slots``."""
    return encode(SlotsBody(concurrency(slots.concurrency), [holder(one) for one in slots.slots], next_cursor))


def holder(one: model.Slot) -> SlotFields:
    """Return the task or call that holds a slot."""
    return SlotFields(
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


def _progress(progress: Progress | None) -> _ProgressFields | None:
    if progress is None:
        return None
    done, total = progress.done, progress.total
    fraction = done if total is None else done / total if total else None
    shown = None if total is None else done
    return _ProgressFields(fraction, shown, total, progress.note, timestamp(progress.at))
