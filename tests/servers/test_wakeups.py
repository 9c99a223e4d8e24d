"""Who waits at one server for what happens at the other: woken at once by NOTIFY, and without it within a second."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from fairlane.api import callers, parking, waiting
from fairlane.store.effects import PAYLOADS_MOST, Effects, payloads, read_payload
from tests import postgres
from tests.api.house import Customer, House, Session, eventually
from tests.servers.conftest import Houses, Pair

NEVER = 600.0
POLLED_SECONDS = 3.0
"""A second between two looks, and time for a busy machine."""

Scenario = Callable[[Pair, ThreadPoolExecutor], float]


def at(house: House, customer: Customer) -> Customer:
    """The same customer, at another server."""
    return Customer(house, customer.name, customer.key)


def completed(lease: dict[str, Any]) -> dict[str, Any]:
    """A report."""
    return {"lease": lease["lease"], "outcome": "completed", "result": {"done": True}}


def parked(session: Session, pool: ThreadPoolExecutor) -> "Future[httpx2.Response]":
    """An exchange that waits with two free places."""
    waits = pool.submit(session.exchange, 2, wait_seconds=20.0)
    eventually(lambda: session.id in session.house.server.parking.parked())
    return waits


def a_worker_waits(pair: Pair, pool: ThreadPoolExecutor) -> float:
    """A worker waits at B, and a task is submitted at A."""
    customer, session = pair.a.customer(), pair.b.session("ANY")
    waits = parked(session, pool)

    task_id = customer.accepted()
    began = time.monotonic()

    assert [lease["task"] for lease in waits.result(20).json()["leases"]] == [task_id]
    return time.monotonic() - began


def an_attempt_is_canceled(pair: Pair, pool: ThreadPoolExecutor) -> float:
    """An attempt runs on a worker at B, and its task is canceled at A."""
    customer, session = pair.a.customer(), pair.b.session("ANY")
    customer.accepted()
    [lease] = session.claim(1)
    waits = parked(session, pool)

    assert customer.client.delete(f"/v1/async/task/{lease['task']}").status_code == 200
    began = time.monotonic()

    assert waits.result(20).json()["cancel"] == [lease["lease"]]
    return time.monotonic() - began


def a_caller_waits(pair: Pair, pool: ThreadPoolExecutor) -> float:
    """Somebody waits at A for the end of a task that a worker at B settles."""
    customer, session = pair.a.customer(), pair.b.session("ANY")
    task_id = customer.accepted()
    [lease] = session.claim(1)
    waits = pool.submit(customer.client.get, f"/v1/async/task/{task_id}", headers={"Prefer": "wait=20"})
    eventually(lambda: task_id in pair.a.server.serving.waiting.waits())

    session.claim(0, completed(lease))
    began = time.monotonic()

    assert waits.result(20).json()["task"]["status"] == "COMPLETED"
    return time.monotonic() - began


def a_submitter_waits(pair: Pair, pool: ThreadPoolExecutor) -> float:
    """Somebody submits at A and waits there, while a worker at B runs it."""
    customer, session = pair.a.customer(), pair.b.session("ANY")
    body = {"taskType": "ANY", "payload": {}}
    waits = pool.submit(customer.client.post, "/v1/async/task", json=body, headers={"Prefer": "wait=20"})
    [lease] = eventually(lambda: session.claim(1))
    eventually(lambda: lease["task"] in pair.a.server.serving.waiting.waits())

    session.claim(0, completed(lease))
    began = time.monotonic()

    assert waits.result(20).json()["task"]["status"] == "COMPLETED"
    return time.monotonic() - began


def a_call_waits(pair: Pair, pool: ThreadPoolExecutor) -> float:
    """A call is admitted at A and runs on a worker at B."""
    customer, session = pair.a.customer(), pair.b.session("ANY")
    waits = pool.submit(customer.client.post, "/v1/monitor/any", json={})
    [lease] = eventually(lambda: session.claim(1))

    session.claim(0, completed(lease))
    began = time.monotonic()

    answer = waits.result(20)
    assert (answer.status_code, answer.json()["result"]) == (200, {"done": True})
    return time.monotonic() - began


def a_call_finds_a_worker(pair: Pair, pool: ThreadPoolExecutor) -> float:
    """A worker waits at B, and a call is admitted at A."""
    customer, session = pair.a.customer(), pair.b.session("ANY")
    waits = parked(session, pool)

    calls = pool.submit(customer.client.post, "/v1/monitor/any", json={})
    began = time.monotonic()

    [lease] = waits.result(20).json()["leases"]
    took = time.monotonic() - began
    session.claim(0, completed(lease))
    calls.result(20)
    return took


def a_limit_rises(pair: Pair, pool: ThreadPoolExecutor) -> float:
    """A worker waits at B; an organization has work and no free slot, until it gets one more at A."""
    customer, session = pair.a.customer(slots=1), pair.b.session("ANY")
    customer.accepted()
    customer.accepted()
    session.claim(1)
    waits = parked(session, pool)

    customer.change(slots=2)
    began = time.monotonic()

    assert len(waits.result(20).json()["leases"]) == 1
    return time.monotonic() - began


SCENARIOS = [
    a_worker_waits, an_attempt_is_canceled, a_caller_waits, a_submitter_waits, a_call_waits, a_call_finds_a_worker,
    a_limit_rises,
]  # fmt: skip


@pytest.fixture
def pool(houses: Houses) -> Iterator[ThreadPoolExecutor]:
    """Requests that wait need threads of their own."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who is woken finds anything."""
    for module in (parking, waiting, callers):
        monkeypatch.setattr(module, "POLL_SECONDS", NEVER)


