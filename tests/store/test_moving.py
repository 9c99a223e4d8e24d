"""A stopped installation is carried over to PostgreSQL: everything, or nothing; and its work goes on there."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from fairlane.errors import DatabaseError
from fairlane.model.alerts import AlertKind, AlertRule
from fairlane.model.bulks import BulkKind, NewBulk
from fairlane.model.keys import KeyKind
from fairlane.model.leases import Failed, FailedStartReport
from fairlane.model.tasks import TaskFilter, TaskStatus
from fairlane.model.webhooks import Tried
from fairlane.settings import Settings
from fairlane.store import Moved, Store
from fairlane.store.database import Table
from fairlane.store.moving import NOT_CARRIED, _tables
from fairlane.store.postgres import filling, opening
from fairlane.store.postgres.filling import PostgresLoading
from fairlane.store.statements import load_migrations
from tests.builders import (
    ACTOR,
    FRAGILE,
    IMAGE,
    LIMITED,
    PAGE,
    a_call,
    a_digest,
    a_server,
    a_task,
    a_webhook,
    a_worker,
    an_organization,
    claimed_deliveries,
    state,
    submitted,
)
from tests.store.databases import Clock, Database, PostgresServer, SqliteFile, adapter_of
from tests.store.made_up import with_later

ROOT = Path(__file__).parents[2]
UNICODE = '{"text":"日本語 🙂 \u2028 Привет \\u0000 \\ud83d","n":1e400}'
KEY = "ключ/🙂"


@pytest.fixture
async def file(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteFile]:
    """The installation that is left."""
    file = SqliteFile(tmp_path, clock)
    yield file
    await file.close()


async def populate(store: Store, clock: Clock) -> None:
    """Something in every table, and a task in every state."""
    await store.plans.create("gold", slots=7, queue_limit=500, weight=3, actor=ACTOR)
    acme, other = await an_organization(store, "acme", slots=9, plan="gold"), await an_organization(store, "other")
    await store.credits.grant("acme", grant_id="first", amount=1_000, reason="größe", actor=ACTOR)
    await store.keys.create("acme", name="ключ", digest=a_digest("k"), last4="abcd", actor=ACTOR)
    await store.keys.create_for_installation(KeyKind.WORKER, name="w", digest=a_digest("w"), last4="wxyz", actor=ACTOR)
    await store.webhook_secrets.create("acme", secret="whsec_" + "a" * 32, overlap_seconds=60, actor=ACTOR)
    rule = AlertRule(kind=AlertKind.QUEUED_ABOVE, threshold=1, for_ms=0, webhook=a_webhook())
    await store.alerts.create(acme.id, rule)
    await store.bulks.begin(NewBulk(kind=BulkKind.CANCEL, chosen=TaskFilter(), organization_id=acme.id))
    await store.months.open()
    await store.failed_starts.report(
        FailedStartReport(
            supervisor="s", number=1, host="build-7", application="shop:app", cause="it raised", failures=1, key_id=None
        )
    )
    await store.logouts.add("a session of the dashboard", expires_at=clock.at + 60_000)

    worker = await a_worker(store, [PAGE], local=True)
    await submitted(store, acme, a_task(webhook="hooks.example"), a_task(cost=3), a_task())
    done, failed, again = await worker.take(3)
    await worker.settle(done)
    await worker.settle(failed, Failed(cause="bröken", retry=False))
    await worker.settle(again, Failed(cause="it broke", pause_ms=60_000))
    (delivery,) = await claimed_deliveries(store)
    tried = Tried(delivery_id=delivery.id, number=1, at=clock.at, http_status=500, error="status", took_ms=3)
    await store.deliveries.record(tried)
    await submitted(store, acme, a_task(IMAGE), a_task(IMAGE, delay_seconds=3_600))
    await (await a_worker(store, [IMAGE])).take_one()  # far away, and still running
    await submitted(store, acme, a_task(FRAGILE), a_task())
    await (await a_worker(store, [FRAGILE], local=True)).take_one()
    await worker.take_one()
    await submitted(store, acme, a_task(payload=UNICODE, key=KEY, priority=9), a_task(LIMITED), a_task(priority=1))
    await submitted(store, other, *[a_task() for _ in range(5)])
    canceled = (await submitted(store, other))[0]
    await store.tasks.cancel(other.id, canceled)
    far_away = await a_server(store, local=False)
    await store.calls.begin(a_call(acme, far_away))
    clock.advance(61)
    await store.usage.sample()
    await store.pulses.sample()
    await store.recount.audit_next()


async def moved(file: SqliteFile, server: PostgresServer) -> Moved:
    """The move, as the command does it."""
    store = await Store.open(Settings(database=file.address), {}, now=file.clock)
    try:
        return await store.move(Settings(database=server.address), progress=lambda table, count, complete: None)
    finally:
        await store.close()


def contents(database: Database, tables: Iterable[Table]) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, in one order."""
    return {
        table.name: sorted(
            database.rows(f'SELECT {", ".join(table.columns)} FROM "{table.name}"'),
            key=repr,
        )
        for table in tables
    }


