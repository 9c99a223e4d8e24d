"""Which migrations a database has, beside those that this release knows. Pure; the adapters ask it what to apply.

Migrations only ever add to what the release before reads and writes, so that servers of both may run side by side.
"""

from collections.abc import Collection, Sequence

from msgspec import Struct

from fairlane.errors import DatabaseError

Migration = tuple[int, str, str]
"""Version, name, script."""


class Schema(Struct, frozen=True, kw_only=True):
    """How far a database's tables are."""

    version: int
    """The newest migration that was applied; 0: none, it is empty."""
    known: int
    """The newest that this release has."""
    pending: tuple[str, ...]
    """Names of those that it has and the database lacks, oldest first."""
    unknown: tuple[int, ...]
    """Versions that the database has and this release does not: a newer one was here."""


def compare(applied: Collection[int], migrations: Sequence[Migration]) -> Schema:
    """What was applied beside what is known."""
    known = {version for version, _, _ in migrations}
    return Schema(
        version=max(applied, default=0),
        known=max(known),
        pending=tuple(name for version, name, _ in migrations if version not in applied),
        unknown=tuple(sorted(set(applied) - known)),
    )


def missing(applied: Collection[int], migrations: Sequence[Migration], *, database: str) -> list[Migration]:
    """What to apply, in order.

    Raises:
        DatabaseError: a newer release was here.
    """
    schema = compare(applied, migrations)
    refuse_newer(schema, database=database)
    return [migration for migration in migrations if migration[0] not in applied]


def refuse_older(schema: Schema, *, database: str) -> None:
    """Raise DatabaseError if something is pending."""
    if schema.pending:
        raise DatabaseError(
            f"{database} has schema version {schema.version}, this fairlane needs {schema.known}: "
            "run 'fairlane migrate', or start a server of this release"
        )


def refuse_newer(schema: Schema, *, database: str) -> None:
    """Raise DatabaseError if the database has what this release does not know."""
    if schema.unknown:
        raise DatabaseError(
            f"{database} has schema version {schema.version}, this fairlane knows {schema.known}: use the newer release"
        )
