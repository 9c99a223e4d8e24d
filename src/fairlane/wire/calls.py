"""The answers to a call: its result, or why it failed.

Written by the API's endpoint of calls. A result is embedded as it was stored, without reading it.
"""

from typing import Literal

from msgspec import UNSET, Raw, Struct

from fairlane.model.tasks import Failure
from fairlane.wire.errors import envelope
from fairlane.wire.values import encode


class CallBody(Struct):
    success: Literal[True]
    result: Raw


def call_body(result: str) -> bytes:
    """Return the answer to a call; the result is embedded as it was stored."""
    return encode(CallBody(True, Raw(result)))


def failure_body(failure: Failure, *, at: int) -> bytes:
    """Return the envelope of a failed call: the ``response.error`` that a task's GET would show, with the moment."""
    details = UNSET if failure.details is None else failure.details
    return envelope(failure.code, failure.message, at=at, details=details)
