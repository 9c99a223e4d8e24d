"""``fairlane serve`` as a process, and the other commands while it runs."""

import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fairlane.cli.program import COMMANDS
from tests.cli.harness import Command, RunningServer, eventually, start_server

SEED_KEY = "sk_live_1234567890abcdef1234567890abcdef"


def call(server: RunningServer, path: str, *, key: str = SEED_KEY, body: object = None) -> dict[str, Any]:
    """One request of a customer."""
    request = urllib.request.Request(
        server.address + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def test_a_customer_is_served_from_start_to_end(fairlane: Command, working_server: RunningServer) -> None:
    """Commands reach the running server; a key made by them works at once; a task runs; SIGTERM ends it with 0."""
    server = working_server
    assert fairlane("organizations", "create", "acme", "--slots", "2").code == 0
    assert fairlane("keys", "create", "acme", "--value", "-", stdin=SEED_KEY).code == 0

    body = {"taskType": "COUNT_WORDS", "payload": {"text": "one two three"}}
    task_id = call(server, "/v1/async/task", body=body)["task"]["id"]
    eventually(lambda: call(server, f"/v1/async/task/{task_id}")["task"]["status"] == "COMPLETED")

    assert call(server, f"/v1/async/task/{task_id}")["response"] == {"words": 3, "characters": 13}
    assert call(server, "/v1/async/status")["concurrency"] == {"used": 0, "max": 2}
    shown = fairlane("organizations", "show", "acme", "--json").document
    assert (shown["submitted"], shown["completed"]) == (1, 1)
    assert fairlane("drift", "--json").document == {"drift": [], "organizations": 1}
    assert server.stop() == 0
    assert list(Path(os.environ["XDG_RUNTIME_DIR"]).iterdir()) == []


def test_a_change_is_seen_by_customers_at_once(fairlane: Command, server: RunningServer) -> None:
    """A new limit, maintenance and a revoked key show in the next answer."""
    fairlane("organizations", "create", "acme", "--slots", "2")
    key = fairlane("keys", "create", "acme", "--json").document

    fairlane("organizations", "change", "acme", "--slots", "9")
    assert call(server, "/v1/async/status", key=key["value"])["concurrency"] == {"used": 0, "max": 9}
    fairlane("maintenance", "on")
    assert call(server, "/v1/async/status", key=key["value"])["concurrency"] is None
    fairlane("keys", "revoke", key["id"])
    with pytest.raises(urllib.error.HTTPError, match="401"):
        call(server, "/v1/async/status", key=key["value"])


def test_refusals_read_the_same_with_and_without_a_server(fairlane: Command, server: RunningServer) -> None:
    """There is one path to the admin API."""
    served = [fairlane(*arguments) for arguments in (("plans", "show", "nowhere"), ("keys", "list", "nobody"))]
    server.stop()
    alone = [fairlane(*arguments) for arguments in (("plans", "show", "nowhere"), ("keys", "list", "nobody"))]

    assert served == alone


def test_a_second_server_on_the_file_is_refused(server: RunningServer, tmp_path: Path) -> None:
    """One line on stderr, nothing on stdout, exit code 5; the first goes on."""
    second = start_server(tmp_path / "second.log")
    out, _ = second.communicate(timeout=20)

    said = (tmp_path / "second.log").read_text()
    assert (second.returncode, out) == (5, "")
    assert said.startswith("fairlane: ")
    assert "Traceback" not in said
    with urllib.request.urlopen(f"{server.address}/readyz", timeout=5) as answer:
        assert answer.status == 200


ORPHAN = """
import ctypes, os, sys
from pathlib import Path
from fairlane import Fairlane

app = Fairlane()
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG: outlive the server


@app.on_start
def started() -> None:
    Path(os.environ["FAIRLANE_TEST_PID"]).write_text(f"{os.getpid()}\\n")


@app.task("ANY")
def anything(payload: dict) -> dict:
    return payload
"""


def test_the_lock_is_held_for_as_long_as_a_worker_of_a_dead_server_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handlers may still be at work, so nothing may be handed out again before."""
    pid_file, app = tmp_path / "pid", f"{tmp_path / 'orphan.py'}:app"
    (tmp_path / "orphan.py").write_text(ORPHAN)
    monkeypatch.setenv("FAIRLANE_TEST_PID", str(pid_file))
    with start_server(tmp_path / "first.log", "--workers", "1", app=app) as first:
        RunningServer(first, tmp_path / "first.log")
        eventually(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        worker = int(pid_file.read_text())
        try:
            os.kill(worker, signal.SIGSTOP)
            first.kill()
            first.wait()
            with start_server(tmp_path / "second.log") as second:
                try:
                    assert second.wait(20) == 5
                finally:
                    second.kill()
        finally:
            os.kill(worker, signal.SIGKILL)

    with start_server(tmp_path / "third.log", "--workers", "0") as third:
        assert RunningServer(third, tmp_path / "third.log").stop() == 0


def test_commands_work_again_after_a_killed_server(fairlane: Command, server: RunningServer) -> None:
    """The lock file of a dead server is not believed."""
    fairlane("organizations", "create", "acme")

    server.process.kill()
    server.process.wait()

    ran = fairlane("organizations", "list", "--json")
    assert ran.code == 0
    assert [found["name"] for found in ran.document["organizations"]] == ["acme"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere.to_be_found:app"], 3),
        (["examples.quickstart:nothing"], 3),
        (["examples.quickstart:app", "--database", "mysql://localhost/x"], 1),
        (["examples.quickstart:app", "--database", "postgresql://127.0.0.1:1/x"], 4),
        (["examples.quickstart:app", "--database", "sqlite:////dev/null/x.db"], 4),
        (["examples.quickstart:app", "--port", "99999"], 1),
        (["examples.quickstart:app", "--port", "http"], 2),
        ([], 2),
    ],
)
def test_what_cannot_be_served_has_a_code_and_a_reason(fairlane: Command, arguments: list[str], code: int) -> None:
    """One message on stderr, no traceback, nothing on stdout."""
    ran = fairlane("serve", *arguments)

    assert (ran.code, ran.out) == (code, "")
    assert ran.err
    assert "Traceback" not in ran.err


def test_ready_can_be_read_by_programs(server: RunningServer, database: str) -> None:
    """``--json`` prints one line with the addresses."""
    ready = json.loads(server.ready)

    dashboard, reference = f"{server.address}/dashboard", f"{server.address}/docs"
    assert ready == {
        "address": server.address, "dashboard": dashboard, "reference": reference, "database": database,
        "pid": server.process.pid,
    }  # fmt: skip
    assert server.address.startswith("http://127.0.0.1:")


def test_help_of_every_command_has_an_example(fairlane: Command) -> None:
    """Nobody has to guess the shape of a command line."""
    pending: list[tuple[str, ...]] = [()]
    seen = 0
    while pending:
        words = pending.pop()
        ran = fairlane(*words, "--help")
        commands = ran.out.partition("Commands:")[2].partition("\n\n")[0]
        names = [line.split()[0] for line in commands.splitlines() if line.startswith("  ") and line[2] != " "]
        assert ran.code == 0
        names = names or ([] if words else [*COMMANDS])  # the program's own are in groups
        assert names or "Example" in ran.out, words
        pending += [(*words, name) for name in names]
        seen += 1
    assert seen > 25


def test_workers_that_cannot_start_are_told_everywhere(
    fairlane: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command itself, readiness, the doctor, the metrics and the server's facts; and no more once they can."""
    wish, log = tmp_path / "wish", tmp_path / "server.log"
    wish.write_text("raise")
    monkeypatch.setenv("FAIRLANE_TEST_START", str(wish))
    reason = "the start hook load raised RuntimeError (starts.py:21)"
    app = "tests/worker/apps/starts.py:app"
    with start_server(log, "--json", "--workers", "2", app=app) as process:
        server = RunningServer(process, log)
        eventually(lambda: ready(server) == (503, f"No worker can start: {reason}"))
        doctor = fairlane("doctor", "--server", server.address, "--json")
        failing = operator_reads("/metrics"), operator_reads("/admin/v1/server")
        eventually(lambda: fairlane("sessions", "list", "--json").document["failed_starts"])
        listed, doubled = fairlane("sessions", "list"), fairlane("doctor", "--json")

        wish.write_text("")
        eventually(lambda: ready(server) == (200, ""))
        after = fairlane("doctor", "--json"), operator_reads("/metrics"), operator_reads("/admin/v1/server")
        code = server.stop()
        assert process.stdout is not None
        last = json.loads(process.stdout.read().splitlines()[-1])

    said = log.read_text()
    found = {one["check"]: one for one in doctor.document["findings"]}
    assert (doctor.code, found["local workers"]["state"]) == (1, "problem")
    assert reason in found["local workers"]["message"]
    assert reason in found[f"server {server.address}"]["message"]
    assert f"fairlane: no worker can start: {reason}" in said
    assert said.count("start.failed") == said.count("start.recovered") == 1
    assert "\nfairlane_workers_failing 1.0\n" in failing[0]
    assert json.loads(failing[1])["worker_trouble"] == reason
    assert re.search(rf"tests/worker/apps/starts.py:app +{socket.gethostname()} +\d+ .*{re.escape(reason)}", listed.out)
    assert any(one["check"] == "worker starts" and reason in one["message"] for one in doubled.document["findings"])
    assert after[0].code == 0
    assert "\nfairlane_workers_failing 0.0\n" in after[1]
    assert json.loads(after[2])["worker_trouble"] is None
    assert code == 0
    assert last["drained"].keys() == {"finished", "returned", "lost", "seconds"}


def ready(server: RunningServer) -> tuple[int, str]:
    """What readiness answers, and why it is not."""
    try:
        with urllib.request.urlopen(f"{server.address}/readyz", timeout=5) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)["error"]["message"]