def listening(pair: Pair) -> bool:
    """Whether both hear each other."""
    return all(house.store.wakeups.listening for house in pair)


def test_looking_is_enough(houses: Houses, pool: ThreadPoolExecutor) -> None:
    """Without NOTIFY whoever waits has it within the second between two looks."""
    pair = houses(pg_notify="off")

    took = {scenario.__name__: scenario(pair, pool) for scenario in SCENARIOS}

    assert max(took.values()) < POLLED_SECONDS, took


def test_a_notice_is_enough(houses: Houses, pool: ThreadPoolExecutor, nobody_looks: None) -> None:
    """With NOTIFY whoever waits has it at once: nobody looks here, and still all of it arrives."""
    pair = houses()
    eventually(lambda: listening(pair))

    took = {scenario.__name__: scenario(pair, pool) for scenario in SCENARIOS}

    assert sorted(took.values())[len(took) // 2] < 0.5, took
    assert max(took.values()) < POLLED_SECONDS, took


def test_who_neither_looks_nor_listens_waits(houses: Houses, pool: ThreadPoolExecutor, nobody_looks: None) -> None:
    """The control of both: there is no third way from one server to the other."""
    pair = houses(pg_notify="off")
    customer, session = pair.a.customer(), pair.b.session("ANY")
    waits = parked(session, pool)

    customer.accepted()

    with pytest.raises(TimeoutError):
        waits.result(POLLED_SECONDS)
    pair.b.soon(pair.b.server.drain)
    waits.result(20)


def test_a_lost_ear_is_made_anew(houses: Houses, pool: ThreadPoolExecutor, nobody_looks: None) -> None:
    """Every connection is cut; servers go on, hear each other again by themselves, and say so once."""
    pair = houses()
    eventually(lambda: listening(pair))

    postgres.at_once(lambda: postgres.disconnect(pair.a.settings.database))
    eventually(lambda: not listening(pair))
    eventually(lambda: listening(pair))

    assert a_worker_waits(pair, pool) < POLLED_SECONDS


def test_a_server_is_not_woken_by_itself(houses: Houses) -> None:
    """Its own listeners heard of the commit already."""
    pair = houses()
    eventually(lambda: listening(pair))
    heard: dict[str, int] = {"a": 0, "b": 0}
    for name, house in pair._asdict().items():

        def count(effects: Effects, name: str = name) -> None:
            heard[name] += bool(effects.startable)

        house.soon(lambda house=house, count=count: house.store.hints.subscribe(count))

    pair.a.customer().accepted()
    eventually(lambda: heard["b"])

    assert heard == {"a": 1, "b": 1}


# What is said --------------------------------------------------------------------------------------------------------


def test_hints_are_read_as_they_were_said() -> None:
    """What concerns other servers arrives; what does not is not sent."""
    hints = Effects(
        startable=({"PAGE", 'Ü"'}), calls_ended=True, ended=({"t1"}), canceled=({"s1"}),
        owed=True, paused_until=5,
    )  # fmt: skip

    [text] = payloads(hints)

    assert read_payload(text) == Effects(
        startable=hints.startable, calls_ended=True, ended=hints.ended, canceled=hints.canceled
    )
    assert payloads(Effects(owed=True, paused_until=5)) == []
    assert not Effects(owed=True, paused_until=5).for_others()


def test_payloads_are_short_and_few() -> None:
    """PostgreSQL takes less than 8,000 bytes; beyond a bound the rest is left to those who look."""
    ended = {f"{number:036}" for number in range(20_000)}

    made = payloads(Effects(startable=({"PAGE"}), ended=ended))

    assert len(made) == PAYLOADS_MOST
    assert all(len(text.encode()) < 8_000 for text in made)
    said = [read_payload(text) for text in made]
    assert said[0].startable == {"PAGE"}
    assert len(frozenset().union(*(one.ended for one in said))) > 2_000
    few = payloads(Effects(ended={f"{number:036}" for number in range(500)}))
    assert len(frozenset().union(*(read_payload(text).ended for text in few))) == 500


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[["later", "x"]]', "nothing", '[["startable"]]'])
def test_what_another_release_says_is_no_trouble(text: str) -> None:
    """It is not understood, and that is all."""
    assert read_payload(text) == Effects()
