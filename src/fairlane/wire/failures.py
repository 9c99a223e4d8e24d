"""Failures by cause, as customers are told: never an exception's class, a place in the application, or the cause.

Called by the API's endpoint.
"""

from typing import Annotated

from msgspec import Meta, Struct

from fairlane.model import failures as model
from fairlane.model.attempts import AttemptEnding
from fairlane.wire.values import Count, MomentText, Uuid, encode, timestamp


class _FailureHourFields(Struct):
    at: MomentText
    failures: Count
    retried: Count


class _FailureGroupFields(Struct, rename="camel"):
    group: str
    task_type: str | None
    code: str | None
    message: str | None
    ending: Annotated[str, Meta(extra_json_schema={"enum": [*AttemptEnding]})] | None
    failures: Count
    retried: Count
    first_at: MomentText
    last_at: MomentText
    sample_task_id: Uuid | None
    hours: list[_FailureHourFields]


class FailuresBody(Struct):
    failures: list[_FailureGroupFields]
    since: MomentText
    more: bool


def failures_body(found: model.FailureList) -> bytes:
    """Return the answer of ``GET /v1/async/failures``."""
    return encode(FailuresBody([_group(one) for one in found.groups], timestamp(found.since), found.more))


def _group(one: model.FailureFacts) -> _FailureGroupFields:
    return _FailureGroupFields(
        one.group,
        one.task_type,
        one.code,
        None if one.sample is None else one.sample.message,
        one.ending,
        one.failures,
        one.retried,
        timestamp(one.first_at),
        timestamp(one.last_at),
        None if one.sample is None else one.sample.task,
        [_FailureHourFields(timestamp(hour.at), hour.failures, hour.retried) for hour in one.hours],
    )
