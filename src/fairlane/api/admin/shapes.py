"""What the operator's routes share: names, limits, pages, and how an answer is written."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import UNSET, Struct
from msgspec.json import encode

from fairlane.api.http import Answer
from fairlane.api.messages import check_between
from fairlane.errors import ValidationRefused
from fairlane.handlers import TYPE_NAME
from fairlane.model.tasks import PRIORITY_HIGHEST, PRIORITY_LOWEST

BODY_BYTES_MOST = 64 * 1024
SLOTS_MOST = 1_000_000
QUEUE_LIMIT_MOST = 1_000_000_000
WEIGHT_MOST = 1_000
TYPES_MOST = 100
MONTHLY_CREDITS_MOST = 10**12
RATE_LIMIT_MOST = 1_000_000
RETENTION_SECONDS_MOST = 10 * 366 * 86_400

PAGE = 1_000
PAGE_MOST = 1_000

_RANGES = {
    "slots": (1, SLOTS_MOST),
    "queue_limit": (1, QUEUE_LIMIT_MOST),
    "weight": (1, WEIGHT_MOST),
    "priority_limit": (PRIORITY_LOWEST, PRIORITY_HIGHEST),
    "monthly_credits": (0, MONTHLY_CREDITS_MOST),
    "rate_limit": (1, RATE_LIMIT_MOST),
    "retention_seconds": (0, RETENTION_SECONDS_MOST),
}
"""The smallest and the largest value of each limit."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Record = TypeVar("Record")


def answer(record: object, *, status: int = 200) -> Answer:
    """Return a record, or something made of records, as JSON."""
    return Answer(encode(record), status)


def page(name: str, found: Sequence[Record], most: int, cursor: Callable[[Record], str]) -> dict[str, object]:
    """Return at most this many of the found records and, if there are more, the cursor of the next page."""
    shown: dict[str, object] = {name: found[:most]}
    if len(found) > most:
        shown["cursor"] = cursor(found[most - 1])
    return shown


def check_name(name: str) -> None:
    """Refuse a name that could not be used in a path, a flag or a table."""
    if not _NAME.fullmatch(name):
        raise ValidationRefused.at(
            "name", "must be 1 to 64 letters, digits, dots, dashes or underscores, no sign first"
        )


def check_limits(limits: Struct) -> None:
    """Refuse limits out of range in the fields of a body; UNSET and None are not limits."""
    given = {field: getattr(limits, field) for field in (*_RANGES, "task_types")}
    given = {field: value for field, value in given.items() if value is not None and value is not UNSET}
    if given.get("slots") == 0:
        raise ValidationRefused.at("slots", "must be 1 or more: clients divide by it. To start nothing, pause instead")
    types = given.pop("task_types", None)
    if types is not None and not (1 <= len(types) <= TYPES_MOST and all(map(TYPE_NAME.fullmatch, types))):
        raise ValidationRefused.at("task_types", f"must be 1 to {TYPES_MOST} names of task types, such as PAGE")
    for field, value in given.items():
        check_between(field, value, *_RANGES[field])
