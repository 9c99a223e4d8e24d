"""Run one attempt on the loop, on a thread or in an isolated process, and report how it ended.

Every attempt ends in exactly one report, whatever the handler does, unless its process is killed.
"""

import asyncio
import contextlib
import contextvars
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from fairlane import logs
from fairlane.errors import RETRY_AFTER_SECONDS_MOST, Fail, Retry, ValidationRefused, plain_text, real_number
from fairlane.handlers import Context, ServedType
from fairlane.loops import hidden_task
from fairlane.model.tasks import Failure, Isolation
from fairlane.protocol import FailureBody, LeaseBody, OriginBody, ProgressBody, ReportBody, carried
from fairlane.worker.isolation import IsolatedProcesses
from fairlane.worker.origins import origin_of, trace_of
from fairlane.worker.results import encode_details, encode_result
from fairlane.worker.threads import Threads

if TYPE_CHECKING:
    from fairlane.tracing import AttemptSpan, Tracing

CAUSE_LIMIT = 500
MESSAGE_LIMIT = 10_000
NOTE_LIMIT = 200
CODE_LIMIT = 100
DETAILS_LIMIT_BYTES = 65_536
"""Largest details of one failure. An exchange carries hundreds of reports, so this bounds the exchange, too."""

logger = logging.getLogger("fairlane.worker")


class RunningAttempt:
    """One lease that runs in this process."""

    __slots__ = (
        "begun",
        "context",
        "error_text",
        "expired",
        "expiry",
        "lease",
        "over",
        "span",
        "task",
        "task_type",
        "unwanted",
    )

    def __init__(self, lease: LeaseBody, task_type: ServedType, *, error_text: bool) -> None:
        self.lease = lease
        self.error_text = error_text
        self.task_type = task_type
        self.context = Context(
            task_id=lease.task,
            attempt=lease.attempt,
            attempts=lease.attempts,
            organization=lease.organization,
            deadline=time.monotonic() + lease.timeout_seconds,
            lease_id=lease.lease,
            is_call=lease.call,
            traceparent=lease.traceparent or None,
        )
        self.task: asyncio.Task[None] | None = None
        """The loop's task that runs it, or None for a thread."""
        self.expiry: asyncio.TimerHandle | None = None
        self.unwanted: ReportBody | None = None
        """The report of an attempt that was canceled or handed back, or None if it goes on."""
        self.span: AttemptSpan | None = None
        """None if traces are off."""
        self.begun = False
        self.expired = False
        self.over = False

    def begin(self) -> None:
        """Mark the start, first in the loop's task: a task canceled before this would end without a report."""
        self.begun = True
        if self.context.canceled:
            raise asyncio.CancelledError

    def arguments(self) -> tuple[Any, ...]:
        """Return the handler's arguments: the decoded payload, and the context if it takes one."""
        payload = self.task_type.decode(bytes(self.lease.payload))
        return (payload, self.context) if self.task_type.takes_context else (payload,)

    def late(self) -> bool:
        """Return whether the deadline has passed."""
        return self.expired or time.monotonic() >= self.context.deadline


