"""What became of a commit without an answer: the numbers that one server writes into ``last_commit``.

Each transaction writes its number in the trip of its COMMIT. A question about a number takes it, so a transaction that
had not committed by then never will. PostgreSQL's own number of a transaction cannot tell: after a crash, and on a
promoted standby, it may be given to another transaction. Called by ``writing.py``.
"""

import secrets
from itertools import count

from fairlane.store.postgres.asking import Asking
from fairlane.store.postgres.connection import Connection
from fairlane.store.postgres.numbering import plain
from fairlane.store.statements import Query

COMMIT = plain("commit", "COMMIT")
ROWS = 64
"""Rows of a server. While an old snapshot is held, each change of a row visits all changes before it."""


class Commits:
    """The numbers of one server's transactions."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._server_id = secrets.token_hex(8)
        self._numbers = count(1)

    def number(self) -> int:
        """Return the number of the next transaction."""
        return next(self._numbers)

    def mark(self, connection: Connection, number: int) -> None:
        """Send a transaction's number, before its COMMIT."""
        self._send(connection, "mark_commit", number)

    def committed(self, connection: Connection, number: int, *, seconds: float) -> bool:
        """Return whether the transaction of this number was committed; if not, it can no longer commit.

        Call it in a transaction of its own, which this commits: the answer is as durable as a commit.

        Raises:
            psycopg.errors.LockNotAvailable: it is just being committed.
            TimeoutError, ConnectionResetError: there is no answer.
        """
        self._send(connection, "decide_commit", number)
        connection.send(COMMIT, [])
        connection.end_trip()
        *_, [(undone,)], _ = connection.answers(seconds)
        return not undone

    def _send(self, connection: Connection, statement: str, number: int) -> None:
        parameters = {"server_id": self._server_id, "remainder": number % ROWS, "number": number}
        for one, arguments in self._asking.sent(Query(statement, parameters)):
            connection.send(one, arguments)
