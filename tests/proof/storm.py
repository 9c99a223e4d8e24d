"""``python -m tests.proof.storm``: many clients send the same idempotency keys at once, while servers are killed.

Two servers on PostgreSQL, one on SQLite. Several clients send each key at the same time and repeat it until they are
answered. At the end each key names one task, and it is the task that every acknowledgement named.
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.api.house import NO_TLS
from tests.chaos.parties import Installation, installed
from tests.chaos.witness import Witness
from tests.proof.run import SLOW, worst

CLIENTS = 24
COPIES = 4
"""How many clients send each key."""
TOGETHER = 8
"""Keys that are under way at the same time."""
ANSWERS_PER_KILL = 400
"""Answers for each kill: a server is killed when clients have that many more, however quick the machine is."""
ANSWERED_SECONDS = 60.0
PAUSE_SECONDS = 0.2
CONTROL = 10
"""Requests of the control, which have no key."""
TASKS = "SELECT count(*) FROM task"
KEYS = "SELECT key, task_id FROM idempotency"


@dataclass
class Ledger:
    """What clients were told."""

    ids: dict[str, set[str]] = field(default_factory=dict)
    """By key, the ids that acknowledgements named."""
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    answers: int = 0
    over: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, key: str, status: int, task_id: str | None) -> None:
        """Note an answer; status 0: none came."""
        with self.changed:
            self.statuses[status] += 1
            self.answers += 1
            if task_id is not None:
                self.ids.setdefault(key, set()).add(task_id)
            self.changed.notify_all()

    def end(self) -> None:
        """Let what waits for further answers go on."""
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def reaches(self, answers: int) -> bool:
        """Wait for this many answers; return whether they came before the end."""
        with self.changed:
            self.changed.wait_for(lambda: self.over or self.answers >= answers)
            return not self.over


class Killer(threading.Thread):
    """Kills a server at each of these numbers of answers to clients, and starts it again."""

    def __init__(self, installation: Installation, ledger: Ledger, moments: list[int], chance: random.Random) -> None:
        super().__init__(name="killer", daemon=True)
        self._installation = installation
        self._ledger = ledger
        self._moments = moments
        self._chance = chance
        self.kills = 0

    def run(self) -> None:
        """Kill until clients have all their answers; at most one server is away at a time."""
        for moment in self._moments:
            if not self._ledger.reaches(moment):
                return
            server = self._chance.choice(self._installation.servers)
            server.kill()
            self.kills += 1
            server.start()
            self._installation.await_ready()


def send(addresses: list[str], headers: dict[str, str], key: str, ledger: Ledger, chance: random.Random) -> None:
    """Send one key to any server until it is answered."""
    body = {"taskType": "LOOP", "payload": {"seconds": 0}, "idempotencyKey": key}
    give_up_at = time.monotonic() + ANSWERED_SECONDS
    with httpx2.Client(headers=headers, timeout=10, verify=NO_TLS) as client:
        while time.monotonic() < give_up_at:
            try:
                answer = client.post(f"{chance.choice(addresses)}/v1/async/task", json=body)
            except httpx2.TransportError:
                ledger.note(key, 0, None)
                time.sleep(PAUSE_SECONDS)
                continue
            ledger.note(key, answer.status_code, answer.json()["task"]["id"] if answer.status_code == 200 else None)
            if answer.status_code in (200, 409):
                return
            if answer.status_code != 503:
                ledger.problems.append(f"{key}: {answer.status_code}: {answer.text[:200]}")
                return
            time.sleep(PAUSE_SECONDS)
    ledger.problems.append(f"{key}: no answer within {ANSWERED_SECONDS:.0f} s")


def run(kind: str, keys: int, seed: int) -> int:
    """Run on one database; print the result and return an exit code."""
    began = time.monotonic()
    with installed("storm", kind) as installation:
        headers = _prepared(installation)
        ledger, chance = Ledger(), random.Random(seed)
        kills = range(keys * COPIES // ANSWERS_PER_KILL)
        moments = [ANSWERS_PER_KILL * number + chance.randrange(ANSWERS_PER_KILL // 2) for number in kills]
        killer = Killer(installation, ledger, moments, random.Random(seed + 1))
        killer.start()
        names = [f"key-{number}" for number in range(keys)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            for first in range(0, keys, TOGETHER):
                copies = names[first : first + TOGETHER] * COPIES
                chance.shuffle(copies)
                seeds = [random.Random(chance.random()) for _ in copies]
                list(pool.map(lambda one: send(installation.addresses, headers, one[0], ledger, one[1]),
                              zip(copies, seeds, strict=True)))  # fmt: skip
        ledger.end()
        killer.join(60)
        witness = Witness(installation.database)
        named = dict(witness.ask(KEYS))
        tasks = int(witness.ask(TASKS)[0][0])
        problems = ledger.problems + _compare(names, named, ledger)
        if tasks != keys:
            problems.append(f"{tasks} tasks of {keys} keys")
        copied = _without_keys(installation, headers)
    told = ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(ledger.statuses.items()))
    print(
        f"idempotency on {kind}: {keys} keys, {COPIES} clients each, {killer.kills} servers killed, {tasks} tasks, "
        f"{len(problems)} problems, {time.monotonic() - began:.0f} s\n  answers {told}\n"
        f"  control, without keys: {copied} tasks of {CONTROL} requests sent twice"
    )
    print(*(f"    BROKEN {one}" for one in problems[:10]), sep="\n", end="" if not problems else "\n", flush=True)
    if problems or copied != 2 * CONTROL:
        return 1
    return 0 if killer.kills else SLOW


def _prepared(installation: Installation) -> dict[str, str]:
    """Start the servers; return the headers of an organization's requests."""
    installation.prepare()
    with installation.operator() as client:
        client.post("/admin/v1/organizations", json={"name": "storm"}).raise_for_status()
        made: dict[str, Any] = client.post("/admin/v1/organizations/storm/keys", json={}).json()
    return {"authorization": f"Bearer {made['value']}"}


def _compare(names: list[str], named: dict[str, str], ledger: Ledger) -> list[str]:
    problems = [f"{key} names no task" for key in names if key not in named]
    for key, told in ledger.ids.items():
        if told != {named.get(key)}:
            problems.append(f"{key} was acknowledged as {told} and names {named.get(key)}")
    return problems


def _without_keys(installation: Installation, headers: dict[str, str]) -> int:
    """Send requests without keys twice, as a client that repeats; return how many tasks they made."""
    installation.await_ready()
    body = {"taskType": "LOOP", "payload": {"seconds": 0}}
    with httpx2.Client(base_url=installation.addresses[0], headers=headers, timeout=30, verify=NO_TLS) as client:
        answers = [client.post("/v1/async/task", json=body) for _ in range(2 * CONTROL)]
    return len({one.json()["task"]["id"] for one in answers if one.status_code == 200})


def main() -> int:
    """Run on both databases; return 0 if every promise held, SLOW if no server was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keys", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="repeats the choices, not their timing")
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    chosen = parser.parse_args()
    kinds = [chosen.database] if chosen.database else ["sqlite", "postgres"]
    codes = {run(kind, chosen.keys, chosen.seed) for kind in kinds}
    return worst(codes)


if __name__ == "__main__":
    sys.exit(main())
