"""Writes: transactions on the store thread, their locks, and what became of a commit.

A transaction sends what it can without waiting: BEGIN travels with the first query, changes travel with the query after
them, the last changes with COMMIT. A request is answered after its commit is known; if the answer of a commit is lost,
the writer asks the database for its outcome. Nothing depends on the state of a database session: a pooler may give each
transaction another one.
"""

import logging
import random
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import errors

from fairlane.errors import LocksHeld, StoreFault, StoreUnreachable
from fairlane.store.batching import TRY_SECONDS, PendingWrite, PluralOperation, by_operation
from fairlane.store.effects import Effects
from fairlane.store.postgres.asking import STATEMENT_SECONDS, Asking, TransactionTry, parts
from fairlane.store.postgres.commits import COMMIT, Commits
from fairlane.store.postgres.connection import LOST, Connection
from fairlane.store.postgres.connector import Connector
from fairlane.store.postgres.locks import LOCK, LOCK_FREE, HeldRows
from fairlane.store.postgres.numbering import plain
from fairlane.store.postgres.outage import Health
from fairlane.store.statements import TOGETHER, Query, Rows, run_to_end, wall_clock

_log = logging.getLogger("fairlane.store")

TRY_SECONDS_LEAST = 0.3
RESOLVE_SECONDS = 1.8
"""How long the writer asks for the outcome of a commit."""
PAUSE_SECONDS = 0.01
PAUSE_SECONDS_MOST = 0.2

