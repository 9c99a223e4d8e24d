"""The bodies of all requests together are bounded, with a share for each organization, and given back."""

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from fairlane.api import bodies, tasks
from fairlane.api.bodies import OPERATORS, STRANGERS, WORKERS, Bodies, BodyHolder, HeldBody
from fairlane.errors import Unavailable
from tests.api.house import Customer, House, Seconds, error_of, eventually

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
    held, last = Bodies(), HeldBody(ACME)

    held.take(HeldBody(ACME), 300 * KIBIBYTE - 1, limit_bytes=KIBIBYTE)
    held.take(last, 1, limit_bytes=KIBIBYTE)
    with pytest.raises(Unavailable):
        held.take(HeldBody(ACME), 1, limit_bytes=KIBIBYTE)
    held.give_back(last)
    held.give_back(last)
    held.take(HeldBody(ACME), 1, limit_bytes=KIBIBYTE)

    assert held.held_bytes["organizations"] == 300 * KIBIBYTE


@pytest.mark.usefixtures("small")
def test_a_share_is_kept_however_much_of_the_pool_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone in its pool a holder has no more than its share, though it would leave as much again."""
    monkeypatch.setattr(bodies, "SHARE_BYTES", 200 * KIBIBYTE)
    held = Bodies()

    held.take(HeldBody(ACME), 200 * KIBIBYTE, limit_bytes=KIBIBYTE)
    with pytest.raises(Unavailable):
        held.take(HeldBody(ACME), 1, limit_bytes=KIBIBYTE)

    held.take(HeldBody(UMBRELLA), 200 * KIBIBYTE, limit_bytes=KIBIBYTE)


@pytest.mark.usefixtures("small")
def test_each_holder_leaves_as_much_as_it_has_to_the_others() -> None:
    """So a third organization sends large bodies beside two that hold all they may; and anybody always a small one."""
    held, last = Bodies(), HeldBody(BodyHolder("organizations", "last"))
    for holder, most in ((ACME, 300), (UMBRELLA, 150), (STARK, 75)):
        held.take(HeldBody(holder), most * KIBIBYTE, limit_bytes=KIBIBYTE)
        with pytest.raises(Unavailable):
            held.take(HeldBody(holder), KIBIBYTE, limit_bytes=KIBIBYTE)
    for name in ("a", "b", "c"):
        held.take(HeldBody(BodyHolder("organizations", name)), 20 * KIBIBYTE, limit_bytes=KIBIBYTE)

    held.take(last, 20 * KIBIBYTE, limit_bytes=KIBIBYTE)
    with pytest.raises(Unavailable):
        held.take(last, 1, limit_bytes=KIBIBYTE)


@pytest.mark.usefixtures("small")
def test_customers_take_nothing_from_workers_operators_or_strangers() -> None:
    """Each kind has a pool of its own."""
    held = Bodies()
    held.take(HeldBody(ACME), 300 * KIBIBYTE, limit_bytes=KIBIBYTE)
    held.take(HeldBody(UMBRELLA), 150 * KIBIBYTE, limit_bytes=KIBIBYTE)

    for holder in (WORKERS, OPERATORS, STRANGERS):
        held.take(HeldBody(holder), 300 * KIBIBYTE, limit_bytes=KIBIBYTE)


@pytest.mark.usefixtures("small")
def test_one_body_of_the_largest_size_always_fits() -> None:
    """Limits that the operator has raised are not undone here."""
    Bodies().take(HeldBody(ACME), 900 * KIBIBYTE, limit_bytes=900 * KIBIBYTE)


def withholding(held: Bodies, ended: list[HeldBody], *parts: tuple[BodyHolder, int]) -> list[HeldBody]:
    """Bodies of these holders and sizes, of which the rest is awaited."""
    made = []
    for holder, count in parts:
        body = HeldBody(holder)
        held.take(body, count * KIBIBYTE, limit_bytes=KIBIBYTE)
        held.expect(body, partial(ended.append, body))
        made.append(body)
    return made


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("seconds", "room"), [(2, True), (1.9, False)])
def test_a_stalled_body_is_ended_if_another_needs_its_room(seconds: float, room: bool) -> None:
    """The largest first, and none that still arrives or that needs not go; without need all of them may stay."""
    clock, ended = Seconds(), list[HeldBody]()
    held = Bodies(clock=clock)
    first, second, third = withholding(held, ended, (ACME, 300), (UMBRELLA, 150), (STARK, 75))
    clock.at += seconds
    honest = HeldBody(BodyHolder("organizations", "honest"))

    if not room:
        with pytest.raises(Unavailable):
            held.take(honest, 170 * KIBIBYTE, limit_bytes=KIBIBYTE)
        assert ended == []
        return
    held.take(honest, 170 * KIBIBYTE, limit_bytes=KIBIBYTE)
    assert ended == [first]
    assert held.held_bytes["organizations"] == (150 + 75 + 170) * KIBIBYTE
    with pytest.raises(Unavailable):
        held.take(first, 1, limit_bytes=KIBIBYTE)
    held.arrived(first)
    held.give_back(first)
    second.move(bodies.MOVING_BYTES, clock())
    held.take(honest, 30 * KIBIBYTE, limit_bytes=KIBIBYTE)

    assert ended == [first, third]


@pytest.mark.usefixtures("small")
def test_a_holder_below_an_equal_share_takes_room_from_the_fullest() -> None:
    """Although nothing is stalled; not beyond an equal share, not from holders with less, and not what is complete."""
    held, ended = Bodies(clock=Seconds()), list[HeldBody]()
    first, second, _ = withholding(held, ended, (ACME, 280), (UMBRELLA, 140), (STARK, 80))
    honest = HeldBody(BodyHolder("organizations", "honest"))

    held.take(honest, 90 * KIBIBYTE, limit_bytes=KIBIBYTE)
    assert ended == [first]
    held.take(honest, 60 * KIBIBYTE, limit_bytes=KIBIBYTE)
    assert ended == [first]
    [third] = withholding(held, ended, (BodyHolder("organizations", "fifth"), 80))
    held.arrived(second)
    with pytest.raises(Unavailable):
        held.take(honest, 10 * KIBIBYTE, limit_bytes=KIBIBYTE)

    assert ended == [first]
    assert third.count


@pytest.mark.usefixtures("small")
def test_a_holder_that_has_used_up_its_share_ends_its_own_stalled_bodies() -> None:
    """Not those of others; what was received as a whole is not ended."""
    clock, ended = Seconds(), list[HeldBody]()
    held = Bodies(clock=clock)
    _, own, whole = withholding(held, ended, (UMBRELLA, 200), (ACME, 150), (ACME, 40))
    held.arrived(whole)
    clock.at += 2

    held.take(HeldBody(ACME), 120 * KIBIBYTE, limit_bytes=KIBIBYTE)
    with pytest.raises(Unavailable):
        held.take(HeldBody(ACME), 200 * KIBIBYTE, limit_bytes=KIBIBYTE)

    assert ended == [own]


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


def test_honest_bodies_go_on_beside_organizations_that_withhold(one_house: House) -> None:
    """A large body is accepted; the request that had to go for it is answered 503, and its connection is closed."""
    honest = one_house.customer()
    with contextlib.ExitStack() as stack:
        connections = []
        for count in (3, 1, 1):
            greedy = one_house.customer()
            connections += [
                stack.enter_context(withheld(greedy, "/v1/async/task/batch", 99 * KIBIBYTE)) for _ in range(count)
            ]
        eventually(lambda: held_bytes(one_house) >= 5 * 98 * KIBIBYTE)

        accepted = honest.submit(payload={"a": "x" * (100 * KIBIBYTE)})

        assert accepted.status_code == 200
        eventually(lambda: held_bytes(one_house) <= 4 * 99 * KIBIBYTE)
        answered, _, _ = select.select(connections, [], [], 10)
        answers = [connection.recv(65_536) for connection in answered]
    assert {answer.split(b" ")[1] for answer in answers} == {b"503"}
    assert all(b"connection: close" in answer for answer in answers)


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
