"""A real bash completes our commands, with the script that ``fairlane completion`` prints."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fairlane.admin.connection import ask
from fairlane.cli.names import organization_names, plan_names
from fairlane.cli.program import COMMANDS
from tests.cli.harness import Command, RunningServer

PRESS_TAB = """
{script}
COMP_WORDS=({words}) COMP_CWORD={number}
_fairlane_completion fairlane
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
"""What bash does when Tab is pressed: it calls the function, with the words of the line in variables."""


class Typed:
    """The context of a command line that names a database."""

    def __init__(self, database: str | None) -> None:
        self.params = {"database": database}


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last of these words."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    quoted = " ".join(f"'{word}'" for word in ("fairlane", *words))
    text = PRESS_TAB.format(script=script, words=quoted, number=len(words))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        [bash, "--norc", "-c", text], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.nothing_yet
def test_bash_completes_commands_options_and_words(fairlane: Command, tmp_path: Path) -> None:
    """Of the program, of a group, of a command; no database is made meanwhile."""
    script = fairlane("completion", "bash").out

    assert completed(script, "") == [*COMMANDS]
    assert completed(script, "keys", "") == ["create", "list", "revoke"]
    assert {"--port", "--places"} <= set(completed(script, "serve", "examples.quickstart:app", "--p"))
    assert completed(script, "organizations", "maintenance", "acme", "o") == ["on", "off"]
    assert [*tmp_path.iterdir()] == []


def test_names_come_from_a_running_server(fairlane: Command, server: RunningServer, database: str) -> None:
    """Of organizations and plans, those that begin as typed."""
    for name in ("acme", "apex", "globex"):
        ask(database, "POST", "organizations", body={"name": name})
    ask(database, "POST", "plans", body={"name": "large", "slots": 50})

    assert completed(fairlane("completion", "bash").out, "organizations", "pause", "a") == ["acme", "apex"]
    assert "large" in plan_names(Typed(database))
    server.stop()
    assert organization_names(Typed(database), "a") == []


@pytest.mark.parametrize("elsewhere", ["https://api.example", "postgresql://db/fairlane", "nonsense"])
def test_names_are_asked_for_on_this_machine_alone(elsewhere: str) -> None:
    """A shell that waits for a network would be worse than one that completes nothing."""
    assert organization_names(Typed(elsewhere), "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(fairlane: Command, shell: str) -> None:
    """It calls back with the same variable; it is run here where the shell is installed."""
    script = fairlane("completion", shell).out

    assert f"_FAIRLANE_COMPLETE=complete_{shell}" in script
    if (found := shutil.which(shell)) is not None:
        subprocess.run([found, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("typed", ["lo", "tasks ", "serve --", "tasks list --"])
def test_a_shell_shows_a_whole_sentence_beside_each_word(typed: str) -> None:
    """One line for each word, however long its sentence is: fish would offer a second line as a word."""
    asked = {
        "_FAIRLANE_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": f"fairlane {typed}",
    }
    printed = subprocess.run(
        [Path(sys.executable).with_name("fairlane")], capture_output=True, text=True, check=True,
        env={**os.environ, **asked},
    ).stdout  # fmt: skip

    lines = [line.partition("\t") for line in printed.splitlines()]
    assert [word for word, tab, _ in lines if not tab] == []
    assert [sentence for _, _, sentence in lines if sentence.endswith("...")] == []
    if typed == "lo":
        assert lines[-1] == ("logout", "\t", "Delete the address and the key that login kept.")
