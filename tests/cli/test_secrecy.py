"""What SECURITY.md promises of the log: no payload, result, key or webhook secret is in a line of fairlane's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlane.client import Client, ClientError, Task
from tests.cli.conftest import running
from tests.cli.harness import Command, RunningServer, eventually

CANARY = "canary-5f1d"
WAYS = [
    *(("ON_LOOP", way) for way in ("raise", "group", "fail", "retry", "result", "task", "fine")),
    *(("ON_THREAD", way) for way in ("raise", "fail", "retry", "thread", "finalizer")),
    *(("ALONE", way) for way in ("raise", "group", "fail", "thread", "fine")),
    ("LATE_ON_LOOP", "late"),
    ("LATE_ON_THREAD", "late"),
]


@pytest.fixture
def working_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server that logs all there is, and may send webhooks to this machine."""
    monkeypatch.setenv("FAIRLANE_WEBHOOK_ALLOW_PRIVATE", "true")
    monkeypatch.setenv("FAIRLANE_WEBHOOK_PAUSES_SECONDS", "0.1")
    monkeypatch.setenv("FAIRLANE_WEBHOOK_TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("FAIRLANE_SECRET_KEY", f"{CANARY}-{'s' * 40}")
    flags = ("--workers", "1", "--places", "20", "--log-level", "DEBUG", "--log-format", "json")
    yield from running(tmp_path, *flags, app="tests/cli/leaky.py:app")


def test_the_log_has_no_payload_result_key_or_secret(
    fairlane: Command, working_server: RunningServer, tmp_path: Path
) -> None:
    """Through failing handlers, timeouts, refused payloads, webhooks and wrong keys; but type, place and ids are there.

    A record of the application's own has the ids of its attempt.
    """
    fairlane("organizations", "create", "acme", "--slots", "6")
    key = fairlane("keys", "create", "acme", "--json").document["value"]
    secret = fairlane("webhooks", "secrets", "create", "acme", "--json").document["value"]
    hook = f"http://127.0.0.1:1024/{CANARY}-hook"
    wrong = f"sk_live_{'c' * 32}"

    with Client(working_server.address, key) as acme, Client(working_server.address, wrong) as stranger:
        tasks = {(name, way): acme.submit(name, _payload(way), webhook_url=hook) for name, way in WAYS}
        tasks["ON_THREAD", "http"] = acme.submit("ON_THREAD", _payload(f"{working_server.address}/livez"))
        for refused in ({"secret": CANARY, "way": 5}, {"secret": CANARY * 300_000, "way": "fine"}, {CANARY: 1}):
            with pytest.raises(ClientError):
                acme.submit("ON_LOOP", refused)
        with pytest.raises(ClientError):
            stranger.submit("ON_LOOP", _payload("fine"))
        with pytest.raises(ClientError):
            acme.call("on/loop", _payload("raise"))
        ended = {way: acme.wait(task, timeout_seconds=40) for way, task in tasks.items()}
        eventually(lambda: all(delivery.status != "PENDING" for delivery in acme.deliveries()), seconds=30)
    assert working_server.stop() == 0

    log = (tmp_path / "server.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line for line in lines if any(word in str(line) for word in (CANARY, key, secret, wrong, "-hook"))] == []
    assert ended["ON_THREAD", "http"].status == "COMPLETED"
    assert [line for line in lines if "HTTP Request" in line["event"]] == []
    _assert_identified(lines, ended)


def _assert_identified(lines: list[dict[str, Any]], ended: dict[tuple[str, str], Task]) -> None:
    [told] = _of(lines, "attempt.raised", ended["ON_LOOP", "raise"])
    assert (told["organization"], told["attempt"], told["error"]) == ("acme", 1, "ValueError")
    assert told["place"].endswith("in _fail")
    assert " in on_loop" in told["called_from"]
    assert _of(lines, "attempt.raised", ended["ON_LOOP", "group"])[0]["error"] == "ExceptionGroup of RuntimeError"
    assert _of(lines, "attempt.raised", ended["ALONE", "raise"])[0]["error"] == "ValueError"
    assert {line["error"] for line in lines if line["event"] == "task.raised"} == {"LookupError", "OSError"}
    assert {line["error"] for line in lines if line["event"] == "thread.raised"} == {"OSError"}
    assert {line["error"] for line in lines if line["event"] == "exception.ignored"} == {"ArithmeticError"}

    assert [line["attempt"] for line in _of(lines, "on the loop", ended["ON_LOOP", "fine"])] == [1]
    assert [line["organization"] for line in _of(lines, "a task of a handler", ended["ON_LOOP", "task"])] == ["acme"]
    assert [line["attempt"] for line in _of(lines, "on a thread", ended["ON_THREAD", "fail"])] == ["mine"]
    assert [line["attempt"] for line in _of(lines, "alone", ended["ALONE", "fine"])] == [1]


def _of(lines: list[dict[str, Any]], event: str, task: Task) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event and line.get("task_id") == task.id]


def _payload(way: str) -> dict[str, str]:
    return {"secret": CANARY, "way": way}
