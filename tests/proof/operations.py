"""``python -m tests.proof.operations``: what operators and accidents do to PostgreSQL, under a light load.

A server, customers that submit with keys, and a worker that claims and reports; beside them PostgreSQL is restarted,
stopped, cut, locked, filled with connections, or replaced by its standby. Each answer is timed, and what was
acknowledged is looked up at the end.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from tests.api.house import Customer, House, Session
from tests.cluster import Cluster, join
from tests.deploy.pooler import BOUNCER, Pooler
from tests.postgres import at_once, execute, promote_standby

CUSTOMERS = 3
PAUSE_SECONDS = 0.02
ANSWER_SECONDS = 2.0
"""How long a request may take while the database does not answer."""
BACK_SECONDS = 3.0
"""How long after its return the database's server may still refuse a claim."""
BUSY_SECONDS = 2.0
"""What a busy machine may add."""
SLOWER = 5.0
"""How many times slower the 99th percentile may be beside a snapshot that is held."""
REPLICATED = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}
SETTINGS: dict[str, Any] = {
    "lease_seconds": 3_600,
    "renew_seconds": 1_000,
    "rate_limit": 1_000_000,
    "free_disk_floor_bytes": 0,
}


@dataclass(frozen=True)
class Answer:
    """What one submit was answered."""

    at: float
    took: float
    status: int
    key: str
    task_id: str


class Load:
    """Customers and a worker, each on a thread, until the end of the block."""

    def __init__(self, house: House, customers: list[Customer]) -> None:
        self._house = house
        self._customers = customers
        self._over = threading.Event()
        self.answers: list[Answer] = []
        self.claims: list[float] = []
        """When each lease was received."""
        self.refused: list[int] = []
        """Answers to exchanges that are neither 200 nor 503."""

    def __enter__(self) -> "Load":
        session = self._house.session("ANY", places=50)
        targets = [partial(self._submit, one, number) for number, one in enumerate(self._customers)]
        targets.append(partial(self._work, session))
        self._threads = [threading.Thread(target=one, name="load", daemon=True) for one in targets]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send nothing more."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def pass_by(self, seconds: float) -> None:
        """Let the load go on for this time."""
        threading.Event().wait(seconds)

    def _submit(self, customer: Customer, number: int) -> None:
        count = 0
        with self._house.client(authorization=f"Bearer {customer.key['value']}") as client:
            while not self._over.wait(PAUSE_SECONDS):
                count += 1
                key = f"{number}-{count}"
                body = {"taskType": "ANY", "payload": {}, "idempotencyKey": key}
                began = time.monotonic()
                answer = client.post("/v1/async/task", json=body)
                task_id = answer.json()["task"]["id"] if answer.status_code == 200 else ""
                self.answers.append(Answer(began, time.monotonic() - began, answer.status_code, key, task_id))

    def _work(self, session: Session) -> None:
        reports: list[dict[str, Any]] = []
        number = 0
        while not self._over.is_set():
            number += 1
            while True:
                answer = session.exchange(10, *reports, wait_seconds=0.2, id=f"{session.id}-{number}")
                if answer.status_code != 503 or self._over.is_set():
                    break
                time.sleep(PAUSE_SECONDS)
            if answer.status_code != 200:
                self.refused += [] if answer.status_code == 503 else [answer.status_code]
                return
            leases = answer.json()["leases"]
            self.claims += [time.monotonic()] * len(leases)
            reports = [{"lease": one["lease"], "outcome": "completed", "result": {}} for one in leases]


@dataclass
class Row:
    """What came of one scene."""

    name: str
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: bool, words: str) -> None:
        """Note a problem, unless this holds."""
        if not holds:
            self.problems.append(words)


