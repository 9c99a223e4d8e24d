"""Upkeep: promotion on time, sessions judged fairly, and no fault that ends it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from fairlane.errors import SessionGone, StoreFault
from fairlane.model.leases import Exchange, Failed, NewSession, Report
from fairlane.model.organizations import Overrides
from fairlane.model.status import Concurrency
from fairlane.model.tasks import NewTask
from fairlane.settings import Settings, database_path
from fairlane.store import Store
from fairlane.sweeper import Sweeper
from tests.api.house import an_application


class Clocks:
    """The wall clock and the steady one, moved by hand."""

    def __init__(self) -> None:
        self.wall = 1_762_786_800_000
        self.steady = 1_000.0

    def pass_(self, seconds: float) -> None:
        """Time goes by for both."""
        self.wall += int(seconds * 1000)
        self.steady += seconds


@pytest.fixture
def clocks() -> Clocks:
    """Both, together."""
    return Clocks()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lease of 3 s."""
    return Settings(database=f"sqlite:///{tmp_path / 'x.db'}", lease_seconds=3, renew_seconds=1, sweep_seconds=0.02)


@pytest.fixture
async def store(settings: Settings, clocks: Clocks) -> AsyncIterator[Store]:
    """A real store on these clocks."""
    opened = await Store.open(settings, an_application().catalogue, now=lambda: clocks.wall)
    yield opened
    await opened.close()


@pytest.fixture
def sweeper(store: Store, settings: Settings, clocks: Clocks) -> Sweeper:
    """Not running by itself."""
    return Sweeper(store, settings, steady_clock=lambda: clocks.steady)


async def a_lease(store: Store) -> str:
    """A session "s" that runs one task; the lease's id."""
    await store.create_organization("acme", plan="default", overrides=Overrides(), actor="test")
    await store.submit(1, [NewTask(id="t", task_type="ANY", payload="{}")])
    session = NewSession(id="s", name="host/1", types=("ANY",), places=1, local=False, lease_ms=3000)
    await store.open_session(session)
    [lease] = (await store.exchange(Exchange(session_id="s", id="x", places=1))).leases
    return lease.id


async def processing(store: Store) -> int:
    """How many tasks run."""
    return (await store.status(1)).processing


async def test_a_dead_workers_lease_comes_back(store: Store, sweeper: Sweeper, clocks: Clocks) -> None:
    """Not before its session's lease is over, but then."""
    await a_lease(store)
    await sweeper.sweep_once()
    clocks.pass_(2.9)
    await sweeper.sweep_once()
    assert await processing(store) == 1

    clocks.pass_(0.2)
    await sweeper.sweep_once()

    assert await processing(store) == 0
    with pytest.raises(SessionGone):
        await store.renew_session("s", leases=[], exchanges=[])


async def test_nobody_is_judged_before_a_lease_of_contact(store: Store, sweeper: Sweeper, clocks: Clocks) -> None:
    """A server that just came up sees expired sessions of workers that could not reach it."""
    lease = await a_lease(store)
    clocks.pass_(60)
    await sweeper.sweep_once()
    clocks.pass_(2.9)
    await sweeper.sweep_once()
    assert await processing(store) == 1

    await store.renew_session("s", leases=[lease], exchanges=[])
    clocks.pass_(1)
    await sweeper.sweep_once()

    assert await processing(store) == 1


