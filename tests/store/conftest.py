"""One fixture, ``store``, over every database; and what must hold after each test whatever it did."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlane.settings import Settings
from fairlane.store import Store
from tests.builders import a_catalogue
from tests.store.databases import DATABASES, Clock, Database, PostgresServer, SqliteFile


@pytest.fixture
def clock() -> Clock:
    """The store's clock: it stands until the test moves it."""
    return Clock()


@pytest.fixture(params=sorted(DATABASES))
async def database(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Database]:
    """An open database of this test alone. Afterwards its counts are exact, and nothing of ours still runs."""
    before = set(threading.enumerate())
    database = DATABASES[request.param](tmp_path, clock)
    if isinstance(database, SqliteFile):
        database.prepare()
    await database.open()
    yield database
    try:
        assert await database.store.recount.find() == []
        assert set(await database.store.recount.states()) <= {1}
    finally:
        await database.close()
        database.forget()
    started = set(threading.enumerate()) - before
    left = [thread.name for thread in started if thread.name.startswith("fairlane")]
    assert not left, f"threads of the store outlived it: {left}"


@pytest.fixture
async def server(tmp_path: Path, clock: Clock) -> AsyncIterator[PostgresServer]:
    """A PostgreSQL database of this test alone, not open yet: for what holds of PostgreSQL itself."""
    server = PostgresServer(tmp_path, clock)
    yield server
    await server.close()
    server.forget()


@pytest.fixture
async def others(server: PostgresServer, clock: Clock) -> AsyncIterator[list[Store]]:
    """Three servers on that database."""
    stores = [await Store.open(Settings(database=server.address), a_catalogue(), now=clock) for _ in range(3)]
    yield stores
    await asyncio.gather(*(store.close() for store in stores))


@pytest.fixture
def store(database: Database) -> Store:
    """An open store. A test that closes or reopens asks for ``database``, whose ``store`` is the one open now."""
    return database.store
