"""The envelope of every unsuccessful answer, and the error in it.

The API writes it for refusals and faults; ``tasks.py`` puts the same error into items of a batch and into failed
tasks. It shows what a refusal or a failure says about itself, never its cause.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from fairlane.errors import Refusal
from fairlane.model.tasks import Failure
from fairlane.wire.values import encode, timestamp

FIELD_ERRORS_MOST = 20
"""Most field errors in one answer: the answer to a body full of mistakes must not be larger than the body."""


# Not a docstring, because readers of /openapi.json would see it.
class ErrorFields(Struct):
    code: str
    message: str
    details: Any = UNSET
    timestamp: str | UnsetType = UNSET


class _RefusedBody(Struct):
    success: bool
    error: ErrorFields


def error_body(refusal: Refusal, *, at: int) -> bytes:
    """Return the envelope of an unsuccessful answer; ``at`` is the moment of the answer."""
    return encode(_RefusedBody(False, refused(refusal, at)))


def envelope(code: str, message: str, *, at: int, details: Any = UNSET) -> bytes:
    """Return the envelope made from its parts, for errors that are not refusals."""
    return encode(_RefusedBody(False, ErrorFields(code, message, details, timestamp(at))))


def refused(refusal: Refusal, at: int) -> ErrorFields:
    """Return the error of a refusal, with the moment of the answer."""
    details = UNSET if refusal.details is None else refusal.details
    return ErrorFields(refusal.code, str(refusal), details, timestamp(at))


def failed(failure: Failure) -> ErrorFields:
    """Return the error of a failed task as its organization sees it."""
    details = UNSET if failure.details is None else failure.details
    return ErrorFields(failure.code, failure.message, details)
