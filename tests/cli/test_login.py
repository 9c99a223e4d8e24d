"""``fairlane login`` keeps an address and a key; variables and options override it."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlane.cli import customer, login, profiles
from tests.api.house import Customer, House
from tests.cli.harness import Command

pytestmark = pytest.mark.nothing_yet


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server."""
    with House(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="module")
def acme(house: House) -> Customer:
    """An organization on it."""
    return house.customer()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer, "RETRIES", 0)


def test_a_login_is_enough_for_every_command_until_the_logout(fairlane: Command, acme: Customer) -> None:
    """The key comes from standard input, is tried, and stands in no output."""
    address, key = acme.house.server.address, acme.key["value"]

    logged_in = fairlane("login", address, stdin=f"{key}\n")

    assert (logged_in.code, logged_in.err) == (0, "")
    assert logged_in.out.startswith(f"Logged in at {address}: 0 queued, 0 of ")
    assert key not in logged_in.out
    assert fairlane("status", "--json").document["queuedTasks"] == 0
    assert fairlane("status", "--url", f"{address}/v1").code == 0
    assert fairlane("logout").out == f"Logged out of {address}.\n"
    assert fairlane("logout").out == "You were not logged in.\n"
    assert f"there is no key for {customer.DEFAULT_URL}" in fairlane("status").err


def test_the_file_is_private_and_has_no_leftovers(fairlane: Command, acme: Customer) -> None:
    """Mode 0600 in a folder of mode 0700, also when a second login replaces it; the last logout deletes it."""
    address, key = acme.house.server.address, acme.key["value"]
    path = profiles.profiles_path()

    for name in ("default", "staging"):
        assert fairlane("login", address, "--profile", name, stdin=key).code == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert json.loads(path.read_text()) == {name: {"url": address, "key": key} for name in ("default", "staging")}
    assert [*path.parent.iterdir()] == [path]
    fairlane("logout")
    assert list(json.loads(path.read_text())) == ["staging"]
    fairlane("logout", "--profile", "staging")
    assert [*path.parent.iterdir()] == []


def test_a_failed_write_leaves_the_file_as_it_was(
    fairlane: Command, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing beside it."""
    fairlane("login", acme.house.server.address, stdin=acme.key["value"])
    path = profiles.profiles_path()
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    ran = fairlane("login", acme.house.server.address, "--profile", "other", stdin=acme.key["value"])

    assert (ran.code, "cannot be written: No space left" in ran.err) == (1, True)
    assert (path.read_bytes(), [*path.parent.iterdir()]) == (before, [path])


def test_the_profile_of_the_variable_is_used(
    fairlane: Command, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By login, logout and the commands; one that is not there is told."""
    monkeypatch.setenv("FAIRLANE_PROFILE", "staging")
    assert fairlane("login", acme.house.server.address, stdin=acme.key["value"]).code == 0
    assert fairlane("status").code == 0

    monkeypatch.setenv("FAIRLANE_PROFILE", "stagin")
    missing = fairlane("status")

    assert missing.code == 1
    assert "there is no profile 'stagin' (FAIRLANE_PROFILE)" in missing.err


def test_the_environment_wins(fairlane: Command, acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable's key is used at the login's address, and the login's key at no other address."""
    address = acme.house.server.address
    fairlane("login", address, stdin=acme.key["value"])

    monkeypatch.setenv("FAIRLANE_API_KEY", "sk_live_00000000000000000000000000000000")
    refused = fairlane("status")
    monkeypatch.delenv("FAIRLANE_API_KEY")
    monkeypatch.setenv("FAIRLANE_URL", "http://127.0.0.1:9")
    elsewhere = fairlane("status")

    assert "the key is the one in FAIRLANE_API_KEY" in refused.err
    assert "there is no key for http://127.0.0.1:9" in elsewhere.err
    assert f"you are logged in at {address}" in elsewhere.err


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "there is no key on standard input"),
        ("wk_live_1234567890abcdef1234567890abcdef", "this key is a worker's"),
        ("ak_live_1234567890abcdef1234567890abcdef", "this key is an operator's"),
        ("sk_live_00000000000000000000000000000000", "the key is the one you gave"),
    ],
)
def test_a_key_that_does_not_work_is_not_kept(fairlane: Command, acme: Customer, key: str, words: str) -> None:
    """The message says why."""
    ran = fairlane("login", acme.house.server.address, stdin=key)

    assert ran.code == 1
    assert words in ran.err
    assert not profiles.profiles_path().exists()


def test_a_server_that_does_not_run_is_told(fairlane: Command) -> None:
    """Without a login being kept."""
    ran = fairlane("login", "http://127.0.0.1:9", stdin="sk_live_00000000000000000000000000000000")

    assert ran.code == 6
    assert "nothing listens there" in ran.err
    assert not profiles.profiles_path().exists()


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [('{"default": {"url": "http://x", "key": "k"}}', 0o644, "run `chmod 600"), ("{", 0o600, "delete it and log in")],
)
def test_a_file_that_cannot_be_used_is_told(fairlane: Command, text: str, mode: int, words: str) -> None:
    """One that others can read, or that is damaged."""
    path = profiles.profiles_path()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)

    assert words in fairlane("status").err


def test_the_key_is_asked_for_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without showing what is typed."""
    asked: dict[str, object] = {}

    class Terminal:
        def isatty(self) -> bool:
            return True

    def prompt(text: str, **options: object) -> str:
        asked.update(options)
        return " sk_live_1 "

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("typer.prompt", prompt)

    assert login.read_key() == "sk_live_1"
    assert asked["hide_input"] is True
