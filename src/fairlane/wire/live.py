"""What viewers of the dashboard are sent each second: one organization, or all of them.

The dashboard calls it. The status and the holders in it are those that the customers' API answers.
"""

from collections.abc import Sequence

from msgspec import Raw, Struct

from fairlane.model import live as model
from fairlane.wire.insight import Slot, holder
from fairlane.wire.status import status_body
from fairlane.wire.values import encode, timestamp


class _Live(Struct, rename="camel"):
    at: str
    status: Raw
    slots: list[Slot]
    slots_bounded: bool
    submitted: int
    completed: int
    failed: int


class _Everything(Struct):
    at: str
    total: model.Total
    busiest: Sequence[model.Busy]


def live_body(one: model.LiveOrganization, *, at: int) -> bytes:
    """One moment of an organization, for its viewers."""
    slots = [holder(slot) for slot in one.slots]
    status = Raw(status_body(one.status))
    return encode(_Live(timestamp(at), status, slots, one.slots_bounded, one.submitted, one.completed, one.failed))


def everything_body(busiest: Sequence[model.Busy], total: model.Total, *, at: int) -> bytes:
    """One moment of all organizations, for operators: the model's own spelling, like the operator's API."""
    return encode(_Everything(timestamp(at), total, busiest))
