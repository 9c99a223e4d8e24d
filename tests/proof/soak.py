"""``python -m tests.proof.soak``: an installation at half of its load for an hour, and what grows in it.

First customers send as fast as they are answered, to learn how many tasks a second end; then they send half as many.
Tasks are kept for a minute, so that after a few minutes as many go as come. In the second quarter of the run and in the
last one the same is measured: the memory and the open files of each process, the logs, the database, dead rows.
"""

import argparse
import contextlib
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from tests.api.house import NO_TLS
from tests.chaos.parties import Installation, installed
from tests.chaos.witness import Witness
from tests.postgres import at_once, execute
from tests.proof.receiver import Receiver

CUSTOMERS = 4
BATCH = 20
CALIBRATION_SECONDS = 10.0
LOAD = 0.5
SAMPLES = 20
"""In each of the two quarters that are compared: the second and the last."""
MEMORY_MOST = 1.05
"""How many times its memory of the second quarter a process may have in the last one."""
MEMORY_SLACK_MIB = 2.0
FILES_MOST = 3
DATABASE_MOST = 1.25
DEAD_MOST = 1.5
"""How many times the dead rows of the second quarter PostgreSQL may have in the last one. Their share of all rows says
nothing of that: in the minute between two rounds of vacuuming several times as many rows die as are kept."""
DEAD_SLACK = 2_000
LOG_BYTES_PER_MINUTE = 4_096
LEAK_BYTES = 2_048
APP = "tests/proof/app.py:app"
SETTINGS = {
    "FAIRLANE_RETENTION_SECONDS": "60",
    "FAIRLANE_LEASE_SECONDS": "30",
    "FAIRLANE_RENEW_SECONDS": "10",
}
SIZES = {
    "postgres": "SELECT pg_database_size(current_database())",
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
}
DEAD = "SELECT coalesce(sum(n_dead_tup), 0), coalesce(sum(n_live_tup), 0) FROM pg_stat_user_tables"
ENDED = "SELECT CAST(sum(completed + failed) AS BIGINT) FROM organization"
STUCK_SECONDS = 60.0
"""Longer than a lease lasts, a lost one is noticed, and its task runs again."""
UNENDED = "SELECT count(*) FROM task AS t LEFT JOIN outcome AS o ON o.task_id = t.id WHERE o.task_id IS NULL"
STUCK = "SELECT min(t.id) FROM task AS t LEFT JOIN outcome AS o ON o.task_id = t.id WHERE o.task_id IS NULL"


class Load:
    """Customers that submit batches with webhooks, read the status, and look tasks up."""

    def __init__(self, addresses: Sequence[str], keys: Sequence[str], webhook: str) -> None:
        self.accepted = 0
        self.failed: list[str] = []
        self.period_seconds = 0.0
        """From one round of a customer to its next."""
        self._addresses = addresses
        self._keys = keys
        self._webhook = webhook
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._go, args=(n,), daemon=True) for n in range(CUSTOMERS)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Send nothing more."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _go(self, number: int) -> None:
        address = self._addresses[number % len(self._addresses)]
        headers = {"authorization": f"Bearer {self._keys[number % len(self._keys)]}"}
        task = {"taskType": "WORK", "payload": {"text": "x" * 200}}
        batch = [task] * (BATCH - 1) + [task | {"webhook": {"url": self._webhook}}]
        with httpx2.Client(base_url=address, headers=headers, timeout=30, verify=NO_TLS) as client:
            began = 0.0
            while not self._over.wait(max(0.0, began + self.period_seconds - time.monotonic())):
                began = time.monotonic()
                made = self._send(client, "POST", "/v1/async/task/batch", batch)
                if made is None:
                    continue
                with self._lock:
                    self.accepted += BATCH
                self._send(client, "GET", "/v1/async/status")
                self._send(client, "GET", f"/v1/async/task/{made['results'][0]['task']['id']}")

    def _send(self, client: httpx2.Client, method: str, path: str, body: Any = None) -> Any:
        try:
            answer = client.request(method, path, json=body)
        except httpx2.TransportError as error:
            self.failed.append(f"{method} {path}: {error!r}")
            return None
        if answer.status_code == 429:  # The queue is full: the customer comes again.
            time.sleep(0.1)
            return None
        if answer.status_code != 200:
            self.failed.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer.json()


