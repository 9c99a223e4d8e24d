"""Queue and slots as they are now: the status, the status with its recount, and what viewers of the dashboard watch.

The api's endpoints and the dashboard call it. A concurrency that nobody can vouch for is null, never a guess.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from fairlane.model import status as model
from fairlane.wire.errors import FIELD_ERRORS_MOST
from fairlane.wire.values import Count, Moment, Priority, encode, timestamp


# Its docstring would be told to the readers of /openapi.json.
class Concurrency(Struct):
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
    concurrency: Concurrency | None
    priority_breakdown: list[_PriorityCount]
    verification: _Verification | UnsetType = UNSET


def status_body(status: model.QueueStatus) -> bytes:
    """The answer of ``GET /v1/async/status``."""
    return encode(_status(status))


def verified_body(verified: model.Verified, *, at: int) -> bytes:
    """The answer of ``GET /v1/async/status?verify=true``: the plain one, and what the recount found beside it."""
    differences = [_Difference(one.name, one.kept, one.counted) for one in verified.drift]
    body = _status(verified.status)
    body.verification = _Verification(timestamp(at), len(differences), differences[:FIELD_ERRORS_MOST])
    return encode(body)


def _status(status: model.QueueStatus) -> _Status:
    return _Status(
        status.queued,
        status.processing,
        concurrency(status.concurrency),
        [_PriorityCount(priority, count) for priority, count in status.priorities],
    )


def concurrency(slots: model.Concurrency | None) -> Concurrency | None:
    """Slots in use and the limit; None: null."""
    return None if slots is None else Concurrency(slots.used, slots.max)


class _Live(Struct, rename="camel"):
    at: str
    status: Raw
    submitted: int
    completed: int
    failed: int


class _Everything(Struct):
    at: str
    total: model.Total
    busiest: Sequence[model.Busy]


def live_body(one: model.LiveOrganization, *, at: int) -> bytes:
    """One moment of an organization, for its viewers."""
    status = Raw(status_body(one.status))
    return encode(_Live(timestamp(at), status, one.submitted, one.completed, one.failed))


def everything_body(busiest: Sequence[model.Busy], total: model.Total, *, at: int) -> bytes:
    """One moment of all organizations, for operators: the model's own spelling, like the operator's API."""
    return encode(_Everything(timestamp(at), total, busiest))


SHAPES: dict[str, Any] = {"status": _Status}
