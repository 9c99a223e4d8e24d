"""Where the tests' PostgreSQL comes from, and clean databases on it.

``FAIRLANE_TEST_PG`` names a server whose user may create databases; else one is started for this test run and shared by
its processes. Without any the tests are skipped, or fail where nothing may be skipped (``CI``).
"""

import asyncio
import atexit
import itertools
import os
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import cache, partial
from typing import Any, TypeVar

import asyncpg
import psycopg
import pytest

from fairlane.errors import SetupError
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.statements import load_migrations
from tests import cluster

Answer = TypeVar("Answer")

# Read at import: a fixture hides every variable of ours from the tests.
GIVEN = os.environ.get("FAIRLANE_TEST_PG")
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))

NO_TABLES = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
VERSIONS = [version for version, _, _ in load_migrations("postgres")]

PROMOTED_SECONDS = 30.0

_numbers = itertools.count(1)
_free: list[str] = []
_made: list[str] = []
_cleaners: dict[str, "psycopg.Connection[Any]"] = {}
"""By address, the connection that empties a database: one that knows the tables does so in a quarter of the time."""


def lend(*, bare: bool = False) -> str:
    """The address of a database that is empty but for this release's tables; bare: for everything."""
    if _free:
        address = _free.pop()
        tables = _empty(address)
    else:
        name = f"fairlane_{RUN[:8]}_{os.getpid()}_{next(_numbers)}"
        at_once(lambda: execute(_server(), f'CREATE DATABASE "{name}"'))
        _made.append(name)
        address, tables = _address(name), False
    if bare and tables:
        at_once(lambda: execute(address, NO_TABLES))
    elif not bare and not tables:
        at_once(lambda: Store.migrate(Settings(database=address)))
    return address


def give_back(address: str) -> None:
    """Let another test have it. Connections that are left end when it is lent again."""
    _free.append(address)


DISCONNECT = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def disconnect(address: str) -> None:
    """End every connection to this database, at once."""
    await execute(address, DISCONNECT)


async def execute(address: str, sql: str) -> None:
    """Statements, on a connection of their own."""
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def promote_standby(address: str) -> None:
    """Promote the standby at this address, also one that just starts again, and return when it accepts writes.

    Does not wait inside ``pg_promote``: recovery may wait for the snapshot of that statement, for half a minute.
    """
    give_up_at = time.monotonic() + PROMOTED_SECONDS
    while True:
        try:
            await execute(address, "CREATE TEMPORARY TABLE promoted ()")
            return
        except (asyncpg.PostgresError, OSError):
            if time.monotonic() > give_up_at:
                raise
        with suppress(asyncpg.PostgresError, OSError):
            await execute(address, "SELECT pg_promote(false)")
        await asyncio.sleep(0.05)


def at_once(work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
    """Run a coroutine to its end, whether or not an event loop runs here."""
    answers: list[Answer] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(asyncio.run(work()))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="tests-postgres")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return answers[0]


@cache
def _server() -> str:
    if GIVEN is not None:
        atexit.register(_drop_all)
        return GIVEN
    try:
        return cluster.join(f"tests-{RUN}").address
    except SetupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"nothing may be skipped here: {error}")
        pytest.skip(str(error))


def _address(name: str) -> str:
    head, _, tail = _server().partition("?")
    return head.rpartition("/")[0] + "/" + name + ("?" + tail if tail else "")


def _empty(address: str) -> bool:
    """Disconnect all, and delete every row. False: its tables were not this release's, or a test set them up for
    itself, and are gone."""
    ask = _cleaner(address).execute
    ask(DISCONNECT)
    found = ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    tables = {row[0] for row in found} - {"schema_version"}
    applied = ask("SELECT version FROM schema_version WHERE version <> 0 ORDER BY version").fetchall() if tables else []
    switched_off = ask("SELECT 1 FROM pg_class WHERE 'autovacuum_enabled=false' = ANY (reloptions)").fetchall()
    if [row[0] for row in applied] != VERSIONS or switched_off:
        ask(NO_TABLES)
        return False
    # What refers to others goes before them.
    ordered = sorted(tables, key=lambda name: (name == "plan", name == "organization", name))
    emptied = "; ".join(f"DELETE FROM {name}" for name in ordered)
    ask(f"BEGIN; {emptied}; INSERT INTO installation (id) VALUES (1); COMMIT")
    return True


def _cleaner(address: str) -> "psycopg.Connection[Any]":
    """The connection that empties this database; a new one if a test ended it with all others."""
    with suppress(KeyError, psycopg.OperationalError):
        _cleaners[address].execute("SELECT 1")
        return _cleaners[address]
    if address in _cleaners:
        _cleaners[address].close()
    _cleaners[address] = psycopg.connect(address, autocommit=True)
    return _cleaners[address]


@atexit.register
def _close_cleaners() -> None:
    for connection in _cleaners.values():
        connection.close()


def _drop_all() -> None:
    for name in _made:
        at_once(partial(execute, _server(), f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
