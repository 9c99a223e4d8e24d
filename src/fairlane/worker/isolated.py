"""``python -m fairlane.worker.isolated``: a process that runs one isolated attempt at a time.

A worker process starts, controls and kills it, through the channel alone; it never speaks to the server.
"""

import asyncio

from msgspec import UNSET, Raw

from fairlane.handlers import Fairlane
from fairlane.protocol import LeaseBody, ReportBody
from fairlane.worker.boot import run_child, run_hooks, tracing_of
from fairlane.worker.channel import Cancel, ChildEnd, Done, Leave, Progressed, Ready, RunLease, ToChild
from fairlane.worker.executors import Executors
from fairlane.worker.options import Options
from fairlane.worker.results import bare

PROGRESS_SECONDS = 0.5
"""How often the progress that a handler reported is sent to the worker process."""


async def attend(app: Fairlane, options: Options, channel: ChildEnd) -> int:
    """Run attempts as they arrive until the parent says to leave; return the exit status."""

    def ended(report: ReportBody) -> None:
        try:
            result, report.result = bytes(report.result).decode(), Raw(b"null")
            channel.send(Done(report=report, result=result))
        except Exception as error:  # noqa: BLE001 - a report that cannot be written fails this attempt alone, at once
            why = f"the report cannot be written: {type(error).__name__}"
            channel.send(Done(report=bare(report, why), result="null"))

    tracing = tracing_of(options, adopts=True)
    executors = Executors(
        app.task_types,
        ended=ended,
        result_limit_bytes=options.result_limit_bytes,
        isolated=None,
        tracing=tracing,
        error_text=options.log_error_text,
    )
    left = asyncio.Event()

    def heard(note: ToChild) -> None:
        match note:
            case RunLease():
                executors.start(_lease(note))
            case Cancel():
                executors.interrupt_all()
            case Leave():
                left.set()

    def tell() -> None:
        if said := executors.said():
            channel.send(Progressed(progress=said))
        loop.call_later(PROGRESS_SECONDS, tell)

    loop = asyncio.get_running_loop()
    channel.listen(loop, heard)
    tell()
    channel.send(Ready(types=sorted(app.task_types)))
    await left.wait()
    await run_hooks(app.stop_hooks)
    if tracing is not None:
        await asyncio.to_thread(tracing.flush)
    return 0


def _lease(run: RunLease) -> LeaseBody:
    return LeaseBody(
        lease=run.lease,
        task=run.task,
        organization=run.organization,
        task_type=run.task_type,
        attempt=run.attempt,
        attempts=run.attempts,
        timeout_seconds=run.seconds,
        payload=Raw(run.payload),
        call=run.call,
        traceparent=run.traceparent or UNSET,
    )


if __name__ == "__main__":
    run_child(attend)
