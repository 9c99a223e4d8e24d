"""One worker process as its supervisor sees it, from start to end.

The child announces each step before it takes it. So the supervisor always knows which leases the child holds and which
of its exchanges are unanswered: it can renew for a blocked child, and name the leases of a dead one.
"""

import asyncio
import contextlib
import logging
import math
import random
import socket
import sys
from collections.abc import Callable

from msgspec import Struct

from fairlane.errors import SessionGone
from fairlane.protocol import EndSession, Register, Registered, Renew
from fairlane.worker.channel import (
    Broken,
    Closed,
    Drain,
    ExchangeOpened,
    FromChild,
    LookNow,
    LoopSeen,
    OpenSession,
    ParentEnd,
    Pulse,
    Ready,
    Starting,
    Stopped,
    Unstarted,
)
from fairlane.worker.options import Options
from fairlane.worker.server import ServerClient, ServerRefused, ServerSilent, pauses

SILENCE_SHARE = 5 / 6
"""Share of the lease time after which a child is killed if its session could not be renewed."""
DRAIN_EXTRA_SECONDS = 1.5
"""How long a child may take after its drain to hand back leases and run its stop hooks."""
DISMISSED_SECONDS = 7 * 86_400.0
"""How long a child that an operator drains may run its attempts, in addition to the time limit of each."""
LAST_NOTES_SECONDS = 0.5
"""How long a child may live without its channel, and its channel without the child."""
LOOK_SECONDS = 0.25
SILENT_SECONDS = 1.25
"""A child with a last pulse older than this is blocked. More than twice the child's own limit for a stall, so that
the child has noticed every stall that the supervisor notices.
"""
END_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
REGISTER_SECONDS = (0.1, 1.0)
"""First and longest pause before another attempt to open a session."""

START_SECONDS = 60.0
"""A child that has not started after this time is reported. It is not killed: large models take long to load."""

logger = logging.getLogger("fairlane.worker")


class Tally(Struct, kw_only=True):
    """Results of a child's attempts since its drain began."""

    finished: int = 0
    returned: int = 0
    """Attempts handed back. They do not count as attempts."""
    lost: int = 0
    """Attempts that ended with their process. They count as attempts."""


