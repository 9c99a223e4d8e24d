"""The attempts at a task, as customers are told: never the cause of a failure, and never a worker.

Called by the API's endpoint.
"""

from typing import Annotated

from msgspec import Meta, Struct

from fairlane.model import attempts as model
from fairlane.wire.tasks import WaitedFields, waited_fields
from fairlane.wire.values import Count, MomentText, Uuid, encode, moment, timestamp


class _AttemptFailureFields(Struct):
    code: str
    message: str


class _AttemptFields(Struct, rename="camel"):
    number: Count
    started_at: MomentText
    ended_at: MomentText | None
    ending: Annotated[str, Meta(extra_json_schema={"enum": [*model.AttemptEnding]})] | None
    failure: _AttemptFailureFields | None
    waited: WaitedFields | None
    next_attempt_at: MomentText | None


class AttemptsBody(Struct, rename="camel"):
    task_id: Uuid
    attempts: list[_AttemptFields]
    omitted: Count


def attempts_body(found: model.AttemptList) -> bytes:
    """Return the answer of ``GET /v1/async/task/{id}/attempts``."""
    return encode(AttemptsBody(found.task, [_attempt(one) for one in found.attempts], found.omitted))


def _attempt(one: model.AttemptFacts) -> _AttemptFields:
    return _AttemptFields(
        one.number,
        timestamp(one.started_at),
        moment(one.ended_at),
        one.ending,
        None if one.code is None else _AttemptFailureFields(one.code, one.message or ""),
        None if one.waited is None else waited_fields(one.waited),
        moment(one.due_at),
    )
