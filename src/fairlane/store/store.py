"""The store: durable memory with domain verbs. All access to the database goes through it.

Each method is one operation, one transaction. When it returns, the change is committed and synced; a refusal changed
nothing. Opening, closing, migrating and looking are here, all other methods are in ``doors/``, one file per caller.
Called by ``api/``, ``dashboard/``, ``webhooks/``, ``app.py``, ``sweeper.py`` and ``cli/``; never by workers or clients.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import uuid_utils

from fairlane.errors import DatabaseError, NameTaken
from fairlane.model.diagnosis import Content, Engine
from fairlane.model.organizations import DEFAULT_PLAN
from fairlane.model.tasks import Catalogue
from fairlane.settings import Settings, database_path, is_postgres
from fairlane.store import looking, moving, organizations, type_limits
from fairlane.store.database import Database
from fairlane.store.doors.callers import CallerDoor
from fairlane.store.doors.customers import CustomerDoor
from fairlane.store.doors.operators import OperatorDoor
from fairlane.store.doors.registry import RegistryDoor
from fairlane.store.doors.sender import SenderDoor
from fairlane.store.doors.sweeper import SweeperDoor
from fairlane.store.doors.workers import WorkerDoor
from fairlane.store.hints import Hints
from fairlane.store.listeners import Listeners
from fairlane.store.memory import Memory
from fairlane.store.moving import Moved, Progress
from fairlane.store.schema import Schema
from fairlane.store.sqlite import SqliteDatabase
from fairlane.store.statements import wall_clock

if TYPE_CHECKING:
    from fairlane.store.wakeups import WakeUps

DEFAULT_SLOTS = 10
DEFAULT_QUEUE_LIMIT = 100_000
DEFAULT_WEIGHT = 1
CLAIM_MOST = 1_000
CLAIM_BYTES = 2**28
"""A claim's payloads travel as one value, which must fit even if each payload has the largest size."""


def new_id() -> str:
    """Return a time-ordered UUID that cannot be guessed."""
    return str(uuid_utils.uuid7())


def new_fences(count: int) -> list[str]:
    """Return ``count`` fences of 16 hex digits, from one call to the secure random source."""
    text = secrets.token_hex(8 * count)
    return [text[start : start + 16] for start in range(0, len(text), 16)]


