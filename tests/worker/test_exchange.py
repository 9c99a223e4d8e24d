"""The exchange loop: nothing runs twice, nothing is fetched ahead, places are kept filled."""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from fairlane.logs import about
from fairlane.protocol import ExchangeAnswer, ExchangeRequest, LeaseBody, ReportBody
from fairlane.worker import exchange as exchange_module
from fairlane.worker.exchange import STALL_SECONDS, ExchangeLoop
from fairlane.worker.server import ServerSilent
from fairlane.worker.supervisor import Supervisor
from tests.worker.conftest import a_worker, eventually
from tests.worker.fake_server import FakeServer


@pytest.fixture(scope="module")
async def worker(short_directory: Path) -> AsyncIterator[tuple[FakeServer, Supervisor]]:
    """One worker process for all of these tests: none of them ends it."""
    async with a_worker(short_directory) as both:
        yield both
        assert not both[0].ended


@pytest.fixture
def server(worker: tuple[FakeServer, Supervisor]) -> FakeServer:
    return worker[0]


@pytest.fixture
def supervisor(worker: tuple[FakeServer, Supervisor]) -> Supervisor:
    return worker[1]


async def test_lost_answer_is_asked_for_again_and_each_attempt_runs_once(
    server: FakeServer, supervisor: Supervisor, tmp_path
) -> None:
    """The same exchange id yields the same leases; nothing is lost and nothing runs twice."""
    track, gate = tmp_path / "track", tmp_path / "gate"
    gate.touch()
    # Several exchanges may be open, from other tests too: each of them may lose one of the answers.
    server.lost.clear()
    server.lose_answers = 3
    leases = [server.put("WAIT", {"track": str(track), "until": str(gate)}) for _ in range(12)]
    await server.changed()

    await eventually(lambda: all(lease in server.reports for lease in leases))

    assert track.read_text().split().count("began") == 12
    assert all(server.reports[lease].outcome == "completed" for lease in leases)
    assert len(server.lost) == 3
    await eventually(lambda: all(len(server.sent(lost.id)) > 1 for lost in server.lost))
    assert all(exchange == lost for lost in server.lost for exchange in server.sent(lost.id)), "sent again unchanged"


async def test_never_more_attempts_than_places(server: FakeServer, supervisor: Supervisor) -> None:
    """The places offered in all unanswered exchanges are the free ones."""
    server.most_leased = 0
    leases = [server.put("NOOP_THREAD" if number % 2 else "NOOP") for number in range(400)]
    await server.changed()

    await eventually(lambda: all(lease in server.reports for lease in leases))

    assert server.most_leased <= 4


async def test_places_that_another_exchange_keeps_are_neither_offered_twice_nor_lost(
    server: FakeServer, supervisor: Supervisor, tmp_path
) -> None:
    """The server joins them to the exchange that waits, and names it."""
    server.most_leased, server.keeping = 0, True
    for number in range(20):
        kept, last = server.kept, tmp_path / f"last-{number}"
        leases = [server.put("WAIT", {"track": str(tmp_path / "tracks"), "until": str(last)})]
        leases += [server.put("NOOP") for _ in range(3)]
        await server.changed()
        await eventually(lambda: server.waiting and server.waiting[0].places == 3)
        last.touch()
        await eventually(lambda: server.waiting and server.waiting[0].places == 4)
        assert all(lease in server.reports for lease in leases)
        assert server.kept > kept
    track, gate = tmp_path / "track", tmp_path / "gate"
    leases = [server.put("WAIT", {"track": str(track), "until": str(gate)}) for _ in range(8)]
    await server.changed()
    await eventually(lambda: track.exists() and track.read_text().count("began") == 4)

    server.keeping = False
    gate.touch()
    await eventually(lambda: all(lease in server.reports for lease in leases))

    assert server.most_leased == 4


async def test_one_exchange_is_always_open(server: FakeServer, supervisor: Supervisor, tmp_path) -> None:
    """With no place free it offers none, so that a cancellation can still arrive."""
    track, gate = tmp_path / "track", tmp_path / "gate"
    leases = [server.put("WAIT", {"track": str(track), "until": str(gate)}) for _ in range(4)]
    await server.changed()

    await eventually(lambda: server.exchanges and server.exchanges[-1].places == 0)

    assert not server.exchanges[-1].reports
    gate.touch()
    await eventually(lambda: all(lease in server.reports for lease in leases))


