"""What we rely on in uvicorn, and what we added to it."""

import logging
import re
import signal
import socket
import threading
import time

import pytest
import uvicorn

from fairlane.api import http, listener
from fairlane.api.listener import Listener, Protocol, address_of, bind_tcp
from fairlane.errors import SetupError
from tests.api.house import Customer, House, eventually


def connected(house: House) -> socket.socket:
    """A plain connection to the TCP listener."""
    host, port = house.server.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def said(connection: socket.socket, *pieces: bytes) -> bytes:
    """Everything the server says until it hangs up."""
    for piece in pieces:
        connection.sendall(piece)
    return connection.makefile("rb").read()


def test_the_version_of_uvicorn_is_the_one_we_extended() -> None:
    """Another minor version has to be looked at first; ``make release`` runs these tests with the oldest."""
    assert (0, 50) <= tuple(map(int, uvicorn.__version__.split(".")[:2])) <= (0, 54)


@pytest.mark.parametrize(
    "request_text",
    [
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /dashboard/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://a@b/livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:///livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ftp://x/livez HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(100)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"x" * 40_000,
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 32_760 + b"\r\n\r\n",
        b"GET /livez?" + b"x" * 32_760 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 40_000,
    ],
    ids=lambda text: text[:30],
)
def test_malformed_http_gets_our_envelope(shared: House, request_text: bytes) -> None:
    """400, then the connection is closed."""
    with connected(shared) as connection:
        head, _, body = said(connection, request_text).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/json\r\n" in head
    assert b"connection: close" in head
    assert body.startswith(b'{"success":false,"error":{"code":"VALIDATION_ERROR","message":"Request validation failed"')


HOSTS = [
    b"x",
    b"",
    b"example.com:8000",
    b"EXAMPLE.com.",
    b"my_server-1",
    b"127.0.0.1:80",
    b"[::1]:8000",
    b"x:",
    b"a%20b",
]
NO_HOSTS = [
    b"x/../../admin", b"a@b", b"user:secret@x", b"a b", b"http://x", b"x:80:80", b"x:eighty", b"[::1", b"::1", b"x?y",
    b"x#y", b"x\\y", b"\xc3\xa4.example", b"a%2", b"<x>", b"[fe80::1%eth0]", b'"x"', b"x, y",
]  # fmt: skip


@pytest.mark.parametrize("lines", [b"Host: %b\r\n" % host for host in HOSTS])
def test_a_host_with_an_optional_port_is_taken(shared: House, lines: bytes) -> None:
    """Any: a server answers to all its names. It may be empty, as on a unix socket."""
    with connected(shared) as connection:
        answer = said(connection, b"GET /livez HTTP/1.1\r\n%bConnection: close\r\n\r\n" % lines)

    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "lines",
    [b"", b"Host: x\r\nHost: x\r\n", b"Host: x\r\nX: 1\r\nhost: y\r\n", *(b"Host: %b\r\n" % one for one in NO_HOSTS)],
)
def test_a_request_without_one_host_is_refused(shared: House, lines: bytes) -> None:
    """None, two, or what is no host (RFC 9112, section 3.2)."""
    with connected(shared) as connection:
        answer = said(connection, b"GET /livez HTTP/1.1\r\n%bConnection: close\r\n\r\n" % lines)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_http_1_0_needs_no_host(shared: House) -> None:
    """Health checks of proxies speak it. Two are two too many there, too."""
    for lines, status in ((b"", b"200"), (b"Host: x\r\n", b"200"), (b"Host: x\r\nHost: x\r\n", b"400")):
        with connected(shared) as connection:
            assert said(connection, b"GET /livez HTTP/1.0\r\n%b\r\n" % lines).split()[1] == status


def test_a_chunk_that_breaks_off_later_harms_nobody(customer: Customer) -> None:
    """A body whose chunks go wrong after the first is refused too, once."""
    head = f"POST /v1/async/task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {customer.key['value']}\r\n"
    with connected(customer.house) as connection:
        answer = said(connection, f"{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n".encode(), b"zz\r\n")

    assert answer.count(b"HTTP/1.1") == 1
    assert customer.status()["queuedTasks"] == 0


