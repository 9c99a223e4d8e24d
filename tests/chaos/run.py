"""``make chaos``: kill and stop everything while customers submit, then hold what is there against what was promised.

Prints a table; exit code 0 only if every promise held. Long runs: ``make chaos SECONDS=3600``.
"""

import argparse
import json
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from fairlane.demo import postgres
from tests.chaos.customers import Customer, Ledger
from tests.chaos.parties import Installation
from tests.chaos.witness import TOTALS, Witness

ORGANIZATIONS = 20
CUSTOMERS = 6
DRAIN_SECONDS = 120.0
SAMPLES_LEAST = 2_000
CHILD_FREE_SECONDS = 1.0
HOST_FREE_SECONDS = 3.0 + 1.0 + 1.0
"""Lease, sweep, and a second: the published bound with this run's times."""
KINDS = ("worker_child", "worker_host", "server", "stop_child", "stop_server", "database")
STOPPED_SECONDS = 4.5
"""Longer than a lease."""


class Chaos:
    """Kills by kind, one at a time, at random moments. Each kind says whether it found somebody to kill."""

    def __init__(self, installation: Installation, witness: Witness, *, seed: int) -> None:
        self._installation = installation
        self._witness = witness
        self._chance = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.child_seconds: list[float] = []
        self.host_seconds: list[float] = []
        self.outage_seconds: list[float] = []

    def go(self, seconds: float) -> None:
        """Until the time is over."""
        acts = [getattr(self, kind) for kind in KINDS]
        deck: list[Any] = []
        give_up_at = time.monotonic() + seconds
        while time.monotonic() < give_up_at:
            if not deck:
                deck = acts[:]
                self._chance.shuffle(deck)
            act = deck.pop()
            print(f"  {seconds - (give_up_at - time.monotonic()):6.1f} s  {act.__name__}", end="", flush=True)
            done = act()
            self.kills[act.__name__] += done
            print("" if done else ": nobody there", flush=True)
            time.sleep(self._chance.uniform(0.3, 1.2))

    def worker_child(self) -> bool:
        """kill -9 of a process that runs handlers; its supervisor lives."""
        pid = self._child()
        if pid is None:
            return False
        held = self._holding([pid])
        began = time.monotonic()
        killed = _kill(pid)
        self._free(self.child_seconds, held, began, most=10)
        return killed

    def worker_host(self) -> bool:
        """kill -9 of a supervisor and its children at once: a machine that is gone. Another one comes."""
        party = self._chance.choice(self._installation.workers)
        children = party.children()
        held = self._holding(children)
        began = time.monotonic()
        party.kill()
        killed = [_kill(pid) for pid in children]
        self._free(self.host_seconds, held, began, most=20)
        party.start()
        return any(killed)

    def server(self) -> bool:
        """kill -9 of a server; started again a second later."""
        party = self._chance.choice(self._installation.servers)
        party.kill()
        time.sleep(1.0)
        party.start()
        return True

    def stop_child(self) -> bool:
        """A process that runs handlers stands still for longer than a lease, then goes on."""
        pid = self._child()
        return pid is not None and self._stop(pid)

    def stop_server(self) -> bool:
        """A server stands still for longer than a lease, then goes on, whatever it held."""
        return self._stop(self._chance.choice(self._installation.servers).pid)

    def database(self) -> bool:
        """kill -9 of the postmaster and all its processes; started again half a second later."""
        self._installation.cluster.kill()
        time.sleep(0.5)
        self._installation.cluster.restart()
        began = time.monotonic()
        self._installation.await_ready()
        self.outage_seconds.append(time.monotonic() - began)
        return True

    def _stop(self, pid: int) -> bool:
        # It may have ended a moment ago, or be killed by its supervisor while it stands still.
        stopped = _signal(pid, signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        _signal(pid, signal.SIGCONT)
        return stopped

    def _child(self) -> int | None:
        children = self._chance.choice(self._installation.workers).children()
        return self._chance.choice(children) if children else None

    def _holding(self, pids: list[int]) -> list[int]:
        """Those that hold slots: only of them it can be told when their slots are free."""
        return [pid for pid in pids if self._witness.held_by(pid)]

    def _free(self, seconds: list[float], pids: list[int], began: float, *, most: float) -> None:
        took = [self._witness.seconds_until_free(pid, began, most=most) for pid in pids]
        seconds += [each for each in took if each is not None]


def _kill(pid: int) -> bool:
    return _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    """Whether there was such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def prepare(installation: Installation, seed: int) -> dict[str, str]:
    """Organizations with small limits, a key for each, and keys for the workers. By organization."""
    admin = "ak_live_" + secrets.token_hex(16)
    installation.fairlane("migrate")
    installation.fairlane("keys", "create", "--admin", "chaos", "--value", admin)
    for server in installation.servers:
        server.start()
    installation.await_ready()
    chance, keys = random.Random(seed), {}
    headers = {"authorization": f"Bearer {admin}"}
    with httpx2.Client(base_url=installation.addresses[0], headers=headers, timeout=30) as client:
        for number in range(ORGANIZATIONS):
            name = f"organization-{number}"
            _made(client, "organizations", name=name, slots=chance.randint(1, 4), weight=chance.choice((1, 2, 5)))
            keys[name] = _made(client, f"organizations/{name}/keys")["value"]
        installation.add_workers(_made(client, "keys", kind="worker", name="chaos")["value"])
    return keys


def _made(client: httpx2.Client, path: str, **body: Any) -> Any:
    answer = client.post(f"/admin/v1/{path}", json=body)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.text}")
    return answer.json()


def drain(witness: Witness) -> tuple[float, tuple[int, int, int]]:
    """Wait until nothing is queued or runs; the seconds it took, and what is left."""
    began = time.monotonic()
    while any(left := witness.left()) and time.monotonic() < began + DRAIN_SECONDS:
        time.sleep(0.2)
    return time.monotonic() - began, left


def lost(witness: Witness, ledger: Ledger) -> list[str]:
    """Acknowledged tasks that have no outcome."""
    ended = {row[0] for row in witness.ask("SELECT task_id FROM outcome")}
    return [task_id for task_id in ledger.tasks if task_id not in ended]


def unkept_keys(witness: Witness, ledger: Ledger) -> list[tuple[str, str]]:
    """Keys that were answered with 200 or 409 and name no task, or not the one that was acknowledged."""
    found = witness.ask(
        "SELECT o.name, i.key, i.task_id FROM idempotency AS i JOIN organization AS o ON o.id = i.organization_id"
    )
    named = {(organization, key): task_id for organization, key, task_id in found}
    return [key for key, task_id in ledger.keys.items() if key not in named or (task_id and named[key] != task_id)]


def overlapping(track: Path) -> int:
    """Attempts of one task whose handlers ran at the same time: promised to nobody, because a stopped process wakes."""
    running: Counter[str] = Counter()
    overlaps = 0
    for line in sorted(track.read_text().splitlines()):
        _, what, _, task_id, _ = line.split()
        running[task_id] += 1 if what == "start" else -1
        overlaps += running[task_id] > 1
    return overlaps


def percentile(values: list[float], part: float) -> str:
    """That of the values, in seconds."""
    if not values:
        return "–"
    return f"{sorted(values)[min(len(values) - 1, int(part * len(values)))]:.2f} s"


def run(seconds: float, seed: int, rate: float, slack: float) -> int:
    """The whole of it; 0 if every promise held."""
    folder = Path(tempfile.mkdtemp(prefix="fairlane-chaos-", dir="/tmp"))
    folder.chmod(0o755)
    cluster = postgres.join(f"chaos-{os.getpid()}")
    installation = Installation(folder, cluster)
    try:
        held = _run(installation, seconds, seed, rate, slack)
    except BaseException:
        print(f"logs are in {folder}")
        raise
    finally:
        for party in (*installation.workers, *installation.servers):
            if party.running:
                for pid in party.children():
                    _kill(pid)
                party.kill()
        cluster.leave()
    if held:
        shutil.rmtree(folder)
        return 0
    print(f"logs are in {folder}")
    return 1


def _run(installation: Installation, seconds: float, seed: int, rate: float, slack: float) -> bool:
    print(
        f"chaos: seed {seed}, {seconds:.0f} s of kills, {ORGANIZATIONS} organizations, {CUSTOMERS} customers",
        flush=True,
    )
    keys = prepare(installation, seed)
    installation.start()
    witness, ledger = Witness(installation.cluster.address), Ledger()
    witness.start()
    while witness.ask("SELECT count(*) FROM session WHERE dead = 0 AND places > 0")[0][0] < len(installation.workers):
        time.sleep(0.1)
    customers = [
        Customer(number, installation.addresses, keys, ledger, seed=seed, rate=rate / CUSTOMERS)
        for number in range(CUSTOMERS)
    ]
    failed: list[str] = []
    threading.excepthook = lambda arguments: failed.append(f"{arguments.thread}: {arguments.exc_value!r}")
    for customer in customers:
        customer.start()
    chaos = Chaos(installation, witness, seed=seed)
    began = time.monotonic()
    chaos.go(seconds)
    kept_up = time.monotonic() - began
    for customer in customers:
        customer.over.set()
    for customer in customers:
        customer.join(60)
    installation.start()
    installation.await_ready()
    drained, left = drain(witness)
    witness.stop()
    ended_badly = installation.end()
    drift = json.loads(installation.fairlane("drift", "--json"))["drift"]
    tasks, outcomes, distinct, submitted, ended, not_completed, attempts = witness.ask(TOTALS)[0]

    kinds = ", ".join(f"{name} {count}" for name, count in sorted(chaos.kills.items()))
    answers = ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(ledger.statuses.items()))
    facts = [
        ("kills", f"{chaos.kills.total()} in {kept_up:.0f} s ({kinds})"),
        ("answers to submits", answers),
        ("tasks acknowledged / accepted", f"{len(ledger.tasks)} / {tasks}"),
        ("keys sent until answered", f"{len(ledger.keys)}"),
        ("submits given up without an answer", f"{ledger.unanswered}"),
        ("most attempts of a task", f"{attempts}"),
        (
            "handlers of one task that overlapped",
            f"{overlapping(installation.track)} (no promise: a stopped one wakes)",
        ),
        ("looks the database did not answer", f"{witness.blind}"),
        (
            "slots free after a killed child, p50 / max",
            f"{percentile(chaos.child_seconds, 0.5)} / {percentile(chaos.child_seconds, 1)}",
        ),
        (
            "slots free after a lost host, p50 / max",
            f"{percentile(chaos.host_seconds, 0.5)} / {percentile(chaos.host_seconds, 1)}",
        ),
        ("ready after the database is back, max", percentile(chaos.outage_seconds, 1)),
        ("drain", f"{drained:.1f} s"),
    ]
    promises = [
        ("acknowledged tasks lost", len(lost(witness, ledger)), 0),
        ("keys that name no task or another one", len(unkept_keys(witness, ledger)) + len(ledger.duplicates), 0),
        ("tasks ended twice", (outcomes - distinct) + abs(ended - outcomes) + abs(submitted - tasks), 0),
        ("tasks not terminal after the drain", sum(left) + tasks - outcomes, 0),
        ("samples over an organization's limit", len(witness.over_limit), 0),
        ("samples over the type's limit", witness.type_over_limit, 0),
        ("samples where the count differs from the rows", len(witness.miscounted), 0),
        ("counts that drifted", len(drift), 0),
        ("tasks that failed", not_completed, 0),
        ("parties that did not end in order", len(ended_badly), 0),
        ("customers that met something unexpected", len(failed), 0),
    ]
    at_least = [
        ("samples", witness.samples, round(SAMPLES_LEAST / slack) if seconds >= 60 else 1),
        ("most slots of an organization seen in use", witness.most_used, 2),
        ("kills of the rarest kind", min(chaos.kills[kind] for kind in KINDS), 1 if seconds >= 60 else 0),
    ]
    within = [
        ("slots free after a killed child, median", chaos.child_seconds, 0.5, CHILD_FREE_SECONDS * slack),
        ("slots free after a lost host, maximum", chaos.host_seconds, 1.0, HOST_FREE_SECONDS * slack),
    ]
    print()
    for name, value in facts:
        print(f"        {name:<48} {value}")
    held = True
    for name, number, wanted in promises:
        held &= number == wanted
        print(f"{'ok' if number == wanted else 'BROKEN':<8}{name:<48} {number}")
    for name, number, least in at_least:
        held &= number >= least
        print(f"{'ok' if number >= least else 'BROKEN':<8}{name:<48} {number} (at least {least})")
    for name, values, part, most in within:
        good = not values or sorted(values)[min(len(values) - 1, int(part * len(values)))] <= most
        held &= good
        word = ("ok" if good else "BROKEN") if values else "no kill"
        print(f"{word:<8}{name:<48} {percentile(values, part)} of {len(values)} (at most {most:.0f} s)")
    for line in (
        *failed,
        *ended_badly,
        *map(str, witness.over_limit[:5]),
        *map(str, witness.miscounted[:5]),
        *map(str, drift[:5]),
    ):
        print(f"        {line}")
    print("1 passed" if held else "1 failed")
    return held


def main() -> None:
    """Read the arguments and go."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on killing")
    parser.add_argument("--seed", type=int, default=None, help="replays the choices of another run, not its timing")
    parser.add_argument("--rate", type=float, default=12.0, help="submits a second, each of 1 to 20 tasks")
    parser.add_argument(
        "--slack", type=float, default=1.0, help="multiplies bounds of time, on a machine that is shared"
    )
    given = parser.parse_args()
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    sys.exit(run(given.seconds, seed, given.rate, given.slack))


if __name__ == "__main__":
    main()
