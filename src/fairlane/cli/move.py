"""``fairlane move``: moves a stopped single-machine installation to PostgreSQL."""

import asyncio
import time
from typing import Annotated

import typer

from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson
from fairlane.cli.output import note, print_json
from fairlane.errors import CommandFailed
from fairlane.settings import is_postgres, read_settings
from fairlane.store import Moved, Store

commands = Commands()


NOTE_SECONDS = 1.0
"""How often progress is printed."""


@commands.command(epilog="Example: fairlane move --from sqlite:////srv/fairlane.db --to postgresql://db/fairlane")
def move(
    *,
    source: Annotated[
        str,
        typer.Option("--from", metavar="ADDRESS", help="sqlite:///PATH of a stopped server.", show_default=False),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ADDRESS",
            help="postgresql://USER:PASSWORD@HOST:PORT/NAME, without rows.",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Move a stopped installation to PostgreSQL.

    Everything is moved, or nothing. Running attempts first return to their queues, as at a restart. All rows are
    written, counted and recounted in one transaction; a kill leaves the target as it was, and the source can be started
    again. A server that starts on the target meanwhile waits.
    """
    if is_postgres(source) or not is_postgres(target):
        raise CommandFailed("a move goes from sqlite:///PATH to postgresql://…; nothing else is possible")
    began = time.monotonic()
    moved = asyncio.run(_move(source, target))
    seconds = round(time.monotonic() - began, 1)
    total = sum(moved.rows.values())
    if as_json:
        print_json({"rows": moved.rows, "total": total, "leases_returned": moved.returned, "seconds": seconds})
    else:
        print(f"Moved {total} rows of {len(moved.rows)} tables in {seconds} s: counts equal, no drift.")
        print("Start servers with the new address. Never start one on the old file again: it would run tasks twice.")


async def _move(source: str, target: str) -> Moved:
    settings = read_settings({"database": source})
    if not (await Store.schema(settings)).version:
        raise CommandFailed(f"there is no installation at {source}")
    store = await Store.open(settings, {})
    try:
        return await store.move(read_settings({"database": target}), progress=_Notes().told)
    finally:
        await store.close()


class _Notes:
    """Progress for people: each table when it is complete, large ones about every second."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def told(self, table: str, count: int, complete: bool) -> None:
        """Print how many rows of a table were copied."""
        now = time.monotonic()
        if count and (complete or now - self._told_at >= NOTE_SECONDS):
            note(f"{table}: {count} rows{'' if complete else ' …'}")
            self._told_at = now
