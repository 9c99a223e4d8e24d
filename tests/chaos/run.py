"""``make chaos``: kill and stop everything under load, then compare what is there with what was promised.

Prints a table; exit code 0 only if every promise held, in time. Runs on PostgreSQL, or with ``--database sqlite`` on
SQLite.
A long run: ``make chaos SECONDS=3600``.
"""

import argparse
import json
import os
import random
import secrets
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.chaos import bulks, track
from tests.chaos.bulks import Bulks
from tests.chaos.customers import Customer, Ledger
from tests.chaos.kills import Kills, Operator, kill
from tests.chaos.parties import Installation
from tests.chaos.receiver import Receiver
from tests.chaos.witness import DELIVERIES, KEYS, LIVE, OUTCOMES, TOTALS, UNSENT, Witness, run_down
from tests.cluster import join

ORGANIZATIONS = 20
CHANGING = 5
"""Organizations whose slots change during the run."""
CUSTOMERS = 6
DRAIN_SECONDS = 120.0
"""For how long the drain may get no shorter. A long run leaves tens of thousands of tasks."""
SENT_SECONDS = 120.0
"""The same for the last messages: the claim of a server that was killed while it sent runs out after 40 s."""
SAMPLES_LEAST = 1_000
CHILD_FREE_SECONDS = 1.0
HOST_FREE_SECONDS = 3.0 + 1.0 + 1.0
"""Lease, sweep, and a second: the published bound with this run's times."""
BACK_SECONDS = 3.0
"""How soon after the return of the database a running server would take a submit."""
TRIES_MOST = 5
SLOW = 2
"""Exit code: every promise held, but the machine was too slow for a bound of time, or for enough to be seen."""


def prepare(installation: Installation, seed: int) -> tuple[dict[str, str], str]:
    """Start the servers, create organizations with small limits and the workers; return a key for each organization,
    and one for that of the bulks.
    """
    installation.prepare()
    chance, keys = random.Random(seed), {}
    with installation.operator() as client:
        for number in range(ORGANIZATIONS):
            name = f"organization-{number}"
            _made(client, "organizations", name=name, slots=chance.randint(1, 4), weight=chance.choice((1, 2, 5)))
            keys[name] = _made(client, f"organizations/{name}/keys")["value"]
        _made(client, "organizations", name=bulks.ORGANIZATION, slots=8, weight=1)
        bulks_key = _made(client, f"organizations/{bulks.ORGANIZATION}/keys")["value"]
        installation.add_workers(_made(client, "keys", kind="worker", name="chaos")["value"])
    return keys, bulks_key


def _made(client: httpx2.Client, path: str, **body: Any) -> Any:
    answer = client.post(f"/admin/v1/{path}", json=body)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.text}")
    return answer.json()


def drain(witness: Witness) -> tuple[float, tuple[int, int, int]]:
    """Wait until nothing is queued or runs; return the seconds it took, and what is left."""
    began = time.monotonic()
    run_down(lambda: sum(witness.left()), DRAIN_SECONDS)
    return time.monotonic() - began, witness.left()


def send_all(witness: Witness) -> float:
    """Wait until no message is owed; return the seconds it took."""
    began = time.monotonic()
    run_down(lambda: witness.ask(UNSENT)[0][0], SENT_SECONDS)
    return time.monotonic() - began


class Ends:
    """How the tasks ended, held against what customers and handlers know."""

    def __init__(self, witness: Witness, ledger: Ledger, seen: track.Track) -> None:
        self._by_task = {
            task_id: (status, result, failure) for task_id, status, result, failure in witness.ask(OUTCOMES)
        }
        self._ledger = ledger
        self._seen = seen

    def lost(self) -> list[str]:
        """Acknowledged tasks without an outcome."""
        return [task_id for task_id in self._ledger.tasks if task_id not in self._by_task]

    def failed(self) -> list[str]:
        """Tasks that failed although no cancel request was sent for them."""
        return [
            task_id
            for task_id, (status, _, failure) in self._by_task.items()
            if status != "COMPLETED"
            and "DOOMED" not in failure
            and not ("TASK_CANCELED" in failure and task_id in self._ledger.cancels_asked)
        ]

    def cancels_broken(self) -> list[str]:
        """Tasks whose cancel was acknowledged and that ended in another way."""
        return [
            task_id
            for task_id in self._ledger.canceled
            if task_id not in self._by_task or "TASK_CANCELED" not in (self._by_task[task_id][2] or "")
        ]

    def made_up(self) -> list[str]:
        """Results of tasks and calls that no handler came to the end of."""
        leases = [json.loads(result)["lease"] for _, result, _ in self._by_task.values() if result]
        return [lease for lease in (*leases, *self._ledger.called) if not self._seen.ended(lease)]


