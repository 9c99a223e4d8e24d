"""The database goes away and comes back: what callers see meanwhile, and that nobody has to do anything (I15)."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import psycopg
import pytest

from fairlane.errors import StoreUnreachable
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.postgres import database as adapter
from fairlane.store.postgres import outage, writing
from fairlane.store.postgres.asking import STATEMENT_SECONDS, parts
from fairlane.store.postgres.numbering import NumberedStatement
from fairlane.store.postgres.reading import Readers
from fairlane.store.postgres.writing import Writer
from tests import postgres
from tests.api.house import Customer, House, Session, error_of, eventually
from tests.builders import an_organization
from tests.cluster import Cluster
from tests.servers.line import CUT, OPEN, SILENT, Line
from tests.servers.test_wakeups import completed

ANSWERED_SECONDS = 2.0
BUSY_SECONDS = 1.0
"""What a busy machine may add."""
BACK_SECONDS = 3.0
LEASE_SECONDS = 1.5
END_SECONDS = 20.0
SHORT: dict[str, Any] = {"lease_seconds": LEASE_SECONDS, "renew_seconds": 0.5, "sweep_seconds": 0.2}


@pytest.fixture
def line() -> Iterator[Line]:
    """A database at the end of a line."""
    database = postgres.lend()
    with Line(database).laid() as line:
        yield line
    postgres.give_back(database)


@pytest.fixture
def a_far_house(tmp_path: Path, line: Line) -> Iterator[Callable[..., House]]:
    """A server whose database is at the end of that line."""
    with ExitStack() as stack:

        def start(**settings: Any) -> House:
            chosen: dict[str, Any] = {"public_workers": True, "public_admin": True, "database": line.address} | settings
            return stack.enter_context(House(tmp_path, **chosen))

        yield start
        line.state = OPEN


def every_request(house: House, customer: Customer) -> list[tuple[str, Callable[[], httpx2.Response]]]:
    """One request to every route that needs the database, each on a connection of its own."""
    keys = {"/v1": customer.key["value"], "/openapi": customer.key["value"]}
    for kind, prefix in (("worker", "/worker"), ("admin", "/admin")):
        made = house.admin.post("/admin/v1/keys", json={"kind": kind, "name": kind})
        keys[prefix] = made.json()["value"]
    bodies = {
        ("POST", "/v1/async/task"): {"taskType": "ANY", "payload": {}},
        ("POST", "/v1/async/task/batch"): [{"taskType": "ANY", "payload": {}}],
        ("POST", "/worker/v1/sessions"): {"name": "tests/1", "types": ["ANY"], "places": 1},
        ("POST", "/worker/v1/exchange"): {"session": "s", "id": "e", "places": 1, "reports": [], "wait_seconds": 5},
    }
    requests: list[tuple[str, Callable[[], httpx2.Response]]] = []
    for resource in house.server.surfaces["customers"].resources:
        prefixes = [prefix for prefix in keys if resource.path.startswith(prefix)]
        if not prefixes or resource.path == "/openapi.json":
            continue
        for method in resource.methods:
            path = resource.path.replace("{}", "any")
            body = bodies.get((method, path), {})

            def send(method: str = method, path: str = path, body: Any = body, key: str = keys[prefixes[0]]) -> Any:
                with house.client(authorization=f"Bearer {key}") as client:
                    return client.request(method, path, json=None if method == "GET" else body)

            requests.append((f"{method} {path}", send))
    return requests


def answers(requests: list[tuple[str, Callable[[], httpx2.Response]]]) -> dict[str, tuple[httpx2.Response, float]]:
    """What each was answered, and after how many seconds; all of them at once."""

    def timed(send: Callable[[], httpx2.Response]) -> tuple[httpx2.Response, float]:
        began = time.monotonic()
        return send(), time.monotonic() - began

    with ThreadPoolExecutor(len(requests)) as pool:
        sent = {name: pool.submit(timed, send) for name, send in requests}
    return {name: answer.result() for name, answer in sent.items()}


@pytest.mark.parametrize("away", [CUT, SILENT])
def test_every_route_answers_in_time_while_the_database_is_away(
    a_far_house: Callable[..., House], line: Line, caplog: pytest.LogCaptureFixture, away: str
) -> None:
    """503 with Retry-After within two seconds, no word of the cause, one line in the log; then all is well again."""
    house = a_far_house()
    customer = house.customer()
    requests = every_request(house, customer)
    assert len(requests) > 50
    with house.client() as client:
        assert client.get("/readyz").status_code == 200
    caplog.clear()

    line.state = away
    rounds = [answers(requests), answers(requests)]
    with house.client() as client:
        alive, ready = client.get("/livez"), client.get("/readyz")
    line.state = OPEN
    back_at = time.monotonic()
    eventually(lambda: customer.submit().status_code == 200)

    assert time.monotonic() - back_at < BACK_SECONDS
    for answered in rounds:
        wrong = {name: one.status_code for name, (one, _) in answered.items() if one.status_code != 503}
        # What cannot be right is said without asking the database.
        assert set(wrong.values()) <= {400, 404, 422}, wrong
        slow = {name: took for name, (_, took) in answered.items() if took > ANSWERED_SECONDS + BUSY_SECONDS}
        assert not slow
        for one, _ in answered.values():
            if one.status_code == 503:
                assert error_of(one)["code"] == "SERVICE_UNAVAILABLE"
                assert 1 <= int(one.headers["retry-after"]) <= 5
    assert [answer.status_code for answer in (alive, ready)] == [200, 503]
    serious = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage().split()[0] for record in serious] == ["store.unreachable"]
    assert not [record for record in caplog.records if record.exc_info]
    with house.client() as client:
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("away", [CUT, SILENT])
def test_a_server_ends_in_order_while_the_database_is_away(tmp_path: Path, line: Line, away: str) -> None:
    """Without an error, and in seconds: nothing that it would still like to write holds it for long."""
    with House(tmp_path, database=line.address) as house:
        customer = house.customer()
        customer.accepted()
        line.state = away
        began = time.monotonic()
    took = time.monotonic() - began
    line.state = OPEN

    assert took < END_SECONDS


async def test_who_gives_a_read_up_waits_for_nobody(line: Line) -> None:
    """However long the database says nothing; the next reads find connections that work."""
    store = await Store.open(Settings(database=line.address), {})
    organization = await an_organization(store)

    def both() -> list[asyncio.Future[Any]]:
        """A statement, and a snapshot of several."""
        return [asyncio.ensure_future(one) for one in (store.tasks.status(organization.id), store.recount.states())]

    await asyncio.gather(*both())
    line.state = SILENT
    reads, reading = both(), store.shared.database.reading  # type: ignore[attr-defined]
    while sum(one.pending for one in (*reading.shared, *reading.own)) < len(reads):
        await asyncio.sleep(0)
    for read in reads:
        read.cancel()

    ended, waiting = await asyncio.wait(reads, timeout=END_SECONDS)
    line.state = OPEN

    assert not waiting
    assert all(read.cancelled() for read in ended)
    assert (await store.tasks.status(organization.id)).queued == 0
    assert await store.recount.states() == {}
    await store.close()


async def test_what_waits_when_a_store_is_closed_is_not_tried_one_by_one(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its patience is over, everything that still waits is answered at once."""
    monkeypatch.setattr(adapter, "LAST_SECONDS", 0.05)
    store = await Store.open(Settings(database=line.address), {})
    organization = await an_organization(store)
    connected = len(line.connected)
    line.state = SILENT
    writes = [asyncio.ensure_future(store.tasks.clear(organization.id)) for _ in range(20)]
    await asyncio.sleep(0)

    await store.close()
    line.state = OPEN

    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnreachable}
    assert len(line.connected) <= connected + 1


