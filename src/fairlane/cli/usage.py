"""``fairlane usage``: what organizations used in a month, for their bills."""

from enum import StrEnum
from typing import Annotated

import typer

from fairlane.cli.options import AsJson, Database, database_in_force
from fairlane.cli.output import print_json

commands = typer.Typer(help="What organizations used, month by month.", no_args_is_help=True)


class Form(StrEnum):
    """How usage is exported."""

    CSV = "csv"
    JSON = "json"


@commands.callback()
def usage() -> None:
    """What organizations used, month by month."""


@commands.command(epilog="Example: fairlane usage export --month 2026-11 > november.csv")
def export(
    *,
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month, UTC.")],
    organization: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this organization.", show_default=False)
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="CSV with a header line, or JSON.")] = Form.CSV,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Print tasks submitted, completed and failed, credits charged and slot-seconds, a row for each organization.

    Months add up to the whole. The first and the last moment that a row covers stand in it: a turn of the month counts
    from when a server noticed it.
    """
    from fairlane.cli.connection import ask

    given = {"month": month, "organization": organization, "format": "json" if as_json else str(form)}
    query = {name: value for name, value in given.items() if value is not None}
    answer = ask(database_in_force(database), "GET", "usage", "monthly", query=query)
    if isinstance(answer, str):
        print(answer, end="")
    else:
        print_json(answer)
