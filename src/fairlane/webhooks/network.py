"""Outgoing connections: names are looked up once per try, and only the addresses checked in that try are connected to.

Used by the poster and for fetching. Nothing here may look up a name a second time, reuse a connection, or read an
answer without a limit.
"""

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import Literal

import httpcore2

from fairlane import __version__
from fairlane.webhooks.addresses import Address
from fairlane.webhooks.guard import Reach, WebhookTarget, are_allowed

Lookup = Callable[[str], Awaitable[Sequence[Address]]]
"""Returns every address of a name, or none if it cannot be found."""

LOOKUPS_MAX = 512
"""Most lookups that run at once, including hanging ones that no try waits for any more."""
LOOKUPS_RESERVED = 256
"""How many of them are reserved for organizations without a running lookup, one for each."""
LOOKUPS_OWNER_MAX = 16
"""Most lookups of one organization. Its other tries wait within their deadline."""
ADDRESSES_TRIED_MAX = 4
HEAD_BYTES_MAX = 16_384
"""Most bytes that are read before the status of the answer is known."""
READ_BYTES_MAX = 4_096
"""Most bytes per read. Small, so that an answer of thousands of tiny pieces lets other work run in between."""


class SystemLookup:
    """The system's resolver, with each lookup in its own thread.

    A lookup cannot be interrupted, only abandoned, and a hostile name server can delay one for as long as the system
    waits (often 10 to 30 s). So a name has one lookup at a time, which later tries join, and the threads are daemons:
    they delay neither a try past its deadline nor the end of the process.
    """

    def __init__(self, *, absolute: bool) -> None:
        """With ``absolute``, skip our network's search list (and, on most systems, the hosts file)."""
        self._absolute = absolute
        self._running: dict[str, asyncio.Future[Sequence[Address]]] = {}
        self._owners: Counter[int] = Counter()
        self._ended = asyncio.Event()

    async def __call__(self, host: str) -> Sequence[Address]:
        """Look up a name without counting it for an organization."""
        return await self._find(None, host)

    def of(self, organization_id: int) -> Lookup:
        """Return the lookup for tries of one organization; hanging lookups of others do not delay it."""
        return partial(self._find, organization_id)

    async def _find(self, owner: int | None, host: str) -> Sequence[Address]:
        """Look up a name, or join the lookup of it that is still running."""
        while (running := self._running.get(host)) is None:
            if self._may_begin(owner):
                self._begin(owner, host)
            else:
                await self._ended.wait()
        return await asyncio.shield(running)

    def _may_begin(self, owner: int | None) -> bool:
        if owner is None:
            return len(self._running) < LOOKUPS_MAX
        own = self._owners[owner]
        places = LOOKUPS_MAX - LOOKUPS_RESERVED if own else LOOKUPS_MAX
        return own < LOOKUPS_OWNER_MAX and len(self._running) < places

    def _begin(self, owner: int | None, host: str) -> None:
        loop = asyncio.get_running_loop()
        running = self._running[host] = loop.create_future()
        if owner is not None:
            self._owners[owner] += 1
        running.add_done_callback(lambda _: self._end(owner, host))
        arguments = (loop, running, host + "." * self._absolute)
        threading.Thread(target=_look_up, args=arguments, name="fairlane-lookup", daemon=True).start()

    def _end(self, owner: int | None, host: str) -> None:
        del self._running[host]
        if owner is not None:
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]
        ended, self._ended = self._ended, asyncio.Event()
        ended.set()


async def resolve_public(target: WebhookTarget, reach: Reach, lookup: Lookup) -> Sequence[Address]:
    """Return the addresses that this try may connect to; empty if the name is unknown or one of its addresses is
    forbidden.

    Both cases look the same, so that callers cannot find out which names our network knows.
    """
    found = [target.address] if target.address else await lookup(target.host)
    if not are_allowed(found, reach):
        return ()
    if not reach.private and any(is_this_machine(address) for address in found):
        return ()
    return found


def is_this_machine(address: Address) -> bool:
    """Return whether an address belongs to this machine: its ports may be closed to the internet, yet open to us."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Sends nothing: it only chooses the source address, which equals the target if the address is ours.
            probe.connect((str(address), 9))
            return bool(ip_address(probe.getsockname()[0]) == address)
    except OSError:  # this address family does not exist here, or there is no route
        return False


@asynccontextmanager
async def network_to(
    target: WebhookTarget, reach: Reach, lookup: Lookup, *, connect_seconds: float
) -> AsyncIterator["CheckedNetwork | None"]:
    """Look up the target's host; yield a network that reaches it alone, or None if it may not be reached."""
    addresses = await resolve_public(target, reach, lookup)
    if not addresses:
        yield None
        return
    network = CheckedNetwork(addresses, connect_seconds=connect_seconds)
    try:
        yield network
    finally:
        await network.aclose()


def headers_to(target: WebhookTarget, body: bytes | None = None) -> dict[str, str]:
    """Return the headers of every request that leaves for a checked target, with a JSON text or without a body."""
    content = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return {
        "Host": target.authority,
        "User-Agent": f"fairlane/{__version__}",
        **content,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """The network as one try may use it: a few checked addresses, and a limited number of bytes to read."""

    def __init__(self, addresses: Sequence[Address], *, connect_seconds: float) -> None:
        """Allow connections to these addresses only, no matter which host the client names."""
        self._addresses = addresses[:ADDRESSES_TRIED_MAX]
        self._connect_seconds = connect_seconds / len(self._addresses)
        self._streams = httpcore2.AnyIOBackend()
        self._opened: httpcore2.AsyncNetworkStream | None = None
        self.stage: Literal["connection", "tls"] = "connection"
        """The last stage that was tried."""
        self.bytes_left = HEAD_BYTES_MAX
        """How many bytes may still be read: headers, body, chunk framing and answers of status 1xx all count."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first checked address that answers; each address has an equal share of the time."""
        failure: Exception | None = None
        for address in self._addresses:
            try:
                stream = await self._streams.connect_tcp(str(address), port, timeout=self._connect_seconds)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                self._opened = stream
                return _BoundedStream(stream, self)
        assert failure is not None
        raise failure

    async def aclose(self) -> None:
        """Close the opened connection, also if the deadline passed between connecting and TLS."""
        if self._opened:
            await self._opened.aclose()


class _BoundedStream(httpcore2.AsyncNetworkStream):
    """A connection that fails once its network has no bytes left to read.

    It also hides the TLS session, so that the client cannot mistake it for HTTP/2.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream, network: CheckedNetwork) -> None:
        self._stream = stream
        self._network = network

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        allowed = min(max_bytes, self._network.bytes_left, READ_BYTES_MAX)
        if allowed == 0:
            raise httpcore2.RemoteProtocolError("the answer is longer than we read")
        received = await self._stream.read(allowed, timeout)
        self._network.bytes_left -= len(received)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        self._network.stage = "tls"
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _BoundedStream(stream, self._network)


def _look_up(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Sequence[Address]], host: str) -> None:
    try:
        found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except OSError:
        found = []
    # A zone ("%eth0") is kept and then refused: it belongs to link-local addresses only.
    addresses = tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))
    # The loop is closed if the server has stopped in the meantime.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(answer.set_result, addresses)
