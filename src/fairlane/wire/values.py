"""Single values as customers write and read them: moments, and types that tell /openapi.json more than Python's own.

Used by every module of the wire. Nothing here knows what a value is for or which field it belongs to.
"""

from datetime import datetime
from functools import lru_cache
from time import gmtime, strftime
from typing import Annotated

from msgspec import Meta, Raw
from msgspec.json import Encoder

from fairlane.errors import ValidationRefused
from fairlane.model.tasks import PRIORITY_HIGHEST, PRIORITY_LOWEST, TaskStatus

TIMESTAMP_LENGTH = 24
encode = Encoder().encode
"""Encode a body as bytes."""

# Types that tell /openapi.json more than Python's own; they check nothing when a body is written.
MomentText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Count = Annotated[int, Meta(ge=0)]
Priority = Annotated[int, Meta(ge=PRIORITY_LOWEST, le=PRIORITY_HIGHEST)]
State = Annotated[str, Meta(extra_json_schema={"enum": [*TaskStatus]})]
Object = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
Yes = Annotated[bool, Meta(extra_json_schema={"const": True})]


def read_moment(text: str, field: str) -> int:
    """Read a moment as :func:`timestamp` writes it, or with fewer decimals.

    Raises:
        ValidationRefused: it is not such a moment.
    """
    try:
        found = datetime.fromisoformat(text) if len(text) <= TIMESTAMP_LENGTH and text.endswith("Z") else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValidationRefused.at(field, "must be a moment like 2025-11-10T15:00:00.000Z")
    return round(found.timestamp() * 1000)


def moment(at: int | None) -> str | None:
    """Return a moment as text, or None if there is none."""
    return None if at is None else timestamp(at)


def timestamp(at: int) -> str:
    """Return ISO 8601, UTC, with three decimals and ``Z``: ``2025-11-10T15:00:00.000Z``."""
    second, millisecond = divmod(at, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


# Most answers within a second share this text, and strftime costs more than the rest of a status answer.
@lru_cache(maxsize=4096)
def _second(second: int) -> str:
    parts = gmtime(second)
    # Not %Y: with some C libraries a year before 1000 would lose its zeros.
    return f"{parts.tm_year:04}{strftime('-%m-%dT%H:%M:%S', parts)}"
