"""What a peer sends after its first headers: bounded like these, and legal HTTP/1.1 keeps its body and its method."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from fairlane import loops
from fairlane.api import listener
from fairlane.api.http import AsgiApplication, Receive, Scope, Send
from fairlane.api.listener import Listener, Protocol, bind_tcp
from tests.api.house import Customer, House
from tests.api.test_listener import connected, said

ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
TASK = b'{"taskType": "ANY", "payload": {}}'
FLOOD_BYTES = 1024 * 1024
"""More than any connection may send without a body or an answer."""


def statuses(answers: bytes) -> list[int]:
    """Of every answer of a connection."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d+) ", answers)]


def submitting(customer: Customer, *lines: bytes, body: bytes = TASK, version: bytes = b"1.1") -> bytes:
    """A request that creates a task."""
    if not any(line.startswith(b"Transfer-Encoding") for line in lines):
        lines = (*lines, b"Content-Length: %d" % len(body))
    head = [b"POST /v1/async/task HTTP/" + version, b"Host: x", b"Authorization: Bearer " + key_of(customer), *lines]
    return b"\r\n".join([*head, b"", body])


def key_of(customer: Customer) -> bytes:
    """Its key, as bytes."""
    return str(customer.key["value"]).encode()


def chunked(*parts: bytes) -> bytes:
    """A body in chunks, without its last one."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


# Transfer codings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"chunked"], 200),
        ([b"\t,Chunked"], 200),
        ([b"gzip, chunked"], 501),
        ([b"gzip", b"chunked"], 501),
        ([b"x-nothing, chunked"], 501),
        ([b"identity, chunked"], 501),
        ([b'x;a="b", chunked'], 501),
        ([b"gzip"], 400),
        ([b"chunked, gzip"], 400),
        ([b"chunked", b"chunked"], 400),
        ([b"chunked;q=1"], 400),
        ([b"identity"], 400),
    ],
    ids=ascii,
)
def test_a_transfer_coding_that_is_not_decoded_is_refused(
    customer: Customer, lines: list[bytes], expected: int
) -> None:
    """With 501 if the length of the body is known, else with 400 (RFC 9112, sections 6.1 and 6.3). Nothing after it is
    read as a request.
    """
    headers = [b"Transfer-Encoding: " + line for line in lines]
    body = chunked(TASK) + b"0\r\n\r\n"
    request = submitting(customer, *headers, b"Connection: close", body=body)
    upgrade = submitting(customer, *headers, b"Upgrade: h2c", b"Connection: Upgrade, close", body=body)
    with connected(customer.house) as connection:
        answer = said(connection, request + ALIVE)
    with connected(customer.house) as connection:
        assert statuses(said(connection, upgrade)) == [expected]

    assert statuses(answer) == [expected]
    if expected == 501:
        assert b'"code":"NOT_IMPLEMENTED","message":"Transfer-Encoding must be chunked"' in answer
        assert b"connection: close" in answer


def test_transfer_codings_are_not_of_http_1_0(customer: Customer) -> None:
    """The framing of such a request is faulty (RFC 9112, section 6.1)."""
    request = submitting(customer, b"Transfer-Encoding: chunked", body=chunked(TASK) + b"0\r\n\r\n", version=b"1.0")
    with connected(customer.house) as connection:
        assert statuses(said(connection, request)) == [400]


# Trailers and the framing of chunks ----------------------------------------------------------------------------------


def logging_in(customer: Customer, *lines: bytes, trailers: bytes = b"") -> bytes:
    """A login whose body comes in one chunk."""
    body = json.dumps({"key": customer.key["value"]}).encode()
    head = [b"POST /dashboard/login HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked", b"Connection: close", *lines]
    return b"\r\n".join([*head, b"", chunked(body)]) + b"0\r\n" + trailers + b"\r\n"


def test_trailers_are_dropped_and_never_become_headers(customer: Customer) -> None:
    """A request with them is answered as one without (RFC 9110, section 6.5.1)."""
    kind, forwarded = b"Content-Type: application/json", b"X-Forwarded-Proto: https"
    answers = []
    for request in (
        logging_in(customer, trailers=kind + b"\r\n"),
        logging_in(customer, kind, trailers=forwarded + b"\r\n"),
        logging_in(customer, kind, forwarded),
    ):
        with connected(customer.house) as connection:
            answers.append(said(connection, request))

    assert [statuses(answer) for answer in answers] == [[401], [200], [200]]
    assert [b"; Secure" in answer for answer in answers] == [False, False, True]


def test_a_task_with_trailers_is_accepted(customer: Customer) -> None:
    """They are legal; as many as there may be headers, both together."""
    trailers = b"".join(b"X-%d: 1\r\n" % number for number in range(97))
    body = chunked(TASK) + b"0\r\n" + trailers + b"\r\n"
    one_more = chunked(TASK) + b"0\r\n" + trailers + b"X: 1\r\n\r\n"
    with connected(customer.house) as connection:
        taken = submitting(customer, b"Transfer-Encoding: chunked", body=body)
        refused = submitting(customer, b"Transfer-Encoding: chunked", body=one_more)

        assert statuses(said(connection, taken, refused)) == [200, 400]
    assert customer.status()["queuedTasks"] == 1


ENDLESS = {
    "trailers": (b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "a trailer's value": (b"2\r\n{}\r\n0\r\nX: ", b"y"),
    "a trailer's name": (b"2\r\n{}\r\n0\r\n", b"y"),
    "a chunk's extension": (b"2;", b"e"),
    "a chunk's size": (b"", b"0"),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("path", [b"/dashboard/login", b"/v1/nope"], ids=["read", "unread"])
def test_what_surrounds_a_body_is_bounded(shared: House, name: str, path: bytes) -> None:
    """Whether the body is read or was refused before; the connection ends long before its deadlines."""
    begin, more = ENDLESS[name]
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    with connected(shared) as connection:
        sent = until_cut(connection, head + begin, more)

        assert sent < FLOOD_BYTES * 8


def until_cut(connection: socket.socket, begin: bytes, more: bytes) -> int:
    """Send until the server has hung up; how many bytes it took."""
    connection.sendall(begin)
    flood, sent = more * (65_536 // len(more)), 0
    try:
        while sent < FLOOD_BYTES * 8:
            connection.sendall(flood)
            sent += len(flood)
    except ConnectionError:
        pass
    return sent


def test_chunks_with_extensions_are_taken(customer: Customer) -> None:
    """As long as a body makes progress, all of them may be larger than what one may have."""
    extension = b";name=" + b"e" * 1000
    body = b"".join(b"1%b\r\n%b\r\n" % (extension, TASK[at : at + 1]) for at in range(len(TASK))) + b"0\r\n\r\n"
    with connected(customer.house) as connection:
        request = submitting(customer, b"Transfer-Encoding: chunked", b"Connection: close", body=body)

        assert statuses(said(connection, request)) == [200]


# Several requests on one connection ----------------------------------------------------------------------------------


MALFORMED = {
    "no request": b"hello\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "a broken body": b"POST /dashboard/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "endless trailers": (
        b"POST /dashboard/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 200
    ),
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
def test_a_request_before_a_malformed_one_is_answered_as_itself(customer: Customer, malformed: bytes) -> None:
    """A 400 in its place would say that nothing was created."""
    with connected(customer.house) as connection:
        answer = said(connection, submitting(customer) + ALIVE + malformed)

    assert statuses(answer) == [200, 200, 400]
    assert customer.status()["queuedTasks"] == 1


def test_a_body_that_breaks_off_creates_nothing(customer: Customer) -> None:
    """The request is refused, once, as not well-formed."""
    request = submitting(customer, b"Transfer-Encoding: chunked", body=chunked(TASK))
    with connected(customer.house) as connection:
        answer = said(connection, request, b"zz\r\n")

    assert statuses(answer) == [400]
    assert b"is not a well-formed HTTP request" in answer
    assert customer.status()["queuedTasks"] == 0


def test_the_end_of_a_body_is_not_taken_for_headers(customer: Customer) -> None:
    """A client may send a large body and the beginning of its next request in one piece."""
    payload = json.dumps({"taskType": "ANY", "payload": {"text": "x" * 100_000}}).encode()
    both = submitting(customer, body=payload) + ALIVE
    with connected(customer.house) as connection:
        connection.sendall(both[:-10])
        assert connection.recv(10).startswith(b"HTTP/1.1 2")
        answer = said(connection, both[-10:], ALIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    assert answer.count(b'{"status":"alive"}') == 2


def test_line_ends_do_not_keep_a_connection(shared: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may stand before a request, and are none."""
    monkeypatch.setattr(listener, "HEADERS_SECONDS", 0.2)
    with connected(shared) as connection:
        connection.sendall(ALIVE)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")

        assert said(connection, b"\r\n") == b""


