"""Output of commands: JSON for programs, notes and errors on stderr for people. Tables are in ``tables.py``."""

import contextlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    print(_text(value, indent=2))


def print_json_line(value: object) -> None:
    """Print one JSON document as one line, at once, for commands that continue."""
    print(_text(value), flush=True)


def print_json_text(text: bytes, *, compact: bool) -> None:
    """Print JSON text: unchanged for programs, indented for people."""
    if not compact:
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


def moment(at: int | None) -> str:
    """Return milliseconds since the epoch as a UTC time for people, or an empty text for None."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


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
