"""What ``fairlane doctor`` examines: the database itself, and what is in it.

The store collects these records without changing anything; ``diagnosis.py`` (outside this package) judges them and
``fairlane doctor`` prints the result. They state what was seen, never whether it is bad.
"""

from collections.abc import Mapping

from msgspec import Struct

from fairlane.model.fleet import FailedStart
from fairlane.model.status import Drift


class DeadRows(Struct, frozen=True, kw_only=True):
    """What PostgreSQL reports about one table."""

    table: str
    live: int
    dead: int
    vacuumed: bool
    """Whether autovacuum may process it."""


class DatabaseFacts(Struct, frozen=True, kw_only=True):
    """The database itself, as one connection sees it."""

    name: str
    version: str
    address: str
    """A path, or an address without its password."""
    schema_version: int
    """0 if it has no tables yet."""
    schema_known: int
    schema_pending: tuple[str, ...]
    schema_unknown: tuple[int, ...]
    skew_ms: int | None = None
    """How far its clock is ahead of this machine's, in milliseconds, or None if it has no clock of its own."""
    unsafe: tuple[str, ...] = ()
    """Settings with which it may lose acknowledged changes."""
    read_only: bool = False
    encoding: str | None = None
    """How it keeps texts, if not as UTF8, without which not every text has a form in it."""
    autovacuum: bool | None = None
    """Whether autovacuum is on, or None if the database does not need it."""
    dead_rows: tuple[DeadRows, ...] = ()
    oldest_transaction: tuple[int, str] | None = None
    """The age in seconds and the owner of the oldest open transaction, or None if there is none."""
    pooled: bool = False
    """Whether a connection pooler stands between this server and the database."""
    file_system: str | None = None
    """The type of the file system, or None if the file is not on this machine or the type is unknown."""
    file_system_unsafe: bool = False
    free_bytes: int | None = None
    """Free space on the disk that holds its file, or None if the file is not on this machine."""


class Content(Struct, frozen=True, kw_only=True):
    """What is in a database that may prevent work or make its results wrong."""

    plans_without_slots: tuple[str, ...]
    organizations: int
    organizations_without_slots: tuple[str, ...]
    drifted: tuple[str, ...]
    """Organizations with drift that the self-audit found earlier and that is not repaired yet."""
    paused: tuple[str, ...]
    disabled: tuple[str, ...]
    maintenance: bool
    recounted: int
    """Number of organizations for which counts were just compared with rows."""
    drift: tuple[Drift, ...]
    served: Mapping[str, int]
    """Number of live workers for each task type."""
    queued: Mapping[str, int]
    """Tasks that are ready to start, by type."""
    failed_starts: tuple[FailedStart, ...]
    """Workers that cannot start."""
    servers: tuple[str, ...]
    """Names of live servers."""
    secrets: int
    secrets_closed: int
    """Webhook secrets that the configured key cannot decrypt."""
