"""The exchange loop: nothing runs twice, nothing is fetched ahead, places are kept filled."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
    before = len(server.exchanges)
    server.lose_answers = 3
    leases = [server.put("WAIT", {"track": str(track), "until": str(gate)}) for _ in range(12)]
    await server.changed()

    await eventually(lambda: all(lease in server.reports for lease in leases))

    assert track.read_text().split().count("began") == 12
    assert all(server.reports[lease].outcome == "completed" for lease in leases)
    exchanges = server.exchanges[before:]
    sent = [exchange.id for exchange in exchanges]
    assert len(sent) > len(set(sent)), "an exchange was sent again"
    bodies = {(exchange.id, exchange.places, len(exchange.reports)) for exchange in exchanges}
    assert len(bodies) == len(set(sent)), "and unchanged"


async def test_never_more_attempts_than_places(server: FakeServer, supervisor: Supervisor) -> None:
    """The places offered in all unanswered exchanges are the free ones."""
    server.most_leased = 0
    leases = [server.put("NOOP_THREAD" if number % 2 else "NOOP") for number in range(400)]
    await server.changed()

    await eventually(lambda: all(lease in server.reports for lease in leases))

    assert server.most_leased <= 4


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
