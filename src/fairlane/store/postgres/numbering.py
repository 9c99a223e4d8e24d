"""Statements in PostgreSQL's form: numbered parameters instead of named ones, and arguments as texts.

Called by the rest of this room. Pure: it has no connection, and never writes a value into a statement.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from msgspec import Struct

from fairlane.store.statements import Statement

_PARAMETER = re.compile(r"(?<!:):(?P<name>[a-z_][a-z_0-9]*)(?:\[(?P<types>[a-z, \n]+)\])?")
_CHANGES = ("INSERT", "UPDATE", "DELETE", "WITH")

Arguments = list[str | None]
"""The arguments of a statement, in the text form of their types."""


class NumberedStatement(Struct, frozen=True):
    """A statement in the server's form, and the shapes of its parameters."""

    name: str
    sql: str
    packed: bool = False
    parameters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(name, types of its columns, or none for one value) in the order of the statement."""
    answers: bool = True
    """Whether it returns rows. A change without RETURNING returns none, so nothing has to wait for it."""
    changes: bool = False
    """Whether it may change rows."""

    def arguments(self, given: dict[str, Any]) -> Arguments:
        """Return the arguments in order. A set of tuples becomes one array for each column."""
        found: Arguments = []
        for name, types in self.parameters:
            value = given[name]
            if not types:
                found.append(_text(value))
                continue
            columns = (value,) if len(types) == 1 else zip(*value, strict=True) if value else ((),) * len(types)
            for column, kind in zip(columns, types, strict=True):
                found.append(_text_array(column) if kind == "text" else _number_array(column))
        return found


@cache
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
    changes = not sql.startswith("SELECT")
    return NumberedStatement(statement.name, sql, statement.packed, shapes, answers=_answers(sql), changes=changes)


def plain(name: str, sql: str) -> NumberedStatement:
    """Return a statement without parameters that belongs to the connection, as BEGIN does."""
    return NumberedStatement(name, sql, answers=False)


def storable(value: Any) -> Any:
    """Replace NUL, which PostgreSQL's texts cannot hold, by the replacement character."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


def _answers(sql: str) -> bool:
    if not sql.startswith(_CHANGES):
        return not sql.startswith("TRUNCATE")
    words = set(sql.split())
    return "RETURNING" in words or not words & {"INSERT", "UPDATE", "DELETE"}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(storable(value)) if isinstance(value, str) else f"{value:d}" if isinstance(value, int) else repr(value)


def _number_array(values: Iterable[int | None]) -> str:
    return "{" + ",".join(["NULL" if one is None else f"{one:d}" for one in values]) + "}"


def _text_array(values: Iterable[str | None]) -> str:
    return "{" + ",".join(["NULL" if one is None else _quoted(one) for one in values]) + "}"


def _quoted(text: str) -> str:
    escaped = storable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
