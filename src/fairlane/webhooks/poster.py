"""One try of one delivery: sends the bytes and returns the result. Called by the sender.

Never follows a redirect, never uses a proxy, never reads more of an answer than its reader asks for (answers.py), never
keeps a connection, and never takes longer than its deadline.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Literal

import httpcore2
from msgspec import Struct

from fairlane.errors import ValidationRefused
from fairlane.webhooks.answers import AnswerReader, NotHttp
from fairlane.webhooks.guard import Reach, WebhookTarget, check_url
from fairlane.webhooks.network import READ_BYTES_MAX, CheckedNetwork, Lookup, SystemLookup, headers_to, network_to

TryError = Literal["refused_by_policy", "timeout", "connection", "tls", "bad_answer", "status"]
"""Why a try did not deliver.

refused_by_policy: the URL or an address of its host is not allowed, or the host has no address. timeout: no answer in
time. connection: no connection could be made. tls: no trusted TLS session with that name. bad_answer: the connection
ended without a status, or the bytes were not HTTP. status: an answer, but not a 2xx."""

BUSY = (429, 503)
"""Statuses for which ``Retry-After`` is honored."""
BODY_PARTS_MAX = 64
"""Most pieces of an answer that are read after its status: an answer with more is meant to keep the server busy."""
WRITE_BYTES_MAX = 65_536
"""How much is written at once."""
LINGER_SECONDS = 1.0
"""How long the rest of an answer is read after its status."""


class TryResult(Struct, frozen=True, kw_only=True):
    """The result of one try."""

    delivered: bool
    """Whether a 2xx came back; the rest of its body does not matter."""
    http_status: int | None
    error: TryError | None
    """None exactly if delivered."""
    took_ms: int
    retry_after: str | None = None
    """The ``Retry-After`` of a busy receiver (429, 503)."""
    cause: str | None = None
    """Only for the operator's log: it may reveal details of our network."""
    answer: str | None = None
    """How the body of the answer begins, or None if it is missing or not text."""


class Outgoing:
    """The body of one message, which leaves memory once it is written. ``dropped`` is told when it does."""

    def __init__(self, body: bytes, *, dropped: Callable[[], None] = lambda: None) -> None:
        self.body = body
        self._dropped: Callable[[], None] | None = dropped

    def drop(self) -> None:
        """Forget the body; a second time does nothing."""
        self.body = b""
        if self._dropped is not None:
            self._dropped()
            self._dropped = None


