"""The program: every command by name, and one place where errors become messages and exit codes.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the application, 4 the database, 5 another server owns the
database, 6 the API gave no answer, 7 not in time, 8 an alert.
"""

import logging
import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer._completion_classes import completion_init
from typer.core import TyperCommand

from fairlane import __version__
from fairlane.cli.commands import CommandGroup
from fairlane.cli.output import complain
from fairlane.errors import CommandFailed, SetupError

GROUPS = {
    "Run": {
        "demo": ("demo", "Watch two organizations share workers."),
        "serve": ("serve", "Serve an application, with workers."),
        "worker": ("worker", "Run workers for a server on another machine."),
        "run": ("run", "Run one handler in this process."),
        "settings": ("settings", "Show the settings in force, and where each comes from."),
        "help": ("help", "Show the help of a command."),
        "completion": ("completion", "Print what makes a shell complete commands and options."),
        "version": ("version", "Print the version of fairlane."),
    },
    "Customers": {
        "login": ("login", "Keep the address and the key of an organization."),
        "logout": ("login", "Delete the address and the key that login kept."),
        "client": ("client", "Help for programs that call the API."),
        "submit": ("submit", "Submit tasks."),
        "status": ("status", "Show the queue and the slots of an organization."),
        "slots": ("status", "Show which tasks and calls hold the slots."),
        "wait": ("status", "Wait until tasks have ended."),
        "why": ("status", "Show why a task waits."),
        "cancel": ("status", "Cancel tasks, queued or running."),
        "monitor": ("monitor", "Watch an organization's queue and slots."),
        "capacity": ("capacity", "Show whether more slots would help."),
    },
    "Operators": {
        "organizations": ("organizations", "The organizations that use the API, and their limits."),
        "keys": ("keys", "The Bearer secrets of organizations, workers and operators."),
        "plans": ("plans", "Named limits that organizations share."),
        "credits": ("credits", "The credits of organizations."),
        "webhooks": ("webhooks", "The secrets that sign webhooks."),
        "tasks": ("tasks", "Tasks of all organizations, for operators."),
        "failures": ("failures", "Show what failed, grouped by cause."),
        "sessions": ("sessions", "The workers that run now."),
        "top": ("top", "Show every organization live, the busiest first."),
        "dashboard": ("dashboard", "Open the operators' pages in a browser."),
        "simulate": ("simulate", "Replay finished tasks under other limits."),
        "usage": ("usage", "The usage of organizations and of task types."),
        "audit": ("checks", "Show the changes that operators made, newest first."),
        "maintenance": ("checks", "Mark the slots as unreliable during maintenance."),
    },
    "Database": {
        "doctor": ("doctor", "Check the setup, and what keeps tasks from starting."),
        "drift": ("checks", "Recount every stored count from its rows."),
        "migrate": ("migrate", "Apply pending migrations."),
        "backup": ("backup", "Copy the database while the server works."),
        "restore": ("backup", "Put a copy of a backup in the database's place."),
        "move": ("move", "Move a stopped installation to PostgreSQL."),
    },
}
"""The groups of the help: each command with its module and its first sentence."""
COMMANDS = {name: place for members in GROUPS.values() for name, place in members.items()}
COMPLETE_VARIABLE = "_FAIRLANE_COMPLETE"
"""Set by the script of ``fairlane completion``: then the program prints words instead of running a command."""


class CommandTable(CommandGroup):
    """The commands of :data:`GROUPS`. The module of a command is imported when this command is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, sentence) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=sentence, short_help=sentence)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Print the version if only that is asked for."""
        # Not an option of typer: for each such option, typer would import its validator at every start.
        if args == ["--version"] and not ctx.resilient_parsing:
            print(f"fairlane {__version__}")
            raise typer.Exit
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first argument names; its module is imported here."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options and the groups of commands."""
        with formatter.section("Options"):
            formatter.write_dl([("--version", "Print the version."), ("-h, --help", "Show this message and exit.")])
        longest = max(map(len, COMMANDS))
        for title, members in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{longest}}", sentence) for name, (_, sentence) in members.items()])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write what to begin with."""
        with formatter.section("Start with"):
            for line in ("fairlane demo", "fairlane serve examples/quickstart.py:app", "fairlane help serve"):
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _new(**attributes: Any) -> typer.Typer:
    return typer.Typer(
        **attributes, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


program = _new(
    name="fairlane",
    cls=CommandTable,
    help="Offer Python functions as an async task API with exact, fair concurrency slots.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@program.callback()
def _program() -> None: ...


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
    if COMPLETE_VARIABLE in os.environ:
        os.environ["TERMINAL_WIDTH"] = "10000"  # typer would wrap a long text, and a shell takes each line for a word
        completion_init()
    try:
        program()
    except CommandFailed as failure:
        complain(str(failure), details=failure.details)
        sys.exit(failure.exit_code)
    except SetupError as error:
        complain(str(error))
        sys.exit(error.exit_code)