class Scene:
    """A server and its load in one scene, and what came of it."""

    def __init__(self, name: str, house: House) -> None:
        self.row = Row(name)
        self.house = house
        self.customers = [house.customer(slots=50) for _ in range(CUSTOMERS)]
        self.load = Load(house, self.customers)
        self.settled = False

    def judge(self, begun: float, back: float, *, away: bool = True) -> None:
        """Compare the answers with the bounds. The fault lasted from ``begun`` to ``back``. ``away``: it refuses."""
        statuses = Counter(one.status for one in self.load.answers)
        slowest = max(one.took for one in self.load.answers)
        refused = [one.at + one.took for one in self.load.answers if one.status == 503]
        accepted = [one.at + one.took for one in self.load.answers if one.status == 200 and one.at + one.took > back]
        claims = [at for at in self.load.claims if at > back]
        row = self.row
        row.expect(not set(statuses) - {200, 503}, f"answers that are neither 200 nor 503: {statuses}")
        row.expect(not self.load.refused, f"exchanges were answered {self.load.refused}")
        row.expect(slowest <= ANSWER_SECONDS + BUSY_SECONDS, f"an answer took {slowest:.1f} s")
        row.expect(bool(refused) or not away, "nothing was refused: the fault did not happen")
        row.expect(bool(accepted) and bool(claims), "nothing was accepted or claimed after the return")
        first = f"{refused[0] - begun:.2f} s" if refused else "–"
        submit = min(accepted, default=back + 99) - back
        claim = min(claims, default=back + 99) - back
        row.expect(submit <= BACK_SECONDS + BUSY_SECONDS, f"the first submit came {submit:.1f} s after the return")
        row.expect(claim <= BACK_SECONDS + BUSY_SECONDS, f"the first claim came {claim:.1f} s after the return")
        row.facts.append(
            f"200: {statuses[200]}, 503: {statuses[503]}; first 503 after {first}, slowest answer {slowest:.2f} s; "
            f"away {back - begun:.1f} s, then first submit {submit:.2f} s, first claim {claim:.2f} s"
        )

    def lost(self) -> list[str]:
        """Return the acknowledged tasks that are not there."""
        missing = []
        by_number = {str(number): one for number, one in enumerate(self.customers)}
        for one in self.load.answers:
            if one.status == 200:
                found = by_number[one.key.partition("-")[0]].find(one.key)
                if found.status_code != 200 or found.json()["task"]["id"] != one.task_id:
                    missing.append(one.task_id)
        return missing

    def settle(self, *, may_lose: bool = False) -> None:
        """Look up what was acknowledged, and compare the counts with the rows."""
        self.settled = True
        lost = self.lost()
        if may_lose:
            self.row.facts.append(f"{len(lost)} acknowledged tasks lost with the primary, which is the control")
            self.row.expect(bool(lost), "nothing was lost although the standby had stopped to receive")
        else:
            self.row.expect(not lost, f"{len(lost)} acknowledged tasks are lost: {lost[:3]}")
        drift = self.house.admin.get("/admin/v1/drift").json()["drift"]
        self.row.expect(drift == [], f"counts drifted: {drift}")


class ClusterScene(Scene):
    """The same on a PostgreSQL of its own."""

    def __init__(self, name: str, cluster: Cluster, house: House) -> None:
        super().__init__(name, house)
        self.cluster = cluster


