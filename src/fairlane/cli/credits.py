"""``fairlane credits``: organizations' credits, counted for those with ``organizations … --credits on``."""

from typing import Annotated, Any

import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, OrganizationName, database_in_force
from fairlane.cli.output import moment, print_json
from fairlane.cli.tables import print_fields, print_table

commands = Commands(name="credits", help="The credits of organizations.", no_args_is_help=True)


@commands.command(
    epilog="Examples: fairlane credits grant acme 50000 --reason 'invoice 7' --id invoice-7; "
    "fairlane credits grant acme -200 --reason 'granted twice'",
    context_settings={"ignore_unknown_options": True},
)
def grant(
    organization: OrganizationName,
    amount: Annotated[int, typer.Argument(metavar="AMOUNT", help="Number of credits; a negative number takes back.")],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason, for the history and the audit.")],
    grant_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="Your own id: a grant that is repeated with it counts once. Default: a new id each time.",
            show_default=False,
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Grant an organization credits, or take some back. Running tasks continue."""
    body = {"amount": amount, "reason": reason} | ({} if grant_id is None else {"id": grant_id})
    granted = ask(database_in_force(database), "POST", "organizations", organization, "credits", "grants", body=body)
    if as_json:
        print_json(granted)
        return
    print_fields([("Grant", granted["id"]), ("Amount", granted["amount"]), ("Reason", granted["reason"])])


@commands.command(epilog="Example: fairlane credits show acme")
def show(organization: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Show an organization's balance and its parts."""
    found = ask(database_in_force(database), "GET", "organizations", organization, "credits")
    if as_json:
        print_json(found)
        return
    totals = found["credits"]
    print_fields(
        [
            ("Organization", found["organization"]),
            ("Counted", totals["on"]),
            ("Balance", found["balance"]),
            ("Held by running tasks", totals["held"]),
            ("Granted", totals["granted"]),
            ("Charged", totals["charged"]),
        ]
    )


@commands.command(epilog="Example: fairlane credits history acme --limit 20")
def history(
    organization: OrganizationName,
    *,
    limit: Annotated[int, typer.Option(metavar="N", help="Most to show, newest first.")] = 100,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """List an organization's grants. Charges are shown with its tasks."""
    path = ("organizations", organization, "credits", "grants")
    answer = ask(database_in_force(database), "GET", *path, query={"limit": str(limit)})
    if as_json:
        print_json(answer)
        return
    print_table(
        ["AT", "AMOUNT", "REASON", "BY", "ID"],
        [_row(one) for one in answer["grants"]],
        empty=f"{organization} has no grants yet.",
    )


def _row(one: dict[str, Any]) -> list[object]:
    return [moment(one["created_at"]), one["amount"], one["reason"], one["actor"], one["id"]]
