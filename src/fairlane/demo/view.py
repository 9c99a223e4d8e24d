"""The demonstration's display while it runs: a live table on a terminal, a plain line now and then elsewhere."""

import sys
from collections.abc import Sequence
from typing import Protocol, Self, TextIO

from msgspec import Struct
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fairlane.terminal import redraws

LINE_SECONDS = 2.0


class PartyRow(Struct, frozen=True, kw_only=True):
    """The numbers shown for one organization."""

    name: str
    weight: int
    queued: int
    processing: int
    used: int | None
    limit: int | None
    done: int
    total: int
    rate: float

    @property
    def slots(self) -> str:
        """Return the slots as in the status: used/max, or null."""
        return "null" if self.used is None else f"{self.used}/{self.limit}"


class DemoProgress(Struct, frozen=True, kw_only=True):
    """The numbers shown at one moment."""

    seconds: float
    rows: Sequence[PartyRow]
    recounts: int
    drifts: int


class View(Protocol):
    """Shows progress until it is closed."""

    def __enter__(self) -> Self:
        """Start to show progress."""

    def __exit__(self, *_: object) -> None:
        """Stop showing progress."""

    def show(self, progress: DemoProgress) -> None:
        """Show this progress now; called several times a second."""


def view_on(stream: TextIO) -> View:
    """Return the view that suits a stream."""
    return TableView(stream) if redraws(stream) else LineView(stream)


class TableView:
    """A table that is redrawn in place."""

    def __init__(self, stream: TextIO) -> None:
        self._live = Live(console=Console(file=stream, highlight=False), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: DemoProgress) -> None:
        """Draw the table."""
        self._live.update(table_of(progress), refresh=True)


class LineView:
    """One line every few seconds."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._due_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: DemoProgress) -> None:
        """Print a line if the last one is old enough."""
        if progress.seconds < self._due_at:
            return
        self._due_at = progress.seconds + LINE_SECONDS
        print(line_of(progress), file=self._stream, flush=True)


def table_of(progress: DemoProgress) -> Table:
    """Return progress as a table."""
    caption = f"{progress.seconds:4.1f} s   {recounts_of(progress)}"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, caption=caption, caption_justify="left")
    table.add_column("organization", style="bold")
    for column in ("weight", "queued", "processing", "used/max", "done", "tasks/s"):
        table.add_column(column, justify="right", min_width=6)
    table.add_column("", width=8)
    for row in progress.rows:
        cells = [row.weight, row.queued, row.processing, row.slots, f"{row.done}/{row.total}", f"{row.rate:.1f}"]
        table.add_row(row.name, *map(str, cells), slot_bar(row))
    return table


def line_of(progress: DemoProgress) -> str:
    """Return progress as one line of plain text."""
    parts = [
        f"{row.name}: queued {row.queued}, processing {row.processing}, used {row.slots}, done {row.done}/{row.total}, "
        f"{row.rate:.1f} tasks/s"
        for row in progress.rows
    ]
    return " | ".join([f"{progress.seconds:5.1f} s", *parts, recounts_of(progress)])


def recounts_of(progress: DemoProgress) -> str:
    """Return the results of the recounts in words."""
    return f"recounts {progress.recounts}, drift {progress.drifts}"


def slot_bar(row: PartyRow) -> Text:
    """Return the slots as blocks: taken, then free."""
    taken, limit = row.used or 0, row.limit or 0
    return Text.assemble(("■" * taken, "green"), ("□" * max(0, limit - taken), "dim"))
