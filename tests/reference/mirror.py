"""The rows of a SQLite database that one connection writes, read again only where that connection changed them.

A :class:`Mirror` gives the same snapshots as ``read_snapshot``, and the tasks that can have changed since the one
before. Once in ``WHOLE`` snapshots it reads everything and compares.
"""

from collections.abc import Callable, Set
from typing import Any, NamedTuple

import apsw

from tests.reference.invariants import ATTEMPTS, FAILURES, KEYS, SELECTS, TURNS, AttemptRow, Snapshot, read_snapshot

WHOLE = 25
"""How many snapshots pass from one comparison with the whole database to the next."""
SHORT = frozenset({"organizations", "ready", "waiting", "leases"})
"""Parts that stay short: after a change all of one is read again, which is quicker than to note each changed row."""


class _Part(NamedTuple):
    """A part of a snapshot that has one entry for each key."""

    name: str
    table: str
    key: tuple[str, ...]
    select: str
    """Returns the rows of one key, or all rows of a short part."""
    make: Callable[[list[tuple[Any, ...]]], Any]
    """Makes the entry of the rows of its key."""


class Mirror:
    """The rows of a database, and which of them were changed since the last look."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Read the rows, and from now on note what ``connection`` changes."""
        self._connection = connection
        self._parts = _parts()
        self._columns: dict[str, tuple[int, ...]] = {}
        """By table, the places of its key in a row; none for tables that are read as a whole."""
        self._changed: dict[str, set[tuple[Any, ...]]] = {"turn": set()}
        """By table, the keys of changed rows. Those that were rolled back are among them, which does no harm."""
        for part in self._parts:
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({part.table})")]
            key = () if part.name in SHORT else part.key
            self._columns[part.table] = tuple(names.index(column) for column in key)
            self._changed[part.table] = set()
        self._last = self._whole()
        self._looks = 0
        connection.preupdate_hook(self._note)

    def look(self) -> tuple[Snapshot, Set[str]] | None:
        """Return the rows of now and the tasks that can have changed since the last look; None if no row changed."""
        if not any(self._changed.values()):
            return None
        entries = {part.name: getattr(self._last, part.name) for part in self._parts}
        tasks: set[Any] = set()
        doubled: list[str] = []
        for part in self._parts:
            keys = self._changed[part.table]
            if not keys:
                continue
            if part.name in SHORT:
                before, entries[part.name] = entries[part.name], self._short(part, doubled)
                keys = {(name,) for name, _ in before.items() ^ entries[part.name].items()}
            else:
                entries[part.name] = self._again(part, keys, entries[part.name], doubled)
            if part.name == "tasks" or part.key == ("task_id",):
                tasks.update(name for (name,) in keys)
        turns = self._last.turns
        if self._changed["turn"]:
            turns = frozenset((organization, name) for organization, name in self._connection.execute(TURNS))
        for keys in self._changed.values():
            keys.clear()
        self._last = Snapshot(**entries, turns=turns, doubled=tuple(doubled))
        self._looks += 1
        if self._looks % WHOLE == 0:
            self.compare()
        return self._last, tasks

    def compare(self) -> None:
        """Read everything. Raises AssertionError if it differs from the last look."""
        whole = self._whole()
        assert whole == self._last or whole.doubled, "rows changed that the mirror does not know of"

    def _whole(self) -> Snapshot:
        return read_snapshot(lambda sql: self._connection.execute(sql).fetchall())

    def _note(self, update: Any) -> None:
        table = update.table_name
        keys = self._changed.get(table)
        if keys is None:
            return
        columns = self._columns.get(table, ())
        if not columns:
            keys.add(())
            return
        for row in (update.old, update.new):
            if row is not None:
                keys.add(tuple([row[column] for column in columns]))

    def _short(self, part: _Part, doubled: list[str]) -> dict[Any, Any]:
        made = [part.make([row]) for row in self._connection.execute(part.select).fetchall()]
        entries = {getattr(one, part.key[0]): one for one in made}
        if len(entries) < len(made):
            doubled.append(part.name)
        return entries

    def _again(
        self, part: _Part, keys: Set[tuple[Any, ...]], last: dict[Any, Any], doubled: list[str]
    ) -> dict[Any, Any]:
        entries = last.copy()
        for key in keys:
            found = self._connection.execute(part.select, key).fetchall()
            name = key[0] if len(key) == 1 else key
            if found:
                entries[name] = part.make(found)
            else:
                entries.pop(name, None)
            if len(found) > 1 and part.name != "attempts":
                doubled.append(part.name)
        return entries


def _parts() -> list[_Part]:
    """Return the parts of a snapshot, with the statements for one key."""
    failure = ("organization_id", "hour", "group_id")
    parts = [
        _Part("keys", "idempotency", ("organization_id", "key"), KEYS, lambda rows: rows[0][2]),
        _Part("attempts", "attempt", ("task_id",), ATTEMPTS, lambda rows: [AttemptRow(*row) for row in rows]),
        _Part("failures", "failure_hour", failure, FAILURES, lambda rows: rows[0][3]),
    ]
    for name, (kind, select) in SELECTS.items():
        table = select.partition(" FROM ")[2].split()[0]
        key = "id" if name in ("organizations", "tasks") else "task_id"
        parts.append(_Part(name, table, (key,), select, _last_as(kind)))
    return [part if part.name in SHORT else part._replace(select=_of_one_key(part)) for part in parts]


def _last_as(kind: type[Any]) -> Callable[[list[tuple[Any, ...]]], Any]:
    return lambda rows: kind(*rows[-1])


def _of_one_key(part: _Part) -> str:
    condition = " AND ".join(f"{column} = ?" for column in part.key)
    order = " ORDER BY starts" if part.name == "attempts" else ""
    return f"{part.select} {'AND' if ' WHERE ' in part.select else 'WHERE'} {condition}{order}"
