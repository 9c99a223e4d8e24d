"""``fairlane backup`` and ``fairlane restore``: a copy of the SQLite file while it is in use, and back."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fairlane.cli.options import AsJson, Database, OwnDatabase, database_in_force
from fairlane.cli.output import moment, note, print_fields, print_json

POLL_SECONDS = 0.1
TELL_SECONDS = 2.0


def add_to(program: typer.Typer) -> None:
    """Register these commands."""
    program.command(epilog="Example: fairlane backup /var/backups/fairlane-monday.db")(backup)
    program.command(epilog="Example: fairlane restore /var/backups/fairlane-monday.db --replace")(restore)


def backup(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write; nothing may be there yet.")],
    *,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database as it is at one moment, while the server works.

    The copy is one file, checked and synced before it has its name. A server writes it on its own machine.
    """
    import asyncio

    made = asyncio.run(_backup(database_in_force(database), path.absolute(), _telling(as_json=as_json)))
    if as_json:
        print_json(made)
    else:
        print(f"{made['path']} holds the database: {made['pages_total']} pages, checked.")


def restore(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The backup.", exists=True, dir_okay=False)],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Move a database that is there already aside, with its log.")
    ] = False,
    database: OwnDatabase = None,
    as_json: AsJson = False,
) -> None:
    """Put a copy of a backup in the database's place. No server may run on it.

    The world is then as it was when the backup was made: tasks accepted since are gone, also those that were
    acknowledged; tasks that ended since run again, and their webhooks are sent again; keys revoked since work again.
    What was running then goes back to the queue when the server starts.
    """
    import asyncio

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
        note("what was accepted or ended after that moment is as if it had not been; see 'fairlane restore --help'.")
    if restored["drift"]:
        raise typer.Exit(1)


async def _backup(database: str, path: Path, tell: Callable[[int, int], None]) -> Any:
    import asyncio

    from fairlane.cli.connection import connect
    from fairlane.cli.failures import CommandFailed

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
    import asyncio

    import msgspec

    from fairlane.settings import database_path, read_settings
    from fairlane.store import AuditFilter, Store
    from fairlane.store.sqlite import restore_file

    target = database_path(database)
    former = await asyncio.to_thread(restore_file, path, target, replace=replace, progress=tell)
    # Opened once, so that it is brought up to date and proved before anybody relies on it.
    store = await Store.open(read_settings({"database": database}), {})
    try:
        made = await store.audit_rows(1, chosen=AuditFilter(action="backup.made"))
        drift = await store.recount()
        await store.write_down("operator", "database.restored", path.name, {"path": str(path)})
    finally:
        await store.close()
    return {
        "database": str(target),
        "as_of": made[0].at if made else None,
        "drift": msgspec.to_builtins(drift),
        "former": None if former is None else str(former),
    }


def _telling(*, as_json: bool) -> Callable[[int, int], None]:
    """Say now and then how far it has come, to people."""
    said_at = time.monotonic()

    def tell(pages: int, total: int) -> None:
        nonlocal said_at
        now = time.monotonic()
        if not as_json and total and now - said_at >= TELL_SECONDS:
            said_at = now
            note(f"{pages} of {total} pages ({100 * pages // total} %)")

    return tell