@contextlib.contextmanager
def standing(name: str, settings: dict[str, str] | None = None, **more: Any) -> Iterator[ClusterScene]:
    """Start a PostgreSQL and a server of their own."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlane-operations-", dir="/tmp")))
        cluster = join(f"operations-{os.getpid()}-{name}", settings)
        stack.callback(cluster.leave)
        address = more.pop("address", lambda cluster, folder: cluster.address)
        house = stack.enter_context(House(folder, database=address(cluster, folder), **SETTINGS, **more))
        yield ClusterScene(name, cluster, house)


# The scenes ----------------------------------------------------------------------------------------------------------


def restart(scene: ClusterScene, number: signal.Signals = signal.SIGINT) -> None:
    """Stop PostgreSQL with this signal, and start it again two seconds later."""
    begun = time.monotonic()
    scene.cluster.stop(number)
    scene.load.pass_by(2)
    scene.cluster.restart()
    back = time.monotonic()
    scene.load.pass_by(BACK_SECONDS)
    scene.judge(begun, back)


def storm(scene: ClusterScene) -> None:
    """End every connection to PostgreSQL again and again for three seconds."""
    begun = time.monotonic()
    while time.monotonic() < begun + 3:
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            at_once(
                partial(
                    execute,
                    scene.cluster.address,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
                )
            )
    back = time.monotonic()
    scene.load.pass_by(BACK_SECONDS)
    scene.judge(begun, back, away=False)


def held_lock(scene: ClusterScene, sql: str) -> None:
    """Hold a lock in another session for four seconds."""
    with holding(scene.cluster.address, sql):
        begun = time.monotonic()
        scene.load.pass_by(4)
    back = time.monotonic()
    scene.load.pass_by(BACK_SECONDS)
    scene.judge(begun, back)


def snapshot(scene: ClusterScene) -> None:
    """Hold a snapshot open while work goes on, and compare the times with those before it."""
    before = time.monotonic()
    scene.load.pass_by(4)
    with holding(scene.cluster.address, "SELECT count(*) FROM task", "BEGIN ISOLATION LEVEL REPEATABLE READ"):
        begun = time.monotonic()
        scene.load.pass_by(8)
    back = time.monotonic()
    scene.load.pass_by(1)
    quiet, beside = (
        sorted(one.took for one in scene.load.answers if start < one.at < end)
        for start, end in ((before, begun), (begun, back))
    )
    slow = [times[int(0.99 * len(times))] for times in (quiet, beside)]
    scene.row.facts.append(f"99th percentile of submits {slow[0] * 1000:.0f} ms, beside it {slow[1] * 1000:.0f} ms")
    scene.row.expect(slow[1] <= SLOWER * slow[0] + BUSY_SECONDS, f"submits became slower: {slow}")
    scene.judge(begun, back, away=False)


def no_connections(scene: ClusterScene) -> None:
    """Take every connection that PostgreSQL allows, cut the server's, and give them back after three seconds."""

    async def exhaust() -> None:
        taken: list[Any] = []

        async def take() -> None:
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                while True:
                    taken.append(await asyncpg.connect(scene.cluster.address))

        await take()
        give_up_at = time.monotonic() + 3
        while time.monotonic() < give_up_at:
            await taken[0].execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fairlane-proof'"
            )
            await take()
        for one in taken:
            one.terminate()

    begun = time.monotonic()
    at_once(exhaust)
    back = time.monotonic()
    scene.load.pass_by(BACK_SECONDS)
    scene.judge(begun, back)


def promote(scene: ClusterScene, *, behind: bool) -> None:
    """Kill the primary and promote its standby by hand. ``behind``: the standby stopped to receive a second before."""
    with follower(scene) as standby:
        if not behind:
            for sql in ("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"):
                at_once(partial(execute, scene.cluster.address, sql))
        scene.load.pass_by(1)
        stopped = receivers(standby.address) if behind else []
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        scene.load.pass_by(1)
        begun = time.monotonic()
        scene.cluster.stop(signal.SIGQUIT)
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
        at_once(partial(promote_standby, standby.address))
        back = time.monotonic()
        scene.load.pass_by(BACK_SECONDS)
        scene.judge(begun, back, away=False)
        scene.load.end()
        scene.settle(may_lose=behind)


@contextlib.contextmanager
def follower(scene: ClusterScene) -> Iterator[Cluster]:
    """Start the standby, at the address that the server knows, and let it go at the end."""
    standby = scene.cluster.standby()
    try:
        yield standby
    finally:
        standby.leave()


@contextlib.contextmanager
def holding(address: str, sql: str, begin: str = "BEGIN") -> Iterator[None]:
    """Hold what this statement takes until the end of the block."""
    held, free = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(address)
        await connection.execute(begin)
        await connection.execute(sql)
        held.set()
        await asyncio.to_thread(free.wait)
        connection.terminate()

    thread = threading.Thread(target=asyncio.run, args=(hold(),), name="holder")
    thread.start()
    held.wait(10)
    try:
        yield
    finally:
        free.set()
        thread.join()


