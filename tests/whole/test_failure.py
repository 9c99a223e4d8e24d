"""What dies, and what then holds: a real server, real workers, real signals, the real HTTP API."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest

from tests.api.house import NO_TLS
from tests.cli.harness import READY, eventually
from tests.worker.test_supervisor import is_running

ROOT = Path(__file__).parents[2]
KEY = "sk_live_1234567890abcdef1234567890abcdef"
FINAL = ("COMPLETED", "FAILED")


class Whole:
    """A server with its workers on one database, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.track = folder / "track"
        self.track.touch()
        # A socket's address is short, a test's folder is not.
        self._runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
        self._database = f"sqlite:///{folder / 'x.db'}"
        self._environment = {
            **os.environ,
            "TRACK": str(self.track),
            "XDG_RUNTIME_DIR": self._runtime,
            "FAIRLANE_LEASE_SECONDS": "6",
            "FAIRLANE_RENEW_SECONDS": "1",
            "FAIRLANE_KILL_GRACE_SECONDS": "0.5",
            "FAIRLANE_SWEEP_SECONDS": "0.5",
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self, *, workers: int = 2, places: int = 4) -> None:
        """Serve, and wait until the server is ready."""
        arguments = ["serve", "tests/whole/app.py:app", "--port", "0", "--database", self._database]
        with (self._folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fairlane", *arguments, "--workers", str(workers), "--places", str(places)],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=self._environment,
                start_new_session=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().strip()
        assert ready.startswith(READY), (self._folder / "log").read_text()
        headers = {"Authorization": f"Bearer {KEY}"}
        self.http = httpx2.Client(base_url=ready.removeprefix(READY), headers=headers, timeout=10, verify=NO_TLS)

    def workers(self) -> list[int]:
        """Process ids of the workers that are up."""
        assert self.process is not None
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def kill_workers(self) -> None:
        """All at once: none of them takes what another leaves."""
        workers = self.workers()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in workers:
                os.kill(pid, number)

    def fairlane(self, *arguments: str) -> str:
        """Run a command on this database."""
        command = [sys.executable, "-m", "fairlane", *arguments, "--database", self._database]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=self._environment, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self._runtime)

    def kill(self) -> None:
        """kill -9, for the server alone."""
        assert self.process is not None
        self.http.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def submit(self, task_type: str, **payload: Any) -> str:
        """An acknowledged task's id."""
        answer = self.http.post("/v1/async/task", json={"taskType": task_type, "payload": payload})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task"]["id"])

    def task(self, task_id: str) -> dict[str, Any]:
        """What the API says of a task."""
        answer = self.http.get(f"/v1/async/task/{task_id}")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def call(self, task_type: str, **payload: Any) -> "Future[httpx2.Response]":
        """A call whose caller waits on a thread of his own."""
        answer: Future[httpx2.Response] = Future()

        def wait(address: Any, headers: Any) -> None:
            with httpx2.Client(base_url=address, headers=headers, timeout=30, verify=NO_TLS) as client:
                try:
                    answer.set_result(client.post(f"/v1/monitor/{task_type.lower()}", json=payload))
                except httpx2.HTTPError as error:
                    answer.set_exception(error)

        Thread(target=wait, args=(self.http.base_url, self.http.headers), daemon=True).start()
        return answer

    def started(self) -> int:
        """How many handlers have started so far."""
        return len(self.track.read_text().splitlines())

    def ended(self, *task_ids: str) -> bool:
        """Whether all of these are over."""
        return all(self.task(task_id)["task"]["status"] in FINAL for task_id in task_ids)

    def status(self) -> dict[str, Any]:
        """The status call."""
        document: dict[str, Any] = self.http.get("/v1/async/status").json()
        return document

    def starts(self, task_id: str) -> int:
        """How often a handler started for this task."""
        return sum(line.split()[1] == task_id for line in self.track.read_text().splitlines())


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    """Nothing runs yet; one organization with six slots is there."""
    whole = Whole(tmp_path)
    whole.fairlane("migrate")
    whole.fairlane("organizations", "create", "acme", "--slots", "6")
    whole.fairlane("keys", "create", "acme", "--value", KEY)
    yield whole
    whole.close()


def test_a_killed_workers_tasks_run_again_within_a_second(whole: Whole, tmp_path: Path) -> None:
    """kill -9 of every worker: nothing is lost, no slot is exceeded, and each task ends once, at its second start."""
    whole.start()
    tasks = [whole.submit("GATE", open=str(tmp_path / "gate")) for _ in range(6)]
    eventually(lambda: all(whole.starts(task) == 1 for task in tasks))
    behind = [whole.submit("GATE", open=str(tmp_path / "gate")) for _ in range(3)]

    whole.kill_workers()
    began, most = time.monotonic(), 0
    while not all(whole.starts(task) == 2 for task in tasks):
        most = max(most, whole.status()["concurrency"]["used"])
        assert time.monotonic() - began < 10
    (tmp_path / "gate").touch()
    eventually(lambda: whole.ended(*tasks, *behind))

    assert most == 6
    assert [whole.starts(task) for task in tasks] == [2] * 6
    # An attempt that was on its way to a worker when it died counts, too.
    assert {whole.task(task)["response"]["attempt"] for task in tasks} <= {2, 3}
    assert [whole.task(task)["response"] for task in behind] == [{"attempt": 1}] * 3
    assert whole.status()["concurrency"] == {"used": 0, "max": 6}
    assert "No drift" in whole.fairlane("drift")


