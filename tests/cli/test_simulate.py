"""``fairlane simulate``: files, databases, options, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import Command

MINUTE = 60_000


def lines(*tasks: dict[str, Any], places: int | None = None, **parties: dict[str, int] | None) -> str:
    """A trace file's text."""
    return "".join(json.dumps(line) + "\n" for line in ({"organizations": parties, "places": places}, *tasks))


def ran(organization: str, number: int) -> dict[str, Any]:
    """The n-th of a task each ten minutes that takes fifteen, in one slot."""
    started_at = 15 * number * MINUTE
    return {
        "organization": organization,
        "accepted_at": 10 * number * MINUTE,
        "started_at": started_at,
        "finished_at": started_at + 15 * MINUTE,
    }


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Ten such tasks of acme, which has one slot."""
    path = tmp_path / "trace.jsonl"
    path.write_text(lines(*[ran("acme", number) for number in range(10)], acme={"slots": 1}))
    return path


def waits(minutes: tuple[float, float, float]) -> dict[str, float]:
    """As JSON tells them."""
    return dict(zip(("p50_ms", "p90_ms", "p99_ms"), (one * MINUTE for one in minutes), strict=True))


def test_a_file_is_replayed_with_other_slots(fairlane: Command, trace: Path) -> None:
    """The known waits in one slot, none in two; said to be an estimate."""
    found = fairlane("simulate", "--trace", str(trace), "--slots", "acme=2", "--json").document
    text = fairlane("simulate", "--trace", str(trace), "--slots", "acme=2").out

    [acme] = found["organizations"]
    assert (found["estimate"], found["tasks"], found["places_now"], found["places_then"]) == (True, 10, None, None)
    assert acme["waits_measured"] == acme["waits_now"] == waits((20, 40, 45))
    assert acme["waits_then"] == waits((0, 0, 0))
    assert (acme["now"], acme["then"]) == ({"slots": 1, "weight": 1}, {"slots": 2, "weight": 1})
    assert text.startswith("An estimate: 10 finished tasks, replayed.\n")
    assert [line.split()[2:] for line in text.splitlines()[3:]] == [
        ["measured", "-", "-", "1200.0", "2400.0", "2700.0"],
        ["now", "1", "1", "1200.0", "2400.0", "2700.0"],
        ["then", "2", "1", "0.0", "0.0", "0.0"],
    ]


def test_places_and_weights_are_options_too(fairlane: Command, tmp_path: Path) -> None:
    """One place for two: each waits for the other; with two places neither."""
    path = tmp_path / "trace.jsonl"
    path.write_text(lines(ran("acme", 0), ran("bolt", 0), acme={"slots": 1}, bolt={"slots": 1}, places=1))

    given = ("--places", "2", "--weight", "bolt=3", "--json")
    found = fairlane("simulate", "--trace", str(path), *given).document

    assert (found["places_now"], found["places_then"]) == (1, 2)
    assert sorted(one["waits_now"]["p99_ms"] for one in found["organizations"]) == [0, 15 * MINUTE]
    assert [one["waits_then"]["p99_ms"] for one in found["organizations"]] == [0, 0]
    assert [one["then"]["weight"] for one in found["organizations"]] == [1, 3]


def test_an_unknown_limit_has_to_be_given(fairlane: Command, tmp_path: Path) -> None:
    """Then it holds now, too: nothing else is known."""
    path = tmp_path / "trace.jsonl"
    path.write_text(lines(ran("acme", 0), acme=None))

    refused = fairlane("simulate", "--trace", str(path))
    found = fairlane("simulate", "--trace", str(path), "--slots", "acme=3", "--json").document

    assert (refused.code, "--slots acme=N" in refused.err) == (1, True)
    assert found["organizations"][0]["now"]["slots"] == 3


def test_a_database_is_replayed_and_saved(fairlane: Command, tmp_path: Path) -> None:
    """Without finished tasks there is nothing to replay; what was saved can be replayed."""
    assert fairlane("organizations", "create", "acme", "--slots", "1").code == 0
    path = tmp_path / "saved.jsonl"

    empty = fairlane("simulate", "--save", str(path))
    span = fairlane("simulate", "--from", "2026-01-01T00:00:00Z", "--json").document

    assert (empty.code, empty.out) == (0, "There are no finished tasks in this span: nothing to replay.\n")
    assert span["organizations"] == []
    assert json.loads(path.read_text()) == {"organizations": {}, "places": None}
    assert fairlane("simulate", "--trace", str(path)).code == 0


def test_a_saved_file_is_what_was_replayed(fairlane: Command, trace: Path, tmp_path: Path) -> None:
    """Replaying it again says the same."""
    path = tmp_path / "saved.jsonl"
    first = fairlane("simulate", "--trace", str(trace), "--save", str(path), "--json").document

    assert fairlane("simulate", "--trace", str(path), "--json").document == first


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--slots", "acme"), 2),
        (("--slots", "acme=0"), 2),
        (("--slots", "=4"), 2),
        (("--weight", "acme=1001"), 2),
        (("--places", "0"), 2),
        (("--from", "2026-01-01T00:00:00Z"), 2),
        (("--slots", "nobody=4"), 1),
        (("--save", "/nowhere/trace.jsonl"), 1),
    ],
)
def test_wrong_options_are_refused(fairlane: Command, trace: Path, arguments: tuple[str, ...], code: int) -> None:
    """And nothing is printed."""
    refused = fairlane("simulate", "--trace", str(trace), *arguments)

    assert (refused.code, refused.out) == (code, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1"),
        ("{}\n", "line 1"),
        (lines({"organization": "acme"}, acme={"slots": 1}), "line 2"),
        (lines(ran("acme", 0) | {"priority": 11}, acme={"slots": 1}), "line 2: priority"),
        (lines(ran("acme", 0), ran("acme", 1) | {"who": "me"}, acme={"slots": 1}), "line 3"),
    ],
)
def test_a_wrong_file_is_refused_by_its_line(fairlane: Command, tmp_path: Path, text: str, says: str) -> None:
    """Also one that is not there."""
    path = tmp_path / "trace.jsonl"
    path.write_text(text)

    refused = fairlane("simulate", "--trace", str(path))
    missing = fairlane("simulate", "--trace", str(tmp_path / "other"))

    assert (refused.code, says in refused.err) == (1, True), refused.err
    assert missing.code == 1
