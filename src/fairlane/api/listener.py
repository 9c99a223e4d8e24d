"""Listeners: uvicorn as we use it. Several run in one loop; none of them handles signals or logs requests.

Builds on the internals of uvicorn 0.50 to 0.54 (``Server._serve``, ``HttpToolsProtocol``);
``tests/api/test_listener.py`` tests what we rely on. This module adds what uvicorn lacks: our envelope for malformed
requests, a limit on everything that a peer sends, and deadlines for headers and for reading an answer.
"""

import asyncio
import contextlib
import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn import Config, Server
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from fairlane import wire
from fairlane.api.cycle import Cycle
from fairlane.api.http import AsgiApplication
from fairlane.errors import Refusal, SetupError, TransferCodingRefused, ValidationRefused

KEEP_ALIVE_SECONDS = 75
"""Longer than the pause of clients that poll once a minute."""
HEADERS_SECONDS = 10.0
"""How long a request's headers, or the first byte of a new connection, may take to arrive."""
LINGER_SECONDS = 2.0
"""How long a connection is still read if its request was answered before the body was complete. Then it is closed: an
endless body would hold it forever, because every byte counts as a sign of life."""
WRITE_SECONDS = 30.0
"""A connection is closed when its peer reads nothing of an answer for this time, or for twice this time at most."""
HEADERS_BYTES_MOST = 32 * 1024
"""Most bytes of a request's headers, and of everything else that is not body: trailers, the size and the extensions of
one chunk."""
HEADERS_MOST = 100
"""Most headers and trailers of a request, together."""
PIECE_BYTES = 4 * 1024
"""Bytes that are parsed at once. Between two pieces the connection checks whether a request waits for an earlier
answer."""
STEPS_MOST = 1_000
"""About how many steps the parser takes for one connection before other connections have their turn. A chunk may have
one byte, and one read may contain 40,000 chunks."""
STOP_SECONDS = 2
"""How long running answers may take once a listener stops."""
START_SECONDS = 10.0
TICK_SECONDS = 0.01

