"""The store: durable memory with domain verbs. All access to the database goes through it.

``Store`` opens and closes the database and has one object for each noun: ``store.tasks.submit`` is in ``tasks.py``.
When a method returns, the change is committed and synced; a refusal changed nothing. Called by ``api/``,
``dashboard/``, ``webhooks/``, ``app.py``, ``sweeper.py`` and ``cli/``; never by workers or clients.
"""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import uuid_utils

from fairlane.errors import DatabaseError, StoreFault
from fairlane.model.diagnosis import Content, DatabaseFacts
from fairlane.model.tasks import Catalogue
from fairlane.settings import Settings, database_path, is_postgres
from fairlane.store import inspection, moving
from fairlane.store.alerts import AlertStore
from fairlane.store.attempts import AttemptStore
from fairlane.store.backups import BackupStore
from fairlane.store.bulks import BulkStore
from fairlane.store.calls import CallStore
from fairlane.store.config import Config
from fairlane.store.credits import CreditStore
from fairlane.store.dashboard import DashboardStore
from fairlane.store.database import Database
from fairlane.store.deliveries import DeliveryStore
from fairlane.store.effects import Effects
from fairlane.store.erasing import ErasingStore
from fairlane.store.failed_starts import FailedStartStore
from fairlane.store.failures import FailureStore
from fairlane.store.fleet import FleetStore
from fairlane.store.hints import Hints
from fairlane.store.jumps import JumpStore
from fairlane.store.keys import KeyStore
from fairlane.store.lanes import LaneStore
from fairlane.store.leases import LeaseStore
from fairlane.store.logouts import LogoutStore
from fairlane.store.maintenance import MaintenanceStore
from fairlane.store.memory import Memory
from fairlane.store.months import MonthStore
from fairlane.store.moving import Moved, MoveProgress
from fairlane.store.noun import Shared
from fairlane.store.organizations import OrganizationStore
from fairlane.store.overview import OverviewStore
from fairlane.store.plans import PlanStore
from fairlane.store.pulses import PulseStore
from fairlane.store.rates import RateStore
from fairlane.store.recount import RecountStore
from fairlane.store.schema import Schema
from fairlane.store.sealing import seal_of
from fairlane.store.sessions import SessionStore
from fairlane.store.slots import SlotStore
from fairlane.store.sqlite import SqliteDatabase
from fairlane.store.statements import wall_clock
from fairlane.store.tasks import TaskStore
from fairlane.store.trail import TrailStore
from fairlane.store.type_limits import TypeLimitStore
from fairlane.store.type_usage import TypeUsageStore
from fairlane.store.upkeep import UpkeepStore
from fairlane.store.usage import UsageStore
from fairlane.store.waits import WaitStore
from fairlane.store.webhook_hosts import WebhookHostStore
from fairlane.store.webhook_secrets import WebhookSecretStore

if TYPE_CHECKING:
    from fairlane.store.postgres.wakeups import WakeUps

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


