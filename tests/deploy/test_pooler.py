"""Behind a pooler in transaction mode: every transaction may meet another connection, and nothing of ours minds."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from fairlane.settings import Settings
from fairlane.store import Store
from tests import postgres
from tests.api.house import House
from tests.deploy.pooler import BOUNCER, Pooler

pytestmark = pytest.mark.skipif(
    BOUNCER is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"
)


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[str]:
    """The address of an empty database behind pgbouncer, which has two connections for everybody."""
    address = postgres.lend(bare=True)
    pooler = Pooler(address, tmp_path)
    pooler.start()
    try:
        yield pooler.address
    finally:
        pooler.stop()
        postgres.give_back(address)


def test_everything_works_behind_a_pooler_with_preparing_off(pooled: str, tmp_path: Path) -> None:
    """Submits, claims and outcomes of many at once, with two connections for all of it; the counts stay exact."""
    with House(tmp_path, database=pooled, pg_prepare="off") as house:
        customers = [house.customer(slots=3) for _ in range(4)]
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: customers[number % 4].accepted(idempotencyKey=str(number)), range(80)))
        session = house.session(places=20)
        done = 0
        reports: list[dict[str, object]] = []
        while leases := session.claim(20, *reports):
            reports = [{"lease": lease["lease"], "outcome": "completed", "result": {}} for lease in leases]
            done += len(leases)
            assert all(one.status()["concurrency"]["used"] <= 3 for one in customers)

        assert done == 80
        for one in customers:
            assert one.status() == {
                "queuedTasks": 0,
                "processingTasks": 0,
                "concurrency": {"used": 0, "max": 3},
                "priorityBreakdown": [],
            }
        assert house.admin.get("/admin/v1/drift").json()["drift"] == []
        assert customers[0].client.get("/v1/async/status?verify=true").json()["verification"]["drift"] == 0


def test_prepared_statements_do_not_survive_such_a_pooler(pooled: str) -> None:
    """The control: what preparing would meet there, and why the setting exists."""

    async def prepare_everywhere() -> None:
        connections = [await asyncpg.connect(pooled) for _ in range(8)]

        async def ask(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
            for _ in range(20):
                await connection.fetch("SELECT $1::bigint, pg_sleep(0.005)", 1)

        try:
            await asyncio.gather(*map(ask, connections))
        finally:
            for connection in connections:
                connection.terminate()

    with pytest.raises((asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)):
        postgres.at_once(prepare_everywhere)


def test_the_page_on_scaling_names_the_setting() -> None:
    """Operators find it where they look for it."""
    page = (Path(__file__).parents[2] / "docs" / "operators" / "scaling.md").read_text("utf-8")

    assert re.search(r"`FAIRLANE_PG_PREPARE=off`", page)


async def test_the_doctor_suspects_the_pooler(pooled: str) -> None:
    """And sees everything else through it."""
    settings = Settings(database=pooled, pg_prepare="off")
    await Store.migrate(settings)

    engine, content = await Store.look(settings)

    assert engine.pooled
    assert content is not None
    assert (content.organizations, engine.schema_pending) == (0, ())
