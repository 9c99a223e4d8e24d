"""Statements in PostgreSQL's form: numbered parameters instead of named ones, several joined into one.

Called by ``postgres.py`` and ``wakeups.py``. Pure: it has no connection, and never writes a value into a statement.
"""

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from fairlane.store.statements import Statement

_PARAMETER = re.compile(r"(?<!:):(?P<name>[a-z_][a-z_0-9]*)(?:\[(?P<types>[a-z, \n]+)\])?")
_NUMBER = re.compile(r"\$(\d+)")


class NumberedStatement(Struct, frozen=True):
    """A statement in the server's form, and the shapes of its parameters."""

    sql: str
    packed: bool
    parameters: tuple[tuple[str, tuple[str, ...]], ...]
    """(name, types of its columns, or none for one value) in the order of the statement."""

    def arguments(self, given: dict[str, Any]) -> list[Any]:
        """Return the arguments in order. A set of tuples becomes one array for each column."""
        found: list[Any] = []
        for name, types in self.parameters:
            value = given[name]
            if not types:
                found.append(storable(value))
                continue
            columns = (value,) if len(types) == 1 else zip(*value, strict=True) if value else ((),) * len(types)
            for column, kind in zip(columns, types, strict=True):
                found.append([storable(one) for one in column] if kind == "text" else column)
        return found


def numbered(statement: Statement) -> NumberedStatement:
    """Replace named parameters by numbered ones. ``:name[bigint, text]`` is a set: one array for each of its
    columns."""
    parameters: dict[str, tuple[int, list[str]]] = {}
    count = 0

    def replaced(match: re.Match[str]) -> str:
        nonlocal count
        types = [one.strip() for one in (match["types"] or "").split(",") if one.strip()]
        first, known = parameters.setdefault(match["name"], (count + 1, types))
        assert known == types, f"{statement.name}: :{match['name']} has two shapes"
        if first == count + 1:
            count += max(1, len(types))
        return ", ".join(f"${first + place}::{one}[]" for place, one in enumerate(types)) or f"${first}"

    sql = _PARAMETER.sub(replaced, statement.sql)
    shapes = tuple((name, tuple(types)) for name, (_, types) in parameters.items())
    return NumberedStatement(sql, statement.packed, shapes)


def join_statements(parts: Sequence[NumberedStatement]) -> str:
    """Join several statements into one, with their parameters one after the other and a column for each.

    A column has the statement's rows as an array of records, or null for a statement that changes rows.
    """
    changes, columns = [], []
    before = 0
    for place, part in enumerate(parts):
        sql = _NUMBER.sub(lambda match, before=before: f"${int(match[1]) + before}", part.sql)  # type: ignore[misc]
        if sql.startswith("SELECT"):
            columns.append(f"ARRAY(SELECT part FROM ({sql}) AS part)")  # noqa: S608 - own statements, no values
        else:
            changes.append(f"part_{place} AS ({sql})")
            columns.append("NULL")
        before += sum(max(1, len(types)) for _, types in part.parameters)
    first = ["WITH", ", ".join(changes)] if changes else []
    return " ".join([*first, "SELECT", ", ".join(columns)])


def storable(value: Any) -> Any:
    """Replace NUL, which PostgreSQL's texts cannot hold, by the replacement character."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value
