"""A server's start in miniature for tests of migrations: brings a database up to date as any other would.

    python migrator.py DATABASE [apart | dies-at VERSION]

It knows the migrations of this release and those of ``made_up.py``. ``apart`` is the control: this one does not wait
for others that migrate. ``dies-at``: SIGKILL after the script of that migration ran and before its number is written.
Reads one line first, so that several may be started at one moment.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.postgres import opening
from fairlane.store.postgres.opening import Opening
from fairlane.store.sqlite import opening as sqlite_opening
from fairlane.store.sqlite.asking import FileStatements
from tests.store.made_up import with_later

WAITS = "lock_schema_version"
WRITES_NUMBER = "insert_schema_version"


def apart() -> None:
    """Whoever migrates is not waited for."""
    asked = Opening.ask

    async def ask(self: Any, connection: Any, statement: str, **parameters: Any) -> Any:
        return [(0,)] if statement == WAITS else await asked(self, connection, statement, **parameters)

    Opening.ask = ask  # type: ignore[method-assign]
    # Whoever meets another's half-made table stays until it is whole, and does not come back later to find all done.
    opening.TAKE_TABLES = "SET LOCAL lock_timeout = '30s'"


def dies_at(version: int) -> None:
    """Killed there, on whichever database."""
    asked, ran = Opening.ask, FileStatements.rows

    def reached(statement: str, parameters: Any) -> None:
        if statement == WRITES_NUMBER and parameters["version"] == version:
            os.kill(os.getpid(), signal.SIGKILL)

    async def ask(self: Any, connection: Any, statement: str, **parameters: Any) -> Any:
        reached(statement, parameters)
        return await asked(self, connection, statement, **parameters)

    def rows(self: Any, connection: Any, query: Any) -> Any:
        reached(query.name, query.parameters)
        return ran(self, connection, query)

    Opening.ask = ask  # type: ignore[method-assign]
    FileStatements.rows = rows  # type: ignore[method-assign]


opening.load_migrations = sqlite_opening.load_migrations = with_later  # type: ignore[assignment, attr-defined]
match sys.argv[2:]:
    case ["apart"]:
        apart()
    case ["dies-at", version]:
        dies_at(int(version))
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(Store.migrate(Settings(database=sys.argv[1])))
