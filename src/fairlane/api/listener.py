"""Listeners: uvicorn as we use it. Several in one loop, none of which touches signals or logs requests.

Builds on the inside of uvicorn 0.54 (``Server._serve``, ``HttpToolsProtocol``); ``tests/api/test_listener.py`` holds
what we rely on. What uvicorn lacks is added here: our envelope for malformed requests, a bound on everything that a
peer sends, and a deadline for headers.
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

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from fairlane import wire
from fairlane.api.http import CLOSE
from fairlane.errors import SetupError, ValidationRefused

KEEP_ALIVE_SECONDS = 75
"""Longer than the pause of clients that poll once a minute."""
HEADERS_SECONDS = 10.0
"""How long a request's headers may take to arrive, and the first byte of a new connection."""
LINGER_SECONDS = 2.0
"""How long a connection is read on whose request was answered before its body had come. Then it is closed: a body
without an end would hold it for ever, because every byte counts as a sign of life."""
HEADERS_BYTES_MOST = 32 * 1024
"""The most bytes of a request's headers, and of everything else that is not body: trailers, the size and the
extensions of one chunk."""
HEADERS_MOST = 100
"""The most headers and trailers of a request, together."""
PIECE_BYTES = 4 * 1024
"""What is parsed at once. Between two pieces the connection looks whether a request waits for the answer to another."""
STEPS_MOST = 1_000
"""About how many steps the parser takes for one connection before the others have their turn: a chunk may have one
byte, and one read 40,000 chunks."""
STOP_SECONDS = 2
"""How long answers under way may take once a listener stops."""
START_SECONDS = 10.0
TICK_SECONDS = 0.01

