"""The line between a parent process and its child: one JSON object per line over a socket pair, both ways.

Two pairs speak it: supervisor and worker process, worker process and isolated process. It ends when either side dies,
and a child whose parent is gone ends at once. Nothing is ever pickled.
"""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from typing import NoReturn

import msgspec
from msgspec import Struct

from fairlane.protocol import ProgressBody, ReportBody

ORPHANED = 75
"""Exit status of a child that lost its parent."""


class HeldLease(Struct):
    """A lease the child now runs; the supervisor watches its time."""

    id: str
    timeout_seconds: float


# Child to parent -----------------------------------------------------------------------------------------------------


class Ready(Struct, tag="ready"):
    """The application is imported and its start hooks have run."""

    types: list[str]


class Broken(Struct, tag="broken"):
    """The application cannot be loaded, and would not be if the child were started again as it is written now."""

    message: str
    cause: str = ""
    """The same without the text of the exception, which may have a secret in it."""


class Starting(Struct, tag="starting"):
    """What the child does before it is ready: its import of the application, then each start hook."""

    step: str


class Unstarted(Struct, tag="unstarted"):
    """A start hook failed; starting the child again may help."""

    cause: str


class Opened(Struct, tag="opened"):
    """An exchange is about to be sent for the first time; the attempts of ``ended`` are over."""

    exchange: str
    ended: list[str]


class Pulse(Struct, tag="pulse"):
    """The event loop turns. Said several times a second: silence means that a handler holds it, or the interpreter."""


class Seen(Struct, tag="seen"):
    """What the event loop's thread does at this moment, the answer to ``Look``."""

    place: str
    """The innermost line of the application's own code, or of any if there is none."""
    lease: str = ""
    """Whose handler it is; nothing if that cannot be told."""
    task: str = ""
    task_type: str = ""
    attempt: int = 0


class Stopped(Struct, tag="stopped"):
    """These attempts are over; their reports wait for a free exchange."""

    ended: list[str]


class Closed(Struct, tag="closed"):
    """The answer to an exchange is there: leases received, leases whose verdict came, and leases that are to end."""

    exchange: str
    leases: list[HeldLease]
    settled: list[str]
    canceled: list[str] = []
    finished: int = 0
    """Of the settled leases those whose attempt ended, and was not handed back."""
    returned: int = 0
    """Those that were handed back."""


class Done(Struct, tag="done"):
    """An isolated attempt is over. The result travels beside the report as a string, which cannot break a line."""

    report: ReportBody
    result: str


class Progressed(Struct, tag="progressed"):
    """How far an isolated attempt is."""

    progress: list[ProgressBody]


# Parent to child -----------------------------------------------------------------------------------------------------


class Session(Struct, tag="session"):
    """The supervisor registered the child; it may begin to work."""

    id: str


class Drain(Struct, tag="drain"):
    """Take nothing new; end what runs within so many seconds, then exit."""

    seconds: float


class Look(Struct, tag="look"):
    """Say what the event loop does: it stands still. Answered beside the loop, by a thread that waits for notes."""


class Run(Struct, tag="run"):
    """Run one attempt in an isolated process; ``seconds`` are left until its deadline."""

    lease: str
    task: str
    organization: str
    task_type: str
    attempt: int
    attempts: int
    seconds: float
    payload: str
    call: bool = False
    traceparent: str | None = None
    """The attempt's span; None: nobody traces it."""


class Cancel(Struct, tag="cancel"):
    """The running attempt is no longer wanted."""


class Leave(Struct, tag="leave"):
    """Run the stop hooks and exit."""


FromChild = Ready | Broken | Starting | Unstarted | Opened | Pulse | Seen | Stopped | Closed | Done | Progressed
ToChild = Session | Drain | Look | Run | Cancel | Leave

_from_child = msgspec.json.Decoder(FromChild)
_to_child = msgspec.json.Decoder(ToChild)


class ChildEnd:
    """The child's end. Writes block, which is right: a parent that does not read has to be waited for."""

    def __init__(self, fd: int) -> None:
        # Programs the handlers start must not hold the line open.
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._writing = threading.Lock()

    def send(self, note: FromChild) -> None:
        """Tell the parent. If it is gone, so is this process."""
        line = msgspec.json.encode(note) + b"\n"
        try:
            with self._writing:
                self._socket.sendall(line)
        except OSError:
            _leave_orphaned()

    def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[ToChild], None],
        *,
        look: Callable[[], Seen] = lambda: Seen(place=""),
    ) -> None:
        """Call ``heard`` on the loop for each note, from a thread that a stuck loop does not stop.

        ``look`` is called on that thread, and what it returns is sent.
        """

        def read() -> None:
            try:
                with self._socket.makefile("rb") as lines:
                    for line in lines:
                        note = _to_child.decode(line)
                        if isinstance(note, Look):
                            self.send(look())
                        else:
                            loop.call_soon_threadsafe(heard, note)
            except OSError:
                pass
            _leave_orphaned()

        threading.Thread(target=read, name="fairlane-channel", daemon=True).start()


class ParentEnd:
    """The parent's end, for an event loop."""

    def __init__(self, *, line_limit_bytes: int = 16 * 2**20) -> None:
        self._line_limit_bytes = line_limit_bytes
        ours, self.theirs = socket.socketpair()
        self._ours: socket.socket | None = ours
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    async def open(self) -> None:
        """Call once the child has been started: its end is its own from then on."""
        self.theirs.close()
        assert self._ours is not None
        self._reader, self._writer = await asyncio.open_connection(sock=self._ours, limit=self._line_limit_bytes)
        self._ours = None

    def send(self, note: ToChild) -> None:
        """Tell the child. A dead one does not mind."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(note) + b"\n")

    async def receive(self) -> FromChild | None:
        """The next note; None: the child is gone, or what it sends makes no sense."""
        assert self._reader is not None
        try:
            line = await self._reader.readline()
            return _from_child.decode(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            # ValueError: a line beyond the limit, or one that is no note (msgspec's errors are ValueErrors).
            return None

    async def hung_up(self, seconds: float) -> None:
        """Wait until no process holds the child's end, for so long at most."""
        if self._reader is not None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(seconds):
                    while await self._reader.read(65_536):
                        pass

    def close(self) -> None:
        """Hang up. The child's end reads the end of the line and exits."""
        self.theirs.close()
        if self._writer is not None:
            self._writer.transport.abort()
        if self._ours is not None:
            self._ours.close()


def _leave_orphaned() -> NoReturn:
    os._exit(ORPHANED)
