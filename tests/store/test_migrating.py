"""Migrations: one at a time whoever starts, whole or not at all, and never past what this release knows."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from fairlane.errors import DatabaseError, DatabaseOwned
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.postgres import opening
from fairlane.store.schema import FIRST, compare
from fairlane.store.sqlite import opening as sqlite_opening
from fairlane.store.statements import load_migrations
from tests.builders import Worker, a_task, a_worker, an_organization, submitted
from tests.store.databases import DATABASES, Clock, Database, PostgresServer
from tests.store.made_up import LATER, with_later
from tests.store.test_moving import made_by_migrations, populate

ROOT = Path(__file__).parents[2]
VERSIONS = [version for version, _, _ in load_migrations("postgres")]
NAMES = tuple(name for _, name, _ in load_migrations("postgres"))
LATER_VERSIONS = [version for version, _, _ in LATER]
LATER_NAMES = tuple(name for _, name, _ in LATER)


@pytest.fixture(params=sorted(DATABASES))
def closed(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Database]:
    """A database without tables, that nobody has opened yet."""
    database = DATABASES[request.param](tmp_path, clock)
    _empty(database)
    yield database
    database.forget()


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[PostgresServer]:
    """The same on PostgreSQL, where several may start at once."""
    database = PostgresServer(tmp_path, clock)
    _empty(database)
    yield database
    database.forget()


@pytest.fixture
async def old(server: PostgresServer) -> AsyncIterator[Store]:
    """A server that runs on it since before."""
    yield await server.open()
    await server.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the release is a later one, with more migrations."""
    _become_later(monkeypatch)


def _become_later(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (opening, sqlite_opening):
        monkeypatch.setattr(module, "load_migrations", with_later)


def _empty(database: Database) -> None:
    if isinstance(database, PostgresServer):
        database.rows("DROP SCHEMA public CASCADE")
        database.rows("CREATE SCHEMA public")


def _versions(database: Database) -> list[int]:
    return [row[0] for row in database.rows("SELECT version FROM schema_version WHERE version > 0 ORDER BY version")]


def _start(address: str, *mode: str) -> "subprocess.Popen[str]":
    source = Path(sys.modules["fairlane"].__file__ or "").parents[1]
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("migrator.py")), address, *mode],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])},
    )  # fmt: skip


def _at_once(address: str, count: int, *mode: str) -> list[int]:
    """The exit codes of so many that start in the same moment."""
    with ExitStack() as stack:
        starting = [stack.enter_context(_start(address, *mode)) for _ in range(count)]
        for one in starting:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        for one in starting:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        for one in starting:
            one.communicate(timeout=60)
        return [one.returncode for one in starting]


# Looking -------------------------------------------------------------------------------------------------------------


async def test_a_look_tells_what_is_pending_and_changes_nothing(closed: Database) -> None:
    """Twice the same answer: everything is pending, nothing is there."""
    settings = Settings(database=closed.address)

    looks = [await Store.schema(settings) for _ in range(2)]

    assert looks[0] == looks[1] == compare((), load_migrations("sqlite"))
    assert (looks[0].version, looks[0].pending) == (0, NAMES)
    assert not Path(closed.address.removeprefix("sqlite:///")).exists()


async def test_migrating_applies_what_is_missing_once(closed: Database) -> None:
    """The second time there is nothing to do; a server's start finds nothing either."""
    settings = Settings(database=closed.address)

    first, second = await Store.migrate(settings), await Store.migrate(settings)
    store = await closed.open()
    organization = await an_organization(store)
    await submitted(store, organization)
    await closed.close()

    assert (first.pending, second.pending) == (NAMES, ())
    assert second.version == second.known == VERSIONS[-1]
    assert _versions(closed) == VERSIONS


async def test_a_look_may_be_taken_while_a_server_owns_the_database(closed: Database) -> None:
    """And so may a migration that has nothing to do."""
    await closed.open()
    try:
        assert (await Store.schema(Settings(database=closed.address))).pending == ()
        assert (await Store.migrate(Settings(database=closed.address))).pending == ()
    finally:
        await closed.close()


async def test_a_newer_schema_is_told_and_refused(closed: Database) -> None:
    """A look says which version is unknown; a migration leaves it alone."""
    settings = Settings(database=closed.address)
    await Store.migrate(settings)
    closed.rows("INSERT INTO schema_version (version, applied_at) VALUES (9999, 0)")

    assert (await Store.schema(settings)).unknown == (9999,)
    with pytest.raises(DatabaseError, match="9999"):
        await Store.migrate(settings)
    assert _versions(closed) == [*VERSIONS, 9999]


