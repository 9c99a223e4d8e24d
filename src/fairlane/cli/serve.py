"""``fairlane serve``: the server, with local workers."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fairlane import logs
from fairlane.app import run
from fairlane.cli.commands import Commands
from fairlane.cli.options import (
    AppReference,
    AsJson,
    ConfigFile,
    DrainSeconds,
    LogFormat,
    LogLevel,
    OwnDatabase,
    Places,
)
from fairlane.cli.output import complain
from fairlane.cli.reload import Reloader, watched_folder
from fairlane.settings import read_settings, without_password
from fairlane.worker.supervisor import Drained

commands = Commands()


@commands.command(epilog="Example: fairlane serve examples.quickstart:app --port 8000 --workers 2 --places 5")
def serve(
    app: AppReference,
    *,
    config: ConfigFile = None,
    database: OwnDatabase = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Address to listen on. Default: 127.0.0.1.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", help="Port to listen on; 0: any free one. Default: 8000.", show_default=False),
    ] = None,
    fd: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="The descriptor of a listening socket, instead of host and port (systemd: 3).",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Local worker processes; 0: none. Default: 1.", show_default=False)
    ] = None,
    places: Places = None,
    drain_seconds: DrainSeconds = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: restart when the application's Python files change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Serve an application, with workers.

    Prints its address, and those of the dashboard and the API reference, when it is ready. Ends in order on Ctrl-C or
    SIGTERM: running attempts may finish, the others are handed back, as the log and --json report; a second signal ends
    it at once. Every setting is also read from a variable, FAIRLANE_PORT and so on, and from the file of --config: see
    `fairlane settings`.

    Exit code 3: the application cannot be used; 4: the database cannot be used; 5: another server owns the database.
    """
    if reload:
        if fd is not None:
            raise typer.BadParameter("--fd cannot be passed to a restarted server: leave out --reload")

        arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
        raise typer.Exit(Reloader(arguments, watched_folder(app, Path.cwd())).run())

    settings = read_settings(
        {
            "database": database,
            "host": host,
            "port": port,
            "fd": fd,
            "workers": workers,
            "places": places,
            "drain_seconds": drain_seconds,
            "log_format": log_format,
            "log_level": log_level,
        },
        config=config,
    )

    out = logs.own_stream(sys.stdout)  # The application's import may replace or close it.

    def announce(address: str) -> None:
        dashboard, reference = (f"{address}/{page}" if settings.dashboard else None for page in ("dashboard", "docs"))
        if as_json:
            facts = {
                "address": address,
                "dashboard": dashboard,
                "reference": reference,
                "database": without_password(settings.database),
                "pid": os.getpid(),
            }
            print(json.dumps(facts), file=out, flush=True)
            return
        print(f"fairlane: ready at {address}", file=out, flush=True)
        if dashboard is not None:
            print(f"fairlane: dashboard at {dashboard}; operators: `fairlane dashboard`", file=out, flush=True)
            print(f"fairlane: API reference at {reference}", file=out, flush=True)

    def tell(cause: str | None) -> None:
        complain("workers start again" if cause is None else f"no worker can start: {cause}; the log has more")

    def report(drained: Drained) -> None:
        if as_json:
            print(json.dumps({"drained": msgspec.to_builtins(drained)}), flush=True)

    logs.configure(format=settings.log_format, level=settings.log_level)
    raise typer.Exit(run(settings, app, on_ready=announce, on_trouble=tell, on_drained=report))
