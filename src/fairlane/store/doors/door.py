"""What every door has: the database, what this server remembers, and a way to write.

Called by the doors alone, each of which adds what one kind of asker asks. Never knows an operation of theirs.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from fairlane.errors import Refusal
from fairlane.settings import Settings
from fairlane.store.database import Database
from fairlane.store.memory import Memory
from fairlane.store.statements import Operation

MEMBER_BYTES = 2**14
"""So many bytes weigh as much in a transaction as one task does."""


class Door:
    """A way into an open database."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        """All doors are made with the same; ``settings`` are for those who keep something of them."""
        self._database = database
        self._memory = memory
        self.now: Callable[[], int] = database.now
        """About what the database's clock says."""

    async def _write(self, operation: Callable[..., Operation], *arguments: Any) -> Any:
        """Run an operation that is not plural, and raise what it refuses."""
        return await self._database.write(_one_by_one, partial(operation, *arguments), alone=True)


def weight(texts: Iterable[str]) -> int:
    """What these texts add to a transaction: 1 for each, more if they are long, and at least 1."""
    return max(1, sum(1 + len(text) // MEMBER_BYTES for text in texts))


def _one_by_one(operations: Sequence[Callable[[], Operation]]) -> Operation:
    """Each operation refuses before it writes anything, so a refusal is an answer and needs no other transaction."""
    results: list[Any] = []
    for operation in operations:
        try:
            results.append((yield from operation()))
        except Refusal as refusal:
            results.append(refusal)
    return results
