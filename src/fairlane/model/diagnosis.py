"""What the doctor looks at: the database as it presents itself, and what is in it.

The store gathers these without changing anything, ``fairlane doctor`` prints what ``diagnosis.py`` beside this package
makes of them. They state what was seen, never whether it is bad.
"""

from collections.abc import Mapping

from msgspec import Struct

from fairlane.model.status import Drift


class DeadRows(Struct, frozen=True, kw_only=True):
    """What PostgreSQL says of one table."""

    table: str
    live: int
    dead: int
    vacuumed: bool
    """Whether autovacuum may work on it."""


class Engine(Struct, frozen=True, kw_only=True):
    """The database itself, as it presents itself to one connection."""

    name: str
    version: str
    schema_version: int
    """0: it has no tables yet."""
    schema_known: int
    schema_pending: tuple[str, ...]
    schema_unknown: tuple[int, ...]
    skew_ms: int | None = None
    """How far its clock is before this machine's; None: it has none of its own."""
    unsafe: tuple[str, ...] = ()
    """Settings with which it may lose what it acknowledged."""
    read_only: bool = False
    autovacuum: bool | None = None
    """Whether it cleans up by itself; None: it need not."""
    dead_rows: tuple[DeadRows, ...] = ()
    oldest_transaction: tuple[int, str] | None = None
    """How many seconds the oldest open transaction is old, and whose it is; None: there is none."""
    pooled: bool = False
    """Whether something stands between us and it."""
    file_system: str | None = None
    """What kind its file is on; None: it is not on this machine, or nobody knows."""
    file_system_unsafe: bool = False
    free_bytes: int | None = None
    """Of the disk that its file is on; None: it is not on this machine."""


class Content(Struct, frozen=True, kw_only=True):
    """What is in a database that may keep work from being done, or done right."""

    plans_without_slots: tuple[str, ...]
    organizations: int
    organizations_without_slots: tuple[str, ...]
    drifted: tuple[str, ...]
    """Found before by the self-audit, and not repaired yet."""
    paused: tuple[str, ...]
    disabled: tuple[str, ...]
    maintenance: bool
    recounted: int
    """Organizations whose counts were compared with their rows just now."""
    drift: tuple[Drift, ...]
    served: Mapping[str, int]
    """Live workers by the task type they serve."""
    queued: Mapping[str, int]
    """Tasks that are ready to start, by type."""
    servers: tuple[str, ...]
    """Names of live servers."""
    secrets: int
    secrets_closed: int
    """Webhook secrets that the key here does not open."""
