"""Progress of ``fairlane submit`` and of bulks: a bar on a terminal, a plain line now and then elsewhere. Always on
stderr.
"""

import sys
import time
from collections.abc import Callable
from typing import Self

from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from fairlane.cli.output import note
from fairlane.terminal import redraws

LINE_SECONDS = 5.0
"""Least time between two lines."""


class SubmitTotals(Struct, kw_only=True):
    """Numbers of lines and tasks so far."""

    lines: int = 0
    submitted: int = 0
    existed: int = 0
    """Tasks that existed on the server already, from an earlier run."""
    refused: int = 0
    completed: int = 0
    failed: int = 0
    earlier: int = 0
    """Lines with a result in the file already."""
    seconds: float = 0.0

    @property
    def well(self) -> bool:
        """Return whether nothing was refused and nothing failed."""
        return not self.refused and not self.failed


class _Words(ProgressColumn):
    """The first column: reads the current totals each time the bar is drawn, ten times a second."""

    def __init__(self, look: Callable[[], str]) -> None:
        self._look = look
        super().__init__()

    def render(self, task: Task) -> Text:
        """Return the text next to the bar."""
        return Text(self._look())


class ProgressBar:
    """Shows how many bytes of the input are done, how many tasks, and how many per second."""

    def __init__(self, size: int | None, *, fetching: bool) -> None:
        """Take the input's ``size``, or None if it is unknown. With ``fetching``, results are counted, too."""
        self._size = size
        self._fetching = fetching
        self._began = self._shown_at = time.monotonic()
        self._done = 0
        self._totals = SubmitTotals()
        self._task: TaskID | None = None
        self._bar: Bar | None = None
        if redraws(sys.stderr):
            self._bar = Bar(
                _Words(self._look),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeRemainingColumn(),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
            self._task = self._bar.add_task("", total=size)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int | None, totals: SubmitTotals) -> None:
        """Show that ``done`` bytes of the input are done; None keeps the last number.

        A bar redraws itself, so it shows the last totals even when nothing changes. Lines are printed only on changes.
        """
        self._done = self._done if done is None else done
        self._totals = totals
        now = time.monotonic()
        if self._bar is not None or now - self._shown_at < LINE_SECONDS:
            return
        self._shown_at = now
        words = self._words(totals, now - self._began)
        note(words if self._size is None else f"{words}, {self._done / max(1, self._size):.0%} of the input")

    def _look(self) -> str:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)
        return self._words(self._totals, time.monotonic() - self._began)

    def note(self, message: str) -> None:
        """Print a note next to the bar."""
        if self._bar is not None:
            self._bar.console.print(f"fairlane: {message}", markup=False)
        else:
            note(message)

    def _words(self, totals: SubmitTotals, seconds: float) -> str:
        accepted = totals.submitted + totals.existed
        words = f"{accepted:,} accepted, {accepted / max(seconds, 0.001):,.0f}/s"
        if totals.refused:
            words += f", {totals.refused:,} refused"
        if self._fetching:
            words += f", {totals.completed + totals.failed:,} ended"
        return f"{words}, {totals.failed:,} failed" if totals.failed else words


class BulkBar:
    """Shows how many of a bulk's tasks are done."""

    def __init__(self, total: int | None) -> None:
        """Take how many tasks there are, or None if there may be more."""
        self._total = total
        self._shown_at = time.monotonic()
        self._words = "nothing done yet"
        self._task: TaskID | None = None
        self._bar: Bar | None = None
        if redraws(sys.stderr):
            self._bar = Bar(
                _Words(lambda: self._words),
                BarColumn(bar_width=None),
                TimeRemainingColumn(),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, matched: int, words: str) -> None:
        """Show that the bulk came to this many tasks."""
        self._words = words
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=matched)
        elif now - self._shown_at >= LINE_SECONDS:
            self._shown_at = now
            note(words)