@dataclass
class Quarter:
    """What was seen in a quarter of the run; for each process the samples of its memory and of its files."""

    memory: dict[str, list[float]] = field(default_factory=dict)
    """Mebibytes that are resident."""
    files: dict[str, list[int]] = field(default_factory=dict)
    database: list[int] = field(default_factory=list)
    """Bytes."""
    dead: list[int] = field(default_factory=list)
    """Rows of PostgreSQL that no vacuum has removed yet."""
    live: list[int] = field(default_factory=list)


class Soak:
    """One run on one database."""

    def __init__(self, installation: Installation, kind: str) -> None:
        self._installation = installation
        self._kind = kind
        self.receiver = Receiver()
        self.problems: list[str] = []
        self._keys: list[str] = []
        self.rate = 0.0
        """Tasks a second in the second part."""

    def prepare(self) -> list[str]:
        """Start the programs; return keys of four organizations."""
        one = self._installation
        one.prepare()
        keys = []
        with self._installation.operator() as operator:
            for number in range(CUSTOMERS):
                name = f"soak-{number}"
                operator.post("/admin/v1/organizations", json={"name": name, "slots": 8}).raise_for_status()
                keys.append(operator.post(f"/admin/v1/organizations/{name}/keys", json={}).json()["value"])
            worker = operator.post("/admin/v1/keys", json={"kind": "worker", "name": "soak"}).json()["value"]
        if one.cluster is not None:
            one.add_workers(worker)
            del one.workers[1:]
            one.start()
        return keys

    def go(self, minutes: float) -> tuple[Quarter, Quarter]:
        """Load the installation; return what was seen in the second and in the last quarter."""
        self._keys = self.prepare()
        load = Load(self._installation.addresses, self._keys, self.receiver.url)
        load.start()
        time.sleep(CALIBRATION_SECONDS)
        before = self._ended()
        time.sleep(CALIBRATION_SECONDS)
        most = (self._ended() - before) / CALIBRATION_SECONDS
        if not most:
            raise SystemExit(f"soak: nothing ended: {load.failed[:3]}")
        load.period_seconds = CUSTOMERS * BATCH / (LOAD * most)
        quarter, before, began = 60 * minutes / 4, load.accepted, time.monotonic()
        time.sleep(quarter)
        second = self._watch(quarter)
        time.sleep(quarter)
        last = self._watch(quarter)
        self.rate = (load.accepted - before) / (time.monotonic() - began)
        load.end()
        self.problems += load.failed[:10]
        self.share = self.rate / most
        return second, last

    def _ended(self) -> int:
        return int(Witness(self._database).ask(ENDED)[0][0])

    def _watch(self, seconds: float) -> Quarter:
        seen, witness = Quarter(), Witness(self._database)
        for _ in range(SAMPLES):
            time.sleep(seconds / SAMPLES)
            for name, pid in self._processes():
                with contextlib.suppress(OSError):
                    seen.memory.setdefault(name, []).append(resident_mib(pid))
                    seen.files.setdefault(name, []).append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
            seen.database.append(int(witness.ask(SIZES[self._kind])[0][0]))
            if self._kind == "postgres":
                dead, live = map(int, witness.ask(DEAD)[0])
                seen.dead.append(dead)
                seen.live.append(live)
        return seen

    @property
    def _database(self) -> str:
        return self._installation.database

    def _processes(self) -> Iterator[tuple[str, int]]:
        for party in (*self._installation.servers, *self._installation.workers):
            yield party.name, party.pid
            for number, pid in enumerate(sorted(party.children()), 1):
                yield f"{party.name}, child {number}", pid

    def judge(self, second: Quarter, last: Quarter, minutes: float) -> list[str]:
        """Compare the quarters; let the queue drain, and recount. Return lines for the table."""
        lines = []
        for name, samples in second.memory.items():
            if name not in last.memory:
                self.problems.append(f"{name} is gone")
                continue
            before, after = statistics.median(samples), statistics.median(last.memory[name])
            files = statistics.median(second.files[name]), statistics.median(last.files[name])
            lines.append(f"  {name:<22}{before:>8.1f} to {after:>6.1f} MiB {files[0]:>6.0f} to {files[1]:>4.0f} files")
            if after > MEMORY_MOST * before + MEMORY_SLACK_MIB:
                self.problems.append(f"the memory of {name} grew from {before:.1f} to {after:.1f} MiB")
            if files[1] > files[0] + FILES_MOST:
                self.problems.append(f"the open files of {name} grew from {files[0]:.0f} to {files[1]:.0f}")
        sizes = statistics.median(second.database), statistics.median(last.database)
        lines.append(f"  the database          {sizes[0] / 2**20:>8.1f} to {sizes[1] / 2**20:>6.1f} MiB")
        if sizes[1] > DATABASE_MOST * sizes[0]:
            self.problems.append(f"the database grew from {sizes[0]} to {sizes[1]} bytes")
        if last.dead:
            dead = statistics.median(second.dead), statistics.median(last.dead)
            live = statistics.median(last.live)
            lines.append(f"  dead rows             {dead[0]:>8.0f} to {dead[1]:>6.0f}, beside {live:.0f} live ones")
            if dead[1] > DEAD_MOST * dead[0] + DEAD_SLACK:
                self.problems.append(f"dead rows grew from {dead[0]:.0f} to {dead[1]:.0f}")
        logs = sum(path.stat().st_size for path in self._installation.folder.glob("*.log"))
        lines.append(f"  logs                  {logs:>8} bytes in all")
        if logs > LOG_BYTES_PER_MINUTE * (minutes + 1):
            self.problems.append(f"{logs} bytes were logged in {minutes:.0f} minutes")
        lines.append(self._drain())
        with self._installation.operator() as operator:
            drift = operator.get("/admin/v1/drift").json()["drift"]
        if drift:
            self.problems.append(f"counts drifted: {drift}")
        return lines

    def _drain(self) -> str:
        """Wait as long as tasks end: a machine that became slower than half leaves many. Tasks are stuck when none of
        them ended for a while."""
        witness, began = Witness(self._database), time.monotonic()
        first = least = int(witness.ask(UNENDED)[0][0])
        moved_at = began
        while least and time.monotonic() < moved_at + STUCK_SECONDS:
            time.sleep(1)
            left = int(witness.ask(UNENDED)[0][0])
            if left < least:
                least, moved_at = left, time.monotonic()
        if least:
            self.problems.append(f"{least} tasks do not end: {self._why(str(witness.ask(STUCK)[0][0]))}")
        return f"  {first} tasks were left, and ended within {moved_at - began:.0f} s"

    def _why(self, task: str) -> str:
        """Return what the server says of a task that does not end."""
        for key in self._keys:
            headers = {"authorization": f"Bearer {key}"}
            with httpx2.Client(base_url=self._installation.addresses[0], headers=headers, verify=NO_TLS) as customer:
                answer = customer.get(f"/v1/async/task/{task}/wait")
            if answer.status_code == 200:
                return answer.text
        return f"no organization of this run has task {task}"

    def close(self) -> None:
        """End the receiver."""
        self.receiver.close()


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    return 0.0


