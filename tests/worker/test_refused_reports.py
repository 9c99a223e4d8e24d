"""A report that cannot be written, or that the server refuses, costs its own attempt and no other."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from fairlane.protocol import ExchangeRequest, ReportBody
from fairlane.worker import exchange as exchange_module
from fairlane.worker.exchange import ExchangeLoop
from fairlane.worker.server import ServerClient
from tests.worker.conftest import a_server, eventually
from tests.worker.fake_server import FakeServer


class Strict(FakeServer):
    """Answers ``status`` to every exchange that has a report of one of these leases in it."""

    status = 400
    wrong: frozenset[str] = frozenset()
    bare = True
    """Whether a report that has nothing of the handler's in it is taken."""

    async def _exchange(self, exchange: ExchangeRequest, port: int) -> tuple[int, object]:
        for report in exchange.reports:
            if report.lease in self.wrong and not (self.bare and "the report was refused" in report.cause):
                return self.status, None
        return await super()._exchange(exchange, port)


class Worker:
    """An exchange loop whose attempts end when a test says so."""

    def __init__(self, server: FakeServer) -> None:
        self.started: list[str] = []
        self.failures: list[BaseException] = []
        self.connection = ServerClient([f"unix:{server.socket_path}"])
        self.loop = ExchangeLoop(
            self.connection,
            session="s",
            places=40,
            wait_seconds=5.0,
            start=lambda lease: self.started.append(lease.lease),
            cancel=lambda lease_id: None,
            said=list,
            tell=lambda note: None,
            failed=self.failures.append,
        )


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Task[Any]]:
    """The exchanges that loops of this test have sent."""
    sent: list[asyncio.Task[Any]] = []

    def noted(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        sent.append(loop.create_task(work))
        return sent[-1]

    monkeypatch.setattr(exchange_module, "hidden_task", noted)
    return sent


@asynccontextmanager
async def a_worker(path: Path, exchanges: list[asyncio.Task[Any]]) -> AsyncIterator[tuple[Strict, Worker]]:
    """A worker and its server. As at the end of a worker process, no connection is closed below an exchange."""
    server = Strict(path / "worker.sock")
    async with a_server(path, server):
        worker = Worker(server)
        yield server, worker
        # A turn that is due sends one more.
        while open_now := [exchange for exchange in exchanges if not exchange.done()]:
            for exchange in open_now:
                exchange.cancel()
            await asyncio.gather(*open_now, return_exceptions=True)
        await worker.connection.close()


def completed(lease: str, **changes: object) -> ReportBody:
    """A report with a result."""
    return msgspec.structs.replace(ReportBody(lease=lease, outcome="completed", result=Raw(b"{}")), **changes)


@pytest.mark.parametrize("status", [400, 413])
async def test_a_refused_report_costs_its_own_attempt(
    short_path: Path, exchanges: list[asyncio.Task[Any]], status: int
) -> None:
    """Whatever else is in the exchange arrives as it was; the handler that completed is not run again."""
    async with a_worker(short_path, exchanges) as (server, worker):
        leases = [server.put("ANY") for _ in range(40)]
        worker.loop.begin()
        await eventually(lambda: len(worker.started) == 40)

        server.status, server.wrong = status, frozenset([leases[3], leases[17]])
        for lease in leases:
            worker.loop.ended(completed(lease))
        await eventually(lambda: len(server.reports) == 40)
        more = server.put("ANY")
        await server.changed()
        await eventually(lambda: more in worker.started)

    outcomes = {lease: server.reports[lease].outcome for lease in leases}
    assert {lease for lease in leases if outcomes[lease] != "completed"} == server.wrong
    for lease in server.wrong:
        report = server.reports[lease]
        assert (report.outcome, report.retry) == ("failed", False)
        assert report.failure is not None
        assert report.failure.code == "RESULT_NOT_SERIALIZABLE"
        assert str(status) in report.cause
    assert worker.failures == []


async def test_a_report_that_cannot_be_written_costs_its_own_attempt(
    short_path: Path, exchanges: list[asyncio.Task[Any]]
) -> None:
    """The server hears of it without what cannot be written; a failed attempt may be tried again."""
    async with a_worker(short_path, exchanges) as (server, worker):
        leases = [server.put("ANY") for _ in range(3)]
        worker.loop.begin()
        await eventually(lambda: len(worker.started) == 3)

        worker.loop.ended(completed(leases[0]))
        worker.loop.ended(ReportBody(lease=leases[1], outcome="failed", pause_seconds=object()))  # type: ignore[arg-type]
        worker.loop.ended(completed(leases[2]))
        await eventually(lambda: len(server.reports) == 3)

    assert [server.reports[lease].outcome for lease in leases] == ["completed", "failed", "completed"]
    assert (server.reports[leases[1]].retry, server.reports[leases[1]].pause_seconds) == (True, None)
    assert worker.failures == []


async def test_a_server_that_refuses_everything_ends_the_worker(
    short_path: Path, exchanges: list[asyncio.Task[Any]]
) -> None:
    """There is an end to leaving out."""
    async with a_worker(short_path, exchanges) as (server, worker):
        lease = server.put("ANY")
        worker.loop.begin()
        await eventually(lambda: worker.started == [lease])

        server.wrong, server.bare = frozenset([lease]), False
        worker.loop.ended(completed(lease))
        await eventually(lambda: worker.failures)

    assert [type(failure).__name__ for failure in worker.failures] == ["ContentRefused"]
