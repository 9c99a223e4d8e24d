"""The program: every command by name, and one place where errors become messages and exit codes.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the application, 4 the database, 5 another server owns the
database, 6 the API gave no answer, 7 not in time, 8 an alert.
"""

import logging
import sys

import typer

from fairlane.cli import (
    backup,
    capacity,
    checks,
    credits,
    demo,
    doctor,
    keys,
    migrate,
    monitor,
    move,
    organizations,
    plans,
    run,
    serve,
    simulate,
    status,
    submit,
    tasks,
    top,
    usage,
    webhooks,
    worker,
)
from fairlane.cli.options import AsJson
from fairlane.cli.output import complain, print_json
from fairlane.errors import CommandFailed, SetupError

program = typer.Typer(
    name="fairlane",
    help="Offer Python functions as an async task API with exact, fair concurrency slots.",
    epilog="Start with: fairlane demo    (or: fairlane serve examples.quickstart:app)",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@program.command(epilog="Example: fairlane version --json")
def version(*, as_json: AsJson = False) -> None:
    """Print the version of fairlane."""
    from fairlane import __version__

    if as_json:
        print_json({"version": __version__})
    else:
        print(__version__)


serve.add_to(program)
worker.add_to(program)
run.add_to(program)
status.add_to(program)
submit.add_to(program)
monitor.add_to(program)
capacity.add_to(program)
top.add_to(program)
simulate.add_to(program)
program.add_typer(organizations.commands, name="organizations")
program.add_typer(keys.commands, name="keys")
program.add_typer(plans.commands, name="plans")
program.add_typer(credits.commands, name="credits")
program.add_typer(webhooks.commands, name="webhooks")
program.add_typer(tasks.commands, name="tasks")
program.add_typer(tasks.sessions, name="sessions")
program.add_typer(usage.commands, name="usage")
backup.add_to(program)
checks.add_to(program)
doctor.add_to(program)
migrate.add_to(program)
move.add_to(program)
demo.add_to(program)


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
