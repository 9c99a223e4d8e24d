"""``fairlane help``: the same as ``--help``, as a command."""

from typing import Annotated

import typer

from fairlane.cli.commands import Commands
from fairlane.cli.program import COMMANDS, program

commands = Commands()


@commands.command(epilog="Examples: fairlane help serve; fairlane help keys create")
def help(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="COMMAND", help="The words of the command.", autocompletion=lambda: [*COMMANDS]),
    ] = None,
) -> None:
    """Show the help of a command."""
    program([*(words or ()), "--help"], prog_name="fairlane")
