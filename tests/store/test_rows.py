"""Each statement answers the columns of the record that its callers name, on both databases.

Rows become records by position, so a column that moves in ``sql/`` without its field would silently change its meaning.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest
from msgspec import Struct
from msgspec.structs import fields

from fairlane.store import locked, tasks
from fairlane.store.postgres.numbering import numbered
from fairlane.store.statements import Statement, load_migrations, load_statements
from tests.architecture.sources import PACKAGE
from tests.store.databases import PostgresServer

READS = {"rows", "rows_if", "first", "only", "query"}

CHOSEN = {
    # Statements whose names stand in a variable.
    "lock_organizations": locked.LockedOrganization,
    "lock_further_organizations": locked.LockedOrganization,
    "find_heads_ahead": locked.Head,
    "find_statuses": tasks.StatusRow,
    "find_newest_ended": str,
    "find_newest_leased": str,
    "find_newest_tasks": str,
    "erase_calls": str,
    "erase_keys": str,
    "erase_webhook_secrets": str,
    "erase_usage_months": str,
    "erase_usage": int,
    "erase_alerts": str,
    "erase_bulk_parts": str,
    "erase_bulks": str,
}

PACKED = re.compile(r"json_group_array\(json_array\(|json_agg\(json_build_array\(")
PLAIN = re.compile(r"(?:\w+\.)?(\w+)")


@cache
def _records() -> dict[str, set[Any]]:
    """The records that the store's modules name for each statement; read by the tests, not by each process of a run."""
    found: dict[str, set[Any]] = {name: {record} for name, record in CHOSEN.items()}
    for path in sorted((PACKAGE / "store").glob("*.py")):
        names = vars(importlib.import_module(f"fairlane.store.{path.stem}"))
        for name, into in _reads(path):
            found.setdefault(name, set()).add(names.get(into) or {"int": int, "str": str}[into])
    return found


def _reads(path: Path) -> Iterator[tuple[str, str]]:
    """The statements that a module reads, each with the name of its record."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in READS:
            name = node.args[0]
            intos = [keyword.value for keyword in node.keywords if keyword.arg == "into"]
            if isinstance(name, ast.Constant) and intos and isinstance(intos[0], ast.Name):
                yield str(name.value), intos[0].id


def _differences(statement: Statement, columns: list[str]) -> list[str]:
    """What a statement's columns have against its records."""
    wrong = []
    for record in _records()[statement.name]:
        if not issubclass(record, Struct):
            wrong += [] if len(columns) == 1 else [f"{statement.name}: one column for {record.__name__}, not {columns}"]
            continue
        names = [field.name for field in fields(record) if field.required]
        if statement.packed:
            # A packed row has no names: its columns are told by what they are taken from.
            same = len(columns) == len(names) and not [
                one for one, name in zip(columns, names, strict=True)
                if one and one != name and (one in names or name in columns)
            ]  # fmt: skip
        else:
            same = columns == names
        wrong += [] if same else [f"{statement.name}: {columns} are not the fields of {record.__name__}, {names}"]
    return wrong


def _packed_columns(sql: str) -> list[str]:
    """The columns that a packed row is made of; an empty name for an expression."""
    begin = PACKED.search(sql)
    assert begin is not None, sql
    depth, parts = 0, [""]
    for letter in sql[begin.end() :]:
        if letter == ")" and not depth:
            break
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    plain = [PLAIN.fullmatch(part.strip()) for part in parts]
    return ["" if one is None else one[1] for one in plain]


def test_every_read_names_its_record() -> None:
    """A statement that is read without a record would escape the two tests that follow."""
    assert len(_records()) > 100
    assert set(_records()) <= {*load_statements("sqlite"), *load_statements("postgres")}


def test_on_sqlite_columns_are_the_fields_of_their_record() -> None:
    """By name and in order; a packed statement by number, and by the columns that it takes unchanged."""
    connection = apsw.Connection(":memory:")
    for _, _, script in load_migrations("sqlite"):
        connection.execute(script)
    wrong = []
    for name, statement in load_statements("sqlite").items():
        if name in _records():
            columns = _packed_columns(statement.sql) if statement.packed else _sqlite_columns(connection, statement.sql)
            wrong += _differences(statement, columns)

    assert not wrong, "\n".join(wrong)


def _sqlite_columns(connection: apsw.Connection, sql: str) -> list[str]:
    """The names of a statement's columns, without running it."""
    described: list[list[str]] = []

    def prepared(cursor: apsw.Cursor, _: str, __: Any) -> bool:
        described.append([column for column, _ in cursor.get_description()])
        return False

    cursor = connection.cursor()
    cursor.exec_trace = prepared
    with pytest.raises(apsw.ExecTraceAbort):
        cursor.execute(sql, dict.fromkeys(re.findall(r"(?<!:):([a-z_0-9]+)", sql)))
    return described[0]


async def test_on_postgres_columns_are_the_fields_of_their_record(server: PostgresServer) -> None:
    """The same, as PostgreSQL describes them."""
    connection = await asyncpg.connect(server.address)
    try:
        wrong = []
        for name, statement in load_statements("postgres").items():
            if name in _records():
                prepared = await connection.prepare(numbered(statement).sql)
                columns = [column.name for column in prepared.get_attributes()]
                wrong += _differences(statement, _packed_columns(statement.sql) if statement.packed else columns)
    finally:
        await connection.close()

    assert not wrong, "\n".join(wrong)
