"""Limits of task types across all organizations: declared when a server starts, enforced by a row that each claim
locks."""

from collections.abc import Iterable

from fairlane.model.tasks import Catalogue
from fairlane.store.noun import Noun
from fairlane.store.statements import Operation, Query, Row, query, rows_if, run, run_if, together
from fairlane.store.transaction import Transaction


class TypeLimitRow(Row, frozen=True):
    """How many of one type may run at once."""

    task_type: str
    most: int


class UsedRow(Row, frozen=True):
    """How many of one type run now."""

    task_type: str
    used: int


class TypeLimitStore(Noun):
    """Limits of task types across all organizations."""

    async def declare(self) -> None:
        """Apply the limits of a starting server's application. Running work counts, but is not ended.

        A type without a limit in the application loses its limit, unless another server is live: its application may
        declare it.
        """
        await self._write(declare_limits, self._config.catalogue, alone=self._database.exclusive)

    async def keep(self) -> None:
        """Create missing type limits of this application; remove limits that no live server declares.

        A server that did not declare a limit may have removed it; leases taken meanwhile are then counted.
        """
        await self._write(_keep_limits, self._config.catalogue, alone=self._database.exclusive)


def declare_limits(transaction: Transaction, catalogue: Catalogue, *, alone: bool) -> Operation[None]:
    """Apply the limits of this catalogue. ``alone``: no other server is possible."""
    yield from _hold(transaction, "upsert_type_limit", catalogue, servers=None if alone else 0)


def _keep_limits(transaction: Transaction, catalogue: Catalogue, *, alone: bool) -> Operation[None]:
    yield from _hold(transaction, "insert_type_limit", catalogue, servers=None if alone else 1)


def _hold(transaction: Transaction, statement: str, catalogue: Catalogue, *, servers: int | None) -> Operation[None]:
    limits = {name: limit for name in sorted(catalogue) if (limit := catalogue[name].limit) is not None}
    others = [name for name in catalogue if name not in limits]
    found = yield from rows_if("find_unlimited", list(limits), into=int, types=list(limits))
    locked = yield from transaction.lock(found)
    for name, most in limits.items():
        yield from run(statement, task_type=name, most=most)
    yield from run_if("delete_type_limits", others, types=others, servers=servers)
    yield from run_if("limit_leases", list(locked), types=list(limits), ids=list(locked))


def lock_types(types: Iterable[str]) -> Query[TypeLimitRow]:
    """Lock the limits of these types until the end of the transaction, as a query for :func:`lock_and_read`.

    Its rows are those types that have a limit. The database's limits count, not those declared
    by this server's application. Use it once in a transaction, after locking organizations and before any change or
    count: only a transaction with the lock may start more of a limited type, so a later count cannot grow.
    """
    names = sorted(set(types))
    return query("lock_type_limits", names, into=TypeLimitRow, types=names)


def count_types(types: Iterable[str]) -> Query[UsedRow]:
    """Count the leases of these types that a limit counts, as a query for the go of :func:`lock_types`, after it."""
    names = sorted(set(types))
    return query("count_limited", names, into=UsedRow, types=names)


def rooms_left(limits: dict[str, int], counted: Query[UsedRow] | None = None) -> Operation[dict[str, int]]:
    """Return how many more of each of these locked types may start; tasks and calls share the room. Never below 0.

    ``counted`` is a count since the lock, if no lease changed after it. It is made again if it lacks a type.
    """
    if counted is None or not limits.keys() <= set(counted.parameters["types"]):
        counted = count_types(limits)
        yield from together(counted)
    used = {row.task_type: row.used for row in counted.rows}
    return {name: max(0, most - used.get(name, 0)) for name, most in limits.items()}
