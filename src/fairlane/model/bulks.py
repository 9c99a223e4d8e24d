"""Bulks: one request to run again, or to cancel, all tasks that a filter chooses, and how far it is.

Begun by customers and operators through the API, worked off by upkeep on any server.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from fairlane.model.tasks import TaskFilter
from fairlane.model.webhooks import Webhook


class BulkKind(StrEnum):
    """What a bulk does with each of its tasks."""

    RETRY = "retry"
    CANCEL = "cancel"


class BulkState(StrEnum):
    """Whether a bulk goes on."""

    RUNNING = "RUNNING"
    DONE = "DONE"
    STOPPED = "STOPPED"


class Skipped(StrEnum):
    """Why a bulk left a task as it is. Codes of refusals are those of a submission."""

    ALREADY_RETRIED = "ALREADY_RETRIED"
    TASK_CANCELED = "TASK_CANCELED"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    INSUFFICIENT_CREDITS = "INSUFFICIENT_CREDITS"
    ORGANIZATION_DISABLED = "ORGANIZATION_DISABLED"
    STATUS_CHANGED = "STATUS_CHANGED"


class NewBulk(Struct, frozen=True, kw_only=True):
    """A checked request to begin a bulk."""

    kind: BulkKind
    chosen: TaskFilter
    organization_id: int | None = None
    """The organization of the tasks; None and no name: all organizations."""
    organization: str | None = None
    """The name of the organization, in place of its id."""
    idempotency_key: str | None = None
    actor: str | None = None
    """The operator that begins it, or None if the organization does."""


class BulkView(Struct, frozen=True, kw_only=True):
    """One bulk as it is now."""

    id: str
    organization: str | None
    """None for all organizations."""
    kind: BulkKind
    state: BulkState
    chosen: TaskFilter
    matched: int
    """Tasks that it came to so far: the sum of the next two."""
    done: int
    """Tasks that it ran again, or canceled."""
    skipped: int
    reasons: Mapping[str, int]
    """How many tasks it skipped, by reason."""
    held_by: str | None
    """``QUEUE_LIMIT_EXCEEDED`` while an organization's queue has no room for more, or else None."""
    began_at: int
    ended_at: int | None
    """None while it runs."""
    idempotency_key: str | None
    actor: str | None
    """The operator that began it, or None if the organization did."""


class BulkList(Struct, frozen=True):
    """Some bulks, newest first, and the id behind which the next page begins, or None on the last page."""

    bulks: tuple[BulkView, ...]
    next_cursor: str | None


class RunningBulk(Struct, frozen=True):
    """A bulk to be worked on."""

    id: str
    kind: BulkKind


class ChosenTask(Struct, frozen=True, kw_only=True):
    """A task that a step of a bulk came to."""

    id: str
    task_type: str
    priority: int
    canceled: bool
    """Whether it failed because it was canceled, and was not chosen for that."""
    place: str
    """The place of the walk that it stands at."""
    payload: str = ""
    """The text of its payload if it is to run again."""
    webhook: Webhook | None = None


class BulkStep(Struct, frozen=True, kw_only=True):
    """The next tasks of one organization in a bulk."""

    bulk_id: str
    kind: BulkKind
    chosen: TaskFilter
    organization_id: int
    place: str | None
    """The place behind which the tasks are, or None for the beginning. It is written again only if it is still this."""
    after: str | None
    """The place behind which the step after it begins, or None if this is the last one."""
    tasks: tuple[ChosenTask, ...]
    held: bool = False
    """Whether the queue still has no room, so that the step has nothing to do."""


class BulkStepped(Struct, frozen=True):
    """What a step changed."""

    done: int
    moved: bool
    """False if another server made the step, or the bulk has ended: nothing was changed."""
    held: bool = False
    """Whether the queue had no room for all tasks of the step."""


class ChosenCount(Struct, frozen=True, kw_only=True):
    """How many tasks a filter chooses."""

    count: int
    retried: int
    """How many of them were run again already, so that a bulk would skip them."""
    complete: bool
    """False if it looked at as many tasks as it may: there may be more."""
