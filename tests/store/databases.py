"""The databases that the conformance tests run on, and the clock that they read."""

import asyncio
import atexit
import re
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import apsw
import asyncpg

from fairlane.errors import Refusal
from fairlane.model.tasks import Catalogue
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.statements import Query
from tests import postgres
from tests.builders import a_catalogue


class Clock:
    """The store's clock. It stands until it is moved."""

    def __init__(self, at: int = 1_800_000_000_000) -> None:
        self.at = at
        self._held: threading.Event | None = None
        self._asked = threading.Event()

    def __call__(self) -> int:
        held = self._held
        if held is not None:
            self._asked.set()
            held.wait(30)
        return self.at

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.at += round(seconds * 1_000)

    @contextmanager
    def held(self) -> Iterator[threading.Event]:
        """Whoever asks for the time waits until the end of this block; the event says that somebody does."""
        self._asked.clear()
        self._held = threading.Event()
        try:
            yield self._asked
        finally:
            held, self._held = self._held, None
            held.set()


class Database(Protocol):
    """One database of one test."""

    clock: Clock
    catalogue: Catalogue
    """What the application declares from the next open on."""

    @property
    def address(self) -> str:
        """What a server is given to open it."""

    @property
    def store(self) -> Store:
        """The store that is open."""

    async def open(self, **settings: Any) -> Store:
        """Open it, with these settings besides the address."""

    async def close(self) -> None:
        """Close it in order, if it is open."""

    async def reopen(self) -> Store:
        """Close it in order and open it again."""

    async def crash(self) -> Store:
        """What a new server finds after the old one was killed here and now."""

    def failing_commit(self) -> AbstractContextManager[None]:
        """The second commit from now meets a disk that fails. (The first is that of ``in_one_commit`` itself.)"""

    def full_disk(self) -> AbstractContextManager[None]:
        """The disk has no room for any further plan, and none for the trial write of readiness."""

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """What this statement answers on a connection of its own: to look inside, or to plant damage while closed."""

    def forget(self) -> None:
        """Nobody needs it any more."""


def adapter_of(store: Store) -> Any:
    """Return what a store runs its operations on, for tests of one database or of a bare operation."""
    return store.shared.database


class _FailingDisk:
    """A connection whose commit of that number fails as a sync would."""

    def __init__(self, connection: apsw.Connection, *, fails_at: int) -> None:
        self._connection = connection
        self.left = fails_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql == "COMMIT":
            self.left -= 1
            if self.left == 0:
                raise apsw.IOError("the disk did not take it")
        return self._connection.execute(sql, *arguments)


