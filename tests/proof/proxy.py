"""Proxies that know where a message ends: HTTP on one side, PostgreSQL's protocol on the other.

A proxy carries everything unchanged, but for one message that a :class:`Strike` names. There it cuts, resets or stalls
the connection, sends the message twice, or holds it back until later. It runs on a thread of its own.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit, urlunsplit

PIECE_BYTES = 65_536
NONE = -1
"""The number of a message that belongs to no exchange."""
RESET = struct.pack("ii", 1, 0)
"""The option that lets a close send RST."""


class Fault(StrEnum):
    """What happens to a message."""

    CUT = "cut"
    """Both connections are closed in order."""
    RESET = "reset"
    """Both connections end with RST."""
    STALL = "stall"
    """Both connections stay open, and nothing passes any more."""
    TWICE = "twice"
    """A copy of the request arrives at the same time by another connection."""
    LATE = "late"
    """The sender's connection is cut, and the request arrives after all that was sent in its place."""


@dataclass(frozen=True, slots=True)
class Point:
    """A message of an exchange: its number among those of its direction, and how much of it passes before."""

    up: bool
    """Towards the server, or back."""
    number: int
    half: bool = False
    """Its first half passes; otherwise nothing of it."""

    def __str__(self) -> str:
        return f"{'half of ' if self.half else ''}{'request' if self.up else 'answer'} {self.number}"


@dataclass(slots=True)
class Message:
    """One message on its way, and what the proxy knows of the exchange that it belongs to."""

    up: bool
    number: int
    data: bytes
    names: tuple[str, ...] = ()
    """PostgreSQL: the statements of the exchange up to here."""


@dataclass(slots=True)
class Strike:
    """One fault at one message. It happens once."""

    fault: Fault
    point: Point
    names: tuple[str, ...] = ()
    """PostgreSQL: the statements of the exchange in order; the message belongs to one that began with the same."""
    struck: threading.Event = field(default_factory=threading.Event)

    def meets(self, message: Message) -> bool:
        """Return whether this is the message."""
        return (
            not self.struck.is_set()
            and (message.up, message.number) == (self.point.up, self.point.number)
            and message.names == self.names[: len(message.names)]
        )


# Where messages end --------------------------------------------------------------------------------------------------


class HttpMessages:
    """Splits one direction of HTTP/1.1 into messages."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each message that is complete."""
        self._buffer += data
        while (end := self._end()) is not None:
            yield self._buffer[:end]
            self._buffer = self._buffer[end:]

    def _end(self) -> int | None:
        head, found, _ = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        start, lines = len(head) + 4, head.lower().split(b"\r\n")
        if any(line.startswith(b"transfer-encoding:") for line in lines):
            return self._end_of_chunks(start)
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return start + length if len(self._buffer) >= start + length else None

    def _end_of_chunks(self, at: int) -> int | None:
        while (line := self._buffer.find(b"\r\n", at)) >= 0:
            size = int(self._buffer[at:line].partition(b";")[0], 16)
            at = line + 2 + size + 2
            if size == 0:
                return at if len(self._buffer) >= at else None
        return None


