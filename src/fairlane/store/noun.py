"""What every noun of the store has: the database, this server's memory, and a way to write.

``store/alerts.py`` has the class ``Alerts`` with a method for each thing that can be done with alerts, and below it the
operations that the methods run. ``Store`` has one object of each class. A noun knows no request, and checks no access.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import ParamSpec

from fairlane.errors import Refusal
from fairlane.store.database import Database
from fairlane.store.memory import Memory
from fairlane.store.statements import Operation, Result

MEMBER_BYTES = 2**14
"""Length of a text that weighs as much in a transaction as one task."""

Arguments = ParamSpec("Arguments")


class Noun:
    """One noun of the store, such as tasks. Each method is one transaction, or says that it is several."""

    def __init__(self, database: Database, memory: Memory) -> None:
        self._database = database
        self._memory = memory

    async def _write(
        self, operation: Callable[Arguments, Operation[Result]], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Run an operation that is not plural; raise its refusal."""
        return await self._database.write(_one_by_one, partial(operation, *arguments, **named), alone=True)


def weight(texts: Iterable[str]) -> int:
    """Return the weight of these texts in a transaction: 1 for each, more for long ones, and at least 1."""
    return max(1, sum(1 + len(text) // MEMBER_BYTES for text in texts))


def _one_by_one(operations: Sequence[Callable[[], Operation[Result]]]) -> Operation[list[Result | Refusal]]:
    """Run each operation. It refuses before it writes anything, so a refusal is an answer and needs no rollback."""
    results: list[Result | Refusal] = []
    for operation in operations:
        try:
            results.append((yield from operation()))
        except Refusal as refusal:
            results.append(refusal)
    return results
