"""Connections to one address, and what is wrong with an address that gives none.

Called by the rest of this room.
"""

import asyncio
import re
import threading
from urllib.parse import urlsplit

import psycopg

from fairlane.connecting import REFUSED, UNKNOWN_HOST
from fairlane.errors import DatabaseError
from fairlane.settings import without_password
from fairlane.store.postgres.connection import LOST, Connection, connected

CONNECT_SECONDS = 5.0
UNUSABLE = (*LOST, ValueError, psycopg.Error)
"""Errors that mean that the database cannot be opened."""


class Connector:
    """Connects to one address."""

    def __init__(self, address: str, *, prepare: bool) -> None:
        """``prepare``: let the server keep statements from their first use on, for each connection."""
        self.address = address
        self._prepare = prepare

    @property
    def name(self) -> str:
        """Return the address without its password."""
        return without_password(self.address)

    def connect(self, *, seconds: float, primary: bool = True) -> Connection:
        """Connect, in the calling thread. ``primary``: only to a server that accepts changes.

        After a failover an address may lead to a standby for a while.

        Raises:
            TimeoutError, ConnectionRefusedError: it did not work.
        """
        return connected(self.address, seconds=seconds, prepare=self._prepare, primary=primary)

    async def connect_aside(self, *, seconds: float, primary: bool = True) -> Connection:
        """Connect in another thread, so that the event loop goes on."""
        made: list[Connection] = []
        given_up = threading.Event()

        def connect() -> Connection:
            made.append(self.connect(seconds=seconds, primary=primary))
            if given_up.is_set():
                made[0].close()
            return made[0]

        try:
            return await asyncio.to_thread(connect)
        except asyncio.CancelledError:
            given_up.set()
            for connection in made:
                connection.close()
            raise

    def unusable(self, error: BaseException) -> DatabaseError:
        """Return the error for a database that cannot be opened because of this one."""
        said = " ".join(str(error).split()) or type(error).__name__
        unread = isinstance(error, ValueError | psycopg.ProgrammingError) and getattr(error, "sqlstate", None) is None
        if unread or not _readable(self.address):
            # The driver quotes what it cannot read, which may be the password.
            why = f" ({said})" if self.name == self.address else ""
            return DatabaseError(
                f"the address {self.name} cannot be read{why}: give postgresql://USER:PASSWORD@HOST:PORT/NAME"
            )
        return DatabaseError(f"cannot open {self.name}: {_plainer(said)}")

    def read_only(self) -> DatabaseError:
        """Return the error for a standby."""
        return DatabaseError(f"{self.name} is read-only: give the address of the primary")


def _readable(address: str) -> bool:
    """Return whether the address has the parts of a URL. An address of several hosts has none that can be read here."""
    try:
        parts = urlsplit(address)
        if parts.netloc.count("@") > 1 or re.search(":.*@", parts.path):
            return False  # The driver ends the user at another sign, and takes the password for a port or a name.
        return "," in parts.netloc or parts.port is None or parts.port > 0
    except ValueError:
        return "," in address.partition("://")[2].partition("/")[0]


def _plainer(said: str) -> str:
    """Return what the driver said of a connection, in words for the person at the terminal."""
    if "Connection refused" in said:
        return REFUSED
    if "failed to resolve host" in said or "could not translate host name" in said:
        return UNKNOWN_HOST
    return said