def test_headers_that_do_not_arrive_in_time_are_refused(shared: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not keep a connection."""
    monkeypatch.setattr(listener, "HEADERS_SECONDS", 0.2)
    began = time.monotonic()
    with connected(shared) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        trickle = threading.Timer(0.1, lambda: connection.sendall(b"X: 1\r\n"))
        trickle.start()
        answer = said(connection)
        trickle.join()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert 0.15 < time.monotonic() - began < 5


@pytest.mark.parametrize("text", [b"", b"\r\n"])
def test_a_connection_that_asks_nothing_is_closed(shared: House, monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Without a word, after the time that headers may take."""
    monkeypatch.setattr(listener, "HEADERS_SECONDS", 0.2)
    with connected(shared) as connection:
        assert said(connection, text) == b""


def test_a_connection_that_has_asked_may_rest(shared: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than headers may take."""
    monkeypatch.setattr(listener, "HEADERS_SECONDS", 0.1)
    with connected(shared) as connection:
        for _ in range(2):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            threading.Event().wait(0.3)


def test_headers_in_pieces_are_fine(shared: House) -> None:
    """As long as they come in time; the connection serves on."""
    with connected(shared) as connection:
        for piece in (b"GET /livez HT", b"TP/1.1\r\nHost: x\r\n", b"\r\n"):
            connection.sendall(piece)
            threading.Event().wait(0.02)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = said(connection)

    assert answer.count(b'{"status":"alive"}') == 2


def test_pipelined_requests_are_answered_in_order(shared: House) -> None:
    """Several in one piece."""
    request = b"GET /%b HTTP/1.1\r\nHost: x\r\n%b\r\n"
    with connected(shared) as connection:
        answer = said(
            connection,
            request % (b"livez", b"") + request % (b"nope", b"") + request % (b"readyz", b"Connection: close\r\n"),
        )

    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"404", b"200"]


def test_headers_of_almost_the_limit_are_taken(shared: House) -> None:
    """In one piece; the limit is 32 KiB."""
    with connected(shared) as connection:
        answer = said(
            connection, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %b\r\n\r\n" % (b"x" * 32_700)
        )

    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [(b"/v1/async/task", b"nonsense", 401), (b"/v1/nope", None, 404), (b"/v1/async/task", None, 400)],
)
@pytest.mark.parametrize("rest", [b"", b"23", b"234567890GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_an_answer_before_the_body_says_that_the_connection_ends(
    customer: Customer, monkeypatch: pytest.MonkeyPatch, path: bytes, key: bytes | None, status: int, rest: bytes
) -> None:
    """What comes after it is read for a moment, so that the answer is not lost, and is no request."""
    monkeypatch.setattr(listener, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(http, "BODY_SECONDS", 0.1)
    bearer = customer.key["value"].encode() if key is None else key
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: 10\r\n\r\n1" % (path, bearer)
    with connected(customer.house) as connection:
        connection.sendall(head)
        answer = connection.recv(10_000)
        answer += said(connection, rest)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"connection: close\r\n") == 1
    assert answer.count(b"HTTP/1.1 ") == 1


def test_an_answer_after_the_body_keeps_the_connection(shared: House) -> None:
    """Also if nobody read the body: it is there."""
    request = b"POST /v1/nope HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1234567890"
    with connected(shared) as connection:
        answer = said(connection, request, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"401", b"200"]


def test_a_strangers_request_leaves_no_line_in_the_log(shared: House, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can reach the server could fill the log otherwise. Errors would still be there."""
    for text in (b"hello\r\n\r\n", b"GET /livez HTTP/1.1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"):
        with connected(shared) as connection:
            assert said(connection, text).startswith(b"HTTP/1.1 ")

    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []
    assert logging.getLogger("uvicorn.error").isEnabledFor(logging.ERROR)


def test_idle_connections_are_kept_for_75_seconds(shared: House) -> None:
    """Longer than clients pause that poll every half minute or minute."""
    config = listener.configuration(None, None)  # type: ignore[arg-type]

    assert config.timeout_keep_alive == 75
    assert config.access_log is False
    assert config.http is Protocol
    assert config.encoded_headers == []


def test_a_second_request_uses_the_same_connection(shared: House) -> None:
    """Keep-alive works."""
    with connected(shared) as connection:
        for _ in range(3):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert eventually(lambda: b"alive" in connection.recv(1000))


def test_a_port_in_use_is_a_clear_error() -> None:
    """With the address, and what to do."""
    first = bind_tcp("127.0.0.1", 0)
    with first:
        first.listen()
        port = int(address_of(first).rpartition(":")[2])

        with pytest.raises(SetupError, match=rf"127\.0\.0\.1:{port}.*in use.*--port"):
            bind_tcp("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_a_clear_error() -> None:
    """Neither a name that does not exist nor an address of somebody else."""
    for host in ("no.such.host.invalid", "203.0.113.1"):
        with pytest.raises(SetupError, match=host):
            bind_tcp(host, 0)


def test_an_ipv6_address_is_written_with_brackets() -> None:
    """As URLs want it."""
    try:
        bound = bind_tcp("::1", 0)
    except SetupError:
        pytest.skip("no IPv6 here")
    with bound:
        assert address_of(bound).startswith("http://[::1]:")


async def test_listeners_leave_signals_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever started several of them decides."""

    async def app(scope: object, receive: object, send: object) -> None:
        """Never called."""

    before = signal.getsignal(signal.SIGTERM)
    folder = tmp_path_factory.mktemp("s")
    (folder / "a.sock").touch()
    several = [Listener(app, path=folder / "a.sock"), Listener(app, bound=bind_tcp("127.0.0.1", 0))]
    for one in several:
        await one.start()
    during = signal.getsignal(signal.SIGTERM)
    mode = (folder / "a.sock").stat().st_mode & 0o777
    for one in several:
        await one.stop()

    assert (before, mode) == (during, 0o600)
    assert not (folder / "a.sock").exists()
