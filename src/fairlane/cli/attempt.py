"""One attempt in this process, run as a worker runs it, for ``fairlane run``; uses no server and no store."""

import asyncio
import faulthandler
import sys

from msgspec import Raw

from fairlane.api.reader import read_json
from fairlane.cli.output import print_json, print_json_text
from fairlane.errors import CommandFailed, ValidationRefused
from fairlane.handlers import Fairlane, ServedType, load_app
from fairlane.protocol import LeaseBody, ReportBody, result_text
from fairlane.settings import Settings, read_settings
from fairlane.worker.boot import run_hooks
from fairlane.worker.executors import Executors

BACKSTOP_SECONDS = 2.0
HERE = "local"
"""Placeholder for the ids of lease and task."""


def run_attempt(reference: str, name: str, payload: bytes, *, attempt: int, organization: str, as_json: bool) -> None:
    """Run one handler and print its result.

    Raises:
        AppError: the application cannot be used.
        CommandFailed: the task type does not exist, the payload is refused, or the attempt did not complete.
    """
    app = load_app(reference)
    task_type = app.task_types.get(name)
    if task_type is None:
        raise CommandFailed(f"{reference} has no task type {name!r}; it has {', '.join(sorted(app.task_types))}")
    settings = read_settings({})
    _check(payload, task_type, settings)
    lease = _lease(task_type, payload, attempt=attempt, organization=organization)
    # A handler that blocks the interpreter, or ignores its cancellation, is ended from outside, as for a worker.
    patience = lease.timeout_seconds + settings.kill_grace_seconds
    faulthandler.dump_traceback_later(patience + BACKSTOP_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        report = asyncio.run(_report(app, lease, settings))
    finally:
        faulthandler.cancel_dump_traceback_later()
    if report is None:
        raise CommandFailed(
            f"{name} was still running after its timeout of {_timeout(task_type)}; a worker would be killed now"
        )
    if report.outcome == "completed" and report.result is not None:
        print_json_text(result_text(report.result), compact=as_json)
        return
    if as_json:
        print_json(_failure(report))
    raise CommandFailed(f"{name} did not complete: {_cause(report, task_type)}")


def _check(payload: bytes, task_type: ServedType, settings: Settings) -> None:
    """Refuse a payload that the API would refuse."""
    try:
        if not isinstance(read_json(payload), dict):
            raise ValidationRefused.at("payload", "must be an object")
        if len(payload) > settings.payload_limit_bytes:
            raise ValidationRefused.at("payload", f"is larger than {settings.payload_limit_bytes} bytes")
        task_type.decode(payload)
    except ValidationRefused as refusal:
        raise CommandFailed("the payload is refused", details=refusal.details) from refusal


def _lease(task_type: ServedType, payload: bytes, *, attempt: int, organization: str) -> LeaseBody:
    rule = task_type.rule
    return LeaseBody(
        lease=HERE,
        task=HERE,
        organization=organization,
        task_type=rule.name,
        attempt=attempt,
        attempts=max(rule.attempts, attempt),
        timeout_seconds=rule.timeout_ms / 1000,
        payload=Raw(payload),
    )


async def _report(app: Fairlane, lease: LeaseBody, settings: Settings) -> ReportBody | None:
    """Run the attempt between the start and the stop hooks; return None if it did not end in time."""
    ended: asyncio.Future[ReportBody] = asyncio.get_running_loop().create_future()
    await run_hooks(app.start_hooks)
    try:
        executors = Executors(
            app.task_types,
            ended=ended.set_result,
            result_limit_bytes=settings.result_limit_bytes,
            isolated=None,
            error_text=True,
        )
        executors.start(lease)
        await asyncio.wait([ended], timeout=lease.timeout_seconds + settings.kill_grace_seconds)
        return ended.result() if ended.done() else None
    finally:
        await run_hooks(app.stop_hooks)


def _cause(report: ReportBody, task_type: ServedType) -> str:
    """Return in words how the attempt ended."""
    said = report.cause.partition("\n")[0]
    if report.cause == "timeout":
        return f"it was ended after its timeout of {_timeout(task_type)}"
    if not report.retry:
        return f"{said} (the task fails now, even if attempts are left)"
    if report.pause_seconds is not None:
        return f"{said} (the next attempt starts after {report.pause_seconds:g} s)"
    return f"{said} (it is tried again while attempts are left)"


def _failure(report: ReportBody) -> dict[str, object]:
    """Return for programs how the attempt ended."""
    failure = report.failure
    seen = None if failure is None else {field: getattr(failure, field) for field in failure.__struct_fields__}
    return {
        "cause": report.cause,
        "retry": report.retry,
        "pause_seconds": report.pause_seconds,
        "failure": seen,
    }


def _timeout(task_type: ServedType) -> str:
    return f"{task_type.rule.timeout_ms / 1000:g} s"
