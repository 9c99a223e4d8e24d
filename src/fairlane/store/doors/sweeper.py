"""Upkeep: operations that run by themselves.

Called by ``sweeper.py`` at any number of servers at once, and by ``app.py`` at start and end. Every operation is safe
to repeat, and a kill leaves the rest to the next round. No promise may depend on one server's memory.
"""

import secrets
from collections.abc import Callable
from functools import partial

from fairlane.errors import StoreUnreachable
from fairlane.model.alerts import AlertChange
from fairlane.model.status import Drift
from fairlane.settings import Settings
from fairlane.store import alerts, audit, calls, jumps, months, organizations, sessions, tasks, type_limits, usage
from fairlane.store.database import Database
from fairlane.store.doors.door import Door
from fairlane.store.memory import Memory
from fairlane.store.statements import Operation, rows

PROBE_BYTES = 2**16


class SweeperDoor(Door):
    """The sweeper's operations, round by round."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._retention_ms = int(settings.retention_seconds * 1_000)
        self._usage_retention_ms = int(settings.usage_retention_seconds * 1_000)
        self.audited = 0
        """Organizations that the self-audit recounted since this server started."""
        self.differences = 0
        """Counts that the self-audit found to differ."""
        self._sampled_at: int | None = None
        """When the last sample of this server was started, or None if it has taken none."""
        self._clock_read: jumps.Reading | None = None
        """The database's clock at the last pass of this server that reached it."""

    async def ping(self) -> None:
        """Check that the store thread answers and the database takes a transaction.

        After a refusal for a full disk a trial write has to succeed, too. Raises StoreUnreachable.
        """
        await self._write(_fill_probe if self._database.refusing else _nothing)
        if self._database.refusing:
            raise StoreUnreachable("the disk was full a moment ago")

    async def return_local_leases(self) -> int:
        """Return the leases of an earlier server's local workers, if this server is the only one on the database.

        They are certainly gone, because this server holds the lock that they inherited. With several servers, the
        sessions of lost workers expire.
        """
        if not self._database.exclusive:
            return 0
        await self._write(sessions.end_local_sessions)
        total = 0
        while returned := await self.return_orphans():
            total += returned
        return total

    async def end_expired_sessions(self) -> list[str]:
        """Mark expired sessions dead; return their names."""
        names: list[str] = await self._write(sessions.end_expired_sessions)
        return names

    async def follow_clock(self, steady_clock: Callable[[], float]) -> int:
        """Detect a change of the database's clock since the last pass, and apply it if no other server has.

        Every live session then gets a full lease, every attempt and pause the time it had left. Returns the jump that
        was applied in milliseconds, or 0. ``steady_clock`` returns seconds that pass regardless of any clock change.
        """
        reading, jumped_ms = await self._write(jumps.follow_clock, self._clock_read, steady_clock)
        self._clock_read = reading
        return jumped_ms

    async def return_orphans(self) -> int:
        """Return leases without a live session, or long past their deadline, in one bounded round."""
        returned: int = await self._write(sessions.return_orphans, self._memory)
        return returned

    async def share_virtual_time(self) -> None:
        """Exchange virtual time with the other servers."""
        if not self._database.exclusive:
            await self._write(organizations.share_virtual_time, self._memory)

    async def keep_type_limits(self) -> None:
        """Create missing type limits of this application; remove limits that no live server declares."""
        alone = self._database.exclusive
        await self._write(partial(type_limits.keep_limits, self._memory.catalogue, alone=alone))

    async def promote(self) -> int:
        """Make due waiting tasks ready; at most a chunk, return how many."""
        moved: int = await self._write(tasks.promote, self._memory)
        called: int = await self._write(calls.promote_calls, self._memory)
        return moved + called

    async def next_due_at(self) -> int | None:
        """Return the earliest moment at which a waiting task becomes ready, or None if none waits."""
        due_at: int | None = await self._database.read(tasks.next_due())
        return due_at

    async def purge(self) -> int:
        """Delete tasks past their retention; at most a chunk, return how many."""
        purged: int = await self._write(tasks.purge, self._retention_ms)
        return purged

    async def judge_alerts(self, body: Callable[[AlertChange], str]) -> list[AlertChange]:
        """Compare every alert with current values; return those that now started or stopped to fire, each with its
        message owed.

        ``body`` makes the message of a change. With several servers the first one writes the change; the others do
        nothing.
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

    async def sample_usage(self) -> int:
        """Write the totals of organizations that may have changed since the last sample; return how many were
        examined."""
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

    async def open_months(self) -> int:
        """Write the sums at the start of this month; at most a chunk of organizations, return how many."""
        opened: int = await self._write(months.open_months)
        return opened

    async def purge_usage(self) -> int:
        """Delete history past its retention; at most a chunk, return how many."""
        purged: int = await self._write(usage.purge, self._usage_retention_ms)
        return purged

    async def audit_some(self) -> list[Drift]:
        """Recount the next part of the rolling self-audit. The counters of drifting organizations are in doubt until
        repaired."""
        ids, drift = await self._database.walk(_audit_part(), share="audit")
        names = {entry.organization for entry in drift}
        every = await self._database.read(organizations.find_organizations()) if names else []
        drifted = [one.id for one in every if one.name in names]
        if ids:
            await self._write(audit.mark_audited, ids, drifted)
        self.audited += len(ids)
        self.differences += len(drift)
        return drift

    async def drifted(self) -> list[str]:
        """Return organizations with counters in doubt until they are repaired; at most a hundred."""
        names: list[str] = await self._database.read(audit.find_drifted(100))
        return names


def _nothing() -> Operation[None]:
    return None
    yield


def _fill_probe() -> Operation[None]:
    """Write about as much as a larger task needs, each time again, so that a disk without room for it is noticed."""
    yield from rows("empty_probe")
    yield from rows("fill_probe", filler=secrets.token_hex(PROBE_BYTES // 2))


def _audit_part() -> Operation[tuple[list[int], list[Drift]]]:
    ids = yield from audit.least_audited()
    return ids, (yield from audit.recount(ids))
