"""The benchmarks keep up with the store: what they hand to statements of ours is what a submit hands over."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.batches import insert_bare
from benchmarks.filling import CHUNK
from benchmarks.homes import Database
from fairlane.settings import Settings
from fairlane.store import Store
from tests.store.databases import DATABASES, Clock


@pytest.mark.parametrize("kind", sorted(DATABASES))
def test_the_bare_insert_stores_whole_tasks(kind: str, tmp_path: Path) -> None:
    """As many values for each as there are columns, on both databases."""
    database = DATABASES[kind](tmp_path, Clock())
    asyncio.run(Store.migrate(Settings(database=database.address)))

    per_second = insert_bare(Database(database.address, tmp_path / "log"), first=0, seconds=0.0001)

    assert per_second > 0
    assert database.rows("SELECT count(*), count(DISTINCT seq), count(traceparent) FROM task") == [(CHUNK, CHUNK, 0)]
    database.forget()
