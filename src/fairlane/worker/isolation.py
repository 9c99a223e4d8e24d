"""Isolated processes, seen from the worker process: start, reuse for one attempt at a time, kill one alone."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import msgspec

from fairlane.errors import FairlaneError
from fairlane.loops import hidden_task
from fairlane.protocol import LeaseBody, ProgressBody, ReportBody
from fairlane.worker.channel import (
    Broken,
    Cancel,
    Done,
    Leave,
    ParentEnd,
    Progressed,
    Ready,
    RunLease,
    Starting,
    Unstarted,
)
from fairlane.worker.options import Options
from fairlane.worker.watcher import marked

LEAVE_SECONDS = 1.0
LAST_SECONDS = 0.5
"""How long the processes below a killed isolated process may take to end."""


class IsolatedDied(FairlaneError):
    """The isolated process ended before it reported."""


class IsolatedProcesses:
    """A stack of idle isolated processes; grows to the number of attempts that ran at once."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._grace_seconds = options.kill_grace_seconds / 2
        self._line_limit_bytes = 2 * options.result_limit_bytes + 2**20
        self._idle: list[_Isolated] = []

    async def run(self, lease: LeaseBody, deadline: float, *, said: Callable[[ProgressBody], None]) -> ReportBody:
        """Run one attempt in an isolated process; ``said`` is called with its progress.

        Canceling the caller asks the handler to end; the process is killed if it runs beyond the grace period. A
        process that dies loses this attempt and no other.
        """
        working = hidden_task(asyncio.get_running_loop(), self._attempt(lease, deadline, said))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # The deadline, a cancellation or the end of a drain. The handler is asked once; a second cancellation does
            # not wait.
            working.cancel()
            return await working

    async def close(self) -> None:
        """Let the idle processes run their stop hooks, for a short time at most."""
        idle, self._idle = self._idle, []
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(hidden_task(loop, isolated.leave()) for isolated in idle))

    async def _attempt(self, lease: LeaseBody, deadline: float, said: Callable[[ProgressBody], None]) -> ReportBody:
        isolated = self._idle.pop() if self._idle else None
        try:
            if isolated is None or not isolated.alive():
                isolated = _Isolated(self._line_limit_bytes)
                await isolated.start(self._options)
            report = await self._answer(isolated, lease, deadline, said)
        except IsolatedDied as death:
            return _failed(lease, f"lost: {death}", reason="lost")
        except (asyncio.CancelledError, TimeoutError):
            return _failed(lease, "timeout", reason="overdue")
        else:
            # A process that was asked to end may have left programs running, so it is not used again.
            if not isolated.asked_to_end:
                self._idle.append(isolated)
                isolated = None
            return report
        finally:
            if isolated is not None:
                await isolated.kill()

    async def _answer(
        self, isolated: "_Isolated", lease: LeaseBody, deadline: float, said: Callable[[ProgressBody], None]
    ) -> ReportBody:
        isolated.parent_end.send(
            RunLease(
                lease=lease.lease,
                task=lease.task,
                organization=lease.organization,
                task_type=lease.task_type,
                attempt=lease.attempt,
                attempts=lease.attempts,
                seconds=max(0.0, deadline - time.monotonic()),
                payload=bytes(lease.payload).decode(),
                call=lease.call,
                traceparent=lease.traceparent or None,
            )
        )
        reporting = hidden_task(asyncio.get_running_loop(), isolated.report(said))
        try:
            return await asyncio.shield(reporting)
        except asyncio.CancelledError:
            isolated.ask_to_end()
            return await asyncio.wait_for(reporting, self._grace_seconds)


class _Isolated:
    """One isolated process."""

    def __init__(self, line_limit_bytes: int) -> None:
        self.parent_end = ParentEnd(line_limit_bytes=line_limit_bytes)
        self._child: asyncio.subprocess.Process | None = None
        self.asked_to_end = False

    async def start(self, options: Options) -> None:
        fd = self.parent_end.theirs.fileno()
        # Copies: a process that this one forks closes what it inherited (boot.py), and uvloop forks to start this one.
        kept = [os.dup(inherited) for inherited in options.inherit_fds]
        try:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fairlane.worker.isolated", options.argument(channel=fd, inherit_fds=kept),
                pass_fds=(fd, *kept), stdin=asyncio.subprocess.DEVNULL, env=marked(os.environ), start_new_session=True,
                cwd=options.folder or None,
            )  # fmt: skip
        finally:
            for copy in kept:
                os.close(copy)
        await self.parent_end.open()
        while isinstance(note := await self.parent_end.receive(), Starting):
            pass
        match note:
            case Ready():
                return
            case Broken(message=cause) | Unstarted(cause=cause):
                raise IsolatedDied(cause)
            case _:
                await self._lost()

    def alive(self) -> bool:
        return self._child is not None and self._child.returncode is None

    def ask_to_end(self) -> None:
        self.asked_to_end = True
        self.parent_end.send(Cancel())

    async def report(self, said: Callable[[ProgressBody], None]) -> ReportBody:
        while isinstance(note := await self.parent_end.receive(), Progressed):
            for one in note.progress:
                said(one)
        if not isinstance(note, Done):
            await self._lost()
        note.report.result = msgspec.Raw(note.result)
        return note.report

    async def leave(self) -> None:
        assert self._child is not None
        self.parent_end.send(Leave())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._child.wait()
        await self.kill()

    async def kill(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
            await self._child.wait()
            await self.parent_end.hung_up(LAST_SECONDS)
        self.parent_end.close()

    async def _lost(self) -> NoReturn:
        assert self._child is not None
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        raise IsolatedDied(f"the isolated process ended with status {await self._child.wait()}")


def _failed(lease: LeaseBody, cause: str, *, reason: str) -> ReportBody:
    return ReportBody(lease=lease.lease, outcome="failed", cause=cause[:500], reason=reason)
