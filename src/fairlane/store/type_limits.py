"""Limits of task types across all organizations: declared when a server starts, held by a row that everybody locks."""

from collections.abc import Generator, Iterable

from fairlane.model.tasks import Catalogue
from fairlane.store.locked import lock_organizations
from fairlane.store.statements import Operation, Query, Rows, query_if, rows, rows_if


def declare_limits(catalogue: Catalogue, *, alone: bool) -> Operation:
    """A server starts: from now on the numbers of its application hold. What runs already counts, but is not ended.

    What the application does not limit loses its limit, unless another server lives: it may be the one that limits it.
    ``alone``: there can be none.
    """
    yield from _hold("upsert_type_limit", catalogue, servers=None if alone else 0)


def keep_limits(catalogue: Catalogue, *, alone: bool) -> Operation:
    """While a server with a session runs: what another one removed that did not know of it is there again, leases that
    were taken meanwhile count, and what its application does not limit goes once it is the only one."""
    yield from _hold("insert_type_limit", catalogue, servers=None if alone else 1)


def _hold(statement: str, catalogue: Catalogue, *, servers: int | None) -> Operation:
    limits = {name: limit for name in sorted(catalogue) if (limit := catalogue[name].limit) is not None}
    others = [name for name in catalogue if name not in limits]
    found = yield from rows_if("find_unlimited", list(limits), types=list(limits))
    locked = yield from lock_organizations(row[0] for row in found)
    for name, most in limits.items():
        yield from rows(statement, task_type=name, most=most)
    yield from rows_if("delete_type_limits", others, types=others, servers=servers)
    yield from rows_if("limit_leases", list(locked), types=list(limits), ids=list(locked))


def lock_types(types: Iterable[str]) -> Query | None:
    """For :func:`lock_and_read`: lock the limits of those of these types that have one, until the end of the
    transaction; (type, how many may run at once) of each.

    What the database says counts, whatever this server's application declares. Once in a transaction, after locking
    organizations and before anything is changed or counted: only who holds the lock may start more of a limited type,
    so what a later statement counts cannot grow.
    """
    names = sorted(set(types))
    return query_if("lock_type_limits", names, types=names)


def rooms_left(limits: dict[str, int]) -> Generator[Query, Rows, dict[str, int]]:
    """How many more of each of these locked types may start; tasks and calls share the room. Never below 0."""
    used = dict((yield from rows_if("count_limited", list(limits), types=list(limits))))
    return {name: max(0, most - used.get(name, 0)) for name, most in limits.items()}
