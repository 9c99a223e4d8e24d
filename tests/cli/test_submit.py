"""``fairlane submit`` against a real server: files, results, running again, and being killed."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlane.cli.lines import InputLine, LineKeys, Results, fault_of, read_lines
from tests.cli.conftest import running
from tests.cli.harness import ROOT, Command, Ran, RunningServer, eventually

KEY = "sk_live_1234567890abcdef1234567890abcdef"


@pytest.fixture
def served(tmp_path: Path, fairlane: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server with a worker, and an organization whose key the environment has."""
    for server in running(tmp_path, "--workers", "1", "--places", "10"):
        fairlane("organizations", "create", "acme", "--slots", "10")
        fairlane("keys", "create", "acme", "--value", "-", stdin=KEY)
        monkeypatch.setenv("FAIRLANE_URL", server.address)
        monkeypatch.setenv("FAIRLANE_API_KEY", KEY)
        yield server


def a_file(folder: Path, count: int, *, name: str = "texts.jsonl") -> Path:
    """So many payloads; every third text is the same."""
    path = folder / name
    path.write_text("".join(json.dumps({"text": "word " * (number % 3)}) + "\n" for number in range(count)))
    return path


def results_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def totals_of(fairlane: Command) -> dict[str, int]:
    """What the organization has submitted and completed so far."""
    shown = fairlane("organizations", "show", "acme", "--json").document
    return {name: shown[name] for name in ("submitted", "completed", "failed", "queued", "processing")}


def test_every_line_is_a_task_with_a_result(fairlane: Command, served: RunningServer, tmp_path: Path) -> None:
    """Equal lines are tasks of their own; each result names its line."""
    file, results = a_file(tmp_path, 40), tmp_path / "results.jsonl"

    ran = fairlane("submit", "COUNT_WORDS", "--file", str(file), "--results", str(results), "--json")

    assert ran.code == 0, ran.err
    assert (ran.document["submitted"], ran.document["completed"]) == (40, 40)
    found = results_of(results)
    assert sorted(result["line"] for result in found) == list(range(1, 41))
    assert {(result["line"] - 1) % 3 for result in found if result["response"]["words"] == 2} == {2}
    assert len({result["taskId"] for result in found}) == 40
    assert totals_of(fairlane)["submitted"] == 40


def test_running_it_again_submits_and_fetches_nothing_twice(
    fairlane: Command, served: RunningServer, tmp_path: Path
) -> None:
    """With the results file nothing is asked; without it everything is found; added lines are new."""
    file, results = a_file(tmp_path, 20), tmp_path / "results.jsonl"
    arguments = ("submit", "COUNT_WORDS", "--file", str(file), "--json")
    fairlane(*arguments, "--results", str(results))

    again = fairlane(*arguments, "--results", str(results)).document
    without = fairlane(*arguments).document
    with file.open("a") as more:
        more.write('{"text": "one more"}\n')
    added = fairlane(*arguments, "--results", str(results)).document

    assert (again["earlier"], again["submitted"], again["existed"]) == (20, 0, 0)
    assert (without["existed"], without["submitted"]) == (20, 0)
    assert (added["earlier"], added["submitted"], added["completed"]) == (20, 1, 1)
    assert len(results_of(results)) == totals_of(fairlane)["submitted"] == 21


def test_another_name_of_the_run_submits_the_file_again(
    fairlane: Command, served: RunningServer, tmp_path: Path
) -> None:
    """And another task type, too, would."""
    arguments = ("submit", "COUNT_WORDS", "--file", str(a_file(tmp_path, 3)), "--json")

    runs = [fairlane(*arguments, "--run", name).document["submitted"] for name in ("1", "2", "2")]

    assert runs == [3, 3, 0]


