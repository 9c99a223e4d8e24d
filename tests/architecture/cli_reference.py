"""``docs/reference/cli.md`` as the program itself tells it. Run as a module, it writes the file."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from fairlane.cli.program import COMMANDS, load
from tests.architecture.sources import REPOSITORY

PATH = REPOSITORY / "docs" / "reference" / "cli.md"

INTRODUCTION = """\
# Command line

Written by the program itself: `make format` writes this page anew.

Commands about a database speak to the server that runs on it, through its admin socket.
If no server runs, they open the database themselves.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | refused, failed, or the answer is no |
| 2 | wrong usage |
| 3 | the application cannot be used |
| 4 | the database cannot be opened |
| 5 | another server owns the database |
| 6 | the API gave no usable answer |
| 7 | what was waited for had not ended in time |
| 8 | an alert: a threshold was exceeded for as long as was asked |
| 9 | the disk failed under the database, or the thread that writes ended: start the server again |
"""


def reference() -> str:
    """The whole page."""
    members = [member for name in sorted(COMMANDS) for member in commands(load(name), f"fairlane {name}")]
    return "\n".join([INTRODUCTION, *(_section(path, command) for path, command in members)])


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    members = getattr(command, "commands", None)
    if members is None:
        yield path, command
        return
    for name, member in sorted(members.items()):
        yield from commands(member, f"{path} {name}")


def _section(path: str, command: Any) -> str:
    context = typer.Context(command)
    records = [(parameter.param_type_name, *parameter.get_help_record(context)) for parameter in command.params]
    arguments = [_spelled(name) for sort, name, _ in records if sort == "argument"]
    lines = [f"## {' '.join([path, *arguments])}", "", (command.help or "").strip(), ""]
    lines += ["| argument or option | meaning |", "|---|---|"]
    lines += [f"| `{_in_cell(_spelled(name))}` | {_in_cell(meaning)} |" for _, name, meaning in records]
    word, _, examples = (command.epilog or "").partition(": ")
    if examples:
        lines += ["", f"{word}:", "", "```sh", *examples.split("; "), "```"]
    return "\n".join([*lines, ""])


def _spelled(name: str) -> str:
    """An argument or option as it is typed, without the type of its value."""
    return re.sub(r" <\w+>$", "", name) if not name.startswith("-") else name


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("  ", " ")


if __name__ == "__main__":
    PATH.write_text(reference(), encoding="utf-8")
