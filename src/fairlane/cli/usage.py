"""``fairlane usage``: organizations' usage in a month, for their bills."""

from enum import StrEnum
from typing import Annotated

import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import print_json

commands = Commands(name="usage", help="The usage of organizations, month by month.", no_args_is_help=True)


class Form(StrEnum):
    """The format of exported usage."""

    CSV = "csv"
    JSON = "json"


@commands.callback()
def usage() -> None:
    """The usage of organizations, month by month."""


@commands.command(epilog="Example: fairlane usage export --month 2026-11 > november.csv")
def export(
    *,
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month, UTC.")],
    organization: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this organization.", show_default=False)
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", metavar="csv|json", help="CSV with a header line, or JSON.")
    ] = Form.CSV,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Print tasks submitted, completed and failed, credits charged and slot-seconds, a row for each organization.

    Months add up to the total. Each row names the first and the last moment that it covers: a month starts when a
    server notices it.
    """
    given = {"month": month, "organization": organization, "format": "json" if as_json else str(form)}
    query = {name: value for name, value in given.items() if value is not None}
    answer = ask(database_in_force(database), "GET", "usage", "monthly", query=query)
    if isinstance(answer, str):
        print(answer, end="")
    else:
        print_json(answer)
