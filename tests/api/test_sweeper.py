"""Upkeep: promotion on time, sessions judged fairly, and no fault that ends it."""

import asyncio
import logging
from typing import Any

import pytest

from fairlane import sweeper as sweeper_module
from fairlane.errors import SessionGone, StoreFault
from fairlane.model.leases import Failed, Lease, Report
from fairlane.model.organizations import Organization
from fairlane.model.status import SlotUse
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.sweeper import Sweeper
from tests.builders import PAGE, Worker, a_worker, an_organization, submitted
from tests.store.conftest import clock, database, store
from tests.store.databases import Clock, Database

__all__ = ["clock", "database", "store"]


class Clocks:
    """The database's clock and the steady one, moved by hand."""

    def __init__(self, wall: Clock) -> None:
        self.wall = wall
        self.steady = 1_000.0

    def pass_(self, seconds: float) -> None:
        """Time goes by for both."""
        self.wall.advance(seconds)
        self.steady += seconds


async def swept(sweeper: Sweeper, clocks: Clocks, seconds: float) -> None:
    """Time goes by for a server that makes a pass now and then, the last one at its end."""
    for _ in range(2):
        clocks.pass_(seconds / 2)
        await sweeper.sweep_once()


@pytest.fixture
def clocks(clock: Clock) -> Clocks:
    """Both, together."""
    return Clocks(clock)


@pytest.fixture
def sweeper(database: Database, clocks: Clocks) -> Sweeper:
    """With a lease of 3 s. Not running by itself."""
    settings = Settings(database=database.address, lease_seconds=3, renew_seconds=1, sweep_seconds=0.02)
    return Sweeper(database.store, settings, {}, steady_clock=lambda: clocks.steady)


class Running:
    """A worker with a lease of 3 s that runs the one task of an organization."""

    def __init__(self, organization: Organization, worker: Worker, lease: Lease) -> None:
        self.organization = organization
        self.worker = worker
        self.lease = lease

    async def count(self) -> int:
        """How many tasks run."""
        return (await self.worker.store.tasks.status(self.organization.id)).processing


@pytest.fixture
async def running(store: Store) -> Running:
    """It has just begun."""
    organization, worker = await an_organization(store), await a_worker(store, lease_seconds=3)
    await submitted(store, organization)
    return Running(organization, worker, await worker.take_one())


async def test_a_dead_workers_lease_comes_back(running: Running, sweeper: Sweeper, clocks: Clocks) -> None:
    """Not before its session's lease is over, but then."""
    await sweeper.sweep_once()
    await swept(sweeper, clocks, 2.9)
    assert await running.count() == 1

    clocks.pass_(0.2)
    await sweeper.sweep_once()

    assert await running.count() == 0
    with pytest.raises(SessionGone):
        await running.worker.renew()


async def test_nobody_is_judged_before_a_lease_of_contact(running: Running, sweeper: Sweeper, clocks: Clocks) -> None:
    """A server that just came up sees expired sessions of workers that could not reach it."""
    clocks.pass_(60)
    await sweeper.sweep_once()
    await swept(sweeper, clocks, 2.9)
    assert await running.count() == 1

    await running.worker.renew(leases=[running.lease.id])
    clocks.pass_(1)
    await sweeper.sweep_once()

    assert await running.count() == 1


async def test_a_server_that_stood_still_gives_a_lease_of_contact(
    running: Running, sweeper: Sweeper, clocks: Clocks
) -> None:
    """Its workers could not renew while it was suspended, so its first pass ends nothing; a dead one is found later."""
    await swept(sweeper, clocks, 3)
    await running.worker.renew(leases=[running.lease.id])
    clocks.pass_(45)
    await sweeper.sweep_once()
    assert await running.count() == 1

    await swept(sweeper, clocks, 2.9)
    assert await running.count() == 1

    clocks.pass_(0.2)
    await sweeper.sweep_once()
    assert await running.count() == 0


