"""Reads share what there is to read with: long ones apart from short ones, and no organization has all of it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlane.errors import StoreFault, StoreUnreachable
from fairlane.model.tasks import TaskFilter
from fairlane.store import Store
from fairlane.store.read_limits import ReadLimits
from fairlane.store.sqlite import reading, writing
from fairlane.store.statements import Operation, run
from tests.builders import a_task, an_organization, submitted
from tests.store.databases import Clock, Database, SqliteFile, adapter_of


class Endless:
    """A read that runs one small statement after another until it is told to end."""

    def __init__(self) -> None:
        self.steps = 0
        self.over = False

    def operation(self) -> Operation:
        while not self.over:
            yield from run("count_organizations")
            self.steps += 1
            time.sleep(0.002)  # the machine has other things to do
        return self.steps


@contextmanager
def endless() -> Iterator[Endless]:
    """One that ends with this block, whatever happens in it."""
    one = Endless()
    try:
        yield one
    finally:
        one.over = True


async def within(answer: Awaitable[Any], seconds: float = 10) -> Any:
    """What this answers; it fails if that takes for ever."""
    async with asyncio.timeout(seconds):
        return await answer


async def reached(one: Endless, steps: int = 1) -> None:
    """Wait until this read has run some statements."""
    before = one.steps
    async with asyncio.timeout(10):
        while one.steps < before + steps:
            await asyncio.sleep(0.001)


async def test_a_long_read_delays_nobody_elses_reads(store: Store) -> None:
    """While an organization's recount goes on, others list, and recount, theirs; the self-audit goes on, too."""
    database = adapter_of(store)
    busy, other = await an_organization(store), await an_organization(store)
    task_id = (await submitted(store, other))[0]

    with endless() as recount:
        long = asyncio.ensure_future(database.walk(recount.operation(), share=busy.id))
        await reached(recount)
        listed = await within(store.tasks.page(other.id, chosen=TaskFilter(), cursor=None, most=10))
        verified = await within(store.recount.verify(other.id))
        audited = await within(store.recount.audit_next())
        own = await within(store.tasks.page(busy.id, chosen=TaskFilter(), cursor=None, most=10))
        assert not long.done()
    await long

    assert [one.id for one in listed.tasks] == [task_id]
    assert (verified.status.queued, verified.drift, audited, own.tasks) == (1, (), [], ())


async def test_however_many_recount_lists_go_on(store: Store) -> None:
    """Long reads of many organizations at once take nothing that short ones need."""
    database = adapter_of(store)
    other = await an_organization(store)

    with endless() as recounts:
        many = [asyncio.ensure_future(database.walk(recounts.operation(), share=-number)) for number in range(12)]
        await reached(recounts, steps=20)
        for _ in range(5):
            await within(store.tasks.page(other.id, chosen=TaskFilter(), cursor=None, most=10))
    answers = await asyncio.gather(*many, return_exceptions=True)

    assert {type(one) for one in answers} <= {int, StoreUnreachable}


async def test_an_organization_recounts_once_at_a_time(store: Store) -> None:
    """Its second recount waits for its first; so a loop of them leaves places to others."""
    database = adapter_of(store)
    busy = await an_organization(store)

    with endless() as recount:
        first = asyncio.ensure_future(database.walk(recount.operation(), share=busy.id))
        await reached(recount)
        second = asyncio.ensure_future(store.recount.verify(busy.id))
        await reached(recount, steps=20)
        waited = not second.done()
    await first

    assert waited
    assert (await within(second)).drift == ()


async def test_an_organizations_short_reads_leave_places_to_others(store: Store) -> None:
    """However many reads one organization has under way, another one's are answered."""
    database = adapter_of(store)
    busy, other = await an_organization(store), await an_organization(store)

    with endless() as reads:
        many = [asyncio.ensure_future(database.snapshot(reads.operation(), share=busy.id)) for _ in range(20)]
        await reached(reads)
        for _ in range(10):
            await within(store.slots.find(other.id, after="", most=10))
    answers = await asyncio.gather(*many, return_exceptions=True)

    assert {type(one) for one in answers} <= {int, StoreUnreachable}


async def test_the_servers_own_reads_take_turns_like_any_share(store: Store) -> None:
    """More of them than there are places are all answered."""
    assert await within(asyncio.gather(*[store.recount.find() for _ in range(10)])) == [[]] * 10


async def test_a_store_closes_although_a_long_read_is_under_way(database: Database) -> None:
    """The read ends after its present step, without an answer."""
    adapter: Any = database.store.shared.database

    with endless() as recount:
        long = asyncio.ensure_future(adapter.walk(recount.operation()))
        await reached(recount)
        await within(database.close())

        with pytest.raises(StoreFault):
            await within(long)
    await database.open()


async def test_who_goes_away_during_a_long_read_leaves_its_place(store: Store) -> None:
    """A caller that hangs up ends its read, so that the organization's next one is not kept waiting."""
    adapter = adapter_of(store)
    busy = await an_organization(store)
    with endless() as recount:
        long = asyncio.ensure_future(adapter.walk(recount.operation(), share=busy.id))
        await reached(recount)
        long.cancel()

        for _ in range(2 * reading.LONG_READS):
            assert (await within(store.recount.verify(busy.id))).drift == ()


# The log of SQLite ---------------------------------------------------------------------------------------------------