class Executors:
    """Starts attempts, ends them at their deadline, and hands each report to ``ended`` on the loop.

    ``isolated`` is None in a process that is itself isolated: there every handler runs in this process. With
    ``error_text`` the log has the text and the trace of a handler's exception, which may quote the payload.
    """

    def __init__(
        self,
        task_types: dict[str, ServedType],
        *,
        ended: Callable[[ReportBody], None],
        result_limit_bytes: int,
        isolated: IsolatedProcesses | None,
        tracing: "Tracing | None" = None,
        error_text: bool = False,
    ) -> None:
        self._error_text = error_text
        self._tracing = tracing
        self._task_types = task_types
        self._ended = ended
        self._result_limit_bytes = result_limit_bytes
        self._isolated = isolated
        self._process = os.getpid()
        self._logging = logs.KeptLogging()
        self._logging_changed = False
        self._threads = Threads()
        self._loop = asyncio.get_running_loop()
        # Each attempt starts with the context variables that the start hooks set, and never sees those of another
        # attempt.
        self._variables = contextvars.copy_context()
        self.running: dict[str, RunningAttempt] = {}

    def start(self, lease: LeaseBody) -> None:
        """Run one attempt now."""
        task_type = self._task_types.get(lease.task_type)
        if task_type is None:
            self._ended(_failed(lease, f"this worker has no task type {lease.task_type}"))
            return
        attempt = RunningAttempt(lease, task_type, error_text=self._error_text)
        self.running[lease.lease] = attempt
        attempt.expiry = self._loop.call_later(lease.timeout_seconds, self._expire, attempt)
        try:
            self._begin(attempt)
        except Exception as error:  # noqa: BLE001 - for example no thread is available: this attempt fails, the process goes on
            self._end(attempt, _raised(attempt, error))

    def _begin(self, attempt: RunningAttempt) -> None:
        variables = self._variables.copy()
        variables.run(logs.about.set, _about(attempt.lease))
        if self._tracing is not None:
            self._begin_span(attempt, self._tracing, variables)
        task_type = attempt.task_type
        if self._isolated is not None and task_type.rule.isolation is Isolation.PROCESS:
            attempt.task = hidden_task(self._loop, self._run_isolated(attempt, self._isolated), context=variables)
        elif task_type.is_async:
            attempt.task = hidden_task(self._loop, self._run_async(attempt), context=variables)
        else:
            self._threads.run(lambda: variables.run(self._run_on_thread, attempt))

    def _begin_span(self, attempt: RunningAttempt, tracing: "Tracing", variables: contextvars.Context) -> None:
        """Begin the attempt's span. The tracing SDK runs code of the application; an error in it must not fail the
        attempt.
        """
        try:
            attempt.span = tracing.attempt(attempt.lease, variables)
            attempt.context.traceparent = attempt.span.traceparent
        except Exception as error:  # noqa: BLE001 - the application's span processors may raise anything
            logger.error("attempt.untraced", **_told(attempt, error))

    def cancel(self, lease_id: str) -> None:
        """End this attempt as FAILED, because the server canceled it."""
        if attempt := self.running.get(lease_id):
            self._give_up(attempt, _failed(attempt.lease, "canceled", retry=False))

    def said(self) -> list[ProgressBody]:
        """Return the progress that attempts reported since the last call."""
        found = ((lease, attempt.context.said()) for lease, attempt in list(self.running.items()))
        return [
            ProgressBody(
                lease=lease,
                done=said.done,
                total=said.total,
                note=None if said.note is None else _clean(said.note, NOTE_LIMIT),
            )
            for lease, said in found
            if said is not None
        ]

    def interrupt_all(self) -> None:
        """Ask every handler to end; the caller decides what follows."""
        for attempt in list(self.running.values()):
            self._interrupt(attempt)

    def release_all(self) -> None:
        """Hand back every attempt that can be stopped: the drain time is over."""
        for attempt in list(self.running.values()):
            self._give_up(attempt, ReportBody(lease=attempt.lease.lease, outcome="released"))

    def close(self) -> None:
        """Let the threads of ended attempts end. Nothing may be started after this."""
        self._threads.close()

    def _give_up(self, attempt: RunningAttempt, report: ReportBody) -> None:
        if attempt.unwanted is None:
            attempt.unwanted = report
            self._interrupt(attempt)

    def _expire(self, attempt: RunningAttempt) -> None:
        attempt.expired = True
        self._interrupt(attempt)

    def _interrupt(self, attempt: RunningAttempt) -> None:
        """Ask the handler to end. If it does not, its process is killed."""
        attempt.context.cancel()
        if attempt.task is not None and attempt.begun and not attempt.over:
            attempt.task.cancel()

    async def _run_async(self, attempt: RunningAttempt) -> None:
        try:
            attempt.begin()
            arguments = attempt.arguments()
            result = await attempt.task_type.function(*arguments)
            self._keep_logging()
            report = self._completed(attempt, result)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a handler must not end the worker
            self._keep_logging()
            report = _raised(attempt, error)
        self._end(attempt, report)

    def _run_on_thread(self, attempt: RunningAttempt) -> None:
        try:
            arguments = attempt.arguments()
            result = attempt.task_type.function(*arguments)
            self._keep_logging()
            report = self._completed(attempt, result)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: it would end the thread, not the attempt
            self._keep_logging()
            report = _raised(attempt, error)
        self._end_copy(report)
        self._loop.call_soon_threadsafe(self._end, attempt, report)

    async def _run_isolated(self, attempt: RunningAttempt, isolated: IsolatedProcesses) -> None:
        """Run the attempt in an isolated process. Canceling this task asks the process to end it, then kills the
        process.
        """
        try:
            attempt.begin()
            report = await isolated.run(
                msgspec.structs.replace(attempt.lease, traceparent=attempt.context.traceparent or msgspec.UNSET),
                attempt.context.deadline,
                said=lambda one: attempt.context.progress(one.done, one.total, one.note),
            )
        except asyncio.CancelledError:
            report = _overdue(attempt.lease)
        except Exception as error:  # noqa: BLE001 - any error fails this attempt alone
            logger.error("attempt.isolation_failed", **_told(attempt, error))
            report = _failed(attempt.lease, _text(error))
        self._end(attempt, report)

    def _completed(self, attempt: RunningAttempt, result: object) -> ReportBody:
        if attempt.late():
            return _overdue(attempt.lease)
        text = encode_result(result, limit_bytes=self._result_limit_bytes)
        if isinstance(text, Failure):
            logger.warning("result.refused", extra=_identity(attempt.lease) | {"code": text.code})
            failure = FailureBody(code=text.code, message=text.message, details=text.details)
            return _failed(attempt.lease, f"{text.code}: {text.message}", failure=failure, retry=False)
        return ReportBody(lease=attempt.lease.lease, outcome="completed", result=carried(text))

    def _end(self, attempt: RunningAttempt, report: ReportBody) -> None:
        self._end_copy(report)
        attempt.over = True
        if attempt.expiry is not None:
            attempt.expiry.cancel()
        del self.running[attempt.lease.lease]
        report = report if attempt.unwanted is None else _unwanted(attempt.unwanted, report)
        if attempt.span is not None:
            self._end_span(attempt, attempt.span, report)
        self._ended(report)

    def _end_copy(self, report: ReportBody) -> None:
        """End this process if it is a copy of the worker that a handler forked, and that returned from the handler."""
        if os.getpid() != self._process:
            os._exit(0 if report.outcome == "completed" else 1)

    def _keep_logging(self) -> None:
        """Put back what the handler, or a module that it imported, changed of fairlane's own logging."""
        if self._logging.is_intact():
            return
        changed = self._logging.put_back()
        if not self._logging_changed:
            self._logging_changed = True
            logger.warning("application.changed", extra={"changed": "; ".join(changed)})

    def _end_span(self, attempt: RunningAttempt, span: "AttemptSpan", report: ReportBody) -> None:
        try:
            span.ended(report)
        except Exception as error:  # noqa: BLE001 - the application's span processors may raise anything
            logger.error("attempt.untraced", **_told(attempt, error))


