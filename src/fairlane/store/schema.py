"""The migrations that a database has, compared with those of this release. Pure; the adapters ask it what to apply.

The first migration is ``sql/schema.sql``, the tables of today: a new database is made from it alone. The others change
a database of an earlier release, and only ever add to what that release reads and writes, so that servers of both may
run at the same time.
"""

from collections.abc import Collection, Sequence

from msgspec import Struct

from fairlane.errors import DatabaseError
from fairlane.store.statements import FIRST_SCHEMA

FIRST = int(FIRST_SCHEMA[:4])
"""The version of the tables of release 0.1.0."""

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
    """Compare applied migrations with those of this release.

    Raises:
        DatabaseError: a development version made these tables.
    """
    known = {version for version, _, _ in migrations}
    if min(applied, default=FIRST) < FIRST:
        raise DatabaseError(
            f"this database was made by a development version before 0.1.0 (its schema version is {max(applied)}) and "
            "cannot be upgraded: start with a new database, or use the version that made it"
        )
    return Schema(
        version=max(applied, default=0),
        known=max(known),
        pending=tuple(name for version, name, _ in migrations if version not in applied),
        unknown=tuple(sorted(set(applied) - known)),
    )


def missing(applied: Collection[int], migrations: Sequence[Migration], *, database: str) -> list[Migration]:
    """Return the migrations to apply, in order, all in one transaction.

    In a new database only the first has a script: the tables of today contain what the others change.

    Raises:
        DatabaseError: a newer release was here, or a development version.
    """
    schema = compare(applied, migrations)
    refuse_newer(schema, database=database)
    if not applied:
        first, *others = migrations
        return [first, *((version, name, "") for version, name, _ in others)]
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
