"""The picture of ``fairlane top`` in terminals of all widths."""

import io
import re

import pytest
from rich.console import Console

from fairlane.cli.progress import ProgressBar, SubmitTotals
from fairlane.cli.top import TopRow, picture
from fairlane.demo.view import TableView, view_on
from fairlane.terminal import redraws


def a_row(name: str, state: str = "active", queued: int = 12_345) -> TopRow:
    """One organization with numbers that need room."""
    return TopRow(
        name=name, state=state, queued=queued, oldest_seconds=7_300.0,
        processing=16, used=17, slots_max=50, completed=678_901, failed=2_345,
        completed_per_second=123.4, failed_per_second=0.5,
    )  # fmt: skip


def shown(rows: list[TopRow], width: int, height: int = 24) -> list[list[str]]:
    """The cells of each line on a terminal of this size."""
    written = io.StringIO()
    Console(file=written, width=width).print(picture(rows, width, height))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    return [re.split(r"\s{2,}", line.strip()) for line in lines]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (60, "QUEUED OLDEST SLOTS"),
        (80, "QUEUED OLDEST SLOTS DONE/S FAILED/S"),
        (120, "STATE QUEUED OLDEST RUNNING SLOTS DONE/S FAILED/S COMPLETED FAILED"),
        (200, "STATE QUEUED OLDEST RUNNING SLOTS DONE/S FAILED/S COMPLETED FAILED"),
    ],
)
def test_nothing_is_cut(width: int, columns: str) -> None:
    """Names continue in the next line; columns for which there is no room are left out."""
    name = "a-very-long-name-" + "x" * 47

    header, *lines = shown([a_row(name), a_row("northwind-traders")], width)[1:]

    assert header == ["ORGANIZATION", *columns.split()]
    names = [line[0] for line in lines[1:-1]]
    assert "".join(names) == name + "northwind-traders"
    cells = {"12,345", "2h", "123.4", "0.5", "active", "16", "678,901", "2,345"}
    wanted = [cell for line in lines[1:-1] for cell in line[1:]]
    assert [cell for cell in wanted if cell not in cells and not cell.endswith("17/50")] == []
    assert not any("…" in cell for line in lines for cell in line)


@pytest.mark.parametrize("width", [80, 120])
def test_a_paused_organization_is_seen_on_each_width(width: int) -> None:
    """A state that is not the usual one has room before the rates."""
    cells = [cell for line in shown([a_row("acme", "paused, drifted"), a_row("globex")], width) for cell in line]

    assert "paused, drifted" in cells


def test_rows_below_the_terminal_are_counted() -> None:
    """Long names take two lines each; at least one row is shown."""
    rows = [a_row(f"{number:02}" + "x" * 62) for number in range(20)]

    assert "14 more below · Ctrl-C ends" in shown(rows, 80, 18)[-1]
    assert "19 more below · Ctrl-C ends" in shown(rows, 80, 6)[-1]


def test_the_bar_shows_what_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts of a batch come within a moment of each other; then nothing moves for long. All of them are counted."""
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    totals = SubmitTotals()

    with ProgressBar(1_000, fetching=False) as shown:
        for number in range(1, 500):
            totals.submitted = number
            shown.show(number, totals)

    assert "499 accepted" in written.getvalue()
    assert "50 %" in written.getvalue()


@pytest.mark.parametrize(("term", "redrawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_a_terminal_without_a_cursor_gets_lines(term: str, redrawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar or a live table would show nothing there until its end."""
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)

    assert redraws(written) is redrawn
    assert isinstance(view_on(written), TableView) is redrawn
    assert not redraws(io.StringIO())
