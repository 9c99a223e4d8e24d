"""Listeners: uvicorn as we use it. Several in one loop, none of which touches signals or logs requests.

Builds on the inside of uvicorn 0.54 (``Server._serve``, ``HttpToolsProtocol``); ``tests/api/test_listener.py`` holds
what we rely on. What uvicorn lacks is added here: our envelope for malformed requests, and a deadline for headers.
"""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server
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
HEADERS_MOST = 100
STOP_SECONDS = 2
"""How long answers under way may take once a listener stops."""
START_SECONDS = 10.0
TICK_SECONDS = 0.01


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with our answer to malformed requests and bounds on headers."""

    _headers_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _in_body = False
    _headers_bytes = 0
    _in_headers = False
    _refused = False
    _parting = False
    """It was said that the connection is closed: what follows the body is no next request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        uid = _peer_uid(transport)
        if uid is not None:
            self.client = (f"uid={uid}", 0)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_headers()
        self._end_linger()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        # Only requests whose headers come in pieces cost anything here.
        if self._in_headers:
            self._headers_bytes += len(data)
            if self._headers_bytes > HEADERS_BYTES_MOST:
                self.send_400_response("")
            elif self._headers_timer is None:
                self._await_headers()

    def on_message_begin(self) -> None:
        if self._parting:
            raise ValueError("a request after the last one")
        self._end_headers()
        self._in_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_headers()
        self._in_headers = False
        if len(self.headers) > HEADERS_MOST:
            raise ValueError("too many headers")  # The parser turns this into its own error, and that into a 400.
        # Those that came in one piece were not counted while they came. Four bytes stand around each name and value.
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEADERS_BYTES_MOST:
            raise ValueError("headers too large")
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._end_linger()
        super().on_message_complete()
        if self._parting and self.cycle.response_complete:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        elif self._parting:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        async def parting(scope: Scope, receive: Receive, send: Send) -> None:
            async def say(message: Message) -> None:
                early = message["type"] == "http.response.start" and cycle.more_body
                if early and CLOSE not in message["headers"]:
                    message["headers"] = [*message["headers"], CLOSE]
                await send(message)
                if early:
                    # uvicorn would close at once: what still comes would be met with a reset, and the answer be lost.
                    self._parting = cycle.keep_alive = True

            await app(scope, receive, say)

        super()._start_asgi_task(cycle, parting)  # type: ignore[arg-type]

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with our envelope, and hang up."""
        self._refused = True
        self._end_headers()
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

    def _await_headers(self) -> None:
        self._headers_timer = self.loop.call_later(HEADERS_SECONDS, self._headers_late)

    def _headers_late(self) -> None:
        self._headers_timer = None
        if self._in_headers:
            self.send_400_response("")
        else:  # Nothing was asked, so nothing is answered.
            self.transport.close()

    def _end_linger(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None

    def _end_headers(self) -> None:
        self._headers_bytes = 0
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

    async def start(self) -> None:
        """Listen. Returns when connections are accepted."""
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
