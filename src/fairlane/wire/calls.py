"""The answers to a call: its result, or why it failed.

The api's endpoint of calls writes them. A result is embedded as it was stored, never read.
"""

from typing import Any, Literal

from msgspec import UNSET, Raw, Struct

from fairlane.model.tasks import Failure
from fairlane.wire.errors import envelope
from fairlane.wire.values import encode


class _Called(Struct):
    success: Literal[True]
    result: Raw


def call_body(result: str) -> bytes:
    """The answer to a call; the result is embedded as it was stored."""
    return encode(_Called(True, Raw(result)))


def failure_body(failure: Failure, *, at: int) -> bytes:
    """The envelope of a call that failed: what a task's GET would show as ``response.error``, with the moment."""
    details = UNSET if failure.details is None else failure.details
    return envelope(failure.code, failure.message, at=at, details=details)


SHAPES: dict[str, Any] = {"call": _Called}
