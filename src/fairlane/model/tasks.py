"""Tasks: what an application declares about a type, a request to create a task, and views of a task.

Created by handlers' declarations, the API and the store; read by all other modules. A failure is data, also for a call,
and holds only what the organization may see. Only the store changes a task.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from fairlane.model.webhooks import Webhook

PRIORITY_LOWEST = 1
PRIORITY_HIGHEST = 10


class TaskStatus(StrEnum):
    """Where a task is; exactly one holds for every task."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Isolation(StrEnum):
    """Where a handler runs: on the loop or a thread of the worker, or in a killable process of its own."""

    WORKER = "worker"
    PROCESS = "process"


class TaskRule(Struct, frozen=True, kw_only=True):
    """What the application declared about one task type."""

    name: str
    cost: int = 1
    timeout_ms: int = 300_000
    attempts: int = 5
    isolation: Isolation = Isolation.WORKER
    limit: int | None = None
    """Most tasks of this type that run at once across all organizations, or None for no limit."""
    call_cost: int | None = None
    """The cost of a call, or None if it is the cost of a task."""


Catalogue = Mapping[str, TaskRule]
"""Every task type the application registered, by name."""


class NewTask(Struct, frozen=True, kw_only=True):
    """A checked request to create a task. ``payload`` is the text of the JSON object exactly as received."""

    id: str
    task_type: str
    payload: str
    priority: int = PRIORITY_LOWEST
    idempotency_key: str | None = None
    cost: int = 1
    webhook: Webhook | None = None
    run_at: int | None = None
    """The moment before which it must not start; if None, ``delay_ms`` applies."""
    delay_ms: int = 0
    """How long after its acceptance it may start."""
    retry_of: str | None = None
    """The failed task that it repeats, or None if it repeats none."""
    traceparent: str | None = None
    """The span that submits it, or None if it is not traced."""


class Accepted(Struct, frozen=True):
    """The durable answer to one :class:`NewTask`."""

    created_at: int
    run_at: int | None = None
    """None if it may start at once."""


class Failure(Struct, frozen=True, kw_only=True):
    """Why a task failed, as the organization may see it."""

    code: str
    message: str
    details: Any = None


class Told(Struct, frozen=True):
    """Whether a webhook accepted the outcome of its task."""

    url: str
    delivered_at: int | None
    """None if it was not delivered, or not yet."""


class Waited(Struct, frozen=True):
    """How long a task was ready in the queue while its organization waited, before its last start and earlier ones.

    The rest of that time its organization was stopped: paused, disabled, or waiting for credits.
    """

    slot_ms: int
    """Every slot of the organization was in use."""
    worker_ms: int
    """A slot was free, and no worker had a place for any of its tasks."""


class TaskView(Struct, frozen=True, kw_only=True):
    """One task as its organization sees it."""

    id: str
    task_type: str
    status: TaskStatus
    priority: int
    created_at: int
    idempotency_key: str | None
    cost: int
    charged: int | None
    """None until the task is final."""
    latency_ms: int | None
    """From first start to outcome; None until final, and for a task that failed before it ever started."""
    result: str | None
    """JSON text of an object, for COMPLETED only."""
    failure: Failure | None
    """For FAILED only."""
    webhook: Told | None = None
    """None if the task has no webhook."""
    run_at: int | None = None
    """The moment before which it must not start, or None if none was given."""
    retry_of: str | None = None
    """The failed task that it repeats, or None if it repeats none."""
    waited: Waited | None = None
    """None while it is queued, if it ended so, and in lists."""

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)


class TaskFilter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tasks that meet every one of these conditions; None is no condition."""

    status: TaskStatus | None = None
    task_type: str | None = None
    code: str | None = None
    """The code of their failure."""
    group: str | None = None
    """The group of their failure."""
    priority: int | None = None
    accepted_from: int | None = None
    """They were accepted at this moment or later."""
    accepted_before: int | None = None
    key_prefix: str | None = None
    """The beginning of their idempotency key."""

    @property
    def is_open(self) -> bool:
        """Whether it has no condition but perhaps the status."""
        return self == TaskFilter(status=self.status)

    @property
    def is_of_lanes(self) -> bool:
        """Whether lanes lead to its tasks: queued ones, of a type, of a priority, or any."""
        return self == TaskFilter(status=TaskStatus.QUEUED, task_type=self.task_type, priority=self.priority)


class TaskList(Struct, frozen=True):
    """Part of an organization's tasks, newest first, without their results."""

    tasks: tuple[TaskView, ...]
    next_cursor: str | None
    """None on the last page."""


class TaskFacts(Struct, frozen=True, kw_only=True):
    """One task as operators see it: its organization, the session that runs it, and the true cause of a failure."""

    id: str
    organization: str
    task_type: str
    status: TaskStatus
    priority: int
    created_at: int
    idempotency_key: str | None
    cost: int
    charged: int | None
    """None until the task is final."""
    attempt: int | None
    """The attempt that runs now or ran last, or None if it has not started yet."""
    started_at: int | None
    """Its first start, or None if it has not started yet."""
    finished_at: int | None
    due_at: int | None
    """When its pause ends, or None if it is not paused."""
    deadline_at: int | None
    """The deadline of the running attempt, or None if none runs."""
    session: str | None
    """The session that runs it, or None if none does."""
    failure: Failure | None
    """What its organization sees of a failure."""
    cause: str | None
    """What its organization does not see."""
    slot_wait_ms: int | None = None
    """How long it waited for a slot, as in :class:`Waited`; the next one, for a worker. None while it is queued, and if
    it ended so."""
    worker_wait_ms: int | None = None


class TaskPage(Struct, frozen=True):
    """Some tasks, and the place behind which the next page begins, or None on the last page."""

    tasks: tuple[TaskFacts, ...]
    after: tuple[int, str] | None
