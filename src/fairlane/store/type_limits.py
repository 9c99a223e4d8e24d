"""Limits of task types across all organizations: declared when a server starts, held by a row that everybody locks."""

from collections.abc import Generator, Iterable

from fairlane.model.tasks import Catalogue
from fairlane.store.locked import lock_organizations
from fairlane.store.statements import Operation, Query, Rows, query_if, rows, rows_if


def declare_limits(catalogue: Catalogue) -> Operation:
    """From now on the limits of this application hold. What runs already counts, but is not ended."""
    limited = [name for name, rule in catalogue.items() if rule.limit is not None]
    found = yield from rows_if("find_unlimited", limited, types=limited)
    locked = yield from lock_organizations(row[0] for row in found)
    for name in sorted(catalogue):
        limit = catalogue[name].limit
        if limit is None:
            yield from rows("delete_type_limit", task_type=name)
        else:
            yield from rows("upsert_type_limit", task_type=name, most=limit)
    yield from rows_if("limit_leases", list(locked), types=limited, ids=list(locked))


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