def test_wrong_lines_are_named_and_the_rest_is_submitted(
    fairlane: Command, served: RunningServer, tmp_path: Path
) -> None:
    """What is no JSON object never leaves; what the type does not take is refused by the API; exit code 1."""
    file, results = tmp_path / "mixed.jsonl", tmp_path / "results.jsonl"
    file.write_text('{"text": "fine"}\n\n[1]\n{"text": 5}\nnot json\n{"text": "a", "text": "b"}\n{"text": "fine, too"}')

    ran = fairlane("submit", "COUNT_WORDS", "--file", str(file), "--results", str(results))

    assert ran.code == 1
    assert "2 submitted" in ran.out
    assert "4 refused" in ran.out
    for said in ("line 3 is not a JSON object", "line 4 is refused: payload.text", "line 5 is not valid", "line 6 is"):
        assert said in ran.err
    statuses = {result["line"]: result["status"] for result in results_of(results)}
    assert statuses == {1: "COMPLETED", 3: "REFUSED", 4: "REFUSED", 5: "REFUSED", 6: "REFUSED", 7: "COMPLETED"}


def test_a_refusal_is_recorded_once_however_often_the_file_is_run(tmp_path: Path) -> None:
    """A result comes after it if the line is accepted later; then the line is done."""
    path, keys = tmp_path / "results.jsonl", LineKeys("ANY", "1")
    lines = [InputLine(number, b"{}", 2) for number in (1, 2, 3)]

    for run in range(3):
        with Results(path) as results:
            assert results.found == (run == 2)
            for line in lines[: 3 if run < 2 else 2]:
                results.refused(line.number, keys.key(line), "VALIDATION_ERROR", "is wrong", None)
            if run == 1:
                results.ended(3, keys.key(lines[2]), "t3", "COMPLETED", {})

    assert [(one["line"], one["status"]) for one in results_of(path)] == [
        (1, "REFUSED"), (2, "REFUSED"), (3, "REFUSED"), (3, "COMPLETED"),
    ]  # fmt: skip
    with Results(path) as results:
        assert [results.has(line, keys.key(line)) for line in lines] == [False, False, True]


