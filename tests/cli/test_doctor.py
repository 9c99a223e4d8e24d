"""``fairlane doctor``: beside a server and without one, on a file and on PostgreSQL."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fairlane as package
from fairlane.admin import connection
from tests import postgres
from tests.cli.harness import Command, Ran, RunningServer, start_server


def states(ran: Ran) -> dict[str, str]:
    """How each check ended."""
    return {finding["check"]: finding["state"] for finding in ran.document["findings"]}


def finding(ran: Ran, check: str) -> Any:
    """One check."""
    (one,) = [one for one in ran.document["findings"] if one["check"] == check]
    return one


@pytest.mark.nothing_yet
def test_before_the_first_start_it_says_what_comes_next(fairlane: Command, database: str) -> None:
    """No file is made by looking, and the path may be mistyped."""
    path = database.removeprefix("sqlite:///")

    ran = fairlane("doctor", "--json")

    assert ran.code == 1
    assert finding(ran, "database") == {
        "check": "database", "state": "problem", "message": f"there is no fairlane database at {path}",
        "advice": "check --database and FAIRLANE_DATABASE; if they are right, start a server, or 'fairlane migrate'",
    }  # fmt: skip
    assert not os.path.exists(path)


def test_a_sound_installation_is_fine_with_and_without_its_server(fairlane: Command, server: RunningServer) -> None:
    """The server is named with its version while it runs; its limit of open files is the one that is judged."""
    beside = fairlane("doctor", "--json")
    server.stop()
    alone = fairlane("doctor", "--json")

    assert (beside.code, beside.document["ok"]) == (alone.code, alone.document["ok"]) == (0, True)
    assert set(states(beside).values()) == set(states(alone).values()) == {"ok"}, beside.out + alone.out
    assert finding(beside, "server")["message"] == f"{server.address} runs {package.__version__}"
    assert finding(beside, "servers")["message"].startswith("live: server ")
    assert finding(alone, "servers")["message"] == "none is live"


def test_people_read_what_to_do(fairlane: Command) -> None:
    """Each check in a row, and below what is not fine with its advice."""
    fairlane("organizations", "create", "acme", "--slots", "2")
    fairlane("organizations", "pause", "acme")

    ran = fairlane("doctor")

    assert ran.code == 0
    assert "\nwarning: organizations: paused or disabled: acme (paused)\n  fairlane organizations resume" in ran.out
    assert ran.out.startswith("CHECK")


def test_a_server_that_was_killed_is_not_looked_for(fairlane: Command, server: RunningServer) -> None:
    """The lock file outlived it."""
    server.process.kill()
    server.process.wait()

    assert finding(fairlane("doctor", "--json"), "server")["state"] == "ok"


def test_a_server_that_hangs_is_told(fairlane: Command, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It owns the file and says nothing; everything else is seen without it."""
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.5)
    server.process.send_signal(signal.SIGSTOP)
    try:
        ran = fairlane("doctor", "--json")
    finally:
        server.process.send_signal(signal.SIGCONT)

    assert finding(ran, "server")["state"] == "warning"
    assert "does not answer" in finding(ran, "server")["message"]
    assert finding(ran, "drift")["state"] == "ok"


def test_a_problem_is_exit_code_1(fairlane: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk below the floor; a secret that nothing here opens; a key that cannot be used."""
    fairlane("organizations", "create", "acme", "--slots", "2")
    monkeypatch.setenv("FAIRLANE_SECRET_KEY", "k" * 32)
    assert fairlane("webhooks", "secrets", "create", "acme").code == 0
    monkeypatch.delenv("FAIRLANE_SECRET_KEY")
    sealed = fairlane("doctor", "--json")
    monkeypatch.setenv("FAIRLANE_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("FAIRLANE_FREE_DISK_FLOOR_BYTES", str(2**61))
    full = fairlane("doctor", "--json")
    monkeypatch.setenv("FAIRLANE_SECRET_KEY", "short")
    short = fairlane("doctor", "--json")

    assert (sealed.code, finding(sealed, "webhook secrets")["state"]) == (1, "problem")
    assert (full.code, finding(full, "disk")["state"]) == (1, "problem")
    assert finding(full, "webhook secrets")["state"] == "ok"
    assert (short.code, states(short)) == (1, {"settings": "problem"})


def test_servers_that_are_named_are_looked_for(
    fairlane: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an admin key its version is told, too; what is away, or is no server of ours, is a problem."""
    key = fairlane("keys", "create", "--admin", "ops", "--json").document["value"]
    monkeypatch.setenv("FAIRLANE_PUBLIC_ADMIN", "true")
    with start_server(tmp_path / "log", "--workers", "0") as process:
        server = RunningServer(process, tmp_path / "log")
        try:
            away = "http://127.0.0.1:1"
            bare = fairlane("doctor", "--json", "--server", server.address, "--server", away)
            monkeypatch.setenv("FAIRLANE_ADMIN_KEY", key)
            known = fairlane("doctor", "--json", "--server", server.address)
        finally:
            server.stop()

    assert (bare.code, known.code) == (1, 0)
    assert finding(bare, f"server {server.address}")["message"] == "ready"
    assert finding(bare, f"server {away}")["state"] == "problem"
    assert finding(known, f"server {server.address}")["message"] == f"ready, runs {package.__version__}"


@pytest.fixture
def postgres_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A PostgreSQL for the commands of this test."""
    address = postgres.lend()
    monkeypatch.setenv("FAIRLANE_DATABASE", address)
    yield address
    postgres.give_back(address)


def test_postgresql_has_checks_of_its_own(
    fairlane: Command, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clock, cleaning up, transactions, pooler; and a database that is away is one finding."""
    assert fairlane("migrate").code == 0

    ran = fairlane("doctor", "--json")
    monkeypatch.setenv("FAIRLANE_DATABASE", "postgresql://nobody:hush@127.0.0.1:1/nothing")
    away = fairlane("doctor", "--json")

    assert ran.code == 0, ran.out
    assert {"clock", "autovacuum", "oldest transaction", "pooler"} <= states(ran).keys()
    assert "disk" not in states(ran)
    assert (away.code, states(away)) == (1, {"database": "problem"})
    assert "hush" not in away.out
