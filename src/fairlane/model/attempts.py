"""Attempts at a task, as customers and operators see them.

Written by the store when a lease ends; read by the API.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.tasks import Waited


class AttemptEnding(StrEnum):
    """How an attempt ended."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    """It was past its deadline."""
    WORKER_LOST = "WORKER_LOST"
    """Its worker died, or fell silent."""
    HANDED_BACK = "HANDED_BACK"
    """Its worker returned it unharmed. It does not count, and the next attempt has the same number."""
    CANCELED = "CANCELED"


class AttemptFacts(Struct, frozen=True, kw_only=True):
    """One attempt at a task."""

    number: int
    started_at: int
    ended_at: int | None
    """None while it runs. The next one is also None then."""
    ending: AttemptEnding | None
    code: str | None = None
    """What the organization may see of a failure, as the next one; both are None if the handler named no failure and
    another attempt followed."""
    message: str | None = None
    waited: Waited | None = None
    """How long the task waited for this attempt alone, or None if the attempt before is no longer kept."""
    due_at: int | None = None
    """When the next attempt may start, or None if there was no pause after this one."""
    cause: str | None = None
    """For operators alone, as the next ones."""
    worker: str | None = None
    """The name of its worker, or None if that is not known any more; it is not kept of the attempt that completed."""
    lease: str | None = None


class AttemptList(Struct, frozen=True, kw_only=True):
    """The attempts at one task, the oldest first."""

    task: str
    attempts: tuple[AttemptFacts, ...]
    omitted: int
    """How many earlier ones are no longer kept."""
