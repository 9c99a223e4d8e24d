"""The witness of a run: looks at the database beside fairlane, on connections of its own, and believes nobody."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg

SAMPLE_SECONDS = 0.02
LIMITED_MOST = 3

SLOTS = """
SELECT o.name, o.slots_max, o.processing + o.calls,
       (SELECT count(*) FROM lease AS l WHERE l.organization_id = o.id),
       (SELECT count(*) FROM lease AS l WHERE l.task_type = 'LIMITED')
FROM organization AS o
"""
LEFT = """
SELECT (SELECT count(*) FROM queue_entry), (SELECT count(*) FROM waiting), (SELECT count(*) FROM lease)
"""
TOTALS = """
SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM outcome), (SELECT count(DISTINCT task_id) FROM outcome),
       (SELECT CAST(sum(submitted) AS BIGINT) FROM organization),
       (SELECT CAST(sum(completed + failed) AS BIGINT) FROM organization),
       (SELECT count(*) FROM outcome WHERE status <> 'COMPLETED'),
       (SELECT coalesce(max(attempt), 0) FROM outcome)
"""
HELD_BY = """
SELECT count(*)
FROM lease AS l
JOIN session AS s ON s.id = l.session_id
WHERE s.name = $1
"""


class Witness:
    """Samples the slots for as long as it is asked to; answers questions in between."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.samples = 0
        """Looks at all organizations in one snapshot each."""
        self.over_limit: list[tuple[Any, ...]] = []
        self.miscounted: list[tuple[Any, ...]] = []
        self.type_over_limit = 0
        self.blind = 0
        """Looks that the database did not answer."""
        self.most_used = 0
        self._over = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="witness", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._sampling = asyncio.run_coroutine_threadsafe(self._sample(), self._loop)

    def stop(self) -> None:
        """End sampling; questions may still be asked."""
        self._over.set()
        self._sampling.result(30)

    async def _sample(self) -> None:
        connection: Any = None
        while not self._over.is_set():
            try:
                if connection is None:
                    connection = await asyncpg.connect(self._address, timeout=2)
                rows = await connection.fetch(SLOTS, timeout=5)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError):
                self.blind += 1
                connection = None
                await asyncio.sleep(0.1)
                continue
            self.samples += 1
            for name, slots_max, counted, held, limited in rows:
                self.most_used = max(self.most_used, held)
                if held > slots_max:
                    self.over_limit.append((name, slots_max, held))
                if counted != held:
                    self.miscounted.append((name, counted, held))
                if limited > LIMITED_MOST:
                    self.type_over_limit += 1
            await asyncio.sleep(SAMPLE_SECONDS)
        if connection is not None:
            await connection.close()

    def ask(self, sql: str, *arguments: Any) -> list[Any]:
        """One question, on a connection of its own."""
        return self._call(lambda: self._ask(sql, *arguments))

    async def _ask(self, sql: str, *arguments: Any) -> list[Any]:
        connection = await asyncpg.connect(self._address, timeout=5)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments, timeout=30)]
        finally:
            await connection.close()

    def _call(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    def seconds_until_free(self, pid: int, began: float, *, most: float) -> float | None:
        """Seconds since ``began`` until no lease names the worker process with this id, or ``most``. None: the database
        is away, and nothing can be told of this kill."""
        while time.monotonic() < began + most:
            held = self.held_by(pid)
            if not held:
                return None if held is None else time.monotonic() - began
            time.sleep(0.02)
        return most

    def held_by(self, pid: int) -> int | None:
        """Leases of the worker process with this id; None: the database is away."""
        try:
            held: int = self.ask(HELD_BY, f"{socket.gethostname()}/{pid}")[0][0]
        except (OSError, asyncpg.PostgresError, TimeoutError):
            return None
        return held

    def left(self) -> tuple[int, int, int]:
        """Tasks that are ready, waiting, running."""
        ready, waiting, running = self.ask(LEFT)[0]
        return ready, waiting, running
