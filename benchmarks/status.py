"""``GET /v1/async/status`` at three depths of one organization's queue, beside the same listener with a constant body.

Also what the depth costs elsewhere: start-up time, and memory of the server process. Server and load have a core each.
"""

import os
from contextlib import ExitStack

from benchmarks.filling import Party, fill
from benchmarks.homes import Home
from benchmarks.load import Load, Program, request_bytes
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Constant, Fairlane, ServerProcess

CONNECTIONS = 32
WARM_UP_SECONDS = 0.5
SLOTS = 10


class Status:
    """One database per depth, filled once; each round starts every server anew and measures them in turn."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._home = home
        self._scale = scale
        self.databases = {depth: home.database(f"status-{depth}") for depth in scale.depths}

    def prepare(self) -> None:
        """Fill one organization's queue to each depth."""
        for depth, database in self.databases.items():
            fill(database, [self._party(depth)])

    def measure(self, turn: int) -> Figures:
        """Start the servers, load them one after another, end them."""
        figures: dict[str, float] = {}
        with ExitStack() as stack:
            servers: dict[str, ServerProcess] = {
                "constant": stack.enter_context(Constant(log=self._home.directory / "constant.log", cpu=server_cpu()))
            }
            for depth in self._scale.depths:
                server = stack.enter_context(Fairlane(self.databases[depth], workers=0, cpu=server_cpu()))
                figures[f"startup.{depth}.seconds"] = server.startup_seconds()
                servers[str(depth)] = server
            for name in rotated(list(servers), turn):
                figures |= self._figures(name, self._load(servers[name], name))
            for depth in self._scale.depths:
                figures[f"memory.{depth}.bytes"] = servers[str(depth)].resident_bytes()
        return figures | self._ratios(figures)

    def _load(self, server: ServerProcess, name: str) -> Load:
        key = None if name == "constant" else self._party(int(name)).key
        request = request_bytes("GET", "/v1/async/status", key=key)
        for seconds in (WARM_UP_SECONDS, self._scale.load_seconds):
            program = Program(server.url, [request], connections=CONNECTIONS, seconds=seconds, cpu=load_cpu())
            load = program.result()
        if load.refused:
            raise RuntimeError(f"status at {name}: {load.refused} of {load.answered} answers were not 200")
        return load

    def _figures(self, name: str, load: Load) -> dict[str, float]:
        return {
            f"status.{name}.per_second": load.per_second,
            f"status.{name}.p50_us": load.p50_us,
            f"status.{name}.p99_us": load.p99_us,
            f"status.{name}.client_busy": load.busy,
        }

    def _ratios(self, figures: dict[str, float]) -> dict[str, float]:
        empty, deep = self._scale.depths[0], self._scale.depths[-1]
        of = {name: figures[f"status.{name}.per_second"] for name in ("constant", str(empty), str(deep))}
        return {
            "status.deep_time_to_empty": of[str(empty)] / of[str(deep)],
            "status.deep_to_constant": of[str(deep)] / of["constant"],
            "status.empty_to_constant": of[str(empty)] / of["constant"],
        }

    def _party(self, depth: int) -> Party:
        return Party("acme", slots=SLOTS, queued=depth)


def server_cpu() -> int | None:
    """The core for the server, where processes can be pinned and there are two."""
    return 0 if hasattr(os, "sched_setaffinity") and {0, 1} <= os.sched_getaffinity(0) else None


def load_cpu() -> int | None:
    """The core for the load."""
    return None if server_cpu() is None else 1


def rotated(names: list[str], turn: int) -> list[str]:
    """Another one goes first each time."""
    first = turn % len(names)
    return names[first:] + names[:first]
