"""The server as a worker sees it: the four requests of the worker protocol over HTTP.

One address, or several servers on one database: any of them can answer, because sessions and leases are rows. An
address is ``unix:PATH``, or ``http://…`` or ``https://…`` with a worker key.
"""

import logging
import random
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import httpcore2
import msgspec
from msgspec import Struct

from fairlane.connecting import reason_of
from fairlane.errors import FairlaneError, SessionGone
from fairlane.outages import Outage
from fairlane.protocol import (
    Ended,
    EndSession,
    ExchangeAnswer,
    ExchangeRequest,
    Register,
    Registered,
    Renew,
    Renewed,
    StartsFailed,
    StartsNoted,
)

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 10.0
"""How long the server may take to answer, in addition to the wait it was asked for."""

SILENCE = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol)

CONTENT_REFUSED = (400, 413, 422)
"""Statuses for a message that is wrong or too large."""

UNIX = "unix:"

CURES = {
    401: "; the key is --key, --key-file or FAIRLANE_WORKER_KEY; make one with `fairlane keys create --worker NAME`",
    404: "; this address serves no workers: start its server with FAIRLANE_PUBLIC_WORKERS=1, or try its admin port",
}
"""What to do when the first request is refused, by status."""

Answer = TypeVar("Answer")

logger = logging.getLogger("fairlane.worker")


def pauses(first: float, longest: float) -> Iterator[float]:
    """Yield the seconds to wait before each further try, without end: doubled each time, reduced at random by up to
    half.

    The random part keeps workers that lost their server together from coming back together.
    """
    while True:
        yield first * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        first = min(2 * first, longest)


class ServerSilent(FairlaneError):
    """There was no answer, or the server cannot serve now: send the same request again."""


class ServerRefused(FairlaneError):
    """The server refuses the request; sending it again would not help."""


class ContentRefused(ServerRefused):
    """The content is the reason: it cannot be written, or the server says that it is wrong or too large.

    Without the wrong part the same message would be accepted.
    """


