"""The supervisor: keeps worker processes alive. Runs no application code.

Lives on the server's event loop, or in a small process of its own on another machine.
"""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import socket
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fairlane.errors import FairlaneError
from fairlane.protocol import CAUSE_LENGTH_MOST, NAME_LENGTH_MOST, StartsFailed
from fairlane.settings import Settings
from fairlane.worker.child import Child
from fairlane.worker.options import Options
from fairlane.worker.server import ServerClient, ServerSilent, pauses

RESTART_SECONDS = (0.1, 30.0)
"""First and longest pause before a child is started again that ended during its start."""

REPORT_SECONDS = 300.0
"""How often the server is told again that no child can start: it forgets what is not repeated."""
REPORT_PAUSE_SECONDS = (0.5, 30.0)
"""First and longest pause before a report is sent again that no server answered."""
LAST_REPORT_SECONDS = 3.0
"""How long a supervisor that gives up waits for the answer to its report."""

Order = Callable[[Sequence[str]], Sequence[str]]


def any_order(servers: Sequence[str]) -> Sequence[str]:
    """Return these addresses in random order: processes start at different servers, and spread when a server ends."""
    return random.sample(servers, len(servers))


logger = logging.getLogger("fairlane.worker")


def options_of(settings: Settings, **others: Any) -> Options:
    """Return options of workers: from the settings what is a setting, and the others as given."""
    names = set(Options.__struct_fields__) & set(Settings.__struct_fields__)
    return Options(**{name: getattr(settings, name) for name in names} | others)


def bury_orphans(*, spared: Collection[int | None]) -> None:
    """Collect the exit statuses of processes that this process did not start.

    The first process of a container adopts all orphans, such as the watchers of its workers. They stay in the process
    table until it collects their statuses.
    """
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in spared:
            os.waitpid(ended.si_pid, os.WNOHANG)


def _printable(text: str) -> str:
    """Return a text without line breaks and control characters, which the name of a file or of a class may have."""
    return "".join(one if one.isprintable() else " " for one in text)


class Drained(Struct, frozen=True, kw_only=True):
    """Results of a drain, for the attempts that ran when it began."""

    finished: int
    returned: int
    """Attempts handed back, to run elsewhere. They do not count as attempts."""
    lost: int
    """Attempts that ended with their process. They count as attempts."""
    seconds: float


