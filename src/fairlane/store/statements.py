"""Named SQL statements, and how an operation runs them.

SQL is in ``sql/*.sql`` and nowhere else. An *operation* is a generator that yields :class:`Query` and receives rows; it
is one transaction, does no I/O of its own and owns no clock. A database adapter (``sqlite.py``) runs it.
"""

import re
import time
from collections.abc import Generator, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from msgspec import Struct

Rows = list[Any]
"""Rows as sequences of column values, in the order of the statement's SELECT list."""


class Query(Struct, frozen=True):
    """One statement to run now. List parameters are sets: the adapter passes each in one piece."""

    name: str
    parameters: dict[str, Any]
    hurried: str | None = None
    """The statement to run instead in a transaction that must not wait for locks."""


Result = TypeVar("Result")

Operation = Generator[Query, Rows, Result]
"""One transaction, or a part of one; its return value is the result."""


AFTER_ALL_IDS = "g"
"""Above all ids, which begin with a hexadecimal digit."""
CHUNK = 500
"""Most rows that upkeep changes in one transaction, so that other requests do not wait long behind it."""

CLOCK = "clock"
"""A query that is not a statement of ``sql/``: the adapter answers it from its clock."""
TOGETHER = "together"
"""A query for several statements that the adapter runs in one go; also not in ``sql/``."""


def rows(name: str, /, **parameters: Any) -> Operation[Rows]:
    """Run the statement of this name and receive its rows: ``found = yield from rows("find_lanes", ids=[1])``."""
    return (yield Query(name, parameters))


def rows_if(name: str, members: Sequence[Any], /, **parameters: Any) -> Operation[Rows]:
    """Run :func:`rows`, or nothing if its set is empty."""
    return (yield from rows(name, **parameters)) if members else []


def query_if(name: str, members: Sequence[Any], /, **parameters: Any) -> Query | None:
    """Return a query for :func:`together`, or None if its set is empty."""
    return Query(name, parameters) if members else None


def together(*queries: Query | None) -> Operation[list[Rows]]:
    """Run several statements in one go, which on PostgreSQL is one round trip; return the rows of each, none for a
    None.

    They run in any order and on one snapshot: none may read or write a row that another one writes. Rows of a RETURNING
    clause are not available. What a lock guards must be read by a later statement.
    """
    asked = [query for query in queries if query is not None]
    found: Rows = []
    if len(asked) == 1:
        found = [(yield asked[0])]
    elif asked:
        found = yield Query(TOGETHER, {"queries": asked})
    answers = iter(found)
    return [[] if query is None else next(answers) for query in queries]


def wall_clock() -> int:
    """Return this machine's clock, integer milliseconds UTC."""
    return time.time_ns() // 1_000_000


def clock() -> Operation[int]:
    """Return the database's clock, integer milliseconds UTC. Ask after locking: waiting for a lock takes time."""
    now: int = (yield CLOCK_QUERY)[0][0]
    return now


CLOCK_QUERY = Query(CLOCK, {})
""":func:`clock` as a query for :func:`together`; its answer is one row."""


class Statement(Struct, frozen=True):
    """One named statement of one dialect."""

    name: str
    sql: str
    packed: bool
    """Whether the answer is one row with one JSON array of rows: one step of the database for any number of rows."""


_HEADER = re.compile(r"^-- name: (?P<name>\w+)(?: \[(?P<dialect>\w+)\])?(?P<packed> packed)?$")


def load_statements(dialect: str) -> dict[str, Statement]:
    """Load every statement of ``sql/*.sql`` that is for all dialects or for this one."""
    statements: dict[str, Statement] = {}
    for file in sorted(files("fairlane.store").joinpath("sql").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            for statement in _parse(file.read_text("utf-8"), dialect):
                assert statement.name not in statements, f"statement {statement.name} exists twice ({file.name})"
                statements[statement.name] = statement
    return statements


def _parse(text: str, dialect: str) -> list[Statement]:
    found: list[Statement] = []
    header: re.Match[str] | None = None
    body: list[str] = []
    for line in [*text.splitlines(), "-- name: end"]:
        match = _HEADER.match(line)
        if match is None:
            body.append(line)
            continue
        if header is not None and header["dialect"] in (None, dialect):
            sql = "\n".join(part for part in body if not part.lstrip().startswith("--")).strip().rstrip(";")
            found.append(Statement(header["name"], sql, header["packed"] is not None))
        header, body = match, []
    return found


_PATTERN = re.compile(r"^-- pattern: (?P<name>\w+)$")


def load_patterns() -> dict[str, str]:
    """Load ``sql/patterns.sql``: statements on a table chosen at run time, with braces for its names."""
    patterns: dict[str, list[str]] = {}
    body: list[str] = []
    for line in files("fairlane.store").joinpath("sql", "patterns.sql").read_text("utf-8").splitlines():
        match = _PATTERN.match(line)
        if match is not None:
            body = patterns.setdefault(match["name"], [])
        elif not line.startswith("--"):
            body.append(line)
    return {name: "\n".join(lines).strip().rstrip(";") for name, lines in patterns.items()}


def load_migrations(dialect: str) -> list[tuple[int, str, str]]:
    """Return (version, name, SQL script) of each migration of this dialect, oldest first."""
    folder = files("fairlane.store").joinpath("sql", "migrations")
    suffix = f".{dialect}.sql"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(suffix))
    return [(int(name[:4]), name.removesuffix(suffix), folder.joinpath(name).read_text("utf-8")) for name in names]
