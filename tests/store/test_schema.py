"""``schema.sql`` is the tables of today: what a new database has, and what a database of an earlier release gets."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.postgres import opening
from fairlane.store.schema import FIRST
from fairlane.store.sqlite import opening as sqlite_opening
from fairlane.store.statements import dialect_of, load_migrations
from tests.architecture.sources import REPOSITORY
from tests.store.databases import DATABASES, Clock, PostgresServer

TEXT = (REPOSITORY / "src/fairlane/store/sql/schema.sql").read_text("utf-8")
HEAD, _, BODY = TEXT.partition("\n\n")
TYPES = {"INTEGER": "bigint", "TEXT": "text", "REAL": "double precision"}
RELEASED = Path(__file__).parent / "released"
"""The ``schema.sql`` of each release after which the tables were changed: ``NNNN.sql``, its newest version."""

COLUMNS = {
    "sqlite": (
        'SELECT t.name, c.name, c.type, c."notnull" OR c.pk, c.dflt_value FROM sqlite_schema AS t'
        " JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table'"
    ),
    "postgres": (
        "SELECT table_name, column_name, data_type, is_nullable = 'NO', column_default, collation_name"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    ),
}
INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
    "postgres": (
        "SELECT indexname, indexdef FROM pg_indexes AS i WHERE schemaname = 'public'"
        " AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = indexname)"
    ),
}


async def made(kind: str, folder: Path, *releases: Callable[[str], Any]) -> dict[str, set[tuple[Any, ...]]]:
    """Return the columns and the indexes of a database that each of these releases migrated, in this order."""
    folder.mkdir()
    database = DATABASES[kind](folder, Clock())
    if isinstance(database, PostgresServer):
        database.rows("DROP SCHEMA public CASCADE")
        database.rows("CREATE SCHEMA public")
    try:
        for release in releases:
            with pytest.MonkeyPatch.context() as patch:
                for module in (opening, sqlite_opening):
                    patch.setattr(module, "load_migrations", release)
                await Store.migrate(Settings(database=database.address))
        return {"columns": set(database.rows(COLUMNS[kind])), "indexes": set(database.rows(INDEXES[kind]))}
    finally:
        database.forget()


@pytest.mark.parametrize("kind", sorted(DATABASES))
async def test_the_text_shows_what_a_new_database_has(kind: str, tmp_path: Path) -> None:
    """Every table, column and index, each with its type and whether it may be null."""
    shown = {
        (table, column, kind_of if kind == "sqlite" else TYPES[kind_of], "NOT NULL" in rest or "PRIMARY KEY" in rest)
        for table, body in re.findall(r"^CREATE TABLE (\w+) \(\n(.*?)\n\)", BODY, re.DOTALL | re.MULTILINE)
        for column, kind_of, rest in re.findall(r"^  (\w+) +(INTEGER|TEXT|REAL)\b(.*)", body, re.MULTILINE)
    }

    there = await made(kind, tmp_path / "new", load_migrations)

    assert {(row[0], row[1], row[2], bool(row[3])) for row in there["columns"] if row[0] != "schema_version"} == shown
    assert {name for name, _ in there["indexes"]} == set(
        re.findall(r"^CREATE (?:UNIQUE )?INDEX (\w+)", BODY, re.MULTILINE)
    )


def test_the_map_names_every_table() -> None:
    """The text at the top of the file, for a reader who wants to know where something is."""
    tables = re.findall(r"^CREATE TABLE (\w+)", BODY, re.MULTILINE)

    assert [table for table in tables if not re.search(rf"\b{table}\b", HEAD)] == []


@pytest.mark.parametrize("kind", sorted(DATABASES))
async def test_an_upgraded_database_has_the_tables_of_a_new_one(kind: str, tmp_path: Path) -> None:
    """From each release after which the tables were changed, and so ``schema.sql`` stays the tables of today."""
    if load_migrations(kind)[1:]:
        assert RELEASED.is_dir(), f"put the schema.sql of the last release into {RELEASED}, as {FIRST:04}.sql"
    new = await made(kind, tmp_path / "new", load_migrations)

    for file in sorted(RELEASED.glob("*.sql")):
        newest, text = int(file.stem), dialect_of(file.read_text("utf-8"), kind)

        def release(dialect: str, newest: int = newest, text: str = text) -> Any:
            (first, name, _), *others = load_migrations(dialect)
            return [(first, name, text), *(one for one in others if one[0] <= newest)]

        assert await made(kind, tmp_path / file.stem, release, load_migrations) == new, file.name


@pytest.mark.parametrize("kind", sorted(DATABASES))
@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("ALTER TABLE probe ADD COLUMN later INTEGER;\n\nCREATE INDEX probe_later ON probe (later);", True),
        ("CREATE INDEX probe_later ON probe (filler);", False),
        ("SELECT 1", False),
    ],
)
async def test_a_change_that_only_one_of_both_has_is_found(kind: str, change: str, same: bool, tmp_path: Path) -> None:
    """The control, with a made-up change: written in the tables of today, and rightly, wrongly or not at all beside
    them."""
    today = TEXT.replace("filler TEXT NOT NULL\n);", "filler TEXT NOT NULL,\n  later INTEGER\n);")
    assert today != TEXT
    today += "\nCREATE INDEX probe_later ON probe (later);\n"

    def later(dialect: str) -> Any:
        version, name, _ = load_migrations(dialect)[0]
        return [(version, name, dialect_of(today, dialect)), (9101, "9101_later", dialect_of(change, dialect))]

    upgraded = await made(kind, tmp_path / "old", load_migrations, later)

    assert (upgraded == await made(kind, tmp_path / "new", later)) is same


def test_only_types_are_translated() -> None:
    """Not the words of a cast, and not the paragraphs of the other database."""
    script = (
        "-- An INTEGER.\nALTER TABLE a ADD COLUMN b TEXT;\nUPDATE a SET b = CAST(c AS TEXT);\n\n-- [postgres] x\nD;"
    )

    assert dialect_of(script, "sqlite") == script.partition("\n\n")[0]
    assert dialect_of(script, "postgres") == (
        'ALTER TABLE a ADD COLUMN b TEXT COLLATE "C";\nUPDATE a SET b = CAST(c AS TEXT);\n\nD;'
    )
