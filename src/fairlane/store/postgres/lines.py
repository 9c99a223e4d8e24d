"""A connection that an event loop waits for: any number of questions under way, answered in their order.

Called by ``reading.py`` and ``wakeups.py``, on one event loop.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import psycopg

from fairlane.store.postgres.asking import Sent
from fairlane.store.postgres.connection import Connection
from fairlane.store.statements import Rows


class Line:
    """One connection on the running event loop."""

    def __init__(self, connection: Connection, *, ended: Callable[[], None] = lambda: None) -> None:
        """``ended`` is called when the connection is lost or closed."""
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._waiting: deque[asyncio.Future[list[Rows]]] = deque()
        self.received: Callable[[], None] = lambda: None
        """Called when something was received."""
        self.closed = False
        self.process = connection.process
        self._loop.add_reader(connection.descriptor, self._ready)

    @property
    def pending(self) -> int:
        """Return how many questions have no answer yet."""
        return len(self._waiting)

    def ask(self, sent: Sequence[Sent]) -> "asyncio.Future[list[Rows]]":
        """Send these statements in one trip; return the future of the rows of each.

        The answer to a future that is done by then, because its read was given up, is dropped.
        """
        answer: asyncio.Future[list[Rows]] = self._loop.create_future()
        if self.closed:
            answer.set_exception(ConnectionResetError("the connection was lost"))
            return answer
        self._waiting.append(answer)
        try:
            for statement, arguments in sent:
                self._connection.send(statement, arguments)
            self._connection.end_trip()
            self._flush()
        except OSError as error:
            self.close(error)
        return answer

    def tell(self, sent: Sequence[Sent]) -> None:
        """Send these statements; nothing waits for their answer."""
        self.ask(sent).add_done_callback(_heard)

    def alive(self) -> bool:
        """Return whether it can be used, as far as this process can know."""
        if not self.closed and not self._waiting:
            self._ready()  # the end of an idle connection may have arrived just now
        return not self.closed

    def notifications(self) -> Iterator[tuple[int, str]]:
        """Yield the process and the payload of each notification that was received."""
        return self._connection.notifications()

    def close(self, error: BaseException | None = None) -> None:
        """Close it. What has no answer yet fails with this error."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._connection.descriptor)
        self._loop.remove_writer(self._connection.descriptor)
        self._connection.close()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(ConnectionResetError(str(error or "the connection was closed")))
        self._ended()

    def _flush(self) -> None:
        if self._connection.flush():
            self._loop.add_writer(self._connection.descriptor, self._ready)

    def _ready(self) -> None:
        try:
            self._loop.remove_writer(self._connection.descriptor)
            self._connection.read()
            self._flush()
            while (found := self._connection.taken()) is not None:
                answer = self._waiting.popleft()
                if answer.done():
                    continue
                if isinstance(found, psycopg.Error):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)
        except (OSError, psycopg.Error) as error:
            self.close(error)
        with contextlib.suppress(OSError):
            self.received()


def _heard(answer: "asyncio.Future[list[Rows]]") -> None:
    if not answer.cancelled():
        answer.exception()
