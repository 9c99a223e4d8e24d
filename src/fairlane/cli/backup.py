"""``fairlane backup`` and ``fairlane restore``: copy the SQLite file while it is in use, and restore a copy."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from fairlane.admin.connection import connect
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, OwnDatabase, database_in_force
from fairlane.cli.output import moment, note, print_json
from fairlane.cli.tables import print_fields
from fairlane.errors import CommandFailed
from fairlane.settings import database_path, read_settings
from fairlane.store import AuditFilter, Store
from fairlane.store.sqlite import restore_file

commands = Commands()


POLL_SECONDS = 0.1
TELL_SECONDS = 2.0


@commands.command(epilog="Example: fairlane backup /var/backups/fairlane-monday.db")
def backup(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write; it must not exist yet.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database while the server works.

    The copy is the database as it is at one moment: one file, which gets its name once it is checked and synced. A
    server writes it on its own machine.
    """
    made = asyncio.run(_backup(database_in_force(database), path.absolute(), _telling(as_json=as_json)))
    if as_json:
        print_json(made)
    else:
        print(f"{made['path']} contains the database: {made['pages_total']} pages, checked.")


@commands.command(epilog="Example: fairlane restore /var/backups/fairlane-monday.db --replace")
def restore(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The backup.", exists=True, dir_okay=False)],
    *,
    replace: Annotated[bool, typer.Option("--replace", help="Move an existing database aside, with its log.")] = False,
    database: OwnDatabase = None,
    as_json: AsJson = False,
) -> None:
    """Put a copy of a backup in the database's place. No server may run on it.

    Changes made after the backup are not in it: tasks accepted since then are gone, also those that were acknowledged;
    tasks that ended since then run again, and their webhooks are sent again; keys revoked since then work again. Tasks
    that were running at the backup return to the queue when the server starts.
    """
    restored = asyncio.run(
        _restore(database_in_force(database), path.absolute(), replace=replace, tell=_telling(as_json=as_json))
    )
    if as_json:
        print_json(restored)
    else:
        print_fields(
            [
                ("Restored", restored["database"]),
                ("As of", moment(restored["as_of"]) or "unknown"),
                ("Counts that differ", len(restored["drift"])),
                ("Former database", restored["former"]),
            ]
        )
        note("changes made after the backup are not in it; see 'fairlane restore --help'.")
    if restored["drift"]:
        raise typer.Exit(1)


async def _backup(database: str, path: Path, tell: Callable[[int, int], None]) -> Any:
    async with connect(database) as admin:
        state = await admin.ask("POST", "backup", body={"path": str(path)})
        while not state["done"]:
            if state["error"] is not None:
                raise CommandFailed(state["error"])
            await asyncio.sleep(POLL_SECONDS)
            state = await admin.ask("GET", "backup")
            tell(state["pages"], state["pages_total"])
    return state


async def _restore(database: str, path: Path, *, replace: bool, tell: Callable[[int, int], None]) -> dict[str, Any]:
    target = database_path(database)
    former = await asyncio.to_thread(restore_file, path, target, replace=replace, progress=tell)
    # Opened once, so that it is upgraded and checked before it is used.
    store = await Store.open(read_settings({"database": database}), {})
    try:
        made = await store.trail.page(1, chosen=AuditFilter(action="backup.made"))
        drift = await store.recount.find()
        await store.trail.write("operator", "database.restored", path.name, {"path": str(path)})
    finally:
        await store.close()
    return {
        "database": str(target),
        "as_of": made[0].at if made else None,
        "drift": msgspec.to_builtins(drift),
        "former": None if former is None else str(former),
    }


def _telling(*, as_json: bool) -> Callable[[int, int], None]:
    """Return a function that prints progress now and then, for people."""
    said_at = time.monotonic()

    def tell(pages: int, total: int) -> None:
        nonlocal said_at
        now = time.monotonic()
        if not as_json and total and now - said_at >= TELL_SECONDS:
            said_at = now
            note(f"{pages} of {total} pages ({100 * pages // total} %)")

    return tell
