"""What holds of the SQLite file itself: one owner, private, safe settings, indexed statements."""

import asyncio
import json
import os
import re
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from fairlane.errors import DatabaseError, DatabaseOwned, SessionGone, SetupError, StoreBroken, StoreUnreachable
from fairlane.model.leases import ReportVerdict
from fairlane.model.status import SlotUse
from fairlane.model.tasks import Accepted, TaskStatus
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.claiming import query_turns
from fairlane.store.effects import Effects
from fairlane.store.sqlite import SqliteDatabase, disk, lock_path, opening, reading, restore_file
from fairlane.store.statements import Operation, Statement, load_migrations, load_statements, run
from tests.builders import PAGE, a_call, a_catalogue, a_server, a_task, a_worker, an_organization, state, submitted
from tests.store.databases import Clock, SqliteFile, adapter_of, in_one_commit
from tests.tables import each


def database_of(store: Store) -> Any:
    """The adapter inside."""
    return adapter_of(store)


@pytest.fixture
async def file(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteFile]:
    """A file that is not there yet; it is closed at the end."""
    file = SqliteFile(tmp_path, clock)
    yield file
    await file.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the owner of a file to end."""
    defaults = SqliteDatabase.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "lock_wait_seconds", 0.0)


async def test_a_file_has_one_owner(file: SqliteFile, impatient: None) -> None:
    """The second one is told who owns it, changes nothing, and may have it afterwards."""
    first = await file.open()
    first.describe('{"pid": 4711}')

    with pytest.raises(DatabaseOwned, match=r"another fairlane server \(process 4711\); one"):
        await Store.open(Settings(database=f"sqlite:///{file.path}"), a_catalogue())

    await first.upkeep.ping()
    await file.close()
    await file.open()
    await file.close()


async def test_an_owner_that_cannot_write_its_lock_file_lets_go(file: SqliteFile) -> None:
    """A disk that turned read-only: the end is in order, and the next server may own the file."""
    await file.open()
    lock_fd = adapter_of(file.store).lock_fd
    read_only = os.open(lock_path(file.path), os.O_RDONLY)
    os.dup2(read_only, lock_fd)
    os.close(read_only)

    with pytest.raises(DatabaseError, match=r"cannot write .*lock"):
        adapter_of(file.store).describe("here")
    await file.close()

    await file.open()


async def test_a_lock_inherited_by_a_child_keeps_the_file_owned(file: SqliteFile, impatient: None) -> None:
    """As long as a worker of the former owner lives, nobody else gets the file."""
    store = await file.open()
    child = os.dup(store.inherited_fds[0])
    await file.close()

    try:
        with pytest.raises(DatabaseOwned):
            await file.open()
    finally:
        os.close(child)

    await file.open()
    await file.close()


async def test_a_newer_schema_is_refused_and_left_alone(file: SqliteFile, impatient: None) -> None:
    """An older release does not touch a newer database, and gives it free again."""
    await file.open()
    await file.close()
    file.rows("INSERT INTO schema_version VALUES (9999, 0)")

    for _ in range(2):
        with pytest.raises(DatabaseError, match="9999") as caught:
            await file.open()
        assert not isinstance(caught.value, DatabaseOwned)

    assert file.rows("SELECT max(version) FROM schema_version") == [(9999,)]


async def test_an_old_sqlite_is_refused(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library with the known fault in WAL mode does not get near the file."""
    monkeypatch.setattr(opening, "OLDEST_SQLITE", apsw.SQLITE_VERSION_NUMBER + 1)

    with pytest.raises(DatabaseError, match="too old"):
        await file.open()

    assert not file.path.exists()


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
async def test_what_is_no_database_is_refused(file: SqliteFile, impatient: None, content: bytes) -> None:
    """A file of something else is left as it is, and its lock given free."""
    file.path.parent.mkdir()
    file.path.write_bytes(content)

    for _ in range(2):
        with pytest.raises(DatabaseError) as caught:
            await file.open()
        assert not isinstance(caught.value, DatabaseOwned)

    assert file.path.read_bytes() == content


async def test_a_path_that_cannot_be_opened_is_refused(file: SqliteFile, impatient: None) -> None:
    """A folder where the file should be is refused as a database, each time: the lock does not stay behind."""
    file.path.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(DatabaseError, match="cannot open"):
            await file.open()


@pytest.mark.parametrize("address", ["mysql://x", "sqlite://x", "sqlite:///", ""])
async def test_an_address_of_another_kind_is_refused(address: str) -> None:
    """Only sqlite:///PATH and postgresql://… are opened."""
    with pytest.raises(SetupError):
        await Store.open(Settings(database=address), a_catalogue())


