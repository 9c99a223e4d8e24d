"""Failures by cause, as operators see them; customers see a part of it.

Counted by the store while it settles; read by the API.
"""

from msgspec import Struct

from fairlane.model.attempts import AttemptEnding


class FailureCount(Struct, frozen=True):
    """One group's failures in one hour."""

    at: int
    """When the hour begins."""
    failures: int
    """Tasks that ended."""
    retried: int
    """Attempts that another one followed."""


class FailureSample(Struct, frozen=True, kw_only=True):
    """A task that failed, the newest of its group."""

    task: str
    organization: str
    message: str | None
    """What the organization may see."""
    cause: str | None
    """For operators alone."""


class FailureFacts(Struct, frozen=True, kw_only=True):
    """Failures with the same cause. The group of those that were not told apart has neither type nor code."""

    group: str
    task_type: str | None
    code: str | None
    ending: AttemptEnding | None
    exception: str | None
    """The class of the exception, or None if there was none. It is for operators alone, as the next two."""
    place: str | None
    """The innermost function of the application, as ``module:function``."""
    line: int | None
    failures: int
    """Tasks that ended."""
    retried: int
    """Attempts that another one followed."""
    organizations: int
    first_at: int
    last_at: int
    sample: FailureSample | None
    """None if that task is no longer kept."""
    hours: tuple[FailureCount, ...]
    """The oldest first, without hours in which nothing failed."""


class FailureList(Struct, frozen=True):
    """Groups of failures, those with most failures first."""

    groups: tuple[FailureFacts, ...]
    since: int
    """When the first hour begins that was asked for."""
    more: bool
    """Whether there are more groups."""
    complete_from: int | None = None
    """The moment from which every failure is counted; earlier ones are left out, because the counts are too many. None
    if all since ``since`` are counted."""
