"""The store: durable memory with domain verbs. The only door to the database.

Each method is one operation, one transaction. What it answers is committed and synced; a refusal changed nothing.
Called by ``api/``, ``app.py`` and ``sweeper.py``; never by workers or clients.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import uuid_utils

from fairlane.errors import DatabaseError, KeyRefused, NameTaken, NotFound, Refusal, ValidationRefused
from fairlane.model.alerts import Alert, AlertChange, AlertRule
from fairlane.model.calls import Abandoned, Admitted, EndedCall, NewCall
from fairlane.model.diagnosis import Content, Engine
from fairlane.model.fleet import Fleet
from fairlane.model.insight import Slots, Wait
from fairlane.model.keys import Caller, Holder, InstallationKey, Key, KeyKind
from fairlane.model.leases import Completed, Exchange, ExchangeReply, LossReason, NewSession, SessionFacts
from fairlane.model.organizations import (
    DEFAULT_PLAN,
    AuditRow,
    Credits,
    Erased,
    Grant,
    Organization,
    OrganizationChange,
    Overrides,
    Plan,
    PlanChange,
)
from fairlane.model.simulation import Record, TracePage
from fairlane.model.status import Drift, Live, QueueStatus, Verified
from fairlane.model.tasks import Accepted, Catalogue, NewTask, TaskFacts, TaskList, TaskPage, TaskStatus, TaskView
from fairlane.model.usage import Usage, UsedInMonth
from fairlane.model.webhooks import Delivery, DueDelivery, Tried, Webhook, WebhookSecret
from fairlane.rules import Addressed, DeliveryLimits
from fairlane.settings import Settings, database_path, is_postgres
from fairlane.store import (
    alerts,
    audit,
    calls,
    credits,
    dashboard,
    deliveries,
    erasing,
    fleet,
    keys,
    leases,
    looking,
    months,
    moving,
    operations,
    organizations,
    plans,
    sessions,
    slots,
    tasks,
    type_limits,
    usage,
    waits,
    webhook_secrets,
)
from fairlane.store.batching import PluralOperation
from fairlane.store.calls import Abandonment, Named
from fairlane.store.hints import NOBODY, Hints
from fairlane.store.memory import Memory
from fairlane.store.moving import Moved, Progress
from fairlane.store.recent import Recent
from fairlane.store.schema import Schema
from fairlane.store.sealing import seal_of
from fairlane.store.sqlite import SqliteDatabase
from fairlane.store.statements import Operation, wall_clock
from fairlane.store.tasks import Submission

if TYPE_CHECKING:
    from fairlane.store.wakeups import WakeUps

DEFAULT_SLOTS = 10
DEFAULT_QUEUE_LIMIT = 100_000
DEFAULT_WEIGHT = 1
CALLERS_KEPT = 10_000
ERASING_STEPS = 20
"""How many steps of erasing one request waits for."""
KEY_LASTS_MS = 4_000
"""How long a key is remembered: one that another server revoked must be refused here within five seconds."""
CLAIM_MOST = 1_000
CLAIM_BYTES = 2**28
"""A claim's payloads travel as one value; even if each is of the largest size they must fit."""
MEMBER_BYTES = 2**14
"""So many bytes weigh as much in a transaction as one task does."""

Listener = Callable[[frozenset[str]], None]


def new_id() -> str:
    """A time-ordered UUID that nobody can guess."""
    return str(uuid_utils.uuid7())


def new_fences(count: int) -> list[str]:
    """So many times 16 hex digits from the secure source, in one call to it."""
    text = secrets.token_hex(8 * count)
    return [text[start : start + 16] for start in range(0, len(text), 16)]


class Database(Protocol):
    """What the facade needs of an adapter."""

    exclusive: bool
    lock_fd: int

    def now(self) -> int:
        """About what its clock says."""

    async def open(self) -> None:
        """Open it, create or migrate it. Raises DatabaseError, DatabaseOwned."""

    async def inspect(self) -> Schema:
        """How far its tables are; it need not be open, and nothing is changed. Raises DatabaseError."""

    async def close(self) -> None:
        """Finish what was accepted and give it free."""

    def describe(self, text: str) -> None:
        """Say how to reach the owner, if there is one."""

    async def look(self, operation: Operation) -> tuple[Engine, Any]:
        """The engine and, if its tables are ours, what this finds; it need not be open. Raises DatabaseError."""

    def write(self, operation: PluralOperation, member: Any, *, weight: int = 1, alone: bool = False) -> Awaitable[Any]:
        """Run a plural operation with this member and others of its kind. ``alone``: it has no kind."""

    async def read(self, operation: Operation) -> Any:
        """Run an operation of one statement on the committed state."""

    async def snapshot(self, operation: Operation) -> Any:
        """Run an operation of several statements on one snapshot."""


