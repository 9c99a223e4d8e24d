"""The witness of a run: looks at the database beside fairlane, on connections of its own, and trusts no count."""

import asyncio
import contextlib
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import asyncpg

SAMPLE_SECONDS = 0.02
LIMITED_MOST = 3
BLIND_SECONDS = 0.1

SLOTS = """
SELECT o.name, o.slots_max, (SELECT count(*) FROM audit AS a WHERE a.subject = o.name), o.processing + o.calls,
       (SELECT count(*) FROM lease AS l WHERE l.organization_id = o.id),
       (SELECT count(*) FROM lease AS l WHERE l.task_type = 'LIMITED')
FROM organization AS o
"""
CHANGES = "SELECT details FROM audit WHERE subject = '{name}' ORDER BY id LIMIT {count} OFFSET {before}"
LEFT = """
SELECT (SELECT count(*) FROM queue_entry), (SELECT count(*) FROM waiting), (SELECT count(*) FROM lease)
"""
TOTALS = """
SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM outcome), (SELECT count(DISTINCT task_id) FROM outcome),
       (SELECT CAST(sum(submitted) AS BIGINT) FROM organization),
       (SELECT CAST(sum(completed + failed) AS BIGINT) FROM organization),
       (SELECT coalesce(max(attempt), 0) FROM outcome)
"""
OUTCOMES = "SELECT task_id, status, result, failure FROM outcome"
KEYS = "SELECT o.name, i.key, i.task_id FROM idempotency AS i JOIN organization AS o ON o.id = i.organization_id"
DELIVERIES = "SELECT task_id, delivered_at FROM delivery"
UNSENT = "SELECT count(*) FROM delivery WHERE due_at IS NOT NULL"
LIVE = "SELECT count(*) FROM session WHERE dead = 0 AND places > 0"
HELD_BY = "SELECT count(*) FROM lease AS l JOIN session AS s ON s.id = l.session_id WHERE s.name = '{name}'"


def run_down(left: Callable[[], int], seconds: float) -> int:
    """Wait until nothing is left, or it did not get less for this long; return what is left."""
    least, give_up_at = left(), time.monotonic() + seconds
    while least and time.monotonic() < give_up_at:
        time.sleep(0.2)
        now = left()
        if now < least:
            least, give_up_at = now, time.monotonic() + seconds
    return least


class Unreachable(Exception):
    """The database did not answer."""


class Limits:
    """What a sample may show, although limits change between samples.

    A limit that was lowered leaves more leases than it allows, and their number may then only fall. So a sample shows
    at most as many leases as the sample before it, or as the largest limit that was in force since then. Which limits
    those were is told by the trail of changes: each change has a row that was committed with it.
    """

    def __init__(self, changed_to: Callable[[str, int, int], list[int]]) -> None:
        self.largest: dict[str, int] = {}
        """The largest limit seen for each organization."""
        self._changed_to = changed_to
        """The limits that the changes of an organization from the first to the second number set."""
        self._before: dict[str, tuple[int, int, int]] = {}

    def exceeded(self, organization: str, slots_max: int, changes: int, held: int) -> bool:
        """Whether this sample exceeds what the one before it allows. Remember it."""
        max_before, changes_before, held_before = self._before.get(organization, (slots_max, 0, 0))
        in_force = [slots_max, max_before]
        if changes - changes_before > 1:
            in_force += self._changed_to(organization, changes_before, changes)
        self._before[organization] = (slots_max, changes, held)
        self.largest[organization] = max(*in_force, self.largest.get(organization, 0))
        return held > max(held_before, *in_force)


class Postgres:
    """Asks PostgreSQL, on one connection that is opened again after an error."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: Any = None
        self._loop = asyncio.new_event_loop()
        self._asking = asyncio.Lock()
        threading.Thread(target=self._loop.run_forever, name="witness-loop", daemon=True).start()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement, which is one snapshot. Raises Unreachable."""
        try:
            return asyncio.run_coroutine_threadsafe(self._ask(sql), self._loop).result(60)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError) as e:
            raise Unreachable from e

    async def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        async with self._asking:
            try:
                if self._connection is None:
                    self._connection = await asyncpg.connect(self._address, timeout=2)
                return [tuple(row) for row in await self._connection.fetch(sql, timeout=30)]
            except BaseException:
                if self._connection is not None:
                    self._connection.terminate()
                self._connection = None
                raise


class Sqlite:
    """Asks a SQLite file, read-only, on a connection for each question: none is open while fairlane starts or ends."""

    def __init__(self, path: str) -> None:
        self._uri = f"file:{path}?mode=ro"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one statement, which is one snapshot. Raises Unreachable."""
        try:
            with contextlib.closing(sqlite3.connect(self._uri, uri=True, timeout=5)) as connection:
                return connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise Unreachable from error


class Witness:
    """Samples the slots until it is stopped; answers questions at any time."""

    def __init__(self, database: str) -> None:
        scheme, _, path = database.partition(":///")
        self.ask: Callable[[str], list[tuple[Any, ...]]] = (
            Sqlite(path).ask if scheme == "sqlite" else Postgres(database).ask
        )
        self.limits = Limits(self._changed_to)
        self.samples = 0
        """Looks at all organizations, each in one snapshot."""
        self.over_limit: list[tuple[Any, ...]] = []
        self.miscounted: list[tuple[Any, ...]] = []
        self.type_over_limit = 0
        self.blind = 0
        """Looks that the database did not answer."""
        self.most_used = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="witness", daemon=True)

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def stop(self) -> None:
        """End sampling; questions may still be asked."""
        self._over.set()
        self._thread.join(60)

    def _sample(self) -> None:
        while not self._over.is_set():
            try:
                self._look(self.ask(SLOTS))
            except Unreachable:
                self.blind += 1
                time.sleep(BLIND_SECONDS)
            time.sleep(SAMPLE_SECONDS)

    def _look(self, rows: list[tuple[Any, ...]]) -> None:
        self.samples += 1
        for name, slots_max, changes, counted, held, limited in rows:
            self.most_used = max(self.most_used, held)
            if self.limits.exceeded(name, slots_max, changes, held):
                self.over_limit.append((name, slots_max, held))
            if counted != held:
                self.miscounted.append((name, counted, held))
            if limited > LIMITED_MOST:
                self.type_over_limit += 1

    def _changed_to(self, name: str, first: int, last: int) -> list[int]:
        found = self.ask(CHANGES.format(name=name, before=first, count=last - first))
        changes = [json.loads(details) for (details,) in found]
        return [change["slots"] for change in changes if change.get("slots")]

    def seconds_until_free(self, pid: int, began: float, *, most: float) -> float | None:
        """Return the seconds from ``began`` until no lease names the worker process with this id, at most ``most``.

        Returns None if the database is unreachable: then nothing can be said about this kill.
        """
        while time.monotonic() < began + most:
            held = self.held_by(pid)
            if not held:
                return None if held is None else time.monotonic() - began
            time.sleep(0.02)
        return most

    def held_by(self, pid: int) -> int | None:
        """Return how many leases the worker process with this id has; None if the database is unreachable."""
        try:
            return int(self.ask(HELD_BY.format(name=f"{socket.gethostname()}/{pid}"))[0][0])
        except Unreachable:
            return None

    def left(self) -> tuple[int, int, int]:
        """Return how many tasks are ready, waiting, running."""
        ready, waiting, running = self.ask(LEFT)[0]
        return ready, waiting, running
