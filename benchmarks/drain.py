"""No-op tasks drained per second, end to end, with limits on: 20 organizations of 5 to 10 slots.

End to end: from the queue through a claim, the worker protocol, a handler in another process, and a synced commit of
the result. Alone, then while single submits arrive; and in the same round a peer on the same kind of database, which
knows no such limits.
"""

import sys
import time
from collections.abc import Sequence

from benchmarks.filling import Party, fill
from benchmarks.homes import Home
from benchmarks.load import Program
from benchmarks.peers.measuring import ENQUEUE, Measuring
from benchmarks.peers.participants import participant
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Fairlane
from benchmarks.submits import submit_requests

ORGANIZATIONS = 20
SLOTS_LEAST, SLOTS_MOST = 5, 10
WATCH_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
ARRIVALS_PER_SECOND = 1_000.0


class Drain:
    """Each measurement has a database of its own, filled while every organization is paused."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._home = home
        self._scale = scale
        each = scale.drain_tasks // ORGANIZATIONS
        slots = [SLOTS_LEAST + number % (SLOTS_MOST - SLOTS_LEAST + 1) for number in range(ORGANIZATIONS)]
        self._parties = [
            Party(f"organization-{number}", slots=slots[number], queued=each, paused=True)
            for number in range(ORGANIZATIONS)
        ]

    def prepare(self) -> None:
        """Nothing is shared by the rounds."""

    def measure(self, turn: int) -> Figures:
        """Alone, while submits arrive, and the peer."""
        alone = drain(self._home, f"drain-alone-{turn}", self._parties)
        seconds = self._scale.load_seconds * 2
        joined = drain(self._home, f"drain-joined-{turn}", self._parties, arrivals_seconds=seconds)
        figures = {"drain.alone.per_second": alone, "drain.while_submitting.per_second": joined}
        peer = Measuring(participant(self._home.peer), self._home, self._scale.peer).measure(only=ENQUEUE)
        if "drain" not in peer.figures:
            print(f"bench: {self._home.peer}: {peer.words['drain']}", file=sys.stderr, flush=True)
            return figures
        return figures | {
            "peer.drained_per_second": peer.figures["drain"],
            "peer.enqueued_per_second": peer.figures.get("batch", peer.figures["single"]),
            "drain.alone_to_peer": alone / peer.figures["drain"],
        }


def drain(home: Home, name: str, parties: Sequence[Party], *, arrivals_seconds: float = 0.0) -> float:
    """Return the tasks per second with which one worker empties these organizations' queues.

    Submits arrive meanwhile for as many seconds as are given; they end by themselves.
    """
    database = home.database(name)
    fill(database, parties)
    places = sum(party.slots for party in parties)
    with Fairlane(database, workers=1, places=places) as server:
        server.startup_seconds()
        load = _arrivals(server, parties, arrivals_seconds) if arrivals_seconds else None
        began_at = time.perf_counter()
        for party in parties:
            server.ask_admin("PATCH", f"organizations/{party.name}", {"paused": False})
        done = _await(server, parties, began_at + PATIENCE_SECONDS)
        elapsed = time.perf_counter() - began_at
        if load is not None and load.result().refused:
            raise RuntimeError("drain: submits were refused")
        if drift := server.ask_admin("GET", "drift")["drift"]:
            raise RuntimeError(f"drain: the counts are not exact: {drift}")
    home.forget(database)
    return done / elapsed


def _arrivals(server: Fairlane, parties: Sequence[Party], seconds: float) -> Program:
    program = Program(server.url, submit_requests(parties), seconds=seconds, rate=ARRIVALS_PER_SECOND)
    time.sleep(0.5)
    return program


def _await(server: Fairlane, parties: Sequence[Party], give_up_at: float) -> int:
    """Return the tasks completed when as many are as were queued; look for broken limits on the way."""
    wanted = sum(party.queued for party in parties)
    while time.perf_counter() < give_up_at:
        organizations = server.ask_admin("GET", "organizations")["organizations"]
        broken = [one["name"] for one in organizations if one["processing"] > one["slots_max"]]
        if broken:
            raise RuntimeError(f"drain: more tasks than slots at {broken}")
        done = sum(one["completed"] for one in organizations)
        if done >= wanted:
            return int(done)
        time.sleep(WATCH_SECONDS)
    raise RuntimeError("drain: the queue was not drained in time")