class Poster:
    """Sends webhooks, one try at a time. The sender decides how many run at once."""

    def __init__(
        self,
        *,
        reach: Reach,
        timeout_seconds: float = 10.0,
        answer_limit_bytes: int = 65_536,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to send.

        Args:
            reach: Where webhooks may go; checked again at each try.
            timeout_seconds: From the lookup of the name to the answer's status. Up to a second of the remaining time is
                used to read the rest.
            answer_limit_bytes: Most bytes of an answer that are read after its status and discarded.
            tls: The trusted certificates. If None, those of the system.
            lookup: How names are looked up. If None, by the system.
            clock: Seconds that only go forward.
        """
        self._reach = reach
        self._timeout_seconds = timeout_seconds
        self._answer_limit_bytes = answer_limit_bytes
        self._tls = tls or httpcore2.default_ssl_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._lookup = lookup or SystemLookup(absolute=not reach.private)
        self._clock = clock

    async def post(
        self, url: str, *, body: Outgoing, headers: Callable[[], Mapping[str, str]], organization_id: int = 0
    ) -> TryResult:
        """Send these exact bytes once, and drop them as soon as they are written.

        Args:
            url: Checked again here.
            body: A JSON text; neither changed nor compressed.
            headers: Called just before the bytes are sent, so that a signature has the time of sending. Must not
                contain headers that are set here.
            organization_id: The organization of the try; lookups of names are shared among organizations.
        """
        try:
            target = check_url(url, self._reach)
        except ValidationRefused:
            return TryResult(delivered=False, http_status=None, error="refused_by_policy", took_ms=0)
        return await self._try(organization_id, _Post(target, body, headers))

    async def _try(self, organization_id: int, request: "_Post") -> TryResult:
        started_at = self._clock()
        answer = _ReceivedAnswer()
        error: TryError | None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                error = await self._exchange(organization_id, request, answer)
        except (TimeoutError, httpcore2.TimeoutException) as broken:
            error, answer.cause = "timeout", repr(broken)
        status = answer.reader.status
        if status is not None:
            # The status decides; the bytes after it do not.
            error = None if 200 <= status < 300 else "status"
        ended_at = self._clock() if answer.came_at is None else answer.came_at
        return TryResult(
            delivered=error is None,
            http_status=status,
            error=error,
            took_ms=round((ended_at - started_at) * 1000),
            retry_after=answer.reader.retry_after if status in BUSY else None,
            cause=answer.cause if error else None,
            answer=answer.reader.beginning(),
        )

    async def _exchange(self, organization_id: int, request: "_Post", answer: "_ReceivedAnswer") -> TryError | None:
        """Send and read. The status is in ``answer`` as soon as it is known, however this ends."""
        lookup = self._lookup.of(organization_id) if isinstance(self._lookup, SystemLookup) else self._lookup
        async with network_to(request.target, self._reach, lookup, connect_seconds=self._timeout_seconds) as network:
            if network is None:
                return "refused_by_policy"
            try:
                await self._converse(network, request, answer)
            except (httpcore2.NetworkError, httpcore2.RemoteProtocolError, NotHttp, ssl.SSLError) as broken:
                answer.cause = repr(broken)[:200]
                return _error_of(broken, network)
        return None

    async def _converse(self, network: CheckedNetwork, request: "_Post", answer: "_ReceivedAnswer") -> None:
        target = request.target
        # A separate connection: there is no pool, and no proxy, redirect, cookie or HTTP/2.
        stream = await network.connect_tcp(target.host, target.port)
        if target.secure:
            stream = await stream.start_tls(self._tls, server_hostname=target.host)
        # A receiver may answer before it has read everything.
        head = _head(target, request.body.body, request.headers())
        sending = asyncio.ensure_future(_write(stream, head, request.body))
        try:
            while answer.reader.status is None:
                await _receive(stream, answer.reader)
            answer.came_at = self._clock()
            network.bytes_left = self._answer_limit_bytes
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await _throw_away(stream, answer.reader)
            if 200 <= answer.reader.status < 300:
                await asyncio.wait([sending])
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


class _ReceivedAnswer:
    """What is known of the answer so far."""

    def __init__(self) -> None:
        self.reader = AnswerReader()
        self.came_at: float | None = None
        """When the status was known."""
        self.cause: str | None = None


async def _receive(stream: httpcore2.AsyncNetworkStream, reader: AnswerReader) -> None:
    """Pass the next bytes of the answer to its reader."""
    data = await stream.read(READ_BYTES_MAX)
    if not data:
        raise httpcore2.RemoteProtocolError("the connection ended")
    reader.receive(data)


async def _throw_away(stream: httpcore2.AsyncNetworkStream, reader: AnswerReader) -> None:
    """Read and discard what follows the status for a while, so that receivers that still write are not cut off."""
    parts = 0
    while not reader.over and parts < BODY_PARTS_MAX:
        await _receive(stream, reader)
        parts += 1


class _Post(Struct, frozen=True):
    """What goes out in one try, and where."""

    target: WebhookTarget
    body: Outgoing
    headers: Callable[[], Mapping[str, str]]


async def _write(stream: httpcore2.AsyncNetworkStream, head: bytes, body: Outgoing) -> None:
    """Write all, and drop the body. In pieces: each layer below copies what it is given."""
    await stream.write(head + body.body[:WRITE_BYTES_MAX])
    for start in range(WRITE_BYTES_MAX, len(body.body), WRITE_BYTES_MAX):
        await stream.write(body.body[start : start + WRITE_BYTES_MAX])
    body.drop()


def _head(target: WebhookTarget, body: bytes, signed: Mapping[str, str]) -> bytes:
    ours = headers_to(target, body)
    assert not {name.lower() for name in signed} & {name.lower() for name in ours}, sorted(signed)
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in (ours | dict(signed)).items())]
    assert not any("\r" in line or "\n" in line for line in lines), "a header must be one line"
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _error_of(broken: Exception, network: CheckedNetwork) -> TryError:
    if isinstance(broken, ssl.SSLError):
        return "tls"
    if isinstance(broken, httpcore2.ConnectError):
        return network.stage
    return "bad_answer"
