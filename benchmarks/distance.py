"""PostgreSQL 0, 1 and 2 ms away: what each round trip to the database costs a submit, an idle worker, and the slots.

The proxy of ``proxy.py`` stands between the server and its database. A bare ``SELECT 1`` in the same round shows what
one round trip takes through it.
"""

import asyncio
import time
from collections.abc import Callable

import asyncpg

from benchmarks.dispatch import Dispatch
from benchmarks.homes import Database, Home
from benchmarks.load import percentile
from benchmarks.proxy import DelayingProxy
from benchmarks.scenario import Figures, Scale, Scenario
from benchmarks.utilisation import Utilisation

MILLISECONDS = (0, 1, 2)
SELECTS = 200


class Distance:
    """Databases of their own in each round and at each distance."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._home = home
        self._scale = scale

    def prepare(self) -> None:
        """Nothing is shared by the rounds."""

    def measure(self, turn: int) -> Figures:
        """Each distance in turn."""
        figures: dict[str, float] = {}
        first = turn % len(MILLISECONDS)
        for milliseconds in (*MILLISECONDS[first:], *MILLISECONDS[:first]):
            found = self._at(milliseconds, turn)
            figures |= {f"distance.{milliseconds}.{name}": value for name, value in found.items()}
        trip = figures["distance.2.select_p50_ms"] - figures["distance.0.select_p50_ms"]
        for name in ("started", "answered"):
            more = figures[f"distance.2.{name}_p50_ms"] - figures[f"distance.0.{name}_p50_ms"]
            figures[f"distance.{name}_trips"] = more / trip
        return figures

    def _at(self, milliseconds: int, turn: int) -> Figures:
        with _DistantHome(self._home, milliseconds, f"distance-{milliseconds}-{turn}") as home:
            selects = asyncio.run(_selects(home.database("selects").address))
            return {
                "select_p50_ms": percentile(selects, 0.50),
                "select_p01_ms": percentile(selects, 0.01),
                **self._figures(home, Dispatch, "started_p50_ms", "answered_p50_ms"),
                **self._figures(home, Utilisation, "busy"),
            }

    def _figures(self, home: Home, kind: Callable[[Home, Scale], Scenario], *names: str) -> Figures:
        scenario = kind(home, self._scale)
        scenario.prepare()
        found = {name.partition(".")[2]: value for name, value in scenario.measure(0).items()}
        return {name: found[name] for name in names}


class _DistantHome:
    """Databases of another home, each behind a proxy, while the block runs."""

    def __init__(self, home: Home, milliseconds: int, prefix: str) -> None:
        self.directory = home.directory
        self.peer = home.peer
        self._home = home
        self._milliseconds = milliseconds
        self._prefix = prefix
        self._proxies: list[DelayingProxy] = []
        self._near: list[Database] = []

    def __enter__(self) -> "_DistantHome":
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            proxy.end()
        for database in self._near:
            self._home.forget(database)

    def database(self, name: str) -> Database:
        near = self._home.database(f"{self._prefix}-{name}")
        self._near.append(near)
        self._proxies.append(DelayingProxy(near, milliseconds=self._milliseconds))
        return self._proxies[-1].database()

    def forget(self, database: Database) -> None:
        """It goes at the end of the block, with its proxy."""


async def _selects(address: str) -> list[float]:
    """Return the milliseconds of each of these bare statements, without parameters: one round trip."""
    connection = await asyncpg.connect(address)
    found = []
    for _ in range(SELECTS):
        began_at = time.perf_counter()
        await connection.execute("SELECT 1")
        found.append((time.perf_counter() - began_at) * 1_000)
    await connection.close()
    return found