class Child:
    """One worker process. Call ``run`` once; the other methods may be called at any time meanwhile.

    ``changed`` is called on the loop when the child has started, and when its start takes too long. ``reported``
    returns the id of the supervisor and the number of its last report of failed starts.
    """

    def __init__(
        self,
        options: Options,
        server: ServerClient,
        *,
        changed: Callable[[], None] = lambda: None,
        reported: Callable[[], tuple[str, int]] = lambda: ("", 0),
    ) -> None:
        self._options = options
        self._reported = reported
        self._changed = changed
        self._server = server
        self._loop = asyncio.get_running_loop()
        self.line = ParentEnd()
        self._process: asyncio.subprocess.Process | None = None
        self._session: Registered | None = None
        self._held: dict[str, float] = {}
        """Leases received and not settled, with the time to kill the process; infinity once the attempt is over."""
        self._unanswered: set[str] = set()
        self._pulse_at: float | None = None
        """When the child's last pulse arrived, or None before it has a session."""
        self._wake_at = math.inf
        self._wake = asyncio.Event()
        self._reason = "lost"
        self._overdue: list[str] = []
        self._hurried = self._unwanted = self._killed = False
        self.dismissed = False
        """Whether an operator wants it to end, so that no other one takes its place."""
        self.ready = asyncio.Event()
        """Set once the child has its session."""
        self.counted = False
        """Whether the supervisor has counted its start as failed."""
        self.started = False
        """Whether the application was imported and its start hooks have run."""
        self.refused: str | None = None
        """Why every server refuses this worker, or None if no refusal is known."""
        self.broken: str | None = None
        """Why the application cannot be loaded, with the text of the exception, or None if no failure is known."""
        self.tally = Tally()
        self._step = "its own start"
        self.cause: str | None = None
        """Why the start failed, as the child told it, without the text of an exception."""
        self._began_at = self._loop.time()

    @property
    def pid(self) -> int | None:
        """Return the child's process id, or None before it is started."""
        return self._process.pid if self._process is not None else None

    @property
    def held(self) -> frozenset[str]:
        """Return the leases that the child has received and not settled."""
        return frozenset(self._held)

    @property
    def unstarted(self) -> str | None:
        """Return why the child did not start in time, or None if it has or still may. Never contains an exception's
        text.
        """
        if self.started:
            return None
        if self.cause is not None:
            return self.cause
        if self._process is not None and self._process.returncode is not None:
            return f"a worker process ended in {self._step} with status {self._process.returncode}"
        if self._loop.time() - self._began_at >= START_SECONDS:
            return f"{self._step} has not ended for {START_SECONDS:.0f} s"
        return None

    async def run(self) -> None:
        """Start the child, watch it until it ends, end its session."""
        fd = self.line.theirs.fileno()
        inherited = self._options.inherit_fds
        hanging = self._loop.call_later(START_SECONDS, self._changed)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fairlane.worker", self._options.argument(channel=fd, inherit_fds=inherited),
                pass_fds=(fd, *inherited), stdin=asyncio.subprocess.DEVNULL, env=self._options.environment(),
                start_new_session=True,
            )  # fmt: skip
            await self.line.open()
            if self._unwanted:
                self._kill()
            await self._watch(self._process)
        finally:
            hanging.cancel()
            if self._process is not None and self._process.returncode is None:
                self._kill()
                await self._process.wait()
            self.line.close()
            await self._end_session()

    async def drain(self, seconds: float) -> None:
        """Let running attempts end, and hand back those that still run after ``seconds``. Return when the child is
        gone.
        """
        self._reason = "drained"
        self.tally = Tally()
        if self._process is None:
            self._unwanted = True
            return
        if self._session is None:
            self._kill()
        self.line.send(Drain(seconds=seconds))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds + DRAIN_EXTRA_SECONDS)
        self._kill()
        await self._process.wait()

    def stop(self) -> None:
        """Kill the child now."""
        self._hurried = self._unwanted = True
        self._kill()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Watch until the process is gone and its last notes are read."""
        listening = self._loop.create_task(self._listen(process))
        watching = [
            listening,
            self._loop.create_task(self._end_overdue()),
            self._loop.create_task(self._watch_pulse()),
        ]
        try:
            status = await process.wait()
            logger.info("worker.ended", extra={"pid": process.pid, "status": status, "reason": self._reason})
            # The channel ends with the last process below the child, so an attempt that is handed back starts only
            # after that.
            await asyncio.wait([listening], timeout=LAST_NOTES_SECONDS)
            if self._reason == "drained" and status and not self._killed:
                self._reason = "lost"
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        renewing: asyncio.Task[None] | None = None
        try:
            while (note := await self.line.receive()) is not None:
                if isinstance(note, Ready):
                    self.started = True
                    self._changed()
                    renewing = self._loop.create_task(self._keep_session(note.types))
                else:
                    self._hear(note)
            # Without its channel the child cannot be controlled. It is about to end, most likely, and its own status
            # tells how.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), LAST_NOTES_SECONDS)
            self._kill()
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)

    def _hear(self, note: FromChild) -> None:
        match note:
            case Pulse():
                self._pulse_at = self._loop.time()
            case ExchangeOpened(exchange=exchange, ended=ended):
                self._unanswered.add(exchange)
                self._attempts_ended(ended)
            case Stopped(ended=ended):
                self._attempts_ended(ended)
            case Closed(exchange=exchange, leases=leases, settled=settled, canceled=canceled):
                self._unanswered.discard(exchange)
                self.tally.finished += note.finished
                self.tally.returned += note.returned
                for lease_id in settled:
                    self._held.pop(lease_id, None)
                grace = self._loop.time() + self._options.kill_grace_seconds
                for lease in leases:
                    self._hold(lease.id, grace + lease.timeout_seconds)
                self._cancel(canceled)
            case LoopSeen() if note.place:
                self._name_holder(note)
            case Starting(step=step):
                self._step = step
            case Unstarted(cause=cause):
                self.cause = cause
            case Broken(message=message, cause=cause):
                self.broken, self.cause = message, cause

    def _hold(self, lease_id: str, overdue_at: float) -> None:
        self._held[lease_id] = overdue_at
        if overdue_at < self._wake_at:
            self._wake.set()

    def _cancel(self, leases: list[str]) -> None:
        """Give these attempts the grace period from now; if one runs longer, the process is killed."""
        overdue_at = self._loop.time() + self._options.kill_grace_seconds
        for lease_id in leases:
            held_until = self._held.get(lease_id, math.inf)
            if overdue_at < held_until < math.inf:
                self._hold(lease_id, overdue_at)

    def _attempts_ended(self, leases: list[str]) -> None:
        for lease_id in leases:
            if lease_id in self._held:
                self._held[lease_id] = math.inf

    # The session -----------------------------------------------------------------------------------------------------

    async def _keep_session(self, types: list[str]) -> None:
        """Register, then renew for as long as the child lives; kill the child when its session cannot be renewed."""
        try:
            session, confirmed_at = await self._register(types)
            self.line.send(OpenSession(id=session.session))
            self.ready.set()
            logger.info("worker.ready", extra={"pid": self.pid, "session": session.session})
            while True:
                # The lease begins at the server, so a late answer to the last request leaves less of it.
                await asyncio.sleep(max(0.0, confirmed_at + session.renew_seconds - self._loop.time()))
                # After a stall of this loop there is always time for one more try.
                hopeless_at = confirmed_at + session.lease_seconds * SILENCE_SHARE
                async with asyncio.timeout_at(max(hopeless_at, self._loop.time() + session.renew_seconds / 2)):
                    confirmed_at = await self._renew(session)
        except SessionGone:
            logger.warning("session.gone", extra={"pid": self.pid})
        except TimeoutError:
            logger.warning("session.unrenewed", extra={"pid": self.pid})
        except ServerRefused as refused:
            logger.error("session.refused", extra={"pid": self.pid, "cause": str(refused)})
            if self._session is None:
                self.refused = f"the server refuses this worker: {refused}"
        self._kill()

    async def _register(self, types: list[str]) -> tuple[Registered, float]:
        """Send a registration until it is answered; return the session, and when the answered one was sent."""
        name = f"{socket.gethostname()}/{self.pid}"
        options = self._options
        # Since this child has started, no report is written: those up to this number are out of date.
        supervisor, reports = self._reported()
        registration = Register(
            name=name,
            types=types,
            places=options.places,
            local=options.local,
            version=options.version,
            application=options.application,
            supervisor=supervisor,
            reports=reports,
        )
        pausing, said = pauses(*REGISTER_SECONDS), set[str]()
        while True:
            sent_at = self._loop.time()
            try:
                self._session = await self._server.register(registration)
                return self._session, sent_at
            except ServerSilent as silence:
                cause = str(silence)
                if cause not in said:  # Logged once, however long no server answers, and whichever of them is asked.
                    said.add(cause)
                    logger.warning("session.unopened", extra={"pid": self.pid, "cause": cause})
            await asyncio.sleep(next(pausing))

    async def _renew(self, session: Registered) -> float:
        """Send a renewal until it is answered; return when the answered one was sent."""
        while True:
            sent_at = self._loop.time()
            try:
                renewal = Renew(leases=list(self._held), exchanges=list(self._unanswered))
                renewed = await self._server.renew(session.session, renewal)
                self._cancel(renewed.cancel)
                if renewed.drain is True and not self.dismissed:
                    self._dismiss()
                return sent_at
            except ServerSilent:
                await asyncio.sleep(session.renew_seconds * random.uniform(0.05, 0.1))  # noqa: S311

    def _dismiss(self) -> None:
        """Let the running attempts end, each within its own time limit; then the child ends."""
        logger.info("worker.dismissed", extra={"pid": self.pid})
        self.dismissed, self._reason = True, "drained"
        self.line.send(Drain(seconds=DISMISSED_SECONDS))

    async def _end_session(self) -> None:
        """End the session, which returns its leases at once. If no server answers, the server's sweep does it later."""
        if self._session is None:
            return
        ending = EndSession(reason=self._reason, overdue=self._overdue)
        for pause in (0.0,) if self._hurried else END_PAUSES_SECONDS:
            try:
                ended = await self._server.end(self._session.session, ending)
            except ServerSilent:
                await asyncio.sleep(pause)
            except (SessionGone, ServerRefused):
                break
            else:
                self._count_ended(ended.returned)
                extra = {"session": self._session.session, "reason": self._reason, "returned": ended.returned}
                logger.info("session.ended", extra=extra)
                return
        self.tally.lost += len(self._held)

    def _count_ended(self, returned: int) -> None:
        """Count the attempts that the end of the session returned, and those with an unconfirmed report."""
        lost = returned if self._reason != "drained" else min(returned, len(self._overdue))
        self.tally.lost += lost
        self.tally.returned += returned - lost
        self.tally.finished += max(0, len(self._held) - returned)

    # A blocked child -------------------------------------------------------------------------------------------------

    async def _watch_pulse(self) -> None:
        """While the child's loop is blocked, withdraw the leases that the server handed to its open exchanges.

        A handler that blocks the interpreter stops its own process only: other processes get the work at once. A child
        that is silent for most of a lease is killed, unless a running attempt explains it: that attempt's deadline ends
        it.
        """
        silent_looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            silent = self._loop.time() - self._pulse_at if self._pulse_at is not None else 0.0
            # A single late pulse may be due to a stall of this loop, with pulses waiting to be read.
            silent_looks = silent_looks + 1 if silent > SILENT_SECONDS else 0
            if silent_looks < 2 or self._session is None:
                continue
            if silent_looks == 2:
                extra = {"pid": self.pid, "exchanges": len(self._unanswered), "leases": ",".join(self._held)}
                logger.warning("worker.silent", extra=extra)
                self.line.send(LookNow())
            unexplained = math.isinf(min(self._held.values(), default=math.inf))
            if unexplained and silent > self._session.lease_seconds * SILENCE_SHARE:
                logger.warning("worker.frozen", extra={"pid": self.pid})
                self._kill()
                return
            await self._withdraw(self._session)

    def _name_holder(self, seen: LoopSeen) -> None:
        """Log which handler blocks the child's loop, unless the loop runs again by now."""
        seconds = self._loop.time() - (self._pulse_at or self._loop.time())
        if seconds > LOOK_SECONDS:
            extra = {"pid": self.pid, "seconds": round(seconds, 1), "place": seen.place}
            if seen.lease:
                extra |= {"task_type": seen.task_type, "task_id": seen.task, "attempt": seen.attempt}
            logger.warning("loop.held", extra=extra)

    async def _withdraw(self, session: Registered) -> None:
        open_now = list(self._unanswered)
        renewal = Renew(leases=list(self._held), exchanges=open_now, withdrawn=open_now)
        with contextlib.suppress(ServerSilent, ServerRefused, SessionGone):
            renewed = await self._server.renew(session.session, renewal)
            self._cancel(renewed.cancel)

    # Ending the child ------------------------------------------------------------------------------------------------

    async def _end_overdue(self) -> None:
        """Kill the child once an attempt has not ended after its deadline and grace period."""
        while True:
            self._wake.clear()
            self._wake_at = min(self._held.values(), default=math.inf)
            with contextlib.suppress(TimeoutError):
                timeout = None if self._wake_at == math.inf else self._wake_at - self._loop.time()
                await asyncio.wait_for(self._wake.wait(), timeout)
            now = self._loop.time()
            overdue = [lease_id for lease_id, overdue_at in self._held.items() if overdue_at <= now]
            if overdue:
                logger.warning("worker.overdue", extra={"pid": self.pid, "leases": ",".join(overdue)})
                self._reason, self._overdue = "overdue", overdue
                self._kill()
                return  # Its leases stay overdue until it is gone, and the loop must not spin until then.

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._killed = True
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
