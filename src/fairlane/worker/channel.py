"""The channel between a parent process and its child: one JSON object per line over a socket pair, both ways.

Used between supervisor and worker process, and between worker process and isolated process. It ends when either side
dies, and a child that lost its parent ends at once. Nothing is ever pickled.
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


class ChildLease(Struct):
    """A lease that the child now runs; the supervisor enforces its deadline."""

    id: str
    timeout_seconds: float


# Child to parent -----------------------------------------------------------------------------------------------------


class Ready(Struct, tag="ready"):
    """The application is imported and its start hooks have run."""

    types: list[str]


class Broken(Struct, tag="broken"):
    """The application cannot be loaded; with the same code, another start would fail, too."""

    message: str
    cause: str = ""
    """The message without the exception's text, which may contain a secret."""


class Starting(Struct, tag="starting"):
    """The child's current step before it is ready: the import of the application, then each start hook."""

    step: str


class Unstarted(Struct, tag="unstarted"):
    """A start hook failed; starting the child again may help."""

    cause: str


class ExchangeOpened(Struct, tag="opened"):
    """An exchange is about to be sent for the first time; the attempts of ``ended`` are over."""

    exchange: str
    ended: list[str]


class Pulse(Struct, tag="pulse"):
    """The event loop runs. Sent several times a second; silence means that a handler blocks it, or the interpreter."""


class LoopSeen(Struct, tag="seen"):
    """What the event loop's thread is doing at this moment: the answer to ``LookNow``."""

    place: str
    """The innermost line of the application's own code, or of any code if there is none."""
    lease: str = ""
    """The lease of the handler that runs; empty if that cannot be determined."""
    task: str = ""
    task_type: str = ""
    attempt: int = 0


class Stopped(Struct, tag="stopped"):
    """These attempts are over; their reports wait for a free exchange."""

    ended: list[str]


class Closed(Struct, tag="closed"):
    """An exchange was answered: leases received, leases with a verdict, and leases to end."""

    exchange: str
    leases: list[ChildLease]
    settled: list[str]
    canceled: list[str] = []
    finished: int = 0
    """Number of settled attempts that ended and were not handed back."""
    returned: int = 0
    """Number of settled attempts that were handed back."""


class Done(Struct, tag="done"):
    """An isolated attempt is over. The result travels next to the report, as a string that contains no line break."""

    report: ReportBody
    result: str


class Progressed(Struct, tag="progressed"):
    """The progress of an isolated attempt."""

    progress: list[ProgressBody]


# Parent to child -----------------------------------------------------------------------------------------------------


class OpenSession(Struct, tag="session"):
    """The supervisor registered the child; the child may start to work."""

    id: str


class Drain(Struct, tag="drain"):
    """Take no new work; end what runs within ``seconds``, then exit."""

    seconds: float


class LookNow(Struct, tag="look"):
    """Say what the blocked event loop is doing. Answered by a thread of its own that reads the channel."""


class RunLease(Struct, tag="run"):
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
    """The trace context of the attempt's span, or None if it is not traced."""


class Cancel(Struct, tag="cancel"):
    """End the running attempt."""


class Leave(Struct, tag="leave"):
    """Run the stop hooks and exit."""


FromChild = (
    Ready | Broken | Starting | Unstarted | ExchangeOpened | Pulse | LoopSeen | Stopped | Closed | Done | Progressed
)
ToChild = OpenSession | Drain | LookNow | RunLease | Cancel | Leave

_from_child = msgspec.json.Decoder(FromChild)
_to_child = msgspec.json.Decoder(ToChild)


class ChildEnd:
    """The child's end. Writes block on purpose: the child waits for a parent that does not read."""

    def __init__(self, fd: int) -> None:
        # Programs that handlers start must not keep the channel open.
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._writing = threading.Lock()

    def send(self, note: FromChild) -> None:
        """Send a note to the parent; exit this process if the parent is gone."""
        line = msgspec.json.encode(note) + b"\n"
        try:
            with self._writing:
                self._socket.sendall(line)
        except OSError:
            _leave_orphaned()

    def let_go(self) -> None:
        """Give up this end, in a copy of this process that a handler forked: the copy ends with its first note."""
        self._writing = threading.Lock()  # A thread that the copy does not have may hold the other one.
        os.close(self._socket.detach())

    def listen(
        self,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[ToChild], None],
        *,
        look: Callable[[], LoopSeen] = lambda: LoopSeen(place=""),
    ) -> None:
        """Call ``heard`` on the loop for each note, from a thread that a blocked loop does not stop.

        ``look`` is called on that thread, and its result is sent.
        """

        def read() -> None:
            try:
                with self._socket.makefile("rb") as lines:
                    for line in lines:
                        note = _to_child.decode(line)
                        if isinstance(note, LookNow):
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
        """Connect the loop to the channel. Call it once the child has started: then the child alone holds its end."""
        self.theirs.close()
        assert self._ours is not None
        self._reader, self._writer = await asyncio.open_connection(sock=self._ours, limit=self._line_limit_bytes)
        self._ours = None

    def send(self, note: ToChild) -> None:
        """Send a note to the child. Does nothing if the child is dead."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(note) + b"\n")

    async def receive(self) -> FromChild | None:
        """Return the next note, or None if the child is gone or its note cannot be read."""
        assert self._reader is not None
        try:
            line = await self._reader.readline()
            return _from_child.decode(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            # ValueError: a line beyond the limit, or one that is not a note (msgspec's errors are ValueErrors).
            return None

    async def hung_up(self, seconds: float) -> None:
        """Wait until no process holds the child's end, at most ``seconds``."""
        if self._reader is not None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(seconds):
                    while await self._reader.read(65_536):
                        pass

    def close(self) -> None:
        """Close the channel. The child reads the end of the stream and exits."""
        self.theirs.close()
        if self._writer is not None:
            self._writer.transport.abort()
        if self._ours is not None:
            self._ours.close()


def _leave_orphaned() -> NoReturn:
    os._exit(ORPHANED)
