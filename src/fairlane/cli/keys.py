"""``fairlane keys``: Bearer secrets of organizations, workers and operators. Shown once; only a digest is kept."""

import sys
from typing import Annotated, Any

import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.names import organization_names
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import moment, note, print_json
from fairlane.cli.tables import print_fields, print_table

commands = Commands(
    name="keys", help="The Bearer secrets of organizations, workers and operators.", no_args_is_help=True
)


OwnerArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="ORGANIZATION", help="The organization's name.", show_default=False, autocompletion=organization_names
    ),
]


@commands.command(
    epilog="Examples: fairlane keys create acme --name laptop; fairlane keys create acme --value - < key.txt; "
    "fairlane keys create --worker gpu-box; fairlane keys create --admin billing"
)
def create(
    organization: OwnerArgument = None,
    *,
    worker: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Create a key for workers on other machines instead.", show_default=False),
    ] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="NAME", help="Create a key for operators instead.", show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="A name for the organization's key.", show_default=False),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="KEY|-",
            help="Import this key (sk_live_…, wk_live_…, ak_live_…) instead of making one. - reads it from standard "
            "input, which keeps it out of the shell's history.",
            show_default=False,
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Create a key for an organization, for workers or for operators, or import one. It is shown once."""
    _check_one(organization, worker, admin)
    if name is not None and organization is None:
        raise typer.BadParameter("goes with an organization; --worker and --admin name the key", param_hint="--name")
    if value == "-":
        value = sys.stdin.readline().strip()
        if not value:
            raise typer.BadParameter("there is no key on standard input", param_hint="--value")
    body: dict[str, object] = {} if value is None else {"value": value}
    path = ["keys"] if organization is None else ["organizations", organization, "keys"]
    if organization is None:
        body |= {"kind": "admin", "name": admin} if worker is None else {"kind": "worker", "name": worker}
    elif name is not None:
        body["name"] = name
    key = ask(database_in_force(database), "POST", *path, body=body)
    if as_json:
        print_json(key)
        return
    print_fields([("Key", key["value"]), *_fields(key)])
    note("keep the key now: only a digest of it is stored, so it cannot be shown again.")


@commands.command(
    "list", epilog="Examples: fairlane keys list acme; fairlane keys list --worker; fairlane keys list --admin"
)
def list_keys(
    organization: OwnerArgument = None,
    *,
    worker: Annotated[bool, typer.Option("--worker", help="List the workers' keys instead.")] = False,
    admin: Annotated[bool, typer.Option("--admin", help="List the operators' keys instead.")] = False,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without the secrets."""
    _check_one(organization, worker or None, admin or None)
    if organization is not None:
        answer = ask(database_in_force(database), "GET", "organizations", organization, "keys")
    else:
        answer = ask(database_in_force(database), "GET", "keys", query={"kind": "worker" if worker else "admin"})
    if as_json:
        print_json(answer)
        return
    rows = [
        [key["id"], key["name"], f"…{key['last4']}", moment(key["created_at"]), moment(key["revoked_at"]) or None]
        for key in answer["keys"]
    ]
    owner = organization or ("workers" if worker else "operators")
    print_table(["ID", "NAME", "ENDS IN", "CREATED", "REVOKED"], rows, empty=f"{owner}: no keys.")


@commands.command(epilog="Example: fairlane keys revoke 0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The id that 'keys list' shows.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key of any kind. The server refuses it from then on; other servers follow within 5 s.

    Workers that use the key lose their attempts, which return to the queue.
    """
    key = ask(database_in_force(database), "DELETE", "keys", key_id)
    if as_json:
        print_json(key)
    else:
        print_fields(_fields(key))


def _fields(key: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Id", key["id"]),
        ("Organization", key["organization"]) if "organization" in key else ("For", f"{key['kind']}s"),
        ("Name", key["name"]),
        ("Ends in", f"…{key['last4']}"),
        ("Created", moment(key["created_at"])),
        ("Revoked", moment(key["revoked_at"]) or None),
    ]


def _check_one(*owners: object) -> None:
    if sum(owner is not None for owner in owners) != 1:
        raise typer.BadParameter("give one of: an organization, --worker, --admin")
