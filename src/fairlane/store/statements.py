"""Named SQL statements, and how an operation runs them.

SQL is in ``sql/*.sql`` and nowhere else. An *operation* is a generator that yields :class:`Query` and receives rows; it
is one transaction, does no I/O of its own and owns no clock. A database adapter (``sqlite/``, ``postgres/``) runs it.
"""

import re
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from msgspec import Struct, convert

Rows = list[Any]
"""What an adapter answers: the records that the query names, or bare rows if it names none."""


Made = TypeVar("Made")


class Row(Struct, frozen=True, array_like=True, gc=False):
    """One row of an answer: a field for each column, in the order of the statement's SELECT list.

    Each statement that returns rows has a record of its own, or one that it shares with others of the same columns.
    """

    def to(self, kind: type[Made]) -> Made:
        """Return the record of this kind, made of the fields of the same names; flags become booleans."""
        return convert(self, kind, from_attributes=True, strict=False)


class Moment(Row, frozen=True):
    """A moment, or None if there is none: the answer of a minimum."""

    at: int | None


Found = TypeVar("Found")


class Query(Struct, Generic[Found]):
    """One statement to run now. List parameters are sets: the adapter passes each in one piece."""

    name: str
    parameters: dict[str, Any]
    into: type[Found] | None = None
    """The record of each row, a :class:`Row` or one of the model; for a single column, the type of its value."""
    hurried: str | None = None
    """The statement to run instead in a transaction that must not wait for locks."""
    needed: bool = True
    """False if its set is empty, so that it need not run."""
    ahead: bool = False
    """It is asked before anything needs its answer, to save a round trip. SQLite, which has none, leaves it out."""
    rows: list[Found] = []
    """The answer, once :func:`together` has run it."""


class RowLookup(Struct, Generic[Found], frozen=True):
    """A row that is found by an id and often asked for, alone or with the rows of other ids."""

    one: str
    """The statement with ``:id``."""
    each: str
    """The same with the set ``:ids``, for PostgreSQL."""
    into: type[Found]
    """Has a field ``id``."""


Result = TypeVar("Result")

Operation = Generator[Query[Any], Rows, Result]
"""One transaction, or a part of one; its return value is the result."""


def run_to_end(operation: Operation[Result], rows: Callable[[Query[Any]], Rows]) -> Result:
    """Run an operation to its end; ``rows`` runs one of its queries."""
    found: Any = None
    try:
        while True:
            found = rows(operation.send(found))
    except StopIteration as stop:
        result: Result = stop.value
        return result


AFTER_ALL_IDS = "g"
"""Above all ids, which begin with a hexadecimal digit."""
CHUNK = 500
"""Most rows that upkeep changes in one transaction, so that other requests do not wait long behind it."""

CLOCK = "clock"
"""A query that is not a statement of ``sql/``: the adapter answers it from its clock."""
TOGETHER = "together"
"""A query for several statements that the adapter runs in one go; also not in ``sql/``."""


def rows(name: str, /, *, into: type[Found], **parameters: Any) -> Operation[list[Found]]:
    """Return the rows of a statement: ``lanes = yield from rows("find_lanes", into=LaneRow, ids=[1])``."""
    return (yield Query(name, parameters, into))


def first(name: str, /, *, into: type[Found], **parameters: Any) -> Operation[Found | None]:
    """Return the first row of a statement, or None if there is none."""
    found = yield from rows(name, into=into, **parameters)
    return found[0] if found else None


def only(name: str, /, *, into: type[Found], **parameters: Any) -> Operation[Found]:
    """Return the only row of a statement that always has one."""
    [found] = yield from rows(name, into=into, **parameters)
    return found


def run(name: str, /, **parameters: Any) -> Operation[None]:
    """Run a statement whose rows, if it has any, do not matter."""
    yield Query(name, parameters)


def rows_if(name: str, members: Sequence[Any], /, *, into: type[Found], **parameters: Any) -> Operation[list[Found]]:
    """Return the rows of a statement, or none if its set is empty."""
    return (yield from rows(name, into=into, **parameters)) if members else []


def run_if(name: str, members: Sequence[Any], /, **parameters: Any) -> Operation[None]:
    """Run a statement unless its set is empty."""
    if members:
        yield from run(name, **parameters)


def query(name: str, members: Collection[Any], /, *, into: type[Found], **parameters: Any) -> Query[Found]:
    """Return a read of a set, for :func:`together`."""
    return Query(name, parameters, into, needed=bool(members))


