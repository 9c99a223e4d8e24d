"""Queue and slots as they are now: the status, and the status with its recount.

Called by the API's endpoints. If fairlane cannot vouch for the concurrency, it is null, never a guess.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from fairlane.model import status as model
from fairlane.wire.errors import FIELD_ERRORS_MOST
from fairlane.wire.values import Count, MomentText, Priority, encode, timestamp


# Not a docstring, because readers of /openapi.json would see it.
class ConcurrencyFields(Struct):
    used: Count
    max: Annotated[int, Meta(ge=1)]


class _PriorityCountFields(Struct):
    priority: Priority
    count: Annotated[int, Meta(ge=1)]


class _DifferenceFields(Struct, rename="camel"):
    name: str
    kept: int
    counted: int


class _VerificationFields(Struct, rename="camel"):
    checked_at: MomentText
    drift: Count
    differences: list[_DifferenceFields]


class StatusBody(Struct, rename="camel"):
    queued_tasks: Count
    processing_tasks: Count
    concurrency: ConcurrencyFields | None
    priority_breakdown: list[_PriorityCountFields]
    verification: _VerificationFields | UnsetType = UNSET


def status_body(status: model.QueueStatus) -> bytes:
    """Return the answer of ``GET /v1/async/status``."""
    return encode(_status(status))


def verified_body(verified: model.Verified, *, at: int) -> bytes:
    """Return the answer of ``GET /v1/async/status?verify=true``: the plain status and the differences that the recount
    found.
    """
    differences = [_DifferenceFields(one.name, one.kept, one.counted) for one in verified.drift]
    body = _status(verified.status)
    body.verification = _VerificationFields(timestamp(at), len(differences), differences[:FIELD_ERRORS_MOST])
    return encode(body)


def _status(status: model.QueueStatus) -> StatusBody:
    return StatusBody(
        status.queued,
        status.processing,
        concurrency(status.concurrency),
        [_PriorityCountFields(priority, count) for priority, count in status.priorities],
    )


def concurrency(slots: model.SlotUse | None) -> ConcurrencyFields | None:
    """Return slots in use and the limit, or None, which becomes null."""
    return None if slots is None else ConcurrencyFields(slots.used, slots.max)
