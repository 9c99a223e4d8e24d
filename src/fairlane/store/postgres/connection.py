"""One connection to PostgreSQL that sends statements without waiting for the answers of those before.

Uses libpq's pipeline mode through ``psycopg.pq``. A *trip* is what is sent between two syncs: one round trip, and one
answer for each of its statements. The store thread waits for trips here; ``lines.py`` waits on an event loop. Knows no
transaction.
"""

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, pq

from fairlane.store.postgres.numbering import Arguments, NumberedStatement
from fairlane.store.statements import Rows

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

LOST = (
    OSError, errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.TooManyConnections,
    errors.IdleInTransactionSessionTimeout, errors.ReadOnlySqlTransaction, errors.FeatureNotSupported,
    errors.ConnectionException, errors.ConnectionDoesNotExist, errors.ConnectionFailure, errors.ProtocolViolation,
    errors.SqlserverRejectedEstablishmentOfSqlconnection, psycopg.InterfaceError,
)  # fmt: skip
"""Errors after which the connection is useless, but another one may work.

FeatureNotSupported is the error of a standby for READ WRITE, and of a prepared statement after a change of its table.
"""

_READ, _WRITE = select.POLLIN, select.POLLIN | select.POLLOUT
_LOADERS: dict[int, Callable[[bytes], Any]] = {
    **dict.fromkeys((20, 21, 23, 26), int),
    16: lambda value: value == b"t",
    701: float,
    1016: lambda value: [int(one) for one in value[1:-1].split(b",") if one],
}
"""By the ids of PostgreSQL's types: the integers, boolean, double precision, arrays of bigint. Others are texts."""

PLANS_SECONDS = 5.0
"""How long the server keeps the plans of prepared statements: they are made for the size that the tables have then."""
_FORGET_PLANS = b"DISCARD PLANS"

TripAnswer = list[Rows] | psycopg.Error
"""The rows of each statement of a trip, or the first error in it."""


class Connection:
    """A connection in pipeline mode. Only :meth:`cut` may be called from another thread."""

    def __init__(self, link: "PGconn", *, prepare: bool) -> None:
        """``prepare``: let the server keep each statement by its name from its first use on."""
        self._link = link
        self._prepare = prepare
        self._prepared: set[str] = set()
        self._plans_until = time.monotonic() + PLANS_SECONDS
        self._trip = _Trip()
        """What was sent since the last sync."""
        self._trips: deque[_Trip] = deque()
        """Trips that have no answer yet."""
        link.nonblocking = 1
        link.enter_pipeline_mode()
        self.process = link.backend_pid
        self.descriptor = link.socket
        self._socket = socket.socket(fileno=os.dup(link.socket))
        self._poll = select.poll()
        self._poll.register(self.descriptor, _READ)

    @property
    def closed(self) -> bool:
        """Return whether it is known to be useless."""
        return self._link.status != pq.ConnStatus.OK

    def send(self, statement: NumberedStatement, arguments: Arguments) -> None:
        """Send a statement; its rows are part of the next trip's answer."""
        link, name = self._link, statement.name.encode()
        encoded = [None if one is None else one.encode() for one in arguments]
        with _translated():
            if not self._prepare:
                link.send_query_params(statement.sql.encode(), encoded)
            else:
                if statement.name not in self._prepared:
                    link.send_prepare(name, statement.sql.encode())
                    self._prepared.add(statement.name)
                    self._trip.expected.append(statement.name)
                link.send_query_prepared(name, encoded)
        self._trip.expected.append(statement)

    def flush(self) -> bool:
        """Pass to the system what it takes now; return whether something is left."""
        with _translated():
            return bool(self._link.flush())

    def end_trip(self) -> None:
        """End a trip: :meth:`taken` will return its answer."""
        with _translated():
            if self._prepare and time.monotonic() > self._plans_until:
                self._plans_until = time.monotonic() + PLANS_SECONDS
                self._link.send_query_params(_FORGET_PLANS, None)
                self._trip.expected.append("")
            self._link.pipeline_sync()
        self._trips.append(self._trip)
        self._trip = _Trip()

    def read(self) -> None:
        """Take what the system has received."""
        with _translated():
            self._link.consume_input()

    def taken(self) -> TripAnswer | None:
        """Return the answer of the oldest trip, or None if it is not complete yet.

        Raises:
            ConnectionResetError: the connection is lost.
        """
        link, nothing = self._link, 0
        with _translated():
            while self._trips and not link.is_busy():
                result, trip = link.get_result(), self._trips[0]
                if result is None:
                    nothing += 1
                    if nothing > 1:
                        raise trip.error or ConnectionResetError(_words(link.get_error_message()))
                    continue
                nothing = 0
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    self._trips.popleft()
                    self._prepared.difference_update(trip.unprepared)
                    return trip.rows if trip.error is None else trip.error
                trip.add(result)
        return None

    def answers(self, seconds: float) -> list[Rows]:
        """Wait for the answer of the oldest trip; return the rows of its statements.

        Raises:
            psycopg.Error: one of the statements failed.
            TimeoutError, ConnectionResetError: there is no answer.
        """
        deadline = time.monotonic() + seconds
        unsent = self.flush()
        while (answer := self.taken()) is None:
            self._poll.modify(self.descriptor, _WRITE if unsent else _READ)
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
                raise TimeoutError("the database does not answer")
            self.read()
            unsent = unsent and self.flush()
        if isinstance(answer, psycopg.Error):
            raise answer
        return answer

    def ask(self, statement: NumberedStatement, arguments: Arguments, seconds: float) -> Rows:
        """Run a statement, with what was sent before it, and return its rows."""
        self.send(statement, arguments)
        self.end_trip()
        return self.answers(seconds)[-1]

    def end_with(self, statement: NumberedStatement, seconds: float) -> None:
        """Run a statement after all that was sent before it, and drop the answers to that.

        Raises:
            TimeoutError, ConnectionResetError: there is no answer.
        """
        self.end_trip()
        self.send(statement, [])
        self.end_trip()
        while self._trips:
            with suppress(psycopg.Error):
                self.answers(seconds)

    def notifications(self) -> Iterator[tuple[int, str]]:
        """Yield the process and the payload of each notification that was received."""
        while (one := self._link.notifies()) is not None:
            yield one.be_pid, one.extra.decode()

    def cut(self) -> None:
        """Let every wait for this connection fail. Any thread may call it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close it; the server ends its transaction."""
        self._link.finish()
        self._socket.close()


