"""Fetching URLs from untrusted sources: the guard of webhooks, for handlers that read pages.

Imported by applications (``from fairlane.fetching import Fetcher``). A name is looked up once, every address is
checked, and only a checked address is connected to; each redirect is checked again. Nothing here uses a proxy, a
cookie or a kept connection.
"""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import aclosing
from functools import cached_property
from urllib.parse import urldefrag, urljoin

import httpcore2
from msgspec import Struct

from fairlane.errors import FetchFailed, FetchRefused, ValidationRefused
from fairlane.webhooks.guard import Reach, WebhookTarget, check_url
from fairlane.webhooks.network import CheckedNetwork, Lookup, SystemLookup, headers_to, network_to

__all__ = ["FetchFailed", "FetchRefused", "Fetched", "Fetcher"]

REDIRECTS = (301, 302, 303, 307, 308)
FRAMING_BYTES = 65_536
"""Most bytes of an answer that may be used for the framing of its body."""


class Fetched(Struct, frozen=True, kw_only=True):
    """One answer, as it came."""

    url: str
    """The URL after the last redirect."""
    status: int
    headers: Mapping[str, str]
    """By their names in lower case; if a name is repeated, the last value."""
    body: bytes


class Fetcher:
    """Reads URLs from untrusted sources, and reaches only the public internet. Create one and use it for all.

    Examples:
        >>> from fairlane.fetching import Fetcher
        >>> fetcher = Fetcher(most_bytes=1_000_000)
        >>> async def size(url: str) -> int:
        ...     return len((await fetcher.fetch(url)).body)
    """

    def __init__(
        self,
        *,
        most_bytes: int = 5_000_000,
        timeout_seconds: float = 30.0,
        redirects: int = 5,
        private: bool = False,
        lookup: Lookup | None = None,
    ) -> None:
        """Create a fetcher; nothing is sent yet.

        Args:
            most_bytes: The longest body that is read.
            timeout_seconds: Limit for one fetch, including redirects.
            redirects: How many redirects are followed; each is checked like the first URL.
            private: Allow any address, including your own network: for tests, and for URLs from trusted sources.
            lookup: How names are looked up. If None, by the system.
        """
        self._most_bytes = most_bytes
        self._timeout_seconds = timeout_seconds
        self._redirects = redirects
        self._reach = Reach(private=private)
        self._lookup = lookup or SystemLookup(absolute=not private)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Load the certificates when they are first needed: it is slow, and a server that imports the module never
        needs them.
        """
        return httpcore2.default_ssl_context()

    async def fetch(self, url: str) -> Fetched:
        """GET a URL and follow its redirects. Returns any status; the body is neither unpacked nor decoded.

        Raises:
            FetchRefused: the URL is not allowed, or leads to an address that is not public. Another try will not help.
            FetchFailed: no answer in time, not HTTP, too many bytes, or too many redirects.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._follow(url)
        except TimeoutError as error:
            raise FetchFailed(f"no answer within {self._timeout_seconds:g} s") from error

    async def _follow(self, url: str) -> Fetched:
        for _ in range(self._redirects + 1):
            fetched = await self._fetch_once(url)
            place = fetched.headers.get("location")
            if fetched.status not in REDIRECTS or place is None:
                return fetched
            url = urldefrag(urljoin(url, place)).url
        raise FetchFailed(f"more than {self._redirects} redirects")

    async def _fetch_once(self, url: str) -> Fetched:
        try:
            target = check_url(url, self._reach, field="url")
        except ValidationRefused as refused:
            raise FetchRefused(refused.details[0]["message"]) from None
        async with network_to(target, self._reach, self._lookup, connect_seconds=self._timeout_seconds) as network:
            if network is None:
                # Unknown and forbidden names look the same, so that callers cannot find out what our network knows.
                raise FetchRefused("its host has no public address")
            try:
                return await self._converse(url, target, network)
            except (
                httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, ssl.SSLError,
            ) as broken:  # fmt: skip
                raise FetchFailed(f"no usable answer from {target.host}: {type(broken).__name__}") from broken

    async def _converse(self, url: str, target: WebhookTarget, network: CheckedNetwork) -> Fetched:
        request = _request(target)
        connection = httpcore2.AsyncHTTPConnection(
            request.url.origin, ssl_context=self._tls, network_backend=network, http1=True, http2=False, retries=0
        )
        response = await connection.handle_async_request(request)
        network.bytes_left = self._most_bytes + FRAMING_BYTES
        body = bytearray()
        async with aclosing(response.aiter_stream()) as parts:
            async for part in parts:
                body += part
                if len(body) > self._most_bytes:
                    raise FetchFailed(f"its body is longer than {self._most_bytes:,} bytes")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Fetched(url=url, status=response.status, headers=headers, body=bytes(body))


def _request(target: WebhookTarget) -> httpcore2.Request:
    return httpcore2.Request(
        "GET",
        httpcore2.URL(
            scheme="https" if target.secure else "http", host=target.host, port=target.port, target=target.path
        ),
        headers=[(name.encode("ascii"), value.encode("ascii")) for name, value in headers_to(target).items()],
    )
