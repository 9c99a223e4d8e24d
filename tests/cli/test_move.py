"""``fairlane move``: from a server on a file to a server on PostgreSQL, with real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.cli.harness import Command, RunningServer, eventually, start_server
from tests.cli.test_serve import SEED_KEY, call

TASKS = 30


@pytest.fixture
def target() -> Iterator[str]:
    """A PostgreSQL database that nobody uses."""
    address = postgres.lend(bare=True)
    yield address
    postgres.give_back(address)


def test_work_is_finished_where_it_was_moved_to(
    fairlane: Command,
    server: RunningServer,
    database: str,
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A running source is refused; then everything moves, the key still works, and a server there ends every task."""
    fairlane("organizations", "create", "acme", "--slots", "2")
    fairlane("keys", "create", "acme", "--value", "-", stdin=SEED_KEY)
    body = {"taskType": "COUNT_WORDS", "payload": {"text": "größe 🙂"}}
    ids = [call(server, "/v1/async/task", body=body)["task"]["id"] for _ in range(TASKS)]
    move = ("move", "--from", database, "--to", target)

    running = fairlane(*move)
    assert (running.code, running.out) == (5, "")
    server.stop()
    moved = fairlane(*move, "--json")
    assert moved.code == 0, moved.err
    assert moved.document["rows"]["task"] == moved.document["rows"]["queue_entry"] == TASKS
    assert f"task: {TASKS} rows" in moved.err
    again = fairlane(*move)
    assert (again.code, again.out) == (4, "")
    assert "not empty" in again.err

    monkeypatch.setenv("FAIRLANE_DATABASE", target)
    with start_server(tmp_path / "moved.log", "--workers", "1") as process:
        there = RunningServer(process, tmp_path / "moved.log")
        try:
            eventually(lambda: call(there, "/v1/async/status")["queuedTasks"] == 0, seconds=30)
            eventually(lambda: call(there, f"/v1/async/task/{ids[-1]}")["task"]["status"] == "COMPLETED")
            assert call(there, f"/v1/async/task/{ids[0]}")["response"] == {"words": 2, "characters": 7}
        finally:
            there.stop()
    assert fairlane("drift", "--json").document["drift"] == []


@pytest.mark.nothing_yet
def test_what_cannot_be_moved_is_refused(fairlane: Command, database: str, target: str, tmp_path: Path) -> None:
    """No installation there, or the wrong way round; no file is made."""
    nothing = fairlane("move", "--from", database, "--to", target)
    backwards = fairlane("move", "--from", target, "--to", database)

    assert (nothing.code, backwards.code) == (1, 1)
    assert "there is no installation" in nothing.err
    assert "sqlite:///PATH to postgresql://" in backwards.err
    assert not (tmp_path / "fairlane.db").exists()