async def test_an_outage_starts_the_lease_of_contact_anew(
    store: Store, running: Running, sweeper: Sweeper, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewals could not arrive either."""
    await sweeper.sweep_once()
    clocks.pass_(2)
    await running.worker.renew(leases=["x"], exchanges=["x"])

    async def broken(*_: Any) -> int:
        raise StoreFault("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store.jumps, "follow", broken)
        clocks.pass_(10)
        await sweeper.sweep_once()
    await sweeper.sweep_once()
    await swept(sweeper, clocks, 2.9)
    assert await running.count() == 1

    clocks.pass_(0.2)
    await sweeper.sweep_once()
    assert await running.count() == 0


@pytest.mark.parametrize("jump_ms", [200_000, -3_600_000])
async def test_a_clock_that_was_set_kills_nobody(
    running: Running, sweeper: Sweeper, clocks: Clocks, caplog: pytest.LogCaptureFixture, jump_ms: int
) -> None:
    """The pass is left out, every session gets a fresh lease, and only that lease counts."""
    await sweeper.sweep_once()
    clocks.pass_(2.5)
    await running.worker.renew(leases=["x"], exchanges=["x"])

    clocks.wall.at += jump_ms
    await sweeper.sweep_once()
    await swept(sweeper, clocks, 2.9)
    assert await running.count() == 1
    assert "clock.jumped" in [record.getMessage() for record in caplog.records]

    clocks.pass_(0.2)
    await sweeper.sweep_once()
    assert await running.count() == 0


async def test_a_server_that_starts_after_the_clock_was_set_takes_no_attempt_for_overdue(
    database: Database, running: Running, clocks: Clocks
) -> None:
    """It has not seen the clock before: whether attempts are overdue is for servers that have, for a whole lease.

    Found by the simulation.
    """
    clocks.wall.at += 3_600_000
    store = await database.reopen()
    settings = Settings(lease_seconds=3, renew_seconds=1)

    await Sweeper(store, settings, {}, steady_clock=lambda: clocks.steady).sweep_once()

    assert (await store.tasks.status(running.organization.id)).processing == 1


async def test_upkeep_outlives_its_faults(
    store: Store, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is logged; the loops go on, and recover by themselves."""
    calls: list[str] = []
    purge = store.upkeep.purge

    async def broken() -> Any:
        calls.append("broken")
        raise RuntimeError("no")

    monkeypatch.setattr(store.upkeep, "next_due_at", broken)
    monkeypatch.setattr(store.organizations, "share_virtual_time", broken)
    monkeypatch.setattr(store.sessions, "return_orphans", broken)
    monkeypatch.setattr(store.recount, "audit_next", broken)
    monkeypatch.setattr(store.upkeep, "purge", broken)
    upkeep = asyncio.create_task(sweeper.run())
    await _until(lambda: len(calls) > 10)

    assert not upkeep.done()
    assert {vars(record).get("upkeep") for record in caplog.records if record.levelno >= logging.ERROR} == {
        "promote",
        "share virtual time",
        "sweep",
        "purge",
        "audit",
    }
    purged: list[int] = []

    async def mended() -> int:
        purged.append(await purge())
        return 0

    monkeypatch.setattr(store.upkeep, "purge", mended)
    await _until(lambda: bool(purged))
    upkeep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upkeep


async def test_a_short_pause_is_over_in_time(
    running: Running, sweeper: Sweeper, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored while the loop sleeps until its next look, which is far away: it is told, and looks when it is due."""
    monkeypatch.setattr(sweeper_module, "POLL_SECONDS", 600.0)
    upkeep = asyncio.create_task(sweeper.run())
    await asyncio.sleep(0)
    worker = running.worker

    await worker.exchange(Report(running.lease.id, Failed(cause="x", pause_ms=100)))
    early = await worker.take(1)
    clocks.pass_(0.1)
    async with asyncio.timeout(10):
        while not (again := await worker.take(1)):
            await asyncio.sleep(0.005)

    assert (early, [lease.task_id for lease in again]) == ([], [running.lease.task_id])
    upkeep.cancel()
    await asyncio.gather(upkeep, return_exceptions=True)


async def _until(look: Any) -> None:
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.005)


async def test_what_drifted_is_found_on_one_pass_and_mended_on_a_later_one(
    database: Database, sweeper: Sweeper, clocks: Clocks
) -> None:
    """In between the organization's concurrency reads null; afterwards it is a number again."""
    store = database.store
    organization = await an_organization(store, slots=10)
    database.rows("UPDATE organization SET processing = 1")
    await sweeper.sweep_once()
    assert (await store.tasks.status(organization.id)).concurrency is None

    clocks.pass_(1)
    await sweeper.sweep_once()

    assert (await store.tasks.status(organization.id)).concurrency == SlotUse(0, 10)
    assert (await store.trail.page(1))[0].action == "organization.repaired"


async def test_a_type_that_nobody_serves_is_warned_of(
    store: Store, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    """While tasks of it are ready; not once a worker serves it."""
    organization = await an_organization(store)
    await sweeper.warn_of_unserved()
    await submitted(store, organization)
    await sweeper.warn_of_unserved()
    await a_worker(store)
    await sweeper.warn_of_unserved()

    warned = [record for record in caplog.records if record.getMessage() == "type.unserved"]
    assert [(record.__dict__["task_type"], record.__dict__["ready"]) for record in warned] == [(PAGE, 1)]
