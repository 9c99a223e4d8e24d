"""``fairlane failures``: what failed, grouped by cause, over all organizations or in one."""

from typing import Annotated, Any

import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import moment, note, print_json
from fairlane.cli.tables import print_table

commands = Commands()


@commands.command(epilog="Example: fairlane failures --organization acme --since 2026-11-10T15:00:00Z")
def failures(
    *,
    organization: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only failures of this organization.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="Count from this hour on. Default: a day ago.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="Most groups to show.")] = 100,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Show what failed, grouped by cause. The groups with most failures come first, each with a sample."""
    asked = {"organization": organization, "since": since, "limit": str(limit)}
    query = {name: value for name, value in asked.items() if value is not None}
    answer = ask(database_in_force(database), "GET", "failures", query=query)
    if as_json:
        print_json(answer)
        return
    rows = [
        [one["failures"], one["retried"], one["organizations"], one["task_type"], one["code"], one["ending"],
         one["exception"], _place(one), moment(one["last_at"]), _sample(one), one["group"]]
        for one in answer["failures"]
    ]  # fmt: skip
    columns = ["FAILED", "RETRIED", "ORGANIZATIONS", "TYPE", "CODE", "ENDING", "EXCEPTION", "PLACE", "LAST", "SAMPLE",
               "GROUP"]  # fmt: skip
    print_table(columns, rows, empty="Nothing failed.")
    if answer["more"]:
        note("there are more groups: raise --limit")


def _place(group: dict[str, Any]) -> str | None:
    place, line = group["place"], group["line"]
    return place if line is None else f"{place} (line {line})"


def _sample(group: dict[str, Any]) -> str | None:
    sample = group["sample"]
    return None if sample is None else sample["task"]