# Offers, expectations, targets ---------------------------------------------------------------------------------------

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==",
    "two": b"connection: keep-alive, upgrade\r\nupgrade: h2c, TLS/1.0",
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("pieces", [1, 7])
def test_an_upgrade_is_not_taken_and_loses_nothing(customer: Customer, offer: bytes, pieces: int) -> None:
    """Neither the body nor the requests after it, in whatever pieces they come (RFC 9110, section 7.8)."""
    chunks = chunked(TASK[:5], TASK[5:]) + b"0\r\n\r\n"
    requests = b"".join(
        [
            submitting(customer, offer),
            submitting(customer, offer, b"Transfer-Encoding: chunked", body=chunks),
            b"GET /livez HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n\r\n",
            b"GET /v1/nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        ]
    )
    size = len(requests) // pieces + 1
    with connected(customer.house) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = said(connection, *(requests[at : at + size] for at in range(0, len(requests), size)))

    assert statuses(answer) == [200, 200, 200, 401]
    assert customer.status()["queuedTasks"] == 2


def test_who_waits_for_100_continue_is_told_to_go_on(customer: Customer) -> None:
    """Also together with an offer to upgrade; HTTP/1.0 does not know it (RFC 9110, section 10.1.1)."""
    for lines in ((b"Expect: 100-continue",), (b"Expect: 100-continue", OFFERS["h2c"])):
        with connected(customer.house) as connection:
            request = submitting(customer, *lines)
            connection.sendall(request.removesuffix(TASK))
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(TASK)
            assert statuses(connection.recv(10_000)) == [200]
    with connected(customer.house) as connection:
        old = submitting(customer, b"Expect: 100-continue", version=b"1.0")
        assert statuses(said(connection, old.removesuffix(TASK), TASK)) == [200]
    assert customer.status()["queuedTasks"] == 3


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET http://x/livez HTTP/1.1", 200, b"alive"),
        (b"GET HTTPS://somewhere.else:1/livez?a=b HTTP/1.1", 200, b"alive"),
        (b"GET http://x HTTP/1.1", 404, b'"details":{"id":"/"}'),
        (b"GET http://x?a=/livez HTTP/1.1", 404, b'"details":{"id":"/"}'),
        (b"OPTIONS * HTTP/1.1", 404, b'"details":{"id":"*"}'),
        (b"OPTIONS /livez HTTP/1.1", 404, b"allow: GET, HEAD"),
        (b"TRACE /livez HTTP/1.1", 404, b"allow: GET, HEAD"),
    ],
)
def test_every_form_of_a_target_is_understood(shared: House, request_line: bytes, status: int, body: bytes) -> None:
    """RFC 9112, section 3.2: also those that proxies are sent."""
    with connected(shared) as connection:
        answer = said(connection, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert statuses(answer) == [status]
    assert body in answer


def test_space_around_a_header_is_not_its_value(customer: Customer) -> None:
    """RFC 9110, section 5.5."""
    request = (
        submitting(customer, b"Connection: close").replace(b"\r\nAuth", b" \t\r\nAuth").replace(b"34\r\n", b"34 \r\n")
    )
    with connected(customer.house) as connection:
        assert statuses(said(connection, request)) == [200]


# A listener with an application of the test's own --------------------------------------------------------------------

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def listening(app: AsgiApplication) -> AsyncIterator[tuple[Listener, Streams]]:
    """A listener, and a connection to it."""
    bound = bind_tcp("127.0.0.1", 0)
    port = bound.getsockname()[1]
    one = Listener(app, bound=bound)
    await one.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await eventually(lambda: one.server.server_state.connections)
    try:
        yield one, (reader, writer)
    finally:
        writer.transport.abort()
        await one.stop()


def protocol_of(one: Listener) -> Protocol:
    """The server's end of the only connection."""
    [found] = one.server.server_state.connections
    assert isinstance(found, Protocol)
    return found


async def eventually(look: Callable[[], object]) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.005)


