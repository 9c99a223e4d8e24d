"""Slow, silent and greedy connections, all at once: who behaves is served as if they were not there (D19)."""

import asyncio
import contextlib
import itertools
import resource
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fairlane.api import http, listener
from tests.api.house import Customer

CROWD = 500
HEADERS_SECONDS = 1.5
BODY_SECONDS = 2.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[Customer, Streams], Coroutine[Any, Any, None]]


def _head(customer: Customer, method: str, path: str, *lines: str) -> bytes:
    first = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {customer.key['value']}"]
    return "\r\n".join([*first, *lines, "", ""]).encode()


async def slowloris(customer: Customer, streams: Streams) -> None:
    """A byte of a header now and then, for ever."""
    streams[1].write(b"GET /v1/async/status HTTP/1.1\r\nX-")
    while True:
        streams[1].write(b"a")
        await asyncio.sleep(0.2)


async def slow_body(customer: Customer, streams: Streams) -> None:
    """A body of a megabyte, a byte at a time."""
    streams[1].write(_head(customer, "POST", "/v1/async/task", "Content-Length: 1000000"))
    while True:
        streams[1].write(b" ")
        await asyncio.sleep(0.2)


async def unwanted_body(customer: Customer, streams: Streams) -> None:
    """A body that nobody reads, because the request is refused without it."""
    streams[1].write(_head(customer, "POST", "/v1/nope", "Content-Length: 1000000"))
    while True:
        streams[1].write(b" ")
        await asyncio.sleep(0.2)


async def endless_chunks(customer: Customer, streams: Streams) -> None:
    """Chunks without an end, a byte each."""
    streams[1].write(_head(customer, "POST", "/v1/async/task/batch", "Transfer-Encoding: chunked"))
    while True:
        streams[1].write(b"1\r\n \r\n")
        await asyncio.sleep(0.2)


async def silence(customer: Customer, streams: Streams) -> None:
    """Not a word."""
    await asyncio.sleep(3600)


async def large_header(customer: Customer, streams: Streams) -> None:
    """64 KiB in one header, in pieces."""
    streams[1].write(b"GET /v1/async/status HTTP/1.1\r\nX: ")
    for _ in range(64):
        streams[1].write(b"x" * 1024)
        await asyncio.sleep(0)
    await asyncio.sleep(3600)


async def many_headers(customer: Customer, streams: Streams) -> None:
    """200 of them."""
    lines = [f"X-{number}: 1" for number in range(200)]
    streams[1].write(_head(customer, "GET", "/v1/async/status", *lines))
    await asyncio.sleep(3600)


CUT: list[Behaviour] = [slowloris, slow_body, unwanted_body, endless_chunks, silence, large_header, many_headers]
BORNE: list[Behaviour] = [slowloris, slow_body, unwanted_body, endless_chunks, silence]
"""Those that the server does not refuse at once."""


async def connected(customer: Customer) -> Streams:
    """A plain connection."""
    host, port = customer.house.server.address.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close, and wait until it is: nothing is left for the collector to complain of."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def cut_after(customer: Customer, behave: Behaviour) -> float:
    """How many seconds the server bears with one such connection."""
    streams = await connected(customer)
    began = time.monotonic()
    behaving = asyncio.create_task(behave(customer, streams))
    try:
        while await streams[0].read(65_536):
            pass
    except ConnectionError:
        pass
    finally:
        behaving.cancel()
        await asyncio.gather(behaving, return_exceptions=True)
        await closed(streams[1])
    return time.monotonic() - began


def polls(customer: Customer) -> list[bytes]:
    """The requests of a client that behaves: it asks for the status and submits."""
    body = b'{"taskType": "ANY", "payload": {}}'
    return [
        _head(customer, "GET", "/v1/async/status"),
        _head(customer, "POST", "/v1/async/task", f"Content-Length: {len(body)}") + body,
    ]


async def answered(streams: Streams, request: bytes) -> None:
    """Ask, and read the answer."""
    streams[1].write(request)
    head = await streams[0].readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await streams[0].readexactly(int(length.split(b":")[1]))


async def healthy(customer: Customer, until: asyncio.Event) -> int:
    """How many answers a client got that polls and submits, on one connection for as long as it is left open: a busy
    machine may keep it from asking in time, and then it asks on a new one, as clients do."""
    streams = await connected(customer)
    requests = itertools.cycle(polls(customer))
    count = came_late = 0
    while not until.is_set():
        if streams[0].at_eof():
            await closed(streams[1])
            streams = await connected(customer)
            came_late += 1
        try:
            await answered(streams, next(requests))
        except asyncio.IncompleteReadError:  # Closed while the request was on its way: at_eof() tells next time.
            continue
        count += 1
        await asyncio.sleep(0.02)
    await closed(streams[1])
    assert came_late < 3
    return count


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadlines of the product, shorter."""
    monkeypatch.setattr(listener, "HEADERS_SECONDS", HEADERS_SECONDS)
    monkeypatch.setattr(http, "BODY_SECONDS", BODY_SECONDS)
    monkeypatch.setattr(listener, "LINGER_SECONDS", 0.2)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("behave", CUT, ids=lambda behave: behave.__name__)
async def test_a_connection_that_only_holds_its_place_is_cut(customer: Customer, behave: Behaviour) -> None:
    """Within the deadline of what it is late with, and before nobody's patience ends."""
    late = BODY_SECONDS if behave in (slow_body, endless_chunks) else HEADERS_SECONDS

    took = await asyncio.wait_for(cut_after(customer, behave), 20)

    assert took < late + 10


