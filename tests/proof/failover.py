"""``python -m tests.proof.failover``: Patroni replaces the primary, under a light load.

Two PostgreSQL servers, each under Debian's Patroni with etcd, a fairlane server that knows the addresses of both,
customers and a worker. The primary is asked to change places, or is killed together with its Patroni, so that nobody
says farewell. Where the programs are missing, the run says so and ends well.
"""

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from tests.api.house import NO_TLS, House
from tests.chaos.parties import free_port
from tests.cluster import SUPERUSER, lay_programs, unprivileged
from tests.postgres import at_once, execute
from tests.proof.operations import BACK_SECONDS, SETTINGS, Scene, receivers

PROGRAMS = ("patroni", "etcd")
TTL_SECONDS = 20
"""How long Patroni takes a leader for alive that says nothing; it allows no less."""
START_SECONDS = 120.0
PROMOTED_SECONDS = TTL_SECONDS + 40.0


class Member:
    """One PostgreSQL under its Patroni."""

    def __init__(self, folder: Path, name: str, etcd: str, *, synchronous: bool) -> None:
        self.name = name
        self.folder = folder / name
        programs = lay_programs(self.folder)
        self.port, rest = free_port(), free_port()
        self.address = f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/postgres"
        self.rest = f"http://127.0.0.1:{rest}"
        people = {"superuser": {"username": SUPERUSER}, "replication": {"username": "copier"}}
        self._configuration = self.folder / "patroni.yml"
        self._configuration.write_text(
            json.dumps(  # JSON is YAML
                {
                    "scope": "fairlane",
                    "name": name,
                    "restapi": {"listen": f"127.0.0.1:{rest}", "connect_address": f"127.0.0.1:{rest}"},
                    "etcd3": {"host": etcd},
                    "bootstrap": {
                        "dcs": {
                            "ttl": TTL_SECONDS,
                            "loop_wait": 1,
                            "retry_timeout": 3,
                            "synchronous_mode": synchronous,
                            "postgresql": {"parameters": {"max_connections": 100, "shared_buffers": "64MB"}},
                        },
                        "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "no-locale"],
                        "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
                        "users": {"copier": {"options": ["replication"]}},
                    },
                    "postgresql": {
                        "listen": f"127.0.0.1:{self.port}",
                        "connect_address": f"127.0.0.1:{self.port}",
                        "data_dir": str(self.folder / "data"),
                        "bin_dir": str(programs),
                        "pgpass": str(self.folder / "pgpass"),
                        "authentication": people,
                        "parameters": {"unix_socket_directories": str(self.folder)},
                    },
                }
            )
        )

    def start(self) -> None:
        """Start Patroni, which makes its PostgreSQL."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["patroni", str(self._configuration)], stdout=log, stderr=log, cwd="/", **unprivileged()
            )

    def kill(self) -> None:
        """End Patroni and its PostgreSQL at once."""
        self._process.kill()
        with contextlib.suppress(OSError):
            os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        """End both in order."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def role(self) -> str:
        """Return what Patroni says that its PostgreSQL is, or nothing if it does not answer."""
        with contextlib.suppress(httpx2.HTTPError):
            told = httpx2.get(f"{self.rest}/patroni", timeout=2, verify=NO_TLS).json()
            return "sync" if told.get("sync_standby") else str(told.get("role", "")) * (told.get("state") == "running")
        return ""

    def log(self) -> str:
        """Return the end of Patroni's log."""
        return (self.folder / "log").read_text(errors="replace")[-2_000:]


