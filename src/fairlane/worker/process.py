"""The worker process: imports the application, runs handlers, exchanges with the server.

Its supervisor registers and renews the session, so the session lives on while this process is blocked. Exits when told
to drain, when its session is gone, and at once when the supervisor is gone.
"""

import asyncio
import contextlib
import logging
import threading

from fairlane.errors import SessionGone
from fairlane.handlers import Fairlane
from fairlane.loops import hidden_task
from fairlane.protocol import ReportBody
from fairlane.worker.boot import run_hooks, tracing_of
from fairlane.worker.channel import ChildEnd, Drain, OpenSession, Ready, ToChild
from fairlane.worker.exchange import ExchangeLoop
from fairlane.worker.executors import Executors, RunningAttempt
from fairlane.worker.isolation import IsolatedProcesses
from fairlane.worker.options import Options
from fairlane.worker.server import ServerClient
from fairlane.worker.stalls import look_at

RELEASE_SECONDS = 0.5
"""After the drain: how long handlers may take to be interrupted, and how long their reports may take."""
SESSION_GONE = 76
"""Exit status of a worker process after the server ended its session."""

logger = logging.getLogger("fairlane.worker")


async def work(app: Fairlane, options: Options, channel: ChildEnd) -> int:
    """Run a worker process, after its start hooks, until it ends; return its exit status."""
    worker = WorkerProcess(app, options, channel)
    loop, thread = asyncio.get_running_loop(), threading.get_ident()
    channel.listen(loop, worker.heard, look=lambda: look_at(loop, thread, worker.attempts()))
    channel.send(Ready(types=sorted(app.task_types)))
    return await worker.over


class WorkerProcess:
    """A worker process at work: connects the exchange loop to the executors, and follows the supervisor."""

    def __init__(self, app: Fairlane, options: Options, channel: ChildEnd) -> None:
        self._app = app
        self._options = options
        self._channel = channel
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Resolves to the exit status."""
        self._server = ServerClient(options.servers, key=options.key)
        self._isolated = IsolatedProcesses(options)
        self._tracing = tracing_of(options)
        self._executors = Executors(
            app.task_types,
            ended=self._ended,
            result_limit_bytes=options.result_limit_bytes,
            isolated=self._isolated,
            tracing=self._tracing,
            error_text=options.log_error_text,
        )
        self._exchange: ExchangeLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._releasing = False
        """Whether a drain has begun to hand back attempts."""
        self._emptied = asyncio.Event()

    def attempts(self) -> list[RunningAttempt]:
        """Return the running attempts; may be called from any thread."""
        return list(self._executors.running.values())

    def heard(self, note: ToChild) -> None:
        """Act on a note of the supervisor."""
        match note:
            case OpenSession(id=session):
                self._begin(session)
            case Drain(seconds=seconds) if not self._releasing:
                # A drain of the whole supervisor may follow one of this process alone, and is shorter.
                if self._draining is not None:
                    self._draining.cancel()
                self._draining = hidden_task(asyncio.get_running_loop(), self._drain(seconds))

    def _begin(self, session: str) -> None:
        self._exchange = ExchangeLoop(
            self._server,
            session=session,
            places=self._options.places,
            wait_seconds=self._options.wait_seconds,
            start=self._executors.start,
            cancel=self._executors.cancel,
            said=self._executors.said,
            tell=self._channel.send,
            failed=self._failed,
        )
        self._exchange.begin()

    def _ended(self, report: ReportBody) -> None:
        assert self._exchange is not None
        self._exchange.ended(report)
        if not self._executors.running:
            self._emptied.set()

    def _failed(self, error: BaseException) -> None:
        if self.over.done():
            return
        if isinstance(error, SessionGone):
            logger.warning("session.gone")
            self.over.set_result(SESSION_GONE)
        else:
            self.over.set_exception(error)

    async def _drain(self, seconds: float) -> None:
        """Let running attempts end, hand back the others, run the stop hooks."""
        if self._exchange is not None:
            self._exchange.stop_taking()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty()
            self._releasing = True
            self._executors.release_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._empty()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._exchange.quiet()
        await self._stop()

    async def _stop(self) -> None:
        try:
            await self._isolated.close()
            await run_hooks(self._app.stop_hooks)
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.flush)
        except Exception:
            logger.exception("worker.stop_hook_raised")
        if not self.over.done():
            self.over.set_result(0)

    async def _empty(self) -> None:
        while self._executors.running:
            self._emptied.clear()
            await self._emptied.wait()
