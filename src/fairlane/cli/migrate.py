"""``fairlane migrate``: upgrade a database's tables before the servers start."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, ConfigFile, OwnDatabase
from fairlane.cli.output import print_json
from fairlane.settings import read_settings
from fairlane.store import Store

commands = Commands()


OUT_OF_DATE = 1


@commands.command(epilog="Example: fairlane migrate --check")
def migrate(
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Change nothing; exit code 1 if a migration is pending or the schema is newer."),
    ] = False,
    config: ConfigFile = None,
    database: OwnDatabase = None,
    as_json: AsJson = False,
) -> None:
    """Apply pending migrations. A server does the same when it starts.

    Safe next to running servers and other runs of this command: on PostgreSQL one process migrates while the others
    wait, on SQLite the owner of the file migrates. After a kill the next process continues.
    """
    settings = read_settings({"database": database}, config=config)
    before = asyncio.run(Store.schema(settings) if check else Store.migrate(settings))
    if as_json:
        print_json(
            {
                "version": before.version,
                "known": before.known,
                "pending" if check else "applied": list(before.pending),
                "unknown": list(before.unknown),
            }
        )
    else:
        if before.pending:
            done = "pending" if check else "applied"
            print(f"{_migrations(before.pending)} {done}: schema version {before.known}.")
        if before.unknown:
            print(f"newer: the schema has version {before.version}, this fairlane knows {before.known}")
        elif not before.pending:
            print(f"Up to date: schema version {before.version}.")
    if check and (before.pending or before.unknown):
        raise typer.Exit(OUT_OF_DATE)


def _migrations(names: Sequence[str]) -> str:
    """Return the number of migrations with the first and the last name, in one line."""
    if len(names) == 1:
        return f"1 migration ({names[0]})"
    return f"{len(names)} migrations ({names[0]} to {names[-1]})"
