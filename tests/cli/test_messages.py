"""What is typed wrongly is answered in words: which value, where it came from, and what to do."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import Customer, House
from tests.cli.harness import Command
from tests.client.scripted import Reply, ScriptedServer

KEY = "sk_live_1234567890abcdef1234567890abcdef"
NOWHERE = "http://127.0.0.1:9"
APP = "examples/quickstart.py:app"
RIDDLES = ("Errno", "Traceback", "$.", "`int`", "All connection attempts failed", "base_url", '{"')
"""Marks of a library's own words, or of JSON, in a message for people."""

pytestmark = pytest.mark.nothing_yet


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    """An organization on a server that takes workers, too."""
    with House(tmp_path) as house:
        yield house.customer()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command tries a second time."""
    monkeypatch.setattr("fairlane.cli.customer.RETRIES", 0)


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["serve", APP], {"FAIRLANE_WORKERS": "lots"}, "FAIRLANE_WORKERS cannot be 'lots'|number from 0 to 1000"),
        (["serve", APP, "--places", "0"], {}, "--places cannot be 0: |from 1 to 1000, or leave it out (default: 10)"),
        (["serve", APP], {"FAIRLANE_DASHBOARD": "maybe"}, "FAIRLANE_DASHBOARD cannot be 'maybe': give true or false"),
        (["serve", APP, "--log-level", "LOUD"], {}, "one of DEBUG, INFO|--log-level cannot be 'LOUD'"),
        (["serve", APP, "--database", "mysql://x"], {}, "give sqlite:///PATH"),
        (["plans", "list", "--database", "postgresql://u:hush@[bad/x"], {}, "cannot be read|give postgresql://USER"),
        (["plans", "list", "--database", "postgresql://me@127.0.0.1:hush@h/x"], {}, "cannot be read|postgresql://USER"),
        (["plans", "list", "--database", "postgresql://127.0.0.1:9/b:hush@h"], {}, "cannot be read|postgresql://USER"),
        (["plans", "list", "--database", "postgresql://me@server:hush@h:x/x"], {}, "cannot be read|postgresql://USER"),
        (["plans", "list", "--database", "postgresql://u:hush@h:x/x"], {}, "cannot be read|give postgresql://USER"),
        (["plans", "list", "--database", "postgresql://u:hush%zz@127.0.0.1:9/x"], {}, "cannot be read|postgresql://USER"),
        (["plans", "list", "--database", "postgresql://127.0.0.1:9/x"], {}, "127.0.0.1:9/x|nothing listens there"),
        (["plans", "list", "--database", "postgresql://127.0.0.1:9/x?password=hush"], {}, "nothing listens there"),
        (["plans", "list", "--server", NOWHERE], {}, "an admin key is needed|FAIRLANE_ADMIN_KEY"),
        (
            ["plans", "list", "--server", NOWHERE], {"FAIRLANE_ADMIN_KEY": "ak_live_x"},
            f"no server answers at {NOWHERE}|nothing listens there|--server or FAIRLANE_SERVER",
        ),
        (["status", "--url", NOWHERE], {}, f"no key for {NOWHERE}: run `fairlane login {NOWHERE}`|or give --key-file"),
        (["status"], {}, "no key for http://127.0.0.1:8000: run `fairlane login http|, set FAIRLANE_API_KEY"),
        (["status", "--url", "localhost"], {"FAIRLANE_API_KEY": KEY}, "'localhost' cannot be used|https://api.example"),
        (
            ["status", "--url", NOWHERE], {"FAIRLANE_API_KEY": KEY},
            f"no answer to GET {NOWHERE}/v1/async/status|nothing listens there|start the server|FAIRLANE_URL",
        ),
        (["worker", APP, "--server", NOWHERE, "--key", "wrong"], {}, "begins with wk_|keys create --worker"),
        (["worker", APP, "--server", NOWHERE, "--key", KEY], {}, "an organization's key|begins with wk_"),
        (["serve", "nowhere:app"], {}, "No module named 'nowhere'|it is looked for in /|give the path of its file"),
        (["serve", APP.replace(":app", ":other")], {}, "has no attribute 'other'|; give examples/quickstart.py:app"),
        (["serve", "tests/cli/harness.py:app"], {}, "has no attribute 'app'|it has no fairlane.Fairlane at all"),
        (["run", APP, "COUNT", "--payload", "{}"], {}, "no task type 'COUNT'|it has COUNT_WORDS"),
        (["demo", "--output", "/proc/nowhere"], {}, "/proc/nowhere (--output) cannot be made"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("impatient")
def test_a_wrong_word_is_named_with_its_cure(
    fairlane: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: dict[str, str], words: str
) -> None:
    """In the product's words, on standard error, with an exit code that is not 0; no password is shown."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    ran = fairlane(*arguments)

    assert ran.code != 0
    assert [word for word in words.split("|") if word not in ran.err] == [], ran.err
    assert [riddle for riddle in (*RIDDLES, "hush") if riddle in ran.err] == [], ran.err


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_an_address_with_the_apis_version_works(
    fairlane: Command, customer: Customer, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """People copy it with and without."""
    monkeypatch.setenv("FAIRLANE_API_KEY", customer.key["value"])

    assert fairlane("status", "--url", customer.house.server.address + ending).code == 0


def test_a_refused_key_or_type_is_told_with_what_would_do(
    fairlane: Command, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's key, an unknown one, a task type that is misspelt, all at the real server."""
    monkeypatch.setenv("FAIRLANE_URL", customer.house.server.address)
    said = {}
    for key in ("wk_live_1234567890abcdef1234567890abcdef", "sk_live_00000000000000000000000000000000"):
        monkeypatch.setenv("FAIRLANE_API_KEY", key)
        said[key[:2]] = fairlane("status").err
    monkeypatch.setenv("FAIRLANE_API_KEY", customer.key["value"])
    said["type"] = fairlane("submit", "PAGES", "--payload", "{}").err

    assert "the key in FAIRLANE_API_KEY is a worker's" in said["wk"]
    assert "the key is the one in FAIRLANE_API_KEY" in said["sk"]
    assert "is not a known task type: the nearest is PAGE; known are ANY, OTHER, PAGE" in said["type"]
    assert not any(riddle in text for riddle in RIDDLES for text in said.values())


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_not_ours_is_told(fairlane: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it answers."""
    monkeypatch.setenv("FAIRLANE_API_KEY", KEY)
    with ScriptedServer([Reply(404, {"detail": "Not Found"}), Reply(200, {"hello": "world"})]) as server:
        missing, strange = (fairlane("status", "--url", server.address) for _ in range(2))

    assert "not an answer of fairlane's API: check the address (--url or FAIRLANE_URL)" in missing.err
    assert "the address is --url or FAIRLANE_URL" in strange.err
    assert (missing.code, strange.code) == (1, 6)


def test_a_log_event_is_no_message(fairlane: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused backup says why once; the event that a server would log is not for the terminal."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert fairlane("migrate").code == 0

    ran = fairlane("backup", str(tmp_path / "fairlane.db"))

    assert ran.code == 1
    assert ran.err == f"fairlane: {tmp_path / 'fairlane.db'} is there already: give another path\n"


def test_a_worker_is_refused_in_words() -> None:
    """What the server answers is taken apart; a cure is named for what is often wrong."""
    from fairlane.worker.server import _reason

    envelope = {"success": False, "error": {"code": "INVALID_API_KEY", "message": "Invalid key", "timestamp": "x"}}

    assert _reason(401, json.dumps(envelope).encode()).startswith("INVALID_API_KEY: Invalid key; the key is --key")
    assert "FAIRLANE_PUBLIC_WORKERS=1" in _reason(404, json.dumps(envelope).encode())
    assert "not from a fairlane server" in _reason(404, b"<html>nginx</html>")
