"""What depth and number cost: five million tasks in one queue, and ten thousand organizations that no worker serves.

Both take minutes to prepare, so they are measured only when they are named.
"""

import asyncio
from dataclasses import replace

from benchmarks.claims import PLACES, SLOTS, claimed
from benchmarks.filling import Party, fill
from benchmarks.homes import Home
from benchmarks.load import percentile
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Fairlane
from benchmarks.status import Status, rotated

SERVED = 20
"""Organizations with tasks of the type that the claims ask for."""


class Deepest:
    """Status and claims beside a queue that is as deep as it gets, and beside a short one."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._scale = replace(scale, depths=scale.deepest)
        self._status = Status(home, self._scale)

    def prepare(self) -> None:
        """Fill one organization's queue to each depth."""
        self._status.prepare()

    def measure(self, turn: int) -> Figures:
        """The rows of ``status``, and claims from both queues."""
        figures = {f"deepest.{name}": value for name, value in self._status.measure(turn).items()}
        for depth in rotated([str(depth) for depth in self._scale.depths], turn):
            took = asyncio.run(claimed(self._status.databases[int(depth)], self._scale.fair_claims))
            figures[f"deepest.claims.{depth}.p50_ms"] = percentile(took, 0.50)
        few, many = self._scale.depths
        figures["deepest.claims.many_to_few"] = (
            figures[f"deepest.claims.{many}.p50_ms"] / figures[f"deepest.claims.{few}.p50_ms"]
        )
        return figures


class FewOfMany:
    """Claims of one type, among the organizations that have it alone, and among many that have only another one."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._scale = scale
        others = (0, scale.organizations[-1])
        self._databases = {count: home.database(f"few-of-{count}") for count in others}

    def prepare(self) -> None:
        """The same organizations with tasks of the type; the others wait for a worker that never comes."""
        served = [
            Party(f"organization-{number}", slots=SLOTS, queued=self._scale.claim_tasks // SERVED)
            for number in range(SERVED)
        ]
        for count, database in self._databases.items():
            others = [Party(f"other-{number}", slots=SLOTS, queued=1, task_type="SLEEP") for number in range(count)]
            fill(database, [*served, *others])

    def measure(self, turn: int) -> Figures:
        """Claim from each; and what a server needs of memory with them."""
        figures: dict[str, float] = {}
        for name in rotated([str(count) for count in self._databases], turn):
            database = self._databases[int(name)]
            took = asyncio.run(claimed(database, self._scale.claims))
            figures[f"few_of_many.{name}.p50_ms"] = percentile(took, 0.50)
            figures[f"few_of_many.{name}.p99_ms"] = percentile(took, 0.99)
            with Fairlane(database, workers=0, places=PLACES) as server:
                server.startup_seconds()
                server.ask_admin("GET", "organizations")
                figures[f"few_of_many.{name}.bytes"] = server.resident_bytes()
        few, many = self._databases
        figures["few_of_many.many_to_few"] = (
            figures[f"few_of_many.{many}.p50_ms"] / figures[f"few_of_many.{few}.p50_ms"]
        )
        return figures