async def test_an_outage_starts_the_lease_of_contact_anew(
    store: Store, sweeper: Sweeper, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewals could not arrive either."""
    await a_lease(store)
    await sweeper.sweep_once()
    clocks.pass_(2)
    await store.renew_session("s", leases=["x"], exchanges=["x"])

    async def broken(*_: Any) -> int:
        raise StoreFault("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store, "follow_clock", broken)
        clocks.pass_(10)
        await sweeper.sweep_once()
    await sweeper.sweep_once()
    clocks.pass_(2.9)
    await sweeper.sweep_once()
    assert await processing(store) == 1

    clocks.pass_(0.2)
    await sweeper.sweep_once()
    assert await processing(store) == 0


@pytest.mark.parametrize("jump_ms", [200_000, -3_600_000])
async def test_a_clock_that_was_set_kills_nobody(
    store: Store, sweeper: Sweeper, clocks: Clocks, caplog: pytest.LogCaptureFixture, jump_ms: int
) -> None:
    """The pass is left out, every session gets a fresh lease, and only that lease counts."""
    await a_lease(store)
    await sweeper.sweep_once()
    clocks.pass_(2.5)
    await store.renew_session("s", leases=["x"], exchanges=["x"])

    clocks.wall += jump_ms
    await sweeper.sweep_once()
    clocks.pass_(2.9)
    await sweeper.sweep_once()
    assert await processing(store) == 1
    assert "clock.jumped" in [record.getMessage() for record in caplog.records]

    clocks.pass_(0.2)
    await sweeper.sweep_once()
    assert await processing(store) == 0


async def test_upkeep_outlives_its_faults(
    store: Store, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is logged; the loops go on, and recover by themselves."""
    calls: list[str] = []
    purge = store.purge

    async def broken() -> Any:
        calls.append("broken")
        raise RuntimeError("no")

    monkeypatch.setattr(store, "next_due_at", broken)
    monkeypatch.setattr(store, "share_virtual_time", broken)
    monkeypatch.setattr(store, "return_orphans", broken)
    monkeypatch.setattr(store, "audit_some", broken)
    monkeypatch.setattr(store, "purge", broken)
    running = asyncio.create_task(sweeper.run())
    await _until(lambda: len(calls) > 10)

    assert not running.done()
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

    monkeypatch.setattr(store, "purge", mended)
    await _until(lambda: bool(purged))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_short_pause_is_over_in_time(store: Store, sweeper: Sweeper, clocks: Clocks) -> None:
    """Stored while the loop sleeps its second: it is told, and looks when it is due."""
    lease = await a_lease(store)
    running = asyncio.create_task(sweeper.run())
    await asyncio.sleep(0)
    ticking = asyncio.create_task(_tick(clocks))
    loop = asyncio.get_running_loop()
    began = loop.time()

    failed = Report(lease, Failed(cause="x", pause_ms=100))
    await store.exchange(Exchange(session_id="s", id="y", places=0, reports=(failed,)))
    while not (await store.exchange(Exchange(session_id="s", id="z", places=1))).leases:
        await asyncio.sleep(0.005)

    assert 0.09 <= loop.time() - began < 0.9
    running.cancel()
    ticking.cancel()
    await asyncio.gather(running, ticking, return_exceptions=True)


async def _tick(clocks: Clocks) -> None:
    loop = asyncio.get_running_loop()
    began, wall = loop.time(), clocks.wall
    while True:
        clocks.wall = wall + int((loop.time() - began) * 1000)
        await asyncio.sleep(0.002)


async def _until(look: Any) -> None:
    async with asyncio.timeout(10):
        while not look():
            await asyncio.sleep(0.005)


async def test_what_drifted_is_found_on_one_pass_and_mended_on_a_later_one(
    store: Store, sweeper: Sweeper, settings: Settings, clocks: Clocks
) -> None:
    """In between the organization's concurrency reads null; afterwards it is a number again."""
    await store.create_organization("acme", plan="default", overrides=Overrides(), actor="test")
    other = apsw.Connection(str(database_path(settings.database)))
    other.execute("UPDATE organization SET processing = 1")
    other.close()
    await sweeper.sweep_once()
    assert (await store.status(1)).concurrency is None

    clocks.pass_(1)
    await sweeper.sweep_once()

    assert (await store.status(1)).concurrency == Concurrency(0, 10)
    assert (await store.audit_rows(1))[0].action == "organization.repaired"


async def test_a_type_that_nobody_serves_is_warned_of(
    store: Store, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    """While tasks of it are ready; not once a worker serves it."""
    await store.create_organization("acme", plan="default", overrides=Overrides(), actor="test")
    await sweeper._warn_of_unserved()
    await store.submit(1, [NewTask(id="t", task_type="ANY", payload="{}")])
    await sweeper._warn_of_unserved()
    session = NewSession(id="s", name="host/1", types=("ANY",), places=1, local=False, lease_ms=3000)
    await store.open_session(session)
    await sweeper._warn_of_unserved()

    warned = [record for record in caplog.records if record.getMessage() == "type.unserved"]
    assert [(record.__dict__["task_type"], record.__dict__["ready"]) for record in warned] == [("ANY", 1)]
