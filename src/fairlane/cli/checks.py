"""``fairlane drift``, ``audit`` and ``maintenance``: check the counters, and show operators' changes."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.names import organization_names
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import moment, print_json
from fairlane.cli.tables import print_table

commands = Commands()


class MaintenanceState(StrEnum):
    """The argument of ``fairlane maintenance``."""

    ON = "on"
    OFF = "off"
    SHOW = "show"


@commands.command(epilog="Example: fairlane drift acme")
def drift(
    organization: Annotated[
        str | None,
        typer.Argument(
            metavar="ORGANIZATION",
            help="Only this one.",
            show_default=False,
            autocompletion=organization_names,
        ),
    ] = None,
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Recount every stored count from its rows.

    All counts come from one snapshot. Exit code 1 if any count differs; none ever should.
    """
    query = None if organization is None else {"organization": organization}
    answer = ask(database_in_force(database), "GET", "drift", query=query)
    found = answer["drift"]
    if as_json:
        print_json(answer)
    else:
        rows = [[row["organization"], row["name"], row["kept"], row["counted"]] for row in found]
        exact = f"No drift: the counts of {_counted(answer['organizations'])} equal their rows."
        print_table(["ORGANIZATION", "COUNT", "KEPT", "COUNTED"], rows, empty=exact)
    if found:
        raise typer.Exit(1)


@commands.command(epilog="Example: fairlane audit --limit 20")
def audit(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Newest rows to show.")] = 100,
    subject: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only changes of this organization or plan.", show_default=False)
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            "--action", metavar="ACTION", help="Only this kind of change, such as key.created.", show_default=False
        ),
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only changes by this operator.", show_default=False)
    ] = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the changes that operators made, newest first."""
    query = {"limit": str(limit), "subject": subject, "action": action, "actor": actor}
    given = {name: value for name, value in query.items() if value is not None}
    answer = ask(database_in_force(database), "GET", "audit", query=given)
    if as_json:
        print_json(answer)
        return
    rows = [
        [moment(row["at"]), row["actor"], row["action"], row["subject"], _brief(row["details"])]
        for row in answer["audit"]
    ]
    print_table(["WHEN", "NAME", "WHAT", "ON", "DETAILS"], rows, empty="Nothing has been changed yet.")


@commands.command(epilog="Example: fairlane maintenance on")
def maintenance(
    state: Annotated[MaintenanceState, typer.Argument(help="on, off or show.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Mark the slots as unreliable during maintenance.

    While this is on, concurrency reads null for every organization. Tasks continue to run.
    """
    if state is MaintenanceState.SHOW:
        answer = ask(database_in_force(database), "GET", "maintenance")
    else:
        body = {"on": state is MaintenanceState.ON}
        answer = ask(database_in_force(database), "PUT", "maintenance", body=body)
    if as_json:
        print_json(answer)
    else:
        print(f"Maintenance is {'on' if answer['on'] else 'off'}.")


def _counted(organizations: int) -> str:
    return "1 organization" if organizations == 1 else f"{organizations} organizations"


def _brief(details: object) -> str:
    return "" if details in (None, {}) else json.dumps(details, ensure_ascii=False)
