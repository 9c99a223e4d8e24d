"""A full disk, and other ends of writing: refused as such, said once, and over by itself, or with the process."""

import asyncio
import logging
from typing import Any

import pytest

from fairlane.errors import StoreBroken, StoreUnreachable
from fairlane.outages import Outage
from fairlane.store import upkeep
from fairlane.store.batching import Batches, PendingWrite
from fairlane.store.effects import Effects
from fairlane.store.sqlite import writing
from tests.builders import ACTOR
from tests.store.databases import DATABASES, Database, adapter_of

SOME = 12
"""Refusals of one outage."""


@pytest.fixture(autouse=True)
def no_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage ends with the first write that succeeds, and each question of readiness makes a trial write."""
    monkeypatch.setattr(upkeep, "TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(writing, "FULL_SECONDS", 0.0)
    outage = pytest.importorskip("fairlane.store.postgres.outage")
    monkeypatch.setattr(outage, "FULL_SECONDS", 0.0)


async def test_a_full_disk_is_one_outage(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Each write is refused as one that may be sent again, the store does not pass for ready, and the log has one line
    when it begins and one with the number of refusals when it ends. What was accepted is there; all goes on by itself.
    """
    store = database.store
    await store.upkeep.ping()
    with database.full_disk():
        made = await _filled(store)
        ready = [await _ready(store) for _ in range(2)]
    again = await _ready(store)
    await store.plans.create("small", slots=1, queue_limit=1, weight=1, actor=ACTOR)

    assert (ready, again) == ([False, False], True)
    assert len(await store.plans.all()) == made + 2
    serious = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.getMessage() for one in serious] == ["disk.filled", "disk.recovered"]
    assert vars(serious[1])["count"] == SOME + 2
    assert not [one for one in caplog.records if one.exc_info]


async def test_questions_of_readiness_do_not_fill_a_disk(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody may ask as often as they like; on a full disk only the first of a short time makes a trial write."""
    store = database.store
    with database.full_disk():
        await _filled(store)
        monkeypatch.setattr(upkeep, "TRIAL_SECONDS", 3_600.0)
        ready = await asyncio.gather(*(_ready(store) for _ in range(20)))
    monkeypatch.setattr(upkeep, "TRIAL_SECONDS", 0.0)
    later = await _ready(store)
    await store.plans.create("small", slots=1, queue_limit=1, weight=1, actor=ACTOR)

    assert (ready, later) == ([False] * 20, False)
    [ended] = [one for one in caplog.records if one.getMessage() == "disk.recovered"]
    assert vars(ended)["count"] == SOME + 1


async def _filled(store: Any) -> int:
    """Write until there is no room for more; return how many plans there are now."""
    made = refused = 0
    while refused < SOME:
        try:
            # A plan of a page: sooner or later there is no room for it.
            await store.plans.create(f"{made}" + "x" * 4_000, slots=1, queue_limit=1, weight=1, actor=ACTOR)
            made += 1
        except StoreUnreachable:
            refused += 1
        assert made < 100
    return made


async def _ready(store: Any) -> bool:
    try:
        await store.upkeep.ping()
    except StoreUnreachable:
        return False
    return True


async def test_an_outage_does_not_end_between_two_refusals(caplog: pytest.LogCaptureFixture) -> None:
    """Small writes that succeed beside large ones that do not are no recovery; a quiet second is."""
    now = [100.0]
    outage = Outage(logging.getLogger("tests"), "it.began", "it.ended", quiet_seconds=1.0, clock=lambda: now[0])

    for _ in range(20):
        outage.fail(OSError("no room"))
        now[0] += 0.5
        outage.succeed()
    before = outage.going_on
    now[0] += 0.5
    outage.succeed()
    outage.succeed()

    assert (before, outage.going_on) == (True, False)
    assert [one.getMessage() for one in caplog.records] == ["it.began", "it.ended"]
    assert {"error": "OSError", "cause": "no room"}.items() <= vars(caplog.records[0]).items()
    assert {"seconds": 10.5, "count": 20}.items() <= vars(caplog.records[1]).items()


@pytest.mark.parametrize("error", [RuntimeError("a mistake"), asyncio.CancelledError()])
async def test_no_write_waits_for_a_store_thread_that_ended(error: BaseException) -> None:
    """Whatever ends it: what it worked on, what waits and what comes later is refused, and the process is told."""
    told: list[BaseException] = []
    entered, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def split(requests: list[PendingWrite]) -> list[list[PendingWrite]]:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)
        raise error

    batches = Batches(
        transact=lambda requests: ([None] * len(requests), Effects()),
        split=split,
        translate=lambda error: error,
        tell=lambda _: None,
        broken=told.append,
    )
    batches.start()
    first = batches.put(_nothing, "first", weight=1, alone=False)
    await entered.wait()
    second = batches.put(_nothing, "second", weight=1, alone=False)
    go.set()
    await asyncio.wait([first, second], timeout=10)
    later = batches.put(_nothing, "later", weight=1, alone=False)
    await asyncio.wait([later], timeout=10)
    await batches.stop()

    assert [type(one.exception()) for one in (first, second, later)] == [StoreBroken] * 3
    assert told == [error]


def _nothing(effects: Effects, members: Any) -> Any:
    yield from ()
    return [None for _ in members]


@pytest.mark.parametrize("kind", sorted(DATABASES))
async def test_a_server_is_told_that_its_store_thread_ended(kind: str, tmp_path: Any, clock: Any) -> None:
    """On both databases."""
    database = DATABASES[kind](tmp_path, clock)
    store = await database.open()
    told = asyncio.Event()
    store.when_broken(told.set)
    adapter = adapter_of(store)

    def mistaken(requests: Any) -> Any:
        raise RuntimeError("a mistake")

    adapter._batches._split = mistaken
    try:
        with pytest.raises(StoreBroken):
            await asyncio.wait_for(store.upkeep.ping(), 10)
        await asyncio.wait_for(told.wait(), 10)
        with pytest.raises(StoreBroken):
            await asyncio.wait_for(store.upkeep.ping(), 10)
    finally:
        await database.close()
        database.forget()
