"""Copies of a file: made while a server works, and put back while none does."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from fairlane.errors import DatabaseError
from fairlane.store.schema import compare, refuse_newer
from fairlane.store.sqlite.asking import FileStatements
from fairlane.store.sqlite.disk import FileLock, sync
from fairlane.store.sqlite.opening import FileConnections, applied_versions
from fairlane.store.statements import Operation, Query, load_migrations

COPY_PAGES = 1_000
"""How many pages a backup copies at once; a page has 4 KiB."""
CopyProgress = Callable[[int, int], None]
"""Called with the number of copied pages and the number of all pages."""


def back_up(
    opening: FileConnections,
    statements: FileStatements,
    target: Path,
    made: Callable[[int], Operation[None]],
    progress: CopyProgress,
) -> int:
    """Copy the committed state of one moment, for :meth:`SqliteDatabase.backup`."""
    source = None
    try:
        source = opening.reader()
        # One read transaction for all steps: otherwise a commit in between would restart the copy.
        source.execute("BEGIN")
        source.execute("PRAGMA schema_version").fetchall()
        at = statements.now()
        _copy(source, target, progress, lambda copy: statements.run(copy, made(at)))
        return at
    except (OSError, apsw.Error) as error:
        raise DatabaseError(f"cannot write {target}: {error}") from error
    finally:
        if source is not None:
            source.close()


def restore_file(source: Path, target: Path, *, replace: bool, progress: CopyProgress) -> Path | None:
    """Put a copy of a backup in the place of a database that no server has open.

    The copy is checked before anything is moved, and every session in it is ended, because none of its workers is
    alive. With ``replace`` an existing database is moved aside, with its log. Returns its new path, or None if there
    was none.

    Raises:
        DatabaseOwned: a server has the database open.
        DatabaseError: the backup cannot be used, or a database exists and ``replace`` is false. Nothing was changed.
    """
    lock = FileLock(target)
    lock.take()
    try:
        if target.exists() and not replace:
            raise DatabaseError(f"{target} is there already: give --replace to move it aside")
        staged = target.with_name(target.name + ".restoring")
        staged.unlink(missing_ok=True)
        _stage(source, staged, progress)
        return _take_place(staged, target)
    except (OSError, apsw.Error) as error:
        raise DatabaseError(f"cannot restore {source}: {error}") from error
    finally:
        lock.release()


def _stage(backup: Path, staged: Path, progress: CopyProgress) -> None:
    """Make a checked copy of a backup, with all sessions ended."""
    statements = FileStatements(lambda: 0)
    source = apsw.Connection(str(backup), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        applied = applied_versions(statements, source)
        if applied is None:
            raise DatabaseError(f"{backup} is no database of fairlane")
        refuse_newer(compare(applied, load_migrations("sqlite")), database=str(backup))
        _copy(source, staged, progress, lambda copy: statements.rows(copy, Query("end_all_sessions", {})))
    finally:
        source.close()


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
    sync(target.parent)
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
        sync(partial)
        partial.rename(target)
        sync(target.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
