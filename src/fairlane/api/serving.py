"""What all endpoints share: the store, the application's task types, and whether new work is accepted now."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fairlane.api.lists import ReferenceLists
from fairlane.api.rates import SharedCounts
from fairlane.api.waiting import Waiting
from fairlane.errors import Unavailable
from fairlane.handlers import ServedType
from fairlane.outages import Outage
from fairlane.rules.deliveries import SenderState
from fairlane.settings import Settings, database_path, is_postgres
from fairlane.store import Store

if TYPE_CHECKING:
    from fairlane.tracing import Tracing

logger = logging.getLogger(__name__)

DISK_LOOK_SECONDS = 1.0

WebhookHost = Callable[[str, str], str]
"""Returns the host in a URL. Raises ValidationRefused at the field in the second argument if webhooks may not go
there."""


class Serving:
    """The state of one server that its endpoints share. ``drain`` is one-way."""

    def __init__(
        self,
        *,
        store: Store,
        settings: Settings,
        task_types: Mapping[str, ServedType],
        webhook_host: WebhookHost,
        lists: ReferenceLists,
        tracing: "Tracing | None" = None,
        worker_trouble: Callable[[], str | None] = lambda: None,
        sending: Callable[[], SenderState | None] = lambda: None,
    ) -> None:
        self.store = store
        self.settings = settings
        self.task_types = task_types
        self.webhook_host = webhook_host
        self.lists = lists
        self.tracing = tracing
        """None if traces are off."""
        self.worker_trouble = worker_trouble
        """Returns why no worker of this server's own can start, or None if one runs or is starting, or none is
        configured."""
        self.sending = sending
        """Returns the state of this server's sender of webhooks, or None if it has none."""
        self.waiting = Waiting(store)
        self.rates = SharedCounts(store)
        self.draining = False
        self._disk = (
            None
            if is_postgres(settings.database)
            else DiskFloor(database_path(settings.database).parent, settings.free_disk_floor_bytes)
        )
        """None for PostgreSQL: its operator watches its disk."""

    def drain(self) -> None:
        """Refuse new work from now on; requests about existing work are still answered."""
        self.draining = True
        self.waiting.drain()

    def admit(self) -> None:
        """Accept a request for new work.

        Raises:
            Unavailable: the server is stopping, or the database's disk is nearly full.
        """
        if self.draining:
            raise Unavailable()
        if self.disk_full():
            raise Unavailable()

    def disk_full(self) -> bool:
        """Return whether the database's disk has less free space than its floor; never for PostgreSQL."""
        return self._disk is not None and not self._disk.has_room()


class DiskFloor:
    """Whether a disk has more free space than a floor; checks at most once a second."""

    def __init__(self, folder: Path, floor_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._floor_bytes = floor_bytes
        self._free_bytes = 0
        self._clock = clock
        self._look_at = float("-inf")
        self._full = Outage(logger, "disk.filled", "disk.recovered", clock=clock)

    def has_room(self) -> bool:
        """Return the result of the last check."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + DISK_LOOK_SECONDS
            disk = os.statvfs(self._folder)
            self._free_bytes = disk.f_bavail * disk.f_frsize
        if self._free_bytes >= self._floor_bytes:
            self._full.succeed()
            return True
        self._full.fail(OSError(f"{self._free_bytes} bytes are free, the floor is {self._floor_bytes}"))
        return False
