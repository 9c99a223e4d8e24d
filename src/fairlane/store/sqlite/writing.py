"""Transactions, on the store thread: one connection, group commit, a log that stays short.

A request is answered after its commit is on disk. After a failed sync nothing more is written: see StoreBroken.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import apsw

from fairlane.errors import Refusal, StoreBroken, StoreFault, StoreUnreachable
from fairlane.outages import Outage
from fairlane.store.batching import PendingWrite, by_operation
from fairlane.store.effects import Effects
from fairlane.store.sqlite.asking import FileStatements
from fairlane.store.sqlite.opening import BUSY_MS

_log = logging.getLogger("fairlane.store")

FULL_SECONDS = 1.0
"""The disk counts as recovered after a write that succeeds, if none was refused for this long."""
CHECKPOINT_PAGES = 8_000
"""From this length of the log on, each commit copies pages into the file that no reader needs any more."""
LOG_PAGES_MOST = 64_000
"""From this length of the log on (a page has 4 KiB), a commit waits until no reader needs the log, so that the log can
restart. Otherwise overlapping readers would let it grow without limit."""
LOG_WAIT_MS = 100
"""How long such a commit waits. If that fails, long reads are ended."""


class FileWriter:
    """The connection that writes."""

    def __init__(
        self,
        statements: FileStatements,
        *,
        broken: Callable[[], None],
        release_log: Callable[[], None],
        log_is_needed: Callable[[], bool],
    ) -> None:
        """``broken`` is called when this process can write nothing more, ``release_log`` when readers keep the log too
        long. While ``log_is_needed`` no commit waits for the log to restart."""
        self._statements = statements
        self._tell_broken = broken
        self._release_log = release_log
        self._log_is_needed = log_is_needed
        self.full = Outage(_log, "disk.filled", "disk.recovered", quiet_seconds=FULL_SECONDS)
        self._broken: BaseException | None = None
        """The disk error, or the error that ended the store thread."""
        self._log_pages = 0
        """Length of the log after the last commit."""
        self._log_wait_at = 0.0
        """Before this moment no commit waits for readers again."""

    def open(self, connection: apsw.Connection) -> None:
        """Write with this connection."""
        self.connection = connection
        connection.set_wal_hook(self._logged)  # replaces the automatic checkpoint: see _shorten_log

    def close(self) -> None:
        """Copy the log into the file and close."""
        if self._broken is not None:
            # The next process reads the log again, from the disk.
            self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close()

    def transact(self, requests: list[PendingWrite]) -> tuple[list[Any], Effects]:
        """Run requests in one transaction; return the answer to each, and the effects of all."""
        if self._broken is not None:
            raise StoreBroken("the database failed before; the server has to start again") from self._broken
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            answers: dict[int, Any] = {}
            effects = Effects()
            for operation, members in by_operation(requests):
                asked = operation(effects, [request.member for request in members])
                results = self._statements.run(self.connection, asked)
                answers |= {id(request): result for request, result in zip(members, results, strict=True)}
            self.connection.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, apsw.IOError | apsw.CorruptError | apsw.NotADBError):
                # After a failed sync it is unknown what is on disk.
                self.break_off(error)
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, apsw.FullError):
                self._copy_log()
            raise
        if self._log_pages:
            self.full.succeed()
        self._shorten_log()
        return [answers[id(request)] for request in requests], effects

    def break_off(self, error: BaseException) -> None:
        """Refuse every write from now on; the process has to end."""
        if self._broken is None:
            self._broken = error
            _log.critical("store.broken error=%s message=%r", type(error).__name__, str(error))
            self._tell_broken()

    def translated(self, error: Exception) -> Exception:
        """Return the caller's error for a failed transaction."""
        if isinstance(error, Refusal | StoreFault) or not isinstance(error, apsw.Error):
            return error
        if isinstance(error, apsw.FullError):
            self.full.fail(error)
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

    def _shorten_log(self) -> None:
        """Copy pages of the log into the file if it is long, or each byte is needed: so its place is used again."""
        pages, self._log_pages = self._log_pages, 0
        if pages >= CHECKPOINT_PAGES or self.full.going_on:
            now = time.monotonic()
            self._copy_log(waits=pages >= LOG_PAGES_MOST and now >= self._log_wait_at and not self._log_is_needed())

    def _copy_log(self, *, waits: bool = False) -> None:
        """Copy what no reader needs into the file. Committed transactions stay committed even if this fails."""
        try:
            if waits:
                self.connection.set_busy_timeout(LOG_WAIT_MS)
            self.connection.wal_checkpoint(
                mode=apsw.SQLITE_CHECKPOINT_RESTART if waits else apsw.SQLITE_CHECKPOINT_PASSIVE
            )
        except apsw.BusyError:
            self._log_wait_at = time.monotonic() + 10 * LOG_WAIT_MS / 1_000
            self._release_log()
        except apsw.FullError:
            pass  # the next commit gets the same error, and reports it to its caller
        except apsw.IOError as error:
            self.break_off(error)
        finally:
            if waits:
                self.connection.set_busy_timeout(BUSY_MS)
