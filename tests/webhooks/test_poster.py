"""One try: what goes out, what any kind of answer makes of it, and how little it may cost us."""

import asyncio
import gzip
import ssl
import time

import pytest
import trustme

from fairlane.webhooks.poster import Outgoing, Poster
from tests.webhooks.receiver import (
    BODY,
    PRIVATE,
    VERSION,
    Listen,
    Receiver,
    Script,
    answer,
    answer_for_ever,
    names,
    post,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def silence(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and say nothing."""
    while await reader.read(65_536):
        pass
    receiver.gone.set()


async def deafness(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take nothing and say nothing."""
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # or the stream buffers some itself
    await asyncio.Event().wait()


async def reset(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request and break the connection."""
    await receiver.read_request(reader)
    writer.transport.abort()


def reset_after(text: bytes) -> Script:
    """Read the request, write this and break the connection."""

    async def script(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receiver.read_request(reader)
        writer.write(text)
        await writer.drain()
        writer.transport.abort()

    return script


def answer_early(text: bytes) -> Script:
    """Answer before the request is read, and read it then."""

    async def script(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        await receiver.read_request(reader)
        writer.close()

    return script


# What goes out --------------------------------------------------------------------------------------------------------


async def test_the_bytes_go_out_exactly_as_given(listen: Listen) -> None:
    """One POST on a connection of its own, nothing added to the body, nothing asked for but a plain answer."""
    receiver = await listen()

    result = await post(
        f"http://Receiver.Example:{receiver.port}/Hook?a=%2F&b=[1]", headers={"X-Cloro-Timestamp": "1748419200"}
    )

    assert receiver.requests == [
        b"POST /Hook?a=%%2F&b=[1] HTTP/1.1\r\n"
        b"Host: receiver.example:%d\r\n"
        b"User-Agent: fairlane/%b\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: %d\r\n"
        b"Accept: */*\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n"
        b"X-Cloro-Timestamp: 1748419200\r\n"
        b"\r\n"
        b"%b" % (receiver.port, VERSION.encode(), len(BODY), BODY)
    ]
    assert (result.delivered, result.http_status, result.error, result.cause) == (True, 200, None, None)
    assert 0 <= result.took_ms < 5_000


async def test_a_second_address_is_tried_when_the_first_is_closed(listen: Listen) -> None:
    """A receiver that is there on one family only is reached."""
    receiver = await listen()

    result = await post(
        f"http://receiver.example:{receiver.port}/", lookup=names(receiver=["127.0.0.2", "::1", "127.0.0.1"])
    )

    assert result.delivered
    assert receiver.connections == 1


async def test_no_connection_is_kept(listen: Listen) -> None:
    """An old connection would be one that was checked in an earlier try."""
    receiver = await listen(Receiver(answer(OK, hold=True)))
    poster = Poster(reach=PRIVATE, lookup=names(receiver=["127.0.0.1"]))

    for _ in range(2):
        assert (
            await poster.post(f"http://receiver.example:{receiver.port}/", body=Outgoing(b"{}"), headers=dict)
        ).delivered

    assert receiver.connections == 2
    await asyncio.wait_for(receiver.gone.wait(), 5)


# What comes back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "delivered"),
    [(200, True), (201, True), (204, True), (299, True)]
    + [(status, False) for status in (300, 304, 400, 401, 404, 410, 429, 500, 503, 599)],
)
async def test_any_2xx_acknowledges_and_nothing_else(status: int, delivered: bool, listen: Listen) -> None:
    """Section 9.2 of the contract."""
    receiver = await listen(Receiver(answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)))

    result = await post(f"http://receiver.example:{receiver.port}/")

    assert (result.delivered, result.http_status) == (delivered, status)
    assert result.error == (None if delivered else "status")


@pytest.mark.parametrize(
    "script",
    [
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", hold=True),
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"),
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart", drain=False),
        answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n"),
        answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"),
        answer(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(50_000_000), 9)),
        answer_for_ever(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536)),
        answer_for_ever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
        answer(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(1000)),
        answer(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        answer(b"HTTP/1.1 103 Early Hints\r\nX Bad: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        answer(b"HTTP/1.1 200 OK\r\nX Bad Name: 1\r\nContent-Length: 0\r\n\r\n"),
        answer(b"HTTP/1.1 200 OK\r\nServer : x\r\nContent-Length: 0\r\n\r\n"),
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\nTransfer-Encoding: what\r\n\r\nok"),
        answer(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 16_384 + b"\r\nContent-Length: 0\r\n\r\n"),
        answer(b"HTTP/1.1 200 OK\r\nContent-Le"),
        answer_for_ever(b"HTTP/1.1 200 OK\r\n", b"X-Filler: x\r\n" * 100),
        answer_for_ever(b"HTTP/1.1 200 OK\r\nX: ", bytes([120]) * 1000),
        answer_for_ever(b"HTTP/1.1 200 ", bytes([120]) * 1000),
        answer(b"HTTP/1.1 200 OK\r\n\0\xff garbage"),
        answer(b"HTTP/1.1 200\nContent-Length: 0\n\n"),
        answer(b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        reset_after(b"HTTP/1.1 200 OK\r\n"),
        answer_early(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=[
        "slow",
        "short",
        "hasty",
        "unframed",
        "not-gzip",
        "bomb",
        "endless",
        "chunks",
        "old",
        "hints",
        "bad-hints",
        "bad-name",
        "space",
        "two-lengths",
        "no-length",
        "long-header",
        "half-header",
        "endless-headers",
        "endless-header",
        "endless-reason",
        "garbage",
        "newlines",
        "blank-line",
        "reset",
        "early",
    ],
)
async def test_a_2xx_counts_whatever_follows_the_status_line(script: Script, listen: Listen) -> None:
    """The status is the receiver's word. What follows is read for a while, out of courtesy, and thrown away."""
    receiver = await listen(Receiver(script))
    started_at = time.monotonic()

    result = await post(f"http://receiver.example:{receiver.port}/", timeout_seconds=5)

    assert (result.delivered, result.http_status, result.error) == (True, 200, None)
    assert time.monotonic() - started_at < 4


@pytest.mark.parametrize(
    ("status", "line", "asked"),
    [
        (429, b"Retry-After: 120", "120"),
        (503, b"retry-after :Fri, 15 Jan 2027 08:01:30 GMT", "Fri, 15 Jan 2027 08:01:30 GMT"),
        (503, b"Retry-After: " + b"1" * 100, "1" * 64),
        (503, b"X: y", None),
        (500, b"Retry-After: 120", None),
    ],
    ids=["seconds", "moment", "long", "none", "other"],
)
async def test_a_busy_receiver_says_when(status: int, line: bytes, asked: str | None, listen: Listen) -> None:
    """With 429 and 503; other statuses follow the schedule."""
    receiver = await listen(
        Receiver(answer(b"HTTP/1.1 %d X\r\nX Bad: 1\r\n%b\r\nContent-Length: 0\r\n\r\n" % (status, line)))
    )

    result = await post(f"http://receiver.example:{receiver.port}/", timeout_seconds=10)

    assert (result.http_status, result.retry_after) == (status, asked)


async def test_a_2xx_before_the_body_is_read_cuts_nothing_off(listen: Listen) -> None:
    """The receiver that answered first gets the whole message, however large it is."""
    receiver = await listen(Receiver(answer_early(OK)))
    body = b"[" + b" " * 4_000_000 + b"]"

    result = await post(f"http://receiver.example:{receiver.port}/", body=body, timeout_seconds=20)

    assert result.delivered
    async with asyncio.timeout(10):
        while not receiver.requests:
            await asyncio.sleep(0.01)
    assert receiver.requests[0].endswith(body)


async def test_an_endless_answer_is_cut(listen: Listen) -> None:
    """The receiver sees its connection closed long before the deadline."""
    receiver = await listen(Receiver(answer_for_ever(b"HTTP/1.1 500 Oh\r\n\r\n", bytes(65_536))))

    result = await post(f"http://receiver.example:{receiver.port}/", timeout_seconds=30)

    assert (result.error, result.http_status) == ("status", 500)
    await asyncio.wait_for(receiver.gone.wait(), 5)


async def test_a_body_in_crumbs_is_cut(listen: Listen) -> None:
    """Each piece costs us more than it costs its sender."""
    crumbs = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 64
    receiver = await listen(Receiver(answer(crumbs, hold=True)))

    result = await post(f"http://receiver.example:{receiver.port}/", timeout_seconds=30)

    assert result.delivered
    assert result.took_ms < 5_000


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (silence, "timeout"),
        (deafness, "timeout"),
        (answer(b"HTTP/1.1 20", hold=True), "timeout"),
        (answer(b"HTTP/1.1 103 Early Hints\r\n\r\n", hold=True), "timeout"),
        (reset, "bad_answer"),
        (answer(b""), "bad_answer"),
        (answer(b"SSH-2.0-OpenSSH_9.9\r\n"), "bad_answer"),
        (answer(b"\x15\x03\x01\x00\x02\x02\x46"), "bad_answer"),
        (answer(b"HTTP/1.1 999999 X\r\n\r\n"), "bad_answer"),
        (answer_for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10), "bad_answer"),
        (answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"), "bad_answer"),
    ],
    ids=[
        "silent",
        "deaf",
        "slow",
        "hints",
        "reset",
        "nothing",
        "ssh",
        "tls",
        "number",
        "continues",
        "upgrade",
    ],
)
async def test_a_bad_answer_is_a_failed_try(script: Script, error: str, listen: Listen) -> None:
    """Each with the error that tells the operator most, within the deadline, and never as an exception."""
    receiver = await listen(Receiver(script))
    started_at = time.monotonic()

    seconds = 0.3 if error == "timeout" else 10.0
    body = b"{}" + b" " * 8_000_000

    result = await post(f"http://receiver.example:{receiver.port}/", timeout_seconds=seconds, body=body)

    assert (result.delivered, result.error) == (False, error)
    assert time.monotonic() - started_at < seconds + 5


async def test_a_closed_port_is_a_connection_error(listen: Listen) -> None:
    """Nobody listens."""
    async with Receiver() as receiver:
        port = receiver.port

    result = await post(f"http://receiver.example:{port}/")

    assert (result.error, result.http_status) == ("connection", None)


async def test_the_deadline_covers_the_lookup(listen: Listen) -> None:
    """A name server that never answers is a timeout like any other."""

    async def lookup(host: str) -> list:
        await asyncio.Event().wait()
        return []

    result = await post("http://receiver.example/", lookup=lookup, timeout_seconds=0.05)

    assert result.error == "timeout"
    assert result.took_ms >= 50


async def test_a_body_leaves_memory_once_it_is_written(listen: Listen) -> None:
    """Not only when the receiver answers."""
    receiver = await listen(Receiver(silence))
    poster = Poster(reach=PRIVATE, lookup=names(receiver=["127.0.0.1"]))
    dropped = asyncio.Event()
    body = Outgoing(b"x" * 100_000, dropped=dropped.set)

    trying = asyncio.ensure_future(
        poster.post(
            f"http://receiver.example:{receiver.port}/", body=body, headers=lambda: {"X-Size": str(len(body.body))}
        )
    )
    await asyncio.wait_for(dropped.wait(), 5)

    assert body.body == b""
    assert not trying.done()
    trying.cancel()
    await asyncio.wait([trying])


async def test_a_try_can_be_abandoned(listen: Listen) -> None:
    """When the server stops, its tries end at once and leave nothing behind."""
    receiver = await listen(Receiver(silence))
    poster = Poster(reach=PRIVATE, lookup=names(receiver=["127.0.0.1"]))

    trying = asyncio.ensure_future(
        poster.post(f"http://receiver.example:{receiver.port}/", body=Outgoing(b"{}"), headers=dict)
    )
    await asyncio.wait_for(receiver.came.wait(), 5)
    trying.cancel()
    await asyncio.wait([trying])

    assert trying.cancelled()
    await asyncio.wait_for(receiver.gone.wait(), 5)


# TLS ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority of the tests."""
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """What a poster trusts: this authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def serving(authority: trustme.CA, name: str, spoken: list[object] | None = None) -> ssl.SSLContext:
    """A receiver's certificate for this name; what clients say in their greeting goes to ``spoken``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if spoken is not None:
        context.sni_callback = lambda connection, said, _: spoken.append(said)
    return context


async def test_tls_keeps_the_urls_name(authority: trustme.CA, trusting: ssl.SSLContext, listen: Listen) -> None:
    """We connect to an address, but greet and ask by name, and speak HTTP/1.1 whatever else is offered."""
    spoken: list[object] = []

    async def script(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answer(OK)(receiver, reader, writer)

    receiver = await listen(Receiver(script, tls=serving(authority, "receiver.example", spoken)))

    result = await post(f"https://receiver.example:{receiver.port}/", tls=trusting)

    assert result.delivered, result
    assert spoken == ["receiver.example", "http/1.1"]
    assert b"Host: receiver.example:%d\r\n" % receiver.port in receiver.requests[0]
    assert receiver.requests[0].startswith(b"POST / HTTP/1.1\r\n")


async def test_a_literal_address_needs_a_certificate_of_its_own(
    authority: trustme.CA, trusting: ssl.SSLContext, listen: Listen
) -> None:
    """Both families."""
    v4 = await listen(Receiver(tls=serving(authority, "127.0.0.1")))
    v6 = await listen(Receiver(tls=serving(authority, "::1")))

    assert (await post(f"https://127.0.0.1:{v4.port}/", tls=trusting)).delivered
    assert (await post(f"https://[::1]:{v6.port}/", tls=trusting)).delivered
    assert (await post(f"https://[::1]:{v4.port}/", tls=trusting)).error == "tls"


async def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, trusting: ssl.SSLContext, listen: Listen
) -> None:
    """Nothing is sent to whoever answers there."""
    receiver = await listen(Receiver(tls=serving(authority, "other.example")))

    result = await post(f"https://receiver.example:{receiver.port}/", tls=trusting)

    assert (result.error, result.http_status) == ("tls", None)
    assert receiver.requests == []


async def test_an_unknown_authority_is_refused(trusting: ssl.SSLContext, listen: Listen) -> None:
    """And so is the system's list when the authority is not in it."""
    receiver = await listen(Receiver(tls=serving(trustme.CA(), "receiver.example")))
    poster = Poster(reach=PRIVATE, lookup=names(receiver=["127.0.0.1"]))

    by_ours = await post(f"https://receiver.example:{receiver.port}/", tls=trusting)
    by_the_systems = await poster.post(f"https://receiver.example:{receiver.port}/", body=Outgoing(b"{}"), headers=dict)

    assert by_ours.error == by_the_systems.error == "tls"
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (silence, "timeout"),
        (answer_for_ever(b"", OK), "tls"),
    ],
    ids=["silent", "plain"],
)
async def test_a_port_that_does_not_speak_tls(
    script: Script, error: str, trusting: ssl.SSLContext, listen: Listen
) -> None:
    """A handshake that hangs is a timeout; one that fails, an error of TLS. The connection is closed either way."""

    async def shout(receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await silence(receiver, reader, writer)

    receiver = await listen(Receiver(silence if script is silence else shout))

    result = await post(f"https://receiver.example:{receiver.port}/", tls=trusting, timeout_seconds=0.3)

    assert result.error == error
    await asyncio.wait_for(receiver.gone.wait(), 5)


async def test_a_receiver_that_wants_our_certificate(
    authority: trustme.CA, trusting: ssl.SSLContext, listen: Listen
) -> None:
    """Its refusal comes only after the handshake, in place of an answer; we have none to show."""
    tls = serving(authority, "receiver.example")
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    receiver = await listen(Receiver(tls=tls))

    result = await post(f"https://receiver.example:{receiver.port}/", tls=trusting)

    assert result.error in ("tls", "bad_answer")
    assert not result.delivered