def test_a_killed_server_has_everything_when_it_is_back(whole: Whole, tmp_path: Path) -> None:
    """Every acknowledged task, exact counts, and the interrupted attempts returned before it serves."""
    whole.start()
    tasks = [whole.submit("GATE", open=str(tmp_path / "gate")) for _ in range(20)]
    eventually(lambda: sum(whole.starts(task) for task in tasks) == 6)

    whole.kill()
    whole.start(workers=0)
    status = whole.status()
    whole.kill()
    (tmp_path / "gate").touch()
    whole.start()
    eventually(lambda: whole.ended(*tasks))

    assert (status["queuedTasks"], status["processingTasks"]) == (20, 0)
    assert [whole.task(task)["task"]["status"] for task in tasks] == ["COMPLETED"] * 20
    assert "No drift" in whole.fairlane("drift")


def test_a_handler_that_kills_its_process_is_tried_as_often_as_it_may(whole: Whole) -> None:
    """Then it is FAILED with the generic answer; the slots are free again."""
    whole.start(workers=1)
    task = whole.submit("POISON")

    eventually(lambda: whole.ended(task))

    assert whole.starts(task) == 2
    assert whole.task(task)["response"]["error"]["code"] == "INTERNAL_SERVER_ERROR"
    assert whole.status()["concurrency"]["used"] == 0


def test_what_a_frozen_worker_cannot_read_runs_elsewhere(whole: Whole) -> None:
    """A stopped worker had an exchange open: none of what it was handed is lost, and none of it counts."""
    whole.start()
    eventually(lambda: len(whole.workers()) == 2)
    warm = [whole.submit("QUICK") for _ in range(8)]
    eventually(lambda: whole.ended(*warm))
    frozen = whole.workers()[0]
    os.kill(frozen, signal.SIGSTOP)

    tasks = [whole.submit("QUICK") for _ in range(30)]
    eventually(lambda: whole.ended(*tasks))

    assert [whole.task(task)["response"] for task in tasks] == [{"attempt": 1}] * 30
    os.kill(frozen, signal.SIGCONT)
    more = [whole.submit("QUICK") for _ in range(10)]
    eventually(lambda: whole.ended(*more))
    assert all(whole.starts(task) == 1 for task in tasks + more)


def test_a_handler_that_holds_the_interpreter_stops_neither_the_api_nor_its_neighbours(whole: Whole) -> None:
    """It is killed at its deadline, with its process; who was there beside it runs again without losing an attempt."""
    whole.start()
    culprit = whole.submit("HOG")
    eventually(lambda: whole.starts(culprit) == 1)
    tasks = []
    while not whole.ended(culprit):
        tasks.append(whole.submit("QUICK"))
        time.sleep(0.05)

    eventually(lambda: whole.ended(*tasks))

    assert whole.task(culprit)["response"]["error"]["code"] == "INTERNAL_SERVER_ERROR"
    assert [whole.task(task)["response"] for task in tasks] == [{"attempt": 1}] * len(tasks)


def _programs(whole: Whole, folder: Path) -> tuple[list[str], list[int]]:
    """Tasks whose handlers wait for a program, in both isolations; and the programs."""
    place = {"open": str(folder / "gate"), "pids": str(folder / "pids")}
    tasks = [whole.submit("PROGRAM", **place), whole.submit("PROGRAM_ALONE", **place)]
    (folder / "pids").touch()
    eventually(lambda: (folder / "pids").read_text().count("\n") == 2)
    return tasks, [int(pid) for pid in (folder / "pids").read_text().split()]


def test_programs_of_handlers_end_with_a_killed_server(whole: Whole, tmp_path: Path) -> None:
    """kill -9 of the server alone: nobody is left who could have ended them."""
    whole.start(workers=1)
    _, programs = _programs(whole, tmp_path)
    assert all(map(is_running, programs))

    whole.kill()

    eventually(lambda: not any(map(is_running, programs)))


def test_ctrl_c_at_a_terminal_lets_handlers_and_their_programs_end(whole: Whole, tmp_path: Path) -> None:
    """A terminal sends it to every process of its foreground group: only the server hears it, and drains."""
    whole.start(workers=1)
    tasks, _ = _programs(whole, tmp_path)
    assert whole.process is not None

    os.killpg(whole.process.pid, signal.SIGINT)
    eventually(lambda: whole.http.get("/readyz").status_code == 503)
    (tmp_path / "gate").touch()
    code = whole.process.wait(20)
    whole.kill()
    whole.start(workers=0)

    assert code == 0
    assert [whole.task(task)["response"] for task in tasks] == [{"attempt": 1, "status": 0}] * 2


