"""Bodies up to the limit, just beyond it, and far beyond it."""

import socket
from collections.abc import Callable, Iterator

import pytest

from fairlane.api import http, listener
from tests.api.house import Customer, House, error_of

LIMIT = 1_048_576


def body_with(payload_bytes: int) -> bytes:
    """A task whose payload has exactly so many bytes."""
    return b'{"taskType": "ANY", "payload": {"a": "%s"}}' % (b"x" * (payload_bytes - len('{"a": ""}')))


def in_pieces(body: bytes) -> Iterator[bytes]:
    """Sent chunked: no length is declared."""
    for start in range(0, len(body), 60_000):
        yield body[start : start + 60_000]


@pytest.mark.parametrize("pieces", [False, True])
def test_a_payload_of_exactly_the_limit_is_accepted(customer: Customer, pieces: bool) -> None:
    """With its length declared, or chunked."""
    body = body_with(LIMIT)

    answer = customer.client.post("/v1/async/task", content=in_pieces(body) if pieces else body)

    assert answer.status_code == 200


@pytest.mark.parametrize("excess", [1, 20_000, 3_000_000])
@pytest.mark.parametrize("pieces", [False, True])
def test_a_larger_payload_is_refused(customer: Customer, excess: int, pieces: bool) -> None:
    """413 with the limit; the connection is closed, and nothing was accepted."""
    body = body_with(LIMIT + excess)

    answer = customer.client.post("/v1/async/task", content=in_pieces(body) if pieces else body)

    assert answer.status_code == 413
    error = error_of(answer)
    assert (error["code"], error["details"]) == ("PAYLOAD_TOO_LARGE", {"limit": LIMIT})
    assert answer.headers["connection"] == "close"
    assert customer.status()["queuedTasks"] == 0


def test_a_declared_size_is_refused_before_it_is_sent(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten gigabytes are not waited for, and neither is a body whose sender first asks."""
    monkeypatch.setattr(listener, "LINGER_SECONDS", 0.1)
    for more in (f"Content-Length: {10**10}", f"Content-Length: {2 * LIMIT}\r\nExpect: 100-continue"):
        with _connected(customer.house) as connection:
            connection.sendall(_head(customer, more))

            answer = connection.makefile("rb").read()

            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"PAYLOAD_TOO_LARGE" in answer


def test_who_sends_everything_first_reads_the_refusal(customer: Customer) -> None:
    """A batch of 33 MiB, more than may be discarded of a task: 413, not a reset."""
    size = 33 * LIMIT
    with _connected(customer.house) as connection:
        connection.sendall(_head(customer, f"Content-Length: {size}").replace(b"/task ", b"/task/batch "))
        connection.sendall(b" " * size)

        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"limit":%d' % (32 * LIMIT) in answer


def test_the_limit_is_a_setting(a_house: Callable[..., House]) -> None:
    """``payload_limit_bytes`` holds for the payload alone."""
    house = a_house(payload_limit_bytes=1000)
    customer = house.customer()

    with customer.client:
        assert customer.send(body_with(1000)).status_code == 200
        assert customer.send(b" " * 15_000 + body_with(1000)).status_code == 200
        assert customer.send(body_with(1001)).status_code == 413
        assert customer.send(b" " * 18_000 + body_with(1000)).status_code == 413


@pytest.mark.parametrize("length", ["-1", "abc", "1" * 30])
def test_a_length_without_sense_is_refused(customer: Customer, length: str) -> None:
    """400 in the envelope, from whoever notices first."""
    with _connected(customer.house) as connection:
        connection.sendall(_head(customer, f"Content-Length: {length}"))

        answer = connection.makefile("rb").read()

        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
        assert b'"success":false' in answer


def _connected(house: House) -> socket.socket:
    host, port = house.server.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _head(customer: Customer, more: str) -> bytes:
    key = customer.key["value"]
    return f"POST /v1/async/task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{more}\r\n\r\n".encode()


def test_a_body_that_never_comes_is_not_waited_for_long(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length was declared, and then nothing was sent."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.2)
    with _connected(customer.house) as connection:
        connection.sendall(_head(customer, "Content-Length: 10"))

        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
