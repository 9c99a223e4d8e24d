"""Bulks as they are asked for and answered: what is done with which tasks, and how far it is.

Called by the API's endpoints.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from fairlane.errors import ValidationRefused
from fairlane.model.bulks import BulkKind, BulkList, BulkState, BulkView, ChosenCount, Skipped
from fairlane.model.tasks import TaskFilter, TaskStatus
from fairlane.wire.filters import FILTER_FIELDS, OF_FAILURES, filter_fields, read_filter
from fairlane.wire.submissions import IDEMPOTENCY_KEY_LENGTH
from fairlane.wire.values import Count, MomentText, Uuid, Yes, encode, moment, timestamp

BULK_STATUSES = {BulkKind.RETRY: (TaskStatus.FAILED,), BulkKind.CANCEL: (TaskStatus.QUEUED, TaskStatus.PROCESSING)}
"""The statuses of tasks that each kind of bulk can choose."""
BULK_KEY = "idempotencyKey"


def read_bulk(document: Any, kind: BulkKind) -> tuple[TaskFilter, str | None]:
    """Read the body of a request for a bulk: the fields of a filter, and perhaps a key. Return both.

    Raises:
        ValidationRefused: lists every field that is wrong.
    """
    if type(document) is not dict:
        raise ValidationRefused.at("body", "must be a JSON object")
    for field in document:
        if field not in (*FILTER_FIELDS, BULK_KEY):
            raise ValidationRefused.at(field, "is not a known field")
    key = document.get(BULK_KEY)
    if BULK_KEY in document and not (type(key) is str and 1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH):
        raise ValidationRefused.at(BULK_KEY, f"must be a string of 1 to {IDEMPOTENCY_KEY_LENGTH} characters")
    for field in OF_FAILURES if kind is BulkKind.CANCEL else ():
        if field in document:
            raise ValidationRefused.at(field, "goes with status FAILED, and tasks that failed cannot be canceled")
    chosen = read_filter(document, statuses=BULK_STATUSES[kind])
    if kind is BulkKind.RETRY and chosen.status is None:
        return read_filter({**document, "status": TaskStatus.FAILED.value}), key
    return chosen, key


class _BulkFields(Struct, rename="camel"):
    id: Uuid
    kind: Annotated[str, Meta(extra_json_schema={"enum": [*BulkKind]})]
    state: Annotated[str, Meta(extra_json_schema={"enum": [*BulkState]})]
    filter: dict[str, str | int]
    matched: Count
    done: Count
    skipped: Count
    reasons: Annotated[dict[str, int], Meta(extra_json_schema={"propertyNames": {"enum": [*Skipped]}})]
    held_by: str | None
    began_at: MomentText
    ended_at: MomentText | None
    idempotency_key: str | None


class BulkBody(Struct):
    bulk: _BulkFields


class ChangedBulkBody(Struct):
    success: Yes
    bulk: _BulkFields


class BulksBody(Struct, rename="camel"):
    bulks: list[_BulkFields]
    next_cursor: str | None


class TaskCountBody(Struct):
    count: Count
    retried: Count
    complete: bool


def bulk_body(bulk: BulkView) -> bytes:
    """Return one bulk."""
    return encode(BulkBody(_bulk(bulk)))


def changed_bulk_body(bulk: BulkView) -> bytes:
    """Return a bulk that was begun or stopped."""
    return encode(ChangedBulkBody(True, _bulk(bulk)))


def bulks_body(page: BulkList) -> bytes:
    """Return one page of an organization's bulks."""
    return encode(BulksBody([_bulk(one) for one in page.bulks], page.next_cursor))


def task_count_body(count: ChosenCount) -> bytes:
    """Return how many tasks a filter chooses."""
    return encode(TaskCountBody(count.count, count.retried, count.complete))


def _bulk(bulk: BulkView) -> _BulkFields:
    return _BulkFields(
        bulk.id,
        bulk.kind,
        bulk.state,
        filter_fields(bulk.chosen),
        bulk.matched,
        bulk.done,
        bulk.skipped,
        dict(bulk.reasons),
        bulk.held_by,
        timestamp(bulk.began_at),
        moment(bulk.ended_at),
        bulk.idempotency_key,
    )
