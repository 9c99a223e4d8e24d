"""The benchmarks keep up with the store: what they hand to statements of ours is what a submit hands over."""

import asyncio
from pathlib import Path

import pytest

from benchmarks import scaling
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


def test_the_tables_on_scaling_are_written_from_figures() -> None:
    """Medians as people read them, a dash for what was not measured, and nothing outside of the two marks."""
    page = scaling.PAGE.read_text("utf-8")
    rounds = [{"submits.per_second": float(rate), "pg-distance.2.busy": 0.5} for rate in (3_000, 1_000, 2_000)]

    written = scaling.written(page, rounds)

    assert "| submits one by one, 32 connections, /s | 2,000 | – | `submits.per_second` |" in written
    assert "| 2 ms | – | – | – | 0.500 |" in written
    assert written.partition(scaling.BEGIN)[0] == page.partition(scaling.BEGIN)[0]
    assert written.partition(scaling.END)[2] == page.partition(scaling.END)[2]
    assert scaling.written(written, rounds) == written
