"""The server as a worker sees it: the protocol's four verbs over HTTP."""

from pathlib import Path
from typing import TypeVar

import httpcore2
import msgspec

from fairlane.errors import FairlaneError, SessionGone
from fairlane.protocol import (
    Ended,
    EndSession,
    ExchangeAnswer,
    ExchangeRequest,
    Register,
    Registered,
    Renew,
    Renewed,
)

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 10.0
"""How long the server may take to answer, beyond the wait it was asked for."""

SILENCE = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol)

Answer = TypeVar("Answer")


class ServerSilent(FairlaneError):
    """No answer, or one that says the server cannot serve now: send the same request again."""


class ServerRefused(FairlaneError):
    """The server does not accept what we send; sending it again would not help."""


class Server:
    """Speaks to one server over its worker socket. One per process; connections are kept and reused."""

    def __init__(self, socket_path: str | Path) -> None:
        # The connection pool beneath httpx2: no redirects, cookies, or log line per request are wanted here, and a
        # worker with short tasks spends a third of its time in this call.
        self._pool = httpcore2.AsyncConnectionPool(
            uds=str(socket_path), max_connections=32, max_keepalive_connections=32, keepalive_expiry=60.0
        )

    async def register(self, registration: Register) -> Registered:
        """Open a session."""
        return await self._send("POST", "/worker/v1/sessions", registration, Registered)

    async def exchange(self, exchange: ExchangeRequest) -> ExchangeAnswer:
        """One turn at the counter: a long poll of up to ``wait_seconds``."""
        return await self._send("POST", "/worker/v1/exchange", exchange, ExchangeAnswer, exchange.wait_seconds)

    async def renew(self, session: str, renewal: Renew) -> Renewed:
        """Say that the session lives, and what it holds."""
        return await self._send("POST", f"/worker/v1/sessions/{session}/renew", renewal, Renewed)

    async def end(self, session: str, ending: EndSession) -> Ended:
        """End the session; its leases go back at once."""
        return await self._send("DELETE", f"/worker/v1/sessions/{session}", ending, Ended)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _send(
        self, method: str, path: str, body: msgspec.Struct, answer: type[Answer], wait_seconds: float = 0.0
    ) -> Answer:
        content = msgspec.json.encode(body)
        headers = [
            (b"Host", b"fairlane"),
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
            response = await self._pool.request(
                method, f"http://fairlane{path}", headers=headers, content=content, extensions={"timeout": timeout}
            )
        except SILENCE as error:
            raise ServerSilent(f"{method} {path}: {type(error).__name__}: {error}") from error
        return _read(response.status, response.content, answer, f"{method} {path}")


def _read(status: int, text: bytes, answer: type[Answer], asked: str) -> Answer:
    if status == 410:
        raise SessionGone
    if status >= 500 or status in (408, 425, 429):
        raise ServerSilent(f"{asked}: status {status}")
    if status >= 300:
        raise ServerRefused(f"{asked}: status {status}: {text[:500].decode(errors='replace')}")
    try:
        return msgspec.json.decode(text, type=answer)
    except msgspec.DecodeError as error:
        raise ServerSilent(f"{asked}: the answer cannot be read: {error}") from error
