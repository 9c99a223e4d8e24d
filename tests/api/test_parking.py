"""The long poll: who waits, who is woken, whose places join whose, and that no lease is lost on the way."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.api.house import House, Session, error_of, eventually
from tests.builders import lose_hints


@pytest.fixture
def threads(house: House) -> Iterator[ThreadPoolExecutor]:
    """Requests that wait need threads of their own; at the end, whoever still waits is let go."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
        house.soon(house.server.drain)


def parked(house: House) -> dict[str, int]:
    """Places that wait, by session."""
    return house.server.parking.parked()


def wait(
    threads: ThreadPoolExecutor, session: Session, places: int, *, id: str | None = None, seconds: float = 20
) -> "Future[httpx2.Response]":
    """Send an exchange that has nothing to say, and return once it is parked."""
    waiting = threads.submit(session.exchange, places, wait_seconds=seconds, id=id)
    eventually(lambda: session.id in parked(session.house))
    return waiting


@pytest.mark.usefixtures("nobody_looks")
def test_work_wakes_a_waiting_worker_at_once(house: House, threads: ThreadPoolExecutor) -> None:
    """It is told, and need not look."""
    customer, session = house.customer(), house.session("ANY")
    waiting = wait(threads, session, 3)

    task_id = customer.accepted()
    answer = waiting.result(10).json()

    assert [lease["task"] for lease in answer["leases"]] == [task_id]
    assert (answer["kept"], answer["draining"]) == (0, False)
    assert parked(house) == {}


def test_nothing_to_do_ends_with_the_wait(house: House) -> None:
    """An empty answer after the seconds asked for, and nothing stays behind."""
    session = house.session("ANY")

    answer = session.exchange(3, wait_seconds=0.05)

    assert answer.json() == {"verdicts": [], "leases": [], "cancel": [], "kept": 0, "kept_by": "", "draining": False}
    assert parked(house) == {}


@pytest.mark.usefixtures("nobody_looks")
def test_places_of_another_exchange_join_the_one_that_waits(house: House, threads: ThreadPoolExecutor) -> None:
    """It is answered at once and told who keeps them; the one that waits then gets as many leases."""
    customer, session = house.customer(slots=9), house.session("ANY")
    waiting = wait(threads, session, 1, id="keeper")

    joined = session.exchange(2, wait_seconds=20).json()
    assert (joined["kept"], joined["kept_by"]) == (2, "keeper")
    assert parked(house) == {session.id: 3}
    house.session("OTHER")
    with house_paused(house):
        for _ in range(4):
            customer.accepted()

    assert len(waiting.result(10).json()["leases"]) == 3


class house_paused:  # noqa: N801 - reads as a statement
    """Lets several submits become startable in one moment: nobody is woken inside the block."""

    def __init__(self, house: House) -> None:
        self._parking = house.server.parking
        self._house = house

    def __enter__(self) -> None:
        self._hint, self._types = self._parking._try, frozenset({"ANY"})
        self._house.soon(lambda: setattr(self._parking, "_try", lambda parked, types: None))

    def __exit__(self, *_: object) -> None:
        self._house.soon(lambda: delattr(self._parking, "_try"))
        self._house.soon(lambda: self._parking.hint(self._types))


@pytest.mark.usefixtures("nobody_looks")
def test_leftover_places_of_an_answered_exchange_join_too(house: House, threads: ThreadPoolExecutor) -> None:
    """A report is answered at once although nothing can start."""
    customer, session = house.customer(), house.session("ANY")
    customer.accepted()
    [lease] = session.claim(1)
    waiting = wait(threads, session, 0, id="keeper")

    answer = session.exchange(4, {"lease": lease["lease"], "outcome": "completed", "result": {}}, wait_seconds=20)

    assert answer.json()["verdicts"] == ["accepted"]
    assert (answer.json()["kept"], answer.json()["kept_by"]) == (4, "keeper")
    customer.accepted()
    assert len(waiting.result(10).json()["leases"]) == 1