class Store(CustomerDoor, CallerDoor, WorkerDoor, SenderDoor, RegistryDoor, OperatorDoor, SweeperDoor):
    """The facade over one open database: all its doors."""

    def __init__(self, settings: Settings, catalogue: Catalogue, *, now: Callable[[], int] | None = None) -> None:
        """Take ``now`` as the clock in tests; with None use the database's clock."""
        memory = Memory(
            catalogue,
            new_id=new_id,
            new_fences=new_fences,
            retry_pause_ms=int(settings.retry_pause_seconds * 1_000),
            kill_grace_ms=int(settings.kill_grace_seconds * 1_000),
            renew_ms=int(settings.renew_seconds * 1_000),
            claim_most=min(max(CLAIM_BYTES // settings.payload_limit_bytes, 1), CLAIM_MOST),
        )
        self.listeners = Listeners(memory)
        """Local subscribers for commit hints."""
        database = self._adapter(settings, now)
        self._wakeups = self._wakeups_of(settings)
        super().__init__(settings, database, memory)

    @classmethod
    async def open(
        cls, settings: Settings, catalogue: Catalogue, *, now: Callable[[], int] | None = None, migrates: bool = True
    ) -> "Store":
        """Open the database, create or migrate it, and create the default plan if it is missing.

        With ``migrates`` False an older schema is refused, because other servers may use it, and nothing is created.

        Raises:
            DatabaseOwned: another server owns the file.
            DatabaseError: it cannot be opened.
            SetupError: the key for secrets cannot be used.
        """
        store = cls(settings, catalogue, now=now)
        await store._database.open(migrates=migrates)
        try:
            await store._prepare()
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    async def schema(cls, settings: Settings) -> Schema:
        """Return the schema version of a database. Changes nothing, and works while another server owns the database.

        Raises:
            DatabaseError: it cannot be reached or read.
        """
        return await cls(settings, {})._database.inspect()

    @classmethod
    async def migrate(cls, settings: Settings) -> Schema:
        """Upgrade a database's tables, as the start of a server does; return the schema as it was before.

        Raises:
            DatabaseOwned: a migration is pending, and another server owns the file.
            DatabaseError: it cannot be reached or changed, or its schema is newer.
        """
        store = cls(settings, {})
        before = await store._database.inspect()
        if before.pending or before.unknown:
            await store._database.open()
            await store._database.close()
        return before

    @classmethod
    async def look(cls, settings: Settings) -> tuple[Engine, Content | None]:
        """Return facts about the database, and its content if its tables are those of this release.

        Changes nothing, and works while another server owns the database.

        Raises:
            DatabaseError: it cannot be reached or read.
            SetupError: the key for secrets cannot be used.
        """
        store = cls(settings, {})
        return await store._database.look(looking.look(store._seal.open))

    async def move(self, target: Settings, *, progress: Progress) -> Moved:
        """Copy everything into an empty PostgreSQL database, in one transaction: all or nothing.

        Before that, leases of the stopped installation return to their queues, as at a restart. A kill leaves the
        target without rows, and this database in the state after a server's start.

        Raises:
            DatabaseError: the target cannot be used, is not empty, or its rows differ from the source.
        """
        assert isinstance(self._database, SqliteDatabase)
        returned = await self.return_local_leases()
        other: Any = Store(target, {})._database
        return await moving.carry(self._database, other, returned=returned, progress=progress)

    async def close(self) -> None:
        """Finish the accepted requests and close the database."""
        if self._wakeups is not None:
            await self._wakeups.stop()
        await self._database.close()

    def wake_others(self) -> None:
        """Exchange commit hints with the other servers on this database.

        Waiting requests also poll once a second, so a lost hint costs at most a second. Has no effect on SQLite, which
        has one server.
        """
        if self._wakeups is not None:
            self._wakeups.start()

    def when_broken(self, told: Callable[[], None]) -> None:
        """Be told, on the event loop, when this process has to end: every write is refused with StoreBroken."""
        self._database.on_broken = told

    @property
    def exclusive(self) -> bool:
        """Return whether this server is the only one on the database."""
        return self._database.exclusive

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """Return descriptors for local workers to inherit: the ownership lock, if there is one."""
        return (self._database.lock_fd,) if self.exclusive else ()

    def describe(self, text: str) -> None:
        """Write a line to the lock file that says how to reach this server."""
        self._database.describe(text)

    async def _prepare(self) -> None:
        self._memory.picked(await self._database.read(organizations.find_virtual_time()))
        await self._write(partial(type_limits.declare_limits, self._memory.catalogue, alone=self.exclusive))
        if not any(plan.name == DEFAULT_PLAN for plan in await self.plans()):
            with suppress(NameTaken):
                await self.create_plan(
                    DEFAULT_PLAN,
                    slots=DEFAULT_SLOTS,
                    queue_limit=DEFAULT_QUEUE_LIMIT,
                    weight=DEFAULT_WEIGHT,
                    actor="fairlane",
                )

    def _adapter(self, settings: Settings, now: Callable[[], int] | None) -> Database:
        if not is_postgres(settings.database):
            path = database_path(settings.database)
            return SqliteDatabase(path, now=now or wall_clock, harvest=self.listeners.harvest, announce=self._announce)
        try:
            from fairlane.store.postgres import PostgresDatabase
        except ImportError as error:
            raise DatabaseError("the database is PostgreSQL: install fairlane[postgres]") from error
        return PostgresDatabase(
            settings.database, now=now, prepare=settings.pg_prepare != "off",
            harvest=self.listeners.harvest, announce=self._announce,
        )  # fmt: skip

    def _wakeups_of(self, settings: Settings) -> "WakeUps | None":
        if not is_postgres(settings.database) or settings.pg_notify == "off":
            return None
        from fairlane.store.wakeups import WakeUps

        address = settings.database if settings.pg_notify == "on" else settings.pg_notify
        return WakeUps(address, tell=self.listeners.tell)

    def _announce(self, hints: Hints) -> None:
        self.listeners.tell(hints)
        if self._wakeups is not None:
            self._wakeups.send(hints)


__all__ = ["Store", "new_id"]