async def test_a_network_file_system_is_refused(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks do not hold across hosts."""
    kinds = {
        line.partition(" - ")[2].split(" ")[0] for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    }
    monkeypatch.setattr(disk, "NETWORK_FILE_SYSTEMS", kinds)

    with pytest.raises(DatabaseError, match="network"):
        await file.open()

    assert not file.path.exists()


async def test_nobody_else_can_read_the_files(file: SqliteFile) -> None:
    """Database, log, shared memory and lock belong to their owner alone, whatever the umask."""
    before = os.umask(0)
    try:
        await file.open()
        files = sorted(file.path.parent.iterdir())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    finally:
        os.umask(before)
        await file.close()

    assert set(modes) == {"fairlane.db", "fairlane.db-wal", "fairlane.db-shm", "fairlane.db.lock"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


async def test_closing_folds_the_log_into_the_file(file: SqliteFile) -> None:
    """After an orderly end one file and an empty lock remain."""
    store = await file.open()
    store.describe("x")
    await file.close()

    assert sorted(path.name for path in file.path.parent.iterdir()) == ["fairlane.db", "fairlane.db.lock"]
    assert lock_path(file.path).read_text("utf-8") == ""


async def test_acknowledged_means_synced(file: SqliteFile) -> None:
    """Every transaction is synced to disk before it is answered: FULL, with the log in WAL mode, checked as it runs."""
    syncs = _count_syncs()
    store = await file.open()
    try:
        for _ in range(3):
            before = syncs.count
            await store.maintenance.set(True, actor="a test")
            assert syncs.count > before
    finally:
        await file.close()
        syncs.unregister()


async def test_a_new_database_is_on_disk_before_anything_is_accepted(
    file: SqliteFile, synced: list[tuple[str, bool]]
) -> None:
    """While it is made each commit is synced, and so is the removal of a journal; then its folder, which has its name,
    and the folders above that were made for it. One that is there already costs none of that."""
    syncs = _count_syncs()
    try:
        await file.open()
        made = syncs.count, syncs.log, list(syncs.removed)
        folders = list(synced)
        await file.close()
        synced.clear()
        await file.open()
        await file.close()
    finally:
        syncs.unregister()

    count, log, removed = made
    assert log >= len(load_migrations("sqlite"))
    assert removed
    assert all(removed)
    assert count > log
    assert (str(file.path.parent), True) in folders
    assert str(file.path.parent.parent) in {folder for folder, _ in folders}
    assert synced == []


@pytest.fixture
def synced(file: SqliteFile, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What of our own code is synced, in order, and whether the database file was there then."""
    found: list[tuple[str, bool]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        found.append((os.readlink(f"/proc/self/fd/{descriptor}"), file.path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return found


async def test_what_is_restored_is_on_disk_under_its_name(
    file: SqliteFile, synced: list[tuple[str, bool]], tmp_path: Path
) -> None:
    """A backup and a restored database are synced, then their folder, after they have their names."""
    store = await file.open()
    copy = tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    await store.backups.make(copy, actor="a test", progress=lambda done, total: None)
    backed_up = [path for path, _ in synced[-2:]]
    await file.close()
    file.path.rename(tmp_path / "gone.db")
    synced.clear()

    restore_file(copy, file.path, replace=False, progress=lambda done, total: None)

    assert backed_up == [f"{copy}.partial", str(copy.parent)]
    assert next(path for path, _ in synced).endswith(".restoring.partial")
    assert synced[-1] == (str(file.path.parent), True)


class _CountingSyncs(apsw.VFS):
    """The platform's own file layer, counting syncs of files that are synced."""

    def __init__(self) -> None:
        self.count = 0
        self.log = 0
        """Those of the log alone."""
        self.removed: list[bool] = []
        """For each file that was removed whether its folder was synced then."""
        self.base = apsw.vfs_names()[0]
        super().__init__("counting", self.base, makedefault=True)

    def xOpen(self, name, flags):
        return _CountingFile(self, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:
        if name.endswith("-journal"):
            self.removed.append(bool(syncdir))
        super().xDelete(name, syncdir)


class _CountingFile(apsw.VFSFile):
    def __init__(self, vfs: _CountingSyncs, name, flags) -> None:
        self._vfs = vfs
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__(vfs.base, name, flags)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._vfs.count += 1
        self._vfs.log += self._is_log


def _count_syncs() -> _CountingSyncs:
    return _CountingSyncs()


async def test_on_a_full_disk_the_place_of_the_log_is_used_again(
    tmp_path: Path, clock: Clock, disk_that_fills: "_DiskThatFills"
) -> None:
    """A log that is not long enough for its usual copy does not keep the last bytes: one write is refused, the next
    ones succeed, and the log grows no more as long as each byte is needed."""
    file = SqliteFile(tmp_path, clock)
    log = file.path.with_name(file.path.name + "-wal")
    store = await file.open()
    try:
        await _write_probe(store)
        adapter_of(store).writer.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        for _ in range(5):
            await _write_probe(store)
        disk_that_fills.full, size = True, log.stat().st_size

        refused = 0
        for _ in range(20):
            try:
                await _write_probe(store)
            except StoreUnreachable:
                refused += 1

        assert refused == 1
        assert log.stat().st_size == size
    finally:
        await file.close()


async def _write_probe(store: Store) -> None:
    """Write the same pages each time."""

    def fill(effects: Effects, members: Sequence[None]) -> Operation[Sequence[None]]:
        yield from run("empty_probe")
        yield from run("fill_probe", filler="x" * 65_536)
        return members

    await adapter_of(store).write(fill, None)


class _DiskThatFills(apsw.VFS):
    """The platform's own file layer; on a full disk no file can grow."""

    def __init__(self) -> None:
        self.full = False
        self.base = apsw.vfs_names()[0]
        super().__init__("filling", self.base, makedefault=True)

    def xOpen(self, name, flags):
        return _FileThatFills(self, name, flags)


class _FileThatFills(apsw.VFSFile):
    def __init__(self, vfs: _DiskThatFills, name, flags) -> None:
        self._vfs = vfs
        super().__init__(vfs.base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._vfs.full and offset + len(data) > self.xFileSize():
            raise apsw.FullError("no room")
        super().xWrite(data, offset)


@pytest.fixture
def disk_that_fills() -> Iterator[_DiskThatFills]:
    """SQLite's disk in this test."""
    disk = _DiskThatFills()
    yield disk
    disk.unregister()


async def test_reads_come_from_connections_that_cannot_write(file: SqliteFile) -> None:
    """Only the writer writes and checkpoints."""
    store = await file.open()
    try:
        readers = database_of(store).reading.opened
        assert len(readers) == 1 + reading.READERS + reading.LONG_READS
        for reader in readers:
            with pytest.raises(apsw.ReadOnlyError):
                reader.execute("DELETE FROM plan")
            assert reader.pragma("wal_autocheckpoint") == 0
        assert database_of(store).writer.connection.pragma("synchronous") == 2
        assert database_of(store).writer.connection.pragma("journal_mode") == "wal"
    finally:
        await file.close()


# After a restart -----------------------------------------------------------------------------------------------------


async def test_local_workers_of_an_earlier_server_are_gone_at_once(file: SqliteFile) -> None:
    """Their leases return without waiting for any lease to run out; remote workers keep theirs."""
    await file.open()
    organization = await an_organization(file.store, slots=2)
    local, remote = await a_worker(file.store, local=True), await a_worker(file.store)
    mine, theirs = await submitted(file.store, organization, a_task(), a_task())
    await local.take_one()
    lease = await remote.take_one()

    local.store = remote.store = store = await file.crash()
    returned = [await store.sessions.return_local_leases(), await store.sessions.return_local_leases()]

    assert returned == [1, 0]
    assert await state(store, organization, mine) is TaskStatus.QUEUED
    assert await state(store, organization, theirs) is TaskStatus.PROCESSING
    assert await remote.settle(lease) is ReportVerdict.ACCEPTED
    with pytest.raises(SessionGone):
        await local.renew()
    await file.close()


async def test_local_leases_return_however_many_there_are(file: SqliteFile) -> None:
    """More than one bounded round is taken until all are back."""
    await file.open()
    organization = await an_organization(file.store, slots=700)
    await file.store.tasks.submit(organization.id, [a_task() for _ in range(700)])
    worker = await a_worker(file.store, local=True)
    await worker.take(700)

    store = await file.reopen()

    assert await store.sessions.return_local_leases() == 700
    assert (await store.tasks.status(organization.id)).queued == 700
    await file.close()


@pytest.mark.parametrize("crash", [False, True])
async def test_a_restart_ends_the_calls_of_before_at_once(file: SqliteFile, crash: bool) -> None:
    """Their callers are gone, and so are local workers; remote ones finish their attempt."""
    store = await file.open()
    organization, server = await an_organization(store, slots=5), await a_server(store)
    local, remote = await a_worker(store, local=True), await a_worker(store)
    for _ in range(3):
        await store.calls.begin(a_call(organization, server))
    await local.take(1)
    away = await remote.take_one()

    store = await (file.crash() if crash else file.reopen())
    await store.sessions.return_local_leases()

    status = await store.tasks.status(organization.id)
    assert status.concurrency == SlotUse(1, 5)
    remote.store = store
    await remote.settle(away)
    status = await store.tasks.status(organization.id)
    assert status.concurrency == SlotUse(0, 5)
    assert await store.calls.of_server(server) == set()
    await file.close()


# A disk that fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 2])
async def test_after_a_failed_sync_nothing_is_acknowledged_any_more(
    file: SqliteFile, clock: Clock, members: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is known of what is on disk then. These requests are refused, alone or together, and every later one, and
    the server is told once that it has to end; after a restart all is well."""
    store = await file.open()
    told: list[None] = []
    store.when_broken(lambda: told.append(None))
    organization = await an_organization(store)
    with file.failing_commit():
        answers = await in_one_commit(
            store, clock, *[lambda: store.tasks.submit(organization.id, [a_task()]) for _ in range(members)]
        )

    assert [type(answer) for answer in answers] == [StoreBroken] * members
    with pytest.raises(StoreBroken, match="start again"):
        await store.tasks.submit(organization.id, [a_task()])
    assert told == [None]
    assert caplog.text.count("store.broken") == 1
    assert "store.failed" not in caplog.text
    store = await file.reopen()
    assert isinstance((await store.tasks.submit(organization.id, [a_task()]))[0], Accepted)
    await file.close()


# Query plans ---------------------------------------------------------------------------------------------------------

BIG = {
    "task", "queue_entry", "waiting", "lease", "outcome", "idempotency", "organization", "lane", "turn", "audit",
    "api_key",
}  # fmt: skip
"""Tables that grow with use."""

MAY_SCAN = {
    # Counting everything is what they are for; a repair comes after a recount.
    "count_organizations", "find_organization_ids",
    "delete_all_turns",
    # In the order of an index, and cut by LIMIT.
    "find_least_audited",
    # For people who look at all organizations.
    "find_busiest", "sum_organizations",
    # Once for each bulk on the tasks of all organizations.
    "insert_bulk_parts_of_failed", "insert_bulk_parts_of_open",
    # The numbers behind metrics: small rows, a few for each organization, and what runs now; never the queue.
    "sum_fleet", "sum_lanes", "count_running", "find_oldest_ready",
    # Once for each organization when a month turns.
    "open_months",
    # Once per sweep, over what runs now: bounded by the worker places there are.
    "find_orphans", "find_overdue",
    # Once per start and minute where a type has a limit, over what runs then.
    "find_unlimited",
    # Once per jump of the clock, over what runs then.
    "move_leases", "move_pauses", "lock_every_organization",
    # One small row for each organization and type that can start; a recount of some looks at all.
    "recount_turns",
    # For an operator who asks the doctor: one pass over the organizations.
    "find_flagged", "find_planned_without_slots",
    # A partial index of those that drift, or are being erased.
    "find_drifted", "find_drifted_names", "find_erasing",
}  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> Iterator[apsw.Connection]:
    """An empty database with the newest schema."""
    connection = apsw.Connection(":memory:")
    connection.execute(load_statements("sqlite")["create_schema_version"].sql)
    for _, _, script in load_migrations("sqlite"):
        connection.execute(script)
    yield connection
    connection.close()


def _scans(connection: apsw.Connection, statement: Statement) -> set[str]:
    """The tables that this statement reads from end to end."""
    parameters = dict.fromkeys(re.findall(r":([a-z_0-9]+)", statement.sql), 1)
    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", parameters).fetchall()
    tables = {name: name for name in BIG}
    tables |= {alias: table for table, alias in re.findall(r"(?:FROM|JOIN) (\w+) AS (\w+)", statement.sql)}
    scanned = (re.match(r"SCAN (\w+)", str(row[3])) for row in plan)
    return {tables[match[1]] for match in scanned if match and tables.get(match[1]) in BIG}


@each("name", sorted(set(load_statements("sqlite")) - MAY_SCAN))
def test_statements_read_by_index(connection: apsw.Connection, name: str) -> None:
    """No statement outside the list above reads a growing table from end to end."""
    assert _scans(connection, load_statements("sqlite")[name]) == set()


def test_the_list_of_scans_is_needed(connection: apsw.Connection) -> None:
    """Every exception is one: the check sees its scan, so it would see another's."""
    statements = load_statements("sqlite")

    assert {name for name in MAY_SCAN if not _scans(connection, statements[name])} == set()


def test_the_oldest_of_a_queue_is_found_without_reading_it(connection: apsw.Connection) -> None:
    """What is scraped every few seconds must not cost more the longer the queues are: the lanes lead to their heads."""
    assert _scans(connection, load_statements("sqlite")["find_oldest_ready"]) == {"lane"}


LISTS = (
    "find_newest_tasks", "find_newest_leased", "find_newest_ended", "find_newest_ready",
    "find_newest_waiting",
)  # fmt: skip


@each("name", LISTS)
def test_a_page_of_a_list_costs_the_same_at_any_depth(connection: apsw.Connection, name: str) -> None:
    """Its rows come in the order of an index that begins at the cursor: nothing is sorted, nothing skipped."""
    statement = load_statements("sqlite")[name]
    parameters = dict.fromkeys(re.findall(r":([a-z_0-9]+)", statement.sql), 1)

    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}", parameters)]

    assert not any("TEMP B-TREE" in step for step in plan), plan
    assert any(re.search(r"USING .*\(organization_id=\? .*<\?\)", step) for step in plan), plan


def test_a_scan_on_the_hot_path_would_be_seen(connection: apsw.Connection) -> None:
    """The check bites: the same search without its index is a scan."""
    slow = Statement("slow", "SELECT id FROM task WHERE idempotency_key = :key", packed=False)

    assert _scans(connection, slow) == {"task"}


async def test_concurrent_opens_give_one_owner(file: SqliteFile, impatient: None) -> None:
    """Of several that come at once exactly one gets it."""
    settings = Settings(database=f"sqlite:///{file.path}")

    answers = await asyncio.gather(*(Store.open(settings, {}) for _ in range(3)), return_exceptions=True)

    owners = [answer for answer in answers if isinstance(answer, Store)]
    assert len(owners) == 1
    assert sum(isinstance(answer, DatabaseOwned) for answer in answers) == 2
    await owners[0].close()


OWED = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :count)
INSERT INTO delivery (id, organization_id, url, host, due_at, created_at)
SELECT 'other-' || n, 1 + n % 10, 'http://x/', 'host-' || n % 3 || ':80', n % 90000, 0 FROM number
"""
"""Messages that ten organizations owe to three hosts each, most of them due."""


def test_a_claim_of_deliveries_costs_the_same_whatever_others_owe() -> None:
    """It steps from organization to organization and from host to host, and reads no long row of messages."""
    steps = {}
    for owed in (300, 30_000):
        connection = apsw.Connection(":memory:")
        connection.execute(load_statements("sqlite")["create_schema_version"].sql)
        for _, _, script in load_migrations("sqlite"):
            connection.execute(script)
        connection.execute(OWED, {"count": owed})
        asked = json.dumps([[organization, ""] for organization in range(1, 11)])
        count = 0

        def step() -> bool:
            nonlocal count
            count += 1
            return False

        connection.set_progress_handler(step, 1)
        for name in ("find_next_delivery", "find_due_organizations", "find_due_deliveries"):
            parameters = {"after": 0, "most": 4, "now": 80_000, "organizations": asked, "hosts": 100}
            connection.execute(load_statements("sqlite")[name].sql, parameters).fetchall()
        steps[owed] = count
        connection.close()

    assert steps[30_000] < steps[300] * 1.3, steps


async def test_a_failed_statement_is_put_back_from_memory(tmp_path: Path) -> None:
    """Not from a file: each statement that changes many pages would write it."""
    store = await Store.open(Settings(database=f"sqlite:///{tmp_path / 'fairlane.db'}"), {})
    try:
        [[kept]] = adapter_of(store).writer.connection.execute("PRAGMA temp_store").fetchall()
    finally:
        await store.close()

    assert kept == 2


async def test_no_statement_is_compiled_again_when_it_is_executed_again(file: SqliteFile) -> None:
    """The limit of a list is a parameter, and must not make SQLite plan the statement again each time. The control is a
    connection as SQLite opens it."""
    store = await file.open()
    database, compiled = adapter_of(store), []
    organization, worker = await an_organization(store, slots=20), await a_worker(store)

    def authorize(*action: object) -> int:  # SQLite asks it while it compiles
        compiled.append(action)
        return apsw.SQLITE_OK

    async def runs() -> None:
        compiled.clear()
        for _ in range(3):
            await submitted(store, organization)
            assert len(await worker.take(1)) == 1

    database.writer.connection.authorizer = authorize
    await runs()
    await runs()
    assert compiled == []
    control = apsw.Connection(str(file.path), flags=apsw.SQLITE_OPEN_READWRITE)
    control.authorizer = authorize
    for _ in range(2):
        compiled.clear()
        database.statements.rows(control, query_turns([PAGE], [PAGE], 1))
    assert compiled != []
    control.close()
    assert {reader.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1) for reader in database.reading.opened} == {1}