@pytest.mark.usefixtures("nobody_looks")
def test_an_exchange_sent_again_takes_its_own_place(house: House, threads: ThreadPoolExecutor) -> None:
    """The first request is let go; places that had joined it count on."""
    customer, session = house.customer(slots=9), house.session("ANY")
    first = wait(threads, session, 1, id="same")
    session.exchange(2, wait_seconds=20)

    second = threads.submit(session.exchange, 1, wait_seconds=20, id="same")

    assert first.result(10).json()["leases"] == []
    assert parked(house) == {session.id: 3}
    customer.accepted()
    assert len(second.result(10).json()["leases"]) == 1


@pytest.mark.usefixtures("nobody_looks")
def test_an_answered_exchange_sent_again_takes_no_place_of_another(house: House, threads: ThreadPoolExecutor) -> None:
    """It has more leases than places of its own, because places had joined it."""
    customer, session = house.customer(slots=9), house.session("ANY")
    first = wait(threads, session, 1, id="keeper")
    session.exchange(2, wait_seconds=20)
    with house_paused(house):
        for _ in range(3):
            customer.accepted()
    leases = first.result(10).json()["leases"]
    wait(threads, session, 4, id="other")

    again = session.exchange(1, wait_seconds=20, id="keeper").json()

    assert len(leases) == 3
    assert untimed(again["leases"]) == untimed(leases)
    assert again["kept"] == 0
    assert parked(house) == {session.id: 4}


def test_a_lost_answer_loses_no_lease(house: House) -> None:
    """The same exchange gets the same leases, once each."""
    customer, session = house.customer(slots=9), house.session("ANY")
    customer.accepted()
    first = session.exchange(1, id="same").json()
    customer.accepted()

    second = session.exchange(1, id="same").json()

    assert untimed(second["leases"]) == untimed(first["leases"])
    assert second["leases"][0]["timeout_seconds"] <= first["leases"][0]["timeout_seconds"]
    assert customer.status()["processingTasks"] == 1