class _Link:
    """One address and the connections to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        unix = address.startswith(UNIX)
        self.base = "http://fairlane" if unix else address.rstrip("/")
        self.host = b"fairlane" if unix else self.base.partition("://")[2].partition("/")[0].encode()
        # httpcore2's pool, without httpx2: redirects, cookies and a log line per request are not needed here, and a
        # worker with short tasks spends a third of its time in this call.
        self.pool = httpcore2.AsyncConnectionPool(
            uds=address.removeprefix(UNIX) if unix else None,
            # The system's trust store; SSL_CERT_FILE names another.
            ssl_context=ssl.create_default_context() if self.base.startswith("https://") else None,
            max_connections=32,
            max_keepalive_connections=32,
            keepalive_expiry=60.0,
        )
        self.left = False
        """Whether the log has it that this server was left, since its last answer."""


class ServerClient:
    """Speaks to one server at a time. One per process; connections are kept and reused.

    If a server does not answer, cannot serve now, or is draining, all further requests go to the next server in the
    list. The caller sends the same request again.
    """

    def __init__(self, addresses: Sequence[str], *, key: str | None = None) -> None:
        self._links = [_Link(address) for address in addresses]
        self._current = self._links[0]
        self._silence = Outage(logger, "server.silent", "server.answered", level=logging.WARNING)
        self._authorization = [] if key is None else [(b"Authorization", b"Bearer " + key.encode())]

    async def register(self, registration: Register) -> Registered:
        """Open a session."""
        return await self._send("POST", "/worker/v1/sessions", registration, Registered)

    async def fail_starts(self, failed: StartsFailed) -> StartsNoted:
        """Say that no worker process can start."""
        return await self._send("POST", "/worker/v1/failed-starts", failed, StartsNoted)

    async def exchange(self, exchange: ExchangeRequest) -> ExchangeAnswer:
        """Exchange reports for leases and cancellations: a long poll of up to ``wait_seconds``."""
        return await self._send("POST", "/worker/v1/exchange", exchange, ExchangeAnswer, exchange.wait_seconds)

    async def renew(self, session: str, renewal: Renew) -> Renewed:
        """Renew the session, with the leases that it holds."""
        return await self._send("POST", f"/worker/v1/sessions/{session}/renew", renewal, Renewed)

    async def end(self, session: str, ending: EndSession) -> Ended:
        """End the session; its leases are returned at once."""
        return await self._send("DELETE", f"/worker/v1/sessions/{session}", ending, Ended)

    async def close(self) -> None:
        """Close every connection."""
        for link in self._links:
            await link.pool.aclose()

    def _leave(self, link: _Link) -> None:
        """Change to the next server, unless another request has already done so."""
        if link is self._current and len(self._links) > 1:
            self._current = self._links[(self._links.index(link) + 1) % len(self._links)]
            if not link.left:
                logger.warning("server.left", extra={"server": link.address, "next": self._current.address})
            link.left = True

    async def _send(
        self, method: str, path: str, body: msgspec.Struct, answer: type[Answer], wait_seconds: float = 0.0
    ) -> Answer:
        content = _written(body, f"{method} {path}")
        link = self._current
        headers = [
            (b"Host", link.host),
            *self._authorization,
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(content)).encode()),
        ]
        timeout = {
            "connect": CONNECT_SECONDS,
            "pool": REQUEST_SECONDS,
            "write": REQUEST_SECONDS,
            "read": REQUEST_SECONDS + wait_seconds,
        }
        try:
            try:
                response = await link.pool.request(
                    method, f"{link.base}{path}", headers=headers, content=content, extensions={"timeout": timeout}
                )
            except SILENCE as error:
                raise ServerSilent(f"no answer from {link.address} to {method} {path}: {reason_of(error)}") from error
            answered = _read(response.status, response.content, answer, f"{link.address} to {method} {path}")
        except ServerSilent as silence:
            self._leave(link)
            # The supervisor itself logs a registration without an answer.
            if answer is not Registered:
                self._silence.fail(silence, server=link.address)
            raise
        except (SessionGone, ServerRefused):
            self._silence.succeed()
            raise
        if isinstance(answered, ExchangeAnswer) and answered.draining:
            self._leave(link)
        else:
            self._silence.succeed()
            link.left = False
        return answered


def _written(body: msgspec.Struct, asked: str) -> bytes:
    try:
        return msgspec.json.encode(body)
    except Exception as error:
        # Only the type: the text may quote a handler's result.
        raise ContentRefused(f"{asked}: cannot be written as JSON: {type(error).__name__}") from error


class _RefusalAnswer(Struct):
    code: str
    message: str
    details: Any = None


class _RefusalEnvelope(Struct):
    error: _RefusalAnswer


def _read(status: int, text: bytes, answer: type[Answer], asked: str) -> Answer:
    if status == 410:
        raise SessionGone
    if status >= 500 or status in (408, 425, 429):
        raise ServerSilent(f"{asked}: status {status}")
    if status >= 300:
        kind = ContentRefused if status in CONTENT_REFUSED else ServerRefused
        raise kind(f"{asked}: {_reason(status, text)}")
    try:
        return msgspec.json.decode(text, type=answer)
    except msgspec.DecodeError as error:
        raise ServerSilent(f"{asked}: the answer cannot be read: {error}") from error


def _reason(status: int, text: bytes) -> str:
    """Return what a refusal says, for people, and what to do about the ones that are known."""
    try:
        error = msgspec.json.decode(text, type=_RefusalEnvelope).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"status {status}, and not from a fairlane server; check the address of --server"
    details = "" if error.details is None else f" {msgspec.json.encode(error.details).decode()}"
    cure = CURES.get(status, "")
    return f"{error.code}: {error.message}{details}{cure}"
