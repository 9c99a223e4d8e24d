"""The bodies of all requests together are bounded, with a share for each organization, and given back."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fairlane.api import bodies, tasks
from fairlane.api.bodies import OPERATORS, STRANGERS, WORKERS, Bodies, BodyHolder
from fairlane.errors import Unavailable
from tests.api.house import Customer, House, error_of, eventually

KIBIBYTE = 1024
ACME, UMBRELLA, STARK = (BodyHolder("organizations", name) for name in ("acme", "umbrella", "stark"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test can reach: 300 KiB for one organization, 600 for all, 20 for anybody."""
    monkeypatch.setattr(bodies, "POOLS", dict.fromkeys(bodies.POOLS, 600 * KIBIBYTE))
    monkeypatch.setattr(bodies, "SHARE_BYTES", 300 * KIBIBYTE)
    monkeypatch.setattr(bodies, "FREE_BYTES", 20 * KIBIBYTE)
    monkeypatch.setattr(tasks, "BATCH_BYTES_MOST", 120 * KIBIBYTE)


@pytest.mark.usefixtures("small")
def test_a_holder_has_its_share_and_no_more() -> None:
    """To the byte; what it gives back it may have again."""
    held = Bodies()

    held.take(ACME, 300 * KIBIBYTE, limit_bytes=KIBIBYTE)
    with pytest.raises(Unavailable):
        held.take(ACME, 1, limit_bytes=KIBIBYTE)
    held.give_back(ACME, 1)
    held.take(ACME, 1, limit_bytes=KIBIBYTE)

    assert held.held_bytes["organizations"] == 300 * KIBIBYTE


@pytest.mark.usefixtures("small")
def test_each_holder_leaves_as_much_as_it_has_to_the_others() -> None:
    """So a third organization sends large bodies beside two that hold all they may; and anybody always a small one."""
    held, last = Bodies(), BodyHolder("organizations", "last")
    for holder, most in ((ACME, 300), (UMBRELLA, 150), (STARK, 75)):
        held.take(holder, most * KIBIBYTE, limit_bytes=KIBIBYTE)
        with pytest.raises(Unavailable):
            held.take(holder, KIBIBYTE, limit_bytes=KIBIBYTE)
    for name in ("a", "b", "c"):
        held.take(BodyHolder("organizations", name), 20 * KIBIBYTE, limit_bytes=KIBIBYTE)

    held.take(last, 20 * KIBIBYTE, limit_bytes=KIBIBYTE)
    with pytest.raises(Unavailable):
        held.take(last, 1, limit_bytes=KIBIBYTE)


@pytest.mark.usefixtures("small")
def test_customers_take_nothing_from_workers_operators_or_strangers() -> None:
    """Each kind has a pool of its own."""
    held = Bodies()
    held.take(ACME, 300 * KIBIBYTE, limit_bytes=KIBIBYTE)
    held.take(UMBRELLA, 150 * KIBIBYTE, limit_bytes=KIBIBYTE)

    for holder in (WORKERS, OPERATORS, STRANGERS):
        held.take(holder, 300 * KIBIBYTE, limit_bytes=KIBIBYTE)


@pytest.mark.usefixtures("small")
def test_one_body_of_the_largest_size_always_fits() -> None:
    """Limits that the operator has raised are not undone here."""
    Bodies().take(ACME, 900 * KIBIBYTE, limit_bytes=900 * KIBIBYTE)


def connected(house: House) -> socket.socket:
    """A plain connection."""
    host, port = house.server.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(customer: Customer, path: str, size: int, more: str = "") -> bytes:
    """The head of a request with a body of this size."""
    first = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {customer.key['value']}\r\n"
    return f"{first}{more}Content-Length: {size}\r\n\r\n".encode()


def withheld(customer: Customer, path: str, size: int) -> socket.socket:
    """A connection that has sent a body but for its last byte."""
    connection = connected(customer.house)
    connection.sendall(head(customer, path, size) + b" " * (size - 1))
    return connection


def held_bytes(house: House) -> int:
    """What the server holds."""
    return sum(house.server.surfaces["customers"].bodies.held_bytes.values())


@pytest.fixture
def one_house(a_house: Callable[..., House], small: None) -> House:
    """A server with small bounds."""
    return a_house(payload_limit_bytes=110 * KIBIBYTE)


def test_withheld_bodies_cost_their_organization_alone(one_house: House) -> None:
    """Beyond its share it is answered 503 with Retry-After; another submits; what was held is given back."""
    greedy, other = one_house.customer(), one_house.customer()
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(withheld(greedy, "/v1/async/task/batch", 99 * KIBIBYTE))
        eventually(lambda: held_bytes(one_house) > 290 * KIBIBYTE)

        refused = greedy.client.post("/v1/async/task/batch", content=b" " * (50 * KIBIBYTE))
        accepted = other.submit(payload={"a": "x" * (50 * KIBIBYTE)})

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert error_of(refused)["code"] == "SERVICE_UNAVAILABLE"
        assert accepted.status_code == 200
    eventually(lambda: held_bytes(one_house) == 0)
    assert greedy.submit(payload={"a": "x" * (100 * KIBIBYTE)}).status_code == 200
    assert held_bytes(one_house) == 0


def test_a_request_that_waits_holds_nothing(one_house: House) -> None:
    """A call, a submit that waits for its end, and a worker's exchange without reports."""
    customer = one_house.customer()
    payload = b'{"a":"%b"}' % (b"x" * (100 * KIBIBYTE))
    with contextlib.ExitStack() as stack:
        for path, body, more in (
            ("/v1/monitor/any", payload, ""),
            ("/v1/async/task", b'{"taskType":"OTHER","payload":%b}' % payload, "Prefer: wait=20\r\n"),
        ):
            connection = stack.enter_context(connected(one_house))
            connection.sendall(head(customer, path, len(body), more) + body)
        eventually(lambda: customer.status()["concurrency"]["used"] == 1 and customer.status()["queuedTasks"] == 1)

        eventually(lambda: held_bytes(one_house) == 0)


@pytest.mark.parametrize("content", [b"{", b"[", b'{"taskType": "ANY", "payload": {}}', b" " * 70_000])
def test_what_was_answered_holds_nothing(one_house: House, content: bytes) -> None:
    """Accepted or refused."""
    customer = one_house.customer()

    customer.client.post("/v1/async/task", content=content)
    customer.client.post("/v1/async/task/batch", content=content)
    one_house.admin.post("/admin/v1/organizations", content=content)
    one_house.worker.post("/worker/v1/exchange", content=content)
    one_house.client().post("/dashboard/login", content=content)

    eventually(lambda: held_bytes(one_house) == 0)


async def test_one_body_of_a_holder_is_read_at_a_time() -> None:
    """A second holder's is read beside the first's, whatever else that one has sent."""
    held = Bodies()
    gate, reading = threading.Event(), []

    def work(name: str) -> str:
        reading.append(name)
        gate.wait(10)
        return name

    size = bodies.INLINE_BYTES + 1
    first = [asyncio.ensure_future(held.read(ACME, size, work, "acme")) for _ in range(3)]
    await asyncio.sleep(0)
    second = asyncio.ensure_future(held.read(UMBRELLA, size, work, "umbrella"))
    while len(reading) < 2:
        await asyncio.sleep(0.001)

    assert sorted(reading) == ["acme", "umbrella"]
    gate.set()
    results: list[Any] = await asyncio.gather(*first, second)
    assert results == ["acme"] * 3 + ["umbrella"]