def test_a_process_that_a_handler_forked_does_not_own_the_database(whole: Whole) -> None:
    """The next server starts although that process lives on."""
    whole.start(workers=1)
    task = whole.submit("FORKS")
    eventually(lambda: whole.ended(task))

    whole.kill()
    whole.start(workers=1)

    assert whole.task(task)["task"]["status"] == "COMPLETED"


@pytest.mark.parametrize("task_type", ["GATE", "LOOKS", "DEAF_ALONE", "DEAF"])
def test_a_canceled_task_is_stopped(whole: Whole, tmp_path: Path, task_type: str) -> None:
    """On the loop, on a thread that looks, in a process of its own, and on a thread that hears nothing.

    With the last one goes its worker process, whose neighbour then runs again without losing an attempt.
    """
    whole.start(workers=1)
    neighbour = whole.submit("GATE", open=str(tmp_path / "gate"))
    task = whole.submit(task_type, open=str(tmp_path / "never"))
    eventually(lambda: whole.starts(task) == whole.starts(neighbour) == 1)

    answer = whole.http.request("DELETE", f"/v1/async/task/{task}")
    eventually(lambda: whole.ended(task))

    assert answer.json()["task"]["status"] in ("PROCESSING", "FAILED")
    assert whole.task(task)["response"]["error"]["code"] == "TASK_CANCELED"
    assert whole.task(task)["credits"]["creditsCharged"] == 0
    (tmp_path / "gate").touch()
    eventually(lambda: whole.ended(neighbour))
    assert whole.task(neighbour)["response"] == {"attempt": 1}
    assert whole.starts(neighbour) == (2 if task_type == "DEAF" else 1)
    assert whole.starts(task) == 1
    assert whole.status()["concurrency"]["used"] == 0
    assert "No drift" in whole.fairlane("drift")


def test_a_killed_workers_calls_run_again_while_their_callers_wait(whole: Whole, tmp_path: Path) -> None:
    """kill -9 of every worker: the slots stay taken, each caller has his result, and is charged for it once."""
    whole.fairlane("credits", "grant", "acme", "10", "--reason", "a start")
    whole.fairlane("organizations", "change", "acme", "--credits", "on")
    whole.start()
    answers = [whole.call("GATE", open=str(tmp_path / "gate")) for _ in range(4)]
    eventually(lambda: whole.started() == 4)

    whole.kill_workers()
    eventually(lambda: whole.started() == 8)
    used = whole.status()["concurrency"]["used"]
    (tmp_path / "gate").touch()
    answered = [answer.result(20) for answer in answers]

    assert used == 4
    # An attempt that was on its way to a worker when it died counts, too.
    bodies = [{"success": True, "result": {"attempt": attempt}} for attempt in (2, 3)]
    assert [answer.json() for answer in answered if answer.json() not in bodies] == []
    assert [answer.headers["x-credits-charged"] for answer in answered] == ["1"] * 4
    assert whole.http.get("/v1/credits").json()["remaining"] == 6
    assert whole.status()["concurrency"] == {"used": 0, "max": 6}
    assert "No drift" in whole.fairlane("drift")


def test_a_call_that_kills_its_workers_is_answered_and_costs_nothing(whole: Whole) -> None:
    """After as many attempts as it may have, with the generic answer."""
    whole.fairlane("credits", "grant", "acme", "10", "--reason", "a start")
    whole.fairlane("organizations", "change", "acme", "--credits", "on")
    whole.start()

    answer = whole.call("POISON").result(30)

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert whole.started() == 2
    assert whole.http.get("/v1/credits").json()["remaining"] == 10
    assert whole.status()["concurrency"]["used"] == 0
    assert "No drift" in whole.fairlane("drift")


def test_a_killed_servers_calls_are_over_and_cost_nothing(whole: Whole, tmp_path: Path) -> None:
    """Their callers see the connection end. The next server has every slot free, also once a gate that they waited at
    is open, and runs none of them again.
    """
    whole.fairlane("credits", "grant", "acme", "10", "--reason", "a start")
    whole.fairlane("organizations", "change", "acme", "--credits", "on")
    whole.start()
    answers = [whole.call("GATE", open=str(tmp_path / "gate")) for _ in range(6)]
    eventually(lambda: whole.started() == 6)

    whole.kill()
    errors = [answer.exception(20) for answer in answers]
    whole.start()
    free = whole.status()["concurrency"]
    (tmp_path / "gate").touch()
    answer = whole.call("QUICK").result(20)

    assert all(isinstance(error, httpx2.TransportError) for error in errors)
    assert free == {"used": 0, "max": 6}
    assert answer.json() == {"success": True, "result": {"attempt": 1}}
    assert whole.started() == 7
    assert whole.http.get("/v1/credits").json()["remaining"] == 9
    assert "No drift" in whole.fairlane("drift")