def test_a_killed_database_is_met_and_over_by_itself(cluster: Cluster, tmp_path: Path) -> None:
    """kill -9 of a real PostgreSQL longer than a lease: nothing acknowledged is lost, nobody is taken for dead, and the
    first claim comes within three seconds of its return."""
    with House(tmp_path, database=cluster.address, **SHORT) as house, ThreadPoolExecutor(4) as pool:
        customer, session = house.customer(slots=20), house.session("ANY", places=5)
        tasks = [customer.accepted() for _ in range(4)]
        held = session.claim(2)
        over = threading.Event()

        def renew() -> list[int]:
            """As a supervisor does, whatever it is answered."""
            seen = []
            while not over.wait(0.2):
                seen.append(session.renew([lease["lease"] for lease in held], []).status_code)
            return seen

        renewing = pool.submit(renew)
        eventually(lambda: house.store.wakeups.listening)
        cluster.kill()
        gone_at = time.monotonic()
        statuses = set()
        while time.monotonic() < gone_at + 2 * LEASE_SECONDS:
            answer = customer.submit()
            statuses.add(answer.status_code)
            time.sleep(0.05)
        cluster.restart()
        back_at = time.monotonic()
        claimed = eventually(lambda: claims(session, 2))
        took = time.monotonic() - back_at
        held += claimed
        # A whole lease of contact: nothing may be taken away in it, nor after it, from who renews.
        threading.Event().wait(2 * LEASE_SECONDS)
        verdicts = session.exchange(0, *map(completed, held)).json()["verdicts"]
        over.set()

        assert statuses == {503}
        assert took < BACK_SECONDS
        assert 410 not in renewing.result()
        assert verdicts == ["accepted"] * 4
        assert {lease["attempt"] for lease in claimed} == {1}
        assert {customer.find(task).json()["task"]["status"] for task in tasks} == {"COMPLETED"}
        assert house.call(house.store.recount.find()) == []
        eventually(lambda: house.store.wakeups.listening)


