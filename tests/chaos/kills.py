"""What a run kills and stops, one act at a time, at random moments."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx2

from tests.chaos.bulks import Bulks
from tests.chaos.parties import Installation, Party
from tests.chaos.witness import Witness

STOPPED_SECONDS = 4.5
"""Longer than a lease."""
BUSY_SECONDS = 8.0
"""How long an act looks for a worker that holds slots."""


class Kills:
    """Kills by kind. Each act says whether it found something to kill."""

    def __init__(self, installation: Installation, witness: Witness, bulks: Bulks, *, seed: int) -> None:
        self._bulks = bulks
        self._installation = installation
        self._witness = witness
        self._chance = random.Random(seed)
        self._acts: list[Callable[[], bool]] = [
            self.worker_child,
            self.worker_host,
            self.supervisor,
            self.server,
            self.servers_in_a_bulk,
            self.stop_child,
            self.stop_server,
        ]
        if installation.cluster is not None:
            self._acts.append(self.database)
        self.kills: Counter[str] = Counter({act.__name__: 0 for act in self._acts})
        self.child_seconds: list[float] = []
        self.host_seconds: list[float] = []
        self.outage_seconds: list[float] = []

    def go(self, seconds: float) -> None:
        """Act until the time is over."""
        deck: list[Callable[[], bool]] = []
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at:
            if not deck:
                deck = self._acts[:]
                self._chance.shuffle(deck)
            act = deck.pop()
            print(f"  {seconds - (give_up_at - time.monotonic()):6.1f} s  {act.__name__}", end="", flush=True)
            done = act()
            self.kills[act.__name__] += done
            print("" if done else ": found none", flush=True)
            time.sleep(self._chance.uniform(0.3, 1.2))

    def worker_child(self) -> bool:
        """Kill a process that runs handlers; its supervisor lives."""
        _, caught, holding = self._catch([*self._installation.workers, *self._installation.servers], most=1)
        began = time.monotonic()
        killed = [_signal(pid, signal.SIGKILL) for pid in caught]
        self._time(self.child_seconds, holding, began, most=10)
        return any(killed)

    def worker_host(self) -> bool:
        """Kill a supervisor and its children at once: a machine that is gone. Another one starts afterwards."""
        party, caught, holding = self._catch(self._installation.workers)
        began = time.monotonic()
        party.kill()
        killed = [_signal(pid, signal.SIGKILL) for pid in caught]
        self._time(self.host_seconds, holding, began, most=20)
        party.start()
        return any(killed)

    def supervisor(self) -> bool:
        """Kill a supervisor alone: its children have to end by themselves."""
        party, caught, _ = self._catch(self._installation.workers)
        party.kill()
        for pid in caught:
            _signal(pid, signal.SIGCONT)
        party.start()
        return True

    def server(self) -> bool:
        """Kill a server; it is started again a second later."""
        party = self._chance.choice(self._installation.servers)
        party.kill()
        time.sleep(1.0)
        party.start()
        return True

    def servers_in_a_bulk(self) -> bool:
        """Kill every server in the middle of a bulk; they are started again a second later."""
        seen = self._bulks.begin()
        for party in self._installation.servers:
            party.kill()
        time.sleep(1.0)
        for party in self._installation.servers:
            party.start()
        self._installation.await_ready()
        return seen

    def stop_child(self) -> bool:
        """Stop a process that runs handlers for longer than a lease, then let it go on."""
        _, caught, _ = self._catch([*self._installation.workers, *self._installation.servers], most=1)
        return any(self._stop(pid) for pid in caught)

    def stop_server(self) -> bool:
        """Stop a server for longer than a lease, whatever it holds, then let it go on."""
        return self._stop(self._chance.choice(self._installation.servers).pid)

    def database(self) -> bool:
        """Kill the postmaster and all its processes; it is started again half a second later.

        Only servers that were ready before are timed: a server that was just starting has its own start to finish.
        """
        assert self._installation.cluster is not None
        served = self._installation.ready()
        self._installation.cluster.kill()
        time.sleep(0.5)
        self._installation.cluster.restart()
        if served:
            self.outage_seconds.append(self._installation.seconds_until_ready(served))
        self._installation.await_ready()
        return True

    def _stop(self, pid: int) -> bool:
        # It may have ended a moment ago, or its supervisor kills it meanwhile.
        stopped = _signal(pid, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        _signal(pid, signal.SIGCONT)
        return stopped

    def _catch(self, parties: list[Party], most: int = 100) -> tuple[Party, list[int], list[int]]:
        """Stop up to ``most`` worker processes of one program at a moment when they hold slots.

        Returns the program, the stopped processes, and those of them that hold slots: stopped, they cannot end what
        they run before the act. After a while processes without slots are taken; then the last list is empty.
        """
        give_up_at = time.monotonic() + BUSY_SECONDS
        while True:
            late = time.monotonic() > give_up_at
            for party in self._chance.sample(parties, len(parties)):
                children = party.children() if party.running else []
                pids = self._chance.sample(children, min(most, len(children)))
                caught = [pid for pid in pids if _signal(pid, signal.SIGSTOP)]
                holding = [pid for pid in caught if self._witness.held_by(pid)]
                if holding or (late and caught):
                    return party, caught, holding
                for pid in caught:
                    _signal(pid, signal.SIGCONT)
            if late:
                return self._chance.choice(parties), [], []
            time.sleep(0.05)

    def _time(self, seconds: list[float], pids: list[int], began: float, *, most: float) -> None:
        took = [self._witness.seconds_until_free(pid, began, most=most) for pid in pids]
        seconds += [each for each in took if each is not None]


def kill(pid: int) -> bool:
    """End a process; False if there is none."""
    return _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Operator(threading.Thread):
    """Changes the slots of some organizations, up and down, until told to end."""

    def __init__(self, addresses: list[str], key: str, names: list[str], *, seed: int) -> None:
        super().__init__(name="operator", daemon=True)
        self._chance = random.Random(seed + 1)
        self._addresses = addresses
        self._headers = {"authorization": f"Bearer {key}"}
        self._names = names
        self.changes = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Change one limit after the other. What was not answered may have been done all the same."""
        with httpx2.Client(timeout=10, headers=self._headers) as client:
            while not self.over.wait(self._chance.uniform(0.1, 0.8)):
                address, name = self._chance.choice(self._addresses), self._chance.choice(self._names)
                try:
                    answer = client.patch(
                        f"{address}/admin/v1/organizations/{name}", json={"slots": self._chance.randint(1, 4)}
                    )
                except httpx2.TransportError:
                    continue
                if answer.status_code not in (200, 503):
                    raise AssertionError(f"slots of {name}: {answer.status_code}: {answer.text}")
                self.changes += answer.status_code == 200
