"""How full the slots are: tasks of 50 ms, one worker with as many places as all organizations have slots.

By default 20 organizations with 5 slots each; also one with 10, and 100 with 5.

Busy slot time divided by slots times wall time, as the handlers themselves recorded it, between the moment one second
after the first start and the moment when nine tenths had started (then queues begin to run out).
"""

import time
from pathlib import Path

from benchmarks.app import RECORD, RECORDS_VARIABLE, SLEEP_SECONDS
from benchmarks.filling import Party, fill
from benchmarks.homes import Home
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Fairlane

RAMP_UP_NS = 1_000_000_000
TAIL_SHARE = 0.9
PATIENCE_SECONDS = 60.0


class Utilisation:
    """A database of its own in each round."""

    name = "utilisation"
    organizations, slots = 20, 5

    def __init__(self, home: Home, scale: Scale) -> None:
        self._home = home
        self._places = self.organizations * self.slots
        each = int(scale.sleep_seconds / SLEEP_SECONDS) * self.slots
        self._parties = [
            Party(f"organization-{number}", slots=self.slots, queued=each, task_type="SLEEP")
            for number in range(self.organizations)
        ]

    def prepare(self) -> None:
        """Nothing is shared by the rounds."""

    def measure(self, turn: int) -> Figures:
        """Drain sleeping tasks and read what the handlers recorded."""
        database, records = self._home.database(f"{self.name}-{turn}"), self._home.directory / f"records-{turn}"
        fill(database, self._parties)
        with Fairlane(database, workers=1, places=self._places, environment={RECORDS_VARIABLE: str(records)}):
            self._await(records)
        spans = list(RECORD.iter_unpack(records.read_bytes()))
        records.unlink()
        self._home.forget(database)
        return {f"{self.name}.{figure}": value for figure, value in _figures(spans, self._places).items()}

    def _await(self, records: Path) -> None:
        wanted = sum(party.queued for party in self._parties) * RECORD.size
        give_up_at = time.perf_counter() + PATIENCE_SECONDS
        while not (records.exists() and records.stat().st_size >= wanted):
            if time.perf_counter() > give_up_at:
                raise RuntimeError("utilisation: the queue was not drained in time")
            time.sleep(0.1)


class OneOrganization(Utilisation):
    """One organization with ten slots."""

    name = "utilisation-1x10"
    organizations, slots = 1, 10


class HundredOrganizations(Utilisation):
    """More starts in a second than most installations see: 10,000, if all slots were always in use."""

    name = "utilisation-100x5"
    organizations, slots = 100, 5


def _figures(spans: list[tuple[int, int]], places: int) -> Figures:
    starts = sorted(start for start, _ in spans)
    begin, end = starts[0] + RAMP_UP_NS, starts[int(len(starts) * TAIL_SHARE)]
    busy = sum(max(0, min(ended, end) - max(started, begin)) for started, ended in spans)
    nominal = sum(begin <= started < end for started, _ in spans) * SLEEP_SECONDS * 1e9
    whole = places * (end - begin)
    return {
        "busy": busy / whole,
        "nominal": nominal / whole,
        "slots_most": float(_most_at_once(spans)),
    }


def _most_at_once(spans: list[tuple[int, int]]) -> int:
    """The most handlers that ever ran at the same time."""
    running = most = 0
    for _, change in sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans]):
        running += change
        most = max(most, running)
    return most
