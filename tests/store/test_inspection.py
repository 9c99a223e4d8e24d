"""A look at a database sees what is there, beside an open store and without one, and changes nothing."""

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from fairlane.errors import DatabaseError
from fairlane.model.diagnosis import Content, DatabaseFacts
from fairlane.model.organizations import OrganizationChange
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.postgres import opening
from fairlane.store.statements import load_migrations, wall_clock
from tests.builders import ACTOR, IMAGE, PAGE, a_server, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database, PostgresServer

KEY = "k" * 32


async def look(database: Database, **settings: Any) -> tuple[DatabaseFacts, Content]:
    """What is seen now."""
    engine, content = await Store.look(Settings(database=database.address, **settings))
    assert content is not None
    return engine, content


async def test_a_fresh_installation_has_nothing_to_tell(database: Database) -> None:
    """The schema is known, nothing waits, nobody is there; twice the same, but for the clock and the disk."""
    engine, content = await look(database)

    assert engine.schema_version == engine.schema_known == load_migrations("sqlite")[-1][0]
    assert (engine.schema_pending, engine.schema_unknown, engine.unsafe, engine.read_only) == ((), (), (), False)
    assert content == (await look(database))[1]
    assert (content.organizations, content.queued, content.served, content.servers) == (0, {}, {}, ())
    assert (content.secrets, content.secrets_closed) == (0, 0)


async def test_what_is_set_apart_or_cannot_start_is_seen(database: Database, store: Store) -> None:
    """Paused, disabled, without slots, under maintenance."""
    await store.plans.create("bare", slots=None, queue_limit=9, weight=1, actor=ACTOR)
    for name in ("fine", "halted", "shut"):
        await an_organization(store, name)
    await an_organization(store, "slotless", slots=None, plan="bare")
    await store.organizations.change("halted", changes=OrganizationChange(paused=True), actor=ACTOR)
    await store.organizations.change("shut", changes=OrganizationChange(disabled=True), actor=ACTOR)
    await store.maintenance.set(True, actor=ACTOR)

    _, content = await look(database)

    assert content.plans_without_slots == ("bare",)
    assert content.organizations_without_slots == ("slotless",)
    assert (content.paused, content.disabled, content.maintenance) == (("halted",), ("shut",), True)
    assert (content.organizations, content.recounted, content.drift) == (4, 4, ())


async def test_who_serves_what_is_seen(database: Database, store: Store, clock: Clock) -> None:
    """Live workers by type and live servers; who fell silent is not there, and what waits for nobody is."""
    clock.at = time.time_ns() // 1_000_000 - 60_000
    await a_worker(store, [PAGE, IMAGE], lease_seconds=30)  # fell silent half a minute ago
    clock.at = time.time_ns() // 1_000_000
    await a_worker(store, [PAGE], lease_seconds=3_000)
    await a_worker(store, [PAGE], lease_seconds=3_000)
    await a_server(store, lease_seconds=3_000)
    organization = await an_organization(store)
    await submitted(store, organization, a_task(IMAGE), a_task(IMAGE), a_task(PAGE), a_task(PAGE, delay_seconds=60))

    _, content = await look(database)

    assert content.served == {PAGE: 2}
    assert content.queued == {IMAGE: 2, PAGE: 1}
    assert len(content.servers) == 1


async def test_drift_is_seen(database: Database, store: Store) -> None:
    """Both what the self-audit marked and what a recount finds."""
    await an_organization(store, "acme")
    await an_organization(store, "marked")
    await database.close()
    database.rows("UPDATE organization SET queued = 3 WHERE name = 'acme'")
    database.rows("UPDATE organization SET drifted = 1 WHERE name = 'marked'")

    _, content = await look(database)

    assert [(one.organization, one.name, one.kept, one.counted) for one in content.drift] == [("acme", "waiting", 3, 0)]
    assert content.drifted == ("marked",)
    database.rows("UPDATE organization SET queued = 0, drifted = 0")
    await database.open()


async def test_secrets_that_the_key_here_does_not_open_are_counted(database: Database) -> None:
    """Without a key, with another, and with the right one."""
    await database.close()
    store = await database.open(secret_key=KEY)
    await an_organization(store, "acme")
    await store.webhook_secrets.create("acme", secret="whsec_" + "a" * 32, overlap_seconds=0, actor=ACTOR)

    closed = [
        (await look(database))[1].secrets_closed,
        (await look(database, secret_key="x" * 32))[1].secrets_closed,
        (await look(database, secret_key=f"{'x' * 32},{KEY}"))[1].secrets_closed,
    ]

    assert closed == [1, 1, 0]


