"""``fairlane run``: one handler, here and now."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import ROOT, Command

APP = "tests.cli.apps:app"


def wish(ending: str) -> str:
    """The payload that asks for an ending."""
    return json.dumps({"ending": ending})


def test_the_result_is_printed_with_hooks_run_and_context_given(fairlane: Command) -> None:
    """Start hooks run before, stop hooks after, and the context says what the flags said."""
    ran = fairlane("run", APP, "END", "--payload", wish("well"), "--attempt", "3", "--organization", "acme", "--json")

    assert ran.code == 0
    assert ran.document["attempt"] == 3
    assert ran.document["organization"] == "acme"
    assert "ready" in ran.document["prepared"]
    assert "tidied" in ran.err


def test_the_payload_is_read_from_standard_input(fairlane: Command) -> None:
    """``-`` takes payloads of any size."""
    ran = fairlane("run", "examples.quickstart:app", "COUNT_WORDS", "--payload", "-", stdin='{"text": "one two"}')

    assert (ran.code, ran.document) == (0, {"words": 2, "characters": 7})


def test_a_result_that_is_no_object_is_wrapped(fairlane: Command) -> None:
    """As it would be over the API."""
    assert fairlane("run", APP, "END", "--payload", wish("list")).document == {"result": [1, 2]}


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_half_a_surrogate_pair_is_printed_as_an_escape(fairlane: Command, flags: list[str]) -> None:
    """As it is kept."""
    ran = fairlane("run", APP, "END", "--payload", wish("half"), *flags)

    assert (ran.code, ran.out.strip()) == (0, r'{"half":"\ud800"}')


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("retry", "Retry: not yet (the next attempt starts after 7 s)"),
        ("fail", "Fail: NO_SUCH_PAGE: there is no such page (the task fails now"),
        ("raise", "LookupError: the index is gone"),
        ("late", "after its timeout of 0.2 s"),
        ("nan", "RESULT_NOT_SERIALIZABLE"),
    ],
)
def test_an_attempt_that_does_not_complete_exits_1_and_says_why(fairlane: Command, ending: str, said: str) -> None:
    """Nothing is printed on stdout; the stop hooks still run."""
    ran = fairlane("run", APP, "END", "--payload", wish(ending))

    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
    assert "tidied" in ran.err


def test_a_failure_is_json_for_programs(fairlane: Command) -> None:
    """With what the organization would see."""
    ran = fairlane("run", APP, "END", "--payload", wish("fail"), "--json")

    assert ran.code == 1
    assert ran.document["retry"] is False
    seen = {"code": "NO_SUCH_PAGE", "message": "there is no such page", "details": {"page": 3}}
    assert ran.document["failure"] == seen


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be an object"),
        ('{"ending": 5}', "payload.ending"),
        ("{}", "payload.ending: is required"),
        ('{"ending": "a", "ending": "b"}', "twice"),
        ('{"ending": NaN}', "NaN"),
        ('{"ending": "well", "more": 1}', "payload.more"),
    ],
)
def test_a_payload_is_refused_as_the_api_refuses_it(fairlane: Command, payload: str, said: str) -> None:
    """With the field and the reason, and no attempt."""
    ran = fairlane("run", APP, "END", "--payload", payload)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("fairlane: the payload is refused\n")
    assert said in ran.err
    assert "tidied" not in ran.err


def test_an_unknown_task_type_is_answered_with_the_known_ones(fairlane: Command) -> None:
    """A misspelling is found at a glance."""
    ran = fairlane("run", APP, "ENDE", "--payload", "{}")

    assert ran.code == 1
    assert "it has BLOCK, END" in ran.err


@pytest.mark.parametrize("reference", ["nowhere.to_be_found:app", "tests.cli.apps:nothing", "tests.cli.apps"])
def test_an_app_that_cannot_be_used_exits_3(fairlane: Command, reference: str) -> None:
    """One line on stderr and no traceback."""
    ran = fairlane("run", reference, "END", "--payload", "{}")

    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("fairlane: ")
    assert "Traceback" not in ran.err


def test_a_handler_on_a_thread_runs_and_leaves_no_process(tmp_path: Path) -> None:
    """As the installed script would run it, from any directory, an app in a file."""
    (tmp_path / "mine.py").write_text((ROOT / "tests/cli/apps.py").read_text())
    command = [sys.executable, "-m", "fairlane", "run", "mine.py:app", "BLOCK", "--payload", wish("well"), "--json"]

    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)

    assert (ran.returncode, json.loads(ran.stdout)) == (0, {"ended": "well"})