@pytest.mark.usefixtures("hurried")
async def test_a_client_that_behaves_is_answered_while_a_crowd_is_cut(customer: Customer) -> None:
    """500 of every kind at once, each cut when it is late; every request of the other client is answered."""
    over = asyncio.Event()
    polling = asyncio.create_task(healthy(customer, over))
    crowd = [cut_after(customer, behave) for behave, _ in zip(itertools.cycle(CUT), range(CROWD), strict=False)]

    took = await asyncio.wait_for(asyncio.gather(*crowd), 60)
    over.set()

    assert len(took) == CROWD
    assert await polling > 0


@pytest.mark.parametrize("one_at_a_time", [False, True], ids=["as it is", "one body at a time"])
async def test_a_crowd_of_slow_clients_delays_nobody_else(
    customer: Customer, monkeypatch: pytest.MonkeyPatch, one_at_a_time: bool
) -> None:
    """A client that behaves has its answers before any of a crowd is over. With a server that reads one body at a time
    it waits for some of them."""
    monkeypatch.setattr(listener, "HEADERS_SECONDS", 600.0)
    monkeypatch.setattr(listener, "LINGER_SECONDS", 600.0)
    monkeypatch.setattr(http, "BODY_SECONDS", 600.0)
    kinds, gather, turn, bodies = [slow_body] if one_at_a_time else BORNE, http.Request._gather, asyncio.Lock(), 0
    ended = 0

    async def counted(request: http.Request, *arguments: Any) -> bytes | None:
        nonlocal bodies, ended
        bodies += 1
        try:
            if not one_at_a_time:
                return await gather(request, *arguments)
            # Only the slow ones may be late: a busy machine may keep the other client waiting after its turn has come.
            slow = request.header(b"content-length") == b"1000000"
            async with turn, asyncio.timeout(0.2 if slow else None):
                return await gather(request, *arguments)
        finally:
            ended += 1

    monkeypatch.setattr(http.Request, "_gather", counted)
    behaviours = list(itertools.islice(itertools.cycle(kinds), 10 if one_at_a_time else CROWD))
    crowd = [asyncio.create_task(cut_after(customer, behave)) for behave in behaviours]
    async with asyncio.timeout(60):
        while bodies < sum(behave in (slow_body, endless_chunks) for behave in behaviours):
            await asyncio.sleep(0.01)

    streams = await connected(customer)
    for request in polls(customer) * 5:
        await answered(streams, request)
    over = max(ended - 5, sum(one.done() for one in crowd))

    for one in crowd:
        one.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    await closed(streams[1])
    assert (over > 0) is one_at_a_time


async def test_idle_connections_are_borne(customer: Customer) -> None:
    """Two thousand that have asked once and rest; another client is answered, and each of them when it asks again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 2000
    if hard < 3 * count:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * count), hard))
    ask = _head(customer, "GET", "/livez")
    idle = []
    try:
        for _ in range(count):
            reader, writer = await connected(customer)
            writer.write(ask)
            assert b" 200 " in await reader.readuntil(b'{"status":"alive"}')
            idle.append((reader, writer))

        streams = await connected(customer)
        await answered(streams, polls(customer)[0])
        await closed(streams[1])
        for reader, writer in idle[:: count // 10]:
            writer.write(ask)
            assert b" 200 " in await reader.readuntil(b'{"status":"alive"}')
    finally:
        for _, writer in idle:
            await closed(writer)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_flood_of_pipelined_requests_is_answered_in_order_and_delays_nobody(customer: Customer) -> None:
    """A thousand at once on one connection; another client has answers before the last of them."""
    reader, writer = await connected(customer)
    streams = await connected(customer)
    ask = _head(customer, "GET", "/livez")
    last = _head(customer, "GET", "/readyz", "Connection: close")

    writer.write(ask * 1000 + last)
    first = await reader.readexactly(1)
    reading = asyncio.create_task(reader.read(-1))
    between = 0
    while not reading.done():
        await answered(streams, polls(customer)[0])
        between += not reading.done()
    answers = first + await reading
    await closed(writer)
    await closed(streams[1])

    assert answers.count(b"HTTP/1.1 200 ") == 1001
    assert answers.count(b'{"status":"alive"}') == 1000
    assert answers.endswith(b'{"status":"ready"}')
    assert between > 0
