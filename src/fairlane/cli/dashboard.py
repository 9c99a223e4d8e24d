"""``fairlane dashboard``: the operators' pages in a browser of this machine, opened through the admin socket."""

from typing import Annotated

import typer

from fairlane.admin.browser import open_in_browser
from fairlane.admin.connection import ask_server
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import note, print_json
from fairlane.errors import CommandFailed

commands = Commands()

NONE_SERVED = (
    "this server has no operators' pages: FAIRLANE_DASHBOARD is off, or other machines can reach its port; then set "
    "FAIRLANE_ADMIN_PORT, which listens on loopback"
)


@commands.command(epilog="Example: fairlane dashboard --print")
def dashboard(
    *,
    database: DatabaseOption = None,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the address instead of opening a browser.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Open the operators' pages in a browser.

    It is the browser of this machine, and no key is needed. The address works once, for a minute. What it opens ends
    after twelve hours, at "Log out", or when the server ends. Where no browser can be opened the address is printed.
    """
    chosen = database_in_force(database)
    if chosen.startswith(("http://", "https://")):
        raise CommandFailed(
            f"operators of another machine log in with an admin key where it serves /admin/v1: {chosen}/dashboard"
        )
    try:
        made = ask_server(chosen, "POST", "dashboard", "tickets")
    except CommandFailed as failure:
        if failure.status == 404:
            raise CommandFailed(NONE_SERVED) from failure
        raise
    if as_json:
        print_json(made)
    elif only_print or not open_in_browser(made["address"]):
        print(made["address"])
        note("this opens the operators' pages once, within a minute, in a browser of this machine")
