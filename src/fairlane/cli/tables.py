"""Output of commands as aligned tables for people.

Tables are drawn by rich, which honors ``NO_COLOR``. Nothing is cut off: on a terminal that is too narrow for a table,
each row is written as names and values. Without a terminal nothing is wrapped or colored either.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 10_000
INDENT = "  "
LAST_LEAST = 24
"""Least width of a last column that is wrapped, in characters."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under a header, with whole numbers right-aligned. Without rows, print ``empty``.

    On a terminal that is narrower than the rows, a last column of words is wrapped; if that is not enough, each row is
    printed as names and values in a few lines.
    """
    rows = [list(row) for row in rows]
    if not rows:
        print(empty)
        return
    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        given = [row[index] for row in rows if row[index] is not None]
        is_numeric = bool(given) and all(isinstance(value, int | float) for value in given)
        table.add_column(column, justify="right" if is_numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if sys.stdout.isatty():
        console = Console(highlight=False, markup=False)
        unbounded = console.options.update(max_width=WIDTH_WITHOUT_TERMINAL)
        needed = console.measure(table, options=unbounded).maximum
        last = max([0, *(cell_len(str(row[-1])) for row in rows if " " in str(row[-1]))])
        if needed > console.width and needed - last + LAST_LEAST <= console.width:
            table.columns[-1].no_wrap = False  # A text of words is wrapped in its own column.
        elif needed > console.width:
            for row in rows:
                console.print(packed(columns, row, console.width))
            return
    _print_table(table)


def packed(columns: Sequence[str], row: Sequence[object], width: int) -> Text:
    """Return a row as names and values, with as many of them in a line as fit; further lines are indented."""
    text, used = Text(), 0
    for column, value in zip(columns, row, strict=True):
        if value is None:
            continue
        part = Text.assemble((f"{column} ", "dim"), _cell(value))
        if used and used + 2 + part.cell_len > width:
            text.append("\n" + INDENT)
            used = len(INDENT)
        elif used:
            text.append("  ")
            used += 2
        text.append_text(part)
        used += part.cell_len
    return text


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print one record as aligned lines of name and value."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, _cell(value))
    _print_table(table)


def _print_table(table: Table) -> None:
    if sys.stdout.isatty():
        Console(highlight=False, markup=False).print(table)
        return
    console = Console(width=WIDTH_WITHOUT_TERMINAL, highlight=False, markup=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _cell(value: object) -> Any:
    match value:
        case None:
            return Text("-")
        case bool():
            return Text("yes" if value else "no")
        case _:
            return Text(str(value))
