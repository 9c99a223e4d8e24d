"""Wake-ups between servers on one PostgreSQL: hints of commits, sent by NOTIFY on a connection of its own.

Never inside a business transaction, because a commit that notifies takes a lock of the whole PostgreSQL. Hints of
several commits are sent together, at most once in a few milliseconds. All of them may be lost: polling once a second is
enough for every promise, this is only for speed. Started by servers; other programs that open the store send nothing.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from fairlane.store.effects import Effects, payloads, read_payload
from fairlane.store.postgres.connector import CONNECT_SECONDS, Connector
from fairlane.store.postgres.lines import Line
from fairlane.store.postgres.numbering import numbered, plain
from fairlane.store.statements import load_statements

_log = logging.getLogger("fairlane.store")

CHANNEL = "fairlane"
TOGETHER_SECONDS = 0.02
"""How long hints are collected after a notification before the next one is sent."""
LISTEN = plain("listen", f"LISTEN {CHANNEL}")
FORGET = plain("forget", "SET synchronous_commit = off")
"""It writes nothing that could be lost."""
ANSWER_SECONDS = 5.0
CHECK_SECONDS = 20.0
"""A connection without messages for this long is tested."""
AGAIN_SECONDS = 1.0
"""Pause before a lost connection is opened again, plus or minus a half."""


class WakeUps:
    """One server's connection for sending and receiving hints."""

    def __init__(self, address: str, *, tell: Callable[[Effects], None]) -> None:
        """``address`` must lead to the database itself: a pooler in transaction mode does not pass notifications on.

        ``tell`` is called on the event loop with the effects at other servers.
        """
        self._connector = Connector(address, prepare=False)
        self._tell = tell
        self._statement = numbered(load_statements("postgres")["notify"])
        self._said = Effects()
        self._something = asyncio.Event()
        self._listening = False
        self._connected_before = True
        self._task: asyncio.Task[None] | None = None

    @property
    def listening(self) -> bool:
        """Return whether notifications of other servers arrive now."""
        return self._listening

    def start(self) -> None:
        """Connect, and stay connected. Call it while the event loop runs."""
        self._task = asyncio.create_task(self._run(), name="wakeups")

    async def stop(self) -> None:
        """Disconnect and send no more hints."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def send(self, effects: Effects) -> None:
        """Send effects to the other servers, soon; drop them while the connection is lost."""
        if self._listening and effects.for_others():
            self._said.add(effects)
            self._something.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._converse()
            except Exception as error:  # noqa: BLE001 - without wake-ups this server only polls; the loop must go on
                # One line for an outage, not one for each second.
                if self._connected_before:
                    _log.warning("wakeups.lost error=%s message=%r", type(error).__name__, str(error))
                self._connected_before = False
            # All servers lose their connections at the same time.
            await asyncio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, guards nothing

    async def _converse(self) -> None:
        """Send and receive hints until the connection is lost, which raises."""
        connection = await self._connector.connect_aside(seconds=CONNECT_SECONDS, primary=False)
        line = Line(connection, ended=self._something.set)
        try:
            line.received = lambda: self._hear(line)
            async with asyncio.timeout(ANSWER_SECONDS):
                await line.ask([(FORGET, []), (LISTEN, [])])
            self._listening = True
            if not self._connected_before:
                _log.info("wakeups.listening")
            self._connected_before = True
            while True:
                await self._wait()
                said, self._said = self._said, Effects()
                async with asyncio.timeout(ANSWER_SECONDS):
                    arguments = self._statement.arguments({"channel": CHANNEL, "payloads": payloads(said)})
                    await line.ask([(self._statement, arguments)])
                await asyncio.sleep(TOGETHER_SECONDS)
        finally:
            self._listening = False
            self._said = Effects()
            line.close()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                await self._something.wait()
        self._something.clear()

    def _hear(self, line: Line) -> None:
        for sender, payload in line.notifications():
            if sender != line.process:
                self._tell(read_payload(payload))
