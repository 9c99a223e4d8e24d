"""Migrations that no release has, for tests of what applies them."""

from fairlane.store.statements import load_migrations

LATER = [
    (9101, "9101_one", "ALTER TABLE organization ADD COLUMN one BIGINT"),
    (9102, "9102_two", "ALTER TABLE organization ADD COLUMN two BIGINT"),
    (9103, "9103_three", "ALTER TABLE lane ADD COLUMN three BIGINT"),
]


def with_later(dialect: str) -> list[tuple[int, str, str]]:
    """Return the migrations of this release, and three later ones."""
    return [*load_migrations(dialect), *LATER]
