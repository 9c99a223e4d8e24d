"""``fairlane dashboard``: an address that opens the operators' pages once, in the browser of this machine."""

import os
import tempfile
import webbrowser
from pathlib import Path

import httpx2
import pytest

from tests import postgres
from tests.cli.conftest import running
from tests.cli.harness import Command, RunningServer

ENTER = "/dashboard#/enter/"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What a browser is asked to open."""
    asked: list[str] = []

    def open_(address: str) -> bool:
        asked.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", open_)
    monkeypatch.setenv("BROWSER", "a-browser")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return asked


def enter(server: RunningServer, address: str) -> int:
    """Exchange the ticket of an address, as the page does; the status."""
    ticket = address.strip().partition(ENTER)[2]
    return httpx2.post(f"{server.address}/dashboard/enter", json={"ticket": ticket}).status_code


def test_the_address_is_printed_and_works_once(
    fairlane: Command, server: RunningServer, opened: list[str], tmp_path: Path
) -> None:
    """Standard output has the address alone; the server's log has nothing of it."""
    ran = fairlane("dashboard", "--print")

    assert ran.code == 0
    assert ran.out.startswith(f"{server.address}{ENTER}")
    assert "within a minute" in ran.err
    assert opened == []
    assert [enter(server, ran.out), enter(server, ran.out)] == [200, 401]
    assert ran.out.strip().partition(ENTER)[2] not in (tmp_path / "server.log").read_text()


def test_programs_get_it_as_json(fairlane: Command, server: RunningServer, opened: list[str]) -> None:
    """With the moment at which it ends; nothing is opened."""
    made = fairlane("dashboard", "--json").document

    assert set(made) == {"address", "expires_at"}
    assert opened == []
    assert enter(server, made["address"]) == 200


def test_a_browser_gets_a_file_that_no_other_user_can_read(
    fairlane: Command, server: RunningServer, opened: list[str], tmp_path: Path
) -> None:
    """The arguments of the browser's process have no ticket. The next command removes the file of the one before."""
    assert fairlane("dashboard").out == ""
    ran = fairlane("dashboard")

    assert (ran.code, ran.out, len(opened)) == (0, "", 2)
    [file] = tmp_path.glob("fairlane-dashboard-*.html")
    assert opened[1] == file.as_uri()
    assert file.stat().st_mode & 0o777 == 0o600
    address = file.read_text().partition('href="')[2].partition('"')[0]
    assert address.startswith(f"{server.address}{ENTER}")
    assert enter(server, address) == 200


@pytest.mark.parametrize("why", ["none could be started", "no screen"])
def test_where_no_browser_opens_the_address_is_printed(
    fairlane: Command, server: RunningServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str
) -> None:
    """And no file is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    if why == "none could be started":
        monkeypatch.setenv("DISPLAY", ":0")

    ran = fairlane("dashboard")

    assert enter(server, ran.out) == 200
    assert list(tmp_path.glob("fairlane-dashboard-*")) == []


def test_on_postgresql_a_server_of_this_machine_is_found(
    fairlane: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its socket, among what a crash left behind; a server on another database gives no ticket for this one."""
    address = postgres.lend()
    options = f"{'&' if '?' in address else '?'}application_name=servers:"
    try:
        monkeypatch.setenv("FAIRLANE_DATABASE", f"{address}{options}one@corp")
        left = Path(os.environ["XDG_RUNTIME_DIR"]) / "fairlane-00000000"
        left.mkdir()
        for server in running(tmp_path, "--json", "--workers", "0"):
            assert enter(server, fairlane("dashboard", "--print").out) == 200
            # What is shown of the second is what is shown of the server's own.
            for other in (f"{address}x", f"{address}{options}two@corp"):
                elsewhere = fairlane("dashboard", "--print", "--database", other)
                assert (elsewhere.code, elsewhere.out) == (1, "")
                assert "no server of yours" in elsewhere.err
        left.rmdir()
    finally:
        postgres.give_back(address)


def test_without_a_server_it_says_so(fairlane: Command) -> None:
    """A session would end with the command."""
    ran = fairlane("dashboard", "--print")

    assert (ran.code, ran.out) == (1, "")
    assert "start one with `fairlane serve`" in ran.err


def test_another_machine_asks_for_a_key(fairlane: Command) -> None:
    """Its socket cannot be reached from here; nothing is sent."""
    ran = fairlane("dashboard", "--server", "https://fairlane.example:8001")

    assert (ran.code, ran.out) == (1, "")
    assert "with an admin key" in ran.err
