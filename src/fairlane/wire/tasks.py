"""Tasks as they are answered: accepted, found, listed, cleared, and sent to a webhook.

Called by the API's endpoints and the sender. A result is embedded as it was stored, without reading it; a webhook
receives the same bytes at every try.
"""

from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType

from fairlane.errors import Refusal, ValidationRefused
from fairlane.model.tasks import PRIORITY_LOWEST, Accepted, NewTask, TaskList, TaskStatus, TaskView, Waited
from fairlane.wire.errors import ErrorFields, failed, refused
from fairlane.wire.values import Count, MomentText, Object, Priority, State, Uuid, Yes, encode, moment, timestamp


class _TaskFields(Struct, rename="camel"):
    id: Uuid
    task_type: str
    status: State
    priority: Priority
    created_at: MomentText
    latency_ms: Count | None
    idempotency_key: str | None
    run_at: MomentText | UnsetType = UNSET
    retry_of: Uuid | UnsetType = UNSET


class _CreditsFields(Struct, rename="camel"):
    credits_to_charge: Count
    credits_charged: Count | None


class _CreatedBody(Struct):
    success: Yes
    task: _TaskFields
    credits: _CreditsFields


class _SummaryFields(Struct):
    total: Count
    succeeded: Count
    failed: Count


class _ItemFields(Struct):
    """Either ``task`` and ``credits``, or ``error``."""

    success: bool
    index: Count
    task: "_TaskFields | UnsetType" = UNSET
    credits: "_CreditsFields | UnsetType" = UNSET
    error: ErrorFields | UnsetType = UNSET


class BatchBody(Struct):
    success: Yes
    summary: _SummaryFields
    results: list[_ItemFields]


class ClearedBody(Struct):
    success: Yes
    cleared: Count


class _FailedResponseFields(Struct):
    error: ErrorFields


class _WebhookFields(Struct, rename="camel"):
    url: str
    delivered_at: MomentText | None
    delivered: bool


# Not a docstring, because readers of /openapi.json would see it.
class WaitedFields(Struct, rename="camel"):
    for_slot_ms: Count
    for_worker_ms: Count


class TaskBody(Struct):
    task: _TaskFields
    credits: _CreditsFields
    waited: WaitedFields | UnsetType = UNSET
    webhook: _WebhookFields | UnsetType = UNSET
    response: Object | _FailedResponseFields | UnsetType = UNSET


class _ListedFields(Struct):
    task: _TaskFields
    credits: _CreditsFields
    code: str | None
    """The code of the failure, or None if the task did not fail."""


class TasksBody(Struct, rename="camel"):
    tasks: list[_ListedFields]
    next_cursor: str | None


class ChangedTaskBody(Struct):
    """A task as it is now, after a request that changed it or waited for it."""

    success: Yes
    task: _TaskFields
    credits: _CreditsFields
    waited: WaitedFields | UnsetType = UNSET
    webhook: _WebhookFields | UnsetType = UNSET
    response: Object | _FailedResponseFields | UnsetType = UNSET


class WebhookBody(Struct):
    """The message to a webhook: a final task as GET answers it, without the blocks webhook and waited."""

    task: _TaskFields
    credits: _CreditsFields
    response: Object | _FailedResponseFields


def created_body(task: NewTask, accepted: Accepted) -> bytes:
    """Return the answer to an accepted task: always QUEUED, even if a worker takes it at the same moment."""
    return encode(_CreatedBody(True, *_created(task, accepted)))


def _created(task: NewTask, accepted: Accepted) -> tuple[_TaskFields, _CreditsFields]:
    created_at = timestamp(accepted.created_at)
    return (
        _TaskFields(
            task.id,
            task.task_type,
            TaskStatus.QUEUED,
            task.priority,
            created_at,
            None,
            task.idempotency_key,
            UNSET if accepted.run_at is None else timestamp(accepted.run_at),
            task.retry_of or UNSET,
        ),
        _CreditsFields(task.cost, None),
    )


def batch_body(items: Sequence[tuple[NewTask, Accepted] | Refusal], *, at: int) -> bytes:
    """Return the answer to a batch: the outcome of each item, in the order of the request."""
    results = [_item(index, item, at) for index, item in enumerate(items)]
    succeeded = sum(result.success for result in results)
    return encode(BatchBody(True, _SummaryFields(len(items), succeeded, len(items) - succeeded), results))


def _item(index: int, item: tuple[NewTask, Accepted] | Refusal, at: int) -> _ItemFields:
    if not isinstance(item, Refusal):
        return _ItemFields(True, index, *_created(*item))
    if isinstance(item, ValidationRefused):
        # In a batch item the details are an object, in a single refusal an array (contract, 4).
        message, details = f"Invalid task at index {index}", {"errors": item.details}
        return _ItemFields(False, index, error=ErrorFields(item.code, message, details, timestamp(at)))
    return _ItemFields(False, index, error=refused(item, at))


def cleared_body(cleared: int) -> bytes:
    """Return the answer to ``DELETE /v1/async/queue``."""
    return encode(ClearedBody(True, cleared))


def tasks_body(page: TaskList) -> bytes:
    """Return one page of an organization's tasks, each as GET answers it but of its failure only the code."""
    listed = [
        _ListedFields(found.task, found.credits, None if one.failure is None else one.failure.code)
        for one, found in zip(page.tasks, map(_found, page.tasks), strict=True)
    ]
    return encode(TasksBody(listed, page.next_cursor))


def task_body(task: TaskView) -> bytes:
    """Return the answer of ``GET /v1/async/task/{id}``; the result is embedded as it was stored."""
    return encode(_found_and_told(task))


def changed_task_body(task: TaskView) -> bytes:
    """Return the answer to a request that changed a task or waited for it: what GET answers, and that it succeeded."""
    found = _found_and_told(task)
    return encode(ChangedTaskBody(True, found.task, found.credits, found.waited, found.webhook, found.response))


def _found_and_told(task: TaskView) -> TaskBody:
    found = _found(task)
    if task.waited is not None:
        found.waited = waited_fields(task.waited)
    if task.webhook is not None and task.status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
        delivered_at = task.webhook.delivered_at
        found.webhook = _WebhookFields(task.webhook.url, moment(delivered_at), delivered_at is not None)
    return found


def waited_fields(waited: Waited) -> WaitedFields:
    """Return how long a task waited."""
    return WaitedFields(waited.slot_ms, waited.worker_ms)


def webhook_body(task: TaskView) -> bytes:
    """Return the message to a webhook about a final task: GET's answer without the blocks webhook and waited, the same
    at every try.
    """
    return encode(_found(task))


def test_event_body(delivery_id: str, *, at: int) -> bytes:
    """Return the message of a webhook test: it has the shape of a task that does not exist."""
    task = _TaskFields(delivery_id, "WEBHOOK_TEST", TaskStatus.COMPLETED, PRIORITY_LOWEST, timestamp(at), 0, None)
    return encode(TaskBody(task, _CreditsFields(0, 0), response=Raw(b'{"test":true}')))


def _found(task: TaskView) -> TaskBody:
    found = TaskBody(
        _TaskFields(
            task.id,
            task.task_type,
            task.status,
            task.priority,
            timestamp(task.created_at),
            task.latency_ms,
            task.idempotency_key,
            UNSET if task.run_at is None else timestamp(task.run_at),
            task.retry_of or UNSET,
        ),
        _CreditsFields(task.cost, task.charged),
    )
    if task.result is not None:
        found.response = Raw(task.result)
    elif task.failure is not None:
        found.response = _FailedResponseFields(failed(task.failure))
    return found