def made_by_migrations(dialect: str) -> set[str]:
    """The names of all tables."""
    return {
        name
        for _, _, script in load_migrations(dialect)
        for name in re.findall(r"^CREATE TABLE (\w+)", script, re.MULTILINE)
    }


async def tables_of(store: Store) -> list[Table]:
    """What the schema has."""
    tables: list[Table] = await adapter_of(store).read(_tables())
    return tables


# What is carried -----------------------------------------------------------------------------------------------------


async def test_no_table_of_the_migrations_is_forgotten(file: SqliteFile, server: PostgresServer) -> None:
    """Both databases tell every table that the migrations make, with the same columns."""
    left, right = await tables_of(await file.open()), await tables_of(await server.open())

    for tables, dialect in ((left, "sqlite"), (right, "postgres")):
        made = made_by_migrations(dialect)
        assert made
        assert {table.name for table in tables} == made - NOT_CARRIED
    assert {(table.name, frozenset(table.columns)) for table in left} == {
        (table.name, frozenset(table.columns)) for table in right
    }


async def test_every_row_of_every_table_arrives(file: SqliteFile, server: PostgresServer, clock: Clock) -> None:
    """Tables of all kinds are filled, and each is the same on both sides afterwards."""
    await populate(await file.open(), clock)
    tables = await tables_of(file.store)
    await file.close()
    file.rows("INSERT INTO probe VALUES ('a trial write')")
    file.rows("INSERT INTO request_count VALUES ('a server', 1, '[]')")

    done = await moved(file, server)

    left, right = contents(file, tables), contents(server, tables)
    assert [name for name, found in left.items() if not found] == []
    assert left == right
    assert done.rows == {name: len(found) for name, found in left.items()}


async def test_work_goes_on_where_it_stood(file: SqliteFile, server: PostgresServer, clock: Clock) -> None:
    """Attempts of the stopped machine went back as at a restart; far away workers keep theirs; all of it is finished on
    the new database, exactly."""
    await populate(await file.open(), clock)
    acme, other = [await file.store.organizations.find(name) for name in ("acme", "other")]
    submitted_before = acme.submitted + other.submitted
    await file.close()

    done = await moved(file, server)
    store = await server.open()

    assert done.returned == 2
    after = await store.organizations.find("acme")
    assert (after.processing, after.submitted, after.completed) == (1, acme.submitted, acme.completed)
    assert await state(store, after, KEY) is TaskStatus.QUEUED
    assert server.rows("SELECT payload FROM task WHERE idempotency_key = :key", key=KEY) == [(UNICODE,)]

    clock.advance(4_000)
    await store.sessions.end_expired()
    await store.sessions.return_orphans()
    await store.upkeep.promote()
    worker = await a_worker(store)
    while leases := await worker.take(5):
        for lease in leases:
            await worker.settle(lease)

    acme, other = [await store.organizations.find(name) for name in ("acme", "other")]
    assert (acme.queued, acme.processing, other.queued) == (0, 0, 0)
    assert acme.completed + acme.failed + other.completed + other.failed == submitted_before
    assert await store.recount.find() == []
    assert set(await store.recount.states()) == {1}


async def test_an_attempt_that_was_the_last_ends_its_task(
    file: SqliteFile, server: PostgresServer, clock: Clock
) -> None:
    """The rule of a restart: a lost attempt counts."""
    store = await file.open()
    organization, worker = await an_organization(store), await a_worker(store, local=True)
    (fragile, plain) = await submitted(store, organization, a_task(FRAGILE), a_task())
    await worker.take(2)
    await file.close()

    await moved(file, server)

    store = await server.open()
    assert await state(store, organization, fragile) is TaskStatus.FAILED
    assert await state(store, organization, plain) is TaskStatus.QUEUED


# What is refused -----------------------------------------------------------------------------------------------------


async def test_a_target_with_rows_is_refused(file: SqliteFile, server: PostgresServer, clock: Clock) -> None:
    """Also one that was moved to before: it is complete already."""
    await populate(await file.open(), clock)
    await file.close()
    await moved(file, server)
    before = server.rows("SELECT id FROM task ORDER BY id")

    with pytest.raises(DatabaseError, match="not empty"):
        await moved(file, server)

    assert server.rows("SELECT id FROM task ORDER BY id") == before


