"""``fairlane status``, ``wait``, ``why``, ``cancel``, ``monitor`` and ``top`` against a real server."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from fairlane.cli.monitor import Thresholds, ThresholdWatch
from fairlane.cli.status import _progress
from fairlane.client import Client, Concurrency, Progress, Status
from fairlane.webhooks import signing
from tests.cli.harness import ROOT, Command, RunningServer, eventually

KEY = "sk_live_1234567890abcdef1234567890abcdef"
NOW = datetime(2025, 11, 10, tzinfo=UTC)


@pytest.fixture
def acme(fairlane: Command, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """An organization with four slots on a server without workers; the environment has its key."""
    fairlane("organizations", "create", "acme", "--slots", "4")
    fairlane("keys", "create", "acme", "--value", "-", stdin=KEY)
    monkeypatch.setenv("FAIRLANE_URL", server.address)
    monkeypatch.setenv("FAIRLANE_API_KEY", KEY)
    with Client() as client:
        yield client


def submitted(client: Client, count: int, **options: Any) -> list[str]:
    """The ids of so many queued tasks."""
    return [client.submit("COUNT_WORDS", {"text": "a b"}, **options).id for _ in range(count)]


def test_status_shows_what_the_api_says(fairlane: Command, acme: Client) -> None:
    """A line and a table for people; the API's own answer for programs."""
    submitted(acme, 2, priority=5)
    submitted(acme, 1)

    ran, document = fairlane("status"), fairlane("status", "--json").document

    assert ran.code == 0
    assert ran.out.splitlines()[0] == "queued 3, running 0, 0/4 slots (0%)"
    assert [line.split() for line in ran.out.splitlines()[1:]] == [["PRIORITY", "QUEUED"], ["5", "2"], ["1", "1"]]
    assert document == {
        "queuedTasks": 3,
        "processingTasks": 0,
        "concurrency": {"used": 0, "max": 4},
        "priorityBreakdown": [{"priority": 5, "count": 2}, {"priority": 1, "count": 1}],
    }


def test_status_is_proven_on_request(fairlane: Command, acme: Client) -> None:
    """With exit code 0 while every count is what its rows say; not again and again."""
    ran = fairlane("status", "--verify")
    both = fairlane("status", "--verify", "--watch")

    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "Every count equals its rows."
    assert both.code == 2


def test_slots_are_shown_with_what_holds_them(fairlane: Command, acme: Client) -> None:
    """None, here; the client's tests have one."""
    empty, document = fairlane("slots"), fairlane("slots", "--json").document

    assert (empty.out.strip(), document) == ("No slot is in use.", [])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (Progress(0.4, 12, 30, "pages read", NOW), "40% (12 of 30) pages read"),
        (Progress(0.5, None, None, None, NOW), "50%"),
        (Progress(None, None, None, "begins", NOW), "begins"),
        (None, ""),
    ],
)
def test_progress_is_shown_in_a_few_words(said: Progress | None, shown: str) -> None:
    """What the handler says, and no more."""
    assert _progress(said) == shown


def test_status_says_when_slots_are_not_vouched_for(fairlane: Command, acme: Client) -> None:
    """Instead of a number that may be wrong."""
    fairlane("organizations", "maintenance", "acme", "on")

    assert fairlane("status").out.strip() == "queued 0, running 0, slots unknown"


