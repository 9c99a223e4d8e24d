"""``fairlane --help`` stays quick: a command's module is imported when the command is called."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from fairlane.cli.commands import first_sentence
from fairlane.cli.program import COMMANDS, GROUPS, load, program
from tests.cli.harness import Command

LISTED = "import atexit, sys, fairlane.cli as cli; atexit.register(lambda: print(*sys.modules)); cli.main()"
"""Runs a command, and prints at last what it has imported."""
SERVER = ("uvicorn", "uvloop", "apsw", "psycopg", "prometheus_client", "opentelemetry", "pydantic", "fairlane.store")
"""What a command that asks a server has no use for."""
HEAVY = ("httpx2", "rich.console", "rich.progress", "uvicorn", "apsw", "asyncio.base_events", "fairlane.client")


def test_the_help_lists_every_command_and_imports_nothing_heavy() -> None:
    """Neither HTTP client nor web toolkit, database or tables."""
    ran = subprocess.run([sys.executable, "-c", LISTED, "--help"], capture_output=True, text=True, check=True)

    shown, _, imported = ran.stdout.rstrip().rpartition("\n")
    assert [name for name in imported.split() if name in HEAVY] == []
    listed = [block.splitlines() for block in shown.split("\n\n") if block.partition(":")[0] in GROUPS]
    assert [line.split()[0] for block in listed for line in block[1:]] == [*COMMANDS]


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "--help"], ["keys", "create", "--help"], ["status"], ["status", "--every", "3"],
        ["submit", "PAGE", "--payload", "{}"], ["wait", "one", "two"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_imports_only_what_it_uses(words: list[str], tmp_path: Path) -> None:
    """Help and what asks a server need neither database nor listener; pydantic is for values that are converted."""
    # Without a key a command ends just before its first request.
    ran = subprocess.run(
        [sys.executable, "-c", LISTED, *words],
        env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    found = {name for name in ran.stdout.splitlines()[-1].split() if name in SERVER}
    assert found <= ({"pydantic"} if "3" in words else set())  # older releases of typer do without it
    assert "--help" in words or "there is no key" in ran.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_of_a_command_what_the_command_says(name: str) -> None:
    """The sentence in the table is the first one of the command's own help."""
    assert first_sentence(load(name)) == COMMANDS[name][1]


def helps(command: Any, path: str, parent: Any) -> Iterator[str]:
    """The help of a command and of the commands in it, on a terminal of 80 columns."""
    context = typer.Context(command, info_name=path, parent=parent)
    yield command.get_help(context)
    for name, member in getattr(command, "commands", {}).items():
        yield from helps(member, name, context)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_whole_at_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sentence is cut, no name of a type of Python shows, and each example has a line."""
    monkeypatch.setenv("COLUMNS", "80")
    root = typer.Context(get_command(program), info_name="fairlane")

    for text in helps(load(name), name, root):
        assert [line for line in text.splitlines() if len(line) > 80] == []
        assert not re.search(r"[a-z,]\.\.\.$|<\w|\bx[<>]=|; fairlane|\.{4}", text, re.MULTILINE), text
        assert "Usage: fairlane" in text


def test_the_table_of_commands_has_one_line_for_each() -> None:
    """On a terminal of 80 columns, in four groups."""
    assert [*GROUPS] == ["Run", "Customers", "Operators", "Database"]
    assert [sentence for _, sentence in COMMANDS.values() if len(sentence) > 60] == []


@pytest.mark.parametrize("words", [[], ["serve"], ["keys", "create"]])
def test_help_is_a_command_too(fairlane: Command, words: list[str]) -> None:
    """The same as the option."""
    assert fairlane("help", *words).out == fairlane(*words, "--help").out != ""


def test_help_for_a_word_that_is_no_command_names_the_nearest(fairlane: Command) -> None:
    """As for any command line."""
    ran = fairlane("help", "organisations")

    assert ran.code == 2
    assert "Did you mean 'organizations'?" in ran.err