async def test_a_target_with_an_older_schema_is_refused(
    file: SqliteFile, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation that serves may be behind the address; it is not migrated by mistake."""
    await file.open()
    await file.close()
    await server.open()
    await server.close()
    newest = server.rows("SELECT max(version) FROM schema_version")
    monkeypatch.setattr(opening, "load_migrations", with_later)

    with pytest.raises(DatabaseError, match="run 'fairlane migrate'"):
        await moved(file, server)

    assert server.rows("SELECT max(version) FROM schema_version") == newest


@pytest.mark.parametrize("change", [-1, 1])
async def test_what_does_not_arrive_whole_does_not_arrive(
    file: SqliteFile, server: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, change: int
) -> None:
    """Of one table one row less is there than left, or one more: nothing is moved, and the next try is as good as the
    first."""
    await populate(await file.open(), clock)
    await file.close()
    copy = PostgresLoading.copy

    async def changing(self: Any, table: Table, records: Iterable[Sequence[Any]]) -> None:
        there = list(records)
        if table.name == "idempotency":
            another = dict(zip(table.columns, there[0], strict=True)) | {"key": "another"}
            there = there[1:] if change < 0 else [*there, tuple(another.values())]
        await copy(self, table, there)

    monkeypatch.setattr(PostgresLoading, "copy", changing)
    keys = file.rows("SELECT count(*) FROM idempotency")[0][0]
    with pytest.raises(DatabaseError, match=f"idempotency: of {keys} rows {keys + change} arrived"):
        await moved(file, server)
    assert server.rows("SELECT count(*) FROM organization") == [(0,)]

    monkeypatch.setattr(PostgresLoading, "copy", copy)
    await moved(file, server)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE organization SET queued = queued + 1", "waiting says"),
        ("DELETE FROM outcome", "all must be in one"),
    ],
)
async def test_a_source_that_drifts_is_refused(
    file: SqliteFile, server: PostgresServer, clock: Clock, damage: str, told: str
) -> None:
    """Whoever moves is told what is wrong, and nothing was moved."""
    await populate(await file.open(), clock)
    await file.close()
    file.rows(damage)

    with pytest.raises(DatabaseError, match=told):
        await moved(file, server)

    assert server.rows("SELECT count(*) FROM task") == [(0,)]


# What may happen meanwhile -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["plan", "lease", "waiting"])
async def test_a_kill_in_the_middle_leaves_nothing(
    file: SqliteFile, server: PostgresServer, clock: Clock, table: str
) -> None:
    """Killed after the first, some, or the last table: the target is empty, the source whole, the next try works."""
    await populate(await file.open(), clock)
    await file.close()
    source = Path(sys.modules["fairlane"].__file__ or "").parents[1]
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(Path(__file__).with_name("mover.py")), file.address, server.address, table],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])}, check=False,
    )  # fmt: skip

    assert killed.returncode == -9
    assert server.rows("SELECT (SELECT count(*) FROM task) + (SELECT count(*) FROM plan)") == [(0,)]
    done = await moved(file, server)
    assert done.rows["task"] == file.rows("SELECT count(*) FROM task")[0][0]


async def test_no_other_database_of_the_server_holds_a_move(
    file: SqliteFile, server: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ANALYZE there locks the catalogs that all databases share until its transaction ends."""
    monkeypatch.setattr(filling, "UNHURRIED", filling.UNHURRIED.replace("10s", "200ms"))
    await populate(await file.open(), clock)
    await file.close()
    other = PostgresServer(Path(), clock)
    connection = await asyncpg.connect(other.address)
    try:
        async with connection.transaction():
            await connection.execute("ANALYZE")

            done = await moved(file, server)
    finally:
        await connection.close()
        other.forget()

    assert done.rows["task"] == file.rows("SELECT count(*) FROM task")[0][0]


async def test_a_server_that_starts_meanwhile_waits(
    file: SqliteFile,
    server: PostgresServer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says so, then serves what was moved, not a part of it and not an empty database."""
    monkeypatch.setattr(opening, "WAIT_FOR_OTHERS", "SET LOCAL lock_timeout = '10ms'")
    await populate(await file.open(), clock)
    await file.close()
    await server.reopen()  # the schema is there
    await server.close()
    server.rows("DELETE FROM plan")
    server.rows("DELETE FROM audit")
    server.rows("DELETE FROM type_limit")
    store = await Store.open(Settings(database=file.address), {}, now=clock)
    starting: list[asyncio.Task[Store]] = []

    def start(table: str, count: int, complete: bool) -> None:
        if not starting:
            starting.append(asyncio.create_task(Store.open(Settings(database=server.address), {}, now=clock)))
        assert not starting[0].done()

    await store.move(Settings(database=server.address), progress=start)
    await store.close()
    started = await starting[0]

    assert "schema.waiting" in caplog.text
    assert [organization.name for organization in await started.organizations.all()] == ["acme", "other"]
    await started.close()
