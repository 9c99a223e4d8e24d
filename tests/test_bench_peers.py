"""The benchmark of peers: its driver works without any peer's environment, and a peer's failure is a word."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.homes import SqliteHome
from benchmarks.peers import measuring, run
from benchmarks.peers.environments import REQUIREMENTS
from benchmarks.peers.faults import PeerFault
from benchmarks.peers.figures import Results, Rounds, read_results, write_results
from benchmarks.peers.known import KNOWN
from benchmarks.peers.measuring import SMOKE, Measured, Measuring
from benchmarks.peers.page import PAGE, page
from benchmarks.peers.participants import EVERYSEC, PARTICIPANTS, SQLITE, Participant
from benchmarks.peers.picture import COLUMN, NAMESPACE, PICTURE, picture
from benchmarks.peers.redis_home import RedisHome
from benchmarks.peers.spans import SECOND, Span, busy_share, most_at_once, per_second

STUB = Participant("stub", "Stub", "stub", SQLITE, module="tests.stub_peer")


def test_every_row_is_measured_through_processes(tmp_path: Path) -> None:
    """A client and a worker process for each measurement; each row has a figure."""
    measured = Measuring(STUB, SqliteHome(tmp_path), SMOKE).measure()

    assert measured.words == {"busy_20x5": "none"}
    assert set(measured.figures) == {
        "single", "batch", "drain", "busy_1x10", "most_1x10", "dispatch_p50_ms", "dispatch_p99_ms",
    }  # fmt: skip
    assert all(value > 0 for value in measured.figures.values())
    assert measured.versions.keys() == {"pytest"}
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_cannot_be_installed_is_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its rows says why; nothing is raised."""

    def refuse(peer: str) -> str:
        raise PeerFault(f"not installed: no wheel of {peer}")

    monkeypatch.setattr(measuring, "python_of", refuse)

    measured = Measuring(Participant("huey", "Huey", "huey", SQLITE), SqliteHome(tmp_path), SMOKE).measure()

    assert measured.figures == {}
    assert set(measured.words.values()) == {"not installed: no wheel of huey"}


def test_a_peer_without_its_redis_is_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no server on the path, every row of it says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    peer = Participant("saq", "SAQ", "saq", EVERYSEC, "some", module="tests.stub_peer")

    measured = Measuring(peer, RedisHome(tmp_path, "everysec"), SMOKE).measure()

    assert measured.figures == {}
    assert set(measured.words.values()) == {"no redis-server on the path"}


def test_a_peer_that_crashes_is_a_word(tmp_path: Path) -> None:
    """The word is the last line of its log."""
    broken = Participant("broken", "Broken", "broken", SQLITE, module="tests.no_such_peer")

    measured = Measuring(broken, SqliteHome(tmp_path), SMOKE).measure()

    assert measured.figures == {}
    assert "No module named" in measured.words["drain"]
    assert measured.words["busy_20x5"] == "none"


def test_the_documents_are_what_the_script_writes() -> None:
    """The page and the picture come from the figures alone: `python -m benchmarks.peers.run --from-figures`."""
    results = read_results()

    assert PAGE.read_text("utf-8") == page(results)
    assert PICTURE.exists() == (results.rounds > 0)
    if results.rounds:
        assert PICTURE.read_text("utf-8") == picture(results)


def test_every_peer_has_its_requirements_and_what_is_known_of_it() -> None:
    """A hashed requirement file for each adapter, and at least one claim with its source."""
    adapters = {one.adapter for one in PARTICIPANTS}

    assert adapters == KNOWN.keys()
    assert {path.stem for path in REQUIREMENTS.glob("*.txt")} == adapters - {"fairlane"}
    assert {path.stem for path in REQUIREMENTS.glob("*.in")} == adapters - {"fairlane"}
    assert all("--hash=sha256:" in path.read_text("utf-8") for path in REQUIREMENTS.glob("*.txt"))


