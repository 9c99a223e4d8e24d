"""``fairlane capacity``: whether more slots would help, for an organization itself or for its operator."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.customer import KeyFile, Url, plain, with_client
from fairlane.cli.names import organization_names
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import print_json
from fairlane.cli.tables import print_table
from fairlane.client import Capacity, Measured, Projection

commands = Commands()


@commands.command(epilog="Example: fairlane capacity acme --days 30")
def capacity(
    organization: Annotated[
        str | None,
        typer.Argument(
            metavar="ORGANIZATION",
            help="For its operator. Without it: for the organization itself, with its key.",
            autocompletion=organization_names,
        ),
    ] = None,
    *,
    days: Annotated[int, typer.Option(min=1, max=90, metavar="N", help="How far to look back.")] = 7,
    url: Url = None,
    key_file: KeyFile = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Show whether more slots would help.

    How long the plan and the workers were the limit, and what more slots would have changed. The times are exact. The
    waits with more slots are estimates: a replay of the newest finished tasks that are still kept, with enough workers
    for all slots. fairlane simulate replays with the present workers.
    """
    if organization is not None and key_file is not None:
        raise typer.BadParameter("an operator names the organization, a customer gives a key: not both")
    found = _asked(days, url, key_file) if organization is None else _known(organization, days, database)
    if as_json:
        print_json(plain(found))
    else:
        _show(found)


def _asked(days: int, url: str | None, key_file: Path | None) -> Capacity:
    return with_client(url, key_file, lambda client: client.capacity(days=days))


def _known(organization: str, days: int, database: str | None) -> Capacity:
    answer = ask(
        database_in_force(database), "GET", "organizations", organization, "capacity", query={"days": str(days)}
    )
    return msgspec.convert(answer, Capacity)


def _show(found: Capacity) -> None:
    print(found.advice)
    print(f"Slots in use on average: {found.slots_used_average:g} of {'?' if found.max is None else found.max}.")
    rows = [] if found.replayed.measured is None else [_row("measured", None, found.replayed.measured)]
    kind = "estimate, not to be trusted" if found.replayed.trusted is False else "estimate"
    rows += [_row(kind, one.max, one) for one in found.projections]
    if rows:
        print_table(["SLOTS", "WAIT P50 S", "WAIT P90 S", "WAIT P99 S", ""], rows, empty="")


def _row(kind: str, slots: int | None, one: Measured | Projection) -> list[object]:
    waits = (one.wait_p50_seconds, one.wait_p90_seconds, one.wait_p99_seconds)
    return [slots, *(f"{seconds:.2f}" for seconds in waits), kind]
