"""The application of servers in the proofs.

With ``SYNC_SECONDS`` each sync of SQLite takes that long. With ``LEAK_BYTES`` each attempt keeps that much memory. With
``PLANT=careless`` the server takes a commit that failed for done, with ``PLANT=tells`` it logs each key.
"""

import logging
import os
import time
from typing import Any

import apsw

from fairlane import Fairlane
from fairlane.api import keys
from fairlane.model.keys import KeyKind
from fairlane.store.sqlite.writing import FileWriter

SYNC_SECONDS = float(os.environ.get("SYNC_SECONDS", "0"))
LEAK_BYTES = int(os.environ.get("LEAK_BYTES", "0"))
app = Fairlane()
kept: list[bytes] = []


class SlowDisk(apsw.VFS):
    """The system's own file access, with slow syncs."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        super().__init__("fairlane-slow", self.base, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> "SlowFile":
        return SlowFile(self.base, name, flags)


class SlowFile(apsw.VFSFile):
    """One of its files."""

    def xSync(self, flags: int) -> None:
        time.sleep(SYNC_SECONDS)
        super().xSync(flags)


class Careless:
    """A connection of the writer that hides what a commit met."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        """Run a statement; undo a transaction that cannot be committed, without a word."""
        try:
            return self._connection.execute(sql, *arguments)
        except apsw.Error:
            if sql != "COMMIT":
                raise
            return self._connection.execute("ROLLBACK") if self._connection.in_transaction else None


slow = SlowDisk() if SYNC_SECONDS else None
if os.environ.get("PLANT") == "careless":
    open_soundly = FileWriter.open

    def open_carelessly(self: FileWriter, connection: apsw.Connection) -> None:
        """Open the writer with such a connection."""
        open_soundly(self, connection)
        self.connection = Careless(connection)  # type: ignore[assignment]

    FileWriter.open = open_carelessly  # type: ignore[method-assign]


if os.environ.get("PLANT") == "tells":
    fits = keys.key_fits

    def tell(value: str, kind: KeyKind = KeyKind.ORGANIZATION) -> bool:
        """Look at a key, and log it."""
        logging.getLogger("fairlane.api").warning("key.presented", extra={"value": value})
        return fits(value, kind)

    keys.key_fits = tell


@app.task("QUOTES", attempts=2)
async def quote(payload: dict[str, Any]) -> dict[str, Any]:
    """Fail with the payload in the text."""
    raise ValueError(f"cannot use {payload}")


@app.task("WORK", attempts=5)
async def work(payload: dict[str, Any]) -> dict[str, Any]:
    """Do nothing."""
    if LEAK_BYTES:
        kept.append(os.urandom(LEAK_BYTES))
    return {}
