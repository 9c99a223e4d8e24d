"""The way out: names looked up once per try, and connections only to the addresses that were checked in that try.

Used by the poster alone. Nothing here may look a name up a second time, reuse a connection, or read an answer
without end.
"""

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Literal

import httpcore2

from fairlane.webhooks.addresses import Address
from fairlane.webhooks.guard import Reach, Target, are_allowed

Lookup = Callable[[str], Awaitable[Sequence[Address]]]
"""From a name to every address it has; none if it cannot be found."""

LOOKUPS_MAX = 512
"""Most look-ups that run at once, with those that hang and that no try waits for any more."""
LOOKUPS_RESERVED = 256
"""How many of them are kept for organizations without a look-up under way: one for each."""
LOOKUPS_OWNER_MAX = 16
"""Most look-ups of one organization. More tries of it wait within their deadline."""
ADDRESSES_TRIED_MAX = 4
HEAD_BYTES_MAX = 16_384
"""How much may be read before the answer's status is known."""
READ_BYTES_MAX = 4_096
"""How much is read at once. Small, so that an answer made of thousands of tiny pieces lets others run in between."""


class SystemLookup:
    """The system's resolver, each lookup in a thread of its own.

    A lookup cannot be interrupted, only left behind, and a hostile name server can hold one for as long as the system
    waits (often 10 to 30 s). So a name has one lookup at a time, which later tries join, and the threads are daemons:
    they delay neither a try past its deadline nor the end of the process.
    """

    def __init__(self, *, absolute: bool) -> None:
        """With ``absolute``, our network's search list (and, with most systems, hosts file) is not consulted."""
        self._absolute = absolute
        self._running: dict[str, asyncio.Future[Sequence[Address]]] = {}
        self._owners: Counter[int] = Counter()
        self._ended = asyncio.Event()

    async def __call__(self, host: str) -> Sequence[Address]:
        """Look a name up for no organization in particular."""
        return await self._find(None, host)

    def of(self, organization_id: int) -> Lookup:
        """Return the lookup for tries of one organization: names of others that hang do not hold it up."""
        return partial(self._find, organization_id)

    async def _find(self, owner: int | None, host: str) -> Sequence[Address]:
        """Look a name up, or join the lookup of it that is still running."""
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


async def resolve_public(target: Target, reach: Reach, lookup: Lookup) -> Sequence[Address]:
    """Where this try may connect to. Empty: nowhere, be it that the name is unknown or that one address is forbidden.

    The two are not told apart, so that nobody can ask through us which names our network knows.
    """
    found = [target.address] if target.address else await lookup(target.host)
    if not are_allowed(found, reach):
        return ()
    if not reach.private and any(is_this_machine(address) for address in found):
        return ()
    return found


def is_this_machine(address: Address) -> bool:
    """Whether an address is our own machine's: what listens there may be closed to the internet, yet open to us."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Sends nothing: it only chooses the address we would send from, which is the same one if it is ours.
            probe.connect((str(address), 9))
            return bool(ip_address(probe.getsockname()[0]) == address)
    except OSError:  # no such family here, or no way there
        return False


class CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """The network as one try may see it: a few checked addresses, and a bounded number of bytes to read."""

    def __init__(self, addresses: Sequence[Address], *, connect_seconds: float) -> None:
        """Allow connections to these addresses only, whatever host the client then names."""
        self._addresses = addresses[:ADDRESSES_TRIED_MAX]
        self._connect_seconds = connect_seconds / len(self._addresses)
        self._streams = httpcore2.AnyIOBackend()
        self._opened: httpcore2.AsyncNetworkStream | None = None
        self.stage: Literal["connection", "tls"] = "connection"
        """What was last tried."""
        self.bytes_left = HEAD_BYTES_MAX
        """What may still be read, of whatever kind: headers, body, the framing of chunks, answers of status 1xx."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first checked address that answers; each has an equal share of the time."""
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
        """Close what was opened, also where the deadline struck between connecting and TLS."""
        if self._opened:
            await self._opened.aclose()


class _BoundedStream(httpcore2.AsyncNetworkStream):
    """A connection that breaks off when its network has no bytes left to read.

    It tells nothing about the TLS session either, so that the client cannot take it for HTTP/2.
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
    # A zone ("%eth0") is kept, and refused: it belongs to link-local addresses only.
    addresses = tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))
    # Nobody is there to hear it when the server has stopped meanwhile.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(answer.set_result, addresses)
