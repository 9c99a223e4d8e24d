"""Before the first request: the connections of a file, its schema, what it is like, without changing it.

The writer's connection is the only one that writes, migrates and checkpoints.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import apsw

from fairlane.errors import DatabaseError
from fairlane.model.diagnosis import DatabaseFacts
from fairlane.store.schema import Schema, compare, missing, refuse_older
from fairlane.store.sqlite.asking import FileStatements
from fairlane.store.sqlite.disk import NETWORK_FILE_SYSTEMS, file_system_of, sync
from fairlane.store.statements import Operation, Query, Result, Rows, load_migrations

_log = logging.getLogger("fairlane.store")

OLDEST_SQLITE = 3_051_003
"""3.51.3 fixes the race between a checkpoint and a commit that can corrupt a file in WAL mode."""
BUSY_MS = 2_000
LOG_BYTES_KEPT = 2**28
"""The log's file is truncated to this size once the log restarts."""


class FileConnections:
    """Opens connections of one file."""

    def __init__(self, path: Path, statements: FileStatements) -> None:
        self.path = path
        self._statements = statements

    def refuse_old_library(self) -> None:
        """Raise DatabaseError if this process's SQLite is not safe to use."""
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            raise DatabaseError(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed")

    def refuse_older(self) -> None:
        """Raise DatabaseError if the file has no tables, or an older schema."""
        refuse_older(self.inspect(), database=str(self.path))

    def writer(self) -> apsw.Connection:
        """Create or migrate the file, and return the connection that writes."""
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(self.path), statementcachesize=200)
        _keep_plans(connection)
        connection.set_busy_timeout(BUSY_MS)
        # EXTRA until the file and its name are safely on disk: with FULL alone a power cut can lose a new database.
        connection.execute("PRAGMA synchronous = EXTRA")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchall()[0][0]
        if mode != "wal":
            raise DatabaseError(f"{self.path} cannot be switched to WAL mode (it stays in {mode})")
        for pragma in (
            "foreign_keys = 1",
            "trusted_schema = 0",
            "cell_size_check = 1",
            "mmap_size = 0",
            "fullfsync = 1",
            "checkpoint_fullfsync = 1",
            "cache_size = -65536",
            f"journal_size_limit = {LOG_BYTES_KEPT}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        self._migrate(connection)
        # What a failed statement would have to put back. From the 17th changed page on it would be kept in a file.
        # Not before the migration: sorting for a new index has no bound.
        connection.execute("PRAGMA temp_store = MEMORY")
        if fresh:
            sync(self.path.parent)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def reader(self) -> apsw.Connection:
        """Return a connection that only reads."""
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=100)
        _keep_plans(connection)
        connection.set_busy_timeout(BUSY_MS)
        # Only the writer checkpoints: on older versions of SQLite two connections that do can corrupt the file.
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA mmap_size = 0")
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return connection

    def inspect(self) -> Schema:
        """Return the version of the file's schema, for :meth:`SqliteDatabase.inspect`."""
        applied: set[int] = set()
        try:
            if self.path.exists() and self.path.stat().st_size:
                connection = self.reader()
                try:
                    applied = applied_versions(self._statements, connection) or set()
                finally:
                    connection.close()
        except (OSError, apsw.Error) as error:
            raise DatabaseError(f"cannot read {self.path}: {error}") from error
        return compare(applied, load_migrations("sqlite"))

    def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return what the file is like and the operation's result, for :meth:`SqliteDatabase.look`."""
        schema = self.inspect()
        folder = next(parent for parent in self.path.parents if parent.exists())
        kind = file_system_of(folder)
        engine = DatabaseFacts(
            name="SQLite",
            address=str(self.path),
            version=apsw.sqlite_lib_version(),
            schema_version=schema.version,
            schema_known=schema.known,
            schema_pending=schema.pending,
            schema_unknown=schema.unknown,
            file_system=kind or None,
            file_system_unsafe=kind in NETWORK_FILE_SYSTEMS,
            free_bytes=shutil.disk_usage(folder).free,
        )
        if schema.pending or schema.unknown:
            return engine, None
        try:
            connection = self.reader()
            try:
                connection.execute("BEGIN")
                return engine, self._statements.run(connection, operation)
            finally:
                connection.close()
        except apsw.Error as error:
            raise DatabaseError(f"cannot read {self.path}: {error}") from error

    def _migrate(self, connection: apsw.Connection) -> None:
        def run(name: str, **parameters: Any) -> Rows:
            return self._statements.rows(connection, Query(name, parameters))

        run("create_schema_version")
        pending = missing(
            applied_versions(self._statements, connection) or set(), load_migrations("sqlite"), database=str(self.path)
        )
        with connection:  # One transaction: a kill leaves all of them to the next start.
            for version, name, script in pending:
                connection.execute(script)
                run("insert_schema_version", version=version, now=self._statements.now())
                _log.info("schema.migrated version=%d name=%s", version, name)


def _keep_plans(connection: apsw.Connection) -> None:
    """Let no plan depend on the values of parameters (https://sqlite.org/queryplanner-ng.html#qpstab).

    Else SQLite compiles a statement with ``LIMIT :most`` again whenever it is executed, which takes several times as
    long as executing it.
    """
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def applied_versions(statements: FileStatements, connection: apsw.Connection) -> set[int] | None:
    """Return the versions of the migrations that were applied, or None if it is no database of fairlane."""
    if not statements.rows(connection, Query("has_schema_version", {}))[0][0]:
        return None
    return {row[0] for row in statements.rows(connection, Query("find_schema_versions", {}))}
