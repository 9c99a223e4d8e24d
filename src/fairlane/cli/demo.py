"""``fairlane demo``: all parts of fairlane at work on this machine, in under a minute."""

from pathlib import Path
from typing import Annotated

import typer

from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson
from fairlane.demo.main import DemoOptions, run_demo

commands = Commands()


@commands.command(epilog="Examples: fairlane demo --open; fairlane demo --keep --port 8000")
def demo(
    *,
    open_dashboard: Annotated[
        bool, typer.Option("--open", help="Open the dashboard in a browser, and keep the server running.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the server running and at work at the end, until Ctrl-C.")
    ] = False,
    seconds: Annotated[
        float,
        typer.Option("--seconds", min=1, max=45, metavar="SECONDS", help="How long the tasks take, approximately."),
    ] = 18.0,
    tasks: Annotated[
        int | None,
        typer.Option(min=4, metavar="N", help="Exactly this many tasks instead, of any length.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, metavar="N", help="Port of the server; 0: any free one.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Where the pages go. Default: a new temporary one.", show_default=False),
    ] = None,
    postgres: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use this PostgreSQL database, which must be empty, instead of a temporary SQLite file. The rows of "
            "the demo stay in it.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch two organizations share workers.

    Starts the real server with real workers on a temporary database, submits hundreds of tasks over HTTP for two
    organizations, and checks the status of both and its counts all the time. Exit code 0 only if the slot limits held,
    the shares were fair, the counts were exact and every task completed.

    With --open or --keep, tasks go on afterwards, and fail now and then, so that there is something to see.
    """
    options = DemoOptions(
        keep=keep or open_dashboard, open=open_dashboard, seconds=seconds, tasks=tasks, port=port, output=output,
        as_json=as_json, postgres=postgres,
    )  # fmt: skip
    raise typer.Exit(run_demo(options))
