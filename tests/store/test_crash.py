"""A server killed in the middle of its work loses nothing that it acknowledged."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlane.store import Store
from tests.store.databases import DATABASES, Clock, Database, SqliteFile

ROOT = Path(__file__).parents[2]
WRITER = Path(__file__).with_name("crash_writer.py")
PAYER = Path(__file__).with_name("crash_payer.py")
COST = 7
"""Of each task of the payer."""


@pytest.fixture(params=sorted(DATABASES))
async def closed(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Database]:
    """A database that nobody has opened yet."""
    database = DATABASES[request.param](tmp_path, clock)
    yield database
    await database.close()
    database.forget()


def killed_after(address: str, acknowledged: int, *mode: str, program: Path = WRITER) -> list[str]:
    """The task ids that a server acknowledged before it was killed with SIGKILL, at least so many."""
    source = Path(sys.modules["fairlane"].__file__ or "").parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])}
    with subprocess.Popen(
        [sys.executable, str(program), address, *mode], stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        printed = [server.stdout.readline() for _ in range(acknowledged)]
        server.kill()
        printed += server.stdout.readlines()
    assert server.returncode == -9
    return [line.strip() for line in printed if line.endswith("\n")]


async def lost(store: Store, acknowledged: list[str]) -> list[str]:
    """Those of these tasks that are not there."""
    (organization,) = await store.organizations.all()
    return [task for task in acknowledged if await store.tasks.find(organization.id, task) is None]


@pytest.mark.parametrize("count", [1, 150, 700])
async def test_what_was_acknowledged_survives_sigkill(closed: Database, count: int) -> None:
    """Every acknowledged task is there, the counts are exact, and the next server has the database at once (I1)."""
    acknowledged = killed_after(closed.address, count)

    store = await closed.open()

    assert len(acknowledged) >= count
    assert await lost(store, acknowledged) == []
    assert await store.recount.find() == []
    assert set(await store.recount.states()) == {1}
    (organization,) = await store.organizations.all()
    assert organization.queued == organization.submitted >= len(acknowledged)


async def test_the_check_finds_what_was_acknowledged_too_early(tmp_path: Path, clock: Clock) -> None:
    """The control: a server that answers before it commits does lose what it acknowledged."""
    file = SqliteFile(tmp_path, clock)
    acknowledged = killed_after(file.address, 1, "early")

    store = await file.open()
    try:
        assert await lost(store, acknowledged) == acknowledged
    finally:
        await file.close()


@pytest.mark.parametrize("count", [1, 200, 600])
async def test_credits_are_charged_once_for_each_completed_task(closed: Database, count: int) -> None:
    """After SIGKILL what was charged is the cost of what completed, and what is held the cost of what runs."""
    acknowledged = killed_after(closed.address, count, program=PAYER)

    store = await closed.open()

    (organization,) = await store.organizations.all()
    told = [await store.tasks.find(organization.id, task_id) for task_id in acknowledged]
    [(completed, charged)] = closed.rows(
        "SELECT count(*), CAST(sum(charged) AS BIGINT) FROM outcome WHERE status = 'COMPLETED'"
    )
    held = organization.processing * COST
    await store.sessions.return_local_leases()
    assert len(acknowledged) >= count
    assert all(view is not None and view.charged == COST for view in told)
    assert charged == completed * COST == organization.credits.charged
    assert completed == organization.completed >= len(set(acknowledged))
    assert organization.credits.held == held
    assert await store.recount.find() == []
