"""Upkeep: what has to happen though nobody asks for it.

Called by ``sweeper.py`` at any number of servers at once, and by ``app.py`` at start and end. Everything is safe to
repeat, and a kill leaves the rest to the next round. No promise may rest on what one server remembers.
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
    """What the sweeper does, round by round."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._retention_ms = int(settings.retention_seconds * 1_000)
        self._usage_retention_ms = int(settings.usage_retention_seconds * 1_000)
        self.audited = 0
        """Organizations that the self-audit recounted since this server started."""
        self.differences = 0
        """Counts that it found to differ."""
        self._sampled_at: int | None = None
        """When the last sample of this server was begun; None: it has taken none."""
        self._clock_read: jumps.Reading | None = None
        """The database's clock at the last pass of this server that reached it."""

    async def ping(self) -> None:
        """The store thread answers and the database takes a transaction. After a refusal for a full disk a trial write
        has to succeed, too. Raises StoreUnreachable."""
        await self._write(_fill_probe if self._database.refusing else _nothing)
        if self._database.refusing:
            raise StoreUnreachable("the disk was full a moment ago")

    async def return_local_leases(self) -> int:
        """At start, if the database is ours alone: every local worker of an earlier server is gone for certain, because
        we hold the lock they inherited. Where others may serve, too, the sessions of the lost run out."""
        if not self._database.exclusive:
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

    async def follow_clock(self, steady_clock: Callable[[], float]) -> int:
        """Look whether the database's clock was set since the last time; if so, and no other server has done it, every
        live session gets a whole lease, every attempt and every pause the time it had left. The milliseconds of the
        jump that was applied, or 0. ``steady_clock``: seconds that pass whatever is set."""
        reading, jumped_ms = await self._write(jumps.follow_clock, self._clock_read, steady_clock)
        self._clock_read = reading
        return jumped_ms  # type: ignore[no-any-return]

    async def return_orphans(self) -> int:
        """One bounded round: return leases that nobody alive works on, or that are long past their deadline."""
        returned: int = await self._write(sessions.return_orphans, self._memory)
        return returned

    async def share_virtual_time(self) -> None:
        """Tell the other servers how far service has come, and hear it from them."""
        if not self._database.exclusive:
            await self._write(organizations.share_virtual_time, self._memory)

    async def keep_type_limits(self) -> None:
        """What this server's application limits is limited, and what no server's does is not."""
        alone = self._database.exclusive
        await self._write(partial(type_limits.keep_limits, self._memory.catalogue, alone=alone))

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

    async def open_months(self) -> int:
        """Write down how sums stood when the month turned; at most a chunk, returns how many."""
        opened: int = await self._write(months.open_months)
        return opened

    async def purge_usage(self) -> int:
        """Delete history past its retention; at most a chunk, returns how many."""
        purged: int = await self._write(usage.purge, self._usage_retention_ms)
        return purged

    async def audit_some(self) -> list[Drift]:
        """The next part of the rolling self-audit. Organizations that drift are not vouched for until repaired."""
        ids, drift = await self._database.walk(_audit_part(), share="audit")
        names = {entry.organization for entry in drift}
        every = await self._database.read(organizations.find_organizations()) if names else []
        drifted = [one.id for one in every if one.name in names]
        if ids:
            await self._write(audit.mark_audited, ids, drifted)
        self.audited += len(ids)
        self.differences += len(drift)
        return drift  # type: ignore[no-any-return]

    async def drifted(self) -> list[str]:
        """Organizations that nobody vouches for until they are repaired; at most a hundred."""
        names: list[str] = await self._database.read(audit.find_drifted(100))
        return names


def _nothing() -> Operation:
    return None
    yield


def _fill_probe() -> Operation:
    """Write about as much as a larger task would need, anew, so that a disk without room for it is noticed."""
    yield from rows("empty_probe")
    yield from rows("fill_probe", filler=secrets.token_hex(PROBE_BYTES // 2))


def _audit_part() -> Operation:
    ids = yield from audit.least_audited()
    return ids, (yield from audit.recount(ids))
