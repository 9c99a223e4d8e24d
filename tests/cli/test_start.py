"""``fairlane --help`` stays quick: a command's module is imported when the command is called."""

import subprocess
import sys

import pytest

from fairlane.cli.program import COMMANDS, load

HEAVY = ("httpx2", "rich.console", "rich.progress", "uvicorn", "apsw", "asyncio.base_events", "fairlane.client")


def test_the_help_lists_every_command_and_imports_nothing_heavy() -> None:
    """Neither HTTP client nor web toolkit, database or tables."""
    script = "import atexit, sys, fairlane.cli as cli; atexit.register(lambda: print(*sys.modules)); cli.main()"

    ran = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=True)

    shown, _, imported = ran.stdout.rstrip().rpartition("\n")
    assert [name for name in imported.split() if name in HEAVY] == []
    listed = shown.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == [*COMMANDS]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_of_a_command_what_the_command_says(name: str) -> None:
    """The sentence in the table is the first one of the command's own help."""
    assert load(name).get_short_help_str(1_000) == COMMANDS[name][1]
