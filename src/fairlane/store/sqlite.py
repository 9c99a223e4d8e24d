"""The SQLite adapter: one file, one owner, one writer connection on one thread, group commit; several readers.

Runs store operations; the only file that imports apsw. A request is answered after its commit is on disk.
"""

import asyncio
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import apsw
import msgspec

from fairlane.errors import DatabaseError, DatabaseOwned, Refusal, StoreBroken, StoreFault, StoreUnreachable
from fairlane.model.diagnosis import DatabaseFacts
from fairlane.outages import Outage
from fairlane.scanning import PIECE_BYTES, items, string_of
from fairlane.store.batching import Answer, Batches, Member, PendingWrite, PluralOperation, by_operation
from fairlane.store.database import Table
from fairlane.store.effects import Effects
from fairlane.store.read_limits import ReadLimits
from fairlane.store.records import packed_record, packed_records, records
from fairlane.store.schema import Schema, compare, missing, refuse_newer, refuse_older
from fairlane.store.statements import (
    CLOCK,
    TOGETHER,
    Operation,
    Query,
    Result,
    Rows,
    load_migrations,
    load_patterns,
    load_statements,
    run_to_end,
)

_log = logging.getLogger("fairlane.store")

OLDEST_SQLITE = 3_051_003
"""3.51.3 fixes the race between a checkpoint and a commit that can corrupt a file in WAL mode."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"}
)


LONG_TEXTS = {
    "insert_tasks": ("tasks", 5),
    "insert_calls": ("calls", 4),
    "insert_outcomes": ("outcomes", 3),
    "end_calls": ("calls", 3),
}
"""By statement, the name of its set of rows, and the column that has a payload or a result."""
PART_BYTES = 4 * 1024 * 1024
"""Rows with longer texts than this together are passed in several parts."""
UNPACKED_BYTES = 1024 * 1024
"""Longer packed rows are decoded one by one."""
BUSY_MS = 2_000
READERS = 4
"""Threads for short reads of several statements, each with a connection of its own."""
LONG_READS = 4
"""Most long reads at once. They take turns on one thread, a step each, so that they use one processor at most."""
READ_WAIT_SECONDS = 1.5
"""How long a short read waits for its turn before it is answered 503."""
LONG_READ_WAIT_SECONDS = 10.0
"""How long a long read waits for its turn before it is answered 503."""
FULL_SECONDS = 1.0
"""The disk counts as recovered after a write that succeeds, if none was refused for this long."""
CHECKPOINT_PAGES = 8_000
"""From this length of the log on, each commit copies pages into the file that no reader needs any more."""
LOG_PAGES_MOST = 64_000
"""From this length of the log on (a page has 4 KiB), a commit waits until no reader needs the log, so that the log can
restart. Otherwise overlapping readers would let it grow without limit."""
LOG_WAIT_MS = 100
"""How long such a commit waits. If that fails, long reads are ended."""
LOG_BYTES_KEPT = 2**28
"""The log's file is truncated to this size once the log restarts."""
COPY_PAGES = 1_000
"""How many pages a backup copies at once; a page has 4 KiB."""
CopyProgress = Callable[[int, int], None]
"""Called with the number of copied pages and the number of all pages."""


