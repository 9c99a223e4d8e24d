"""What holds of PostgreSQL itself: every statement is understood and read by index, unsafe settings are refused."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import pytest

from fairlane.errors import (
    ConcurrencyFull,
    DatabaseError,
    LocksHeld,
    StoreFault,
    StoreUnreachable,
    TaskExists,
    ValidationRefused,
)
from fairlane.model.alerts import AlertKind, AlertRule
from fairlane.model.leases import Failed, LossReason, Report, ReportVerdict
from fairlane.model.organizations import Organization
from fairlane.model.tasks import Accepted, TaskFilter, TaskRule
from fairlane.settings import Settings
from fairlane.store import Store, batching
from fairlane.store.alerts import ALERTS_MOST
from fairlane.store.effects import Effects
from fairlane.store.plans import LIMITS
from fairlane.store.postgres import asking, locks, outage, reading, writing
from fairlane.store.postgres.asking import run_within
from fairlane.store.postgres.locks import HeldRows
from fairlane.store.postgres.numbering import NumberedStatement, numbered
from fairlane.store.postgres.opening import Opening
from fairlane.store.statements import (
    Operation,
    Query,
    clock_query,
    load_migrations,
    load_statements,
    together,
    wall_clock,
)
from tests import cluster as demo
from tests.builders import (
    DONE,
    LIMITED,
    Worker,
    a_call,
    a_catalogue,
    a_server,
    a_task,
    a_webhook,
    a_worker,
    an_organization,
    claimed_deliveries,
    submitted,
)
from tests.cluster import join
from tests.postgres import NO_TABLES, disconnect, execute, promote_standby
from tests.store.databases import NOWHERE, Clock, PostgresServer, adapter_of, standing_before, until_somebody_waits

PLAIN = {"int8", "int4", "float8", "text", "bool", "json", "int8[]"}
"""Types whose values are the same on every database; a sum of bigints, for one, is none."""


async def test_every_statement_is_understood(server: PostgresServer) -> None:
    """Each can be prepared, answers with numbers and texts alone, and is waited for if it answers rows."""
    await server.open()
    connection = await asyncpg.connect(server.address)
    wrong = []
    for name, statement in load_statements("postgres").items():
        try:
            prepared = await connection.prepare(numbered(statement).sql)
        except asyncpg.PostgresError as error:
            wrong.append(f"{name}: {error}")
            continue
        types = {attribute.type.name for attribute in prepared.get_attributes()}
        if types - PLAIN:
            wrong.append(f"{name}: {types - PLAIN}")
        if bool(types) != numbered(statement).answers and name not in {"create_schema_version"}:
            wrong.append(f"{name}: it has {len(types)} columns, and answers is {numbered(statement).answers}")
    await connection.close()

    assert not wrong, "\n".join(wrong)


def test_both_databases_have_the_same_statements_and_migrations() -> None:
    """Except for what only a PostgreSQL is asked."""
    sqlite, postgres = set(load_statements("sqlite")), set(load_statements("postgres"))

    assert sqlite - postgres == set()
    assert postgres - sqlite == {
        "decide_commit", "delete_last_commits", "find_dead_rows", "find_heads_ahead", "find_identity",
        "find_oldest_transaction", "find_references", "find_safety", "find_statuses", "find_working",
        "limit_transaction", "lock_schema_version", "mark_commit", "notify", "read_clock", "steady_plans",
    }  # fmt: skip
    assert [one[:2] for one in load_migrations("sqlite")] == [one[:2] for one in load_migrations("postgres")]


# Opening -------------------------------------------------------------------------------------------------------------


async def test_what_is_asked_together_is_answered_in_its_order(server: PostgresServer) -> None:
    """Reads and changes, with parameters of their own, sets among them; the clock beside."""
    store = await server.open()
    queries: list[Query[Any]] = [
        Query("find_plan_organizations", {"plan": "default", "after": 0, "most": 5}),
        Query(
            "insert_plan",
            dict.fromkeys(LIMITS) | {"name": "more", "slots": 3, "queue_limit": 5, "weight": 1, "now": server.clock()},
        ),
        Query("find_session_leases", {"id": "nobody"}),
        clock_query(),
        Query("find_turns", {"kinds": [("A", 0), ("B", 1)], "most": 2}),
    ]
    server.rows("INSERT INTO turn (task_type, kind, virtual_time, organization_id) VALUES ('B', 1, 0, 7)")

    def ask(effects: Effects, members: Any) -> Operation[Any]:
        yield from together(*queries)
        return [None for _ in members]

    await adapter_of(store).write(ask, None)

    assert [one.rows for one in queries] == [[], [("more",)], [], [server.clock()], [([],), ([7],)]]
    assert server.rows("SELECT slots FROM plan WHERE name = 'more'") == [(3,)]


async def test_a_text_arrives_as_it_was_written(server: PostgresServer) -> None:
    """Quotes, backslashes, commas, braces and the word NULL, alone and in a set; a NUL is replaced."""
    store = await server.open()
    organization = await an_organization(store, queue_limit=100)
    written = ['"', "\\", '\\"', ",", "{}", "NULL", "null", "", " ", "ä\U0001f600", "\n\t\r", "a\0b", "'"]
    tasks = [a_task(key=f"k{place}{text}", payload=json.dumps(text)) for place, text in enumerate(written)]

    await submitted(store, organization, *tasks)

    found = dict(server.rows("SELECT id, payload FROM task"))
    keys = dict(server.rows("SELECT task_id, key FROM idempotency"))
    assert [found[task.id] for task in tasks] == [task.payload for task in tasks]
    assert [keys[task.id] for task in tasks] == [(task.idempotency_key or "").replace("\0", "\ufffd") for task in tasks]


OWED = """
INSERT INTO delivery (id, organization_id, url, host, due_at, created_at)
SELECT 'other-' || n, 1 + n % 10, 'http://x/', 'host-' || n % 3 || ':80', n % 90000, 0
FROM generate_series($1::bigint, $2::bigint) AS n
"""
"""Messages that ten organizations owe to three hosts each, most of them due."""


async def test_a_claim_of_deliveries_costs_the_same_whatever_others_owe(server: PostgresServer) -> None:
    """It steps from organization to organization and from host to host, and reads no long row of messages."""
    store = await server.open()
    connection = await asyncpg.connect(server.address)
    given = {
        "after": 0, "most": 4, "now": 80_000, "organizations": [(one, "") for one in range(1, 11)], "hosts": 100,
    }  # fmt: skip
    visited = {}
    before = 0
    for owed in (3_000, 30_000):
        await connection.execute(OWED, before + 1, owed)
        await connection.execute("ANALYZE delivery")
        visited[owed] = 0
        for name in ("find_next_delivery", "find_due_organizations", "find_due_deliveries"):
            statement = numbered(load_statements("postgres")[name])
            [(explained,)] = await _explained(store, statement, given)
            visited[owed] += _rows_visited(json.loads(explained)[0]["Plan"])
        before = owed
    await connection.close()

    assert visited[30_000] < visited[3_000] * 1.3, visited


async def test_what_is_read_ahead_costs_the_same_however_long_the_queue_is(server: PostgresServer) -> None:
    """It stops at the last task that it returns, in each lane, with statistics of an empty table or new ones."""
    store = await server.open()
    organization = await an_organization(store, slots=50, queue_limit=10_000)
    statement = numbered(load_statements("postgres")["find_heads_ahead"])
    given = {"organizations": [(organization.id, 5, 2)], "types": ["IMAGE", "PAGE"], "inline": 100}
    visited, found = {}, []
    for queued in (100, 2_000):
        for priority in (3, 5, 7):
            await submitted(store, organization, *[a_task(priority=priority) for _ in range(queued // 4)])
        [(explained,)] = await _explained(store, statement, given)
        visited[queued] = _rows_visited(json.loads(explained)[0]["Plan"])
        await execute(server.address, "ANALYZE")
        [(explained,)] = await _explained(store, statement, given)
        visited[queued] = max(visited[queued], _rows_visited(json.loads(explained)[0]["Plan"]))
        found.append(json.loads(explained)[0]["Plan"]["Actual Rows"])

    assert found == [5, 5]
    assert visited[2_000] <= visited[100] * 1.3, visited


async def _explained(store: Store, statement: NumberedStatement, given: dict[str, Any]) -> Any:
    database = adapter_of(store)
    arguments = statement.arguments({one: given[one] for one, _ in statement.parameters})
    async with database.opening.connected() as connection:
        explained = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.sql}"
        return await (await connection.execute(explained.encode(), arguments)).fetchall()


def _rows_visited(plan: dict[str, Any]) -> int:
    """The rows that the nodes of a plan returned or threw away."""
    rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(rows * plan["Actual Loops"]) + sum(_rows_visited(one) for one in plan.get("Plans", []))


async def test_servers_that_start_at_once_agree_on_the_schema(server: PostgresServer) -> None:
    """One of them migrates, the others wait for it; all of them serve."""
    await execute(server.address, NO_TABLES)

    stores = await asyncio.gather(*(Store.open(Settings(database=server.address), {}) for _ in range(4)))

    assert server.rows("SELECT version FROM schema_version ORDER BY version") == [
        (0,), *((version,) for version, _, _ in load_migrations("postgres"))
    ]  # fmt: skip
    await asyncio.gather(*(store.upkeep.ping() for store in stores))
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_newer_schema_is_refused_and_left_alone(server: PostgresServer) -> None:
    """An older release does not touch a newer database."""
    await server.reopen()
    await server.close()
    server.rows("INSERT INTO schema_version (version, applied_at) VALUES (9999, 0)")
    try:
        with pytest.raises(DatabaseError, match="9999"):
            await server.open()
    finally:
        server.rows("DELETE FROM schema_version WHERE version = 9999")


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit", "transaction_read_only"])
async def test_a_database_that_may_lose_what_it_acknowledged_is_refused(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each of these settings by itself; the message names it or says what to do."""
    asked = Opening.ask
    unsafe = "on" if name == "transaction_read_only" else "off"

    async def ask(self: Any, connection: Any, statement: str, **parameters: Any) -> Any:
        rows = await asked(self, connection, statement, **parameters)
        return [(one, unsafe if one == name else value) for one, value in rows] if statement == "find_safety" else rows

    monkeypatch.setattr(Opening, "ask", ask)

    with pytest.raises(DatabaseError, match=f"{name}|read-only"):
        await server.open()