def unkept_keys(witness: Witness, ledger: Ledger) -> list[tuple[str, str]]:
    """Return the keys that were answered with 200 or 409 and name no task, or another one than was acknowledged."""
    named = {(organization, key): task_id for organization, key, task_id in witness.ask(KEYS)}
    return [key for key, task_id in ledger.keys.items() if key not in named or (task_id and named[key] != task_id)]


def untold(witness: Witness, receiver: Receiver) -> list[str]:
    """Return the tasks whose message the receiver never took, or whose delivery is not recorded."""
    return [
        task_id
        for task_id, delivered_at in witness.ask(DELIVERIES)
        if delivered_at is None or task_id not in receiver.received
    ]


def percentile(values: list[float], part: float) -> str:
    """Return a percentile of the values, in seconds."""
    if not values:
        return "–"
    return f"{sorted(values)[min(len(values) - 1, int(part * len(values)))]:.2f} s"


def run(seconds: float, seed: int, rate: float, slack: float, database: str) -> int:
    """Run and report; return 0 if every promise held, SLOW if it took too long or too little was seen, else 1."""
    folder = Path(tempfile.mkdtemp(prefix="fairlane-chaos-", dir="/tmp"))
    folder.chmod(0o755)
    cluster = join(f"chaos-{os.getpid()}") if database == "postgres" else None
    installation, receiver = Installation(folder, cluster), Receiver(seed)
    try:
        code = _run(installation, receiver, seconds, seed, rate, slack)
    except BaseException:
        print(f"logs are in {folder}")
        raise
    finally:
        receiver.close()
        for party in (*installation.workers, *installation.servers):
            if party.running:
                for pid in party.children():
                    kill(pid)
                party.kill()
        if cluster is not None:
            cluster.leave()
    if code:
        print(f"logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return code


def _run(installation: Installation, receiver: Receiver, seconds: float, seed: int, rate: float, slack: float) -> int:
    kind = "SQLite" if installation.cluster is None else "PostgreSQL"
    print(
        f"chaos on {kind}: seed {seed}, {seconds:.0f} s of kills, {ORGANIZATIONS} organizations, {CUSTOMERS} customers",
        flush=True,
    )
    keys, bulks_key = prepare(installation, seed)
    installation.start()
    witness, ledger = Witness(installation.database), Ledger()
    witness.start()
    while witness.ask(LIVE)[0][0] < len(installation.workers):
        time.sleep(0.1)
    failed: list[str] = []
    threading.excepthook = lambda arguments: failed.append(f"{arguments.thread}: {arguments.exc_value!r}")
    operator = Operator(installation.addresses, installation.admin_key, list(keys)[:CHANGING], seed=seed)
    customers = [
        Customer(
            number,
            installation.addresses,
            keys,
            ledger,
            seed=seed,
            rate=rate / CUSTOMERS,
            webhook_url=receiver.url,
        )
        for number in range(CUSTOMERS)
    ]
    at_work: list[Operator | Customer] = [operator, *customers]
    for each in at_work:
        each.start()
    repeating = Bulks(installation.addresses, bulks_key, seed=seed)
    repeating.submit()
    kills = Kills(installation, witness, repeating, seed=seed)
    began = time.monotonic()
    kills.go(seconds)
    kept_up = time.monotonic() - began
    for each in at_work:
        each.over.set()
    for each in at_work:
        each.join(60)
    installation.start()
    installation.await_ready()
    drained, left = drain(witness)
    last = repeating.finish()
    left = drain(witness)[1]
    sent = send_all(witness)
    witness.stop()
    ended_badly = installation.end()
    drift = json.loads(installation.fairlane("drift", "--json"))["drift"]
    seen = track.read(installation.track.read_text().splitlines())
    over = track.over_limits(seen, witness.limits.largest)
    ends, missing = Ends(witness, ledger, seen), untold(witness, receiver)
    tasks, outcomes, distinct, submitted, ended, attempts = witness.ask(TOTALS)[0]

    kinds = ", ".join(f"{name} {count}" for name, count in sorted(kills.kills.items()))
    facts = [
        ("kills", f"{kills.kills.total()} in {kept_up:.0f} s ({kinds})"),
        ("answers to submits", _counts(ledger.statuses)),
        ("answers to calls", _counts(ledger.calls)),
        ("tasks acknowledged / accepted", f"{len(ledger.tasks)} / {tasks}"),
        ("cancels acknowledged", f"{len(ledger.canceled)}"),
        ("changes of slots", f"{operator.changes}"),
        ("messages received / tries", f"{len(receiver.received)} / {receiver.tries.total()}"),
        ("keys sent until answered", f"{len(ledger.keys)}"),
        ("submits given up without an answer", f"{ledger.unanswered}"),
        ("most attempts of a task", f"{attempts}"),
        ("handlers that ran", f"{len(seen.runs)}"),
        ("handlers in a process that stood still", f"{seen.stood_still} (their overlap cannot be prevented)"),
        ("looks the database did not answer", f"{witness.blind}"),
        (
            "slots free after a killed child, p50 / max",
            f"{percentile(kills.child_seconds, 0.5)} / {percentile(kills.child_seconds, 1)}",
        ),
        (
            "slots free after a lost host, p50 / max",
            f"{percentile(kills.host_seconds, 0.5)} / {percentile(kills.host_seconds, 1)}",
        ),
        (
            "ready after the database is back, p50 / max",
            f"{percentile(kills.outage_seconds, 0.5)} / {percentile(kills.outage_seconds, 1)}",
        ),
        ("drain, then the last message", f"{drained:.1f} s, {sent:.1f} s"),
    ]
    promises = [
        ("acknowledged tasks lost", ends.lost()),
        ("keys that name no task or another one", [*unkept_keys(witness, ledger), *ledger.duplicates]),
        ("tasks ended twice", (outcomes - distinct) + abs(ended - outcomes) + abs(submitted - tasks)),
        ("tasks not terminal after the drain", sum(left) + tasks - outcomes),
        ("tasks that failed and were not canceled", ends.failed()),
        ("acknowledged cancels that did not hold", ends.cancels_broken()),
        ("results that no handler came to", ends.made_up()),
        ("samples over an organization's limit", witness.over_limit),
        ("samples over the type's limit", witness.type_over_limit),
        ("samples where the count differs from the rows", witness.miscounted),
        ("moments with more handlers than slots", over),
        ("handlers of one task that overlapped", track.overlaps(seen)),
        ("counts that drifted", drift),
        ("failed tasks that were run again twice", bulks.repeated(witness.ask)),
        ("numbers of bulks beside those of the tasks", bulks.untrue(witness.ask)),
        ("bulks that did not end", bulks.unended(witness.ask)),
        ("failed tasks that the last bulk did not run again", bulks.left_out(witness.ask, last)),
        ("webhooks that never arrived", missing),
        ("webhooks tried too often", [task for task, tries in receiver.tries.items() if tries > TRIES_MOST]),
        ("programs that did not end in order", ended_badly),
        ("customers that met something unexpected", failed),
    ]
    whole = seconds >= 60
    at_least = [
        ("samples", witness.samples, round(SAMPLES_LEAST / slack) if whole else 1),
        ("most slots of an organization seen in use", witness.most_used, 2),
        ("kills of the rarest kind", min(kills.kills.values()), 1 if whole else 0),
        ("calls answered with a result", len(ledger.called), 1),
        ("cancels acknowledged", len(ledger.canceled), 1),
        ("messages received", len(receiver.received), 1),
        ("bulks in which every server was killed", repeating.within, 1 if whole else 0),
        ("killed children with timed slots", len(kills.child_seconds), 1 if whole else 0),
        ("lost hosts with timed slots", len(kills.host_seconds), 1 if whole else 0),
    ]
    within = [
        ("slots free after a killed child, median", kills.child_seconds, 0.5, CHILD_FREE_SECONDS * slack),
        ("slots free after a lost host, maximum", kills.host_seconds, 1.0, HOST_FREE_SECONDS * slack),
        ("ready after the database is back, maximum", kills.outage_seconds, 1.0, BACK_SECONDS * slack),
    ]
    print()
    for name, value in facts:
        print(f"        {name:<48} {value}")
    held, in_bounds = True, True
    for name, found in promises:
        number = found if isinstance(found, int) else len(found)
        held &= number == 0
        print(f"{'BROKEN' if number else 'ok':<8}{name:<48} {number}")
        if not isinstance(found, int):
            for each in found[:5]:
                print(f"          {each}")
    for name, number, least in at_least:
        in_bounds &= number >= least
        print(f"{'ok' if number >= least else 'BROKEN':<8}{name:<48} {number} (at least {least})")
    for name, values, part, most in within:
        if values:
            good = sorted(values)[min(len(values) - 1, int(part * len(values)))] <= most
            in_bounds &= good
            word = "ok" if good else "BROKEN"
            print(f"{word:<8}{name:<48} {percentile(values, part)} of {len(values)} (at most {most:.0f} s)")
    print("1 passed" if held and in_bounds else "1 failed")
    return 1 if not held else 0 if in_bounds else SLOW


def _counts(counts: dict[int, int]) -> str:
    return ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(counts.items()))


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to kill")
    parser.add_argument("--database", choices=["postgres", "sqlite"], default="postgres", help="what to run on")
    parser.add_argument("--seed", type=int, default=None, help="repeats the choices of another run, not its timing")
    parser.add_argument("--rate", type=float, default=12.0, help="requests a second; a submit has 1 to 20 tasks")
    parser.add_argument("--slack", type=float, default=1.0, help="multiplies bounds of time, on a shared machine")
    given = parser.parse_args()
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    sys.exit(run(given.seconds, seed, given.rate, given.slack, given.database))


if __name__ == "__main__":
    main()