def test_watching_prints_a_line_each_time_until_it_is_interrupted(acme: Client) -> None:
    """Away from a terminal; Ctrl-C is no failure and leaves no traceback."""
    command = [sys.executable, "-m", "fairlane", "status", "--watch", "--every", "0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        submitted(acme, 1)
        eventually(lambda: process.stdout is not None and "queued 1" in process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)

    assert lines == ["queued 0, running 0, 0/4 slots (0%)\n"] * 2
    assert process.returncode == 0
    assert said == ""


def test_wait_ends_with_the_tasks_and_says_how(fairlane: Command, acme: Client) -> None:
    """7 while one still waits, 1 when one failed; keys do, too; each is a line of JSON for programs."""
    first, second = submitted(acme, 1, idempotency_key="hamlet/3 1") + submitted(acme, 1)

    late = fairlane("wait", first, "--timeout", "0.1")
    acme.cancel(first)
    acme.cancel(second)
    ended = fairlane("wait", "hamlet/3 1", second)
    as_json = fairlane("wait", first, second, "--json")

    assert (late.code, late.out) == (7, "")
    assert "is still QUEUED" in late.err
    assert ended.code == as_json.code == 1
    assert ended.out.count("TASK_CANCELED") == 2
    assert [json.loads(line)["id"] for line in as_json.out.splitlines()] == [first, second]


def test_cancel_takes_ids_and_keys(fairlane: Command, acme: Client) -> None:
    """What cannot be canceled says why."""
    [first] = submitted(acme, 1, idempotency_key="mine")

    ran, unknown = fairlane("cancel", "mine", "--json"), fairlane("cancel", "nobody")

    assert [(task["id"], task["status"]) for task in ran.document] == [(first, "FAILED")]
    assert (unknown.code, unknown.out) == (1, "")
    assert "Task not found" in unknown.err


def test_failed_tasks_are_listed_with_their_errors(fairlane: Command, acme: Client) -> None:
    """Lists of the API leave them out; the column is not empty, and programs are told the same."""
    failed, queued = submitted(acme, 2)
    acme.cancel(failed)

    shown, document = fairlane("tasks", "mine"), fairlane("tasks", "mine", "--status", "FAILED", "--json").document

    rows = {line.split()[0]: line for line in shown.out.splitlines()}
    assert "TASK_CANCELED: " in rows[failed]
    assert "QUEUED" in rows[queued]
    assert [task["response"]["error"]["code"] for task in document] == ["TASK_CANCELED"]


def test_why_says_the_reason_in_words(fairlane: Command, acme: Client) -> None:
    """By id or key, with how many are ahead; the API's answer for programs."""
    submitted(acme, 2)
    acme.submit("COUNT_WORDS", {"text": "a"}, idempotency_key="third/1")

    ran, document = fairlane("why", "third/1"), fairlane("why", "third/1", "--json").document

    assert ran.code == 0
    assert "TYPE_UNSERVED: no live worker serves this type" in ran.out
    assert [line.split() for line in ran.out.splitlines() if "ahead" in line] == [["Tasks", "ahead", "2"]]
    assert (document["reason"], document["tasksAhead"], document["estimate"]) == ("TYPE_UNSERVED", 2, None)
    assert fairlane("why", "nothing").code == 1


def test_nobody_there_is_exit_code_6(fairlane: Command, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few tries; and a wrong key is 1."""
    monkeypatch.setattr("fairlane.cli.customer.RETRIES", 0)
    monkeypatch.setenv("FAIRLANE_API_KEY", KEY)

    wrong_key = fairlane("status", "--url", server.address)
    nobody = fairlane("status", "--url", "http://127.0.0.1:9")

    assert (wrong_key.code, nobody.code) == (1, 6)
    assert "INVALID_OR_EXPIRED_API_KEY" in wrong_key.err
    assert "no answer" in nobody.err


def test_the_key_is_read_from_a_file(
    fairlane: Command, acme: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """With its line end; a file that is not there is named."""
    monkeypatch.delenv("FAIRLANE_API_KEY")
    (tmp_path / "key").write_text(f"{KEY}\n")

    assert fairlane("status", "--key-file", str(tmp_path / "key")).code == 0
    assert "nowhere" in fairlane("status", "--key-file", str(tmp_path / "nowhere")).err


def test_monitor_ends_with_8_once_a_threshold_was_exceeded_long_enough(fairlane: Command, acme: Client) -> None:
    """And with 0 if it is kept; one look does with ``--once``."""
    submitted(acme, 3)

    kept = fairlane("monitor", "--queued-above", "3", "--once")
    alert = fairlane("monitor", "--queued-above", "2", "--utilization-above", "0.8", "--for", "0.2s", "--every", "0.1s")

    assert (kept.code, kept.err) == (0, "")
    assert alert.code == 8
    assert "3 tasks are queued, more than 2" in alert.err


class Receiver:
    """A webhook's far end that takes what it is told to, and remembers all of it."""

    def __init__(self) -> None:
        self.status = 204
        self.posted: list[tuple[int, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(outer.status)
                self.end_headers()
                outer.posted.append((outer.status, dict(self.headers), body))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    @property
    def taken(self) -> list[dict[str, Any]]:
        """The messages that were answered well."""
        return [json.loads(body) for status, _, body in self.posted if status == 204]

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


WATCHING = [sys.executable, "-m", "fairlane", "monitor", "--queued-above", "2", "--for", "0.3s", "--every", "0.1s"]


def test_monitor_posts_alert_and_recovery(acme: Client) -> None:
    """One message each, however often it looks."""
    submitted(acme, 3)
    with Receiver() as receiver:
        command = [*WATCHING, "--webhook", receiver.address]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            eventually(lambda: len(receiver.posted) == 1)
            acme.clear()
            eventually(lambda: len(receiver.posted) == 2)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0

    assert [(one["event"], one["queuedTasks"]) for one in receiver.taken] == [("alert", 3), ("recovered", 0)]
    assert receiver.taken[0]["reasons"] == ["3 tasks are queued, more than 2"]


def test_monitor_posts_again_what_was_not_taken(acme: Client, tmp_path: Path) -> None:
    """At each look, the alert before the recovery, each signed anew under the same id."""
    secret = signing.new_secret()
    (tmp_path / "secret").write_text(secret + "\n")
    submitted(acme, 3)
    with Receiver() as receiver:
        receiver.status = 503
        command = [*WATCHING, "--webhook", receiver.address, "--secret-file", str(tmp_path / "secret")]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            eventually(lambda: len(receiver.posted) >= 2)
            acme.clear()
            receiver.status = 204
            eventually(lambda: len(receiver.taken) == 2)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0

    assert [message["event"] for message in receiver.taken] == ["alert", "recovered"]
    alert = [headers for _, headers, body in receiver.posted if json.loads(body)["event"] == "alert"]
    assert len({headers["webhook-id"] for headers in alert}) == 1
    for _, headers, body in receiver.posted:
        Webhook(secret).verify(body, headers)


def test_monitor_that_looks_once_says_that_nobody_took_it(fairlane: Command, acme: Client) -> None:
    """Nobody else would."""
    submitted(acme, 3)
    with Receiver() as receiver:
        receiver.status = 503
        ran = fairlane("monitor", "--queued-above", "2", "--once", "--webhook", receiver.address)

    assert (ran.code, len(receiver.posted)) == (1, 1)
    assert "did not accept" in ran.err


@pytest.mark.parametrize(
    ("looks", "events"),
    [
        ([(0, True), (299, True)], []),
        ([(0, True), (300, True), (330, True)], ["alert"]),
        ([(0, True), (200, False), (300, True), (500, True)], []),
        ([(0, True), (300, True), (330, False), (400, True), (629, False)], ["alert"]),
        ([(0, True), (300, True), (330, False), (630, False), (640, False)], ["alert", "recovered"]),
    ],
)
def test_a_state_is_believed_once_it_has_lasted(looks: list[tuple[float, bool]], events: list[str]) -> None:
    """One alert and one recovery for an incident; what flickers says nothing."""
    watch = ThresholdWatch(300)

    told = [watch.look(exceeded, at) for at, exceeded in looks]

    assert [event for event in told if event] == events


def test_thresholds_are_exceeded_by_more_and_not_by_as_much() -> None:
    """As in the published scripts: more than 1000 queued, more than 0.8 of the slots. Unknown slots say nothing."""
    thresholds = Thresholds(queued_above=1_000, utilization_above=0.8)

    assert thresholds.exceeded(Status(1_000, 4, Concurrency(4, 5))) == []
    assert thresholds.exceeded(Status(1_001, 5, Concurrency(5, 5))) == [
        "1,001 tasks are queued, more than 1,000",
        "5 of 5 slots are taken, 100% and more than 80%",
    ]
    assert thresholds.exceeded(Status(0, 5, None)) is None
    assert thresholds.exceeded(Status(1_001, 5, None)) == ["1,001 tasks are queued, more than 1,000"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--queued-above or"),
        (("--queued-above", "1", "--for", "5 minutes"), "is not a time"),
        (("--queued-above", "1", "--webhook", "alerts.example"), "Must be an http or https URL"),
    ],
)
def test_monitor_needs_a_threshold_and_a_time(fairlane: Command, arguments: tuple[str, ...], said: str) -> None:
    """Wrong usage is exit code 2."""
    ran = fairlane("monitor", *arguments)

    assert ran.code == 2
    assert said in ran.err


def test_top_shows_every_organization_with_its_rates(fairlane: Command, acme: Client) -> None:
    """The busiest first; programs get one interval as JSON."""
    fairlane("organizations", "create", "bolt", "--slots", "2")
    fairlane("organizations", "pause", "bolt")
    submitted(acme, 2)

    ran, document = fairlane("top", "--every", "0.2"), fairlane("top", "--every", "0.2", "--json").document

    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0][:6] == ["ORGANIZATION", "STATE", "QUEUED", "OLDEST", "RUNNING", "SLOTS"]
    assert [[*line[:3], *line[4:6]] for line in lines[1:]] == [
        ["acme", "active", "2", "0", "0/4"],
        ["bolt", "paused", "0", "0", "0/2"],
    ]
    assert lines[1][3].endswith("s")
    assert lines[2][3] == "-"
    assert [one["name"] for one in document["organizations"]] == ["acme", "bolt"]
    assert document["organizations"][0]["completed_per_second"] == 0


def test_capacity_is_told_to_the_organization_and_to_its_operator(fairlane: Command, acme: Client) -> None:
    """By key or by name; never half of each."""
    own, by_name = fairlane("capacity", "--days", "1", "--json"), fairlane("capacity", "acme", "--days", "1", "--json")
    shown, nobody = fairlane("capacity", "acme"), fairlane("capacity", "nobody")
    both = fairlane("capacity", "acme", "--key-file", "key")

    assert own.document["max"] == by_name.document["max"] == 4
    assert own.document == by_name.document | {"from": own.document["from"], "to": own.document["to"]}
    assert own.document["replayed"]["estimate"] is True
    assert shown.out.splitlines() == [
        "Limited by the plan 0% and by workers 0% of the last 1 minute. Nothing waited: there is enough of both.",
        "Slots in use on average: 0 of 4.",
    ]
    assert (nobody.code, both.code) == (1, 2)