async def test_a_database_of_another_encoding_is_refused_before_its_first_table(server: PostgresServer) -> None:
    """UTF8 is needed: a server and a migration say so and leave it empty, the doctor says so, too."""
    own = _name(server).strip('"')
    name = f"{own}_latin1"
    await execute(
        server.address, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    address = server.address.replace(own, name)
    try:
        for refused in (
            Store.open(Settings(database=address), a_catalogue()),
            Store.migrate(Settings(database=address)),
        ):
            with pytest.raises(DatabaseError, match="LATIN1, UTF8 is needed"):
                await refused
        engine, _ = await Store.look(Settings(database=address))
        connection = await asyncpg.connect(address)
        tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        await connection.close()
    finally:
        await execute(server.address, f"DROP DATABASE {name} WITH (FORCE)")

    assert (engine.encoding, tables) == ("LATIN1", 0)


async def test_synchronous_commit_of_the_connection_counts(server: PostgresServer) -> None:
    """What the database's owner set for it is what its connections get."""
    await execute(server.address, f"ALTER DATABASE {_name(server)} SET synchronous_commit = off")
    try:
        with pytest.raises(DatabaseError, match="synchronous_commit"):
            await server.open()
    finally:
        await execute(server.address, f"ALTER DATABASE {_name(server)} RESET synchronous_commit")


async def test_a_server_that_is_not_there_is_a_clear_error(clock: Clock) -> None:
    """The address is named, without its password."""
    address = "postgresql://somebody:hush@127.0.0.1:1/nothing"

    with pytest.raises(DatabaseError, match=r"somebody:\(hidden\)@127\.0\.0\.1:1/nothing") as caught:
        await Store.open(Settings(database=address), {})

    assert "hush" not in str(caught.value)


# Commits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reached", [True, False])
async def test_a_commit_without_an_answer_is_looked_up(server: PostgresServer, clock: Clock, reached: bool) -> None:
    """Whether the server got it or not: the task is accepted, and there once."""
    store = await server.open()
    organization, task = await an_organization(store), a_task(key="k")
    writer: Any = adapter_of(store).writer
    commit = writer.finish

    def cut(connection: Any, attempt: Any) -> None:
        writer.finish = commit
        if reached:
            commit(connection, attempt)
        connection.cut()
        raise ConnectionResetError("cut by the test")

    writer.finish = cut
    (answer,) = await store.tasks.submit(organization.id, [task])

    assert isinstance(answer, Accepted)
    assert server.rows("SELECT id FROM task") == [(task.id,)]
    assert (await store.tasks.status(organization.id)).queued == 1


async def test_a_commit_whose_fate_nobody_knows_is_not_acknowledged(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed, but the database does not say so in time: 503, and the key finds the task later (I9)."""
    monkeypatch.setattr(writing, "RESOLVE_SECONDS", 0.1)
    store = await server.open()
    organization, task = await an_organization(store), a_task(key="k")
    database = adapter_of(store)
    writer, connector = database.writer, database.connector
    commit = writer.finish

    def cut(connection: Any, attempt: Any) -> None:
        commit(connection, attempt)
        connector.address = NOWHERE
        connection.cut()
        raise ConnectionResetError("cut by the test")

    writer.finish = cut
    with pytest.raises(StoreUnreachable):
        await store.tasks.submit(organization.id, [task])
    writer.finish, connector.address = commit, server.address

    (again,) = await store.tasks.submit(organization.id, [a_task(key="k")])
    assert isinstance(again, TaskExists)


async def test_a_lost_connection_costs_no_answer(server: PostgresServer) -> None:
    """Writer and readers find new ones."""
    store = await server.open()
    organization = await an_organization(store)

    await disconnect(server.address)
    (answer,) = await store.tasks.submit(organization.id, [a_task()])
    await disconnect(server.address)

    assert isinstance(answer, Accepted)
    assert (await store.tasks.status(organization.id)).queued == 1


async def test_an_outage_is_answered_in_time_and_over_at_once(server: PostgresServer) -> None:
    """Nobody waits longer than two seconds for a database that is away; when it is back the next request works."""
    store = await server.open()
    organization = await an_organization(store)
    database = adapter_of(store)
    database.connector.address = NOWHERE
    await disconnect(server.address)
    began = time.monotonic()

    answers = await asyncio.gather(
        *(store.tasks.submit(organization.id, [a_task()]) for _ in range(5)),
        store.upkeep.ping(),
        return_exceptions=True,
    )

    assert [type(answer) for answer in answers] == [StoreUnreachable] * 6
    assert time.monotonic() - began < 4
    database.connector.address = server.address
    assert isinstance((await store.tasks.submit(organization.id, [a_task()]))[0], Accepted)


# Rows that somebody holds --------------------------------------------------------------------------------------------


@asynccontextmanager
async def holding(server: PostgresServer, organization: Organization) -> AsyncIterator[None]:
    """Somebody else's transaction holds this organization's row."""
    connection = await asyncpg.connect(server.address)
    try:
        await connection.execute("BEGIN")
        await connection.execute("SELECT 1 FROM organization WHERE id = $1 FOR NO KEY UPDATE", organization.id)
        yield
    finally:
        await connection.close()


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall of this machine, with many programs on few cores, is not taken for a database that is away."""
    monkeypatch.setattr(outage, "ANSWER_SECONDS", 600.0)


@pytest.mark.usefixtures("slow_machine")
async def test_who_needs_a_row_that_somebody_holds_waits_apart_from_the_others(server: PostgresServer) -> None:
    """Requests of one transaction: those of other organizations are accepted at once, those of the held one are
    answered 503 when their time is over. (I19, I24)"""
    store = await server.open()
    held, others = await an_organization(store), [await an_organization(store) for _ in range(5)]
    ended: list[int] = []

    async def submit(organization: Organization) -> Any:
        try:
            return (await store.tasks.submit(organization.id, [a_task()]))[0]
        except StoreUnreachable as error:
            return error
        finally:
            ended.append(organization.id)

    async with holding(server, held):
        together = await asyncio.gather(*(submit(one) for other in others for one in (other, held)))
        first, until = ended.index(held.id), asyncio.ensure_future(submit(held))
        later = []
        while not until.done():
            later.append(await submit(others[0]))
    free = await submit(held)

    assert {type(answer) for answer in [*together[::2], *later]} == {Accepted}
    assert {type(answer) for answer in [*together[1::2], await until]} == {LocksHeld}
    assert first == len(others)
    assert len(later) > 1
    assert isinstance(free, Accepted)
    assert (await store.tasks.status(held.id)).queued == 1


@pytest.mark.usefixtures("slow_machine")
async def test_who_was_held_up_goes_on_when_the_row_is_free(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Requests that were put aside are done within their time, and nobody hears of it; so is one that is alone."""
    # On a busy machine the row is held for longer than a request usually waits.
    monkeypatch.setattr(batching, "TRY_SECONDS", 600.0)
    store = await server.open()
    held, other = await an_organization(store, queue_limit=40), await an_organization(store)
    async with holding(server, held):
        waiting = [asyncio.ensure_future(store.tasks.submit(held.id, [a_task()])) for _ in range(20)]
        alone = asyncio.ensure_future(store.tasks.clear(held.id))
        (answer,) = await store.tasks.submit(other.id, [a_task()])
        assert await store.tasks.clear(other.id) == 1

    assert isinstance(answer, Accepted)
    assert [type(answer) for (answer,) in await asyncio.gather(*waiting)] == [Accepted] * 20
    assert await alone + (await store.tasks.status(held.id)).queued == 20
    assert "store.busy" not in caplog.text


@pytest.mark.usefixtures("slow_machine")
async def test_however_many_are_held_up_the_row_is_tried_now_and_then(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """What one of them met, the others know; and the log has one line."""
    monkeypatch.setattr(batching, "TRY_SECONDS", 0.5)
    monkeypatch.setattr(locks, "HURRY_SECONDS", 600.0)  # the period that has one line
    store = await server.open()
    held = await an_organization(store)
    waits, see = [0], HeldRows.see

    def counted(self: HeldRows, ids: Any, free: Any) -> None:
        waits[0] += 1
        see(self, ids, free)

    monkeypatch.setattr(HeldRows, "see", counted)
    async with holding(server, held):
        asked = [store.tasks.submit(held.id, [a_task()]) for _ in range(200)]
        answers = await asyncio.gather(*asked, return_exceptions=True)

    assert {type(answer) for answer in answers} == {LocksHeld}
    assert 0 < waits[0] < 100
    assert caplog.text.count("store.busy") == 1


async def test_what_others_have_queued_is_claimed_while_somebody_holds_a_row(
    server: PostgresServer, clock: Clock
) -> None:
    """One free place, and it is a held organization's turn: the next in turn gets it; promotion and the return of
    leases pass by the held one, too. Once it is free it is its turn."""
    store = await server.open()
    held, also, other = [await an_organization(store) for _ in range(3)]
    lost = await a_worker(store)
    for organization in (held, also, other):
        await submitted(store, organization, a_task(), a_task(delay_seconds=1))
    taken = [await lost.take_one() for _ in range(3)]
    clock.advance(60)
    await store.sessions.end_expired()
    worker = await a_worker(store)
    async with holding(server, held), holding(server, also):
        returned = await store.sessions.return_orphans()
        promoted = await store.upkeep.promote()
        first, second = await worker.take_one(), await worker.take_one()
        nothing = await worker.take(1)
    rest = await worker.take(9)

    assert {one.organization_id for one in taken} == {held.id, also.id, other.id}
    assert (returned, promoted) == (1, 1)
    assert (first.organization_id, second.organization_id) == (other.id, other.id)
    assert nothing == []
    assert await store.sessions.return_orphans() + await store.upkeep.promote() == 4
    assert rest == []
    assert {one.organization_id for one in await worker.take(9)} == {held.id, also.id}


async def test_a_claim_looks_behind_all_whose_turn_it_is_and_who_are_held(server: PostgresServer) -> None:
    """However many stand before the one that is free, for a single place."""
    store = await server.open()
    *held, free = [await an_organization(store) for _ in range(5)]
    for organization in (*held, free):
        await submitted(store, organization, a_task())
    worker = await a_worker(store)
    async with AsyncExitStack() as stack:
        for organization in held:
            await stack.enter_async_context(holding(server, organization))

        lease = await worker.take_one()

    assert lease.organization_id == free.id


# Slow reads ----------------------------------------------------------------------------------------------------------


async def test_slow_reads_leave_connections_to_quick_ones(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Many at once that take long: a status and a list are read meanwhile, and a read that waited in vain for them is
    answered 503 without a word of an outage. (I24)"""
    monkeypatch.setattr(reading, "WALK_WAIT_SECONDS", 0.2)
    store = await server.open()
    organizations = [await an_organization(store) for _ in range(4)]
    under_way, go, run = [0], asyncio.Event(), run_within

    async def slow(seconds: float, operation: Any, rows: Any) -> Any:
        if operation.__name__ == "verified_status":
            under_way[0] += 1
            await go.wait()
        return await run(seconds, operation, rows)

    monkeypatch.setattr(reading, "run_within", slow)
    verifying = [asyncio.ensure_future(store.recount.verify(one.id)) for one in organizations for _ in range(3)]
    late, waiting = await asyncio.wait(verifying, return_when=asyncio.FIRST_EXCEPTION)
    status = await store.tasks.status(organizations[0].id)
    listed = await store.tasks.page(organizations[0].id, chosen=TaskFilter(), cursor=None, most=1)
    go.set()
    await asyncio.wait(verifying)

    assert (status.queued, listed.tasks) == (0, ())
    assert under_way[0] == reading.WALKS_MOST
    assert [type(one.exception()) for one in verifying].count(StoreUnreachable) == 12 - reading.WALKS_MOST
    assert waiting
    assert {type(one.exception()) for one in late} == {StoreUnreachable}
    assert "store.unreachable" not in caplog.text


async def test_a_read_that_waited_for_others_says_nothing_of_an_outage(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every place is taken: 503, and the database is not taken for away."""
    monkeypatch.setattr(reading, "TRY_SECONDS", 0.2)
    store = await server.open()
    organization = await an_organization(store)
    limits = adapter_of(store).reading.limits
    for _ in range(reading.READS_MOST):
        await limits.take(None)

    with pytest.raises(StoreUnreachable):
        await store.tasks.status(organization.id)
    for _ in range(reading.READS_MOST):
        limits.give(None)

    assert "store.unreachable" not in caplog.text
    assert (await store.tasks.status(organization.id)).queued == 0


async def test_a_read_that_is_given_up_leaves_its_connection_to_others(server: PostgresServer) -> None:
    """Its answer is passed by; those asked behind it get theirs, on the same connection."""
    store = await server.open()
    organization = await an_organization(store)
    await store.tasks.status(organization.id)
    lines = adapter_of(store).reading.shared
    before = list(lines)

    reads = [asyncio.ensure_future(store.tasks.status(organization.id)) for _ in range(20)]
    await asyncio.sleep(0)
    for read in reads[::2]:
        read.cancel()
    answers = await asyncio.gather(*reads, return_exceptions=True)

    assert {type(one) for one in answers[::2]} == {asyncio.CancelledError}
    assert [one.queued for one in answers[1::2] if not isinstance(one, BaseException)] == [0] * 10
    assert before[0] in lines
    assert lines[0].pending == 0


# Several servers -----------------------------------------------------------------------------------------------------


class Steady:
    """A steady clock that servers share."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def all_follow(self, servers: list[Store], clock: Clock | None = None) -> list[int]:
        """The upkeep of each looks at the database's clock; a second after the one before it, if there is a clock."""
        jumped = []
        for store in servers:
            if clock is not None:
                clock.advance(1)
                self.seconds += 1
            jumped.append(await store.jumps.follow(lambda: self.seconds))
        return jumped


async def test_what_one_server_accepted_every_server_shows(others: list[Store]) -> None:
    """Read your writes, through any of them (I16)."""
    first, second, third = others
    organization = await an_organization(first)

    (task,) = await submitted(second, organization)

    assert await third.tasks.find(organization.id, task) is not None
    assert (await first.tasks.status(organization.id)).queued == 1


async def test_limits_hold_across_servers(others: list[Store]) -> None:
    """Claims, settles and submits through all of them at once never use more than an organization's slots (I3)."""
    organizations = [await an_organization(others[0], slots=slots) for slots in (1, 2, 3)]
    workers = [await a_worker(store) for store in others]
    for organization in organizations:
        await submitted(others[0], organization, *[a_task() for _ in range(60)])

    done = [0, 0, 0]

    async def run(number: int, worker: Worker) -> None:
        while sum(done) < 180:
            for lease in await worker.take(4):
                done[number] += await worker.settle(lease) is ReportVerdict.ACCEPTED

    async def watch() -> None:
        while True:
            for organization, slots in zip(organizations, (1, 2, 3), strict=True):
                status = await others[0].tasks.status(organization.id)
                assert status.processing <= slots
            await asyncio.sleep(0.001)

    watching = asyncio.ensure_future(watch())
    async with asyncio.timeout(40):
        await asyncio.gather(*(run(number, worker) for number, worker in enumerate(workers)))
    assert not watching.done(), watching.exception()
    watching.cancel()

    assert sum(done) == 180
    assert min(done) > 0
    assert await others[0].recount.find() == []
    assert await others[0].recount.states() == {1: 180}


async def test_a_types_limit_holds_across_servers(others: list[Store]) -> None:
    """Two at once, whoever asks."""
    organizations = [await an_organization(others[0], slots=9) for _ in range(3)]
    for organization in organizations:
        await submitted(others[0], organization, *[a_task(LIMITED) for _ in range(9)])
    workers = [await a_worker(store) for store in others]

    taken = await asyncio.gather(*(worker.take(5) for worker in workers))

    assert sum(len(leases) for leases in taken) == 2


@pytest.mark.parametrize("seconds", [3_600, -3_600])
async def test_a_jump_of_the_clock_is_applied_once(others: list[Store], clock: Clock, seconds: int) -> None:
    """However many servers see it, seconds apart: attempts have the time they had left. The next jump counts anew."""
    organization, worker = await an_organization(others[0]), await a_worker(others[0])
    await submitted(others[0], organization)
    (lease,) = (await worker.exchange(places=1, exchange="e")).leases
    steady = Steady()

    jumped = []
    for _ in range(2):
        await steady.all_follow(others)
        clock.advance(seconds)
        jumped += await steady.all_follow(others, clock)
        jumped += await steady.all_follow(others, clock)
    (again,) = (await worker.exchange(places=1, exchange="e")).leases

    assert jumped == [seconds * 1_000, 0, 0, 0, 0, 0] * 2
    assert again.started_at == lease.started_at + 2 * seconds * 1_000


async def test_a_server_that_stood_still_moves_nothing(others: list[Store], clock: Clock) -> None:
    """An hour passed for everybody but one, whose steady clock says otherwise: a paused machine."""
    steady, paused = Steady(), Steady()
    await paused.all_follow(others[:1])
    await steady.all_follow(others[1:])
    for _ in range(60):
        clock.advance(60)
        steady.seconds += 60
        assert await steady.all_follow(others[1:]) == [0, 0]

    assert await paused.all_follow(others[:1]) == [0]
    assert await steady.all_follow(others[1:]) == [0, 0]


async def test_a_clock_that_only_the_server_has_moves_nothing(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's clock is the one that counts, and it was not set; neither now nor when ours is set right again."""
    store = await Store.open(Settings(database=server.address), a_catalogue())
    await an_organization(store)
    jumped = [await store.jumps.follow(time.monotonic)]

    with monkeypatch.context() as patch:
        patch.setattr(asking, "wall_clock", lambda: wall_clock() + 3_600_000)
        jumped += [await store.jumps.follow(time.monotonic) for _ in range(2)]
    jumped += [await store.jumps.follow(time.monotonic) for _ in range(2)]
    await store.close()

    assert jumped == [0] * 5


async def test_a_claim_beside_a_jump_is_moved_or_reads_the_new_clock(
    server: PostgresServer, others: list[Store], clock: Clock
) -> None:
    """It read the clock before it was set, and commits after upkeep has noticed: its lease is moved all the same."""
    organization, worker = await an_organization(others[0]), await a_worker(others[0])
    await submitted(others[0], organization)
    await others[1].jumps.follow(lambda: 0)
    taking = asyncio.ensure_future(worker.exchange(places=1, exchange="e"))
    async with standing_before(others[0], "insert_leases"):
        clock.advance(3_600)
        following = asyncio.ensure_future(others[1].jumps.follow(lambda: 0))
        await until_somebody_waits(server)
    (lease,) = (await taking).leases
    assert await following == 3_600_000

    (again,) = (await worker.exchange(places=1, exchange="e")).leases
    assert again.started_at == lease.started_at + 3_600_000


async def test_a_types_limit_holds_at_servers_that_do_not_declare_it(server: PostgresServer, clock: Clock) -> None:
    """A rolling deployment: until the last server that declares it has ended, the limit is there for all of them."""
    settings = Settings(database=server.address)
    old = await Store.open(settings, a_catalogue(), now=clock)
    session = await a_server(old)
    organization, old_worker = await an_organization(old, slots=20), await a_worker(old)
    await submitted(old, organization, *[a_task(LIMITED) for _ in range(10)])
    first, second = await old_worker.take(10)

    new = await Store.open(settings, {**a_catalogue(), LIMITED: TaskRule(name=LIMITED)}, now=clock)
    new_session, new_worker = await a_server(new), await a_worker(new)

    assert await old_worker.take(10) == []
    assert await new_worker.take(10) == []
    with pytest.raises(ConcurrencyFull):
        await new.calls.begin(a_call(organization, new_session, LIMITED))
    await old_worker.settle(first)
    assert len(await new_worker.take(10)) == 1
    await new.type_limits.keep()
    await old_worker.settle(second)
    assert len(await old_worker.take(10)) == 1
    await old.sessions.end(session, reason=LossReason.DRAINED)
    await new.type_limits.keep()
    assert len(await new_worker.take(10)) == 6
    await asyncio.gather(old.close(), new.close())


async def test_a_types_limit_that_is_gone_comes_back_and_counts_what_runs(
    server: PostgresServer, others: list[Store]
) -> None:
    """A server that started before this one had its session removed it: a minute later it holds again."""
    organization, worker = await an_organization(others[0], slots=20), await a_worker(others[0])
    await submitted(others[0], organization, *[a_task(LIMITED) for _ in range(9)])
    server.rows("DELETE FROM type_limit")
    leases = await worker.take(3)

    await others[0].type_limits.keep()

    assert len(leases) == 3
    await worker.settle(leases[0])
    assert await worker.take(5) == []
    await worker.settle(leases[1])
    assert len(await worker.take(5)) == 1


async def test_no_alert_beyond_the_last_through_two_servers(
    server: PostgresServer, others: list[Store], clock: Clock
) -> None:
    """Each counted one too few if it did not wait for the other, which stands between its count and its row here."""
    organization = await an_organization(others[0])
    rule = AlertRule(kind=AlertKind.QUEUED_ABOVE, threshold=1, for_ms=0, webhook=a_webhook())
    for _ in range(ALERTS_MOST - 1):
        await others[0].alerts.create(organization.id, rule)
    with clock.held() as asked:
        first = asyncio.ensure_future(others[1].alerts.create(organization.id, rule))
        assert await asyncio.to_thread(asked.wait, 10)
        second = asyncio.ensure_future(others[2].alerts.create(organization.id, rule))
        await until_somebody_waits(server)

    assert (await first).rule == rule
    with pytest.raises(ValidationRefused):
        await second


async def test_who_enters_through_a_server_that_claims_nothing_enters_in_the_present(
    others: list[Store], clock: Clock
) -> None:
    """That server hears from the one that claims how far service has come: an idle organization banks no credit (I8),
    and shares from now on as weights say."""
    claims, idles = others[:2]
    busy, idle = await an_organization(claims, slots=90, weight=1), await an_organization(claims, slots=90, weight=3)
    worker = await a_worker(claims)
    for _ in range(3):
        await submitted(claims, busy, *[a_task() for _ in range(40)])
        leases = await worker.take(40)
        clock.advance(0.1)
        await worker.exchange(*[Report(lease.id, DONE) for lease in leases])
    await submitted(claims, busy, *[a_task() for _ in range(60)])

    await claims.organizations.share_virtual_time()
    await idles.organizations.share_virtual_time()
    await submitted(idles, idle, *[a_task() for _ in range(60)])

    picked = [(await worker.take_one()).organization for _ in range(40)]
    assert abs(picked.count(idle.name) - 30) <= 5


async def test_what_is_due_is_taken_by_one_server_each(others: list[Store], clock: Clock) -> None:
    """Promotion by all of them at once moves each task once; deliveries are claimed once; a sweep returns once."""
    organization, worker = await an_organization(others[0], slots=20), await a_worker(others[0])
    await submitted(others[0], organization, *[a_task(webhook="hooks.example") for _ in range(20)])
    leases = await worker.take(20)
    for lease in leases[:10]:
        await worker.settle(lease, Failed(cause="x", pause_ms=1_000))
    for lease in leases[10:15]:
        await worker.settle(lease)
    clock.advance(2)

    await asyncio.gather(*(store.upkeep.promote() for store in others))
    claimed = await asyncio.gather(*(claimed_deliveries(store) for store in others))
    clock.advance(60)
    expired = await asyncio.gather(*(store.sessions.end_expired() for store in others))
    returned = await asyncio.gather(*(store.sessions.return_orphans() for store in others))

    assert sum(len(one) for one in claimed) <= 5
    assert len({one.id for found in claimed for one in found}) == sum(len(one) for one in claimed)
    assert sum(len(names) for names in expired) == 1
    assert sum(returned) == 5
    status = await others[0].tasks.status(organization.id)
    assert (status.queued, status.processing) == (15, 0)
    assert await others[0].recount.find() == []


async def test_local_workers_of_other_servers_are_left_alone(others: list[Store]) -> None:
    """A server that starts knows nothing of the others' processes."""
    organization, worker = await an_organization(others[0]), await a_worker(others[0], local=True)
    await submitted(others[0], organization)
    lease = await worker.take_one()

    assert await others[1].sessions.return_local_leases() == 0
    assert await worker.settle(lease) is ReportVerdict.ACCEPTED


async def test_the_same_exchange_through_two_servers_has_one_answer(others: list[Store]) -> None:
    """A worker that turned to another server before the first had answered holds its leases once."""
    organization, worker = await an_organization(others[0], slots=9), await a_worker(others[0])
    await submitted(others[0], organization, *[a_task() for _ in range(9)])
    one = worker.asks(places=2)

    first, second = await asyncio.gather(others[0].leases.exchange(one), others[1].leases.exchange(one))

    assert {lease.id for lease in first.leases} == {lease.id for lease in second.leases}
    assert len(first.leases) == 2


# A power cut ---------------------------------------------------------------------------------------------------------


async def test_what_was_acknowledged_survives_the_death_of_the_database(clock: Clock) -> None:
    """Every process of the server is killed in the middle of the work: nothing acknowledged is lost, no count differs,
    and the same store goes on by itself once it is back (I1, I15)."""
    cluster = await asyncio.to_thread(join, f"killed-{os.getpid()}")
    store = await Store.open(Settings(database=cluster.address), a_catalogue(), now=clock)
    organization = await an_organization(store, queue_limit=10**6)
    acknowledged: list[str] = []
    ended = asyncio.Event()

    async def send() -> None:
        while not ended.is_set():
            task = a_task()
            try:
                (answer,) = await store.tasks.submit(organization.id, [task])
            except StoreFault:
                continue
            if isinstance(answer, Accepted):
                acknowledged.append(task.id)

    async def reaches(count: int) -> None:
        async with asyncio.timeout(40):
            while len(acknowledged) < count:
                await asyncio.sleep(0.005)

    senders = [asyncio.ensure_future(send()) for _ in range(8)]
    try:
        await reaches(100)
        await asyncio.to_thread(cluster.kill)
        await asyncio.to_thread(cluster.restart)
        await reaches(len(acknowledged) + 100)
        ended.set()
        await asyncio.gather(*senders)

        lost = [task for task in acknowledged if await store.tasks.find(organization.id, task) is None]
        assert lost == []
        assert await store.recount.find() == []
        assert set(await store.recount.states()) == {1}
    finally:
        ended.set()
        await asyncio.gather(*senders, return_exceptions=True)
        await store.close()
        cluster.leave()


async def test_a_standby_is_a_database_that_is_away(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The address leads to a standby for a while, as during a failover: 503 for writes and reads, one line in the log;
    so it is for a connection that a pooler hands over. Once it is promoted the same store goes on by itself."""
    monkeypatch.setattr(demo, "SETTINGS", demo.SETTINGS | {"wal_level": "replica", "max_wal_senders": "1"})
    cluster = await asyncio.to_thread(join, f"standby-{os.getpid()}")
    store = await Store.open(Settings(database=cluster.address), a_catalogue(), now=clock)
    database = adapter_of(store)
    connector = database.connector
    try:
        organization = await an_organization(store)
        await asyncio.to_thread(cluster.kill)
        signal = cluster.folder / "data" / "standby.signal"
        signal.touch()
        os.chown(signal, (cluster.folder / "data" / "PG_VERSION").stat().st_uid, -1)
        await asyncio.to_thread(cluster.restart)

        answers: list[Any] = [
            await asyncio.gather(store.tasks.submit(organization.id, [a_task()]), return_exceptions=True)
        ]
        answers += [await asyncio.gather(store.tasks.status(organization.id), return_exceptions=True)]
        with monkeypatch.context() as patch:
            patch.setattr(connector, "connect", partial(connector.connect, primary=False))
            answers += [await asyncio.gather(store.tasks.submit(organization.id, [a_task()]), return_exceptions=True)]
        with pytest.raises(DatabaseError, match="read-only"):
            await Store.open(Settings(database=cluster.address), {})
        await promote_standby(cluster.address)

        assert [type(answer) for (answer,) in answers] == [StoreUnreachable] * 3
        (accepted,) = await store.tasks.submit(organization.id, [a_task()])
        assert isinstance(accepted, Accepted)
        serious = [record for record in caplog.records if record.levelname == "ERROR"]
        assert [record.getMessage().split()[0] for record in serious] == ["store.unreachable"]
    finally:
        await store.close()
        cluster.leave()


def _name(server: PostgresServer) -> str:
    return '"' + server.address.partition("?")[0].rpartition("/")[2] + '"'