BEGIN = plain("begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
ROLLBACK = plain("rollback", "ROLLBACK")
LOCK_TIMEOUT, LOCK_TIMEOUT_HURRIED = "150ms", "10ms"
LIMITS = {"statement": "5s", "idle": "5s"}
"""How long a statement may work, and how long a transaction may wait for its next statement."""

_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
"""Errors after which the transaction was undone and may be run again."""


class Writer:
    """One connection for changes. Runs on the store thread, except for :meth:`give_up`."""

    def __init__(self, connector: Connector, asking: Asking, health: Health) -> None:
        self._connector = connector
        self._asking = asking
        self._health = health
        self._commits = Commits(asking)
        self.connection: Connection | None = None
        self.current: TransactionTry | None = None
        self.locks = HeldRows()
        self._given_up = False
        """Whether the store is closed, and no longer waits for the database."""

    def transact(self, requests: list[PendingWrite]) -> tuple[Sequence[Any], Effects]:
        """Run the requests' operation until it is committed, or time is up. Run again only after a try that certainly
        changed nothing.

        Raises:
            LocksHeld: other transactions hold rows that it needs.
            StoreUnreachable: time is up.
        """
        [(operation, _)] = by_operation(requests)
        members = [request.member for request in requests]
        give_up_at = min(request.came_at for request in requests) + TRY_SECONDS
        pause = PAUSE_SECONDS
        while not self._given_up:
            try:
                done = self._try(operation, members, give_up_at)
            except (LocksHeld, errors.LockNotAvailable) as error:
                self.locks.hurry()
                raise LocksHeld("another transaction holds rows that this request needs") from error
            except (*_AGAIN, *LOST) as error:
                if time.monotonic() + pause > give_up_at:
                    if isinstance(error, LOST):
                        self._health.unreachable.fail(error, count=len(requests))
                    else:
                        _log.warning("store.busy error=%s message=%r", type(error).__name__, str(error))
                    raise StoreUnreachable(f"the database does not answer: {error}") from error
            else:
                self._health.heard()
                return done
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads load, guards nothing
            pause = min(2 * pause, PAUSE_SECONDS_MOST)
        raise StoreUnreachable("the store is closed, and the database does not answer")

    def give_up(self) -> None:
        """Wait no longer for a database that does not answer; the outcome of the last statement stays unknown."""
        self._given_up = True
        connection = self.connection
        if connection is not None:
            connection.cut()

    def end(self) -> None:
        """Disconnect."""
        if self.connection is not None:
            self.connection.close()

    def translated(self, error: Exception) -> Exception:
        """Return the caller's error for a failed transaction."""
        if isinstance(error, LocksHeld):
            self.locks.log(error)
        if not isinstance(error, psycopg.Error):
            return error
        if isinstance(error, errors.DiskFull):
            self._health.full.fail(error)
            fault: StoreFault = StoreUnreachable("the database's disk is full")
        else:
            _log.error("store.failed error=%s message=%r", type(error).__name__, str(error))
            fault = StoreFault(f"the database refused: {type(error).__name__}: {error}")
        fault.__cause__ = error
        return fault

    # One try ---------------------------------------------------------------------------------------------------------

    def _try(
        self, operation: PluralOperation[Any, Any], members: Sequence[Any], give_up_at: float
    ) -> tuple[Sequence[Any], Effects]:
        connection, effects = self._connected(give_up_at), Effects()
        attempt = self.current = TransactionTry(
            number=self._commits.number(), asked_at=time.monotonic(), connection=connection
        )
        try:
            attempt.hurried = self.locks.hurried()
            self.begin(connection, attempt)
            answers = run_to_end(operation(effects, members), lambda query: self.rows(connection, query, attempt))
        except Exception as error:
            # An error is an answer, too. Without this the rollback, and the pause until the next try, would count as
            # time in which the database does not answer.
            attempt.asked_at, attempt.connection = time.monotonic(), None
            if self.rolled_back(connection, error):
                if isinstance(error, errors.LockNotAvailable):
                    self._see_held(connection, attempt.locking)
                raise
            raise ConnectionResetError("the connection was lost before the commit") from error
        attempt.asked_at = time.monotonic()
        try:
            self.finish(connection, attempt)
        except Exception as error:
            attempt.asked_at, attempt.connection = time.monotonic(), None
            if self.rolled_back(connection, error):
                raise
            if attempt.changed and not self._committed(attempt.number):
                raise ConnectionResetError("the transaction was not committed") from error
        attempt.connection = None
        if attempt.changed:
            self._health.full.succeed()
        return answers, effects

    def begin(self, connection: Connection, attempt: TransactionTry) -> None:
        """Send BEGIN, in the trip of the first query."""
        limits = LIMITS | {"lock": LOCK_TIMEOUT_HURRIED if attempt.hurried else LOCK_TIMEOUT}
        connection.send(BEGIN, [])
        for statement, arguments in self._asking.sent(Query("limit_transaction", limits)):
            connection.send(statement, arguments)

    def finish(self, connection: Connection, attempt: TransactionTry) -> None:
        """Commit, together with the changes that were sent last, and with the number that tells of the commit."""
        if attempt.changed:
            self._commits.mark(connection, attempt.number)
        connection.ask(COMMIT, [], STATEMENT_SECONDS)

    def rows(self, connection: Connection, query: Query[Any], attempt: TransactionTry) -> Rows:
        """Run one query. Changes are only sent: if one of them fails, the next query or the commit raises its error."""
        attempt.locking = ()
        for one in parts(query):
            if one.name == LOCK and not (attempt.hurried and one.hurried):
                attempt.locking = one.parameters["ids"]
                self.locks.pass_by(attempt.locking)
        sent = self._asking.sent(query, hurried=attempt.hurried)
        for statement, arguments in sent:
            connection.send(statement, arguments)
            attempt.changed = attempt.changed or statement.changes
        if sent and not any(statement.answers for statement, _ in sent):
            return [[] for _ in parts(query)] if query.name == TOGETHER else []
        asked_at, answers = wall_clock(), []
        if sent:
            attempt.asked_at = time.monotonic()
            connection.end_trip()
            answers = connection.answers(STATEMENT_SECONDS)[-len(sent) :]
        return self._asking.found(query, answers, asked_at=asked_at)

    def _ask(self, connection: Connection, statement: str, attempt: TransactionTry, **parameters: Any) -> Rows:
        return self.rows(connection, Query(statement, parameters), attempt)

    def _see_held(self, connection: Connection, ids: Sequence[int]) -> None:
        """Note which of these organizations other transactions hold."""
        free = {row[0] for row in self._alone(connection, LOCK_FREE, ids=ids)} if ids else set()
        self.locks.see(ids, free)

    def _alone(self, connection: Connection, statement: str, **parameters: Any) -> Rows:
        """Run a statement outside of a transaction."""
        return self._ask(connection, statement, TransactionTry(), **parameters)

    # Connections, and what became of a commit ------------------------------------------------------------------------

    def _connected(self, give_up_at: float) -> Connection:
        if self.connection is not None and not self.connection.closed:
            return self.connection
        if self.connection is not None:
            self._drop(self.connection)
        self._health.take_turn()
        seconds = max(TRY_SECONDS_LEAST, give_up_at - time.monotonic())
        try:
            self.connection = self._connector.connect(seconds=seconds)
        except LOST:
            self._health.refused()
            raise
        return self.connection

    def rolled_back(self, connection: Connection, error: Exception) -> bool:
        """Undo the transaction that met this error. Return False if its connection is lost, and its state unknown."""
        if isinstance(error, LOST) or connection.closed:
            self._drop(connection)
            return False
        try:
            connection.end_with(ROLLBACK, STATEMENT_SECONDS)
        except (*LOST, psycopg.Error):
            self._drop(connection)
        return True

    def _drop(self, connection: Connection) -> None:
        self.connection = None
        connection.close()

    def _committed(self, number: int) -> bool:
        """Return whether a transaction was committed after its commit got no answer; if not, it can no longer commit.

        Raises:
            StoreUnreachable: the outcome is not known in time.
        """
        give_up_at = time.monotonic() + RESOLVE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                committed = self._outcome(number, give_up_at)
            except (*LOST, psycopg.Error):
                time.sleep(PAUSE_SECONDS_MOST / 4)
            else:
                _log.warning("commit.resolved fate=%s", "committed" if committed else "aborted")
                return committed
        _log.error("commit.unresolved")
        raise StoreUnreachable("the database did not say whether it committed")

    def _outcome(self, number: int, give_up_at: float) -> bool:
        connection = self._connected(give_up_at)
        try:
            self.begin(connection, TransactionTry())
            seconds = max(TRY_SECONDS_LEAST, give_up_at - time.monotonic())
            return self._commits.committed(connection, number, seconds=seconds)
        except Exception as error:
            self.rolled_back(connection, error)
            raise
