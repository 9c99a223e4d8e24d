"""Calls: requests that run now while their caller waits.

The api admits and awaits them, the store keeps them from admission to end. A call is no task: it is never queued and
has no status.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.organizations import Credits
from fairlane.model.tasks import Failure


class NewCall(Struct, frozen=True, kw_only=True):
    """A checked request that wants to run now. ``payload`` is the JSON object's text exactly as received."""

    id: str
    organization_id: int
    task_type: str
    payload: str
    server_id: str
    """The session of the server whose caller waits."""
    cost: int = 1


class Admitted(Struct, frozen=True, kw_only=True):
    """A call took a slot."""

    slots_used: int
    """Including its own."""
    slots_max: int
    give_up_at: int
    """No attempt starts after that, and nobody waits longer."""


class EndedCall(Struct, frozen=True, kw_only=True):
    """How a call ended. Exactly one of result and failure is set."""

    organization_id: int
    id: str
    result: str | None
    failure: Failure | None
    charged: int
    credits: Credits | None
    """What its organization has after the charge; None: its caller waited too long, nobody looked."""


class Abandoned(StrEnum):
    """What giving a call up met."""

    REMOVED = "removed"
    """No worker had it: it is gone, its slot is free."""
    RUNNING = "running"
    """A worker has it: its slot is held to the end of the attempt."""
    ENDED = "ended"
    """It had ended before."""
    GONE = "gone"
    """There is no such call."""
