"""Calls: requests that run now while their caller waits.

The API admits them and waits for them; the store keeps them from admission to end. A call is not a task: it is never
queued and has no status.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.organizations import CreditTotals
from fairlane.model.tasks import Failure


class NewCall(Struct, frozen=True, kw_only=True):
    """A checked request to run now. ``payload`` is the text of the JSON object exactly as received."""

    id: str
    organization_id: int
    task_type: str
    payload: str
    server_id: str
    """The session of the server at which the caller waits."""
    cost: int = 1


class Admitted(Struct, frozen=True, kw_only=True):
    """A call took a slot."""

    slots_used: int
    """Including this call's own slot."""
    slots_max: int
    give_up_at: int
    """After this moment no attempt starts, and the caller gets an answer."""


class EndedCall(Struct, frozen=True, kw_only=True):
    """How a call ended. Exactly one of result and failure is set."""

    organization_id: int
    id: str
    result: str | None
    failure: Failure | None
    charged: int
    credits: CreditTotals | None
    """The organization's credits after the charge, or None if the wait had timed out, so they were not read."""


class Abandoned(StrEnum):
    """What was found when a call was given up."""

    REMOVED = "removed"
    """No worker had it: it is deleted and its slot is free."""
    RUNNING = "running"
    """A worker runs it: its slot stays taken until the attempt ends."""
    ENDED = "ended"
    """It had already ended."""
    GONE = "gone"
    """There is no such call."""