def operator_reads(path: str) -> str:
    """What an operator's route answers on the admin socket."""
    [socket] = Path(os.environ["XDG_RUNTIME_DIR"]).glob("*/admin.sock")
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket)), base_url="http://fairlane") as client:
        return client.get(path).text


def test_a_server_whose_disk_failed_ends_and_the_next_one_reads_what_is_true(
    fairlane: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync it accepts nothing more, ends by itself with an exit code of its own, and says why once."""
    failed = tmp_path / "failed"
    monkeypatch.setenv("FAIL_FILE", str(failed))
    log = tmp_path / "server.log"
    body = {"taskType": "WORK", "payload": {}}
    with start_server(log, app="tests.cli.failing_disk:app") as process:
        server = RunningServer(process, log)
        fairlane("organizations", "create", "acme", "--slots", "2")
        fairlane("keys", "create", "acme", "--value", "-", stdin=SEED_KEY)
        kept = call(server, "/v1/async/task", body=body)["task"]["id"]

        failed.touch()
        with pytest.raises((urllib.error.HTTPError, OSError)) as refused:
            call(server, "/v1/async/task", body=body)
        code = process.wait(20)
    failed.unlink()

    assert code == 9
    status = getattr(refused.value, "code", 503)
    if isinstance(refused.value, urllib.error.HTTPError):
        refused.value.close()
    assert status == 503
    said = log.read_text()
    assert said.count("store.broken") == 1
    assert "Traceback" not in said
    with start_server(tmp_path / "after.log", app="tests.cli.failing_disk:app") as process:
        after = RunningServer(process, tmp_path / "after.log")
        eventually(lambda: call(after, f"/v1/async/task/{kept}")["task"]["status"] == "COMPLETED")
        assert after.stop() == 0
