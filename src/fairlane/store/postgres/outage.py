"""What this server knows of the database's health: whether it can be reached, answers, and takes writes.

One line in the log for each outage. Called by the rest of this room: by ``writing.py`` on the store thread, by the
others on the event loop.
"""

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

import psycopg

from fairlane.errors import StoreUnreachable
from fairlane.outages import Outage
from fairlane.store.postgres.asking import Asking, TransactionTry
from fairlane.store.postgres.connection import LOST
from fairlane.store.postgres.connector import Connector
from fairlane.store.postgres.lines import Line
from fairlane.store.statements import Query

_log = logging.getLogger("fairlane.store")

AWAY_SECONDS = 0.2
"""After a refused connection, no connection is tried for this long, so that a starting database is not overloaded."""
FULL_SECONDS = 1.0
"""The disk counts as recovered after a write that succeeds, if none was refused for this long."""
ANSWER_SECONDS = 1.8
"""Longest wait for a database that does not answer."""
SILENT_SECONDS = 1.2
"""A statement without an answer for this long means that the database does not answer."""
LOOK_AFTER_SECONDS = 0.5
"""A probe asks about a statement without an answer for this long, so that its answer is there in time."""
WORKING_SECONDS = 5.0
"""A statement that the database is seen to run may take this long, as its own limit allows: a batch of 32 MiB on a busy
machine."""
PROBE_SECONDS = 1.0
"""How long a probe may ask whether the database still runs that statement."""
WATCH_SECONDS = 0.1


class Health:
    """Whether the database can be reached, and whether its disk is full."""

    def __init__(self) -> None:
        self.unreachable = Outage(_log, "store.unreachable", "store.reached")
        self.full = Outage(_log, "disk.filled", "disk.recovered", quiet_seconds=FULL_SECONDS)
        self._away = False
        """Whether the last try to connect was refused."""
        self._turn_at = 0.0
        """When the next try to connect is allowed while the database is unreachable."""

    def take_turn(self) -> None:
        """Allow one try to connect at a time while the database is unreachable. Raise ConnectionRefusedError for the
        others."""
        if self._away:
            now = time.monotonic()
            if now < self._turn_at:
                raise ConnectionRefusedError("it could not be reached a moment ago")
            self._turn_at = now + AWAY_SECONDS

    def refused(self) -> None:
        """Note that a connection failed."""
        self._away, self._turn_at = True, time.monotonic() + AWAY_SECONDS

    def heard(self) -> None:
        """Note an answer of the database."""
        self._away = False
        self.unreachable.succeed()


class Attempting(Protocol):
    """What makes the attempts: the writer."""

    current: TransactionTry | None


class Watch:
    """Fails writes that have had no answer for too long, and cuts a connection that leads nowhere."""

    def __init__(self, health: Health, connector: Connector, asking: Asking, writer: Attempting) -> None:
        self._health = health
        self._connector = connector
        self._asking = asking
        self._writer = writer
        self._unanswered: deque[tuple[float, asyncio.Future[Any]]] = deque()
        """Writes, oldest first, with the time of arrival of each."""
        self._watched = False
        self._probe_at = 0.0
        """When the next probe is allowed after a statement without an answer."""
        self._probe: asyncio.Future[None] | None = None

    def add(self, answer: "asyncio.Future[Any]") -> None:
        """Watch over this write until it is answered."""
        self._unanswered.append((time.monotonic(), answer))
        if not self._watched:
            self._watched = True
            answer.get_loop().call_later(WATCH_SECONDS, self._look)

    async def stop(self) -> None:
        """End a probe that is under way."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])

    def _look(self) -> None:
        """Fail writes that have had no answer for ANSWER_SECONDS. Whether they were committed is unknown.

        Slowness alone is not a reason: an answer a moment ago lets all writes wait on, and so does a probe that saw the
        database run the statement.
        """
        now = time.monotonic()
        attempt = self._writer.current
        silent = attempt is not None and now - attempt.asked_at > SILENT_SECONDS
        if attempt is not None and now - attempt.asked_at > LOOK_AFTER_SECONDS and now > self._probe_at:
            self._probe_at = now + LOOK_AFTER_SECONDS
            if self._probe is None or self._probe.done():
                self._probe = asyncio.ensure_future(self._look_after(attempt))
        if attempt is not None and now - attempt.asked_at < WORKING_SECONDS:
            silent = silent and now - attempt.working_at > SILENT_SECONDS
        while self._unanswered:
            came_at, answer = self._unanswered[0]
            if not answer.done():
                if not silent or now - came_at < ANSWER_SECONDS:
                    break
                error = StoreUnreachable("the database does not answer")
                self._health.unreachable.fail(error)
                answer.set_exception(error)
            self._unanswered.popleft()
        self._watched = bool(self._unanswered)
        if self._watched:
            asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    async def _look_after(self, attempt: TransactionTry) -> None:
        """Ask on a new connection whether the database runs a statement that has no answer yet.

        If it does not, the old connection leads nowhere, for example because its host disappeared without closing it:
        it is cut once the statement has been without an answer for SILENT_SECONDS.
        """
        silent, asked_at = attempt.connection, attempt.asked_at
        if silent is None:
            return
        with suppress(*LOST, psycopg.Error):
            async with asyncio.timeout(PROBE_SECONDS):
                line = Line(await self._connector.connect_aside(seconds=PROBE_SECONDS))
                try:
                    asked: Query[Any] = Query("find_working", {"process": silent.process})
                    [working] = await line.ask(self._asking.sent(asked))
                finally:
                    line.close()
            if attempt.connection is not silent or attempt.asked_at != asked_at:
                return
            seconds = time.monotonic() - asked_at
            if working:
                attempt.working_at = time.monotonic()
            elif seconds > SILENT_SECONDS:
                # If the attempt goes on now, it loses a connection that works: it finds out what became of its
                # transaction, and begins again.
                _log.warning("connection.cut seconds=%.1f", seconds)
                silent.cut()