MALFORMED = ValidationRefused.at("request", "is not a well-formed HTTP request")
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]++|%[0-9A-Fa-f]{2})*+)(?::[0-9]*)?")
"""RFC 9112, section 3.2: a host and an optional port. It may be empty."""
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)(/[^?#]*)?(\?[^#]*)?")
"""A request target with scheme and authority, as clients send it to a proxy (RFC 9112, section 3.2.2)."""


class _Flow(FlowControl):
    """uvicorn's flow control, with a second reason to pause reading: bytes that are read but not parsed yet."""

    held = False

    def hold(self) -> None:
        """Stop reading, even if a request asks for more."""
        if not self.held and not self.read_paused:
            self._transport.pause_reading()
        self.held = True

    def release(self) -> None:
        """Continue reading, unless a request has enough."""
        if self.held and not self.read_paused:
            self._transport.resume_reading()
        self.held = False

    def pause_reading(self) -> None:
        if not self.held and not self.read_paused:
            self._transport.pause_reading()
        self.read_paused = True

    def resume_reading(self) -> None:
        if not self.held and self.read_paused:
            self._transport.resume_reading()
        self.read_paused = False


class _Outbound:
    """The transport, with a count of the bytes that were written to it."""

    def __init__(self, transport: asyncio.Transport, written: Callable[[], None]) -> None:
        self._transport = transport
        self._written = written
        self._count = 0

    @property
    def taken(self) -> int:
        """The bytes that left this process so far."""
        return self._count - self.waiting

    @property
    def waiting(self) -> int:
        """The bytes that are still in this process."""
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        self._count += len(data)
        self._transport.write(data)
        self._written()

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with our answer to malformed requests and limits on what a peer sends."""

    _headers_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    write_timer: asyncio.TimerHandle | None = None
    taken_before = 0
    """The value of ``outbound.taken`` at the last check."""
    in_headers = False
    _in_body = False
    _trailers = 0
    _bare_bytes = 0
    """Bytes since the last progress: the begin or end of a request, the end of its headers, or a byte of its body."""
    _steps = 0
    unread = b""
    """Bytes that are not parsed yet, because a request waits for an earlier answer, or other connections have their
    turn."""
    _turn: asyncio.Handle | None = None
    """The next turn of this connection."""
    _deaf = False
    """Whether all further input is ignored."""
    _refusal: Refusal = MALFORMED
    """How the last input is refused."""
    _refusal_due = False
    """Whether the last input is refused once the running answers have been sent."""
    cycle: Cycle
    """The last request."""

    # Input -----------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        self.outbound = _Outbound(transport, self._await_taken)
        uid = _peer_uid(transport)
        if uid is not None:
            self.client = (f"uid={uid}", 0)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf, self.unread = True, b""
        self._end_headers()
        self._end_linger()
        self._end_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        waits, self.unread = bool(self.unread), self.unread + data
        if not waits:
            self._unset_keepalive_if_required()
            self._read_on()

    def _read_on(self) -> None:
        """Parse what has arrived, up to a request that has to wait for an earlier answer, or until it takes too long.

        Bytes after such a request stay unparsed: parsed requests take a hundred times the memory of their bytes.
        """
        self._turn = None
        data, self.unread, start = self.unread, b"", 0
        turn_ends = self._steps + STEPS_MOST
        while start < len(data) and not self.pipeline and not self._deaf and self._steps < turn_ends:
            self._parse(data[start : start + PIECE_BYTES])
            start += PIECE_BYTES
        if self._deaf:
            return
        self.unread = data[start:]
        if self.unread or self.pipeline:
            self.flow.hold()
        else:
            self.flow.release()
        if self.unread and not self.pipeline:
            self._turn = self.loop.call_soon(self._read_on)
        idle = not self._in_body and (self.cycle is None or self.cycle.response_complete)
        if (self.in_headers or idle) and self._headers_timer is None:
            self._await_headers()

    def _parse(self, piece: bytes) -> None:
        received, steps = len(piece), self._steps
        try:
            while piece:
                try:
                    self.parser.feed_data(piece)
                    break
                except HttpParserUpgrade as offer:
                    piece = self._head_without_offer() + piece[offer.args[0] :]
        except HttpParserError:
            if not self._deaf:
                self._refuse()
            return
        self._bare_bytes = 0 if self._steps > steps else self._bare_bytes + received
        if self._bare_bytes > HEADERS_BYTES_MOST:
            self._refuse()

    def _head_without_offer(self) -> bytes:
        """Return the head of the request that offers another protocol, without the offer, for a new parser.

        The offer is not accepted (RFC 9110, section 7.8), but the previous parser takes the body for the other
        protocol.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        fields = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(fields))

    # Events of the parser --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._steps += 1
        if self.cycle is not None and self.cycle.parting:
            self._deaf = True
            raise ValueError("a request after the last one")
        self._end_headers()
        self.in_headers = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:  # A trailer: it is dropped, never merged (RFC 9110, section 6.5.1).
            self._trailers += 1
        else:
            super().on_header(name, value.strip(b" \t"))
        if len(self.headers) + self._trailers > HEADERS_MOST:
            raise ValueError("too many headers")  # The parser converts this to its own error, which becomes a 400.

    def on_headers_complete(self) -> None:
        self._steps += 1
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("this is not a proxy")
        if self.parser.should_upgrade():
            return  # Its body is found later; see _head_without_offer.
        self._end_headers()
        self.in_headers = False
        path = self._find_path()
        self._fill_scope(self._checked_version(), path)
        self._in_body, self._trailers = True, 0
        waits = self.cycle is not None and not self.cycle.response_complete
        self.cycle = Cycle(
            self,
            self.outbound,  # type: ignore[arg-type]
            keep_alive=self.scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            refuse=self._answer_refusal,
        )
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.cycle.serve))  # type: ignore[arg-type]
        else:
            self._start_asgi_task(self.cycle, self.cycle.serve)  # type: ignore[arg-type]

    def _checked_version(self) -> str:
        """Return the version of HTTP, after a look at the headers that the connection itself needs."""
        size, hosts, codings = len(self.url), [], []
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding":
                codings.append(value)
        # Headers that came in few pieces were not counted on arrival. Each name and value has four more bytes around
        # it.
        if size > HEADERS_BYTES_MOST:
            raise ValueError("headers too large")
        version = self.parser.get_http_version()
        if version == "1.0":
            self.expect_100_continue = False
        elif version != "1.1" or not hosts:
            raise ValueError("unsupported version of HTTP, or no Host")
        if len(hosts) > 1 or (hosts and HOST.fullmatch(hosts[0]) is None):
            raise ValueError("not one host")
        if codings:
            self._check_transfer_codings(b",".join(codings).lower(), version)
        return version

    def _check_transfer_codings(self, value: bytes, version: str) -> None:
        """Accept ``chunked`` alone. The parser would also accept it after a coding that nothing here decodes."""
        codings = [coding.strip(b" \t") for coding in value.split(b",") if coding.strip(b" \t")]
        if not codings:
            return
        if codings[-1] != b"chunked" or b"chunked" in codings[:-1] or version == "1.0":
            raise ValueError("the length of the body is unknown (RFC 9112, sections 6.1 and 6.3)")
        if codings[:-1]:
            self._refusal = TransferCodingRefused()
            raise ValueError("a transfer coding that is not supported (RFC 9112, section 6.1)")

    def _fill_scope(self, version: str, path: bytes | None) -> None:
        target = parse_url(self.url)
        raw_path = target.path if path is None else path
        text = raw_path.decode("ascii")
        self.scope["http_version"] = version
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["path"] = unquote(text) if "%" in text else text
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = target.query or b""

    def _find_path(self) -> bytes | None:
        """Convert a target that is not a path into one. Return the path of a target that cannot be written as a URL."""
        if self.url.startswith(b"/"):
            return None
        if self.url == b"*" and self.parser.get_method() == b"OPTIONS":
            self.url = b"/"
            return b"*"
        found = ABSOLUTE.fullmatch(self.url)
        if found is None or HOST.fullmatch(found[1]) is None:
            raise ValueError("not a request target")
        self.url = (found[2] or b"/") + (found[3] or b"")
        return None

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._steps += 1
        if self.parser.should_upgrade():
            return
        self._in_body = False
        self._end_linger()
        super().on_message_complete()
        if self.cycle.parting and self.cycle.response_complete:
            self.transport.close()

    # Answers ---------------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if last and self._refusal_due:
            self._answer_refusal()
        elif self._in_body and self.cycle.response_complete:
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        elif self.cycle.parting:
            self.transport.close()
        elif self.flow.held and not self.pipeline and self._turn is None:
            self._unset_keepalive_if_required()
            self._read_on()

    def _refuse(self) -> None:
        """Refuse input that is not HTTP, and end the connection.

        Earlier requests are answered first: a 400 in the place of their answers would mean that they had no effect. If
        the current request is the malformed one, it sees that its body does not arrive.
        """
        self._deaf, self.unread = True, b""
        self._end_headers()
        if self._in_body:
            self._in_body = False
            if self.pipeline:
                self.pipeline.popleft()
            elif self.cycle.response_complete:
                self.transport.close()
                return
            else:
                self.cycle.broken = True
                self.cycle.message_event.set()
                return
        if self.cycle is None or self.cycle.response_complete:
            self._answer_refusal()
        else:
            self._refusal_due = True

    def _answer_refusal(self) -> None:
        if self.transport.is_closing():
            return
        body = wire.error_body(self._refusal, at=time.time_ns() // 1_000_000)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        lines = [STATUS_LINE[self._refusal.status]]
        for name, value in [*self.server_state.default_headers, *headers, (b"connection", b"close")]:
            lines += [name, b": ", value, b"\r\n"]
        self.outbound.write(b"".join([*lines, b"\r\n", body]))
        self.transport.close()

    # Deadlines -------------------------------------------------------------------------------------------------------

    def _await_headers(self) -> None:
        self._headers_timer = self.loop.call_later(HEADERS_SECONDS, self.headers_late)

    def headers_late(self) -> None:
        self._headers_timer = None
        if self.pipeline or self.unread:  # They may have arrived: it is this server that does not read.
            self._await_headers()
        elif self.in_headers:
            self._refuse()
        else:  # There was no request, so there is no answer.
            self.transport.close()

    def _await_taken(self) -> None:
        """Check later whether the peer reads what was written. One check is scheduled at a time."""
        if self.write_timer is None and self.outbound.waiting:
            self.taken_before = self.outbound.taken
            self.write_timer = self.loop.call_later(WRITE_SECONDS, self.look_at_written)

    def look_at_written(self) -> None:
        """Abort the connection if the peer took nothing since the last check: its answer would stay in memory."""
        self.write_timer = None
        if self.outbound.waiting and self.outbound.taken == self.taken_before:
            self.transport.abort()
        else:
            self._await_taken()

    def _end_writing(self) -> None:
        if self.write_timer is not None:
            self.write_timer.cancel()
            self.write_timer = None

    def _end_linger(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _end_headers(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class _ListenerServer(Server):
    """A uvicorn server that leaves signals to its caller, which runs several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """One address and the application behind it."""

    def __init__(self, app: AsgiApplication, *, bound: socket.socket | None = None, path: Path | None = None) -> None:
        assert (bound is None) != (path is None), "a listener has a bound socket or the path of a unix socket"
        self._bound = bound
        self._path = path
        self.server = _ListenerServer(configuration(app, path))
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, on_ended: Callable[[BaseException | None], None] = lambda error: None) -> None:
        """Listen, and return when connections are accepted. ``on_ended`` is called with the cause if the listener ends
        without :meth:`stop`.
        """
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        sockets = None if self._bound is None else [self._bound]
        self._task = asyncio.create_task(self.server.serve(sockets))
        async with asyncio.timeout(START_SECONDS):
            while not self.server.started:
                if self._task.done():
                    raise SetupError(f"cannot listen on {self._path or self._bound}") from self._task.exception()
                await asyncio.sleep(TICK_SECONDS)
        if self._path is not None:
            self._path.chmod(0o600)

        def ended(task: asyncio.Task[None]) -> None:
            if not self.server.should_exit and not task.cancelled():
                on_ended(task.exception())

        self._task.add_done_callback(ended)

    async def stop(self) -> None:
        """Stop listening; running answers get a moment to finish."""
        self.server.should_exit = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._bound is not None:
            self._bound.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def bind_tcp(host: str, port: int) -> socket.socket:
    """Return a bound TCP socket; port 0 selects a free one.

    Raises:
        SetupError: the address cannot be used; the message says which and why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SetupError(f"cannot listen on host {host!r}: {error.strerror or error}") from error
    try:
        # Without it, a restart would have to wait until the system forgets the old server's closed connections.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise SetupError(
            f"cannot listen on {host}:{port}: {error.strerror or error} (choose another --port)"
        ) from error
    return bound


def take_socket(fd: int) -> socket.socket:
    """Return the listening TCP socket with this descriptor, which the parent process passed.

    It stays open while no server runs, so a restart refuses no connection: they wait in its backlog.

    Raises:
        SetupError: the descriptor is not that of a listening TCP socket.
    """
    try:
        taken = socket.socket(fileno=fd)
    except OSError as error:
        raise SetupError(f"descriptor {fd} (--fd) is not a socket: {error.strerror or error}") from error
    listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or taken.type != socket.SOCK_STREAM or not listens:
        taken.detach()
        raise SetupError(f"descriptor {fd} (--fd) is not a listening TCP socket")
    taken.setblocking(False)
    os.set_inheritable(fd, False)  # worker processes do not need it
    return taken


def address_of(bound: socket.socket) -> str:
    """Return the address as a URL."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def configuration(app: AsgiApplication, path: Path | None) -> Config:
    options: dict[str, Any] = {
        "app": app,
        "http": Protocol,
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "log_config": None,
        # Its warnings are about requests of strangers, which are answered; the end of a listener or an answer is an
        # error.
        "log_level": "error",
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "date_header": True,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": STOP_SECONDS,
        "uds": None if path is None else str(path),
    }
    return Config(**options)


def _peer_uid(transport: asyncio.Transport) -> int | None:
    """Return the user at the other end of a unix socket, or None for another socket or an unsupported platform."""
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", packed)
    return int(uid)