class Pair:
    """Two members and their etcd; the first is the primary."""

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        port, peer = free_port(), free_port()
        self._etcd = _etcd(folder, port, peer)
        self.primary, self.standby = (
            Member(folder, name, f"127.0.0.1:{port}", synchronous=synchronous) for name in ("one", "two")
        )
        self.address = f"postgresql://{SUPERUSER}@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/postgres"
        self._wanted = "sync" if synchronous else "replica"

    @contextlib.contextmanager
    def running(self) -> Iterator["Pair"]:
        """Start it, and end all of it at the end of the block."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._end_etcd)
            self.primary.start()
            stack.callback(self.primary.stop)
            _await(lambda: self.primary.role() in ("master", "primary"), self.primary)
            self.standby.start()
            stack.callback(self.standby.stop)
            _await(lambda: self.standby.role() == self._wanted, self.standby)
            yield self

    def _end_etcd(self) -> None:
        self._etcd.terminate()
        self._etcd.wait(10)


def _etcd(folder: Path, port: int, peer: int) -> "subprocess.Popen[bytes]":
    client, between = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    with (folder / "etcd.log").open("ab") as log:
        return subprocess.Popen(
            ["etcd", "--data-dir", str(folder / "etcd"), "--listen-client-urls", client,
             "--advertise-client-urls", client, "--listen-peer-urls", between,
             "--initial-advertise-peer-urls", between, "--initial-cluster", f"default={between}"],
            stdout=log, stderr=log,
        )  # fmt: skip


def _await(holds: Callable[[], bool], member: Member) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while not holds():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"Patroni {member.name} did not come so far:\n{member.log()}")
        time.sleep(0.1)


def _await_writable(member: Member) -> float:
    """Return the moment at which the member accepts writes."""
    give_up_at = time.monotonic() + PROMOTED_SECONDS
    while True:
        try:
            at_once(partial(execute, member.address, "CREATE TEMPORARY TABLE promoted ()"))
            return time.monotonic()
        except (asyncpg.PostgresError, OSError):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"nobody was promoted:\n{member.log()}") from None
        time.sleep(0.05)


# The scenes ----------------------------------------------------------------------------------------------------------


def change_places(pair: Pair) -> None:
    """Ask Patroni for a switchover, as before the maintenance of a machine."""
    answer = httpx2.post(
        f"{pair.primary.rest}/switchover",
        json={"leader": pair.primary.name, "candidate": pair.standby.name},
        timeout=60,
        verify=NO_TLS,
    )
    assert answer.status_code == 200, answer.text


def lose(pair: Pair) -> None:
    """Lose the primary's machine."""
    pair.primary.kill()


def lose_behind(pair: Pair, scene: Scene) -> None:
    """Lose it a second after the standby stopped to receive."""
    stopped = receivers(pair.standby.address)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    scene.load.pass_by(1)
    pair.primary.kill()
    for pid in stopped:
        os.kill(pid, signal.SIGKILL)


SCENES: Mapping[str, dict[str, Any]] = {
    "switchover by Patroni, synchronous": {"act": change_places, "synchronous": True},
    "failover by Patroni, synchronous": {"act": lose, "synchronous": True},
    "failover by Patroni, asynchronous and behind": {"act": lose_behind, "synchronous": False},
}


def run(name: str) -> Scene:
    """Run one scene."""
    act, synchronous = SCENES[name]["act"], SCENES[name]["synchronous"]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlane-failover-", dir="/tmp")))
        folder.chmod(0o755)
        pair = stack.enter_context(Pair(folder, synchronous=synchronous).running())
        house = stack.enter_context(House(folder, database=pair.address, **SETTINGS))
        scene = Scene(name, house)
        with scene.load:
            scene.load.pass_by(2)
            begun = time.monotonic()
            act(pair) if synchronous else act(pair, scene)
            back = _await_writable(pair.standby)
            scene.load.pass_by(BACK_SECONDS)
            scene.judge(begun, back, away=False)
        scene.settle(may_lose=not synchronous)
    return scene


def main() -> int:
    """Run the scenes, print what came of each; return 0 if all held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORD", default="", help="scenes with this word in their names")
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    logging.getLogger("fairlane").addHandler(logging.NullHandler())
    if missing := [one for one in PROGRAMS if shutil.which(one) is None]:
        print(f"skipped: {' and '.join(missing)} not installed (Debian: patroni, etcd-server)")
        return 0
    rows = []
    for name in [one for one in SCENES if chosen.only in one] * chosen.rounds:
        row = run(name).row
        print(f"{'BROKEN' if row.problems else 'ok':<8}{row.name}", *row.facts, *row.problems, sep="\n            ")
        sys.stdout.flush()
        rows.append(row)
    return any(row.problems for row in rows)


if __name__ == "__main__":
    sys.exit(main())