def _unwanted(unwanted: ReportBody, report: ReportBody) -> ReportBody:
    """Return the report to send: an attempt that is handed back keeps its result if it completed."""
    return report if unwanted.outcome == "released" and report.outcome == "completed" else unwanted


def _raised(attempt: RunningAttempt, error: BaseException) -> ReportBody:
    """Return the report after an exception of the handler. Never raises: the place would stay taken."""
    try:
        return _report_of(attempt, error)
    except BaseException as second:  # noqa: BLE001 - exceptions and log handlers run code of the application
        with contextlib.suppress(BaseException):
            logger.error("attempt.raised", extra=_identity(attempt.lease) | {"error": type(error).__qualname__})
        return _failed(attempt.lease, f"{type(error).__name__}, and reporting it raised {type(second).__name__}")


def _report_of(attempt: RunningAttempt, error: BaseException) -> ReportBody:
    lease, handler = attempt.lease, attempt.task_type.function
    if isinstance(error, ValidationRefused):
        return _payload_refused(lease, error)
    if attempt.late():
        return _overdue(lease, origin=origin_of(error, handler, named=False))
    if isinstance(error, asyncio.CancelledError) and attempt.context.canceled:
        return _failed(lease, "canceled")
    origin = origin_of(error, handler)
    if isinstance(error, Retry):
        return _failed(lease, _text(error), pause_seconds=_pause(error), origin=origin)
    if isinstance(error, Fail):
        return _failed(lease, _text(error), failure=_failure(error, lease), retry=False, origin=origin)
    logger.error("attempt.raised", **_told(attempt, error))
    return _failed(lease, _text(error), trace=trace_of(error), origin=origin)


