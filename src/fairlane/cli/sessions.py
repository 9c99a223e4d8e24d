"""``fairlane sessions``: the worker processes that run now, for operators."""

from fairlane.admin.connection import ask_all
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import moment, print_json
from fairlane.cli.tables import print_table

commands = Commands(name="sessions", help="The workers that run now.", no_args_is_help=True)


@commands.command("list", epilog="Example: fairlane sessions list")
def list_sessions(*, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """List the live worker processes and their attempts."""
    found = ask_all(database_in_force(database), "sessions", "sessions")
    if as_json:
        print_json({"sessions": found})
        return
    rows = [
        [one["id"], one["name"], ", ".join(one["types"]), f"{one['leases']}/{one['places']}", one["local"],
         moment(one["started_at"])]
        for one in found
    ]  # fmt: skip
    print_table(["SESSION", "NAME", "TYPES", "RUNNING", "LOCAL", "SINCE"], rows, empty="No worker runs.")