def test_a_worker_that_does_not_come_back_is_taken_for_dead(line: Line, a_far_house: Callable[..., House]) -> None:
    """The control: after a whole lease of contact a session that did not renew is dead, and its leases go back."""
    house = a_far_house(**SHORT)
    customer, session = house.customer(), house.session("ANY")
    customer.accepted()
    session.claim(1)

    line.state = CUT
    threading.Event().wait(LEASE_SECONDS + 0.5)
    line.state = OPEN
    back_at = time.monotonic()
    eventually(lambda: session.renew([], []).status_code == 410 if time.monotonic() > back_at + 4 else False)

    assert customer.status()["queuedTasks"] == 1


def claims(session: Session, places: int) -> list[dict[str, Any]]:
    """The leases of an exchange, if it was answered with some."""
    answer = session.exchange(places)
    found: list[dict[str, Any]] = answer.json()["leases"] if answer.status_code == 200 else []
    return found


def test_a_database_that_is_away_is_not_stormed(a_far_house: Callable[..., House], line: Line) -> None:
    """However many ask: a few connections a second are tried, and none is kept that is of no use."""
    house = a_far_house()
    customer = house.customer()
    line.state = CUT
    eventually(lambda: customer.submit().status_code == 503)
    before = len(line.connected)
    began = time.monotonic()

    with ThreadPoolExecutor(30) as pool:
        asked = 0
        while time.monotonic() < began + 2:
            sent = [pool.submit(customer.client.get, "/v1/async/status") for _ in range(30)]
            sent += [pool.submit(customer.submit)]
            asked += len([one.result() for one in sent])
    tried = len(line.connected) - before

    assert asked > 60
    assert tried < 40


