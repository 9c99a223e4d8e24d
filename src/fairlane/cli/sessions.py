"""``fairlane sessions``: the worker processes that run now, for operators."""

from typing import Annotated

import typer

from fairlane.admin.connection import ask, ask_all
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import moment, print_json
from fairlane.cli.tables import print_table

commands = Commands(name="sessions", help="The workers that run now.", no_args_is_help=True)


@commands.command("list", epilog="Example: fairlane sessions list")
def list_sessions(*, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """List the live worker processes and their attempts, and the workers that cannot start."""
    where = database_in_force(database)
    found = ask_all(where, "sessions", "sessions")
    failed = ask(where, "GET", "failed-starts")["failed_starts"]
    if as_json:
        print_json({"sessions": found, "failed_starts": failed})
        return
    rows = [
        [one["id"], one["name"], ", ".join(one["types"]), f"{one['leases']}/{one['places']}",
         "draining" if one["draining"] else "takes tasks", one["version"], one["local"], moment(one["started_at"])]
        for one in found
    ]  # fmt: skip
    print_table(
        ["SESSION", "NAME", "TYPES", "RUNNING", "STATE", "VERSION", "LOCAL", "SINCE"], rows, empty="No worker runs."
    )
    if failed:
        print("\nThese workers cannot start:")
        starts = [
            [one["application"], one["host"], one["failures"], moment(one["first_at"]), moment(one["last_at"]),
             one["cause"]]
            for one in failed
        ]  # fmt: skip
        print_table(["APPLICATION", "MACHINE", "FAILED", "SINCE", "LAST", "CAUSE"], starts, empty="")


@commands.command("drain", epilog="Example: fairlane sessions drain 01a2aed0-4c2f-7a31-9d62-0f6f0c2b8a11")
def drain_session(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The id of the worker's session.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Have a worker process take no more tasks, and end after those that it runs.

    It takes none from now on, and ends within its time to renew (FAIRLANE_RENEW_SECONDS) after its last attempt. No
    other process takes its place until the server, or `fairlane worker`, is started again; the latter ends once all of
    its processes have.
    """
    ask(database_in_force(database), "POST", "sessions", session, "drain")
    if as_json:
        print_json({"session": session, "draining": True})
    else:
        print(f"{session} takes no more tasks, and ends after those that it runs.")
