"""examples/worker.mjs: a worker in Node runs tasks, is killed, is suspended beyond its lease, and is ended."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlane.admin.connection import ask
from fairlane.client import Client, Task
from tests.cli.harness import ROOT, eventually
from tests.served.conftest import Serve

NODE = shutil.which("node")
EXAMPLE = ROOT / "examples" / "worker.mjs"
QUICK = "async ({ text }, signal) => ({ words: text.split(/\\s+/).filter(Boolean).length })"
HELD = """async ({ text }) => {
    const { existsSync, appendFileSync } = await import("node:fs");
    appendFileSync(process.env.HELD + ".begun", process.env.NAME + "\\n");
    while (existsSync(process.env.HELD)) await pause(20);
    return { by: process.env.NAME };
}"""

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not here")
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def client(serve: Serve) -> Client:
    """A customer of the quick start's server, which has no worker and short leases."""
    return serve(
        "quickstart.py",
        workers=0,
        FAIRLANE_PUBLIC_WORKERS="1",
        FAIRLANE_LEASE_SECONDS="2",
        FAIRLANE_RENEW_SECONDS="0.5",
        FAIRLANE_SWEEP_SECONDS="0.5",
    )


@pytest.fixture
def start(client: Client, tmp_path: Path) -> Iterator[Start]:
    """Start the example under a name; ``held``: with a handler that waits while this file exists."""
    key = ask(os.environ["FAIRLANE_DATABASE"], "POST", "keys", body={"kind": "worker", "name": "node"})["value"]
    started: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *, held: Path | None = None) -> "subprocess.Popen[bytes]":
        text = EXAMPLE.read_text()
        assert text.count(QUICK) == 1
        path = tmp_path / f"{name}.mjs"
        path.write_text(text if held is None else text.replace(QUICK, HELD))
        environment = os.environ | {"FAIRLANE_WORKER_KEY": key, "NAME": name}
        assert NODE is not None
        with (tmp_path / f"{name}.log").open("w") as log:
            process = subprocess.Popen([NODE, path], env=environment | {"HELD": str(held)}, stderr=log)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def begun(held: Path) -> list[str]:
    """Return the names of the workers in which handlers began."""
    found = held.with_name(f"{held.name}.begun")
    return found.read_text().split() if found.exists() else []


def ended(client: Client, task: Task | str) -> Task:
    """Return the task once it has ended."""
    return client.wait(task, timeout_seconds=40)


def test_it_runs_tasks_and_ends_with_a_clean_session(client: Client, start: Start) -> None:
    """More tasks than places; then it is told to end, and does so with exit code 0 and no session left."""
    worker = start("first")
    tasks = [client.submit("COUNT_WORDS", {"text": "to be " * number}) for number in range(1, 13)]

    results = [ended(client, task).response for task in tasks]
    worker.send_signal(signal.SIGTERM)

    assert results == [{"words": 2 * number} for number in range(1, 13)]
    assert worker.wait(20) == 0
    assert ask(os.environ["FAIRLANE_DATABASE"], "GET", "sessions")["sessions"] == []


def test_what_a_killed_one_ran_is_run_by_another(client: Client, start: Start, tmp_path: Path) -> None:
    """The lease of the killed one runs out; the attempt counts as lost, and the next one completes."""
    held = tmp_path / "held"
    held.touch()
    first = start("first", held=held)
    task = client.submit("COUNT_WORDS", {"text": "x"})
    eventually(lambda: begun(held) == ["first"])

    first.kill()
    start("second", held=held)
    eventually(lambda: begun(held) == ["first", "second"], seconds=30)
    held.unlink()

    assert ended(client, task).response == {"by": "second"}
    assert [one.ending for one in client.attempts(task)] == ["WORKER_LOST", "COMPLETED"]


def test_what_a_suspended_one_reports_too_late_is_not_used(client: Client, start: Start, tmp_path: Path) -> None:
    """It stands still beyond its lease; another completes the task. Awake, it finds its session gone, and registers
    again."""
    held = tmp_path / "held"
    held.touch()
    first = start("first", held=held)
    task = client.submit("COUNT_WORDS", {"text": "x"})
    eventually(lambda: begun(held) == ["first"])
    first.send_signal(signal.SIGSTOP)
    second = start("second", held=held)
    eventually(lambda: begun(held) == ["first", "second"], seconds=30)
    held.unlink()
    found = ended(client, task)
    second.send_signal(signal.SIGTERM)
    assert second.wait(20) == 0

    first.send_signal(signal.SIGCONT)
    later = ended(client, client.submit("COUNT_WORDS", {"text": "y"}))

    assert found.response == {"by": "second"}
    assert later.response == {"by": "first"}
    assert ended(client, task).response == {"by": "second"}
