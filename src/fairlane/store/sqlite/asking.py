"""From the queries of operations to statements of SQLite, and from its answers to rows; and the database's clock."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import apsw
import msgspec

from fairlane.scanning import PIECE_BYTES, items, string_of
from fairlane.store.records import packed_record, packed_records, records
from fairlane.store.statements import (
    CLOCK,
    TOGETHER,
    Found,
    Operation,
    Query,
    Result,
    RowLookup,
    Rows,
    load_statements,
    run_to_end,
)

LONG_TEXTS = {
    "insert_tasks": ("tasks", 5),
    "insert_calls": ("calls", 4),
    "insert_outcomes": ("outcomes", 3),
    "end_calls": ("calls", 3),
}
"""By statement, the name of its set of rows, and the column that has a payload or a result."""
PART_BYTES = 4 * 1024 * 1024
"""Rows with longer texts than this together are passed in several parts."""
UNPACKED_BYTES = 1024 * 1024
"""Longer packed rows are decoded one by one."""


class FileStatements:
    """The statements of this release in SQLite's form."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self._statements = load_statements("sqlite")

    def run(self, connection: apsw.Connection, operation: Operation[Result]) -> Result:
        """Run an operation to its end."""
        return run_to_end(operation, partial(self.rows, connection))

    def found(self, connection: apsw.Connection, lookup: RowLookup[Found], id: int) -> Found | None:
        """Return the row of this id."""
        found = connection.execute(self._statements[lookup.one].sql, {"id": id}).fetchall()
        return lookup.into(*found[0]) if found else None

    def rows(self, connection: apsw.Connection, query: Query[Any]) -> Rows:
        """Run one query and return its rows."""
        if query.name == CLOCK:
            return [self.now()]
        if query.name == TOGETHER:
            return [[] if one.ahead else self.rows(connection, one) for one in query.parameters["queries"]]
        statement = self._statements[query.name]
        if query.name in LONG_TEXTS:
            # It changes rows and returns none, so it may run in parts within the transaction.
            for part in _parts(query.parameters, *LONG_TEXTS[query.name]):
                connection.execute(statement.sql, part)
            return []
        parameters = {name: _plain(value) for name, value in query.parameters.items()}
        found: Rows = connection.execute(statement.sql, parameters).fetchall()
        return _unpacked(found[0][0], query.into) if statement.packed else records(found, query.into)


def _plain(value: Any) -> Any:
    """Return a set as one JSON text, which the statement unpacks with json_each; other values as they are."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | tuple) else value


def _parts(parameters: Mapping[str, Any], name: str, column: int) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a statement in as many parts as long texts in its rows need.

    Long texts are written in pieces, because no other thread runs during one call of the encoder.
    """
    rows = parameters[name]
    plain = {other: _plain(value) for other, value in parameters.items() if other != name}
    if not any(len(row[column] or "") > PIECE_BYTES for row in rows):
        yield plain | {name: _plain(rows)}
        return
    part: list[bytes] = []
    size = 0
    for row in rows:
        length = len(row[column] or "")
        if part and size + length > PART_BYTES:
            yield plain | {name: (b"[%b]" % b",".join(part)).decode()}
            part, size = [], 0
        part.append(_long_row(row, column))
        size += length
    yield plain | {name: (b"[%b]" % b",".join(part)).decode()}


def _unpacked(text: str, into: type[Any] | None) -> Rows:
    if len(text) <= UNPACKED_BYTES:
        return packed_records(text, into)
    whole = text.encode()
    return [packed_record(whole[start:end], into) for start, end in items(whole, 1)]


def _long_row(row: tuple[Any, ...], long: int) -> bytes:
    text = row[long]
    written = None if text is None else msgspec.Raw(string_of(text))
    return msgspec.json.encode((*row[:long], written, *row[long + 1 :]))
