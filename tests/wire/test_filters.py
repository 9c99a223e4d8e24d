"""Filters as callers write them: what is read, and what is refused."""

from typing import Any

import pytest

from fairlane.errors import ValidationRefused
from fairlane.model.tasks import TaskFilter, TaskStatus
from fairlane.wire.filters import filter_fields, filter_of_query, read_filter

WHOLE = {
    "status": "FAILED",
    "type": "PAGE",
    "code": "BROKEN",
    "group": "fg_1",
    "priority": 5,
    "from": "2026-11-30T09:00:00.000Z",
    "to": "2026-11-30T10:00:00.000Z",
    "idempotencyKeyPrefix": "job-",
}


def test_a_filter_is_read_and_written() -> None:
    """From a body and from a query; what is written is what was read."""
    found = read_filter(WHOLE)

    assert found.priority == 5
    assert found.accepted_before == (found.accepted_from or 0) + 3_600_000
    assert filter_of_query({field: str(value) for field, value in WHOLE.items()}) == found
    assert filter_fields(found) == WHOLE
    assert read_filter({}) == TaskFilter()
    assert filter_fields(TaskFilter()) == {}


def test_only_failed_tasks_have_a_code() -> None:
    """A code chooses the failed tasks, and no other status goes with it."""
    assert read_filter({"code": "BROKEN"}).status is TaskStatus.FAILED
    with pytest.raises(ValidationRefused) as caught:
        read_filter({"code": "BROKEN", "status": "QUEUED"})
    assert caught.value.details == [
        {"field": "code", "message": "goes with status FAILED: tasks with status QUEUED have no code"}
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "failed"), ("status", None), ("status", 5), ("type", ""), ("type", "x" * 101), ("code", 5),
        ("priority", 0), ("priority", 11), ("priority", True), ("priority", "x"), ("from", "yesterday"), ("to", 5),
        ("from", "2026-11-30T09:00:00+01:00"), ("idempotencyKeyPrefix", ""), ("idempotencyKeyPrefix", "x" * 256),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_named(field: str, value: Any) -> None:
    """With what it must be."""
    with pytest.raises(ValidationRefused) as caught:
        read_filter({field: value})

    assert [one["field"] for one in caught.value.details] == [field]


def test_a_span_of_time_is_in_order() -> None:
    """A filter that can find nothing is a mistake."""
    with pytest.raises(ValidationRefused) as caught:
        read_filter({"from": WHOLE["to"], "to": WHOLE["to"]})

    assert caught.value.details == [{"field": "from", "message": "must be before to"}]