async def test_a_database_without_our_tables_is_told_as_such(tmp_path: Path) -> None:
    """A file that is not there is not made."""
    engine, content = await Store.look(Settings(database=f"sqlite:///{tmp_path}/a/b/fairlane.db"))

    assert (engine.schema_version, content) == (0, None)
    assert engine.free_bytes is not None
    assert list(tmp_path.iterdir()) == []


# PostgreSQL ----------------------------------------------------------------------------------------------------------


async def test_an_old_transaction_is_seen(server: PostgresServer) -> None:
    """Its age and whose it is; none, once it has ended."""
    connection = await asyncpg.connect(server.address)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT 1")
    engine, _ = await look(server)
    await transaction.rollback()
    after, _ = await look(server)
    await connection.close()

    assert engine.oldest_transaction is not None
    seconds, who = engine.oldest_transaction
    assert 0 <= seconds < 60
    assert re.fullmatch(r"process \d+ of \w+, idle in transaction", who)
    assert after.oldest_transaction is None


async def test_a_table_that_is_not_cleaned_up_is_seen(server: PostgresServer) -> None:
    """The one that somebody switched autovacuum off for."""
    server.rows("ALTER TABLE lease SET (autovacuum_enabled = false)")
    try:
        engine, _ = await look(server)
    finally:
        server.rows("ALTER TABLE lease RESET (autovacuum_enabled)")

    assert engine.autovacuum is True
    assert [one.table for one in engine.dead_rows if not one.vacuumed] == ["lease"]


@pytest.mark.parametrize(
    ("setting", "unsafe", "read_only"),
    [("synchronous_commit = off", ("synchronous_commit",), False), ("default_transaction_read_only = on", (), True)],
)
async def test_unsafe_settings_are_seen(
    server: PostgresServer, setting: str, unsafe: tuple[str, ...], read_only: bool
) -> None:
    """What a server would refuse to start on can still be looked at."""
    name = urlsplit(server.address).path.lstrip("/")
    server.rows(f'ALTER DATABASE "{name}" SET {setting}')
    try:
        engine, _ = await look(server)
    finally:
        connection = await asyncpg.connect(server.address, server_settings={"default_transaction_read_only": "off"})
        await connection.execute(f'ALTER DATABASE "{name}" RESET ALL')
        await connection.close()

    assert (engine.unsafe, engine.read_only) == (unsafe, read_only)


@pytest.mark.parametrize("ahead_ms", [-5_000, 0, 5_000])
async def test_a_clock_that_differs_is_seen(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, ahead_ms: int
) -> None:
    """Here this machine's is moved."""
    monkeypatch.setattr(opening, "wall_clock", lambda: wall_clock() - ahead_ms)

    engine, _ = await look(server)

    assert engine.skew_ms is not None
    assert abs(engine.skew_ms - ahead_ms) < 1_000


async def test_a_pooler_is_suspected(server: PostgresServer) -> None:
    """Something between us and the database tells us another process than the one that answers."""
    direct, _ = await look(server)
    async with _pooler(server.address) as address:
        engine, _ = await Store.look(Settings(database=address))

    assert (direct.pooled, engine.pooled) == (False, True)


async def test_a_database_that_is_away_is_an_error() -> None:
    """Nothing is there to look at."""
    with pytest.raises(DatabaseError, match="cannot open"):
        await Store.look(Settings(database="postgresql://nobody@127.0.0.1:1/nothing"))


@asynccontextmanager
async def _pooler(address: str) -> AsyncIterator[str]:
    """Passes everything on, but gives clients keys of its own, as poolers do."""
    folder = parse_qs(urlsplit(address).query)["host"][0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")

        async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                sink.write(
                    re.sub(rb"K\x00\x00\x00\x0c.{4}", b"K\x00\x00\x00\x0c\x00\x00\x00\x07", data, flags=re.DOTALL)
                )
                await sink.drain()
            sink.close()

        await asyncio.gather(forward(reader, behind[1]), forward(behind[0], writer), return_exceptions=True)

    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as here:
        listening = await asyncio.start_unix_server(serve, f"{here}/.s.PGSQL.5432")
        yield address.replace(folder, here)
        listening.close()
