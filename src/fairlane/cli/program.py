"""The program: every command by name, and one place where errors become messages and exit codes.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the application, 4 the database, 5 another server owns the
database, 6 the API gave no answer, 7 not in time, 8 an alert.
"""

import logging
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fairlane import __version__
from fairlane.cli.output import complain
from fairlane.errors import CommandFailed, SetupError

COMMANDS = {
    "version": ("version", "Print the version of fairlane."),
    "serve": ("serve", "Serve an application, with workers."),
    "worker": ("worker", "Run workers for a server on another machine."),
    "run": ("run", "Run one handler in this process."),
    "status": ("status", "Show how many tasks wait, how many run, and how many slots are used."),
    "slots": (
        "status",
        "Show the holders of the organization's slots, oldest first, with the progress that handlers report.",
    ),
    "wait": ("status", "Wait until tasks have ended."),
    "why": ("status", "Show why a task waits: a reason, how many tasks are ahead, and when it may start."),
    "cancel": ("status", "Cancel tasks: queued ones at once, running ones by a cancel request to the handler."),
    "submit": ("submit", "Submit tasks."),
    "monitor": ("monitor", "Watch an organization's queue and slots."),
    "capacity": (
        "capacity",
        "Show how long the plan and the workers were the limit, and what more slots would have changed.",
    ),
    "top": ("top", "Show every organization live, the busiest first, until Ctrl-C."),
    "simulate": ("simulate", "Replay finished tasks under other limits, by the server's own rules."),
    "organizations": ("organizations", "The organizations that use the API, and their limits."),
    "keys": ("keys", "The Bearer secrets of organizations, workers and operators."),
    "plans": ("plans", "Named limits that organizations share."),
    "credits": ("credits", "The credits of organizations."),
    "webhooks": ("webhooks", "Webhooks."),
    "tasks": ("tasks", "Tasks of all organizations, for operators."),
    "failures": (
        "failures",
        "Show what failed, grouped by cause: the groups with most failures first, each with a sample.",
    ),
    "sessions": ("sessions", "The workers that run now."),
    "dashboard": ("dashboard", "Open the operators' pages in the browser of this machine, without a key."),
    "usage": ("usage", "The usage of organizations, month by month."),
    "backup": ("backup", "Copy the database as it is at one moment, while the server works."),
    "restore": ("backup", "Put a copy of a backup in the database's place."),
    "drift": ("checks", "Recount every stored count from its rows."),
    "audit": ("checks", "Show the changes that operators made, newest first."),
    "maintenance": ("checks", "Mark the slots as unreliable during maintenance."),
    "doctor": (
        "doctor",
        "Check the setup: the database, the disk, clocks, workers, and everything that keeps tasks from starting.",
    ),
    "migrate": ("migrate", "Apply pending migrations."),
    "move": ("move", "Move a stopped installation to PostgreSQL: everything, or nothing."),
    "demo": ("demo", "Watch two organizations share workers."),
}
"""Each command with its module and its first sentence, in the order of the help."""


class CommandTable(TyperGroup):
    """The commands of :data:`COMMANDS`. The module of a command is imported when this command is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, sentence) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=sentence)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first argument names; its module is imported here."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)


def _new(**attributes: Any) -> typer.Typer:
    return typer.Typer(
        **attributes, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


program = _new(
    name="fairlane",
    cls=CommandTable,
    help="Offer Python functions as an async task API with exact, fair concurrency slots.",
    epilog="Start with: fairlane demo    (or: fairlane serve examples.quickstart:app)",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"fairlane {__version__}")
        raise typer.Exit


@program.callback()
def _program(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def load(name: str) -> Any:
    """Import the module of a command; return the command."""
    module = import_module(f"fairlane.cli.{COMMANDS[name][0]}")
    holder = _new()
    holder.add_typer(module.commands)
    return typer.main.get_group(holder).commands[name]


def main() -> None:
    """Run the command line and exit with its code."""
    # Commands say what went wrong themselves. Of log events, which are for the log of a server, a person at a terminal
    # needs only what was not foreseen. serve and worker replace this.
    unforeseen = logging.StreamHandler()
    unforeseen.addFilter(lambda record: record.exc_info is not None)
    logging.basicConfig(handlers=[unforeseen], level=logging.WARNING)
    try:
        program()
    except CommandFailed as failure:
        complain(str(failure), details=failure.details)
        sys.exit(failure.exit_code)
    except SetupError as error:
        complain(str(error))
        sys.exit(error.exit_code)