@cache
def prepared_file() -> Path:
    """Return a SQLite file with its tables, to be copied: making them takes half of the time of an open."""
    folder = Path(tempfile.mkdtemp(prefix="fairlane-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "fairlane.db"
    postgres.at_once(lambda: Store.migrate(Settings(database=f"sqlite:///{path}")))
    return path


class SqliteFile:
    """A SQLite file in a folder of its own."""

    def __init__(self, folder: Path, clock: Clock, catalogue: Catalogue | None = None) -> None:
        self.clock = clock
        self.path = folder / "first" / "fairlane.db"
        self._folder = folder
        self.catalogue = catalogue or a_catalogue()
        self._settings: dict[str, Any] = {}
        self._open: list[Store] = []

    @property
    def address(self) -> str:
        """What a server is given to open it."""
        return f"sqlite:///{self.path}"

    @property
    def store(self) -> Store:
        """The store that is open."""
        return self._open[-1]

    async def open(self, **settings: Any) -> Store:
        """Open it, with these settings besides the address."""
        self._settings = settings
        chosen = Settings(database=self.address, **settings)
        self._open.append(await Store.open(chosen, self.catalogue, now=self.clock))
        return self.store

    async def close(self) -> None:
        """Close it in order, if it is open; abandoned ones, too."""
        while self._open:
            await self._open.pop().close()

    async def reopen(self) -> Store:
        """Close it in order and open it again."""
        await self.close()
        return await self.open(**self._settings)

    async def crash(self) -> Store:
        """Go on with the files as they are on disk now: what is only in the old process is lost."""
        old = self.path
        self.path = self._folder / f"crash-{len(list(self._folder.iterdir()))}" / old.name
        self.path.parent.mkdir()
        for name in (old.name, f"{old.name}-wal"):
            shutil.copyfile(old.with_name(name), self.path.with_name(name))
        return await self.open(**self._settings)

    @contextmanager
    def failing_commit(self) -> Iterator[None]:
        """The second commit from now meets a disk that fails. (The first is that of ``in_one_commit`` itself.)"""
        database = adapter_of(self.store)
        sound = database.writer.connection
        failing = database.writer.connection = _FailingDisk(sound, fails_at=2)
        try:
            yield
        finally:
            database.writer.connection = sound
        assert failing.left <= 0, "the commit that was to fail never came"

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """The file may not grow."""
        database = adapter_of(self.store)
        database.writer.connection.pragma("max_page_count", database.writer.connection.pragma("page_count"))
        try:
            yield
        finally:
            database.writer.connection.pragma("max_page_count", 2**30)

    def forget(self) -> None:
        """Its folder is its test's."""

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """What this statement answers on a connection of its own."""
        with self.reader() as rows:
            return rows(sql, **parameters)

    @contextmanager
    def reader(self) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
        """The same for several statements: a new connection reads the whole schema before its first."""
        connection = apsw.Connection(str(self.path))
        try:
            yield lambda sql, **parameters: connection.execute(sql, parameters).fetchall()
        finally:
            connection.close()

    def prepare(self) -> None:
        """Lay down a file with its tables, which the first open then does not make."""
        self.path.parent.mkdir()
        shutil.copy(prepared_file(), self.path)


NOWHERE = "postgresql://nobody@/nowhere?host=/nowhere"


class PostgresServer:
    """A PostgreSQL database that other servers might use, too, and here do not."""

    def __init__(self, folder: Path, clock: Clock, catalogue: Catalogue | None = None) -> None:
        self.clock = clock
        self._address = postgres.lend()
        self.catalogue = catalogue or a_catalogue()
        self._settings: dict[str, Any] = {}
        self._open: list[Store] = []

    @property
    def address(self) -> str:
        """What a server is given to open it."""
        return self._address

    @property
    def store(self) -> Store:
        """The store that is open."""
        return self._open[-1]

    async def open(self, **settings: Any) -> Store:
        """Open it, with these settings besides the address."""
        self._settings = settings
        chosen = Settings(database=self.address, **settings)
        self._open.append(await Store.open(chosen, self.catalogue, now=self.clock))
        return self.store

    async def close(self) -> None:
        """Close it in order, if it is open; abandoned ones, too."""
        while self._open:
            await self._open.pop().close()

    async def reopen(self) -> Store:
        """Close it in order and open it again."""
        await self.close()
        return await self.open(**self._settings)

    async def crash(self) -> Store:
        """The old server's connections are cut where they are, as if it had been killed; a new one takes over."""
        for abandoned in self._open:
            database = adapter_of(abandoned)
            database.connector.address = NOWHERE
        await postgres.disconnect(self.address)
        return await self.open(**self._settings)

    @contextmanager
    def failing_commit(self) -> Iterator[None]:
        """The second commit from now loses its connection before the server hears of it, and no new one is had."""
        database = adapter_of(self.store)
        writer, connector = database.writer, database.connector
        commit = writer.finish
        left = 2

        def cut(connection: Any, attempt: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                connector.address = NOWHERE
                postgres.at_once(lambda: postgres.disconnect(self.address))
            commit(connection, attempt)

        writer.finish = cut
        try:
            yield
        finally:
            writer.finish, connector.address = commit, self.address
        assert left <= 0, "the commit that was to fail never came"

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Inserts fail as they do when a table's file cannot grow."""
        self.rows(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        for table in ("plan", "probe"):
            self.rows(f"CREATE TRIGGER no_room BEFORE INSERT ON {table} EXECUTE FUNCTION no_room()")
        try:
            yield
        finally:
            self.rows("DROP FUNCTION no_room() CASCADE")

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """What this statement answers on a connection of its own."""
        return postgres.at_once(lambda: self._rows(sql, parameters))

    async def _rows(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        for place, name in enumerate(parameters, start=1):
            sql = re.sub(rf"(?<!:):{name}\b", f"${place}", sql)
        connection = await asyncpg.connect(self.address)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *parameters.values())]
        finally:
            await connection.close()

    def forget(self) -> None:
        """It may be used for another test."""
        postgres.give_back(self.address)


DATABASES: dict[str, Callable[[Path, Clock], Database]] = {"sqlite": SqliteFile, "postgres": PostgresServer}


async def in_one_commit(store: Store, clock: Clock, *calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What these calls answer, or raise, when they are members of one transaction.

    The transaction before theirs is held until all of them wait behind it.
    """
    with clock.held() as asked:
        before = asyncio.ensure_future(store.sessions.renew("nobody", leases=(), exchanges=()))
        assert await asyncio.to_thread(asked.wait, 30)
        waiting = [asyncio.ensure_future(_answer(call)) for call in calls]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert isinstance(await _answer(lambda: before), Refusal)
    return await asyncio.gather(*waiting)


@asynccontextmanager
async def standing_before(store: Store, statement: str) -> AsyncIterator[None]:
    """The next transaction of this server on PostgreSQL that comes to this statement stands there until the end of this
    block, which begins once it does. Start it before, without waiting for it."""
    database = adapter_of(store)
    writer, loop = database.writer, asyncio.get_running_loop()
    run = writer.rows
    reached, go = asyncio.Event(), threading.Event()

    def stopping(connection: Any, query: Query, attempt: Any) -> Any:
        names = {query.name, *(one.name for one in query.parameters.get("queries", ()))}
        if statement in names and not reached.is_set():
            loop.call_soon_threadsafe(reached.set)
            go.wait(10)
        return run(connection, query, attempt)

    writer.rows = stopping
    try:
        async with asyncio.timeout(10):
            await reached.wait()
        yield
    finally:
        writer.rows = run
        go.set()


async def until_somebody_waits(database: Database) -> None:
    """For a lock of PostgreSQL."""
    async with asyncio.timeout(10):
        while not database.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.005)


async def set_clock(store: Store, clock: Clock, seconds: float) -> None:
    """The database's clock is set by so much, and this server's upkeep notices."""
    await store.jumps.follow(lambda: 0)
    clock.advance(seconds)
    assert await store.jumps.follow(lambda: 0) == seconds * 1_000


async def _answer(call: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await call()
    except Exception as error:
        return error