def change(name: str, members: Sequence[Any], /, **parameters: Any) -> Query[Any]:
    """Return a change of a set, for :func:`together`."""
    return Query(name, parameters, needed=bool(members))


def together(*queries: Query[Any]) -> Operation[None]:
    """Run several statements in one go, which on PostgreSQL is one round trip; ``rows`` of each is its answer.

    They run in this order, and each sees what those before it changed. None of them may depend on another's answer.
    A change without RETURNING is sent and not waited for: if it fails, a later query or the commit raises its error.
    """
    asked = [query for query in queries if query.needed]
    if len(asked) == 1:
        asked[0].rows = yield asked[0]
    elif asked:
        found = yield Query(TOGETHER, {"queries": asked})
        for query, answer in zip(asked, found, strict=True):
            query.rows = answer


def wall_clock() -> int:
    """Return this machine's clock, integer milliseconds UTC."""
    return time.time_ns() // 1_000_000


def clock() -> Operation[int]:
    """Return the database's clock, integer milliseconds UTC. Ask after locking: waiting for a lock takes time."""
    now: int = (yield Query(CLOCK, {}, int))[0]
    return now


def clock_query(*, needed: bool = True) -> Query[int]:
    """Return :func:`clock` as a query for :func:`together`; its answer is one row."""
    return Query(CLOCK, {}, int, needed=needed)


class Statement(Struct, frozen=True):
    """One named statement of one dialect."""

    name: str
    sql: str
    packed: bool
    """Whether the answer is one row with one JSON array of rows: one step of the database for any number of rows."""


_HEADER = re.compile(r"^-- name: (?P<name>\w+)(?: \[(?P<dialect>\w+)\])?(?P<packed> packed)?$")


@cache
def load_statements(dialect: str) -> Mapping[str, Statement]:
    """Load every statement of ``sql/*.sql`` that is for all dialects or for this one; read once by a process."""
    statements: dict[str, Statement] = {}
    for file in sorted(files("fairlane.store").joinpath("sql").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            for statement in _parse(file.read_text("utf-8"), dialect):
                assert statement.name not in statements, f"statement {statement.name} exists twice ({file.name})"
                statements[statement.name] = statement
    return MappingProxyType(statements)


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


@cache
def load_patterns() -> Mapping[str, str]:
    """Load ``sql/patterns.sql``: statements on a table chosen at run time, with braces for its names."""
    patterns: dict[str, list[str]] = {}
    body: list[str] = []
    for line in files("fairlane.store").joinpath("sql", "patterns.sql").read_text("utf-8").splitlines():
        match = _PATTERN.match(line)
        if match is not None:
            body = patterns.setdefault(match["name"], [])
        elif not line.startswith("--"):
            body.append(line)
    return MappingProxyType({name: "\n".join(lines).strip().rstrip(";") for name, lines in patterns.items()})


@cache
def load_migrations(dialect: str) -> Sequence[tuple[int, str, str]]:
    """Return (version, name, SQL script) of ``sql/schema.sql`` and of each migration for this dialect, oldest first."""
    folder = files("fairlane.store").joinpath("sql")
    scripts = {FIRST_SCHEMA: folder.joinpath("schema.sql")}
    scripts |= {file.name[:-4]: file for file in folder.joinpath("migrations").iterdir() if file.name.endswith(".sql")}
    return tuple(
        (int(name[:4]), name, dialect_of(file.read_text("utf-8"), dialect)) for name, file in sorted(scripts.items())
    )


FIRST_SCHEMA = "0100_schema"
"""Version and name of ``schema.sql``. Smaller versions belong to development versions before 0.1.0."""

_POSTGRES_TYPES = {"INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION", "TEXT": 'TEXT COLLATE "C"'}
_TYPE = re.compile(r"(?<!\bAS )\b(INTEGER|REAL|TEXT)\b")


def dialect_of(script: str, dialect: str) -> str:
    """Return a script of the schema as this dialect reads it, by the rules at the top of ``schema.sql``."""
    paragraphs = script.split("\n\n")
    if dialect == "sqlite":
        return "\n\n".join(one for one in paragraphs if not one.startswith("-- [postgres]"))
    lines = "\n\n".join(one for one in paragraphs if not one.startswith("-- [sqlite]")).splitlines()
    statements = [line for line in lines if not line.lstrip().startswith("--")]
    translated = (_TYPE.sub(lambda found: _POSTGRES_TYPES[found[1]], line) for line in statements)
    return "\n".join(translated).replace(") WITHOUT ROWID;", ");")
