"""Real servers and a real worker on one database: a server is killed, and the worker goes on at the other."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests import postgres
from tests.api.house import NO_TLS
from tests.cli.harness import READY, eventually

ROOT = Path(__file__).parents[2]
KEY = "sk_live_1234567890abcdef1234567890abcdef"
WORKER_KEY = "wk_live_1234567890abcdef1234567890abcdef"
ADMIN_KEY = "ak_live_1234567890abcdef1234567890abcdef"
LEASE_SECONDS = 6


class Town:
    """Two servers without local workers, and one worker that knows both."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder = folder
        self._runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
        self.track = folder / "track"
        self.track.touch()
        self._environment = {
            **os.environ,
            "TRACK": str(self.track),
            "XDG_RUNTIME_DIR": self._runtime,
            "FAIRLANE_DATABASE": database,
            "FAIRLANE_PUBLIC_WORKERS": "1",
            "FAIRLANE_PUBLIC_ADMIN": "1",
            "FAIRLANE_LEASE_SECONDS": str(LEASE_SECONDS),
            "FAIRLANE_RENEW_SECONDS": "1",
            "FAIRLANE_SWEEP_SECONDS": "0.5",
        }
        self._processes: list[subprocess.Popen[str]] = []
        self.servers: list[tuple[subprocess.Popen[str], str]] = []

    def fairlane(self, *arguments: str) -> None:
        """Run a command on this database."""
        command = [sys.executable, "-m", "fairlane", *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=self._environment, check=False)
        assert ran.returncode == 0, ran.stderr

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a program of ours; nothing is waited for."""
        with (self._folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fairlane", *arguments],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=self._environment | more,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def open(self) -> None:
        """Both servers, then the worker; the first server is the one it speaks to."""
        self.fairlane("keys", "create", "--admin", "tests", "--value", ADMIN_KEY)
        serve = ("serve", "tests/whole/app.py:app", "--port", "0", "--workers", "0")
        started = [self.start(*serve) for _ in range(2)]
        self.servers = [(process, self._line(process).removeprefix(READY)) for process in started]
        self._prepare()
        flags = [part for _, address in self.servers for part in ("--server", address)]
        worker = self.start("worker", "tests/whole/app.py:app", *flags, FAIRLANE_WORKER_KEY=WORKER_KEY)
        assert "ready" in self._line(worker)

    def _prepare(self) -> None:
        """One organization of four slots, and the keys."""
        made = [
            ("organizations", {"name": "acme", "slots": 4}),
            ("organizations/acme/keys", {"value": KEY}),
            ("keys", {"kind": "worker", "name": "tests", "value": WORKER_KEY}),
        ]
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        with httpx2.Client(base_url=self.servers[1][1], headers=headers, timeout=30, verify=NO_TLS) as client:
            for path, body in made:
                answer = client.post(f"/admin/v1/{path}", json=body)
                assert answer.status_code == 200, answer.text

    def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line, (self._folder / "log").read_text()
        return line

    def client(self, number: int) -> httpx2.Client:
        """A customer at this server."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx2.Client(base_url=self.servers[number][1], headers=headers, timeout=30, verify=NO_TLS)

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self._processes[::-1]:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        shutil.rmtree(self._runtime)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """All of it runs, with one organization of four slots."""
    database = postgres.lend()
    town = Town(tmp_path, database)
    try:
        town.open()
        yield town
    finally:
        town.close()
        postgres.give_back(database)


def test_a_worker_goes_on_at_the_other_server_when_its_own_is_killed(town: Town, tmp_path: Path) -> None:
    """kill -9 of the server that it speaks to: what runs is finished there, at its first attempt, within the session's
    lease; what is submitted at the other runs, and a cancel there reaches it."""
    gate, never = tmp_path / "gate", tmp_path / "never"
    with town.client(0) as a, town.client(1) as b:
        tasks = [_submit(a, gate), _submit(a, gate)]
        canceled = _submit(a, never)
        eventually(lambda: len(town.track.read_text().splitlines()) == 3)

        town.servers[0][0].kill()
        later = _submit(b, gate)
        eventually(lambda: len(town.track.read_text().splitlines()) == 4)
        assert b.get("/v1/async/status").json()["concurrency"]["used"] == 4
        assert b.delete(f"/v1/async/task/{canceled}").status_code == 200
        eventually(lambda: b.get(f"/v1/async/task/{canceled}").json()["task"]["status"] == "FAILED", seconds=5)
        gate.touch()
        ended = [b.get(f"/v1/async/task/{task}", headers={"Prefer": "wait=20"}).json() for task in (*tasks, later)]

    assert [one["task"]["status"] for one in ended] == ["COMPLETED"] * 3
    assert [one["response"] for one in ended] == [{"attempt": 1}] * 3
    assert len(town.track.read_text().splitlines()) == 4


def _submit(client: httpx2.Client, gate: Path) -> str:
    answer = client.post("/v1/async/task", json={"taskType": "GATE", "payload": {"open": str(gate)}})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task"]["id"])