def receivers(address: str) -> list[int]:
    """Return the processes of the standby at this address that receive the log of the primary."""

    async def ask() -> list[int]:
        connection = await asyncpg.connect(address)
        try:
            return [row[0] for row in await connection.fetch("SELECT pid FROM pg_stat_wal_receiver")]
        finally:
            await connection.close()

    return at_once(ask)


def either(cluster: Cluster, folder: Path) -> str:
    """Return an address that names a primary and its standby."""
    standby = cluster.folder.with_name(f"{cluster.folder.name}-standby")
    return f"postgresql://fairlane@/postgres?host={cluster.folder},{standby}"


def named(cluster: Cluster, folder: Path) -> str:
    """Return an address that gives its connections a name."""
    return f"{cluster.address}&application_name=fairlane-proof"


SCENES: dict[str, tuple[Callable[[ClusterScene], None], dict[str, Any]]] = {
    "fast restart": (restart, {}),
    "immediate stop": (partial(restart, number=signal.SIGQUIT), {}),
    "connections ended for 3 s": (storm, {}),
    "one row locked for 4 s": (partial(held_lock, sql="SELECT * FROM organization FOR UPDATE"), {}),
    "one table locked for 4 s": (partial(held_lock, sql="LOCK TABLE queue_entry IN ACCESS EXCLUSIVE MODE"), {}),
    "snapshot held for 8 s": (snapshot, {}),
    "no connection left for 3 s": (no_connections, {"settings": {"max_connections": "40"}, "address": named}),
    "standby promoted, synchronous": (
        partial(promote, behind=False),
        {"settings": REPLICATED, "address": either},
    ),
    "standby promoted, asynchronous and behind": (
        partial(promote, behind=True),
        {"settings": REPLICATED, "address": either},
    ),
}
QUICK = ("immediate stop", "standby promoted, asynchronous and behind")


def run(name: str) -> Row:
    """Run one scene."""
    act, chosen = SCENES[name]
    with standing(name.replace(" ", "-").replace(",", ""), **chosen) as scene:
        scene.row.name = name
        with scene.load:
            scene.load.pass_by(1)
            act(scene)
        if not scene.settled:
            scene.settle()
    return scene.row


def pooled() -> Row:
    """Kill pgbouncer in transaction mode, and start it again two seconds later."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlane-pooler-", dir="/tmp")))
        folder.chmod(0o755)
        poolers: list[Pooler] = []

        def address(cluster: Cluster, _: Path) -> str:
            poolers.append(Pooler(cluster.address, folder))
            poolers[0].start()
            return poolers[0].address

        @stack.callback
        def stop() -> None:
            for one in poolers:
                one.stop()

        scene = stack.enter_context(standing("pooler", address=address, pg_prepare="off", pg_notify="off"))
        scene.row.name = "pgbouncer in transaction mode killed"
        with scene.load:
            scene.load.pass_by(1)
            begun = time.monotonic()
            poolers[0].kill()
            scene.load.pass_by(2)
            poolers[0].start()
            back = time.monotonic()
            scene.load.pass_by(BACK_SECONDS)
            scene.judge(begun, back)
        scene.settle()
    return scene.row


def main() -> int:
    """Run the scenes, print what came of each; return 0 if all held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORD", help="scenes with this word in their names")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="only an immediate stop, and a standby that is behind")
    chosen = parser.parse_args()
    logging.getLogger("fairlane").addHandler(logging.NullHandler())
    rows = []
    for _ in range(chosen.rounds):
        rows += [run(name) for name in (QUICK if chosen.quick else SCENES) if (chosen.only or "") in name]
        if chosen.quick:
            continue
        if BOUNCER is None:
            print("pgbouncer is not installed: its scene is skipped")
        elif (chosen.only or "") in "pgbouncer":
            rows.append(pooled())
    for row in rows:
        print(f"{'BROKEN' if row.problems else 'ok':<8}{row.name}", *row.facts, *row.problems, sep="\n            ")
    return any(row.problems for row in rows)


if __name__ == "__main__":
    sys.exit(main())
