"""The SQLite adapter: one file, one owner, one writer connection on one thread, group commit.

Runs store operations; the only file that knows apsw. Whatever arrives while a transaction is in flight forms the next
one, so speed comes from batching and an idle store adds no delay. Nothing is answered before its commit is on disk.
"""

import asyncio
import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import msgspec

from fairlane.errors import DatabaseError, DatabaseOwned, Refusal, StoreFault
from fairlane.store.statements import CLOCK, Operation, Query, Rows, load_migrations, load_statements

_log = logging.getLogger("fairlane.store")

OLDEST_SQLITE = 3_051_003
"""3.51.3 mends the race between a checkpoint and a commit that can corrupt a file in WAL mode."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"}
)

TRANSACTION_WEIGHT = 1_000
"""A transaction takes no more members once it weighs this much (a task weighs 1)."""

PluralOperation = Callable[[Sequence[Any]], Operation]
"""Takes the members of many requests, yields one answer for each: a result, or a Refusal."""


@dataclass(slots=True)
class _Request:
    operation: PluralOperation
    member: Any
    weight: int
    answer: "asyncio.Future[Any]"


class SqliteDatabase:
    """One open SQLite file."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], int],
        harvest: Callable[[], Any],
        announce: Callable[[Any], None],
        lock_wait_seconds: float = 2.0,
    ) -> None:
        """``harvest`` runs on the store thread after each transaction, whatever became of it; what it returns is handed
        to ``announce`` on the event loop if the transaction was committed."""
        self.path = path
        self.lock_fd = -1
        self._now = now
        self._harvest = harvest
        self._announce = announce
        self._lock_wait_seconds = lock_wait_seconds
        self._statements = load_statements("sqlite")
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="fairlane-store", daemon=True)
        self._snapshots = ThreadPoolExecutor(1, thread_name_prefix="fairlane-snapshot")
        self._broken: BaseException | None = None
        self._closing = False

    # Opening and closing ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Own the file, create or migrate it, start the store thread. Call with the event loop running.

        Raises:
            DatabaseOwned: another process owns it.
            DatabaseError: it cannot be opened safely.
        """
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
            raise DatabaseError(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed")
        self._loop = asyncio.get_running_loop()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _refuse_network_file_system(self.path.parent)
            self._take_lock()
        except OSError as error:
            raise DatabaseError(f"cannot use {self.path}: {error.strerror}") from error
        try:
            self._writer = self._open_writer()
            self._reader = self._open_reader()
            self._snapshot = self._open_reader()
        except (OSError, apsw.Error) as error:
            self._release_lock()
            raise DatabaseError(f"cannot open {self.path}: {error}") from error
        except DatabaseError:
            self._release_lock()
            raise
        self._thread.start()

    async def close(self) -> None:
        """Finish what was accepted, fold the log into the file, give the file free."""
        self._closing = True
        self._requests.put(None)
        await asyncio.to_thread(self._thread.join)
        self._snapshots.shutdown(wait=True)
        self._snapshot.close()
        self._reader.close()
        self._writer.close()
        self._release_lock()

    def describe(self, text: str) -> None:
        """Write into the lock file how to reach the owner."""
        os.ftruncate(self.lock_fd, 0)
        os.pwrite(self.lock_fd, text.encode(), 0)

    def _take_lock(self) -> None:
        """An exclusive lock on a file beside the database. Worker children inherit the descriptor, so whoever obtains
        the lock knows that none of the former owner's children is alive; they need a moment to end after it."""
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

    def _open_writer(self) -> apsw.Connection:
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = apsw.Connection(str(self.path), statementcachesize=200)
        connection.set_busy_timeout(2_000)
        # EXTRA until the file and its name are safely on disk: FULL alone can lose a new database with the power.
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
            "wal_autocheckpoint = 8000",
        ):
            connection.execute(f"PRAGMA {pragma}")
        self._migrate(connection)
        if fresh:
            _sync_directory(self.path.parent)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _open_reader(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=100)
        connection.set_busy_timeout(2_000)
        # Only the writer checkpoints: two connections that do may corrupt the file on older versions of SQLite.
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA mmap_size = 0")
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return connection

    def _migrate(self, connection: apsw.Connection) -> None:
        def run(name: str, **parameters: Any) -> Rows:
            return self._rows(connection, Query(name, parameters))

        run("create_schema_version")
        current: int = run("find_schema_version")[0][0]
        migrations = load_migrations("sqlite")
        newest = migrations[-1][0]
        if current > newest:
            raise DatabaseError(
                f"{self.path} has schema version {current}, this fairlane knows {newest}: use the newer release"
            )
        for version, name, script in migrations:
            if version > current:
                with connection:
                    connection.execute(script)
                    run("insert_schema_version", version=version, now=self._now())
                _log.info("schema.migrated version=%d name=%s", version, name)

    # Running operations ----------------------------------------------------------------------------------------------

    def write(self, operation: PluralOperation, member: Any, *, weight: int = 1) -> Awaitable[Any]:
        """Run a plural operation with this member, in one transaction with whatever else is waiting.

        Answers once the commit is on disk. Raises the member's Refusal, or StoreFault.
        """
        if self._closing:
            raise StoreFault("the store is closed")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._requests.put(_Request(operation, member, weight, answer))
        return answer

    def read(self, operation: Operation) -> Any:
        """Run an operation of one statement here and now, on the committed state."""
        try:
            return self._run(self._reader, operation)
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error

    async def snapshot(self, operation: Operation) -> Any:
        """Run an operation of several statements on one snapshot, beside the event loop."""
        return await self._loop.run_in_executor(self._snapshots, self._read_snapshot, operation)

    def _read_snapshot(self, operation: Operation) -> Any:
        try:
            self._snapshot.execute("BEGIN")
            try:
                return self._run(self._snapshot, operation)
            finally:
                self._snapshot.execute("ROLLBACK")
        except apsw.Error as error:
            raise StoreFault(f"read failed: {error}") from error

    def _run(self, connection: apsw.Connection, operation: Operation) -> Any:
        found: Rows | None = None
        try:
            while True:
                query = next(operation) if found is None else operation.send(found)
                found = self._rows(connection, query)
        except StopIteration as stop:
            return stop.value

    def _rows(self, connection: apsw.Connection, query: Query) -> Rows:
        if query.name == CLOCK:
            return [(self._now(),)]
        statement = self._statements[query.name]
        parameters = {name: _plain(value) for name, value in query.parameters.items()}
        found: Rows = connection.execute(statement.sql, parameters).fetchall()
        if statement.packed:
            found = msgspec.json.decode(found[0][0])
        return found

    # The store thread ------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (first := self._requests.get()) is not None:
            requests, ended = self._gather(first)
            self._loop.call_soon_threadsafe(self._deliver, *self._commit(requests))
            if ended:
                return

    def _gather(self, first: _Request) -> tuple[list[_Request], bool]:
        """What waits now, up to the weight of one transaction; and whether the end was among it."""
        requests, weight = [first], first.weight
        while weight < TRANSACTION_WEIGHT:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                break
            if request is None:
                return requests, True
            requests.append(request)
            weight += request.weight
        return requests, False

    def _commit(self, requests: list[_Request]) -> tuple[list[tuple[_Request, Any]], list[Any]]:
        """Run requests in one transaction; if that fails, each alone, so that one request never fails another's."""
        try:
            answers = self._transaction(requests)
            return list(zip(requests, answers, strict=True)), [self._harvest()]
        except Exception as error:  # noqa: BLE001 - whatever it was, it is handed to whom it concerns
            self._harvest()
            if len(requests) == 1:
                return [(requests[0], self._translated(error))], []
        answered, harvests = [], []
        for request in requests:
            pairs, harvest = self._commit([request])
            answered += pairs
            harvests += harvest
        return answered, harvests

    def _transaction(self, requests: list[_Request]) -> list[Any]:
        if self._broken is not None:
            raise StoreFault("the database failed before; restart the server") from self._broken
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            answers: dict[int, Any] = {}
            for operation, members in _by_operation(requests):
                results = self._run(self._writer, operation([request.member for request in members]))
                answers |= {id(request): result for request, result in zip(members, results, strict=True)}
            self._writer.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, apsw.IOError | apsw.CorruptError | apsw.NotADBError):
                # After a failed sync nobody knows what is on disk: no further word of this process.
                self._broken = error
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        return [answers[id(request)] for request in requests]

    def _translated(self, error: Exception) -> Exception:
        """What the caller learns of a failed transaction."""
        if isinstance(error, Refusal | StoreFault):
            return error
        if not isinstance(error, apsw.Error):
            return error
        _log.error("store.failed error=%s message=%r", type(error).__name__, str(error))
        fault = StoreFault(f"the database refused: {type(error).__name__}: {error}")
        fault.__cause__ = error
        return fault

    def _deliver(self, answered: list[tuple[_Request, Any]], harvests: list[Any]) -> None:
        for request, answer in answered:
            if request.answer.done():
                continue  # the caller went away; what was committed stays committed
            if isinstance(answer, Exception):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        for harvest in harvests:
            self._announce(harvest)


def lock_path(path: Path) -> Path:
    """The lock file beside a database file."""
    return path.with_name(path.name + ".lock")


def _by_operation(requests: Iterable[_Request]) -> list[tuple[PluralOperation, list[_Request]]]:
    groups: dict[PluralOperation, list[_Request]] = {}
    for request in requests:
        groups.setdefault(request.operation, []).append(request)
    return list(groups.items())


def _plain(value: Any) -> Any:
    """Sets travel as one JSON text; the statement takes them apart with json_each."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | tuple) else value


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_network_file_system(folder: Path) -> None:
    """Locks and the shared memory of WAL are not safe across hosts."""
    mounts = Path("/proc/self/mountinfo")
    if not mounts.exists():
        return
    here, best, kind = str(folder.resolve()) + "/", "", ""
    for line in mounts.read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].rstrip("/") + "/"
        if here.startswith(point) and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseError(
            f"{folder} is on a network file system ({kind}): SQLite is not safe there, use a local disk"
        )