def test_a_byte_order_mark_at_the_start_is_passed_over() -> None:
    """As Windows editors write it; elsewhere it is text."""
    file = io.BytesIO(b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n")

    lines = list(read_lines(file, "texts"))

    assert [(line.text, line.end) for line in lines] == [(b"{}", 6), (b"\xef\xbb\xbf{}", 12)]
    assert [fault_of(line) is None for line in lines] == [True, False]


def test_lines_come_from_standard_input(fairlane: Command, served: RunningServer) -> None:
    """``--file -``."""
    ran = fairlane("submit", "COUNT_WORDS", "--file", "-", "--json", stdin='{"text": "a"}\n{"text": "b"}\n')

    assert (ran.code, ran.document["submitted"]) == (0, 2)


def test_killed_half_way_and_run_again_every_line_has_one_task_and_one_result(
    fairlane: Command, served: RunningServer, tmp_path: Path
) -> None:
    """A real kill -9, several times, at whatever place it strikes."""
    count, results = 1_500, tmp_path / "results.jsonl"
    file = a_file(tmp_path, count)
    arguments = ("submit", "COUNT_WORDS", "--file", str(file), "--results", str(results))
    command = [sys.executable, "-m", "fairlane", *arguments]
    for share in (0.05, 0.3, 0.6):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            eventually(lambda least=count * share: _lines(results) >= least, seconds=40)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    with results.open("ab") as torn:
        torn.write(b'{"line":7,"ke')  # what a kill in the middle of a write leaves

    ran = fairlane(*arguments, "--json")

    assert ran.code == 0, ran.err
    found = results_of(results)
    assert ran.document["earlier"] >= count * 0.6
    assert sorted(result["line"] for result in found) == list(range(1, count + 1))
    assert len({result["taskId"] for result in found}) == count
    assert totals_of(fairlane) == {"submitted": count, "completed": count, "failed": 0, "queued": 0, "processing": 0}


def test_one_payload_is_submitted_and_waited_for(fairlane: Command, served: RunningServer) -> None:
    """The id by itself, the result with ``--wait``, the whole task as JSON."""
    alone = fairlane("submit", "COUNT_WORDS", "--payload", '{"text": "a b"}', "--key", "mine")
    waited = fairlane("submit", "COUNT_WORDS", "--payload", "-", "--wait", stdin='{"text": "a b c"}')
    shown = fairlane("submit", "COUNT_WORDS", "--payload", '{"text": ""}', "--key", "mine", "--wait", "--json")

    assert len(alone.out.strip()) == 36
    assert waited.document == {"words": 3, "characters": 5}
    assert shown.document["id"] == alone.out.strip()
    assert shown.document["response"]["words"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "either --file or --payload"),
        (("--payload", "{}", "--file", "x"), 2, "either --file or --payload"),
        (("--payload", "{}", "--results", "x"), 2, "--results goes with --file"),
        (("--file", "x", "--wait"), 2, "--wait and --key go with --payload"),
        (("--file", "/nowhere/x.jsonl"), 1, "cannot read /nowhere/x.jsonl"),
        (("--payload", "[]"), 1, "the payload is not a JSON object"),
        (("--payload", '{"text": 1}'), 1, "payload.text"),
        (("--payload", '{"text": ""}', "--url", "nowhere"), 1, "must look like https://"),
    ],
)
def test_what_cannot_be_done_says_why(
    fairlane: Command, served: RunningServer, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """With the exit code of its kind, nothing on stdout, no traceback."""
    ran = fairlane("submit", "COUNT_WORDS", *arguments)

    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err.replace("\n", " ").replace("│", "")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "content",
    [
        "do not lose this\nnor this",
        '{"text":"precious"}',
        '{"text":"precious"}\n',
        '{"line":1,"key":"mine","status":"COMPLETED"}\n',
        '{"line":1,"key":"line-mine"}',
        '{"line": 1, "note": "not of this comm',
    ],
)
def test_a_results_file_of_something_else_is_left_alone(fairlane: Command, tmp_path: Path, content: str) -> None:
    """Nothing is appended to it, nothing cut off, with or without an end of its last line."""
    notes = tmp_path / "notes.txt"
    notes.write_text(content)

    ran = submit_nowhere(fairlane, a_file(tmp_path, 2), notes)

    assert ran.code == 2
    assert "no results file" in ran.err
    assert notes.read_text() == content


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_the_input_is_not_taken_for_the_results(fairlane: Command, tmp_path: Path, link: Any) -> None:
    """Under whatever name."""
    file = results = tmp_path / "same.jsonl"
    file.write_text('{"text":"a b"}')
    if link is not None:
        results = tmp_path / "other.jsonl"
        link(file, results)

    ran = submit_nowhere(fairlane, file, results)

    assert ran.code == 2
    assert "the same file" in ran.err
    assert file.read_text() == '{"text":"a b"}'


def test_of_earlier_results_only_what_a_kill_tore_is_cut_off(tmp_path: Path) -> None:
    """A record that only lacks its line end is whole; one that stops anywhere else is fetched again."""
    path, key = tmp_path / "results.jsonl", LineKeys("ANY", "1").key(InputLine(1, b"{}", 2))
    with Results(path) as results:
        results.ended(1, key, "t1", "COMPLETED", {"words": 1})
    record = path.read_bytes()

    for length in range(len(record)):
        path.write_bytes(record + record[:length])
        with Results(path) as results:
            assert results.has(InputLine(1, b"{}", 2), key)
        assert path.read_bytes() == (record * 2 if length == len(record) - 1 else record)


def test_without_a_key_it_says_where_to_put_one(fairlane: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is taken from a variable or a file, never from an option."""
    ran = fairlane("submit", "COUNT_WORDS", "--payload", "{}", "--url", "http://127.0.0.1:1")

    assert ran.code == 1
    assert "FAIRLANE_API_KEY" in ran.err
    assert "--key-file" in ran.err
    assert "FAIRLANE_API_KEY" not in os.environ


def submit_nowhere(fairlane: Command, file: Path, results: Path) -> Ran:
    """Submit to a server that is not there: what is refused before anything is sent needs none."""
    arguments = ("--file", str(file), "--results", str(results), "--url", "http://127.0.0.1:1")
    key_file = file.with_name("key")
    key_file.write_text(KEY)
    return fairlane("submit", "COUNT_WORDS", *arguments, "--key-file", str(key_file))


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0
