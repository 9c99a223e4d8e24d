"""A webhook receiver on 127.0.0.1 and ::1, as well-behaved or as hostile as its script says, with a log of who came."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address

from fairlane import __version__
from fairlane.webhooks.addresses import Address
from fairlane.webhooks.guard import Reach
from fairlane.webhooks.network import Lookup
from fairlane.webhooks.poster import Outgoing, Poster, TryResult

Dialled = list[tuple[str, int]]
Script = Callable[["Receiver", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PRIVATE = Reach(private=True)
VERSION = __version__
BODY = '{"task":{"id":"t1"},"ü":[1,2]}'.encode()


class Receiver:
    """One port on both loopback addresses; every connection is logged before its script plays."""

    def __init__(self, script: Script | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.script = script or answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.tls = tls
        self.connections = 0
        self.requests: list[bytes] = []
        self.came = asyncio.Event()
        self.gone = asyncio.Event()
        """Some connection was closed by the other side while its script still wrote or waited."""
        self._servers: list[asyncio.Server] = []
        self._playing: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> "Receiver":
        for host in ("127.0.0.1", "::1"):
            server = await asyncio.start_server(self._play, host, self.port, ssl=self.tls)
            self._servers.append(server)
            self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._playing:
            task.cancel()
        await asyncio.gather(*self._playing, return_exceptions=True)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._playing.add(task)
        self.connections += 1
        self.came.set()
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(self, reader, writer)
                return
            self.gone.set()
        except asyncio.CancelledError:
            pass
        finally:
            self._playing.discard(task)
            writer.transport.abort()

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        """The next request, whole and as it came."""
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        return request


Listen = Callable[..., Awaitable[Receiver]]


def answer(text: bytes, *, hold: bool = False, drain: bool = True) -> Script:
    """Read the request, answer with these bytes, and close; with ``hold``, wait for the other side to close."""

    async def script(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receiver.read_request(reader)
        writer.write(text)
        if drain:
            await writer.drain()
        if hold:
            await reader.read()
            receiver.gone.set()
        writer.close()
        await writer.wait_closed()

    return script


def answer_for_ever(start: bytes, again: bytes) -> Script:
    """Read the request and write until the other side has had enough."""

    async def script(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receiver.read_request(reader)
        writer.write(start)
        while True:
            writer.write(again)
            await writer.drain()

    return script


def names(**known: Sequence[str]) -> Lookup:
    """A lookup that knows ``receiver`` as ``receiver.example``, and so on; other names are unknown."""

    async def lookup(host: str) -> Sequence[Address]:
        return [ip_address(address) for address in known.get(host.removesuffix(".example"), ())]

    return lookup


async def post(
    url: str,
    *,
    reach: Reach = PRIVATE,
    lookup: Lookup | None = None,
    timeout_seconds: float = 5.0,
    body: bytes = BODY,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> TryResult:
    """One try by a poster of its own; ``receiver.example`` is this machine unless the test says otherwise."""
    poster = Poster(
        reach=reach,
        timeout_seconds=timeout_seconds,
        tls=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        lookup=lookup or names(receiver=["127.0.0.1"]),
    )
    return await poster.post(url, body=Outgoing(body), headers=lambda: headers or {})