async def test_silent_server_is_asked_again_until_it_answers(server: FakeServer, supervisor: Supervisor) -> None:
    """An outage shorter than the lease costs nothing but time."""
    server.silent = True
    await server.changed()
    lease = server.put("ADD", {"n": 1})
    await server.changed()
    server.silent = False

    await eventually(lambda: lease in server.reports)

    assert server.reports[lease].outcome == "completed"


# Without a process: each answer at a chosen moment -------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _exchanges_end_with_their_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of a test cancels at its end the tasks that it finds."""
    monkeypatch.setattr(exchange_module, "hidden_task", lambda loop, work: loop.create_task(work))


class Counter:
    """A server that answers when told to."""

    def __init__(self) -> None:
        self.asked: list[ExchangeRequest] = []
        self.answers: list[asyncio.Future[ExchangeAnswer]] = []

    async def exchange(self, exchange: ExchangeRequest) -> ExchangeAnswer:
        self.asked.append(exchange)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    async def asks(self, count: int) -> None:
        await eventually(lambda: len(self.asked) >= count)


def a_lease() -> LeaseBody:
    return LeaseBody(
        lease="lease-1",
        task="task-1",
        organization="acme",
        task_type="ANY",
        attempt=1,
        attempts=3,
        timeout_seconds=30,
        payload=msgspec.Raw(b"{}"),
    )


def an_exchange_loop(counter: Counter, started: list[LeaseBody]) -> ExchangeLoop:
    """Two places; what it starts is only noted."""
    return ExchangeLoop(
        counter,  # type: ignore[arg-type]
        session="session-1",
        places=2,
        wait_seconds=5.0,
        start=started.append,
        said=list,
        cancel=lambda lease: None,
        tell=lambda note: None,
        failed=lambda error: None,
    )


async def one_waiting_one_reporting(counter: Counter) -> ExchangeLoop:
    """Exchange 2 waits with a place; exchange 3 has reported an attempt, with the other place."""
    exchange_loop = an_exchange_loop(counter, [])
    exchange_loop.begin()
    await counter.asks(1)
    counter.answers[0].set_result(ExchangeAnswer(leases=[a_lease()]))
    await counter.asks(2)
    exchange_loop.ended(ReportBody(lease="lease-1", outcome="completed", result=msgspec.Raw(b"{}")))
    await counter.asks(3)
    assert [(one.id, one.places, len(one.reports)) for one in counter.asked] == [("1", 2, 0), ("2", 1, 0), ("3", 1, 1)]
    return exchange_loop


async def test_exchange_sent_again_offers_the_places_that_joined_it() -> None:
    """A server that lost the connection has forgotten them."""
    counter = Counter()
    await one_waiting_one_reporting(counter)
    counter.answers[2].set_result(ExchangeAnswer(verdicts=["accepted"], kept=1, kept_by="2"))
    await asyncio.sleep(0.01)

    counter.answers[1].set_exception(ServerSilent("the connection broke"))
    await counter.asks(4)

    assert (counter.asked[3].id, counter.asked[3].places) == ("2", 2)


@pytest.mark.parametrize("kept", [0, -1])
async def test_places_are_never_taken_from_another_exchange(kept: int) -> None:
    """Whatever a server says: what is offered stays offered, once."""
    counter = Counter()
    await one_waiting_one_reporting(counter)

    counter.answers[2].set_result(ExchangeAnswer(verdicts=["accepted"], kept=kept, kept_by="2"))
    await counter.asks(4)

    assert (counter.asked[3].id, counter.asked[3].places) == ("4", 1)


