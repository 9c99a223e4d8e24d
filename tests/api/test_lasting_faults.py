"""What is tried again logs a fault that lasts once, with its traceback, and counts the failures until it is over."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from fairlane import sweeper as sweeper_module
from fairlane.api import callers as callers_module
from fairlane.api import parking as parking_module
from fairlane.api import waiting as waiting_module
from fairlane.api.callers import Callers
from fairlane.api.parking import Parking
from fairlane.api.waiting import Waiting
from fairlane.dashboard import live as live_module
from fairlane.dashboard.live import Hub, Viewer
from fairlane.errors import StoreFault
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.sweeper import Sweeper
from tests.store.databases import Clock, SqliteFile

Loop = Callable[[Store, Settings], Coroutine[Any, Any, None]]

SOME = 10
"""Failures of one fault, at least."""


async def upkeep(store: Store, settings: Settings) -> None:
    """Run the sweeper's loops."""
    await Sweeper(store, settings, {}).run()


async def waiting(store: Store, settings: Settings) -> None:
    """Look for the ends of tasks, for one request that waits."""
    looks = Waiting(store)
    looks._waiting["nothing"] = (1, set())
    await looks.poll()


async def cancels(store: Store, settings: Settings) -> None:
    """Look for cancel requests, for one session that is always here."""
    parking = Parking(store)

    async def here() -> None:
        while True:
            parking._seen.add("nothing")
            await asyncio.sleep(0)

    await asyncio.gather(parking.poll(), here())


async def calls(store: Store, settings: Settings) -> None:
    """Look for the ends of calls."""
    callers = Callers(store, settings)
    await callers.open()
    await callers.run()


async def answered_calls(store: Store, settings: Settings) -> None:
    """Remove calls that were answered."""
    callers = Callers(store, settings)
    while True:
        await callers._remove([])
        await asyncio.sleep(0)


async def viewers(store: Store, settings: Settings) -> None:
    """Read what one viewer of the dashboard sees."""
    hub = Hub(store)
    hub.viewers.add(Viewer(None, "nothing"))
    await hub.run()


@pytest.mark.parametrize(
    ("loop", "verb", "begins", "ends", "names"),
    [
        (
            upkeep,
            "organizations.share_virtual_time",
            "upkeep.failed",
            "upkeep.resumed",
            {"upkeep": "share virtual time"},
        ),
        (waiting, "tasks.ended", "waiting.unreadable", "waiting.resumed", {}),
        (cancels, "leases.canceled", "cancels.unreadable", "cancels.resumed", {}),
        (calls, "calls.ended", "upkeep.failed", "upkeep.resumed", {"upkeep": "calls"}),
        (answered_calls, "calls.forget", "upkeep.failed", "upkeep.resumed", {"upkeep": "forget calls"}),
        (viewers, "dashboard.live", "dashboard.blind", "dashboard.resumed", {}),
    ],
)
async def test_a_fault_that_lasts_is_logged_once_and_counted(
    loop: Loop,
    verb: str,
    begins: str,
    ends: str,
    names: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line at its beginning, one with the number of failures at its end; the next fault is logged again."""
    for module in (sweeper_module, waiting_module, parking_module, callers_module):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(callers_module, "DRAIN_POLL_SECONDS", 0.0)
    monkeypatch.setattr(live_module, "EVERY_SECONDS", 0.0)
    database = SqliteFile(tmp_path, Clock())
    store = await database.open()
    name, _, method = verb.partition(".")
    noun = getattr(store, name)
    works, fails, failures = getattr(noun, method), [True], [0]

    async def asked(*arguments: Any, **options: Any) -> Any:
        if fails[0]:
            failures[0] += 1
            raise StoreFault("a fault that lasts")
        return await works(*arguments, **options)

    def logged(event: str) -> list[dict[str, Any]]:
        return [vars(one) for one in caplog.records if one.getMessage() == event]

    monkeypatch.setattr(noun, method, asked)
    running = asyncio.create_task(loop(store, Settings(database=database.address)))
    async with asyncio.timeout(20):
        while failures[0] < SOME:
            await asyncio.sleep(0)
        fails[0] = False
        while not logged(ends):
            await asyncio.sleep(0)
        first = failures[0]
        fails[0] = True
        while failures[0] < first + SOME:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await database.close()

    begun, [ended] = logged(begins), logged(ends)
    assert [one["cause"] for one in begun] == ["a fault that lasts"] * 2
    assert not any(one["exc_info"] for one in begun)  # a Fault says what happened
    assert ended["count"] == first
    assert names.items() <= begun[0].items() & ended.items()
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR and one.getMessage() != begins]