class _Trip:
    """The statements between two syncs, and what the server said of them until now."""

    __slots__ = ("error", "expected", "rows", "unprepared")

    def __init__(self) -> None:
        self.expected: deque[NumberedStatement | str] = deque()
        """A statement, or the name of one that is being prepared; empty for what has neither a name nor rows."""
        self.rows: list[Rows] = []
        self.error: psycopg.Error | None = None
        self.unprepared: list[str] = []

    def add(self, result: "PGresult") -> None:
        statement = self.expected.popleft() if self.expected else ""
        if result.status == pq.ExecStatus.FATAL_ERROR and self.error is None:
            self.error = _error_of(result)
        if self.error is not None:
            self.unprepared += [statement] if isinstance(statement, str) else []
        elif isinstance(statement, NumberedStatement):
            self.rows.append(_rows_of(result, statement) if statement.answers else [])


def connected(address: str, *, seconds: float, prepare: bool, primary: bool = True) -> Connection:
    """Connect, in the calling thread. ``primary``: only to a server that accepts changes.

    Raises:
        TimeoutError, ConnectionRefusedError: it did not work.
    """
    wanted = {"target_session_attrs": "read-write" if primary else "any", "client_encoding": "UTF8"}
    conninfo = psycopg.conninfo.make_conninfo(address, **wanted).encode()
    deadline, polled = time.monotonic() + seconds, select.poll()
    link = pq.PGconn.connect_start(conninfo)
    try:
        while (state := link.connect_poll()) != pq.PollingStatus.OK:
            if state == pq.PollingStatus.FAILED:
                raise ConnectionRefusedError(_words(link.get_error_message()))
            # The descriptor changes when the next host of the address is tried.
            descriptor = link.socket
            polled.register(descriptor, select.POLLIN if state == pq.PollingStatus.READING else select.POLLOUT)
            if not polled.poll(max(0.0, deadline - time.monotonic()) * 1_000):
                raise TimeoutError("the connection was not made in time")
            polled.unregister(descriptor)
        return Connection(link, prepare=prepare)
    except psycopg.OperationalError as error:
        link.finish()
        raise ConnectionRefusedError(_words(str(error))) from error
    except BaseException:
        link.finish()
        raise


@contextmanager
def _translated() -> Iterator[None]:
    """Raise ConnectionResetError for what libpq says of a connection that is lost."""
    try:
        yield
    except psycopg.OperationalError as error:
        if error.sqlstate is not None:
            raise
        raise ConnectionResetError(_words(str(error))) from error


def _error_of(result: "PGresult") -> psycopg.Error:
    error = errors.error_from_result(result)
    if error.sqlstate is None:
        raise ConnectionResetError(_words(str(error)))
    return error


def _words(message: str) -> str:
    return " ".join(message.split()) or "the connection was lost"


def _rows_of(result: "PGresult", statement: NumberedStatement) -> Rows:
    get = result.get_value
    if statement.packed:
        return [(get(0, 0),)]
    columns = [(place, _loader(result.ftype(place))) for place in range(result.nfields)]
    return [
        tuple([None if (value := get(row, place)) is None else load(value) for place, load in columns])
        for row in range(result.ntuples)
    ]


def _loader(kind: int) -> Callable[[bytes], Any]:
    return _LOADERS.get(kind, bytes.decode)
