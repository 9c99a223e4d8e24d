"""The processes of a run: servers, remote workers, the database; how each is killed, stopped and started again."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.api.house import NO_TLS
from tests.cluster import Cluster, join

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
APP = "tests/chaos/app.py:app"
TIMES = {
    "FAIRLANE_LEASE_SECONDS": "3",
    "FAIRLANE_RENEW_SECONDS": "1",
    "FAIRLANE_SWEEP_SECONDS": "1",
    "FAIRLANE_KILL_GRACE_SECONDS": "1",
    "FAIRLANE_RETRY_PAUSE_SECONDS": "0.2",
    "FAIRLANE_LOG_LEVEL": "WARNING",
    "FAIRLANE_FREE_DISK_FLOOR_BYTES": "0",
    "FAIRLANE_RATE_LIMIT": "1000000",
    "FAIRLANE_WEBHOOK_ALLOW_PRIVATE": "1",
    "FAIRLANE_WEBHOOK_PAUSES_SECONDS": "0.5,1,2,4",
}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Party:
    """One program of the installation."""

    def __init__(self, name: str, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "fairlane", *command]
        self._log = folder / f"{name}.log"
        self.environment = environment
        """Its variables; what changes acts at the next start."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, if it does not run."""
        if not self.running:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT, env=self.environment
                )

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code, or None while it runs."""
        assert self._process is not None
        return self._process.poll()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[int]:
        """Return the ids of its worker processes."""
        found = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def kill(self) -> None:
        """End it with SIGKILL. It is not started again by itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """End it with SIGTERM, or with SIGKILL after a minute; return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9


class Installation:
    """Servers and remote workers on one database: two servers on PostgreSQL, on SQLite one, with a local worker."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster | None,
        *,
        workers: int = 3,
        places: int = 8,
        more: Mapping[str, str] | None = None,
        app: str = APP,
    ) -> None:
        """``cluster`` is the PostgreSQL to stand on, or None for a SQLite file in ``folder``; ``more``: variables."""
        self.folder = folder
        self._app = app
        self.cluster = cluster
        self.database = f"sqlite:///{folder}/chaos.db" if cluster is None else cluster.address
        self.admin_key = "ak_live_" + secrets.token_hex(16)
        self.track = folder / "track"
        self.track.touch()
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FAIRLANE_")},
            **TIMES,
            **(more or {}),
            "FAIRLANE_DATABASE": self.database,
            "FAIRLANE_PUBLIC_ADMIN": "1",
            "FAIRLANE_PUBLIC_WORKERS": "1",
            "XDG_RUNTIME_DIR": str(runtime),
            "CHAOS_TRACK": str(self.track),
        }
        self.ports = [free_port() for _ in range(1 if cluster is None else 2)]
        self.addresses = [f"http://127.0.0.1:{port}" for port in self.ports]
        self.servers = [self._server(number, port) for number, port in enumerate(self.ports, 1)]
        self._worker_count, self._places = workers, places
        self.workers: list[Party] = []

    def _server(self, number: int, port: int) -> Party:
        runtime = self.folder / f"r{number}"
        runtime.mkdir(mode=0o700)
        local = "1" if self.cluster is None else "0"
        command = ["serve", self._app, "--port", str(port), "--workers", local]
        return Party(f"server-{number}", command, self.folder, self.environment | {"XDG_RUNTIME_DIR": str(runtime)})

    def add_workers(self, key: str) -> None:
        """Make the workers. Each knows every server; the order differs."""
        for number in range(1, self._worker_count + 1):
            first = number % len(self.addresses)
            servers = self.addresses[first:] + self.addresses[:first]
            flags = [part for address in servers for part in ("--server", address)]
            command = ["worker", self._app, *flags, "--places", str(self._places)]
            environment = self.environment | {"FAIRLANE_WORKER_KEY": key}
            self.workers.append(Party(f"worker-{number}", command, self.folder, environment))

    def fairlane(self, *arguments: str, typed: str = "") -> str:
        """Run a command with this on its standard input, and return what it prints."""
        command = [sys.executable, "-m", "fairlane", *arguments]
        ran = subprocess.run(
            command, input=typed, capture_output=True, text=True, cwd=ROOT, env=self.environment, check=False,
            timeout=120,
        )  # fmt: skip
        if ran.returncode != 0:
            raise RuntimeError(f"fairlane {' '.join(arguments)}: {ran.stderr}")
        return ran.stdout

    def prepare(self) -> None:
        """Migrate, import the admin key, start the servers, and wait until they are ready."""
        self.fairlane("migrate")
        self.fairlane("keys", "create", "--admin", "operator", "--value", "-", typed=self.admin_key)
        for server in self.servers:
            server.start()
        self.await_ready()

    def operator(self) -> httpx2.Client:
        """Return an operator's client at the first server."""
        headers = {"authorization": f"Bearer {self.admin_key}"}
        return httpx2.Client(base_url=self.addresses[0], headers=headers, timeout=60, verify=NO_TLS)

    def start(self) -> None:
        """Start every program that does not run."""
        for party in (*self.servers, *self.workers):
            party.start()

    def ready(self) -> list[str]:
        """Return the addresses of the servers that would take a submit now."""
        return [address for address in self.addresses if _ready(address)]

    def seconds_until_ready(self, addresses: list[str]) -> float:
        """Wait until the servers at these addresses would take a submit, and return the seconds it took."""
        began = time.monotonic()
        while not all(map(_ready, addresses)):
            if time.monotonic() > began + READY_SECONDS:
                raise RuntimeError(f"{addresses} did not become ready; their logs are in {self.folder}")
            time.sleep(0.05)
        return time.monotonic() - began

    def await_ready(self) -> None:
        """Wait until every server would take a submit.

        A server that ended by itself is started again, as a service manager would: a server that starts while the
        database is unreachable says so and ends.
        """
        began = time.monotonic()
        for address in self.addresses:
            while not _ready(address):
                if time.monotonic() > began + READY_SECONDS:
                    raise RuntimeError(f"{address} did not become ready; its log is in {self.folder}")
                for server in self.servers:
                    server.start()
                time.sleep(0.05)

    def end(self) -> list[str]:
        """End all programs in order; return the names of those that had to be killed or ended with an error."""
        codes = {party.name: party.end() for party in (*self.workers, *self.servers)}
        return [f"{name} ({code})" for name, code in codes.items() if code != 0]


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def installed(
    name: str, database: str, *, more: Mapping[str, str] | None = None, app: str = APP
) -> Iterator[Installation]:
    """An installation on a SQLite file or on a PostgreSQL of its own; its programs are ended and its files deleted."""
    folder = Path(tempfile.mkdtemp(prefix=f"fairlane-{name}-", dir="/tmp"))
    folder.chmod(0o755)
    cluster = join(f"{name}-{os.getpid()}") if database == "postgres" else None
    installation = Installation(folder, cluster, more=more, app=app)
    try:
        yield installation
    finally:
        for party in (*installation.workers, *installation.servers):
            if party.running:
                party.end()
        if cluster is not None:
            cluster.leave()
        shutil.rmtree(folder, ignore_errors=True)