async def answer_with(send: Send, text: bytes) -> None:
    """200."""
    length = str(len(text)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": text})


def parked(until: asyncio.Event) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An application whose answers wait."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await until.wait()
        await answer_with(send, scope["raw_path"])

    return app


@pytest.mark.parametrize(
    ("lines", "begin", "rest"),
    [(b"Content-Length: 10", b"1", b"234567890"), (b"Connection: close", b"", b"")],
    ids=["before its body", "as asked"],
)
async def test_a_request_after_the_last_one_is_not_done(lines: bytes, begin: bytes, rest: bytes) -> None:
    """A connection that ends does nothing more, even if the rest of the last body comes and a request with it."""
    done = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        done.append(scope["raw_path"])
        await answer_with(send, b"")

    async with listening(app) as (_, (reader, writer)):
        after = rest + b"DELETE /after HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(b"POST /last HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n\r\n" + begin + after * (not rest))
        answer = await reader.readuntil(b"\r\n\r\n")
        if rest:
            writer.write(after)
        answer += await reader.read(-1)

    assert statuses(answer) == [200]
    assert done == [b"/last"]


async def test_requests_behind_one_that_waits_are_read_no_further() -> None:
    """A few are parsed, the rest is left to the peer's own memory, also while they are answered one by one."""
    until = asyncio.Event()
    ask = b"GET /%06d HTTP/1.1\r\nHost: x\r\n\r\n"
    async with listening(parked(until)) as (one, (reader, writer)):
        writer.write(b"".join(ask % number for number in range(100_000)))
        await eventually(lambda: protocol_of(one).pipeline)
        held, most = protocol_of(one), [0, 0]
        until.set()
        for number in range(1_000):
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                assert statuses(head) == [200]
                assert await reader.readexactly(7) == b"/%06d" % number
            held.flow.resume_reading()  # As a request does that waits for its body, or for the end of the connection.
            most = [max(most[0], len(held.pipeline)), max(most[1], len(held.unread))]

    assert 0 < most[0] <= listener.PIECE_BYTES // 20
    assert 0 < most[1] <= 512 * 1024


async def test_headers_that_the_server_does_not_read_are_not_late() -> None:
    """Their time begins when it reads again."""
    until = asyncio.Event()
    async with listening(parked(until)) as (one, (reader, writer)):
        writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /1 HTTP/1.1\r\nHo")
        await eventually(lambda: protocol_of(one).in_headers)
        protocol_of(one).headers_late()
        writer.write(b"st: x\r\nConnection: close\r\n\r\n")
        until.set()

        answers = await reader.read(-1)

    assert statuses(answers) == [200, 200, 200]


async def test_half_a_request_does_not_take_the_place_of_an_answer() -> None:
    """It is refused after the answer that is under way."""
    until = asyncio.Event()
    async with listening(parked(until)) as (one, (reader, writer)):
        writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHo")
        await eventually(lambda: protocol_of(one).in_headers)
        protocol_of(one).headers_late()
        until.set()

        assert statuses(await reader.read(-1)) == [200, 400]


# A peer that does not read --------------------------------------------------------------------------------------------


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    """A long stream of events."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(5_000):
        await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    """One answer, larger than all buffers between the two."""
    await answer_with(send, b"x" * LARGE_BYTES)


async def small(scope: Scope, receive: Receive, send: Send) -> None:
    """An answer that is complete as far as its request is concerned, one of many."""
    await answer_with(send, b"x" * 30_000)


LARGE_BYTES = 32 * 1024 * 1024
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def reading(writer: asyncio.StreamWriter) -> asyncio.Transport:
    """Return the transport of a connection, to stop reading from it."""
    return cast("asyncio.Transport", writer.transport)


async def asked(one: Listener, writer: asyncio.StreamWriter) -> Protocol:
    """The server's end of the connection, once it cannot write any more."""
    reading(writer).pause_reading()
    writer.write(ASK * 1_000)
    held = protocol_of(one)
    seen = -1

    def stands() -> bool:
        nonlocal seen
        before, seen = seen, held.outbound.taken
        return held.outbound.waiting > 0 and before == seen

    await eventually(stands)
    return held


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, loops.new_event_loop], ids=["asyncio", "ours"])
@pytest.mark.parametrize("app", [endless, large, small])
def test_a_peer_that_reads_nothing_is_cut(
    app: AsgiApplication, new_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second check without progress, also if the answer is complete; after the first the answer is kept."""
    monkeypatch.setattr(listener, "WRITE_SECONDS", 600.0)

    async def ask() -> None:
        async with listening(app) as (one, (_, writer)):
            held = await asked(one, writer)
            assert held.write_timer is not None
            held.taken_before = -1
            held.look_at_written()
            assert held.write_timer is not None
            assert not held.transport.is_closing()

            held.look_at_written()

            await eventually(lambda: not one.server.server_state.connections)
            await eventually(lambda: not one.server.server_state.tasks)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


@pytest.mark.parametrize("app", [endless, large])
async def test_a_peer_that_reads_slowly_gets_its_answer(app: AsgiApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    """A little between two looks is enough, also if as much is written anew; without it the third look ends it."""
    monkeypatch.setattr(listener, "WRITE_SECONDS", 600.0)
    async with listening(app) as (one, (reader, writer)):
        held = await asked(one, writer)
        for _ in range(3):
            before = held.outbound.taken
            reading(writer).resume_reading()
            while held.outbound.taken == before:
                await reader.read(65_536)
            reading(writer).pause_reading()
            held.look_at_written()
            assert one.server.server_state.connections == {held}
            assert held.write_timer is not None
        held.taken_before = held.outbound.taken

        held.look_at_written()

        await eventually(lambda: not one.server.server_state.connections)


async def test_chunks_of_a_byte_leave_turns_to_others_and_are_held_back() -> None:
    """The parser stops after a thousand or so; and a body that the application does not take is not read."""
    until = asyncio.Event()
    taken: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until.wait()
        more = True
        while more:
            message = await receive()
            taken.append(len(message["body"]))
            more = message["more_body"]
        await answer_with(send, b"")

    count = 100_000
    async with listening(app) as (one, (reader, writer)):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * count)
        writer.write(b"0\r\n\r\n")
        await eventually(lambda: protocol_of(one).flow.read_paused and not protocol_of(one).unread)
        before = len(protocol_of(one).cycle.body)
        until.set()
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")

    assert statuses(answer) == [200]
    assert sum(taken) == count
    assert before < 65_536 + 300 * 1024 / 6
    assert max(taken[1:]) <= listener.STEPS_MOST + listener.PIECE_BYTES