def test_rounds_alternate_and_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round begins with another participant; none begins that would last too long; figures survive their file."""
    order: list[str] = []

    class Instant(Measuring):
        def measure(self, only: tuple[str, ...] = ()) -> Measured:
            order.append(self._participant.name)
            return Measured({"x": "1"}, {"drain": 10.0}, {"batch": "none"})

    monkeypatch.setattr(run, "Measuring", Instant)
    names = ["fairlane-sqlite", "huey"]
    results = Results("2026-01-02", {}, {name: Rounds() for name in names})
    homes = {SQLITE: SqliteHome(tmp_path)}

    assert list(run.measure(results, homes, SMOKE, rounds=2, minutes=1)) == [1, 2]
    assert order == [*names, *reversed(names)]
    write_results(tmp_path / "figures.json", results)
    assert read_results(tmp_path / "figures.json") == results
    assert list(run.measure(results, homes, SMOKE, rounds=50, minutes=0)) == [1]


def some_results() -> Results:
    """Every participant in three rounds; the last one never drained and exceeded its limits."""
    figures = {"drain": 1234.5, "single": 100.0, "busy_20x5": 0.5, "most_20x5": 5.0, "dispatch_p50_ms": 3.0}
    names = [one.name for one in PARTICIPANTS]
    rounds = {name: Rounds() for name in names}
    for turn in range(3):
        for name in names:
            rounds[name].add({"peer": "1.0"}, figures | {"drain": 1234.5 + turn}, {"batch": "none"})
    last = {"busy_20x5": 0.4, "most_20x5": 7.0, "dispatch_p50_ms": 500.0}
    rounds[names[-1]] = Rounds({"peer": "1.0"}, [last, last, {}], {"drain": "its fill failed: no room | none"})
    return Results("2026-01-02", {"processor": "two <cores> & more"}, rounds)


def test_the_page_shows_medians_spread_words_and_broken_limits() -> None:
    """A figure has its least and most; a missing one its word, which cannot break the table."""
    written = page(some_results())

    assert "| **fairlane** | SQLite | 1,236 (1,234 to 1,236) | 100 (100 to 100) | none |" in written
    assert "its fill failed: no room / none" in written
    assert "0.40 (0.40 to 0.40), in 2 of 3 rounds; **limit exceeded: 7 at once**" in written
    assert "Measured on 2026-01-02, in 3 rounds." in written


def test_the_picture_is_whole_xml_without_script() -> None:
    """Light and dark, no script and nothing from outside; a bar for each figure."""
    drawn = picture(some_results())
    root = ElementTree.fromstring(drawn)
    bars = list(root.iter(f"{{{NAMESPACE}}}rect"))

    assert len(bars) == 3 * len(PARTICIPANTS) - 1
    assert "prefers-color-scheme: dark" in drawn
    assert "script" not in drawn
    assert drawn.count("http") == 1
    assert "two &lt;cores&gt; &amp; more" in drawn
    assert all(float(bar.attrib["width"]) <= COLUMN for bar in bars)


def span(began: float, ended: float, organization: int = 0) -> Span:
    return Span(organization, int(began * SECOND), int(ended * SECOND))


def test_a_rate_counts_from_the_first_start_and_stops_in_time() -> None:
    """Tasks that end later than that do not count."""
    spans = [span(10 + number / 10, 10.1 + number / 10) for number in range(40)]

    assert per_second(spans, seconds=60) == pytest.approx(10)
    assert per_second(spans, seconds=2.05) == pytest.approx(10)


def test_slots_are_busy_in_the_window_alone() -> None:
    """Neither the ramp nor the tail counts: two slots, of which one is idle half of the time."""
    spans = [span(0, 0.5), *(span(1 + number, 2 + number) for number in range(9))]
    spans += [span(1 + number, 1.5 + number, 1) for number in range(9)]
    spans.sort(key=lambda one: one.began_at)

    assert busy_share(spans, slots=2, after=1, seconds=4, filled=100) == pytest.approx(0.75)
    assert busy_share(spans, slots=2, after=1, seconds=60, filled=19) == pytest.approx(0.75, abs=0.02)
    with pytest.raises(ValueError, match="empty"):
        busy_share(spans, slots=2, after=60, seconds=4, filled=19)


def test_the_most_at_once_are_counted_by_organization() -> None:
    """Two of one organization and one of another are two."""
    assert most_at_once([span(0, 2), span(1, 3), span(1, 3, 7)]) == 2
    assert most_at_once([span(0, 1), span(1, 2)]) == 1