DISCONNECT: Message = {"type": "http.disconnect"}
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?")
"""RFC 9112, section 3.2: a host and an optional port. It may be empty."""
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)(/[^?#]*)?(\?[^#]*)?")
"""A request target with scheme and authority, as clients send it to a proxy (RFC 9112, section 3.2.2)."""


class _Flow(FlowControl):
    """uvicorn's flow control, with a second reason to read nothing: something that was read is not parsed yet."""

    held = False

    def hold(self) -> None:
        """Read nothing more, whatever a request asks for."""
        if not self.held and not self.read_paused:
            self._transport.pause_reading()
        self.held = True

    def release(self) -> None:
        """Read on, unless a request has enough."""
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


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with our answer to malformed requests and bounds on what a peer sends."""

    _headers_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _in_headers = False
    _in_body = False
    _trailers = 0
    _bare_bytes = 0
    """How many bytes came since the last step forward: a request's begin or end, the end of its headers, a byte of its
    body."""
    _steps = 0
    _unread = b""
    """What came and is not parsed yet, because a request waits for the answer to another, or others have their turn."""
    _turn: asyncio.Handle | None = None
    """The next turn of this connection."""
    _deaf = False
    """Nothing that comes is read any more."""
    _refusal_due = False
    """What came last is refused once the answers under way have been sent."""
    _broken: RequestResponseCycle | None = None
    """The request whose body turned out to be malformed while it was being answered."""
    _parting = False
    """It was said that the connection is closed: what follows the body is no next request."""

    # What comes ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: _Flow = _Flow(transport)
        uid = _peer_uid(transport)
        if uid is not None:
            self.client = (f"uid={uid}", 0)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf, self._unread = True, b""
        self._end_headers()
        self._end_linger()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        waits, self._unread = bool(self._unread), self._unread + data
        if not waits:
            self._unset_keepalive_if_required()
            self._read_on()

    def _read_on(self) -> None:
        """Parse what has come, up to a request that has to wait for the answer to another, or until it takes too long.

        What follows such a request stays unread: parsed requests take a hundred times the memory of their bytes.
        """
        self._turn = None
        data, self._unread, start = self._unread, b"", 0
        turn_ends = self._steps + STEPS_MOST
        while start < len(data) and not self.pipeline and not self._deaf and self._steps < turn_ends:
            self._parse(data[start : start + PIECE_BYTES])
            start += PIECE_BYTES
        if self._deaf:
            return
        self._unread = data[start:]
        if self._unread or self.pipeline:
            self.flow.hold()
        else:
            self.flow.release()
        if self._unread and not self.pipeline:
            self._turn = self.loop.call_soon(self._read_on)
        idle = not self._in_body and (self.cycle is None or self.cycle.response_complete)
        if (self._in_headers or idle) and self._headers_timer is None:
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
        """The head of the request that offers another protocol, without the offer, for a new parser.

        The offer is not taken (RFC 9110, section 7.8), and the parser of before takes the body for the other protocol.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        fields = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(fields))

    # What the parser finds -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._steps += 1
        if self._parting:
            self._deaf = True
            raise ValueError("a request after the last one")
        self._end_headers()
        self._in_headers = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:  # A trailer: it is dropped, never merged (RFC 9110, section 6.5.1).
            self._trailers += 1
        else:
            super().on_header(name, value.strip(b" \t"))
        if len(self.headers) + self._trailers > HEADERS_MOST:
            raise ValueError("too many headers")  # The parser turns this into its own error, and that into a 400.

    def on_headers_complete(self) -> None:
        self._steps += 1
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("this is no proxy")
        if self.parser.should_upgrade():
            return  # Its body is still to be found; see _head_without_offer.
        self._end_headers()
        self._in_headers = False
        # Those that came in few pieces were not counted while they came. Four bytes stand around each name and value.
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEADERS_BYTES_MOST:
            raise ValueError("headers too large")
        self._check_version_and_host()
        path = self._find_path()
        super().on_headers_complete()
        self._in_body, self._trailers = True, 0
        if path is not None:
            self.scope["path"], self.scope["raw_path"] = path.decode("ascii"), path

    def _check_version_and_host(self) -> None:
        version = self.parser.get_http_version()
        hosts = [value for name, value in self.headers if name == b"host"]
        if version == "1.0":
            self.expect_100_continue = False
        elif version != "1.1" or not hosts:
            raise ValueError("another version of HTTP, or no Host")
        if len(hosts) > 1 or (hosts and HOST.fullmatch(hosts[0]) is None):
            raise ValueError("not one host")

    def _find_path(self) -> bytes | None:
        """Turn a target that is no path into one. Returns the path of a target that cannot be written as a URL."""
        if self.url.startswith(b"/"):
            return None
        if self.url == b"*" and self.parser.get_method() == b"OPTIONS":
            self.url = b"/"
            return b"*"
        found = ABSOLUTE.fullmatch(self.url)
        if found is None or HOST.fullmatch(found[1]) is None:
            raise ValueError("no target of a request")
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
        if self._parting and self.cycle.response_complete:
            self.transport.close()

    # What is answered ------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if last and self._refusal_due:
            self._answer_refusal()
        elif self._in_body and self.cycle.response_complete:
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        elif self._parting and self.cycle.response_complete:
            self.transport.close()
        elif self.flow.held and not self.pipeline and self._turn is None:
            self._unset_keepalive_if_required()
            self._read_on()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        async def parting(scope: Scope, receive: Receive, send: Send) -> None:
            async def hear() -> Message:
                message = await receive()
                return DISCONNECT if self._broken is cycle else message

            async def say(message: Message) -> None:
                early = message["type"] == "http.response.start" and cycle.more_body
                if early and CLOSE not in message["headers"]:
                    message["headers"] = [*message["headers"], CLOSE]
                await send(message)
                if early:
                    # uvicorn would close at once: what still comes would be met with a reset, and the answer be lost.
                    self._parting = cycle.keep_alive = True

            await app(scope, hear, say)
            if self._broken is cycle and not cycle.response_started:
                cycle.disconnected = True
                self._answer_refusal()

        super()._start_asgi_task(cycle, parting)  # type: ignore[arg-type]

    def _refuse(self) -> None:
        """Refuse what is not HTTP, and end the connection.

        Requests that came before it are answered first: a 400 in the place of their answers would say that nothing
        was done. If the request under way is the malformed one, it finds that its body does not come.
        """
        self._deaf, self._unread = True, b""
        self._end_headers()
        if self._in_body:
            self._in_body = False
            if self.pipeline:
                self.pipeline.popleft()
            elif self.cycle.response_complete:
                self.transport.close()
                return
            else:
                self._broken = self.cycle
                self._broken.message_event.set()
                return
        if self.cycle is None or self.cycle.response_complete:
            self._answer_refusal()
        else:
            self._refusal_due = True

    def _answer_refusal(self) -> None:
        if self.transport.is_closing():
            return
        refusal = ValidationRefused.at("request", "is not a well-formed HTTP request")
        body = wire.error_body(refusal, at=time.time_ns() // 1_000_000)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        lines = [STATUS_LINE[400]]
        for name, value in [*self.server_state.default_headers, *headers, (b"connection", b"close")]:
            lines += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*lines, b"\r\n", body]))
        self.transport.close()

    # Deadlines -------------------------------------------------------------------------------------------------------

    def _await_headers(self) -> None:
        self._headers_timer = self.loop.call_later(HEADERS_SECONDS, self._headers_late)

    def _headers_late(self) -> None:
        self._headers_timer = None
        if self.pipeline or self._unread:  # They may have come: it is this end that does not read.
            self._await_headers()
        elif self._in_headers:
            self._refuse()
        else:  # Nothing was asked, so nothing is answered.
            self.transport.close()

    def _end_linger(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _end_headers(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None


class _Server(Server):
    """A uvicorn server that leaves signals to whoever runs several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """One address and the application behind it."""

    def __init__(self, app: ASGIApp, *, bound: socket.socket | None = None, path: Path | None = None) -> None:
        assert (bound is None) != (path is None), "a listener has a bound socket or the path of a unix socket"
        self._bound = bound
        self._path = path
        self._server = _Server(_config(app, path))
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, on_ended: Callable[[BaseException | None], None] = lambda error: None) -> None:
        """Listen. Returns when connections are accepted. ``on_ended`` is called if the listener ends without
        :meth:`stop`, with what ended it."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        sockets = None if self._bound is None else [self._bound]
        self._task = asyncio.create_task(self._server.serve(sockets))
        async with asyncio.timeout(START_SECONDS):
            while not self._server.started:
                if self._task.done():
                    raise SetupError(f"cannot listen on {self._path or self._bound}") from self._task.exception()
                await asyncio.sleep(TICK_SECONDS)
        if self._path is not None:
            self._path.chmod(0o600)

        def ended(task: asyncio.Task[None]) -> None:
            if not self._server.should_exit and not task.cancelled():
                on_ended(task.exception())

        self._task.add_done_callback(ended)

    async def stop(self) -> None:
        """Stop listening; answers under way are given a moment."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._bound is not None:
            self._bound.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def bind_tcp(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one.

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
        # Without it a restarted server would wait for the old one's closed connections to be forgotten.
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
    """The listening TCP socket with this descriptor, handed over by whoever started us.

    It stays open while nobody serves, so a restart refuses no connection: they wait in its backlog.

    Raises:
        SetupError: the descriptor is none of a listening TCP socket.
    """
    try:
        taken = socket.socket(fileno=fd)
    except OSError as error:
        raise SetupError(f"descriptor {fd} (--fd) is no socket: {error.strerror or error}") from error
    listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or taken.type != socket.SOCK_STREAM or not listens:
        taken.detach()
        raise SetupError(f"descriptor {fd} (--fd) is no TCP socket that is listened on")
    taken.setblocking(False)
    os.set_inheritable(fd, False)  # worker processes have no use for it
    return taken


def address_of(bound: socket.socket) -> str:
    """The address as a URL."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: ASGIApp, path: Path | None) -> Config:
    options: dict[str, Any] = {
        "app": app,
        "http": Protocol,
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "log_config": None,
        # Its warnings tell of strangers' requests, which are answered; what ends a listener or an answer is an error.
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
    """The user on the other end of a unix socket; None: not a unix socket, or the platform does not tell."""
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", packed)
    return int(uid)
