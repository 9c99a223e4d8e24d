"""``fairlane usage``: organizations' usage in a month, for their bills; run times and waits by task type."""

from enum import StrEnum
from typing import Annotated

import typer

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.filters import MOMENT, moment_of, written
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import print_json
from fairlane.cli.tables import print_table

commands = Commands(name="usage", help="The usage of organizations and of task types.", no_args_is_help=True)


class Form(StrEnum):
    """The format of exported usage."""

    CSV = "csv"
    JSON = "json"


@commands.callback()
def usage() -> None:
    """The usage of organizations and of task types."""


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


@commands.command(epilog="Example: fairlane usage types --organization acme --since 15m")
def types(
    *,
    organization: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this organization.", show_default=False)
    ] = None,
    since: Annotated[
        str, typer.Option(metavar=MOMENT, help="Since then, at most six hours ago: 90m or 2h ago, or a moment.")
    ] = "1h",
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Show how long tasks of each type waited and ran, and how many failed, until the last whole minute.

    Waits are until the first start, run times those of attempts, each as median (p50), p90 and p99.
    """
    given = {"organization": organization, "from": written(moment_of(since, "--since"))}
    query = {name: value for name, value in given.items() if value is not None}
    answer = ask(database_in_force(database), "GET", "usage", "types", query=query)
    if as_json:
        print_json(answer)
        return
    rows = [
        [one["task_type"], *(one["total"][name] for name in ("started", "completed", "failed")),
         *(_seconds(one["total"][f"{kind}_p{share}_ms"]) for kind in ("wait", "run") for share in (50, 90, 99))]
        for one in answer["types"]
    ]  # fmt: skip
    columns = ["TYPE", "STARTED", "COMPLETED", "FAILED", "WAIT P50", "P90", "P99", "RUN P50", "P90", "P99"]
    print_table(columns, rows, empty="Nothing was started.")


def _seconds(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1000:.3g} s"
