"""Queue and slots as they are now: the status, and the status with its recount.

Called by the API's endpoints. If fairlane cannot vouch for the concurrency, it is null, never a guess.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from fairlane.model import status as model
from fairlane.wire.errors import FIELD_ERRORS_MOST
from fairlane.wire.values import Count, Moment, Priority, encode, timestamp


# Not a docstring, because readers of /openapi.json would see it.
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


class StatusBody(Struct, rename="camel"):
    queued_tasks: Count
    processing_tasks: Count
    concurrency: Concurrency | None
    priority_breakdown: list[_PriorityCount]
    verification: _Verification | UnsetType = UNSET


def status_body(status: model.QueueStatus) -> bytes:
    """Return the answer of ``GET /v1/async/status``."""
    return encode(_status(status))


def verified_body(verified: model.Verified, *, at: int) -> bytes:
    """Return the answer of ``GET /v1/async/status?verify=true``: the plain status and the differences that the recount
    found.
    """
    differences = [_Difference(one.name, one.kept, one.counted) for one in verified.drift]
    body = _status(verified.status)
    body.verification = _Verification(timestamp(at), len(differences), differences[:FIELD_ERRORS_MOST])
    return encode(body)


def _status(status: model.QueueStatus) -> StatusBody:
    return StatusBody(
        status.queued,
        status.processing,
        concurrency(status.concurrency),
        [_PriorityCount(priority, count) for priority, count in status.priorities],
    )


def concurrency(slots: model.Concurrency | None) -> Concurrency | None:
    """Return slots in use and the limit, or None, which becomes null."""
    return None if slots is None else Concurrency(slots.used, slots.max)
