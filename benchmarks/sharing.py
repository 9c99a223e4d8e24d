"""One, two and three servers on one PostgreSQL, at the same offered load: what does one more server cost?

Two cores cannot show what more servers bring, because all of them, the database and the load share these cores. They
show the other side: latency where nothing is scarce, and whether more equal servers stand in each other's way.
"""

import time
from contextlib import ExitStack

from benchmarks.dispatch import PARTY, started_after
from benchmarks.filling import Party, fill
from benchmarks.homes import Home
from benchmarks.load import Connection, Program, percentile
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Fairlane
from benchmarks.submits import submit_requests

SERVERS = (1, 2, 3)
SUBMITS_PER_SECOND = 150.0
"""Over all servers."""
CONNECTIONS = 6
"""Over all servers."""
ORGANIZATIONS = 20
PLACES = 20
DISPATCHES = 30
PAUSE_SECONDS = 0.02


class Sharing:
    """One database for all rounds. The first server has the worker; the load is spread over all."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._database = home.database("sharing")
        self._scale = scale
        self._parties = [Party(f"organization-{number}", slots=5) for number in range(ORGANIZATIONS)]

    def prepare(self) -> None:
        """Make the organizations."""
        fill(self._database, [*self._parties, PARTY])

    def measure(self, turn: int) -> Figures:
        """Each number of servers in turn."""
        figures: dict[str, float] = {}
        first = turn % len(SERVERS)
        for count in (*SERVERS[first:], *SERVERS[:first]):
            figures |= self._shared(count)
        return figures

    def _shared(self, count: int) -> Figures:
        with ExitStack() as stack:
            servers = [
                stack.enter_context(Fairlane(self._database, workers=int(number == 0), places=PLACES))
                for number in range(count)
            ]
            for server in servers:
                server.startup_seconds()
            requests = submit_requests(self._parties)
            loads = [
                Program(
                    server.url,
                    requests,
                    connections=CONNECTIONS // count,
                    seconds=self._scale.load_seconds,
                    rate=SUBMITS_PER_SECOND / count,
                )
                for server in servers
            ]
            results = [load.result() for load in loads]
            if any(result.refused for result in results):
                raise RuntimeError("sharing: submits were refused")
            with Connection(servers[-1].address) as connection:
                started = []
                for _ in range(DISPATCHES):
                    started.append(started_after(connection)[0])
                    time.sleep(PAUSE_SECONDS)
        answered = sum(result.answered for result in results)
        return {
            f"sharing.{count}.per_second": answered / self._scale.load_seconds,
            # Of several servers' loads: the mean of their medians, and the worst of their tails.
            f"sharing.{count}.p50_us": sum(result.p50_us * result.answered for result in results) / answered,
            f"sharing.{count}.p99_us": max(result.p99_us for result in results),
            f"sharing.{count}.started_p50_ms": percentile(started, 0.50),
        }
