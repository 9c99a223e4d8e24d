"""What one organization reaches alone: its counts change under the lock of one row. For docs/operators/scaling.md."""

from benchmarks.drain import drain
from benchmarks.filling import Party, fill
from benchmarks.homes import Home
from benchmarks.scenario import Figures, Scale
from benchmarks.submits import submit_load

SLOTS = 100
PARTY = Party("acme", slots=SLOTS)


class Single:
    """One database for the submits of all rounds, which grows, and one for each drain."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._home = home
        self._database = home.database("single")
        self._scale = scale

    def prepare(self) -> None:
        """Make the organization."""
        fill(self._database, [PARTY])

    def measure(self, turn: int) -> Figures:
        """Submit with 32 connections, then drain a queue."""
        load = submit_load(self._database, [PARTY], seconds=self._scale.load_seconds)
        full = Party(PARTY.name, slots=SLOTS, queued=self._scale.drain_tasks, paused=True)
        return {
            "single.submitted_per_second": load.per_second,
            "single.drained_per_second": drain(self._home, f"single-{turn}", [full]),
        }
