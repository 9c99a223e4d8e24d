"""One try of one delivery: the bytes go out, and what became of it comes back. Called by the sender.

Never follows a redirect, never uses a proxy, never parses or unpacks an answer, never keeps a connection, and never
takes longer than its deadline.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Literal

import httpcore2
from msgspec import Struct

from fairlane import __version__
from fairlane.errors import ValidationRefused
from fairlane.webhooks.guard import Reach, Target, check_url
from fairlane.webhooks.network import CheckedNetwork, Lookup, SystemLookup, resolve_public

TryError = Literal["refused_by_policy", "timeout", "connection", "tls", "bad_answer", "status"]
"""Why a try did not deliver.

refused_by_policy: the URL or an address of its host is not allowed, or the host has no address. timeout: no answer in
time. connection: nothing answers there. tls: no trustworthy TLS session with that name. bad_answer: the connection
ended without an answer, or with one that is not HTTP or too long. status: an answer, but not a 2xx.
"""

BODY_PARTS_MAX = 64
"""A body in more pieces than this is meant to keep us busy."""


class TryResult(Struct, frozen=True, kw_only=True):
    """What became of one try."""

    delivered: bool
    """A 2xx came back; whether its body ever ended does not matter."""
    http_status: int | None
    error: TryError | None
    """None exactly if delivered."""
    took_ms: int
    cause: str | None = None
    """For the operator's log alone: it may tell of our network."""


class Poster:
    """Sends webhooks, one try at a time. How many run at once is for the sender to decide."""

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
            reach: Where webhooks may go; asked again at each try.
            timeout_seconds: From looking the name up to the answer's status. What is left of it is the time to read
                the body.
            answer_limit_bytes: How much of an answer's body is read at most, to be thrown away.
            tls: Whom to trust; None: whom the system trusts.
            lookup: How names are looked up; None: by the system.
            clock: Seconds that only go forward.
        """
        self._reach = reach
        self._timeout_seconds = timeout_seconds
        self._answer_limit_bytes = answer_limit_bytes
        self._tls = tls or httpcore2.default_ssl_context()
        self._lookup = lookup or SystemLookup(absolute=not reach.private)
        self._clock = clock

    async def post(self, url: str, *, body: bytes, headers: Callable[[], Mapping[str, str]]) -> TryResult:
        """Send these exact bytes once.

        Args:
            url: Checked again here.
            body: A JSON text; neither changed nor compressed.
            headers: Called just before the bytes go out, so that a signature's timestamp is that of the sending. Must
                not contain headers that are set here.
        """
        try:
            target = check_url(url, self._reach)
        except ValidationRefused:
            return TryResult(delivered=False, http_status=None, error="refused_by_policy", took_ms=0)
        return await self._try(target, _request(target, body, headers()))

    async def _try(self, target: Target, request: httpcore2.Request) -> TryResult:
        started_at = self._clock()
        answer = _Answer()
        error: TryError | None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                error = await self._exchange(target, request, answer)
        except (TimeoutError, httpcore2.TimeoutException) as broken:
            error, answer.cause = "timeout", repr(broken)
        if answer.status is not None:
            # The status is the receiver's word; how its body ended is not.
            error = None if 200 <= answer.status < 300 else "status"
        return TryResult(
            delivered=error is None,
            http_status=answer.status,
            error=error,
            took_ms=round((self._clock() - started_at) * 1000),
            cause=answer.cause if error else None,
        )

    async def _exchange(self, target: Target, request: httpcore2.Request, answer: "_Answer") -> TryError | None:
        """Send and read; the status is in ``answer`` as soon as it is known, however this ends."""
        addresses = await resolve_public(target, self._reach, self._lookup)
        if not addresses:
            return "refused_by_policy"
        network = CheckedNetwork(addresses, connect_seconds=self._timeout_seconds)
        try:
            await self._converse(network, request, answer)
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError, ssl.SSLError) as broken:
            answer.cause = repr(broken)[:200]
            return _error_of(broken, network)
        finally:
            await network.aclose()
        return None

    async def _converse(self, network: CheckedNetwork, request: httpcore2.Request, answer: "_Answer") -> None:
        # A connection, not a client: there is no pool to reuse one from, and no proxy, redirect, cookie or HTTP/2.
        connection = httpcore2.AsyncHTTPConnection(
            request.url.origin, ssl_context=self._tls, network_backend=network, http1=True, http2=False, retries=0
        )
        response = await connection.handle_async_request(request)
        answer.status = response.status
        network.bytes_left = self._answer_limit_bytes
        await _throw_away(response)


class _Answer:
    """What is known of the answer so far."""

    status: int | None = None
    cause: str | None = None


async def _throw_away(response: httpcore2.Response) -> None:
    """Read a body for a while, so that receivers which write a little before they look are not cut off."""
    async with aclosing(response.aiter_stream()) as parts:
        number = 0
        async for _ in parts:
            number += 1
            if number == BODY_PARTS_MAX:
                break


def _request(target: Target, body: bytes, signed: Mapping[str, str]) -> httpcore2.Request:
    ours = {
        "Host": target.authority,
        "User-Agent": f"fairlane/{__version__}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    assert not {name.lower() for name in signed} & {name.lower() for name in ours}, sorted(signed)
    return httpcore2.Request(
        "POST",
        httpcore2.URL(
            scheme="https" if target.secure else "http", host=target.host, port=target.port, target=target.path
        ),
        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in (ours | dict(signed)).items()],
        content=body,
    )


def _error_of(broken: Exception, network: CheckedNetwork) -> TryError:
    if isinstance(broken, ssl.SSLError):
        return "tls"
    if isinstance(broken, httpcore2.ConnectError):
        return network.stage
    return "bad_answer"
