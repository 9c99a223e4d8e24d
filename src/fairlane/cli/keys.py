"""``fairlane keys``: the Bearer secrets of organizations. A secret is shown once; only its digest is kept."""

import sys
from typing import Annotated, Any

import typer

from fairlane.cli.options import AsJson, Database, OrganizationName, database_in_force
from fairlane.cli.output import moment, note, print_fields, print_json, print_table

commands = typer.Typer(help="The Bearer secrets of organizations.", no_args_is_help=True)


@commands.command(
    epilog="Examples: fairlane keys create acme --name laptop; fairlane keys create acme --value - < key.txt"
)
def create(
    organization: OrganizationName,
    *,
    name: Annotated[str | None, typer.Option(help="A name to know the key by.", show_default=False)] = None,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="sk_live_…|-",
            help="Import this key instead of making one. - reads it from standard input, which keeps it out of the "
            "shell's history.",
            show_default=False,
        ),
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Create a key, or import one of your own choice. It is shown once."""
    from fairlane.cli.connection import ask

    if value == "-":
        value = sys.stdin.readline().strip()
        if not value:
            raise typer.BadParameter("there is no key on standard input", param_hint="--value")
    body = {field: given for field, given in {"name": name, "value": value}.items() if given is not None}
    key = ask(database_in_force(database), "POST", "organizations", organization, "keys", body=body)
    if as_json:
        print_json(key)
        return
    print_fields([("Key", key["value"]), *_fields(key)])
    note("keep the key now: only a digest of it is stored, it cannot be shown again.")


@commands.command("list", epilog="Example: fairlane keys list acme")
def list_keys(organization: OrganizationName, *, database: Database = None, as_json: AsJson = False) -> None:
    """List an organization's keys, without the secrets."""
    from fairlane.cli.connection import ask

    answer = ask(database_in_force(database), "GET", "organizations", organization, "keys")
    if as_json:
        print_json(answer)
        return
    rows = [
        [key["id"], key["name"], f"…{key['last4']}", moment(key["created_at"]), moment(key["revoked_at"]) or None]
        for key in answer["keys"]
    ]
    print_table(["ID", "NAME", "ENDS IN", "CREATED", "REVOKED"], rows, empty=f"{organization} has no keys.")


@commands.command(epilog="Example: fairlane keys revoke 0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The id that 'keys list' shows.")],
    *,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key. Requests that carry it are refused from then on."""
    from fairlane.cli.connection import ask

    key = ask(database_in_force(database), "DELETE", "keys", key_id)
    if as_json:
        print_json(key)
    else:
        print_fields(_fields(key))


def _fields(key: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Id", key["id"]),
        ("Organization", key["organization"]),
        ("Name", key["name"]),
        ("Ends in", f"…{key['last4']}"),
        ("Created", moment(key["created_at"])),
        ("Revoked", moment(key["revoked_at"]) or None),
    ]
