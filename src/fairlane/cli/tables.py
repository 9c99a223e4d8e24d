"""Output of commands as aligned tables for people.

Tables are drawn by rich, which honors ``NO_COLOR``. Without a terminal nothing is cut off, wrapped or colored.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 10_000


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under a header, with whole numbers right-aligned. Without rows, print ``empty``."""
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
    _print_table(table)


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