class Store:
    """One open database, with an object for each noun."""

    def __init__(self, settings: Settings, catalogue: Catalogue, *, now: Callable[[], int] | None = None) -> None:
        """Take ``now`` as the clock in tests; with None use the database's clock."""
        config = Config(
            catalogue=catalogue,
            new_id=new_id,
            new_fences=new_fences,
            retry_pause_ms=int(settings.retry_pause_seconds * 1_000),
            kill_grace_ms=int(settings.kill_grace_seconds * 1_000),
            renew_ms=int(settings.renew_seconds * 1_000),
            claim_most=min(max(CLAIM_BYTES // settings.payload_limit_bytes, 1), CLAIM_MOST),
        )
        self.hints = Hints()
        """Local listeners to the effects of commits."""
        database = self._adapter(settings, now)
        self.wakeups = self._wakeups_of(settings)
        """What sends hints to other servers; None with SQLite."""
        self.shared = shared = Shared(database, config, Memory())
        """What the nouns have, for an operation that has no method."""
        self._database = database
        self._seal = seal_of(settings.secret_key)
        self.now: Callable[[], int] = database.now
        """The database's clock, estimated."""
        self.keys = KeyStore(shared)
        self.alerts = AlertStore(shared)
        self.attempts = AttemptStore(shared)
        self.backups = BackupStore(shared)
        self.bulks = BulkStore(shared)
        self.calls = CallStore(shared)
        self.credits = CreditStore(shared)
        self.dashboard = DashboardStore(shared)
        self.deliveries = DeliveryStore(shared, pauses_ms=settings.webhook_pauses_ms())
        self.erasing = ErasingStore(shared, forget_keys=self.keys.forget_callers)
        self.failed_starts = FailedStartStore(shared)
        self.failures = FailureStore(shared)
        self.fleet = FleetStore(shared)
        self.jumps = JumpStore(shared)
        self.lanes = LaneStore(shared)
        self.leases = LeaseStore(shared)
        self.logouts = LogoutStore(shared)
        self.maintenance = MaintenanceStore(shared)
        self.months = MonthStore(shared)
        self.organizations = OrganizationStore(shared, forget_keys=self.keys.forget_callers)
        self.overview = OverviewStore(shared)
        self.plans = PlanStore(shared, forget_keys=self.keys.forget_callers)
        self.pulses = PulseStore(shared)
        self.rates = RateStore(shared)
        self.recount = RecountStore(shared)
        self.sessions = SessionStore(shared)
        self.slots = SlotStore(shared)
        self.tasks = TaskStore(shared)
        self.trail = TrailStore(shared)
        self.type_limits = TypeLimitStore(shared)
        self.type_usage = TypeUsageStore(shared)
        self.upkeep = UpkeepStore(shared, retention_ms=int(settings.retention_seconds * 1_000))
        self.usage = UsageStore(shared, retention_ms=int(settings.usage_retention_seconds * 1_000))
        self.waits = WaitStore(shared)
        self.webhook_hosts = WebhookHostStore(shared)
        self.webhook_secrets = WebhookSecretStore(shared, seal=self._seal)

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
        except StoreFault as fault:
            await store.close()
            raise DatabaseError.of(fault) from fault
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
    async def look(cls, settings: Settings) -> tuple[DatabaseFacts, Content | None]:
        """Return facts about the database, and its content if its tables are those of this release.

        Changes nothing, and works while another server owns the database.

        Raises:
            DatabaseError: it cannot be reached or read.
            SetupError: the key for secrets cannot be used.
        """
        store = cls(settings, {})
        return await store._database.look(inspection.look(store._seal.open))

    async def move(self, target: Settings, *, progress: MoveProgress) -> Moved:
        """Copy everything into an empty PostgreSQL database, in one transaction: all or nothing.

        Before that, leases of the stopped installation return to their queues, as at a restart. A kill leaves the
        target without rows, and this database in the state after a server's start.

        Raises:
            DatabaseError: the target cannot be used, is not empty, or its rows differ from the source.
        """
        source, filled = self._database.file, Store(target, {})._database.target
        assert source is not None
        assert filled is not None
        try:
            returned = await self.sessions.return_local_leases()
        except StoreFault as fault:
            raise DatabaseError.of(fault) from fault
        return await moving.carry(source, filled, returned=returned, progress=progress)

    async def close(self) -> None:
        """Finish the accepted requests and close the database."""
        if self.wakeups is not None:
            await self.wakeups.stop()
        await self._database.close()

    def wake_others(self) -> None:
        """Exchange commit hints with the other servers on this database.

        Waiting requests also poll once a second, so a lost hint costs at most a second. Has no effect on SQLite, which
        has one server.
        """
        if self.wakeups is not None:
            self.wakeups.start()

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
        file = self._database.file
        return () if file is None else (file.lock_fd,)

    def describe(self, text: str) -> None:
        """Write a line to the lock file that says how to reach this server, if there is one."""
        if self._database.file is not None:
            self._database.file.describe(text)

    async def _prepare(self) -> None:
        await self.organizations.recall_virtual_time()
        await self.type_limits.declare()
        await self.plans.create_default()

    def _adapter(self, settings: Settings, now: Callable[[], int] | None) -> Database:
        if not is_postgres(settings.database):
            path = database_path(settings.database)
            return SqliteDatabase(path, now=now or wall_clock, tell=self._tell)
        try:
            from fairlane.store.postgres import PostgresDatabase
        except ImportError as error:
            raise DatabaseError("the database is PostgreSQL: install fairlane[postgres]") from error
        return PostgresDatabase(settings.database, now=now, prepare=settings.pg_prepare != "off", tell=self._tell)

    def _wakeups_of(self, settings: Settings) -> "WakeUps | None":
        if not is_postgres(settings.database) or settings.pg_notify == "off":
            return None
        from fairlane.store.postgres.wakeups import WakeUps

        address = settings.database if settings.pg_notify == "on" else settings.pg_notify
        return WakeUps(address, tell=self.hints.tell)

    def _tell(self, effects: Effects) -> None:
        self.hints.tell(effects)
        if self.wakeups is not None:
            self.wakeups.send(effects)


__all__ = ["Store", "new_id"]
