"""The picture of ``fairlane top`` in terminals of all widths."""

import io

import pytest
from rich.console import Console

from fairlane.cli.progress import ProgressBar, SubmitTotals
from fairlane.cli.top import TopRow, picture
from fairlane.demo.view import TableView, view_on
from fairlane.terminal import redraws


@pytest.mark.parametrize("width", [80, 110, 200])
def test_a_long_name_cuts_no_number(width: int) -> None:
    """Only the name gives way where a terminal is narrow."""
    row = TopRow(
        name="a-very-long-name-" + "x" * 47, state="active", queued=12_345, oldest_seconds=7_300.0,
        processing=16, used=17, slots_max=50, completed=678_901, failed=2_345,
        completed_per_second=123.4, failed_per_second=0.5,
    )  # fmt: skip
    written = io.StringIO()

    Console(file=written, width=width).print(picture([row], width, 30))

    shown = written.getvalue()
    for cell in (
        "active",
        "12,345",
        "2h",
        "17/50",
        "123.4",
        "0.5",
        "678,901",
        "2,345",
        "ORGANIZATION"[:7],
        "QUEUED",
        "COMPLETED",
    ):
        assert cell in shown, (cell, shown)
    assert all(len(line) <= width for line in shown.splitlines())


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
