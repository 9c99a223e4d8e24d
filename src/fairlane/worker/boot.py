"""Start and end of a child process: signals, loading the application, hooks, exit.

Shared by worker processes and isolated ones. Imports no HTTP client, so that an isolated process starts fast.
"""

import asyncio
import contextlib
import ctypes
import inspect
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec.structs import replace

from fairlane import logs
from fairlane.errors import AppError
from fairlane.handlers import Fairlane, load_app
from fairlane.loops import hidden_task, new_event_loop
from fairlane.surroundings import Surroundings
from fairlane.worker.channel import Broken, ChildEnd, Starting, Unstarted
from fairlane.worker.options import Options, read_options
from fairlane.worker.watcher import start_watcher

if TYPE_CHECKING:
    from fairlane.tracing import Tracing

PR_SET_PDEATHSIG = 1
UNSTARTED = 77
"""Exit status of a child after a start hook failed."""

logger = logging.getLogger("fairlane.worker")


def tracing_of(options: Options, *, adopts: bool = False) -> "Tracing | None":
    """Return the maker of spans in this process, or None if traces are off."""
    if not options.traces:
        return None
    from fairlane.tracing import Tracing

    return Tracing(adopts=adopts)


def run_child(run: Callable[[Fairlane, Options, ChildEnd], Any]) -> NoReturn:
    """Run a child: set up, load the application, ``await run(…)``, exit with the status it returns."""
    options = read_options(sys.argv)
    start_watcher(keep_open=options.channel)
    _die_with_parent()
    _leave_signals_to_the_supervisor()
    for fd in options.inherit_fds:
        os.set_inheritable(fd, False)
    # A process that a handler forks may outlive this one; it must not keep the lock of the database.
    os.register_at_fork(after_in_child=lambda: _close_all(options.inherit_fds))
    logs.configure(format=options.log_format, level=options.log_level)
    if not options.log_error_text:
        logs.withhold_strays()
    channel = ChildEnd(options.channel)
    os.register_at_fork(after_in_child=channel.let_go)
    channel.send(Starting(step=f"the import of {options.app_reference}"))
    surroundings = Surroundings(hosts_handlers=True)
    options = replace(options, folder=surroundings.folder)
    try:
        app = load_app(options.app_reference)
    except AppError as error:
        raised = error.__cause__
        cause = str(error) if raised is None else f"the import of the application raised {_described(raised)}"
        channel.send(Broken(message=str(error), cause=cause))
        leave(error.exit_code)
    surroundings.put_back()

    async def live() -> NoReturn:
        if not options.log_error_text:
            asyncio.get_running_loop().set_exception_handler(logs.stray_task)
        try:
            await _start(app, channel)
            surroundings.put_back()
            status = await run(app, options, channel)
        except Exception:
            logger.exception("worker.crashed")
            status = 1
        # Called inside the loop: closing the loop would wait for threads that may never end.
        leave(status)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        living = hidden_task(runner.get_loop(), live())
        while not living.done():
            # A task that a handler started may end the loop by SystemExit, and a handler may stop it (RuntimeError);
            # the other attempts must go on.
            with contextlib.suppress(SystemExit, KeyboardInterrupt, RuntimeError):
                runner.get_loop().run_until_complete(living)
    raise AssertionError("a child exits inside its loop")


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def leave(status: int) -> NoReturn:
    """End this process, even while its threads run."""
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


async def _start(app: Fairlane, channel: ChildEnd) -> None:
    """Run the start hooks; exit if one fails."""
    for hook in app.start_hooks:
        name = f"the start hook {getattr(hook, '__qualname__', None) or type(hook).__qualname__}"
        channel.send(Starting(step=name))
        try:
            await run_hooks([hook])
        except (Exception, SystemExit) as error:
            logger.exception("start.raised", extra={"step": name})
            channel.send(Unstarted(cause=f"{name} raised {_described(error)}"))
            leave(UNSTARTED)


def _described(error: BaseException) -> str:
    """Return the type of an exception and where it was raised, without its text, which may contain a secret."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    if isinstance(error, SyntaxError) and error.filename:
        place: tuple[str, int | None] | None = error.filename, error.lineno
    else:
        place = (frames[-1].filename, frames[-1].lineno) if frames else None
    return type(error).__name__ + ("" if place is None else f" ({os.path.basename(place[0])}:{place[1]})")  # noqa: PTH119


async def run_hooks(hooks: Sequence[Callable[[], Any]]) -> None:
    """Run hooks, sync or async, in the order of their registration."""
    for hook in hooks:
        returned = hook()
        if inspect.isawaitable(returned):
            await returned
    # The hooks may have configured logging again.
    logs.name_attempts()


def _die_with_parent() -> None:
    """Let Linux kill this process the moment its parent dies; elsewhere the end of the channel does, a little later."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_signals_to_the_supervisor() -> None:
    """Ignore the signals that a terminal sends to all its processes (Ctrl-C): only the server decides to drain.

    Functions that do nothing, not SIG_IGN: programs that handlers start would inherit SIG_IGN.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
