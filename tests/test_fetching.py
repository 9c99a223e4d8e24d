"""A fetch reaches what is public and nothing else, whatever the page says, and ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest

from fairlane.fetching import Fetcher, FetchFailed, FetchRefused
from fairlane.webhooks import guard, network
from fairlane.webhooks.addresses import is_public
from tests.tables import each
from tests.webhooks.vectors import FORBIDDEN_ADDRESSES, REFUSED_URLS

PUBLIC = "127.0.0.2"
"""What these tests take for a public address; all others are judged as ever."""


class Site:
    """A few answers by path, on one of this machine's addresses."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.address = ""

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, or hold it for ever if there is no such page."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            self.asked.append(path)
            if path in self.pages:
                writer.write(self.pages[path])
                await writer.drain()
            else:
                await reader.read()
        writer.close()


Open = Callable[..., Any]


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Open sites; the address ``PUBLIC`` counts as one of the internet."""
    judge = is_public
    monkeypatch.setattr(guard, "is_public", lambda address: str(address) == PUBLIC or judge(address))
    monkeypatch.setattr(network, "is_this_machine", lambda address: str(address) != PUBLIC)
    async with AsyncExitStack() as stack:

        async def start(pages: dict[str, bytes], host: str = PUBLIC) -> Site:
            made = Site(pages)
            server = await stack.enter_async_context(await asyncio.start_server(made.play, host, 0))
            made.address = f"http://{host}:{server.sockets[0].getsockname()[1]}"
            return made

        yield start


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """One answer's bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_page_comes_as_it_is(site: Open) -> None:
    """Status, headers by lower-case names, and the body's bytes; the address is the last one asked."""
    opened = await site({
        "/a?b=1": reply(b"", "Location: ../c#part", status="302 Found"),
        "/c": reply(b"gone \xff", "X-One: 1", status="410 Gone"),
    })  # fmt: skip

    fetched = await Fetcher().fetch(f"{opened.address}/a?b=1")

    assert (fetched.status, fetched.body, fetched.headers["x-one"]) == (410, b"gone \xff", "1")
    assert fetched.url == f"{opened.address}/c"
    assert opened.asked == ["/a?b=1", "/c"]


async def test_a_redirect_is_checked_like_the_first_url(site: Open) -> None:
    """To a private address, by number or by name, and to what is no web address: nobody hears of it."""
    inside = await site({"/": reply(b"secret")}, host="127.0.0.1")
    port = inside.address.rpartition(":")[2]
    for place in (inside.address, f"http://localhost:{port}/", "file:///etc/passwd", f"http://[::ffff:7f00:1]:{port}/"):
        opened = await site({"/": reply(b"", f"Location: {place}", status="301 Moved")})

        with pytest.raises(FetchRefused):
            await Fetcher().fetch(opened.address)

        assert opened.asked == ["/"]
    assert inside.asked == []


@each("url", [url for url in REFUSED_URLS if "fairlane.example" not in url.lower()])
async def test_what_no_webhook_may_reach_is_not_fetched(url: str) -> None:
    """The same table, but for the server's own names. A name in it would fail the test by being looked up."""

    async def nobody(host: str) -> list:
        raise AssertionError(host)

    with pytest.raises(FetchRefused):
        await Fetcher(lookup=nobody).fetch(url)


@each("address", FORBIDDEN_ADDRESSES)
async def test_a_name_of_a_forbidden_address_is_refused(address: str) -> None:
    """And reads like a name that nobody knows."""
    said = []
    for found in ([IPv4Address("93.184.215.14"), ip_address(address)], []):

        async def lookup(host: str, found: list = found) -> list:
            return found

        with pytest.raises(FetchRefused) as raised:
            await Fetcher(lookup=lookup).fetch("http://page.example/")
        said.append(str(raised.value))

    assert said[0] == said[1]


async def test_a_fetch_ends(site: Open) -> None:
    """Too much, too many redirects, no answer, no HTTP, nobody there: each is a failure with its words."""
    opened = await site({
        "/full": reply(b"x" * 100),
        "/long": reply(b"x" * 101),
        "/endless": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000,
        "/circle": reply(b"", "Location: /circle", status="302 Found"),
        "/noise": b"SSH-2.0-noise\r\n\r\n",
        "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
    })  # fmt: skip
    fetcher = Fetcher(most_bytes=100, redirects=2, timeout_seconds=5)

    assert len((await fetcher.fetch(f"{opened.address}/full")).body) == 100
    for path, said in (
        ("long", "longer than 100"), ("endless", "longer than 100"), ("circle", "more than 2"), ("noise", "no usable"),
        ("cut", "no usable"),
    ):  # fmt: skip
        with pytest.raises(FetchFailed, match=said):
            await fetcher.fetch(f"{opened.address}/{path}")
    with pytest.raises(FetchFailed, match=r"within 0\.2 s"):
        await Fetcher(timeout_seconds=0.2).fetch(f"{opened.address}/held")
    with pytest.raises(FetchFailed, match="ConnectError"):
        await fetcher.fetch(f"http://{PUBLIC}:1025/")
    assert opened.asked.count("/circle") == 3