class PostgresMessages:
    """Splits one direction of PostgreSQL's protocol, version 3, into its messages."""

    def __init__(self, *, greeted: bool) -> None:
        """``greeted``: the first message has a type, as each message of a server has."""
        self._buffer = b""
        self._greeted = greeted

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield each message that is complete."""
        self._buffer += data
        while True:
            head = 1 if self._greeted else 0
            if len(self._buffer) < head + 4:
                return
            end = head + int(struct.unpack_from("!i", self._buffer, head)[0])
            if len(self._buffer) < end:
                return
            yield self._buffer[:end]
            self._buffer, self._greeted = self._buffer[end:], True


class Statements:
    """Numbers the messages of one connection to PostgreSQL within the exchange that they belong to.

    An exchange is a transaction, or a statement outside of one. The requests are its messages but Parse, which a
    statement has only at its first use on a connection; the answers are everything up to one ReadyForQuery.
    """

    ENDS = ("commit", "rollback")

    def __init__(self) -> None:
        self.names: list[str] = []
        self._sent = 0
        self._answers = 0
        self._asked: deque[tuple[int, tuple[str, ...]]] = deque()
        """For each Sync without an answer, the number of that answer in its exchange, and the statements until then."""
        self._open = False
        self.greeted = False
        """Whether the server has accepted the connection."""
        self.rest = b""
        """The beginning of an answer."""
        self.ended: Callable[[tuple[str, ...], int, int], None] = lambda names, requests, answers: None

    def request(self, data: bytes) -> Message:
        """Take a request; return it with its number."""
        kind = data[:1]
        if kind in b"BP":
            name = _name_of(data)
            if not self._open:
                self.names, self._sent, self._answers, self._open = [], 0, 0, True
            if kind == b"P":
                return Message(True, self._sent, data, (*self.names, name))
            self.names.append(name)
        if not self._open:
            return Message(True, NONE, data)
        message = Message(True, self._sent, data, tuple(self.names))
        self._sent += 1
        if kind == b"S":
            self._asked.append((self._answers, message.names))
            self._answers += 1
            begun = self.names[0].startswith("begin")
            if not begun or self.names[-1] in self.ENDS:
                self._open = False
                self.ended(tuple(self.names), self._sent, self._answers)
        return message

    def answer(self, data: bytes) -> Message | None:
        """Take a message of the server; return all of an answer at its end, with the number of the answer."""
        if not self.greeted:
            self.greeted = data[:1] == b"Z"
            return Message(False, NONE, data)
        self.rest += data
        if data[:1] != b"Z":
            return None
        whole, self.rest = self.rest, b""
        number, names = self._asked.popleft() if self._asked else (NONE, ())
        return Message(False, number, whole, names)


def _name_of(data: bytes) -> str:
    """Return the statement that a Parse or Bind names."""
    parts = data[5:].split(b"\0", 2)
    return (parts[0] if data[:1] == b"P" else parts[1]).decode()


# Carrying ------------------------------------------------------------------------------------------------------------


class _Ended(Exception):
    """The connections are closed."""


class Proxy:
    """A TCP port on loopback that leads to a server."""

    def __init__(self, target: str | tuple[str, int], *, postgres: bool = False) -> None:
        """``target`` is the path of a unix socket, or host and port."""
        self._target = target
        self._postgres = postgres
        self.strike: Strike | None = None
        self.log: list[tuple[tuple[str, ...], int, int]] = []
        """PostgreSQL: each exchange that ended, with its statements and the numbers of its requests and answers."""
        self.port = 0
        self._late: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._free: asyncio.Event
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Return its HTTP address."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def carrying(self) -> Iterator["Proxy"]:
        """Carry until the end of the block."""
        begun = threading.Event()
        thread = threading.Thread(target=self._run, args=(begun,), name="proof-proxy", daemon=True)
        thread.start()
        begun.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join()

    def release(self) -> None:
        """End the connections that stand still."""
        self._loop.call_soon_threadsafe(self._free.set)

    def deliver_late(self) -> None:
        """Deliver what was held back, and wait for its answer."""
        asyncio.run_coroutine_threadsafe(self._deliver_late(), self._loop).result(20)

    def _run(self, begun: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(begun))
        self._loop.close()

    async def _serve(self, begun: threading.Event) -> None:
        self._over, self._free = asyncio.Event(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        begun.set()
        await self._over.wait()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far = await self._dial()
        except OSError:
            writer.transport.abort()
        else:
            connection = _Connection(self, (reader, writer), far, postgres=self._postgres)
            with suppress(asyncio.CancelledError):
                await connection.carry()
        finally:
            self._tasks.discard(task)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def send_aside(self, data: bytes) -> None:
        """Deliver a request by a connection of its own, and drop the answer."""
        reader, writer = await self._dial()
        messages = HttpMessages()
        try:
            writer.write(data)
            while piece := await reader.read(PIECE_BYTES):
                if any(messages.feed(piece)):
                    return
        finally:
            writer.close()

    async def _deliver_late(self) -> None:
        while self._late:
            await self.send_aside(self._late.pop())

    def hold_back(self, data: bytes) -> None:
        """Keep a request for :meth:`deliver_late`."""
        self._late.append(data)

    def aside(self, data: bytes) -> None:
        """Deliver a copy while everything goes on."""
        task = asyncio.ensure_future(self.send_aside(data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stand_still(self) -> None:
        """Wait until :meth:`release`."""
        await self._free.wait()


class _Connection:
    """One connection and its other half."""

    def __init__(
        self,
        proxy: Proxy,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        *,
        postgres: bool,
    ) -> None:
        self._proxy = proxy
        self._near, self._far = near, far
        self._stalled = False
        self._statements = Statements() if postgres else None
        if self._statements is not None:
            self._statements.ended = lambda *one: proxy.log.append(one)
        self._numbers = {True: 0, False: 0}

    async def carry(self) -> None:
        """Carry both directions until one of them ends."""
        up, down = asyncio.ensure_future(self._pump(up=True)), asyncio.ensure_future(self._pump(up=False))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            if self._stalled:
                await self._proxy.stand_still()
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for _, writer in (self._near, self._far):
                writer.close()

    async def _pump(self, *, up: bool) -> None:
        reader, writer = (self._near[0], self._far[1]) if up else (self._far[0], self._near[1])
        messages = PostgresMessages(greeted=not up) if self._statements is not None else HttpMessages()
        with suppress(ConnectionError, _Ended):
            while data := await reader.read(PIECE_BYTES):
                for one in messages.feed(data):
                    await self._pass(one, writer, up=up)
                await writer.drain()
            if not up and self._statements is not None:
                writer.write(self._statements.rest)  # the last words of a server that ends the connection

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, *, up: bool) -> None:
        message = self._numbered(data, up=up)
        if message is None:
            return
        if self._stalled:
            await self._proxy.stand_still()
            raise _Ended
        strike = self._proxy.strike
        if strike is None or not strike.meets(message):
            writer.write(message.data)
            return
        strike.struck.set()
        if strike.point.half:
            writer.write(message.data[: len(message.data) // 2])
            await writer.drain()
        await self._strike(strike.fault, message, writer)

    async def _strike(self, fault: Fault, message: Message, writer: asyncio.StreamWriter) -> None:
        match fault:
            case Fault.TWICE:
                self._proxy.aside(message.data)
                writer.write(message.data)
                return
            case Fault.LATE:
                self._proxy.hold_back(message.data)
            case Fault.RESET:
                for _, one in (self._near, self._far):
                    one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    one.transport.abort()
            case Fault.STALL:
                self._stalled = True
                await self._proxy.stand_still()
            case Fault.CUT:
                pass
        raise _Ended

    def _numbered(self, data: bytes, *, up: bool) -> Message | None:
        if self._statements is None:
            number = self._numbers[up]
            self._numbers[up] += 1
            return Message(up, number, data)
        return self._statements.request(data) if up else self._statements.answer(data)


def lead_to(database: str) -> tuple[Proxy, Callable[[], str]]:
    """Return a proxy to this database, and the database's address by the proxy, once it carries."""
    parts = urlsplit(database)
    folder = parse_qs(parts.query).get("host", [""])[0]
    port = parts.port or 5432
    target = f"{folder}/.s.PGSQL.{port}" if folder else (parts.hostname or "127.0.0.1", port)
    proxy = Proxy(target, postgres=True)

    def address() -> str:
        user = parts.netloc.rpartition("@")[0]
        query = "sslmode=disable&gssencmode=disable"
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{proxy.port}", query=query))

    return proxy, address
