"""Upkeep: everything that runs by itself. Calls the store's bounded rounds in loops; decides nothing about tasks.

Level-triggered: a round that fails is logged and tried again at its next time. Upkeep is not needed for the promises
about tasks, only for their time bounds.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from fairlane import wire
from fairlane.bulks import BulkWork
from fairlane.errors import StoreUnreachable
from fairlane.handlers import ServedType
from fairlane.model.status import Drift
from fairlane.outages import Outage
from fairlane.rules.history import month_of
from fairlane.settings import Settings
from fairlane.store import CHUNK, Effects, Store

logger = logging.getLogger(__name__)

HELD_SECONDS = 0.05
"""Pause before due tasks of a locked organization are tried again."""
POLL_SECONDS = 1.0
"""How often waiting tasks are looked up without a hint, and servers share virtual time and counts of requests."""
ROUNDS_MOST = 1_000
JITTER = 0.1
SAMPLE_MARGIN_MS = 500
"""How long before the end of a minute usage is sampled."""
AUDIT_SHARE = 0.01
"""Largest share of time spent on recounting: an organization with a million queued tasks takes a second."""


class Sweeper:
    """Runs the upkeep of one server until canceled."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        task_types: Mapping[str, ServedType],
        *,
        share_counts: Callable[[], Awaitable[None]] | None = None,
        steady_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``share_counts`` tells the other servers once a second what this one counted."""
        self._store = store
        self._bulks = BulkWork(store, task_types, steady_clock=steady_clock)
        self._settings = settings
        self._share_counts = share_counts
        self._steady_clock = steady_clock
        self._due = asyncio.Event()
        self._contact_since: float | None = None
        """Since when every pass reached the store, or None if the last one did not."""
        self._reached_at: float | None = None
        """When a piece of upkeep last reached the store."""
        self._audit_at = 0.0
        self.swept_at: int | None = None
        """When the last pass that reached the store ended, or None before the first one."""
        self._month = ""
        """The last month that was opened for every organization."""
        self._failed: dict[str, Outage] = {}
        """By name of a piece of upkeep."""
        self._random = random.Random()  # noqa: S311 - spreads load, guards nothing
        store.hints.subscribe(self._hear)

    def _hear(self, effects: Effects) -> None:
        if effects.paused_until is not None:
            self._due.set()

    async def run(self) -> None:
        """Run all loops."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._promote_for_ever())
            group.create_task(self._share_for_ever())
            group.create_task(self._sweep_for_ever())
            group.create_task(self._sample_for_ever())
            group.create_task(self._work_for_ever())

    # Promotion -------------------------------------------------------------------------------------------------------

    async def _promote_for_ever(self) -> None:
        while True:
            self._due.clear()
            await self._attempt("promote", self._promote)
            try:
                async with asyncio.timeout(await self._seconds_to_next()):
                    await self._due.wait()
            except TimeoutError:
                pass

    async def _promote(self) -> None:
        due_at = await self._store.upkeep.next_due_at()
        due = due_at is not None and due_at <= self._store.now()
        if due and not await _exhaust(self._store.upkeep.promote):
            await asyncio.sleep(HELD_SECONDS)

    async def _seconds_to_next(self) -> float:
        try:
            due_at = await self._store.upkeep.next_due_at()
        except Exception:  # noqa: BLE001 - the promotion that follows gets the same error, and logs it
            return POLL_SECONDS
        if due_at is None:
            return POLL_SECONDS
        # The clock's step is a millisecond: never loop without a pause.
        return min(POLL_SECONDS, max(0.001, (due_at - self._store.now()) / 1000))

    # The fair order --------------------------------------------------------------------------------------------------

    async def _share_for_ever(self) -> None:
        while True:
            await self._attempt("share virtual time", self._store.organizations.share_virtual_time)
            if self._share_counts is not None:
                await self._attempt("share request counts", self._share_counts)
            await asyncio.sleep(POLL_SECONDS)

    # Sampling --------------------------------------------------------------------------------------------------------

    async def _sample_for_ever(self) -> None:
        """Sample usage at the end of every minute, so that a minute's history is almost complete."""
        while True:
            await asyncio.sleep(_seconds_to_sample(self._store.now()))
            await self._attempt("sample", self._store.usage.sample)
            await self._attempt("sample the installation", self._store.pulses.sample)
            await self._attempt("keep type limits", self._store.type_limits.keep)
            await self._attempt("look for unserved types", self.warn_of_unserved)

    async def warn_of_unserved(self) -> None:
        """Log once a minute each task type with ready tasks that no worker serves."""
        for name, load in (await self._store.fleet.find()).loads.items():
            if load.ready and not load.served:
                logger.warning("type.unserved", extra={"task_type": name, "ready": load.ready})

    # Bulks -----------------------------------------------------------------------------------------------------------

    async def _work_for_ever(self) -> None:
        while True:
            reached = await self._attempt("bulks", self._bulks.round)
            await asyncio.sleep(self._bulks.pause_seconds if reached else POLL_SECONDS)

    # Sweeping --------------------------------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        while True:
            await self.sweep_once()
            jitter = self._random.uniform(1 - JITTER, 1 + JITTER)
            await asyncio.sleep(self._settings.sweep_seconds * jitter)

    async def sweep_once(self) -> None:
        """Make one pass: dead sessions, orphaned and overdue leases, old tasks, erasing, months, repair, audit."""
        reached = await self._attempt("sweep", self._sweep)
        if not reached:
            self._contact_since = None
        await self._attempt("purge", lambda: _exhaust(self._store.upkeep.purge))
        await self._attempt("erase", self._erase)
        await self._attempt("months", self._open_months)
        await self._attempt("monthly credits", lambda: _exhaust(self._store.credits.grant_month, chunk=1))
        await self._attempt("purge usage", lambda: _exhaust(self._store.usage.purge))
        await self._attempt("purge usage by type", lambda: _exhaust(self._store.type_usage.purge))
        await self._attempt("purge pulses", lambda: _exhaust(self._store.pulses.purge))
        await self._attempt("purge failed starts", lambda: _exhaust(self._store.failed_starts.purge))
        await self._attempt("purge failures", lambda: _exhaust(self._store.failures.purge))
        await self._attempt("purge hosts", lambda: _exhaust(self._store.webhook_hosts.purge))
        await self._attempt("alerts", self._judge_alerts)
        await self._attempt("repair", self._repair)
        await self._attempt("audit", self._audit)
        if reached:
            self.swept_at = self._store.now()

    async def _sweep(self) -> None:
        now = self._steady_clock()
        jumped_ms = await self._store.jumps.follow(self._steady_clock)
        if self._contact_since is None:
            self._contact_since = now
        if jumped_ms:
            logger.warning("clock.jumped", extra={"seconds": jumped_ms / 1000})
            return
        # After an outage leases look expired because renewals could not arrive, not because workers are dead. And if
        # the clock was set just before this server started, attempts look overdue until another server notices.
        trusted = now - self._contact_since >= self._settings.lease_seconds
        if trusted:
            for session in await self._store.sessions.end_expired():
                logger.warning("session.expired", extra={"session": session})
        returned = await _exhaust(lambda: self._store.sessions.return_orphans(overdue=trusted), chunk=1)
        if returned:
            logger.warning("leases.returned", extra={"count": returned})

    async def _erase(self) -> None:
        """Continue the erasures that operators started, even after servers died during them."""
        for organization_id in await self._store.erasing.all():
            await _exhaust(lambda id=organization_id: self._store.erasing.step(id), chunk=1)  # type: ignore[misc]

    async def _open_months(self) -> None:
        """Open the month, once a month and after each start. New organizations get their row at creation."""
        month = month_of(self._store.now())
        if month != self._month:
            await _exhaust(self._store.months.open)
            self._month = month

    async def _audit(self) -> None:
        began = self._steady_clock()
        if began < self._audit_at:
            return
        await self._audit_part()
        ended = self._steady_clock()
        self._audit_at = ended + (ended - began) / AUDIT_SHARE

    async def _judge_alerts(self) -> None:
        """Judge alerts. The message is written together with the change; the sender sends it."""
        for change in await self._store.alerts.judge(lambda change: wire.alert_message_body(change).decode()):
            event = "alert.fired" if change.firing else "alert.recovered"
            logger.info(event, extra={"organization": change.organization, "alert_id": change.alert.id})

    async def _repair(self) -> None:
        """Repair counts that an earlier pass found wrong; until then the organization's concurrency reads null."""
        for name in await self._store.recount.drifted():
            for drift in await self._store.recount.repair(name, actor="self-audit"):
                logger.error("count.repaired", extra=_plain(drift))

    async def _audit_part(self) -> None:
        for drift in await self._store.recount.audit_next():
            logger.error("count.drifted", extra=_plain(drift))

    async def _attempt(self, name: str, upkeep: Callable[[], Awaitable[object]]) -> bool:
        """Run one piece of upkeep. Return False if it failed, which is logged once, until it succeeds."""
        outage = self._failed.setdefault(name, Outage(logger, "upkeep.failed", "upkeep.resumed", traced=True))
        self._notice_gap()
        try:
            await upkeep()
        except StoreUnreachable:  # The store has already logged it.
            return False
        except Exception as error:  # noqa: BLE001 - upkeep has no caller to report to, and must go on
            outage.fail(error, upkeep=name)
            return False
        outage.succeed()
        self._reached_at = self._steady_clock()
        return True

    def _notice_gap(self) -> None:
        """Begin a new contact if workers may have renewed nowhere while this process stood still."""
        longest = self._settings.lease_seconds - self._settings.renew_seconds
        if self._reached_at is not None and self._steady_clock() - self._reached_at > longest:
            self._contact_since = None


def _seconds_to_sample(now: int) -> float:
    """Return the seconds until the current or next minute has SAMPLE_MARGIN_MS left."""
    return ((-now - SAMPLE_MARGIN_MS - 1) % 60_000 + 1) / 1000


def _plain(drift: Drift) -> dict[str, object]:
    return {
        "organization": drift.organization,
        "count": drift.name,
        "kept": drift.kept,
        "counted": drift.counted,
    }


async def _exhaust(upkeep: Callable[[], Awaitable[int]], *, chunk: int = CHUNK) -> int:
    """Run bounded rounds until one was not full, with a pause for other tasks in between. Return the total."""
    total = 0
    for _ in range(ROUNDS_MOST):
        done = await upkeep()
        total += done
        if done < chunk:
            break
        await asyncio.sleep(0)
    return total