async def test_an_exchange_does_not_run_as_the_attempt_that_caused_it() -> None:
    """Otherwise its log lines would name that attempt."""
    seen: list[object] = []

    class Watching(Counter):
        async def exchange(self, exchange: ExchangeRequest) -> ExchangeAnswer:
            seen.append(about.get())
            return await super().exchange(exchange)

    attempt = contextvars.copy_context()
    attempt.run(about.set, {"task_id": "task-1"})
    exchange_loop = an_exchange_loop(counter := Watching(), [])
    exchange_loop.begin()
    await counter.asks(1)
    attempt.run(exchange_loop.ended, ReportBody(lease="lease-1", outcome="completed", result=msgspec.Raw(b"{}")))
    await counter.asks(2)

    assert seen == [None, None]


async def test_lease_that_comes_after_the_drain_began_is_handed_back() -> None:
    """It is not started, and no place is offered any more."""
    counter, started = Counter(), list[LeaseBody]()
    exchange_loop = an_exchange_loop(counter, started)
    exchange_loop.begin()
    await counter.asks(1)

    exchange_loop.stop_taking()
    counter.answers[0].set_result(ExchangeAnswer(leases=[a_lease()]))
    await counter.asks(2)

    assert started == []
    assert counter.asked[1].places == 0
    assert [(report.lease, report.outcome) for report in counter.asked[1].reports] == [("lease-1", "released")]


class Clock:
    """The steady clock that the exchange loop reads, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("noticed", ["with the answer", "with a pulse before the answer"])
@pytest.mark.parametrize("stood_still", [True, False])
async def test_leases_that_came_over_a_stall_are_handed_back(
    monkeypatch: pytest.MonkeyPatch, noticed: str, stood_still: bool
) -> None:
    """The supervisor may have given them up, and another worker may run them. A shorter gap changes nothing."""
    clock = Clock()
    monkeypatch.setattr(exchange_module, "time", clock)
    counter, started = Counter(), list[LeaseBody]()
    exchange_loop = an_exchange_loop(counter, started)
    exchange_loop.begin()
    await counter.asks(1)

    clock.now += STALL_SECONDS + (0.01 if stood_still else -0.01)
    if noticed == "with a pulse before the answer":
        exchange_loop.pulse()
    counter.answers[0].set_result(ExchangeAnswer(leases=[a_lease()]))
    await counter.asks(2)

    released = [(report.lease, report.outcome) for report in counter.asked[1].reports]
    assert [lease.lease for lease in started] == ([] if stood_still else ["lease-1"])
    assert released == ([("lease-1", "released")] if stood_still else [])


async def test_leases_of_an_exchange_that_was_sent_after_the_stall_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker goes on: only what was open over the stall is in doubt."""
    clock = Clock()
    monkeypatch.setattr(exchange_module, "time", clock)
    counter, started = Counter(), list[LeaseBody]()
    exchange_loop = an_exchange_loop(counter, started)
    exchange_loop.begin()
    await counter.asks(1)
    clock.now += STALL_SECONDS + 0.01
    exchange_loop.pulse()
    counter.answers[0].set_result(ExchangeAnswer(leases=[a_lease()]))
    await counter.asks(2)
    counter.answers[1].set_result(ExchangeAnswer(verdicts=["accepted"]))
    await counter.asks(3)

    counter.answers[2].set_result(ExchangeAnswer(leases=[a_lease()]))
    await eventually(lambda: started)

    assert [lease.lease for lease in started] == ["lease-1"]


@pytest.mark.parametrize("task_type", ["PROGRESS", "PROGRESS_ISOLATED"])
async def test_progress_goes_up_about_once_a_second(
    server: FakeServer, supervisor: Supervisor, tmp_path, task_type: str
) -> None:
    """The last word of a handler that speaks fifty times a second; from an isolated process, too."""
    until = tmp_path / "until"
    lease = server.put(task_type, {"track": str(tmp_path / "track"), "until": str(until)})
    await server.changed()

    def said() -> list[float]:
        return [one.done for exchange in server.exchanges for one in exchange.progress if one.lease == lease]

    began = time.monotonic()
    await eventually(lambda: len(said()) >= 3)
    took = time.monotonic() - began
    until.touch()
    await eventually(lambda: lease in server.reports)

    assert said() == sorted(said())
    assert len(said()) <= 2 + (time.monotonic() - began)
    assert took > 1.5
