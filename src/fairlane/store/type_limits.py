"""Limits of task types across all organizations: declared when a server starts, held by a row that everybody locks."""

from collections.abc import Generator, Iterable

from fairlane.model.tasks import Catalogue
from fairlane.store.memory import Memory
from fairlane.store.statements import Operation, Query, Rows, rows, rows_if


def declare_limits(catalogue: Catalogue) -> Operation:
    """From now on the limits of this application hold. What runs already counts, but is not ended."""
    for name in sorted(catalogue):
        limit = catalogue[name].limit
        if limit is None:
            yield from rows("delete_type_limit", task_type=name)
        else:
            yield from rows("upsert_type_limit", task_type=name, most=limit)
            yield from rows("limit_leases", task_type=name)


def lock_types(types: Iterable[str], memory: Memory) -> Generator[Query, Rows, dict[str, int]]:
    """Lock the limits of these types until the end of the transaction; how many of each may run at once.

    Call it once in a transaction, after locking organizations and before reading what runs: only who holds the lock may
    start more of a limited type, so what a later statement counts cannot grow.
    """
    limited = sorted({name for name in types if memory.rule(name).limit is not None})
    return dict((yield from rows_if("lock_type_limits", limited, types=limited)))


def rooms_left(limits: dict[str, int]) -> Generator[Query, Rows, dict[str, int]]:
    """How many more of each of these locked types may start; tasks and calls share the room. Never below 0."""
    used = dict((yield from rows_if("count_limited", list(limits), types=list(limits))))
    return {name: max(0, most - used.get(name, 0)) for name, most in limits.items()}
