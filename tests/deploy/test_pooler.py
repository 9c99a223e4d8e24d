"""Behind a pooler in transaction mode: every transaction may meet another connection, and nothing of ours minds."""

import asyncio
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from fairlane.settings import Settings
from fairlane.store import Store
from tests import postgres
from tests.api.house import House

BOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = pytest.mark.skipif(
    BOUNCER is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"
)


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[str]:
    """The address of an empty database behind pgbouncer, which has two connections for everybody."""
    address = postgres.lend(bare=True)
    target = urlsplit(address)
    name, host = target.path.lstrip("/"), parse_qs(target.query).get("host", [target.hostname])[0]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{name} = host={host} port={target.port or 5432} user={target.username}"
        f"{f' password={target.password}' if target.password else ''}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\nignore_startup_parameters = jit\n"
    )
    # As root it would not start: it reads its file from a descriptor that is open already.
    uid = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    with (tmp_path / "log").open("wb") as log, configuration.open("rb") as file:
        process = subprocess.Popen([str(BOUNCER), "/dev/fd/0"], stdin=file, stdout=log, stderr=log, user=uid)
    try:
        give_up_at = time.monotonic() + 10
        while not _listens(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < give_up_at
        yield f"postgresql://{target.username}@127.0.0.1:{port}/{name}"
    finally:
        process.terminate()
        process.wait(10)
        postgres.give_back(address)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
