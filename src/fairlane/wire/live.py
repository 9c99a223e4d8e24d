"""What viewers of the dashboard receive each second: one organization, or all of them.

Called by the dashboard. The status and the slots in it are the same as in the customers' API.
"""

from collections.abc import Sequence

from msgspec import Raw, Struct

from fairlane.model import live as model
from fairlane.wire.insight import SlotFields, holder
from fairlane.wire.status import status_body
from fairlane.wire.values import encode, timestamp


class _LiveBody(Struct, rename="camel"):
    at: str
    status: Raw
    slots: list[SlotFields]
    slots_bounded: bool
    submitted: int
    completed: int
    failed: int


class _EverythingBody(Struct):
    at: str
    total: model.Total
    busiest: Sequence[model.Busy]


def live_body(one: model.LiveOrganization, *, at: int) -> bytes:
    """Return the state of one organization at one moment, for its viewers."""
    slots = [holder(slot) for slot in one.slots]
    status = Raw(status_body(one.status))
    return encode(_LiveBody(timestamp(at), status, slots, one.slots_bounded, one.submitted, one.completed, one.failed))


def everything_body(busiest: Sequence[model.Busy], total: model.Total, *, at: int) -> bytes:
    """Return the state of all organizations at one moment, for operators, with the model's names as in the operator's
    API.
    """
    return encode(_EverythingBody(timestamp(at), total, busiest))
