"""The migrations that a database has, compared with those of this release. Pure; the adapters ask it what to apply.

Migrations only ever add to what the release before reads and writes, so that servers of both may run at the same time.
"""

from collections.abc import Collection, Sequence

from msgspec import Struct

from fairlane.errors import DatabaseError

Migration = tuple[int, str, str]
"""Version, name, script."""


class Schema(Struct, frozen=True, kw_only=True):
    """The schema version of a database."""

    version: int
    """The newest migration that was applied; 0 if it is empty."""
    known: int
    """The newest migration of this release."""
    pending: tuple[str, ...]
    """Names of this release's migrations that the database lacks, oldest first."""
    unknown: tuple[int, ...]
    """Versions that the database has and this release does not: a newer release was here."""


def compare(applied: Collection[int], migrations: Sequence[Migration]) -> Schema:
    """Compare applied migrations with those of this release."""
    known = {version for version, _, _ in migrations}
    return Schema(
        version=max(applied, default=0),
        known=max(known),
        pending=tuple(name for version, name, _ in migrations if version not in applied),
        unknown=tuple(sorted(set(applied) - known)),
    )


def missing(applied: Collection[int], migrations: Sequence[Migration], *, database: str) -> list[Migration]:
    """Return the migrations to apply, in order.

    Raises:
        DatabaseError: a newer release was here.
    """
    schema = compare(applied, migrations)
    refuse_newer(schema, database=database)
    return [migration for migration in migrations if migration[0] not in applied]


def refuse_older(schema: Schema, *, database: str) -> None:
    """Raise DatabaseError if there are no tables, or if a migration is pending."""
    if not schema.version:
        raise DatabaseError(
            f"there is no fairlane database at {database}: check the address (--database, FAIRLANE_DATABASE); only "
            "'fairlane serve', 'fairlane migrate' and 'fairlane restore' create one"
        )
    if schema.pending:
        raise DatabaseError(
            f"{database} has schema version {schema.version}, this fairlane needs {schema.known}: "
            "run 'fairlane migrate', or start a server of this release"
        )


def refuse_newer(schema: Schema, *, database: str) -> None:
    """Raise DatabaseError if the database has a migration that this release does not know."""
    if schema.unknown:
        raise DatabaseError(
            f"{database} has schema version {schema.version}, this fairlane knows {schema.known}: use the newer release"
        )
