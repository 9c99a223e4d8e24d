"""``fairlane webhooks``: the secrets that sign an organization's webhooks. A secret is shown once."""

import sys
from typing import Annotated, Any

import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, OrganizationName, database_in_force
from fairlane.cli.output import moment, note, print_json
from fairlane.cli.tables import print_fields, print_table

commands = Commands(name="webhooks", help="The secrets that sign webhooks.", no_args_is_help=True)
secrets = Commands(help="The secrets that sign an organization's webhooks.", no_args_is_help=True)
commands.add_typer(secrets, name="secrets")

ROUTE = "webhook-secrets"


@secrets.command(
    epilog="Examples: fairlane webhooks secrets create acme; "
    "fairlane webhooks secrets create acme --value - --overlap-hours 0 < secret.txt"
)
def create(
    organization: OrganizationName,
    *,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="whsec_…|-",
            help="Import this secret instead of making one. - reads it from standard input.",
            show_default=False,
        ),
    ] = None,
    overlap_hours: Annotated[
        int,
        typer.Option(
            metavar="HOURS",
            min=0,
            max=720,
            help="How long the secret before this one also signs. In the Standard Webhooks headers only:"
            "X-Cloro-Signature uses only the newest from now on.",
        ),
    ] = 24,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Sign webhooks, or rotate the secret that signs them. It is shown once."""
    if value == "-":
        value = sys.stdin.readline().strip()
        if not value:
            raise typer.BadParameter("there is no secret on standard input", param_hint="--value")
    body: dict[str, object] = {"overlap_seconds": overlap_hours * 3_600}
    if value is not None:
        body["value"] = value
    secret = ask(database_in_force(database), "POST", "organizations", organization, ROUTE, body=body)
    if as_json:
        print_json(secret)
        return
    print_fields([("Secret", secret["value"]), *_fields(secret)])
    note("keep the secret now: it cannot be shown again.")


@secrets.command("list", epilog="Example: fairlane webhooks secrets list acme")
def list_secrets(organization: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """List the secrets that sign an organization's webhooks now, newest first, without their values."""
    answer = ask(database_in_force(database), "GET", "organizations", organization, ROUTE)
    if as_json:
        print_json(answer)
        return
    _print(answer["webhook_secrets"], empty=f"the webhooks of {organization} are not signed.")


@secrets.command(
    epilog="Examples: fairlane webhooks secrets revoke acme; fairlane webhooks secrets revoke acme --id ID"
)
def revoke(
    organization: OrganizationName,
    *,
    secret_id: Annotated[
        str | None,
        typer.Option("--id", metavar="SECRET_ID", help="Only this secret. Default: all of them.", show_default=False),
    ] = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Revoke signing secrets at once. With --id of the newest, the secret before it is the newest again."""
    path = ("organizations", organization, ROUTE, *([] if secret_id is None else [secret_id]))
    answer = ask(database_in_force(database), "DELETE", *path)
    if as_json:
        print_json(answer)
        return
    _print(answer["webhook_secrets"], empty=f"the webhooks of {organization} were not signed.")


def _print(found: list[dict[str, Any]], *, empty: str) -> None:
    rows = [
        [one["id"], f"…{one['last4']}", moment(one["created_at"]), moment(one["expires_at"]) or None] for one in found
    ]
    print_table(["ID", "ENDS IN", "CREATED", "EXPIRES"], rows, empty=empty)


def _fields(secret: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Id", secret["id"]),
        ("Organization", secret["organization"]),
        ("Ends in", f"…{secret['last4']}"),
        ("Created", moment(secret["created_at"])),
    ]
