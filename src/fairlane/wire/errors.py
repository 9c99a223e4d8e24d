"""The envelope of every answer that is not a success, and the error in it.

The api writes it for refusals and faults, and ``tasks.py`` puts the same error into items of a batch and into failed
tasks. It shows what a refusal or a failure says of itself, never its cause.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from fairlane.errors import Refusal
from fairlane.model.tasks import Failure
from fairlane.wire.values import encode, timestamp

FIELD_ERRORS_MOST = 20
"""Most field errors one answer lists; a body of nothing but mistakes must not be answered with a larger one."""


# Its docstring would be told to the readers of /openapi.json.
class Error(Struct):
    code: str
    message: str
    details: Any = UNSET
    timestamp: str | UnsetType = UNSET


class _Refused(Struct):
    success: bool
    error: Error


def error_body(refusal: Refusal, *, at: int) -> bytes:
    """The envelope of every answer that is not a success; ``at`` is the moment it is given."""
    return encode(_Refused(False, refused(refusal, at)))


def envelope(code: str, message: str, *, at: int, details: Any = UNSET) -> bytes:
    """The envelope from its parts, for what is no refusal."""
    return encode(_Refused(False, Error(code, message, details, timestamp(at))))


def refused(refusal: Refusal, at: int) -> Error:
    """The error of a refusal, with the moment it is given."""
    details = UNSET if refusal.details is None else refusal.details
    return Error(refusal.code, str(refusal), details, timestamp(at))


def failed(failure: Failure) -> Error:
    """The error of a task that failed, as its organization sees it."""
    details = UNSET if failure.details is None else failure.details
    return Error(failure.code, failure.message, details)
