"""Output of commands: JSON for programs, aligned tables for people, errors on stderr.

Tables are drawn by rich, which honors ``NO_COLOR``. Without a terminal nothing is cut off, wrapped or colored.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 10_000


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    print(_text(value, indent=2))


def print_json_line(value: object) -> None:
    """Print one JSON document as one line, at once, for commands that continue."""
    print(_text(value), flush=True)


def print_json_text(text: bytes, *, compact: bool) -> None:
    """Print JSON text: unchanged for programs, indented for people."""
    if not compact:
        import msgspec

        with contextlib.suppress(msgspec.DecodeError):  # a lone surrogate: shown as it is
            text = msgspec.json.format(text, indent=2)
    print(text.decode())


def _text(value: object, *, indent: int | None = None) -> str:
    """Return JSON text, in which only lone surrogates, which cannot be printed, are escaped."""
    return json.dumps(value, indent=indent, ensure_ascii=False).encode(errors="backslashreplace").decode()


def note(message: str) -> None:
    """Print a note for people on stderr, so that it does not mix with stdout."""
    print(f"fairlane: {message}", file=sys.stderr)


def complain(message: str, *, details: Any = None) -> None:
    """Print an error and its details about fields on stderr."""
    print(f"fairlane: {message}", file=sys.stderr)
    for line in _detail_lines(details):
        print(f"  {line}", file=sys.stderr)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under a header, with whole numbers right-aligned. Without rows, print ``empty``."""
    from rich import box
    from rich.table import Table

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
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        table.add_row(name, _cell(value))
    _print_table(table)


def moment(at: int | None) -> str:
    """Return milliseconds since the epoch as a UTC time for people, or an empty text for None."""
    from datetime import UTC, datetime

    if at is None:
        return ""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _print_table(table: "Table") -> None:
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False, markup=False).print(table)
        return
    console = Console(width=WIDTH_WITHOUT_TERMINAL, highlight=False, markup=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _cell(value: object) -> Any:
    from rich.text import Text

    match value:
        case None:
            return Text("-")
        case bool():
            return Text("yes" if value else "no")
        case _:
            return Text(str(value))


def _detail_lines(details: Any) -> list[str]:
    if isinstance(details, list):
        return [
            f"{item['field'] or 'body'}: {item['message']}"
            if isinstance(item, dict) and {"field", "message"} <= item.keys()
            else json.dumps(item, ensure_ascii=False)
            for item in details
        ]
    if isinstance(details, dict):
        return [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in details.items()]
    return []