LOG_PAGES = 50


@pytest.fixture
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of this many pages is too long already."""
    monkeypatch.setattr(writing, "CHECKPOINT_PAGES", LOG_PAGES // 4)
    monkeypatch.setattr(writing, "LOG_PAGES_MOST", LOG_PAGES)


@pytest.fixture
def file(tmp_path: Path, clock: Clock) -> SqliteFile:
    """A file that is not there yet."""
    return SqliteFile(tmp_path, clock)


async def _log_pages_after_writes(
    file: SqliteFile, organization_id: int, pages: int, *, before_each: Callable[[], Awaitable[None]] | None = None
) -> int:
    """The most pages that the log has, while tasks of this many pages together are submitted."""
    log, most = file.path.with_name(file.path.name + "-wal"), 0
    for _ in range(pages // 5):
        if before_each is not None:
            await before_each()
        await file.store.tasks.submit(organization_id, [a_task(payload='"' + "x" * 16_000 + '"')])
        most = max(most, log.stat().st_size // 4_096)
    return most


@pytest.mark.parametrize("bounded", [True, False])
async def test_a_long_read_does_not_let_the_log_grow_for_ever(
    file: SqliteFile, short_log: None, monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """It is broken off, and says so as an outage does; every write goes on. (Not bounded: the log grows with it.)"""
    if not bounded:
        monkeypatch.setattr(writing, "LOG_PAGES_MOST", 1_000_000)
    store = await file.open()
    organization = await an_organization(store)
    adapter = adapter_of(store)

    with endless() as recount:
        long = asyncio.ensure_future(adapter.walk(recount.operation()))
        await reached(recount)
        pages = await _log_pages_after_writes(file, organization.id, 8 * LOG_PAGES)
        recount.over = not bounded

        if bounded:
            with pytest.raises(StoreUnreachable, match="log"):
                await within(long)
    await asyncio.gather(long, return_exceptions=True)
    await file.close()

    assert (pages < 4 * LOG_PAGES) is bounded


@pytest.mark.parametrize("bounded", [True, False])
async def test_readers_one_after_the_other_do_not_let_the_log_grow_for_ever(
    file: SqliteFile, short_log: None, monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """Short reads overlap without a gap, so that some reader always needs the log: a commit waits for those that are
    there, not for later ones. (Not bounded: the log grows.)"""
    if not bounded:
        monkeypatch.setattr(writing, "LOG_PAGES_MOST", 1_000_000)
    store = await file.open()
    organization = await an_organization(store)
    adapter = adapter_of(store)
    reads: list[asyncio.Future[Any]] = []
    last = threading.Event()

    checkpoint, checkpointing = adapter.writer._shorten_log, threading.Event()

    def watched() -> None:
        checkpointing.set()
        checkpoint()
        checkpointing.clear()

    monkeypatch.setattr(adapter.writer, "_shorten_log", watched)

    def read(begun: threading.Event, following: threading.Event) -> Operation:
        """Lasts until the next one has begun, or a moment longer than the begin of a checkpoint."""
        yield from run("count_organizations")
        begun.set()
        while not following.wait(0.002):
            if checkpointing.is_set():
                following.wait(0.02)
                return

    async def next_reader() -> None:
        nonlocal last
        begun, last = last, threading.Event()
        reads.append(asyncio.ensure_future(adapter.snapshot(read(begun, last), share=len(reads))))
        await asyncio.to_thread(begun.wait, 30)

    pages = await _log_pages_after_writes(file, organization.id, 8 * LOG_PAGES, before_each=next_reader)
    last.set()
    await asyncio.gather(*reads)
    await file.close()

    assert (pages < 4 * LOG_PAGES) is bounded


# Places --------------------------------------------------------------------------------------------------------------


async def test_shares_that_wait_take_turns() -> None:
    """However many reads of one share came first, each other share has its turn after one of them."""
    places = ReadLimits(2, each=1, wait_seconds=10)
    order: list[str] = []

    async def read(share: str) -> None:
        await places.take(share)
        order.append(share)
        await asyncio.sleep(0)
        places.give(share)

    await asyncio.gather(*[read("a") for _ in range(6)], read("b"), read("c"))

    assert set(order[:4]) == {"a", "b", "c"}
    assert order.count("a") == 6


async def test_a_share_holds_no_more_than_its_part() -> None:
    """Its further reads wait although places are free, and are refused once they waited too long."""
    places = ReadLimits(3, each=2, wait_seconds=0.01)
    await places.take("a")
    await places.take("a")

    with pytest.raises(StoreUnreachable):
        await places.take("a")

    await places.take("b")
    with pytest.raises(StoreUnreachable):
        await places.take("c")
    places.give("a")
    await places.take("c")


@pytest.mark.parametrize("late", [False, True])
async def test_a_read_that_waits_no_more_holds_no_place(late: bool) -> None:
    """Whether its place came before or after its caller went away."""
    places = ReadLimits(1, each=1, wait_seconds=10)
    await places.take("a")
    waiting = asyncio.ensure_future(places.take("b"))
    await asyncio.sleep(0)
    if late:
        places.give("a")
        waiting.cancel()
    else:
        waiting.cancel()
        places.give("a")
    await asyncio.gather(waiting, return_exceptions=True)

    await within(places.take("c"))
