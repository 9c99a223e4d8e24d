"""How an attempt ends, and what becomes of its task or call."""

from typing import assert_never

from msgspec import Struct

from fairlane.model.attempts import AttemptEnding
from fairlane.model.leases import Completed, Ending, Failed, Lost, Released
from fairlane.model.tasks import Failure, TaskStatus

RETRY_PAUSE_MAX_MS = 3_600_000
EXHAUSTED = Failure(code="INTERNAL_SERVER_ERROR", message="Maximum retries exceeded")
"""What an organization sees of a task without attempts left; only the operator sees the cause (contract, 8)."""
CANCELED = Failure(code="TASK_CANCELED", message="Task was canceled")
"""What an organization sees of a task that it canceled itself."""
LOST_CAUSE = "worker lost"
"""The cause of an attempt that was lost with its worker."""
UNPAID = Failure(code="INSUFFICIENT_CREDITS", message="Insufficient credits")
"""What an organization sees of a task that its balance did not cover when its turn came."""


class Requeued(Struct, frozen=True):
    """The task is ready again at its old position; ``attempt`` attempts have been made."""

    attempt: int


class Paused(Struct, frozen=True):
    """The task waits ``pause_ms`` before its next attempt."""

    attempt: int
    pause_ms: int


class Final(Struct, frozen=True):
    """The task has ended. Exactly one of result and failure is set."""

    status: TaskStatus
    result: str | None = None
    failure: Failure | None = None
    cause: str | None = None


Aftermath = Requeued | Paused | Final


def aftermath(
    ending: Ending, *, attempt: int, attempts: int, pause_base_ms: int, chance: float, canceled: bool = False
) -> Aftermath:
    """Return the next state of a task after attempt number ``attempt`` of at most ``attempts``.

    ``chance`` in [0, 1) spreads the pauses. A ``canceled`` task is final no matter what its handler returned, because
    the answer to the cancel request promised that.
    """
    if canceled:
        return Final(TaskStatus.FAILED, failure=CANCELED, cause="canceled")
    if isinstance(ending, Released):
        return Requeued(attempt - 1)
    if isinstance(ending, Completed):
        return Final(TaskStatus.COMPLETED, result=ending.result)
    if isinstance(ending, Lost):
        ending = Failed(cause=LOST_CAUSE, pause_ms=0)
    if not ending.retry or attempt >= attempts:
        return Final(TaskStatus.FAILED, failure=ending.failure or EXHAUSTED, cause=ending.cause)
    pause_ms = retry_pause_ms(attempt, pause_base_ms, chance) if ending.pause_ms is None else ending.pause_ms
    return Paused(attempt, pause_ms) if pause_ms > 0 else Requeued(attempt)


def ending_of(ending: Ending, *, canceled: bool) -> AttemptEnding:
    """Return how an attempt ended, as people are told. A ``canceled`` one is, no matter what its handler returned."""
    if canceled:
        return AttemptEnding.CANCELED
    match ending:
        case Completed():
            return AttemptEnding.COMPLETED
        case Failed(how=how):
            return how
        case Released():
            return AttemptEnding.HANDED_BACK
        case Lost():
            return AttemptEnding.WORKER_LOST
    assert_never(ending)


def reason_of(ending: Ending, after: Aftermath) -> tuple[Failure | None, str | None]:
    """Return what an attempt that did not complete its task leaves: what the organization may see, and the cause."""
    if isinstance(after, Final):
        return after.failure, after.cause
    match ending:
        case Failed(failure=failure, cause=cause):
            return failure, cause
        case Lost():
            return None, LOST_CAUSE
    return None, None


def retry_pause_ms(attempt: int, base_ms: int, chance: float) -> int:
    """Exponential backoff with jitter: between half and all of ``base · 2^(attempt−1)``, at most an hour."""
    full = min(base_ms * 2 ** min(attempt - 1, 30), RETRY_PAUSE_MAX_MS)
    return int(full * (0.5 + chance / 2))


CALL_MS = 300_000
"""Longest wait of a caller; no attempt starts later (contract, 6)."""
TIMED_OUT = Failure(code="INTERNAL_SERVER_ERROR", message="Maximum timeout (5 minutes) exceeded")


def call_aftermath(
    ending: Ending, *, attempt: int, attempts: int, left_ms: int, pause_base_ms: int, chance: float
) -> Aftermath:
    """Return the next state of a call after an attempt that ended ``left_ms`` before the call's time is over.

    As for a task, except that an attempt that cannot start in time ends the call.
    """
    after = aftermath(ending, attempt=attempt, attempts=attempts, pause_base_ms=pause_base_ms, chance=chance)
    if isinstance(after, Final):
        return after
    pause_ms = after.pause_ms if isinstance(after, Paused) else 0
    if pause_ms >= left_ms:
        return Final(TaskStatus.FAILED, failure=TIMED_OUT, cause="no time for another attempt")
    return after
