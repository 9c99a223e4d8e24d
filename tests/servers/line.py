"""A line between a server and its database that can be cut, or go silent, at any moment."""

import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit

OPEN, CUT, SILENT = "open", "cut", "silent"
PIECE = 65_536


class Line:
    """A TCP port that leads to a PostgreSQL while it is open."""

    def __init__(self, database: str) -> None:
        self._database = urlsplit(database)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.state = OPEN
        self.connected: list[float] = []
        """When each connection was made, or tried."""
        self._others: dict[socket.socket, socket.socket] = {}
        self._losing: threading.Event | None = None
        self._near: set[socket.socket] = set()
        self._over, self._waker = os.pipe()

    @property
    def address(self) -> str:
        """The database's address by this line."""
        who = self._database.netloc.rpartition("@")[0]
        netloc = f"{who}@127.0.0.1:{self._listening.getsockname()[1]}"
        return urlunsplit(self._database._replace(netloc=netloc, query=""))

    def lose(self) -> None:
        """The host vanishes, with all its transactions, and does not say a word; new connections work."""
        losing = self._losing = threading.Event()
        losing.wait()

    @contextmanager
    def laid(self) -> Iterator["Line"]:
        """Carry what is sent, both ways."""
        thread = threading.Thread(target=self._carry, name="tests-line")
        thread.start()
        try:
            yield self
        finally:
            os.write(self._waker, b"x")
            thread.join()
            os.close(self._waker)
            os.close(self._over)

    def _carry(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._over, selectors.EVENT_READ)
            ready.register(self._listening, selectors.EVENT_READ)
            while True:
                if self.state == CUT:
                    for one in list(self._others):
                        self._end(ready, one)
                if self._losing is not None:
                    for one in self._others:
                        ready.unregister(one)
                        if one not in self._near:
                            one.close()
                    self._others.clear()
                    self._losing.set()
                    self._losing = None
                for key, _ in ready.select(0.02):
                    if key.fileobj == self._over:
                        self._close(ready)
                        return
                    if key.fileobj is self._listening:
                        self._accept(ready)
                    elif self.state != SILENT:
                        self._pass_on(ready, key.fileobj)  # type: ignore[arg-type]
                if self.state == SILENT:
                    time.sleep(0.02)  # What came stays where it is.

    def _accept(self, ready: selectors.BaseSelector) -> None:
        near, _ = self._listening.accept()
        self.connected.append(time.monotonic())
        if self.state == CUT:
            near.close()
            return
        self._near.add(near)
        far = self._dial()
        for one, other in ((near, far), (far, near)):
            self._others[one] = other
            ready.register(one, selectors.EVENT_READ)

    def _dial(self) -> socket.socket:
        folder = parse_qs(self._database.query).get("host", [""])[0]
        if folder:
            far = socket.socket(socket.AF_UNIX)
            far.connect(f"{folder}/.s.PGSQL.{self._database.port or 5432}")
            return far
        return socket.create_connection((self._database.hostname, self._database.port or 5432))

    def _pass_on(self, ready: selectors.BaseSelector, one: socket.socket) -> None:
        other = self._others.get(one)
        if other is None:
            return
        try:
            piece = one.recv(PIECE)
            if piece:
                other.sendall(piece)
                return
        except OSError:
            pass
        self._end(ready, one)

    def _end(self, ready: selectors.BaseSelector, one: socket.socket) -> None:
        other = self._others.pop(one, None)
        for end in (one, other):
            if end is not None:
                self._others.pop(end, None)
                with suppress(KeyError, ValueError):
                    ready.unregister(end)
                end.close()

    def _close(self, ready: selectors.BaseSelector) -> None:
        for one in list(self._others):
            self._end(ready, one)
        for one in self._near:
            one.close()
        self._listening.close()