class Store:
    """The facade over one open database."""

    def __init__(self, settings: Settings, catalogue: Catalogue, *, now: Callable[[], int] | None = None) -> None:
        """``now``: a clock for tests; None is the database's own."""
        self._retention_ms = int(settings.retention_seconds * 1_000)
        self._usage_retention_ms = int(settings.usage_retention_seconds * 1_000)
        self.audited = 0
        """Organizations that the self-audit recounted since this server started."""
        self.differences = 0
        """Counts that it found to differ."""
        self._sampled_at: int | None = None
        """When the last sample of this server was begun; None: it has taken none."""
        self._memory = Memory(
            catalogue,
            new_id=new_id,
            new_fences=new_fences,
            retry_pause_ms=int(settings.retry_pause_seconds * 1_000),
            kill_grace_ms=int(settings.kill_grace_seconds * 1_000),
            renew_ms=int(settings.renew_seconds * 1_000),
            claim_most=min(max(CLAIM_BYTES // settings.payload_limit_bytes, 1), CLAIM_MOST),
        )
        self._database = self._adapter(settings, now)
        self.now: Callable[[], int] = self._database.now
        """About what the database's clock says."""
        self._callers: Recent[Caller] = Recent(self.now, lasts_ms=KEY_LASTS_MS, most=CALLERS_KEPT)
        """Working keys of organizations by digest. Every change of a key or an organization here empties it."""
        self._holders: Recent[Holder] = Recent(self.now, lasts_ms=KEY_LASTS_MS, most=CALLERS_KEPT)
        """The same of workers and operators."""
        self._listeners: list[Listener] = []
        self._pause_listeners: list[Callable[[int], None]] = []
        self._delivery_listeners: list[Callable[[], None]] = []
        self._call_listeners: list[Callable[[], None]] = []
        self._end_listeners: list[Listener] = []
        self._cancel_listeners: list[Listener] = []
        self._wakeups = self._wakeups_of(settings)
        self._seal = seal_of(settings.secret_key)
        self._submit = partial(tasks.submit, memory=self._memory)
        self._exchange = partial(leases.exchange, memory=self._memory)
        self._begin_calls = partial(calls.begin_calls, memory=self._memory)
        self._abandon_calls = partial(calls.abandon_calls, memory=self._memory)
        self._record_tries = partial(
            deliveries.record_tries, memory=self._memory, pauses_ms=settings.webhook_pauses_ms()
        )

    @classmethod
    async def open(cls, settings: Settings, catalogue: Catalogue, *, now: Callable[[], int] | None = None) -> "Store":
        """Open the database, create or migrate it, and make sure that the default plan is there.

        Raises:
            DatabaseOwned: another server owns the file.
            DatabaseError: it cannot be opened.
            SetupError: the key for secrets cannot be used.
        """
        store = cls(settings, catalogue, now=now)
        await store._database.open()
        try:
            await store._prepare()
        except BaseException:
            await store.close()
            raise
        return store

    @classmethod
    async def schema(cls, settings: Settings) -> Schema:
        """How far a database's tables are. Changes nothing, and may be asked of one that another server owns.

        Raises:
            DatabaseError: it cannot be reached or read.
        """
        return await cls(settings, {})._database.inspect()

    @classmethod
    async def migrate(cls, settings: Settings) -> Schema:
        """Bring a database's tables up to date, as the start of a server does; returns how far they were before.

        Raises:
            DatabaseOwned: there is something to apply, and another server owns the file.
            DatabaseError: it cannot be reached, may not be changed, or is newer.
        """
        store = cls(settings, {})
        before = await store._database.inspect()
        if before.pending or before.unknown:
            await store._database.open()
            await store._database.close()
        return before

    @classmethod
    async def look(cls, settings: Settings) -> tuple[Engine, Content | None]:
        """The database, and what is in it if its tables are those of this release. Changes nothing, and may be asked of
        one that another server owns.

        Raises:
            DatabaseError: it cannot be reached or read.
            SetupError: the key for secrets cannot be used.
        """
        store = cls(settings, {})
        return await store._database.look(looking.look(store._seal.open))

    async def move(self, target: Settings, *, progress: Progress) -> Moved:
        """Carry everything over into an empty PostgreSQL database, in one transaction: all of it or nothing.

        Leases of the installation that was stopped go back to their queues first, as at a restart. A kill leaves the
        target without rows and this database as a server's start would.

        Raises:
            DatabaseError: the target cannot be used, is not empty, or what arrived is not what left.
        """
        assert isinstance(self._database, SqliteDatabase)
        returned = await self.return_local_leases()
        other: Any = Store(target, {})._database
        return await moving.carry(self._database, other, returned=returned, progress=progress)

    def _adapter(self, settings: Settings, now: Callable[[], int] | None) -> "Database":
        if not is_postgres(settings.database):
            path = database_path(settings.database)
            return SqliteDatabase(path, now=now or wall_clock, harvest=self._harvest, announce=self._announce)
        try:
            from fairlane.store.postgres import PostgresDatabase
        except ImportError as error:
            raise DatabaseError("the database is PostgreSQL: install fairlane[postgres]") from error
        return PostgresDatabase(
            settings.database, now=now, prepare=settings.pg_prepare != "off",
            harvest=self._harvest, announce=self._announce,
        )  # fmt: skip

    def _wakeups_of(self, settings: Settings) -> "WakeUps | None":
        if not is_postgres(settings.database) or settings.pg_notify == "off":
            return None
        from fairlane.store.wakeups import WakeUps

        address = settings.database if settings.pg_notify == "on" else settings.pg_notify
        return WakeUps(address, tell=self._tell)

    async def _prepare(self) -> None:
        self._memory.picked(await self._database.read(organizations.find_virtual_time()))
        await self._write(type_limits.declare_limits, self._memory.catalogue)
        if not any(plan.name == DEFAULT_PLAN for plan in await self.plans()):
            with suppress(NameTaken):
                await self.create_plan(
                    DEFAULT_PLAN,
                    slots=DEFAULT_SLOTS,
                    queue_limit=DEFAULT_QUEUE_LIMIT,
                    weight=DEFAULT_WEIGHT,
                    actor="fairlane",
                )

    async def close(self) -> None:
        """Finish what was accepted and give the database free."""
        if self._wakeups is not None:
            await self._wakeups.stop()
        await self._database.close()

    def wake_others(self) -> None:
        """From now on tell the other servers on this database what a commit may mean for who waits there, and listen to
        them. Once a second whoever waits looks anyway. For a server; nothing happens where there can be no other."""
        if self._wakeups is not None:
            self._wakeups.start()

    @property
    def exclusive(self) -> bool:
        """Whether this server is the database's only one."""
        return self._database.exclusive

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """Descriptors for local workers to inherit: the ownership lock, if there is one."""
        return (self._database.lock_fd,) if self.exclusive else ()

    def describe(self, text: str) -> None:
        """Leave a line in the lock file that says how to reach this server."""
        self._database.describe(text)

    def subscribe(self, listener: Listener) -> None:
        """Be told on the event loop, after each commit, of task types that can start now. A hint; it may be lost."""
        self._listeners.append(listener)

    def subscribe_pauses(self, listener: Callable[[int], None]) -> None:
        """Be told, after a commit, of the moment at which a task that was paused becomes ready. A hint."""
        self._pause_listeners.append(listener)

    def subscribe_deliveries(self, listener: Callable[[], None]) -> None:
        """Be told, after a commit, that a delivery became due. A hint; it may be lost."""
        self._delivery_listeners.append(listener)

    def subscribe_calls(self, listener: Callable[[], None]) -> None:
        """Be told, after a commit, that a call ended that somebody waits for. A hint; it may be lost."""
        self._call_listeners.append(listener)

    def subscribe_ends(self, listener: Listener) -> None:
        """Be told, after each commit, the ids of tasks that ended with it. A hint; it may be lost."""
        self._end_listeners.append(listener)

    def subscribe_cancels(self, listener: Listener) -> None:
        """Be told, after a commit, which sessions hold leases that are to end. A hint; it may be lost."""
        self._cancel_listeners.append(listener)

    def _harvest(self) -> Hints:
        memory = self._memory
        hints = Hints(
            startable=frozenset(memory.startable),
            paused_until=memory.paused_until,
            owed=memory.owed,
            calls_ended=memory.calls_ended,
            # Most often there is nobody to tell.
            ended=frozenset(memory.ended) if self._end_listeners else NOBODY,
            canceled=frozenset(memory.canceled),
        )
        memory.startable.clear()
        memory.ended.clear()
        memory.canceled.clear()
        memory.paused_until = None
        memory.owed = False
        memory.calls_ended = False
        return hints

    def _announce(self, hints: Hints) -> None:
        self._tell(hints)
        if self._wakeups is not None:
            self._wakeups.send(hints)

    def _tell(self, hints: Hints) -> None:
        """Whoever waits at this server."""
        if hints.startable:
            for listener in self._listeners:
                listener(hints.startable)
        if hints.paused_until is not None:
            for pause_listener in self._pause_listeners:
                pause_listener(hints.paused_until)
        if hints.owed:
            for delivery_listener in self._delivery_listeners:
                delivery_listener()
        if hints.calls_ended:
            for call_listener in self._call_listeners:
                call_listener()
        if hints.ended:
            for end_listener in self._end_listeners:
                end_listener(hints.ended)
        if hints.canceled:
            for cancel_listener in self._cancel_listeners:
                cancel_listener(hints.canceled)

    async def _write(self, operation: Callable[..., Operation], *arguments: Any) -> Any:
        """Run an operation that is not plural, and raise what it refuses."""
        return await self._database.write(_one_by_one, partial(operation, *arguments), alone=True)

    # Customers -------------------------------------------------------------------------------------------------------

    async def caller(self, digest: str) -> Caller | None:
        """Whom the key with this SHA-256 digest (hex) speaks for; None: nobody."""
        known = self._callers.find(digest)
        if known is not None:
            return known
        mark = self._callers.mark()
        found: Caller | None = await self._database.read(keys.find_caller(digest))
        if found is not None:
            self._callers.keep(digest, found, mark)
        return found

    async def holder(self, digest: str) -> Holder | None:
        """Whom the worker or admin key with this SHA-256 digest (hex) lets in; None: nobody."""
        known = self._holders.find(digest)
        if known is not None:
            return known
        mark = self._holders.mark()
        found: Holder | None = await self._database.read(keys.find_holder(digest))
        if found is not None:
            self._holders.keep(digest, found, mark)
        return found

    def submit(
        self, organization_id: int, new: Sequence[NewTask], *, room: int = 0
    ) -> Awaitable[list[Accepted | Refusal]]:
        """Accept tasks; a verdict for each, in order. Accepted means durable. A refusal created nothing.

        With ``room`` the queue must have so many places before any of them is looked at: else QueueFull is raised.
        """
        return self._database.write(
            self._submit, Submission(organization_id, new, room), weight=_weight(task.payload for task in new)
        )

    async def failed_task(self, organization_id: int, reference: str) -> tuple[TaskView, str]:
        """A failed task by id or key, and its payload. Raises NotFound, or TaskNotFailed."""
        found: tuple[TaskView, str] = await self._database.snapshot(tasks.find_failed(organization_id, reference))
        return found

    async def list_tasks(
        self, organization_id: int, *, status: TaskStatus | None, cursor: str | None, most: int
    ) -> TaskList:
        """One page of an organization's tasks, newest first, at a constant cost however many there are."""
        page: TaskList = await self._database.snapshot(tasks.list_tasks(organization_id, status, cursor, most))
        return page

    async def ended_tasks(self, asked: Sequence[tuple[int, str]]) -> set[str]:
        """Which of these (organization, task) have ended."""
        ended: set[str] = await self._database.read(tasks.ended_tasks(asked))
        return ended

    async def cancel(self, organization_id: int, reference: str) -> TaskView:
        """End a task by id or key: queued ones at once; one that runs is asked to end. What it is from then on.

        Raises:
            NotFound: it is not there.
            TaskEnded: it ended before, and not by a cancel.
        """
        canceled: TaskView = await self._write(tasks.cancel, organization_id, reference, self._memory)
        return canceled

    async def clear(self, organization_id: int) -> int:
        """Forget every task that is queued now, in chunks that let others in between; returns how many there were."""
        chunk: tasks.Cleared = await self._write(tasks.clear, organization_id, None, self._memory)
        total = chunk.count
        while chunk.more:
            chunk = await self._write(tasks.clear, organization_id, chunk.before, self._memory)
            total += chunk.count
        return total

    async def status(self, organization_id: int) -> QueueStatus:
        """One organization's queue and slots, exact, in constant time. Raises KeyRefused if it is not there.

        While nobody vouches for the counters the two counts are taken from the rows.
        """
        status: QueueStatus | None = await self._database.read(tasks.status(organization_id))
        if status is None:
            raise KeyRefused
        if status.concurrency is None:
            status = await self._database.snapshot(tasks.counted_status(organization_id))
            assert status is not None
        return status

    async def task(self, organization_id: int, reference: str) -> TaskView | None:
        """The organization's task with this id, else with this idempotency key; None: there is none."""
        found: TaskView | None = await self._database.read(tasks.find_task(organization_id, reference))
        return found

    async def credits(self, organization_id: int) -> Credits:
        """What an organization may spend, exact. Raises KeyRefused if it is not there."""
        found: Credits = await self._database.read(credits.find_credits(organization_id))
        return found

    async def wait(self, organization_id: int, reference: str) -> Wait | None:
        """Why the task with this id, else with this idempotency key, is where it is; None: there is none."""
        found: Wait | None = await self._database.snapshot(waits.find_wait(organization_id, reference, self._memory))
        return found

    async def slots(self, organization_id: int, *, after: str, most: int) -> Slots:
        """Who holds the organization's slots, up to ``most`` beyond the task ``after``. Raises KeyRefused."""
        found: Slots = await self._database.snapshot(slots.find_slots(organization_id, after, most))
        return found

    async def verified_status(self, organization_id: int) -> Verified:
        """The status, and what differs from the rows it counts, in one snapshot. Raises KeyRefused.

        Costs a walk over the organization's queue.
        """
        verified: Verified = await self._database.snapshot(audit.verified_status(organization_id))
        return verified

    # Calls -----------------------------------------------------------------------------------------------------------

    async def begin_call(self, new: NewCall) -> Admitted:
        """Give a call its slot at once. Nothing is left behind by a refusal.

        Raises:
            ConcurrencyFull: its organization has no free slot, or its task type no room.
            Unavailable: its organization is paused, or its limit cannot be read.
            KeyRefused: its organization is disabled or gone.
            CreditsShort: the part of its balance that nothing else holds does not cover the cost.
        """
        admitted: Admitted = await self._database.write(self._begin_calls, new, weight=_weight([new.payload]))
        return admitted

    async def abandon_call(self, organization_id: int, call_id: str, *, running: bool = True) -> Abandoned:
        """Nobody waits for this call any more: it ends at once, or with its attempt. Says which.

        ``running`` False: one that a worker has is left alone.
        """
        one = Abandonment(organization_id, call_id, running)
        met: Abandoned = await self._database.write(self._abandon_calls, one)
        return met

    async def ended_calls(self, server_id: str, *, taken: Iterable[str] = (), most: int = 100) -> list[EndedCall]:
        """How those of a server's calls ended that did, but for the ones it has taken already."""
        found: list[EndedCall] = await self._database.read(calls.ended_calls(server_id, taken, most))
        return found

    async def server_calls(self, server_id: str) -> set[str]:
        """The ids of all calls of a server that are there."""
        found: set[str] = await self._database.read(calls.server_calls(server_id))
        return found

    async def forget_calls(self, answered: Sequence[Named]) -> None:
        """Remove calls that ended and whose callers have their answers."""
        await self._database.write(calls.forget_calls, answered, weight=max(1, len(answered)))

    async def payload(self, organization_id: int, reference: str) -> str | None:
        """What was sent with the task with this id, else with this idempotency key; None: there is none."""
        found: str | None = await self._database.read(tasks.find_payload(organization_id, reference))
        return found

    # Dashboard -------------------------------------------------------------------------------------------------------

    async def live(self, organization_ids: Sequence[int], *, everything: bool) -> Live:
        """Status and totals of these organizations, and with ``everything`` of the busiest of all: one snapshot."""
        found: Live = await self._database.snapshot(dashboard.live(organization_ids, everything))
        return found

    async def organization_name(self, organization_id: int) -> str:
        """What an organization is called. Raises NotFound."""
        name: str = await self._database.read(organizations.find_organization_name(organization_id))
        return name

    async def dashboard_secret(self) -> str:
        """What signs the dashboard's sessions, the same at every server on this database."""
        secret: str | None = await self._database.read(dashboard.find_secret())
        if secret is None:
            secret = await self._write(dashboard.make_secret, secrets.token_hex(32))
        assert secret is not None
        return secret

    async def usage(self, organization_id: int, *, start: int, end: int | None, step_ms: int) -> Usage:
        """What happened from ``start`` to ``end`` (None: now) in steps. Raises KeyRefused."""
        found: Usage = await self._database.snapshot(usage.find_usage(organization_id, start, end, step_ms))
        return found

    # Webhooks --------------------------------------------------------------------------------------------------------

    async def deliveries(self, organization_id: int, *, before: str | None, most: int) -> list[Delivery]:
        """An organization's deliveries, newest first, those below the id ``before`` if given."""
        operation = deliveries.find_deliveries(organization_id, before, most)
        return await self._database.snapshot(operation)  # type: ignore[no-any-return]

    async def redeliver(self, organization_id: int, delivery_id: str) -> Delivery:
        """A delivery is due again at once, whatever became of it. Raises NotFound."""
        made: Delivery = await self._write(deliveries.redeliver, organization_id, delivery_id, self._memory)
        return made

    async def owe_test(self, organization_id: int, webhook: Webhook, *, delivery_id: str, body: str) -> Delivery:
        """A test event, to be tried once. Raises ValidationRefused while too many wait."""
        made: Delivery = await self._write(
            deliveries.owe_test, organization_id, webhook, delivery_id, body, self._memory
        )
        return made

    async def next_delivery_at(self) -> int | None:
        """The earliest moment at which a delivery is due; None: nothing is open."""
        due_at: int | None = await self._database.read(deliveries.next_delivery())
        return due_at

    async def claim_deliveries(
        self, under_way: Sequence[Addressed], *, limits: DeliveryLimits, claim_ms: int
    ) -> list[DueDelivery]:
        """Deliveries for one try each, theirs alone for ``claim_ms``; then they are due again."""
        claimed: list[DueDelivery] = await self._write(deliveries.claim_deliveries, under_way, limits, claim_ms)
        return claimed

    def record_try(self, tried: Tried) -> Awaitable[None]:
        """Write what became of a try. Safe to repeat."""
        return self._database.write(self._record_tries, tried)

    async def signing_secrets(self, organization_id: int) -> list[str]:
        """What signs an organization's webhooks now, newest first; none: they go out unsigned.

        Raises:
            SetupError: one is sealed with a key that is not here.
        """
        kept = await self._database.read(webhook_secrets.signing_secrets(organization_id))
        return [self._seal.open(secret) for secret in kept]

    async def check_secrets(self) -> None:
        """Open every webhook secret once. Raises SetupError if one cannot be."""
        for kept in await self._database.read(webhook_secrets.all_secrets()):
            self._seal.open(kept)

    async def record(self, organization_id: int, *, start: int, most: int) -> Record:
        """What an organization's limits did since then, and its newest finished tasks. Raises KeyRefused."""
        found: Record = await self._database.snapshot(usage.find_record(organization_id, start, most))
        return found

    async def record_of(self, organization: str, *, start: int, most: int) -> Record:
        """The same for whoever knows it by its name. Raises NotFound."""
        found: Record = await self._database.snapshot(usage.find_record_of(organization, start, most))
        return found

    # Alerts ----------------------------------------------------------------------------------------------------------

    async def create_alert(self, organization_id: int, rule: AlertRule) -> Alert:
        """A new alert. Raises ValidationRefused if there are too many."""
        made: Alert = await self._write(alerts.create_alert, organization_id, rule, self._memory)
        return made

    async def change_alert(self, organization_id: int, alert_id: str, rule: AlertRule) -> Alert:
        """Another rule in an alert's place. Raises NotFound."""
        changed: Alert = await self._write(alerts.change_alert, organization_id, alert_id, rule)
        return changed

    async def delete_alert(self, organization_id: int, alert_id: str) -> Alert:
        """An alert is gone; as it was. Raises NotFound."""
        gone: Alert = await self._write(alerts.delete_alert, organization_id, alert_id)
        return gone

    async def alert(self, organization_id: int, alert_id: str) -> Alert:
        """One alert. Raises NotFound."""
        found: Alert = await self._database.read(alerts.find_alert(organization_id, alert_id))
        return found

    async def alerts(self, organization_id: int) -> list[Alert]:
        """An organization's alerts, oldest first."""
        found: list[Alert] = await self._database.read(alerts.find_alerts(organization_id))
        return found

    async def judge_alerts(self, body: Callable[[AlertChange], str]) -> list[AlertChange]:
        """Compare every alert with what is there; those that now began or ceased to fire. Each owes its message.

        ``body`` makes the message of a change. Whichever of several servers is first writes it; the others do nothing.
        """
        told: list[AlertChange] = []
        after: str | None = ""
        while after is not None:
            changes, after = await self._database.snapshot(alerts.judge(after))
            for alert, change in changes:
                moved = await self._write(alerts.apply_change, change, body, self._memory)
                if moved and change.firing != alert.firing:
                    told.append(change)
        return told

    # Workers ---------------------------------------------------------------------------------------------------------

    async def open_session(self, new: NewSession) -> None:
        """Register a live process: a worker, or a server (no types, no places)."""
        await self._write(sessions.open_session, new)

    async def exchange(self, one: Exchange) -> ExchangeReply:
        """Settle reports and claim for free places, in one transaction. Never waits for work.

        Raises:
            SessionGone: the session is dead or unknown; nothing was settled.
        """
        texts = (report.ending.result if isinstance(report.ending, Completed) else "" for report in one.reports)
        reply = await self._database.write(self._exchange, one, weight=one.places + _weight(texts))
        assert isinstance(reply, ExchangeReply)
        return reply

    async def canceled_leases(self, sessions: Sequence[str]) -> dict[str, list[str]]:
        """The leases of these sessions whose end was asked for and has not come, by session."""
        found: dict[str, list[str]] = await self._database.read(leases.canceled_leases(sessions))
        return found

    async def renew_session(
        self, session_id: str, *, leases: Sequence[str], exchanges: Sequence[str], withdrawn: Sequence[str] = ()
    ) -> list[str]:
        """Keep a session alive and return leases its worker never received, or cannot. Raises SessionGone.

        Returns the leases it holds whose end was asked for.
        """
        canceled: list[str] = await self._write(
            sessions.renew_session, session_id, leases, exchanges, withdrawn, self._memory
        )
        return canceled

    async def renew_server(self, server_id: str) -> None:
        """Keep a server's session alive. Raises SessionGone: its calls are being swept, it has to open a new one."""
        await self._write(sessions.renew_server, server_id)

    async def end_session(self, session_id: str, *, reason: LossReason, overdue: Sequence[str] = ()) -> int:
        """A worker process is gone; its leases go back at once. Returns how many. Safe to repeat."""
        returned: int = await self._write(sessions.end_session, session_id, reason, overdue, self._memory)
        return returned

    # Operator --------------------------------------------------------------------------------------------------------

    async def create_plan(self, name: str, *, slots: int | None, queue_limit: int, weight: int, actor: str) -> Plan:
        """A new plan. Raises NameTaken."""
        plan: Plan = await self._write(plans.create_plan, name, slots, queue_limit, weight, actor, self._memory)
        return plan

    async def change_plan(self, name: str, *, changes: PlanChange, actor: str) -> Plan:
        """Change a plan; its organizations' limits follow, in chunks. Raises NotFound."""
        plan: Plan = await self._write(plans.change_plan, name, changes, actor, self._memory)
        after: int | None = 0
        while after is not None:
            after = await self._write(plans.refresh_plan, name, after, self._memory)
        return plan

    async def delete_plan(self, name: str, *, actor: str) -> Plan:
        """Delete a plan that no organization is on. Raises NotFound, or InUse."""
        plan: Plan = await self._write(plans.delete_plan, name, actor, self._memory)
        return plan

    async def plans(self) -> list[Plan]:
        """All plans."""
        found: list[Plan] = await self._database.read(plans.find_plans())
        return found

    async def plan(self, name: str) -> Plan:
        """One plan. Raises NotFound."""
        plan: Plan = await self._database.read(plans.find_plan(name))
        return plan

    async def create_organization(
        self, name: str, *, plan: str, overrides: Overrides, credits: bool = False, actor: str
    ) -> Organization:
        """A new organization; with ``credits`` its balance is counted. Raises NameTaken, or NotFound for the plan."""
        made: Organization = await self._write(
            organizations.create_organization, name, plan, overrides, credits, actor, self._memory
        )
        return made

    async def change_organization(self, name: str, *, changes: OrganizationChange, actor: str) -> Organization:
        """Change limits or flags; they act at the next claim. Raises NotFound."""
        try:
            changed: Organization = await self._write(
                organizations.change_organization, name, changes, actor, self._memory
            )
        finally:
            self._callers.clear()
        return changed

    async def erase_organization(self, name: str, *, actor: str) -> Erased:
        """Begin to erase an organization with everything it owns, or go on with it, for a while.

        From the first answer on it is disabled. Ask again until it is done; upkeep goes on with it in any case. Raises
        NotFound: also once it is gone.
        """
        try:
            erased: Organization = await self._write(erasing.begin_erasing, name, actor, self._memory)
        finally:
            self._callers.clear()
        total = 0
        for _ in range(ERASING_STEPS):
            count = await self.erase_some(erased.id)
            total += count
            if not count:
                return Erased(organization=name, rows=total, done=True)
        return Erased(organization=name, rows=total, done=False)

    async def organizations(self, *, after: str = "", most: int = organizations.ALL) -> list[Organization]:
        """Organizations by name: all, or at most so many after this one."""
        found: list[Organization] = await self._database.read(organizations.find_organizations(after, most))
        return found

    async def organization(self, name: str) -> Organization:
        """One organization. Raises NotFound."""
        found: Organization = await self._database.read(organizations.find_organization(name))
        return found

    async def grant(self, organization: str, *, grant_id: str, amount: int, reason: str, actor: str) -> Grant:
        """Give credits, or take some back; once for each id. Raises NotFound, NameTaken or ValidationRefused."""
        granted: Grant = await self._write(credits.grant, organization, grant_id, amount, reason, actor, self._memory)
        return granted

    async def grants(self, organization: str, *, most: int) -> list[Grant]:
        """An organization's grants, newest first. Raises NotFound."""
        return await self._database.snapshot(credits.find_grants(organization, most))  # type: ignore[no-any-return]

    async def create_key(self, organization: str, *, name: str | None, digest: str, last4: str, actor: str) -> Key:
        """Register a key by its digest. Raises NotFound, or NameTaken if this key exists."""
        key: Key = await self._write(keys.create_key, organization, name, digest, last4, actor, self._memory)
        return key

    async def keys(self, organization: str) -> list[Key]:
        """The keys of one organization. Raises NotFound."""
        return await self._database.snapshot(keys.find_keys(organization))  # type: ignore[no-any-return]

    async def revoke_key(self, key_id: str, *, actor: str) -> Key | InstallationKey:
        """The key works no more: at once here, within five seconds at other servers. Raises NotFound."""
        try:
            key: Key | InstallationKey = await self._write(keys.revoke_key, key_id, actor, self._memory)
        finally:
            self._callers.clear()
            self._holders.clear()
        return key

    async def create_installation_key(
        self, kind: KeyKind, *, name: str, digest: str, last4: str, actor: str
    ) -> InstallationKey:
        """Register a worker or admin key by its digest. Raises NameTaken if this key exists."""
        key: InstallationKey = await self._write(
            keys.create_installation_key, kind, name, digest, last4, actor, self._memory
        )
        return key

    async def installation_keys(self, kind: KeyKind | None = None) -> list[InstallationKey]:
        """Worker and admin keys, or those of one kind."""
        found: list[InstallationKey] = await self._database.read(keys.find_installation_keys(kind))
        return found

    async def create_webhook_secret(
        self, organization: str, *, secret: str, overlap_seconds: float, actor: str
    ) -> WebhookSecret:
        """A new secret signs from now on; the one before it goes on beside it for a while. Raises NotFound."""
        made: WebhookSecret = await self._write(
            webhook_secrets.create_secret, organization, self._seal.close(secret), secret[-4:],
            round(overlap_seconds * 1_000), actor, self._memory,
        )  # fmt: skip
        return made

    async def webhook_secrets(self, organization: str) -> list[WebhookSecret]:
        """What signs for one organization, newest first. Raises NotFound."""
        return await self._database.snapshot(webhook_secrets.find_secrets(organization))  # type: ignore[no-any-return]

    async def revoke_webhook_secrets(
        self, organization: str, *, secret_id: str | None, actor: str
    ) -> list[WebhookSecret]:
        """This secret, or with None all of them, sign no more; returns them. Raises NotFound."""
        revoked: list[WebhookSecret] = await self._write(
            webhook_secrets.revoke_secrets, organization, secret_id, actor, self._memory
        )
        return revoked

    async def audit_rows(
        self, limit: int = 100, *, before: str | None = None, chosen: audit.AuditFilter | None = None
    ) -> list[AuditRow]:
        """What operators changed, newest first, below the id ``before`` if given."""
        found: list[AuditRow] = await self._database.read(audit.audit_rows(limit, before, chosen))
        return found

    async def every_task(
        self,
        *,
        organization: str | None,
        status: TaskStatus | None,
        task_type: str | None,
        start: tuple[int, str] | None,
        most: int,
    ) -> TaskPage:
        """One page of the tasks of all organizations, or of one; it may be short. Raises NotFound."""
        return await self._database.snapshot(  # type: ignore[no-any-return]
            _every_task(organization, status, task_type, start, most)
        )

    async def task_facts(self, task_id: str) -> TaskFacts:
        """One task, whosever it is, with the cause of its failure. Raises NotFound."""
        found: TaskFacts | None = await self._database.snapshot(operations.find_task_facts(task_id))
        if found is None:
            raise NotFound.task(task_id)
        return found

    async def cancel_task(self, task_id: str, *, actor: str) -> TaskFacts:
        """End a task, whosever it is, as its organization could. Raises NotFound, or TaskEnded."""
        facts = await self.task_facts(task_id)
        await self._write(_cancel_named, facts.organization, task_id, actor, self._memory)
        return await self.task_facts(task_id)

    async def trace(self, *, start: int, before: int, after: tuple[int, str] = (0, ""), most: int) -> TracePage:
        """One page of the tasks of all organizations that ended in this span; it may be short."""
        found: TracePage = await self._database.snapshot(operations.find_trace(start, before, after, most))
        return found

    async def sessions(self, *, after: str = "", most: int) -> list[SessionFacts]:
        """Live sessions by id."""
        found: list[SessionFacts] = await self._database.read(operations.find_sessions(after, most))
        return found

    async def maintenance(self) -> bool:
        """Whether the whole installation is under maintenance."""
        on: bool = await self._database.read(plans.maintenance())
        return on

    async def set_maintenance(self, on: bool, *, actor: str) -> None:
        """Put the whole installation under maintenance, or end it."""
        await self._write(plans.set_maintenance, on, actor, self._memory)

    async def used_in_month(self, month: str, organization: str | None = None) -> list[UsedInMonth]:
        """What each organization, or this one, used in this month (2026-11), UTC. Raises NotFound."""
        return await self._database.snapshot(months.find_months(month, organization))  # type: ignore[no-any-return]

    async def backup(self, path: Path, *, actor: str, progress: Callable[[int, int], None]) -> None:
        """Copy the database as it is at one moment into a new file. ``progress``: pages copied, of how many.

        The last row of the copy's audit says that, and when. Raises DatabaseError, or ValidationRefused.
        """
        if not isinstance(self._database, SqliteDatabase):
            raise ValidationRefused.at("path", "PostgreSQL has tools of its own for this, such as pg_dump")
        await self.write_down(actor, "backup.made", path.name, {"path": str(path)})
        await self._database.backup(path, progress)

    async def write_down(self, actor: str, action: str, subject: str, details: object) -> None:
        """A row of the audit for what is no operation of the store."""
        await self._write(audit.write_audit, actor, action, subject, details, self._memory)

    async def recount(self, organization: str | None = None) -> list[Drift]:
        """Every kept count that differs from its rows, in one snapshot: [] is exact. Raises NotFound."""
        drift: list[Drift] = await self._database.snapshot(_recount_named(organization))
        return drift

    async def count_states(self) -> dict[int, int]:
        """Tasks by how many of the four states hold for them, in one snapshot. Only 1 may be a key."""
        counted: dict[int, int] = await self._database.snapshot(audit.count_states())
        return counted

    async def repair(self, organization: str, *, actor: str) -> list[Drift]:
        """Set one organization's counters to what its rows say; returns what was mended. Raises NotFound."""
        drift: list[Drift] = await self._write(_repair_named, organization, actor, self._memory)
        return drift

    # Upkeep ----------------------------------------------------------------------------------------------------------

    async def return_local_leases(self) -> int:
        """At start, if the database is ours alone: every local worker of an earlier server is gone for certain, because
        we hold the lock they inherited. Where others may serve, too, the sessions of the lost run out."""
        if not self.exclusive:
            return 0
        await self._write(sessions.end_local_sessions)
        total = 0
        while returned := await self.return_orphans():
            total += returned
        return total

    async def end_expired_sessions(self) -> list[str]:
        """Mark sessions dead whose lease ran out; their names."""
        names: list[str] = await self._write(sessions.end_expired_sessions)
        return names

    async def extend_sessions(self, *, jumped_ms: int) -> None:
        """After the clock jumped: a whole lease for every live session, and for every attempt the time it had left."""
        await self._write(sessions.extend_sessions, jumped_ms)

    async def return_orphans(self) -> int:
        """One bounded round: return leases that nobody alive works on, or that are long past their deadline."""
        returned: int = await self._write(sessions.return_orphans, self._memory)
        return returned

    async def promote(self) -> int:
        """Waiting tasks that are due become ready; at most a chunk, returns how many."""
        moved: int = await self._write(tasks.promote, self._memory)
        called: int = await self._write(calls.promote_calls, self._memory)
        return moved + called

    async def next_due_at(self) -> int | None:
        """The earliest moment at which a waiting task becomes ready; None: nothing waits."""
        due_at: int | None = await self._database.read(tasks.next_due())
        return due_at

    async def purge(self) -> int:
        """Delete tasks past their retention; at most a chunk, returns how many."""
        purged: int = await self._write(tasks.purge, self._retention_ms)
        return purged

    async def erasing(self) -> list[int]:
        """Organizations that are being erased; at most a hundred."""
        found: list[int] = await self._database.read(erasing.find_erasing())
        return found

    async def erase_some(self, organization_id: int) -> int:
        """One step of erasing; returns how many rows it was about. 0: the organization is gone."""
        count: int = await self._write(erasing.erase_some, organization_id, self._memory)
        return count

    async def open_months(self) -> int:
        """Write down how sums stood when the month turned; at most a chunk, returns how many."""
        opened: int = await self._write(months.open_months)
        return opened

    async def fleet(self) -> Fleet:
        """The whole installation now, and what this server saw of it."""
        found: Fleet = await self._database.snapshot(fleet.find_fleet(self._memory))
        return found

    async def sample_usage(self) -> int:
        """Write down where organizations stand that may have moved since the last time; how many were looked at."""
        began, since = self.now(), self._sampled_at
        if since is None:
            since = await self._database.read(usage.last_sampled())
        after = looked = 0
        while ids := await self._database.snapshot(usage.find_due(since, after)):
            taken = await self._write(usage.sample, ids, self._memory)
            self._memory.seen.sampled.append(taken)
            after, looked = ids[-1], looked + len(ids)
        self._sampled_at = began
        return looked

    async def purge_usage(self) -> int:
        """Delete history past its retention; at most a chunk, returns how many."""
        purged: int = await self._write(usage.purge, self._usage_retention_ms)
        return purged

    async def audit_some(self) -> list[Drift]:
        """The next part of the rolling self-audit. Organizations that drift are not vouched for until repaired."""
        ids, drift = await self._database.snapshot(_audit_part())
        names = {entry.organization for entry in drift}
        drifted = [one.id for one in await self.organizations() if one.name in names] if names else []
        if ids:
            await self._write(audit.mark_audited, ids, drifted)
        self.audited += len(ids)
        self.differences += len(drift)
        return drift  # type: ignore[no-any-return]

    async def drifted(self) -> list[str]:
        """Organizations that nobody vouches for until they are repaired; at most a hundred."""
        names: list[str] = await self._database.read(audit.find_drifted(100))
        return names

    async def ping(self) -> None:
        """The store thread answers and the database takes a transaction."""
        await self._write(_nothing)


def _one_by_one(operations: Sequence[Callable[[], Operation]]) -> Operation:
    """Each operation refuses before it writes anything, so a refusal is an answer and needs no other transaction."""
    results: list[Any] = []
    for operation in operations:
        try:
            results.append((yield from operation()))
        except Refusal as refusal:
            results.append(refusal)
    return results


def _weight(texts: Iterable[str]) -> int:
    """What these texts add to a transaction: 1 for each, more if they are long, and at least 1."""
    return max(1, sum(1 + len(text) // MEMBER_BYTES for text in texts))


def _nothing() -> Operation:
    return None
    yield


def _recount_named(organization: str | None) -> Operation:
    if organization is None:
        return (yield from audit.recount(None))
    found = yield from organizations.find_organization_id(organization)
    return (yield from audit.recount([found]))


def _every_task(
    organization: str | None, status: TaskStatus | None, task_type: str | None, start: tuple[int, str] | None, most: int
) -> Operation:
    chosen = None if organization is None else (yield from organizations.find_organization_id(organization))
    return (yield from operations.find_tasks(chosen, status, task_type, start, most))


def _cancel_named(organization: str, task_id: str, actor: str, memory: Memory) -> Operation:
    found = yield from organizations.find_organization_id(organization)
    yield from tasks.cancel(found, task_id, memory)
    yield from audit.write_audit(actor, "task.canceled", organization, {"task": task_id}, memory)


def _repair_named(organization: str, actor: str, memory: Memory) -> Operation:
    found = yield from organizations.find_organization_id(organization)
    return (yield from audit.repair(found, actor, memory))


def _audit_part() -> Operation:
    ids = yield from audit.least_audited()
    return ids, (yield from audit.recount(ids))


__all__ = ["Store", "new_id"]