class SqliteDatabase:
    """One open SQLite file."""

    exclusive = True
    target = None

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], int],
        tell: Callable[[Effects], None] = lambda _: None,
        lock_wait_seconds: float = 2.0,
    ) -> None:
        """For ``tell`` see :class:`Batches`."""
        self.path = path
        self.lock_fd = -1
        self.now = now
        self._lock_wait_seconds = lock_wait_seconds
        self._statements = load_statements("sqlite")
        self._batches = Batches(
            transact=self._transaction,
            # There is one writer, so operations of all kinds may share a transaction.
            split=lambda requests: [requests],
            translate=self._translated,
            tell=tell,
            broken=self._break,
        )
        self._broken: BaseException | None = None
        """The disk error, or the error that ended the store thread; after it this process writes nothing more."""
        self.on_broken: Callable[[], None] = lambda: None
        self._full = Outage(_log, "disk.filled", "disk.recovered", quiet_seconds=FULL_SECONDS)
        self._short = ThreadPoolExecutor(READERS, thread_name_prefix="fairlane-read")
        self._short_places = ReadLimits(READERS, each=READERS // 2, wait_seconds=READ_WAIT_SECONDS)
        self._readers: SimpleQueue[apsw.Connection] = SimpleQueue()
        """Connections for short reads; a thread takes one and puts it back."""
        self._long = ThreadPoolExecutor(1, thread_name_prefix="fairlane-long-read")
        self._long_places = ReadLimits(LONG_READS, each=1, wait_seconds=LONG_READ_WAIT_SECONDS)
        self._long_readers: SimpleQueue[apsw.Connection] = SimpleQueue()
        self._opened: list[apsw.Connection] = []
        """Connections that only read."""
        self._backups = 0
        """How many backups are running. Each needs the log from its own start on."""
        self._log_pages = 0
        """Length of the log after the last commit."""
        self._log_wait_at = 0.0
        """Before this moment no commit waits for readers again."""
        self._log_turns = 0
        """How many times long reads were told to release the log. A read that began before the last time ends."""
        self._closing = False

    # Opening and closing ---------------------------------------------------------------------------------------------

    async def open(self, *, migrates: bool = True) -> None:
        """Own the file, create or migrate it, start the store thread. Call it while the event loop runs.

        With ``migrates`` False an older schema or a path without tables is refused, and nothing is created.

        Raises:
            DatabaseOwned: another process owns it.
            DatabaseError: it cannot be opened safely.
        """
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            raise DatabaseError(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed")
        self._loop = asyncio.get_running_loop()
        if not migrates and not lock_path(self.path).exists():
            self._refuse_older()  # before the lock, which would leave its file beside a mistyped path
        try:
            _make_folder(self.path.parent)
            _refuse_network_file_system(self.path.parent)
            self._take_lock()
        except OSError as error:
            raise DatabaseError(f"cannot use {self.path}: {error.strerror}") from error
        try:
            self._writer = self._open_writer(migrates=migrates)
            self._opened = [self._open_reader() for _ in range(1 + READERS + LONG_READS)]
            self._reader, *others = self._opened
            for number, reader in enumerate(others):
                (self._readers if number < READERS else self._long_readers).put(reader)
        except (OSError, apsw.Error) as error:
            self._release_lock()
            raise DatabaseError(f"cannot open {self.path}: {error}") from error
        except DatabaseError:
            self._release_lock()
            raise
        self._batches.start()

    async def close(self) -> None:
        """Finish the accepted requests, copy the log into the file, release the file."""
        await self._batches.stop()
        self._closing = True  # long reads end after their present step
        await asyncio.to_thread(self._short.shutdown)
        await asyncio.to_thread(self._long.shutdown)
        for reader in self._opened:
            reader.close()
        if self._broken is not None:
            # The next process reads the log again, from the disk.
            self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self._writer.close()
        self._release_lock()

    @property
    def file(self) -> "SqliteDatabase":
        """Return itself: the database is a file."""
        return self

    @property
    def refusing(self) -> bool:
        """Return whether writes are refused because the disk is full."""
        return self._full.going_on

    def describe(self, text: str) -> None:
        """Write into the lock file how to reach the owner."""
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, text.encode(), 0)

    def _take_lock(self) -> None:
        """Take an exclusive lock on a file next to the database.

        Worker children inherit the descriptor. So the lock is free only when all children of the former owner have
        ended, which may take a moment after its end.
        """
        path = lock_path(self.path)
        self.lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up_at = time.monotonic() + self._lock_wait_seconds
        while True:
            try:
                fcntl.flock(self.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self.lock_fd, 0)
                return
            except BlockingIOError as error:
                if time.monotonic() > give_up_at:
                    owner = os.pread(self.lock_fd, 4096, 0).decode(errors="replace").strip()
                    os.close(self.lock_fd)
                    raise DatabaseOwned(
                        f"{self.path} is owned by another fairlane server{f' ({owner})' if owner else ''}; "
                        "one server owns a SQLite file: stop that one, or give another --database"
                    ) from error
                time.sleep(0.02)

    def _release_lock(self) -> None:
        self.describe("")
        os.close(self.lock_fd)

    def _open_writer(self, *, migrates: bool) -> apsw.Connection:
        if not migrates:
            self._refuse_older()
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(self.path), statementcachesize=200)
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
        if fresh:
            _sync_directory(self.path.parent)
        connection.execute("PRAGMA synchronous = FULL")
        # Replaces the automatic checkpoint: see _checkpoint.
        connection.set_wal_hook(self._logged)
        return connection

    def _open_reader(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=100)
        connection.set_busy_timeout(BUSY_MS)
        # Only the writer checkpoints: on older versions of SQLite two connections that do can corrupt the file.
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA mmap_size = 0")
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return connection

    def _refuse_older(self) -> None:
        refuse_older(self._inspect(), database=str(self.path))

    def _migrate(self, connection: apsw.Connection) -> None:
        def run(name: str, **parameters: Any) -> Rows:
            return self._rows(connection, Query(name, parameters))

        run("create_schema_version")
        applied = {row[0] for row in run("find_schema_versions")}
        pending = missing(applied, load_migrations("sqlite"), database=str(self.path))
        with connection:  # One transaction: a kill leaves all of them to the next start.
            for version, name, script in pending:
                connection.execute(script)
                run("insert_schema_version", version=version, now=self.now())
                _log.info("schema.migrated version=%d name=%s", version, name)

    async def inspect(self) -> Schema:
        """Return the version of its schema. Changes nothing, and works while another process owns the file.

        Raises:
            DatabaseError: it is not a readable database.
        """
        return await asyncio.to_thread(self._inspect)

    def _inspect(self) -> Schema:
        applied: set[int] = set()
        try:
            if self.path.exists() and self.path.stat().st_size:
                connection = self._open_reader()
                try:
                    if self._rows(connection, Query("has_schema_version", {}))[0][0]:
                        applied = {row[0] for row in self._rows(connection, Query("find_schema_versions", {}))}
                finally:
                    connection.close()
        except (OSError, apsw.Error) as error:
            raise DatabaseError(f"cannot read {self.path}: {error}") from error
        return compare(applied, load_migrations("sqlite"))

    async def look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        """Return the engine and, if its tables are those of this release, the operation's result on one snapshot.

        Changes nothing, and works while another process owns the file.

        Raises:
            DatabaseError: it is not a readable database.
        """
        return await asyncio.to_thread(self._look, operation)

    def _look(self, operation: Operation[Result]) -> tuple[DatabaseFacts, Result | None]:
        schema = self._inspect()
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
            connection = self._open_reader()
            try:
                connection.execute("BEGIN")
                return engine, self._run(connection, operation)
            finally:
                connection.close()
        except apsw.Error as error:
            raise DatabaseError(f"cannot read {self.path}: {error}") from error

    # Running operations ----------------------------------------------------------------------------------------------

    def write(
        self, operation: PluralOperation[Member, Answer], member: Member, *, weight: int = 1, alone: bool = False
    ) -> Awaitable[Answer]:
        """Run a plural operation with this member, in one transaction with all waiting requests.

        Answers once the commit is on disk. Raises the member's Refusal, or StoreFault.
        """
        return self._batches.put(operation, member, weight=weight, alone=alone)

    async def read(self, operation: Operation[Result]) -> Result:
        """Run an operation of one statement at once, on the committed state, without a change of thread."""
        try:
            return self._run(self._reader, operation)
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error

    async def snapshot(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a short operation of several statements on one snapshot, outside the event loop."""
        await self._short_places.take(share)
        reading = self._submit(self._short, self._read_snapshot, operation)
        reading.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._short_places.give, share))
        return await asyncio.wrap_future(reading)

    async def walk(self, operation: Operation[Result], *, share: Hashable = None) -> Result:
        """Run a long operation on one snapshot. Other long operations take turns between its statements."""
        await self._long_places.take(share)
        connection = self._long_readers.get_nowait()
        log_turns, step = self._log_turns, partial(self._in_long_thread, self._step, connection, operation)
        try:
            answer, found = await step(None)
            while found is not None:
                if self._log_turns != log_turns:
                    raise StoreUnreachable("a long read was broken off, because the log had grown too long")
                answer, found = await step(found)
            result: Result = answer
            return result
        finally:
            if not self._closing:
                # If the caller is gone, this runs after the step that still runs.
                letting_go = self._submit(self._long, self._let_go, connection)
                letting_go.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._long_places.give, share))

    async def _in_long_thread(self, action: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._submit(self._long, action, *arguments))

    def _submit(self, threads: ThreadPoolExecutor, action: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        if self._closing:
            raise StoreFault("the store is closed")
        return threads.submit(action, *arguments)

    def table_rows(self, table: Table) -> Iterator[Sequence[Any]]:
        """Yield every row of a table, in the order of its columns, from a connection of its own."""
        names = ", ".join(f'"{column}"' for column in table.columns)
        connection = self._open_reader()
        try:
            yield from connection.execute(load_patterns()["read_table"].format(columns=names, table=f'"{table.name}"'))
        except apsw.Error as error:
            raise DatabaseError(f"cannot read {table.name} of {self.path}: {error}") from error
        finally:
            connection.close()

    def _read_snapshot(self, operation: Operation[Result]) -> Result:
        connection = self._readers.get_nowait()
        try:
            connection.execute("BEGIN")
            try:
                return self._run(connection, operation)
            finally:
                connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error
        finally:
            self._readers.put(connection)

    def _step(
        self, connection: apsw.Connection, operation: Operation[Any], found: Rows | None
    ) -> tuple[Any, Rows | None]:
        """Run an operation up to its next statement and return the rows, or no rows and the answer when it has
        ended."""
        try:
            if found is None:
                connection.execute("BEGIN")
            try:
                query = next(operation) if found is None else operation.send(found)
            except StopIteration as stop:
                return stop.value, None
            return None, self._rows(connection, query)
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error

    def _let_go(self, connection: apsw.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        self._long_readers.put(connection)

    def _run(self, connection: apsw.Connection, operation: Operation[Result]) -> Result:
        return run_to_end(operation, partial(self._rows, connection))

    def _rows(self, connection: apsw.Connection, query: Query[Any]) -> Rows:
        if query.name == CLOCK:
            return [self.now()]
        if query.name == TOGETHER:
            return [self._rows(connection, one) for one in query.parameters["queries"]]
        statement = self._statements[query.name]
        if query.name in LONG_TEXTS:
            # It changes rows and returns none, so it may run in parts within the transaction.
            for part in _parts(query.parameters, *LONG_TEXTS[query.name]):
                connection.execute(statement.sql, part)
            return []
        parameters = {name: _plain(value) for name, value in query.parameters.items()}
        found: Rows = connection.execute(statement.sql, parameters).fetchall()
        return _unpacked(found[0][0], query.into) if statement.packed else records(found, query.into)

    # Backup ----------------------------------------------------------------------------------------------------------

    async def backup(self, target: Path, made: Callable[[int], Operation[None]], progress: CopyProgress) -> int:
        """Copy the committed state of one moment into a new file, without stopping other work; return the moment.

        The rows that ``made`` writes for that moment are in the copy alone. Raises DatabaseError.
        """
        self._backups += 1
        try:
            return await asyncio.to_thread(self._backup, target, made, progress)
        finally:
            self._backups -= 1

    def _backup(self, target: Path, made: Callable[[int], Operation[None]], progress: CopyProgress) -> int:
        source = None
        try:
            source = self._open_reader()
            # One read transaction for all steps: otherwise a commit in between would restart the copy.
            source.execute("BEGIN")
            source.execute("PRAGMA schema_version").fetchall()
            at = self.now()
            _copy(source, target, progress, lambda copy: self._run(copy, made(at)))
            return at
        except (OSError, apsw.Error) as error:
            raise DatabaseError(f"cannot write {target}: {error}") from error
        finally:
            if source is not None:
                source.close()

    def _stage(self, backup: Path, staged: Path, progress: CopyProgress) -> None:
        """Make a checked copy of a backup, with all sessions ended."""
        source = apsw.Connection(str(backup), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            if not self._rows(source, Query("has_schema_version", {}))[0][0]:
                raise DatabaseError(f"{backup} is no database of fairlane")
            applied: list[int] = [row[0] for row in self._rows(source, Query("find_schema_versions", {}))]
            refuse_newer(compare(applied, load_migrations("sqlite")), database=str(backup))
            _copy(source, staged, progress, lambda copy: self._rows(copy, Query("end_all_sessions", {})))
        finally:
            source.close()

    # The store thread ------------------------------------------------------------------------------------------------

    def _transaction(self, requests: list[PendingWrite]) -> tuple[list[Any], Effects]:
        if self._broken is not None:
            raise StoreBroken("the database failed before; the server has to start again") from self._broken
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            answers: dict[int, Any] = {}
            effects = Effects()
            for operation, members in by_operation(requests):
                results = self._run(self._writer, operation(effects, [request.member for request in members]))
                answers |= {id(request): result for request, result in zip(members, results, strict=True)}
            self._writer.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, apsw.IOError | apsw.CorruptError | apsw.NotADBError):
                # After a failed sync it is unknown what is on disk.
                self._break(error)
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        if self._log_pages:
            self._full.succeed()
        self._checkpoint()
        return [answers[id(request)] for request in requests], effects

    def _break(self, error: BaseException) -> None:
        """Refuse every write from now on; the process has to end."""
        if self._broken is None:
            self._broken = error
            _log.critical("store.broken error=%s message=%r", type(error).__name__, str(error))
            self._loop.call_soon_threadsafe(self.on_broken)

    def _translated(self, error: Exception) -> Exception:
        """Return the caller's error for a failed transaction."""
        if isinstance(error, Refusal | StoreFault) or not isinstance(error, apsw.Error):
            return error
        if isinstance(error, apsw.FullError):
            self._full.fail(error)
            fault: StoreFault = StoreUnreachable("the disk is full")
        elif self._broken is not None:
            fault = StoreBroken(f"the database failed: {type(error).__name__}: {error}")
        else:
            _log.error("store.failed error=%s message=%r", type(error).__name__, str(error))
            fault = StoreFault(f"the database refused: {type(error).__name__}: {error}")
        fault.__cause__ = error
        return fault

    def _logged(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Keep the log short. Committed transactions stay committed even if this fails."""
        pages, self._log_pages = self._log_pages, 0
        if pages < CHECKPOINT_PAGES:
            return
        now = time.monotonic()
        waits = pages >= LOG_PAGES_MOST and now >= self._log_wait_at and not self._backups
        try:
            if waits:
                self._writer.set_busy_timeout(LOG_WAIT_MS)
            self._writer.wal_checkpoint(
                mode=apsw.SQLITE_CHECKPOINT_RESTART if waits else apsw.SQLITE_CHECKPOINT_PASSIVE
            )
        except apsw.BusyError:
            self._log_wait_at = now + 10 * LOG_WAIT_MS / 1_000
            self._log_turns += 1
        except apsw.FullError:
            pass  # the next commit gets the same error, and reports it to its caller
        except apsw.IOError as error:
            self._break(error)
        finally:
            if waits:
                self._writer.set_busy_timeout(BUSY_MS)


# Backup and restore --------------------------------------------------------------------------------------------------


def restore_file(source: Path, target: Path, *, replace: bool, progress: CopyProgress) -> Path | None:
    """Put a copy of a backup in the place of a database that no server has open.

    The copy is checked before anything is moved, and every session in it is ended, because none of its workers is
    alive. With ``replace`` an existing database is moved aside, with its log. Returns its new path, or None if there
    was none.

    Raises:
        DatabaseOwned: a server has the database open.
        DatabaseError: the backup cannot be used, or a database exists and ``replace`` is false. Nothing was changed.
    """
    database = SqliteDatabase(target, now=lambda: 0)
    try:
        _make_folder(target.parent)
        database._take_lock()
    except OSError as error:
        raise DatabaseError(f"cannot use {target}: {error.strerror}") from error
    try:
        if target.exists() and not replace:
            raise DatabaseError(f"{target} is there already: give --replace to move it aside")
        staged = target.with_name(target.name + ".restoring")
        staged.unlink(missing_ok=True)
        database._stage(source, staged, progress)
        return _take_place(staged, target)
    except (OSError, apsw.Error) as error:
        raise DatabaseError(f"cannot restore {source}: {error}") from error
    finally:
        database._release_lock()


def _take_place(staged: Path, target: Path) -> Path | None:
    """Move the copy to its place. Nothing is deleted: the former database and its log are moved aside under one
    name."""
    aside = None
    if target.exists():
        aside = target.with_name(f"{target.name}.replaced-{time.time_ns()}")
        for ending in ("-wal", "-shm", ""):
            former = target.with_name(target.name + ending)
            if former.exists():
                former.rename(aside.with_name(aside.name + ending))
    staged.rename(target)
    _sync_directory(target.parent)
    return aside


def _copy(
    source: apsw.Connection, target: Path, progress: CopyProgress, complete: Callable[[apsw.Connection], object]
) -> None:
    """Make a copy that gets its name only once it is complete, changed by ``complete``, checked, and on disk."""
    if target.exists():
        raise DatabaseError(f"{target} is there already: give another path")
    partial = target.with_name(target.name + ".partial")
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        raise DatabaseError(f"{partial} is there: another backup is under way, or was broken off; remove it") from error
    try:
        copy = apsw.Connection(str(partial))
        try:
            with copy.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(COPY_PAGES)
                    progress(backup.page_count - backup.remaining, backup.page_count)
            # A single file that is complete by itself and can be moved.
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            complete(copy)
            found = copy.execute("PRAGMA integrity_check(1)").fetchall()[0][0]
        finally:
            copy.close()
        if found != "ok":
            raise DatabaseError(f"the copy is damaged, and so may be the database: {found}")
        _sync_file(partial)
        partial.rename(target)
        _sync_directory(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def lock_path(path: Path) -> Path:
    """Return the path of the lock file next to a database file."""
    return path.with_name(path.name + ".lock")


def _plain(value: Any) -> Any:
    """Return a set as one JSON text, which the statement unpacks with json_each; other values as they are."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | tuple) else value


def _parts(parameters: Mapping[str, Any], name: str, column: int) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a statement in as many parts as long texts in its rows need.

    During one call of the encoder no other thread runs, so long texts are written in pieces.
    """
    rows = parameters[name]
    plain = {other: _plain(value) for other, value in parameters.items() if other != name}
    if not any(len(row[column] or "") > PIECE_BYTES for row in rows):
        yield plain | {name: _plain(rows)}
        return
    part: list[bytes] = []
    size = 0
    for row in rows:
        length = len(row[column] or "")
        if part and size + length > PART_BYTES:
            yield plain | {name: (b"[%b]" % b",".join(part)).decode()}
            part, size = [], 0
        part.append(_long_row(row, column))
        size += length
    yield plain | {name: (b"[%b]" % b",".join(part)).decode()}


def _unpacked(text: str, into: type[Any] | None) -> Rows:
    if len(text) <= UNPACKED_BYTES:
        return packed_records(text, into)
    whole = text.encode()
    return [packed_record(whole[start:end], into) for start, end in items(whole, 1)]


def _long_row(row: tuple[Any, ...], long: int) -> bytes:
    text = row[long]
    written = None if text is None else msgspec.Raw(string_of(text))
    return msgspec.json.encode((*row[:long], written, *row[long + 1 :]))


def _make_folder(folder: Path) -> None:
    """Make a folder and its missing parents so that they survive a power cut."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for one in made:
        _sync_directory(one.parent)


def _sync_directory(folder: Path) -> None:
    _sync_file(folder)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_network_file_system(folder: Path) -> None:
    """Refuse network file systems: locks and the shared memory of WAL are not safe across hosts."""
    kind = file_system_of(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseError(
            f"{folder} is on a network file system ({kind}): SQLite is not safe there, use a local disk"
        )


def file_system_of(folder: Path) -> str:
    """Return the kind of file system of a folder, or an empty text if it is unknown."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return ""
    here, best, kind = str(folder.resolve()) + "/", "", ""
    for line in mounts.read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].rstrip("/") + "/"
        if here.startswith(point) and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind
