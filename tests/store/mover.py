"""A move in miniature for crash tests: is killed once that table's rows were sent.

python mover.py SOURCE TARGET TABLE
"""

import asyncio
import os
import signal
import sys
from typing import Any

from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.postgres.filling import PostgresLoading

copy = PostgresLoading.copy


async def copy_and_die(self: Any, table: Any, records: Any) -> None:
    """As it is, then SIGKILL."""
    await copy(self, table, records)
    if table.name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    """Until then."""
    store = await Store.open(Settings(database=sys.argv[1]), {})
    await store.move(Settings(database=sys.argv[2]), progress=lambda table, count, complete: None)


PostgresLoading.copy = copy_and_die  # type: ignore[method-assign]
asyncio.run(main())
