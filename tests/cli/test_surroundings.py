"""A server and its workers work and log whatever the application's import did to their processes, and say what."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlane.client import Client
from fairlane.surroundings import Surroundings
from tests.cli.conftest import running
from tests.cli.harness import ROOT, Command, RunningServer


@pytest.fixture
def working_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server of the rude application; its database is named relative to the working directory."""
    monkeypatch.setenv("FAIRLANE_DATABASE", f"sqlite:///{os.path.relpath(tmp_path / 'fairlane.db', ROOT)}")
    flags = ("--workers", "1", "--log-format", "json")
    yield from running(tmp_path, *flags, app="tests/cli/rude.py:app")


def test_an_import_that_changes_everything_silences_nothing(
    fairlane: Command, working_server: RunningServer, tmp_path: Path
) -> None:
    """Events are logged, tasks run in every process, commands find the database, and SIGTERM ends the server."""
    assert fairlane("organizations", "create", "acme").code == 0
    with Client(working_server.address, fairlane("keys", "create", "acme", "--json").document["value"]) as acme:
        tasks = [acme.submit(name, {}) for name in ("ON_LOOP", "ALONE")]
        ended = [acme.wait(task, timeout_seconds=40).status for task in tasks]
    assert working_server.stop() == 0

    lines = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    assert ended == ["FAILED", "FAILED"]
    assert (tmp_path / "fairlane.db").stat().st_mode & 0o777 == 0o600
    assert [line["task_id"] for line in lines if line["event"] == "attempt.raised"] == [task.id for task in tasks]
    assert {"server.started", "worker.ready", "server.draining", "worker.ended"} <= {line["event"] for line in lines}
    changed = [line["changed"] for line in lines if line["event"] == "application.changed"]
    assert len(changed) == 5, "once in the server; in the worker and in the isolated process after import and hooks"
    everywhere = ["logging.disable", "loggers that existed", "SIGTERM", "SIGPIPE", "blocked", "sys.path"]
    in_server = ["working directory", "HOME", "sys.stdout", "warnings", "umask", "sockets", "garbage"]
    first = ["handlers of the root logger", "level of the root logger"]
    assert [word for word in everywhere + first + in_server if word not in changed[0]] == []
    assert [(word, said) for word in everywhere for said in changed if word not in said] == []
    assert [(word, said) for word in in_server for said in changed[1:] if word in said] == []


def test_an_import_that_changes_nothing_is_not_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    """And what an application adds stays."""
    for hosts_handlers in (False, True):
        surroundings = Surroundings(hosts_handlers=hosts_handlers)
        usual = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.environ["FAIRLANE_TEST_ADDED"] = "1"

        assert surroundings.put_back() == []

        assert signal.signal(signal.SIGUSR1, usual) is signal.SIG_IGN
        assert os.environ.pop("FAIRLANE_TEST_ADDED") == "1"
    assert caplog.records == []
