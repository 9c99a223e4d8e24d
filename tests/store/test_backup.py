"""A copy of a SQLite file while it is in use, and what it is to put one back. (PostgreSQL has tools of its own.)"""

import asyncio
import stat
from pathlib import Path

import pytest

from fairlane.errors import DatabaseError, DatabaseOwned
from fairlane.model.tasks import TaskStatus
from fairlane.settings import Settings
from fairlane.store import AuditFilter, Store
from fairlane.store.sqlite import restore_file
from tests.builders import ACTOR, AGAIN, DONE, a_catalogue, a_task, a_worker, an_organization, state, submitted


def silent(pages: int, total: int) -> None:
    """Nobody is told."""


async def opened(path: Path) -> Store:
    """The store in this file."""
    return await Store.open(Settings(database=f"sqlite:///{path}"), a_catalogue())


async def test_a_backup_holds_one_moment_of_a_store_that_works_on(tmp_path: Path) -> None:
    """Every promise about counts holds in it, whatever was committed while it was copied; what came later is not in."""
    store = await opened(tmp_path / "live.db")
    organization = await an_organization(store, slots=5)
    before = await submitted(store, organization, *[a_task(payload='{"x":"' + "y" * 2_000 + '"}') for _ in range(900)])
    worker = await a_worker(store)
    told: list[tuple[int, int]] = []

    copying = asyncio.create_task(
        store.backups.make(tmp_path / "copy.db", actor=ACTOR, progress=lambda done, total: told.append((done, total)))
    )
    rounds = 0
    while not copying.done() or rounds < 3:
        rounds += 1
        await submitted(store, organization, a_task())
        for lease in await worker.take(2):
            await worker.settle(lease, DONE if rounds % 2 else AGAIN)
    await copying
    last = await submitted(store, organization)
    [made] = await store.trail.page(9, chosen=AuditFilter(action="backup.made"))
    await store.close()

    copy = await opened(tmp_path / "copy.db")
    try:
        assert await copy.recount.find() == []
        assert set(await copy.recount.states()) == {1}
        assert await state(copy, organization, before[-1]) is TaskStatus.QUEUED
        assert await copy.tasks.find(organization.id, last[0]) is None
        assert await copy.trail.page(1) == [made]
    finally:
        await copy.close()
    assert told[-1][0] == told[-1][1] > 100
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob("copy.db?*") if not path.name.endswith(".lock")] == []


async def test_a_backup_replaces_nothing(tmp_path: Path) -> None:
    """Neither a file that is there, nor one that another backup is writing; nothing is left behind."""
    store = await opened(tmp_path / "live.db")
    try:
        for name, path in (("copy.db", "copy.db"), ("other.db.partial", "other.db"), ("x", "x/no/such/folder.db")):
            (tmp_path / name).write_text("somebody's")
            with pytest.raises(DatabaseError):
                await store.backups.make(tmp_path / path, actor=ACTOR, progress=silent)
            assert (tmp_path / name).read_text() == "somebody's"
        assert await store.trail.page(1, chosen=AuditFilter(action="backup.made")) == []
        assert not (tmp_path / "other.db").exists()
    finally:
        await store.close()


async def test_what_ran_at_the_moment_of_a_backup_runs_again(tmp_path: Path) -> None:
    """Sessions from before are all over in it; leases go back, and reports about them are gone."""
    store = await opened(tmp_path / "live.db")
    organization = await an_organization(store, slots=5)
    [running] = await submitted(store, organization)
    worker = await a_worker(store, lease_seconds=3_600)
    [lease] = await worker.take(1)
    await store.backups.make(tmp_path / "copy.db", actor=ACTOR, progress=silent)
    await worker.settle(lease, DONE)
    later = await submitted(store, organization)
    await store.close()

    former = restore_file(tmp_path / "copy.db", tmp_path / "live.db", replace=True, progress=silent)

    store = await opened(tmp_path / "live.db")
    try:
        assert await store.sessions.all(most=10) == []
        assert await store.sessions.return_orphans() == 1
        assert await store.recount.find() == []
        assert await state(store, organization, running) is TaskStatus.QUEUED
        assert await store.tasks.find(organization.id, later[0]) is None
        [again] = await (await a_worker(store)).take(1)
        assert (again.task_id, again.attempt) == (running, 2)
    finally:
        await store.close()
    assert former is not None
    old = await opened(former)
    try:
        assert await state(old, organization, running) is TaskStatus.COMPLETED
    finally:
        await old.close()


async def test_a_restore_overwrites_nothing_unless_told_and_nothing_live_ever(tmp_path: Path) -> None:
    """Refused before anything is touched."""
    store = await opened(tmp_path / "live.db")
    organization = await an_organization(store)
    await store.backups.make(tmp_path / "copy.db", actor=ACTOR, progress=silent)
    try:
        with pytest.raises(DatabaseOwned):
            await asyncio.to_thread(
                restore_file, tmp_path / "copy.db", tmp_path / "live.db", replace=True, progress=silent
            )
        assert await submitted(store, organization)
    finally:
        await store.close()
    with pytest.raises(DatabaseError, match="--replace"):
        restore_file(tmp_path / "copy.db", tmp_path / "live.db", replace=False, progress=silent)
    assert restore_file(tmp_path / "copy.db", tmp_path / "new" / "fresh.db", replace=False, progress=silent) is None


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "overwritten"])
async def test_a_damaged_backup_is_refused_and_changes_nothing(tmp_path: Path, damage: str) -> None:
    """What was there before still works."""
    live, copy = tmp_path / "live.db", tmp_path / "copy.db"
    store = await opened(live)
    organization = await an_organization(store)
    for _ in range(20):
        await submitted(store, organization, *[a_task(payload='{"x":"' + "y" * 200 + '"}') for _ in range(50)])
    await store.backups.make(copy, actor=ACTOR, progress=silent)
    await store.close()
    whole = copy.read_bytes()
    half = len(whole) // 2
    copy.write_bytes({
        "text": b"not a database, whatever its name says" * 100, "empty": b"", "cut": whole[: half + 17],
        "overwritten": whole[:half] + b"\xff" * 20_000 + whole[half + 20_000 :],
    }[damage])  # fmt: skip

    with pytest.raises(DatabaseError):
        restore_file(copy, live, replace=True, progress=silent)

    assert not [path for path in tmp_path.iterdir() if "restoring" in path.name or "replaced" in path.name]
    store = await opened(live)
    try:
        assert (await store.tasks.status(organization.id)).queued == 1_000
    finally:
        await store.close()
