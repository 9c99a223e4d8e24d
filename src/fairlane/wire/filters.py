"""Filters of tasks as callers write them: the query of a list, or the body of a request for many tasks.

Called by the API's endpoints, for customers and operators. All wrong fields are reported together.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from fairlane.errors import ValidationRefused
from fairlane.model.tasks import PRIORITY_HIGHEST, PRIORITY_LOWEST, TaskFilter, TaskStatus
from fairlane.wire.errors import FIELD_ERRORS_MOST
from fairlane.wire.submissions import IDEMPOTENCY_KEY_LENGTH
from fairlane.wire.values import read_moment, timestamp

KEY_PREFIX = "idempotencyKeyPrefix"
FILTER_FIELDS = ("status", "type", "code", "group", "priority", "from", "to", KEY_PREFIX)
"""The conditions of a filter. Every combination works, except that only failed tasks have a code and a group."""
OF_FAILURES = ("code", "group")
"""Conditions that only failed tasks meet."""
FILTER_TEXT_LENGTH_MOST = 100
"""Longest type, code and group."""


def read_filter(given: Mapping[str, Any], *, statuses: Collection[TaskStatus] = tuple(TaskStatus)) -> TaskFilter:
    """Read the fields of a filter, and ignore other fields. A filter with a code or a group has the status FAILED.

    Raises:
        ValidationRefused: lists every field that is wrong.
    """
    moments = read_span(given, [*_wrong_fields(given, statuses)])
    status = given.get("status", TaskStatus.FAILED if any(field in given for field in OF_FAILURES) else None)
    return TaskFilter(
        status=None if status is None else TaskStatus(status),
        task_type=given.get("type"),
        code=given.get("code"),
        group=given.get("group"),
        priority=given.get("priority"),
        accepted_from=moments.get("from"),
        accepted_before=moments.get("to"),
        key_prefix=given.get(KEY_PREFIX),
    )


def read_span(given: Mapping[str, Any], wrong: list[tuple[str, str]]) -> dict[str, int]:
    """Read ``from`` and ``to`` of a filter, as far as they are given. ``wrong`` are the other fields that are wrong.

    Raises:
        ValidationRefused: lists every field that is wrong.
    """
    moments: dict[str, int] = {}
    for field in ("from", "to"):
        if field in given:
            try:
                moments[field] = read_moment(given[field] if type(given[field]) is str else "", field)
            except ValidationRefused as refusal:
                wrong += [(one["field"], one["message"]) for one in refusal.details]
    if len(moments) == 2 and moments["from"] >= moments["to"]:
        wrong.append(("from", "must be before to"))
    refuse(wrong)
    return moments


def refuse(wrong: Iterable[tuple[str, str]]) -> None:
    """Refuse these fields, each with what is wrong with it; do nothing if there are none.

    Raises:
        ValidationRefused: lists every field.
    """
    if details := [{"field": field, "message": message} for field, message in islice(wrong, FIELD_ERRORS_MOST)]:
        raise ValidationRefused(details=details)


def filter_of_query(query: Mapping[str, str], *, key_field: str = KEY_PREFIX) -> TaskFilter:
    """Read the filter in a query. ``key_field`` is the parameter with the beginning of the key.

    Raises:
        ValidationRefused: lists every parameter that is wrong.
    """
    given: dict[str, Any] = {field: query[field] for field in FILTER_FIELDS if field in query}
    if key_field in query:
        given[KEY_PREFIX] = query[key_field]
    if "priority" in given and given["priority"].isascii() and given["priority"].isdigit():
        given["priority"] = int(given["priority"][:9])
    return read_filter(given)


def filter_fields(chosen: TaskFilter) -> dict[str, str | int]:
    """Return a filter as callers write it."""
    moments = {"from": chosen.accepted_from, "to": chosen.accepted_before}
    fields = {
        "status": chosen.status,
        "type": chosen.task_type,
        "code": chosen.code,
        "group": chosen.group,
        "priority": chosen.priority,
        **{field: None if at is None else timestamp(at) for field, at in moments.items()},
        KEY_PREFIX: chosen.key_prefix,
    }
    return {field: value for field, value in fields.items() if value is not None}


def _wrong_fields(given: Mapping[str, Any], statuses: Collection[TaskStatus]) -> Iterator[tuple[str, str]]:
    status = given.get("status")
    if "status" in given and (type(status) is not str or status not in statuses):
        yield "status", f"must be one of {', '.join(statuses)}"
    elif status not in (None, TaskStatus.FAILED):
        for field in OF_FAILURES:
            if field in given:
                yield field, f"goes with status FAILED: tasks with status {status} have no {field}"
    for field, most in (
        ("type", FILTER_TEXT_LENGTH_MOST),
        ("code", FILTER_TEXT_LENGTH_MOST),
        ("group", FILTER_TEXT_LENGTH_MOST),
        (KEY_PREFIX, IDEMPOTENCY_KEY_LENGTH),
    ):
        if field in given and not (type(given[field]) is str and 1 <= len(given[field]) <= most):
            yield field, f"must be a string of 1 to {most} characters"
    priority = given.get("priority")
    if "priority" in given and not (type(priority) is int and PRIORITY_LOWEST <= priority <= PRIORITY_HIGHEST):
        yield "priority", f"must be an integer from {PRIORITY_LOWEST} to {PRIORITY_HIGHEST}"