async def test_a_database_of_an_earlier_release_gets_what_it_lacks(
    closed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each migration once, in order; a new database has all of them from its start, and none is run."""
    settings = Settings(database=closed.address)
    await Store.migrate(settings)
    _become_later(monkeypatch)

    assert (await Store.schema(settings)).pending == LATER_NAMES
    assert [(await Store.migrate(settings)).pending for _ in range(2)] == [LATER_NAMES, ()]

    assert _versions(closed) == [*VERSIONS, *LATER_VERSIONS]
    assert closed.rows("SELECT one, two FROM organization") == closed.rows("SELECT three FROM lane") == []


@pytest.mark.usefixtures("later")
async def test_a_new_database_is_made_from_the_tables_of_today(closed: Database) -> None:
    """All migrations count as applied, and none of them is run: its tables contain what the others change."""
    await Store.migrate(Settings(database=closed.address))

    assert _versions(closed) == [*VERSIONS, *LATER_VERSIONS]
    with pytest.raises(Exception, match="one"):
        closed.rows("SELECT one FROM organization")


async def test_a_migration_that_came_late_is_applied_too(closed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is which are there, not how large the largest number is."""
    settings = Settings(database=closed.address)
    await Store.migrate(settings)
    _become_later(monkeypatch)
    closed.rows(f"INSERT INTO schema_version (version, applied_at) VALUES ({LATER_VERSIONS[1]}, 0)")

    assert (await Store.schema(settings)).pending == (LATER_NAMES[0], LATER_NAMES[2])


async def test_a_database_of_a_development_version_is_refused(closed: Database) -> None:
    """By everything that opens it, with a message that says what it is; nothing is changed."""
    settings = Settings(database=closed.address)
    await Store.migrate(settings)
    closed.rows("DELETE FROM schema_version WHERE version > 0")
    closed.rows("INSERT INTO schema_version (version, applied_at) VALUES (1, 0), (16, 0)")

    for asked in (Store.schema(settings), Store.migrate(settings), closed.open()):
        with pytest.raises(DatabaseError, match=r"development version before 0\.1\.0"):
            await asked

    assert _versions(closed) == [1, 16]


async def test_a_file_that_is_owned_is_migrated_by_its_owner_alone(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something is pending, and another process holds the lock."""
    file = DATABASES["sqlite"](tmp_path, clock)
    await file.open()
    try:
        _become_later(monkeypatch)
        with pytest.raises(DatabaseOwned):
            await Store.migrate(Settings(database=file.address))
    finally:
        await file.close()


# At once -------------------------------------------------------------------------------------------------------------


def test_processes_that_start_at_once_migrate_once(server: PostgresServer) -> None:
    """Four at the same moment on an empty database: all succeed, each migration is there once."""
    assert _at_once(server.address, 4) == [0, 0, 0, 0]
    assert _versions(server) == [*VERSIONS, *LATER_VERSIONS]


def test_processes_that_do_not_wait_for_each_other_fail(server: PostgresServer) -> None:
    """The control: without the lock the same race is lost by somebody."""
    codes = _at_once(server.address, 4, "apart")

    assert any(codes)


def test_processes_on_one_file_migrate_once(tmp_path: Path, clock: Clock) -> None:
    """Each waits for the lock of the one before."""
    file = DATABASES["sqlite"](tmp_path, clock)

    assert _at_once(file.address, 3) == [0, 0, 0]
    assert _versions(file) == [*VERSIONS, *LATER_VERSIONS]


# Interrupted ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("new", "version"), [(True, FIRST), (True, 9102), (False, 9101), (False, 9103)])
def test_a_kill_in_the_middle_leaves_all_to_the_next(closed: Database, new: bool, version: int) -> None:
    """Killed with a migration half done: the next start does all of them, and its database works."""
    if not new:
        asyncio.run(Store.migrate(Settings(database=closed.address)))
    with _start(closed.address, "dies-at", str(version)) as killed:
        killed.communicate("go\n", timeout=60)
    assert killed.returncode == -9

    assert _at_once(closed.address, 1) == [0]
    assert _versions(closed) == [*VERSIONS, *LATER_VERSIONS]
    if not new:
        assert closed.rows("SELECT one, two FROM organization") == []


async def test_a_migration_gives_way_to_those_who_work(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody uses a table it wants, it asks again and again, holding nobody up for long, and then says so; once
    the table is free it is done."""
    settings = Settings(database=server.address)
    await Store.migrate(settings)
    _become_later(monkeypatch)
    monkeypatch.setattr(opening, "MIGRATION_TRIES", 2)
    connection = await asyncpg.connect(server.address)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("LOCK TABLE organization IN ACCESS SHARE MODE")

    with pytest.raises(DatabaseError, match="in use"):
        await Store.migrate(settings)
    monkeypatch.setattr(opening, "MIGRATION_TRIES", 30)
    waiting = asyncio.create_task(Store.migrate(settings))
    await asyncio.wait({waiting}, timeout=0.5)
    assert not waiting.done()
    await transaction.rollback()
    await connection.close()
    await waiting

    assert _versions(server) == [*VERSIONS, *LATER_VERSIONS]


# Side by side --------------------------------------------------------------------------------------------------------

EXPANSION = "\n".join(
    f"ALTER TABLE {name} ADD COLUMN later BIGINT NOT NULL DEFAULT 0;"
    for name in sorted(made_by_migrations("postgres") - {"schema_version"})
)


async def test_a_server_works_on_beside_a_newer_one(
    server: PostgresServer, old: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer one starts and adds a column to every table, in the middle of the work: each goes on with what the other
    began, everything ends, and all counts are exact."""
    await populate(old, clock)
    later = [*load_migrations("postgres"), (9998, "9998_later", EXPANSION)]
    monkeypatch.setattr(opening, "load_migrations", lambda dialect: later)
    new = await server.open()
    acme = await old.organizations.find("acme")
    before = await a_worker(old)
    await submitted(new, acme, *[a_task() for _ in range(4)])
    leases = await before.take(2)
    after = await a_worker(new)
    await submitted(old, acme, *[a_task() for _ in range(4)])
    for lease in leases:
        await Worker(new, before.session).settle(lease)
    leases = await after.take(2)
    for lease in leases:
        await Worker(old, after.session).settle(lease)

    clock.advance(4_000)
    for store in (old, new):
        await store.sessions.end_expired()
        await store.sessions.return_orphans()
        await store.upkeep.promote()
        await store.usage.sample()
    for worker in [await a_worker(store) for store in (old, new) * 20]:
        for lease in await worker.take(2):
            await worker.settle(lease)

    organizations = await old.organizations.all()
    assert _versions(server) == [*VERSIONS, 9998]
    assert [(one.queued, one.processing) for one in organizations] == [(0, 0)] * 2
    assert [one.submitted for one in organizations] == [one.completed + one.failed for one in organizations]
    for store in (old, new):
        assert await store.recount.find() == []
        assert set(await store.recount.states()) == {1}


CONTRACTS = re.compile(
    r"\bDROP\s+(TABLE|COLUMN)\b|\bRENAME\b|\bALTER\s+COLUMN\b|\bADD\s+COLUMN\s+\w+[^;]*\bNOT\s+NULL\b(?![^;]*\bDEFAULT\b)",
    re.IGNORECASE,
)
SIGN = re.compile(r"^-- contract: .+", re.MULTILINE)


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_migrations_only_add(dialect: str) -> None:
    """What takes something away says in a line of its own since which release nobody needs it."""
    wrong = [
        name
        for version, name, script in load_migrations(dialect)
        if version > FIRST and CONTRACTS.search(script) and not SIGN.search(script)
    ]

    assert not wrong, wrong


@pytest.mark.parametrize(
    ("statement", "takes_away"),
    [
        ("DROP TABLE turn;", True),
        ("ALTER TABLE task DROP COLUMN x;", True),
        ("ALTER TABLE task RENAME TO request;", True),
        ("ALTER TABLE task ADD COLUMN x BIGINT NOT NULL;", True),
        ("ALTER TABLE task ADD COLUMN x BIGINT NOT NULL DEFAULT 0;", False),
        ("ALTER TABLE task ADD COLUMN x BIGINT;\nCREATE TABLE y (z BIGINT NOT NULL);", False),
        ("DROP INDEX task_y;", False),
    ],
)
def test_what_takes_away_is_known(statement: str, takes_away: bool) -> None:
    """The check itself can fail."""
    assert (CONTRACTS.search(statement) is not None) == takes_away