@pytest.mark.parametrize(
    "error",
    [
        psycopg.InterfaceError("the connection is closed"),
        psycopg.errors.ProtocolViolation("unexpected message"),
        psycopg.errors.AdminShutdown("terminating connection due to administrator command"),
        ConnectionResetError("reset"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_driver_says_of_a_lost_connection_it_is_replaced(
    houses: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """In a write and in a read: the write is run again on a new connection, the read is answered 503 at worst."""
    house = houses().a
    customer = house.customer()
    writes, reads, left = Writer.rows, Readers.rows, [1]
    database = house.store.shared.database

    def lose(query: Any) -> None:
        names = {query.name, *(one.name for one in query.parameters.get("queries", ()))}
        if {"insert_tasks", "find_statuses"} & names and left[0]:
            left[0] -= 1
            raise error

    def written(self: Any, connection: Any, query: Any, attempt: Any) -> Any:
        if self is database.writer:
            lose(query)
        return writes(self, connection, query, attempt)

    async def read(self: Any, line: Any, query: Any) -> Any:
        if self is database.reading:
            lose(query)
        return await reads(self, line, query)

    monkeypatch.setattr(Writer, "rows", written)
    monkeypatch.setattr(Readers, "rows", read)
    connection = database.writer.connection
    assert customer.submit().status_code == 200
    assert database.writer.connection is not connection
    left[0] = 1
    assert customer.client.get("/v1/async/status").status_code == 503
    assert customer.status()["queuedTasks"] == 1


@pytest.mark.parametrize("statement", ["lock_organizations", "COMMIT"])
def test_a_connection_that_leads_nowhere_is_replaced(
    a_far_house: Callable[..., House], line: Line, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """A host that vanishes without a word in the middle of a transaction, and another that answers at its address: the
    next writes work within three seconds, not when a statement's time is over. (I15)"""
    house = a_far_house(pg_notify="off")
    customer = house.customer()
    customer.accepted()
    writer, left = house.store.shared.database.writer, [1]
    ask, finish = writer.rows, writer.finish

    def lose(name: str) -> None:
        if name == statement and left[0]:
            left[0] -= 1
            line.lose()

    def rows(connection: Any, query: Any, attempt: Any) -> Any:
        for one in parts(query):
            lose(one.name)
        return ask(connection, query, attempt)

    def commit(connection: Any, attempt: Any) -> None:
        lose("COMMIT")
        finish(connection, attempt)

    monkeypatch.setattr(writer, "rows", rows)
    monkeypatch.setattr(writer, "finish", commit)
    lost_at = time.monotonic()
    customer.submit()
    eventually(lambda: customer.submit().status_code == 200)

    assert left == [0]
    assert time.monotonic() - lost_at < BACK_SECONDS + 2 * BUSY_SECONDS


def test_a_statement_that_is_only_slow_is_left_alone(
    a_far_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The control: the database works on it for longer than the bound, which a probe sees; it is done on the same
    connection, and answered."""
    house = a_far_house(pg_notify="off")
    customer = house.customer()
    customer.accepted()
    writer, left = house.store.shared.database.writer, [1]
    ask, connection = writer.rows, writer.connection
    seconds = outage.SILENT_SECONDS + 2 * outage.PROBE_SECONDS
    sleep = NumberedStatement("sleep", f"SELECT CAST(pg_sleep({seconds}) AS TEXT)")

    def rows(connection: Any, query: Any, attempt: Any) -> Any:
        if left[0] and any(one.name == "lock_organizations" for one in parts(query)):
            left[0] -= 1
            attempt.asked_at = time.monotonic()
            connection.ask(sleep, [], STATEMENT_SECONDS)
        return ask(connection, query, attempt)

    monkeypatch.setattr(writer, "rows", rows)
    answer = customer.submit()

    assert answer.status_code == 200
    assert customer.status()["queuedTasks"] == 2
    assert writer.connection is connection
    assert "connection.cut" not in caplog.text


@pytest.mark.parametrize("place", ["rows", "finish"])
def test_an_error_is_an_answer(a_far_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """A statement or a commit that ends with an error begins the wait for the rollback; it does not go on waiting."""
    house = a_far_house(pg_notify="off")
    customer = house.customer()
    customer.accepted()
    writer, left = house.store.shared.database.writer, [1]
    ask, roll_back = getattr(writer, place), writer.rolled_back
    refuse = NumberedStatement("refuse", "DO $$ BEGIN RAISE lock_not_available; END $$")
    asked_at: list[float] = []

    def refused(connection: Any, *arguments: Any) -> Any:
        attempt = arguments[-1]
        if left[0] and (place == "finish" or any(one.name == "lock_organizations" for one in parts(arguments[0]))):
            left[0] -= 1
            attempt.asked_at = time.monotonic() - outage.SILENT_SECONDS
            connection.ask(refuse, [], STATEMENT_SECONDS)
        return ask(connection, *arguments)

    def rolled_back(connection: Any, error: Exception) -> bool:
        asked_at.append(writer.current.asked_at - time.monotonic())
        return bool(roll_back(connection, error))

    monkeypatch.setattr(writer, place, refused)
    monkeypatch.setattr(writer, "rolled_back", rolled_back)
    answer = customer.submit()

    assert answer.status_code == 200
    assert left == [0]
    assert asked_at[0] > -outage.SILENT_SECONDS


def test_a_lock_that_a_stopped_server_holds_is_cut(houses: Callable[..., Any]) -> None:
    """A server that is stopped inside a transaction: its organization waits, is answered 503, and goes on after five
    seconds; others are served meanwhile."""
    house = houses(pg_notify="off").a
    held, other = house.customer(), house.customer()
    held.accepted()
    [(organization_id,)] = postgres.at_once(lambda: ask(house, "SELECT min(id) FROM organization"))

    async def stop_inside() -> asyncpg.Connection:
        connection = await asyncpg.connect(house.settings.database)
        statements = house.store.shared.database.asking.statements
        await connection.execute(writing.BEGIN.sql)
        await connection.fetch(statements["limit_transaction"].sql, writing.LOCK_TIMEOUT, *writing.LIMITS.values())
        await connection.fetch(statements["lock_organizations"].sql, [organization_id])
        return connection

    with asyncio.Runner() as runner:
        stopped = runner.run(stop_inside())
        held_at = time.monotonic()
        first = held.submit()
        first_took = time.monotonic() - held_at
        eventually(lambda: other.submit().status_code == 200)
        eventually(lambda: held.submit().status_code == 200)
        free_after = time.monotonic() - held_at
        stopped.terminate()

    assert first.status_code == 503
    assert first_took < ANSWERED_SECONDS + BUSY_SECONDS
    assert 3.0 < free_after < 5.0 + 2.0 + BUSY_SECONDS


async def ask(house: House, sql: str) -> list[Any]:
    """What the database answers."""
    connection = await asyncpg.connect(house.settings.database)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


def test_a_server_that_starts_without_its_database_says_so_and_ends(tmp_path: Path) -> None:
    """Exit code 4 within the seconds of a connection, one line without a traceback: who starts services tries again."""
    command = [sys.executable, "-m", "fairlane", "serve", "tests/whole/app.py:app", "--port", "0"]
    address = "postgresql://somebody:hush@127.0.0.1:1/nothing"

    ran = subprocess.run([*command, "--database", address], capture_output=True, text=True, timeout=30, check=False)

    assert ran.returncode == 4
    assert "cannot open postgresql://somebody:(hidden)@127.0.0.1:1/nothing" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "hush" not in ran.stderr + ran.stdout
    assert ran.stdout == ""