class Supervisor:
    """Starts ``count`` worker processes and restarts each when it ends, until told to drain or stop.

    Args:
        options: The options of each process.
        count: Number of worker processes.
        order: The order in which a process tries the servers; called for each process.
        on_broken: Called once, on the loop, if the first child cannot load the application or no server accepts this
            worker; no child is started again after that.
        on_trouble: Called on the loop with the reason when no child can start, and with None when one can again.
    """

    def __init__(
        self,
        options: Options,
        *,
        count: int,
        order: Order = any_order,
        on_broken: Callable[[str], None] | None = None,
        on_trouble: Callable[[str | None], None] = lambda cause: None,
    ) -> None:
        self._options = options
        self._count = count
        self._on_broken = on_broken
        self._on_trouble = on_trouble
        self._failure: str | None = None
        """Why the last start of a child failed, or None if it did not fail."""
        self._unreported = 0
        """How many starts failed that no server knows of."""
        self._failed = asyncio.Event()
        """Set when a start failed, until it is reported."""
        self._reporting: asyncio.Task[None] | None = None
        self._id = secrets.token_hex(16)
        self._reports = 0
        """How many reports were written."""
        self._report_lock = asyncio.Lock()
        """One report at a time: each start is in one of them."""
        self._ever_started = False
        self._dismissed = 0
        """How many worker processes ended because operators drained them."""
        self._told: str | None = None
        """The trouble that was reported last, or None for no trouble."""
        self._order = order
        self._server = ServerClient(order(options.servers), key=options.key)
        self._keepers: list[asyncio.Task[None]] = []
        self._children: set[Child] = set()
        self.leaving = asyncio.Event()
        """Set once no child is started again."""
        self.emptied = asyncio.Event()
        """Set once operators have drained every worker process."""
        self.broken: str | None = None
        """Why the supervisor cannot go on, or None if no such reason is known."""

    @property
    def children(self) -> tuple[Child, ...]:
        """Return the current worker processes."""
        return tuple(self._children)

    @property
    def trouble(self) -> str | None:
        """Return why no worker process can start, or None if one has or may. Never contains an exception's text."""
        if any(child.started for child in self._children):
            return None
        return self._failure or next((child.unstarted for child in self._children if child.unstarted), None)

    async def start(self) -> None:
        """Begin to start the worker processes; return without waiting for them."""
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self._count)]
        self._reporting = asyncio.create_task(self._report_for_ever())

    async def ready(self) -> None:
        """Wait until every current worker process has its session, or the supervisor gave up."""
        while not self.leaving.is_set():
            if len(self._children) == self._count and all(child.ready.is_set() for child in self._children):
                return
            await asyncio.sleep(0.01)

    async def drain(self, seconds: float) -> Drained:
        """Take no new work, let running attempts end, hand back the others. Returns within ``seconds`` + 2 s."""
        began_at = asyncio.get_running_loop().time()
        self.leaving.set()
        children = self.children
        await asyncio.gather(*(child.drain(seconds) for child in children))
        await self._finish()
        drained = Drained(
            finished=sum(child.tally.finished for child in children),
            returned=sum(child.tally.returned for child in children),
            lost=sum(child.tally.lost for child in children),
            seconds=round(asyncio.get_running_loop().time() - began_at, 3),
        )
        logger.info("worker.drained", extra=msgspec.structs.asdict(drained))
        return drained

    async def stop(self) -> None:
        """Kill every worker process now; its attempts count as lost. Has no effect after a drain."""
        self.leaving.set()
        for child in self._children:
            child.stop()
        await self._finish()

    async def _finish(self) -> None:
        await asyncio.gather(*self._keepers)
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        await self._server.close()

    async def _keep(self) -> None:
        """Keep one worker process alive."""
        first, longest = RESTART_SECONDS
        deaths = 0
        while not self.leaving.is_set():
            child = await self._run_child()
            if self.leaving.is_set():
                return
            if child.dismissed:
                self._dismissed += 1
                if self._dismissed == self._count:
                    self.leaving.set()
                    self.emptied.set()
                return
            # An application that loaded before has since been changed, and may be fixed.
            if hopeless := child.refused or (None if self._ever_started else child.broken):
                if child.refused is None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LAST_REPORT_SECONDS):
                            await self._report()
                self._give_up(hopeless)
                return
            deaths = 0 if child.ready.is_set() else deaths + 1
            self._look()
            if deaths > 1:
                await self._pause(min(longest, first * 2 ** min(deaths - 2, 10)))

    async def _run_child(self) -> Child:
        servers = tuple(self._order(self._options.servers))
        options = msgspec.structs.replace(self._options, servers=servers)
        child = Child(options, self._server, changed=self._look, reported=lambda: (self._id, self._reports))
        self._children.add(child)
        try:
            await child.run()
            self._failure = child.unstarted
            if self._failure is not None:
                self._count_failed(child)
        except Exception as error:
            # For example no process or descriptor is available: tried again.
            logger.exception("worker.unstartable")
            self._failure = f"no process can be started: {type(error).__name__}"
            self._count_failed(child)
        finally:
            self._children.discard(child)
            if os.getpid() == 1:
                bury_orphans(spared=[other.pid for other in self._children])
        return child

    def _look(self) -> None:
        """Report when no child can start, and when one has started again: once for each period of trouble."""
        self._ever_started = self._ever_started or any(child.started for child in self._children)
        cause = self.trouble
        for child in self._children:
            if child.unstarted is not None:
                self._count_failed(child)
        if (cause is None) == (self._told is None):
            return
        self._told = cause
        if cause is None:
            logger.warning("start.recovered")
        else:
            logger.error("start.failed", extra={"cause": cause})
        self._on_trouble(cause)

    def _count_failed(self, child: Child) -> None:
        """Count the start of this child as failed, once."""
        if not child.counted:
            child.counted = True
            self._unreported += 1
            self._failed.set()

    async def _report_for_ever(self) -> None:
        """Report failed starts as they happen, and again from time to time while no child can start."""
        while True:
            try:
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._failed.wait()
            except TimeoutError:
                await self._report(again=True)
            else:
                self._failed.clear()
                await self._report()

    async def _report(self, *, again: bool = False) -> None:
        """Tell a server why no child can start, if that is so and a start has failed, or in any case ``again``."""
        async with self._report_lock:
            if self._unreported or again:
                await self._send_report()

    async def _send_report(self) -> None:
        pausing = pauses(*REPORT_PAUSE_SECONDS)
        counted, self._reports = self._unreported, self._reports + 1
        while (cause := self.trouble) is not None:
            report = StartsFailed(
                supervisor=self._id,
                number=self._reports,
                host=socket.gethostname()[:NAME_LENGTH_MOST],
                application=self._options.application,
                cause=_printable(cause)[:CAUSE_LENGTH_MOST],
                failures=counted,
                version=self._options.version,
            )
            try:
                await self._server.fail_starts(report)
                break
            except ServerSilent:
                await asyncio.sleep(next(pausing))
            except FairlaneError:  # A server of an earlier release, or one that refuses this worker.
                break
        self._unreported = max(0, self._unreported - counted)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.leaving.wait(), seconds)

    def _give_up(self, message: str) -> None:
        """Stop restarting: another start would fail the same way."""
        self.leaving.set()
        if self.broken is None:
            self.broken = message
            logger.error("worker.broken", extra={"cause": message})
            if self._on_broken is not None:
                self._on_broken(message)