def untimed(leases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leases without the time that is left for them."""
    return [{name: one[name] for name in one if name != "timeout_seconds"} for one in leases]


def test_a_worker_that_hangs_up_no_longer_waits(house: House) -> None:
    """Its places take no work that nobody would run."""
    customer, session = house.customer(), house.session("ANY")
    with house.client(house.server.worker_socket) as client:
        body = {"session": session.id, "id": "x", "places": 1, "wait_seconds": 20}
        with pytest.raises(httpx2.ReadTimeout):
            client.post("/worker/v1/exchange", json=body, timeout=0.2)

    eventually(lambda: parked(house) == {})
    customer.accepted()
    assert customer.status()["queuedTasks"] == 1


def test_a_lost_hint_costs_a_second_at_most(house: House, threads: ThreadPoolExecutor) -> None:
    """Polling alone finds the work."""
    customer, session = house.customer(), house.session("ANY")
    lose_hints(house.store, "startable")
    waiting = wait(threads, session, 1)

    customer.accepted()

    assert len(waiting.result(10).json()["leases"]) == 1


@pytest.mark.usefixtures("nobody_looks")
def test_work_that_comes_while_an_exchange_is_about_to_wait_is_not_overlooked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim found nothing, then the work came, then the exchange was parked: it is tried once more at once."""
    customer, session = house.customer(), house.session("ANY")
    exchange = house.store.leases.exchange
    seen: list[str] = []

    async def late(one: object) -> object:
        reply = await exchange(one)
        if not seen:
            seen.append("found nothing")
            house.server.parking.hint(frozenset({"ANY"}))
        elif len(seen) == 1:
            seen.append("tried again")
        return reply

    monkeypatch.setattr(house.store.leases, "exchange", late)
    answer = session.exchange(1, wait_seconds=0.5)

    assert answer.json()["leases"] == []
    assert seen == ["found nothing", "tried again"]
    assert customer.status()["processingTasks"] == 0


@pytest.mark.usefixtures("nobody_looks")
def test_what_a_claim_brings_while_the_wait_ends_is_handed_over(
    house: House, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is taken when the server is told to drain: it goes with the answer, for nobody else would run it."""
    customer, session = house.customer(), house.session("ANY")
    exchange = house.store.leases.exchange
    taken, told = threading.Event(), threading.Event()

    async def slow(one: Any) -> Any:
        reply = await exchange(one)
        if reply.leases:
            taken.set()
            await asyncio.to_thread(told.wait, 10)
        return reply

    monkeypatch.setattr(house.store.leases, "exchange", slow)
    waiting = wait(threads, session, 1)
    task_id = customer.accepted()
    assert taken.wait(10)

    house.soon(house.server.drain)
    told.set()

    assert [lease["task"] for lease in waiting.result(10).json()["leases"]] == [task_id]


@pytest.mark.usefixtures("nobody_looks")
def test_two_workers_share(house: House, threads: ThreadPoolExecutor) -> None:
    """Who waits longest is served first, then goes to the end of the line."""
    customer = house.customer(slots=9)
    first, second = house.session("ANY"), house.session("ANY")
    waiting = {1: wait(threads, first, 2), 2: wait(threads, second, 2)}

    customer.accepted()
    assert len(waiting[1].result(10).json()["leases"]) == 1
    assert not waiting[2].done()
    again = wait(threads, first, 1)
    customer.accepted()

    assert len(waiting[2].result(10).json()["leases"]) == 1
    assert not again.done()
    customer.accepted()
    assert len(again.result(10).json()["leases"]) == 1


@pytest.mark.usefixtures("nobody_looks")
def test_more_work_than_one_worker_has_places_wakes_the_next(house: House, threads: ThreadPoolExecutor) -> None:
    """In one moment: the first is filled, the rest goes to whoever waits behind it."""
    customer = house.customer(slots=9)
    waiting = [wait(threads, house.session("ANY"), 2) for _ in range(3)]

    with house_paused(house):
        for _ in range(3):
            customer.accepted()

    assert len(waiting[0].result(10).json()["leases"]) == 2
    assert len(waiting[1].result(10).json()["leases"]) == 1
    assert not waiting[2].done()


@pytest.mark.usefixtures("nobody_looks")
def test_only_workers_of_the_type_are_woken(house: House, threads: ThreadPoolExecutor) -> None:
    """The other waits on."""
    customer = house.customer()
    other = wait(threads, house.session("OTHER"), 1)
    fitting = wait(threads, house.session("ANY"), 1)

    customer.accepted("ANY")

    assert len(fitting.result(10).json()["leases"]) == 1
    assert not other.done()
    customer.accepted("OTHER")
    assert len(other.result(10).json()["leases"]) == 1


@pytest.mark.usefixtures("nobody_looks")
def test_a_slot_that_becomes_free_wakes_another_worker(house: House, threads: ThreadPoolExecutor) -> None:
    """The one that reports offers no place; the one that waits gets the next task."""
    customer = house.customer(slots=1)
    busy, idle = house.session("ANY"), house.session("ANY")
    customer.accepted()
    customer.accepted()
    [lease] = busy.claim(1)
    waiting = wait(threads, idle, 1)

    busy.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})

    assert len(waiting.result(10).json()["leases"]) == 1


def test_a_session_that_ends_is_told_so(house: House, threads: ThreadPoolExecutor) -> None:
    """Its waiting exchange is answered 410 at the next look."""
    session = house.session("ANY")
    waiting = wait(threads, session, 1)

    session.end("lost")
    answer = waiting.result(10)

    assert answer.status_code == 410
    assert error_of(answer)["code"] == "SESSION_GONE"


def test_draining_answers_everybody_and_hands_out_nothing(house: House, threads: ThreadPoolExecutor) -> None:
    """Who waits is answered at once; reports are still settled; queued work stays queued."""
    customer, session = house.customer(slots=1), house.session("ANY")
    customer.accepted()
    [lease] = session.claim(1)
    queued = customer.accepted()
    waiting = wait(threads, session, 3)

    house.soon(house.server.drain)
    customer_answer = customer.submit()
    answer = waiting.result(5).json()
    report = {"lease": lease["lease"], "outcome": "completed", "result": {"a": 1}}
    settled = session.exchange(3, report, wait_seconds=20).json()

    assert (answer["leases"], answer["draining"]) == ([], True)
    assert (settled["verdicts"], settled["leases"], settled["draining"]) == (["accepted"], [], True)
    assert customer_answer.status_code == 503
    assert customer.find(lease["task"]).json()["response"] == {"a": 1}
    assert customer.find(queued).json()["task"]["status"] == "QUEUED"
