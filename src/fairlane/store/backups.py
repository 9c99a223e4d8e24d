"""Backups of a SQLite database. PostgreSQL has tools of its own for this."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fairlane.errors import ValidationRefused
from fairlane.store.noun import Noun
from fairlane.store.statements import Operation
from fairlane.store.trail import write_trail_at
from fairlane.store.transaction import Transaction


class BackupStore(Noun):
    """Copies of the whole database."""

    async def make(self, path: Path, *, actor: str, progress: Callable[[int, int], None]) -> None:
        """Copy the database as it is at one moment into a new file. ``progress`` gets the copied and the total pages.

        The last row of the copy's audit trail records the backup and its moment; it is written into the database, too,
        once the copy is complete. Raises DatabaseError, or ValidationRefused.
        """
        file = self._database.file
        if file is None:
            raise ValidationRefused.at("path", "PostgreSQL has tools of its own for this, such as pg_dump")
        made = partial(write_trail_at, self._config.new_id(), actor, "backup.made", path.name, {"path": str(path)})
        at = await file.backup(path, made, progress)
        await self._write(_record, made, at)


def _record(_: Transaction, made: Callable[[int], Operation[None]], at: int) -> Operation[None]:
    yield from made(at)
