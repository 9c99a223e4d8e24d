"""``docs/reference/cli.md`` as the program itself tells it. Run as a module, it writes the file."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import typer

from fairlane.cli.commands import arguments_of, described_in, examples_of, usage_of
from fairlane.cli.program import COMMANDS, load
from tests.architecture.sources import REPOSITORY

COMMON_FROM = 8
"""An option that this many commands have, with the same meaning, is described once."""
PATH = REPOSITORY / "docs" / "reference" / "cli.md"

INTRODUCTION = """\
# Command line

Written by the program itself: `make format` writes this page anew.

Commands about a database speak to the server that runs on it, through its admin socket.
If no server runs, they open the database themselves.

Commands of customers, such as `fairlane status`, speak to the API with an organization's key.
`fairlane login` keeps its address and key, so that no further command needs them:

```sh
fairlane login http://127.0.0.1:8000
fairlane status
```

`fairlane completion` makes Tab complete commands, options and names:

```sh
fairlane completion bash >> ~/.bashrc
fairlane completion zsh >> ~/.zshrc
fairlane completion fish > ~/.config/fish/completions/fairlane.fish
```

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
    counted = Counter(row for _, command in members for row in _rows(command) if row[0].startswith("-"))
    common = [row for row, count in counted.most_common() if count >= COMMON_FROM]
    return "\n".join([INTRODUCTION, _common(common), *(_section(path, command, common) for path, command in members)])


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    members = getattr(command, "commands", None)
    if members is None:
        yield path, command
        return
    for name, member in sorted(members.items()):
        yield from commands(member, f"{path} {name}")


def _common(rows: list[tuple[str, str]]) -> str:
    lines = ["## Common options", "", "Many commands have these; each section names the ones that its command has.", ""]
    return "\n".join([*lines, *_table("option", rows), ""])


def _section(path: str, command: Any, common: list[tuple[str, str]]) -> str:
    rows = _rows(command)
    lines = [f"## {' '.join([path, *(usage_of(argument) for argument in arguments_of(command))])}", ""]
    lines += [(command.help or "").strip(), ""]
    if own := [row for row in rows if row not in common]:
        lines += [*_table("argument or option", own), ""]
    if shared := [f"`{row[0].partition(',')[0].partition(' ')[0]}`" for row in rows if row in common]:
        lines += [f"Common options: {', '.join(shared)}.", ""]
    if examples := examples_of(command):
        lines += [f"Example{'s' * (len(examples) > 1)}:", "", "```sh", *examples, "```", ""]
    return "\n".join(lines)


def _rows(command: Any) -> list[tuple[str, str]]:
    context = typer.Context(command)
    return [described_in(context, parameter) for parameter in command.params]


def _table(heading: str, rows: list[tuple[str, str]]) -> list[str]:
    return [
        f"| {heading} | meaning |", "|---|---|",
        *(f"| `{_in_cell(name)}` | {_in_cell(meaning)} |" for name, meaning in rows),
    ]  # fmt: skip


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("  ", " ")


if __name__ == "__main__":
    PATH.write_text(reference(), encoding="utf-8")