def run(kind: str, minutes: float, *, leak: bool, vacuum: bool = True) -> bool:
    """Run on one database; print what came of it and return whether it held."""
    more = SETTINGS | ({"LEAK_BYTES": str(LEAK_BYTES)} if leak else {})
    with (
        installed("soak", kind, more=more, app=APP) as installation,
        contextlib.closing(Soak(installation, kind)) as made,
    ):
        if installation.cluster is not None and not vacuum:
            for statement in ("ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"):
                at_once(partial(execute, installation.cluster.address, statement))
        second, last = made.go(minutes)
        lines = made.judge(second, last, minutes)
    print(
        f"soak on {kind}: {minutes:.0f} minutes, {made.rate:.0f} tasks a second ({made.share:.0%} of what ended at "
        f"full load), {len(made.problems)} problems"
    )
    print(*lines, *(f"    BROKEN {one}" for one in made.problems[:10]), sep="\n", flush=True)
    return not made.problems


def main() -> int:
    """Run on both databases; return 0 if nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="?", default=60, help="on each database")
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    parser.add_argument("--leak", action="store_true", help="the control: handlers that keep memory; it must fail")
    parser.add_argument("--no-vacuum", action="store_true", help="another control, on PostgreSQL; it must fail")
    chosen = parser.parse_args()
    if not Path("/proc/self/fd").exists():
        print("soak: this system has no /proc, so it was not run")
        return 0
    kinds = [chosen.database] if chosen.database else ["sqlite", "postgres"]
    held = [run(kind, chosen.minutes, leak=chosen.leak, vacuum=not chosen.no_vacuum) for kind in kinds]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
