"""``fairlane completion``: what makes a shell complete our commands. Its answers come from ``program.py``."""

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

from fairlane.cli.commands import Commands
from fairlane.cli.program import COMPLETE_VARIABLE

commands = Commands()


class Shell(StrEnum):
    """The shells that can be completed."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@commands.command(
    epilog="Examples: fairlane completion bash >> ~/.bashrc; fairlane completion zsh >> ~/.zshrc; "
    "fairlane completion fish > ~/.config/fish/completions/fairlane.fish"
)
def completion(shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell.")]) -> None:
    """Print what makes a shell complete commands and options.

    Commands, options, their fixed words, and the names of organizations and plans are completed. Names come from a
    server of this machine on a SQLite file, if it answers within half a second.
    """
    # ``shell`` is the name of one; nothing is run.
    print(get_completion_script(prog_name="fairlane", complete_var=COMPLETE_VARIABLE, shell=shell))  # nosec B604
