"""What every noun of the store has: the database, this server's configuration and memory, and ways to write.

``store/alerts.py`` has the class ``AlertStore`` with a method for each thing that can be done with alerts, and below it
the operations that the methods run. ``Store`` has one object of each class. A noun knows no request, and checks no
access.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Concatenate, ParamSpec

from msgspec import Struct

from fairlane.errors import Refusal
from fairlane.store.batching import Answer, Member, PluralOperation
from fairlane.store.config import Config
from fairlane.store.database import Database
from fairlane.store.effects import Effects
from fairlane.store.memory import Memory
from fairlane.store.statements import Operation, Result
from fairlane.store.transaction import Transaction

MEMBER_BYTES = 2**14
"""Length of a text that weighs as much in a transaction as one task."""

Arguments = ParamSpec("Arguments")


class Shared(Struct, frozen=True):
    """What all nouns of one store share."""

    database: Database
    config: Config
    memory: Memory


class Noun:
    """One noun of the store, such as tasks. Each method is one transaction, or says that it is several."""

    def __init__(self, shared: Shared) -> None:
        self._database = shared.database
        self._config = shared.config
        self._memory = shared.memory

    async def _write(
        self,
        operation: Callable[Concatenate[Transaction, Arguments], Operation[Result]],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Run an operation in a transaction; raise its refusal."""
        # Not a function with annotations: they would be evaluated at each call, and cost more than the rest of it.
        return await self._database.write(
            _one_by_one,
            lambda effects: operation(Transaction(self._config, self._memory, effects), *arguments, **named),
            alone=True,
        )

    def _plural(
        self, operation: Callable[[Transaction, Sequence[Member]], Operation[Sequence[Answer | Refusal]]]
    ) -> PluralOperation[Member, Answer]:
        """Return an operation of many members, for ``Database.write``. Make it once: members are grouped by it."""

        def begin(effects: Effects, members: Sequence[Member]) -> Operation[Sequence[Answer | Refusal]]:
            return operation(Transaction(self._config, self._memory, effects), members)

        return begin


def weight(texts: Iterable[str]) -> int:
    """Return the weight of these texts in a transaction: 1 for each, more for long ones, and at least 1."""
    return max(1, sum(1 + len(text) // MEMBER_BYTES for text in texts))


def _one_by_one(
    effects: Effects, operations: Sequence[Callable[[Effects], Operation[Result]]]
) -> Operation[list[Result | Refusal]]:
    """Run each operation. It refuses before it writes anything, so a refusal is an answer and needs no rollback."""
    results: list[Result | Refusal] = []
    for operation in operations:
        try:
            results.append((yield from operation(effects)))
        except Refusal as refusal:
            results.append(refusal)
    return results