def _payload_refused(lease: LeaseBody, refusal: ValidationRefused) -> ReportBody:
    """Return the report for a payload that no longer fits: the application changed since the task was accepted."""
    details = _plain_details(refusal.details, lease)
    failure = FailureBody(code=_code(refusal.code), message=_clean(refusal, MESSAGE_LIMIT), details=details)
    return _failed(lease, f"the payload does not fit: {details}", failure=failure, retry=False)


def _failure(error: Fail, lease: LeaseBody) -> FailureBody:
    details = _plain_details(error.details, lease)
    return FailureBody(code=_code(error.code), message=_clean(error.failure_message, MESSAGE_LIMIT), details=details)


def _plain_details(details: object, lease: LeaseBody) -> Any:
    """Return details as decoded JSON, so that no object of the application is left in the report."""
    text = encode_details(details, limit_bytes=DETAILS_LIMIT_BYTES)
    if text is None:
        logger.warning("attempt.details_dropped", extra=_identity(lease))
        return None
    return msgspec.json.decode(text)


def _pause(error: Retry) -> float | None:
    """Return the pause that the handler asked for, or None if it is not valid. The handler may have set any value."""
    seconds = real_number(error.after_seconds)
    return seconds if seconds is not None and 0 <= seconds <= RETRY_AFTER_SECONDS_MOST else None


def _overdue(lease: LeaseBody, origin: OriginBody | None = None) -> ReportBody:
    return _failed(lease, "timeout", reason="overdue", origin=origin)


def _failed(
    lease: LeaseBody,
    cause: str,
    *,
    failure: FailureBody | None = None,
    retry: bool = True,
    pause_seconds: float | None = None,
    reason: str = "",
    origin: OriginBody | None = None,
    trace: str = "",
) -> ReportBody:
    told = _clean(cause, CAUSE_LIMIT)
    return ReportBody(
        lease=lease.lease,
        outcome="failed",
        cause=f"{told}\n{trace}" if trace else told,
        failure=failure,
        retry=retry,
        pause_seconds=pause_seconds,
        reason=reason,
        origin=origin,
    )


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {plain_text(error)}"
    except BaseException:  # noqa: BLE001 - printing an exception may raise anything, even SystemExit
        return type(error).__name__


def _clean(text: object, limit: int) -> str:
    """Return text that every JSON reader accepts: lone surrogates and NUL replaced, length limited."""
    cut = plain_text(text)[:limit]
    return cut.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _code(text: object) -> str:
    """Return a failure's code as the protocol takes it: printable, and not empty."""
    code = _clean(text, CODE_LIMIT)
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in code) or "FAILED"


def _told(attempt: RunningAttempt, error: BaseException) -> dict[str, Any]:
    """Return what to log about an exception, as arguments of a logger's method."""
    extra = _identity(attempt.lease) | logs.raised(error)
    return {"extra": extra, "exc_info": error if attempt.error_text else None}


def _about(lease: LeaseBody) -> dict[str, object]:
    return {"task_id": lease.task, "organization": lease.organization, "attempt": lease.attempt}


def _identity(lease: LeaseBody) -> dict[str, object]:
    return _about(lease) | {"task_type": lease.task_type}
