"""Operators' requests, for all organizations: tasks, sessions, sums, maintenance, backups, counters, and the audit.

Called by ``api/admin/`` and ``cli/``, and by the sweeper for the fleet and for repairs. Every change writes an audit
row with its actor.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fairlane.errors import NotFound, ValidationRefused
from fairlane.model.fleet import Fleet
from fairlane.model.leases import SessionFacts
from fairlane.model.organizations import AuditRow
from fairlane.model.simulation import Record, TracePage
from fairlane.model.status import Drift
from fairlane.model.tasks import TaskFacts, TaskPage, TaskStatus
from fairlane.model.usage import UsedInMonth
from fairlane.store import audit, fleet, months, operations, organizations, plans, tasks, usage
from fairlane.store.doors.door import Door
from fairlane.store.memory import Memory
from fairlane.store.sqlite import SqliteDatabase
from fairlane.store.statements import Operation


class OperatorDoor(Door):
    """What operators read and change across the whole installation."""

    async def every_task(
        self,
        *,
        organization: str | None,
        status: TaskStatus | None,
        task_type: str | None,
        start: tuple[int, str] | None,
        most: int,
    ) -> TaskPage:
        """Return one page of the tasks of all organizations, or of one; it may be short. Raises NotFound."""
        return await self._database.snapshot(_every_task(organization, status, task_type, start, most))

    async def task_facts(self, task_id: str) -> TaskFacts:
        """Return one task of any organization, with the cause of its failure. Raises NotFound."""
        found: TaskFacts | None = await self._database.snapshot(operations.find_task_facts(task_id))
        if found is None:
            raise NotFound.task(task_id)
        return found

    async def cancel_task(self, task_id: str, *, actor: str) -> TaskFacts:
        """End a task of any organization, as the organization itself could. Raises NotFound, or TaskEnded."""
        facts = await self.task_facts(task_id)
        await self._write(_cancel_named, facts.organization, task_id, actor, self._memory)
        return await self.task_facts(task_id)

    async def trace(self, *, start: int, before: int, after: tuple[int, str] = (0, ""), most: int) -> TracePage:
        """Return one page of the tasks of all organizations that ended in this span; it may be short."""
        found: TracePage = await self._database.snapshot(operations.find_trace(start, before, after, most))
        return found

    async def record_of(self, organization: str, *, start: int, most: int) -> Record:
        """Return an organization's record by its name. Raises NotFound."""
        found: Record = await self._database.snapshot(usage.find_record_of(organization, start, most))
        return found

    async def used_in_month(self, month: str, organization: str | None = None) -> list[UsedInMonth]:
        """Return the usage of each organization, or of one, in this month (2026-11), UTC. Raises NotFound."""
        return await self._database.snapshot(months.find_months(month, organization))

    async def fleet(self) -> Fleet:
        """Return the state of the whole installation, and this server's own counts."""
        found: Fleet = await self._database.snapshot(fleet.find_fleet(self._memory))
        return found

    async def sessions(self, *, after: str = "", most: int) -> list[SessionFacts]:
        """Return live sessions by id."""
        found: list[SessionFacts] = await self._database.read(operations.find_sessions(after, most))
        return found

    async def maintenance(self) -> bool:
        """Return whether the whole installation is under maintenance."""
        on: bool = await self._database.read(plans.maintenance())
        return on

    async def set_maintenance(self, on: bool, *, actor: str) -> None:
        """Put the whole installation under maintenance, or end it."""
        await self._write(plans.set_maintenance, on, actor, self._memory)

    async def backup(self, path: Path, *, actor: str, progress: Callable[[int, int], None]) -> None:
        """Copy the database as it is at one moment into a new file. ``progress`` gets the copied and the total pages.

        The last row of the copy's audit records the backup and its moment; it is written into the database, too, once
        the copy is complete. Raises DatabaseError, or ValidationRefused.
        """
        if not isinstance(self._database, SqliteDatabase):
            raise ValidationRefused.at("path", "PostgreSQL has tools of its own for this, such as pg_dump")
        details = {"path": str(path)}
        made = partial(audit.write_audit_of, self._memory.new_id(), actor, "backup.made", path.name, details)
        at = await self._database.backup(path, made, progress)
        await self._write(made, at)

    async def audit_rows(
        self, limit: int = 100, *, before: str | None = None, chosen: audit.AuditFilter | None = None
    ) -> list[AuditRow]:
        """Return operators' changes, newest first, below the id ``before`` if given."""
        found: list[AuditRow] = await self._database.walk(audit.audit_rows(limit, before, chosen), share="changes")
        return found

    async def write_down(self, actor: str, action: str, subject: str, details: object) -> None:
        """Write an audit row for a change that is not an operation of the store."""
        await self._write(audit.write_audit, actor, action, subject, details, self._memory)

    async def recount(self, organization: str | None = None) -> list[Drift]:
        """Return every kept count that differs from its rows, in one snapshot; [] if all are exact. Raises NotFound."""
        drift: list[Drift] = await self._database.walk(_recount_named(organization))
        return drift

    async def count_states(self) -> dict[int, int]:
        """Count tasks by how many of the four states they are in, in one snapshot. Only 1 may be a key."""
        counted: dict[int, int] = await self._database.walk(audit.count_states())
        return counted

    async def repair(self, organization: str, *, actor: str) -> list[Drift]:
        """Set one organization's counters to the counts of its rows; return the differences. Raises NotFound."""
        drift: list[Drift] = await self._write(_repair_named, organization, actor, self._memory)
        return drift


def _recount_named(organization: str | None) -> Operation[list[Drift]]:
    if organization is None:
        return (yield from audit.recount(None))
    found = yield from organizations.find_organization_id(organization)
    return (yield from audit.recount([found]))


def _every_task(
    organization: str | None, status: TaskStatus | None, task_type: str | None, start: tuple[int, str] | None, most: int
) -> Operation[TaskPage]:
    chosen = None if organization is None else (yield from organizations.find_organization_id(organization))
    return (yield from operations.find_tasks(chosen, status, task_type, start, most))


def _cancel_named(organization: str, task_id: str, actor: str, memory: Memory) -> Operation[None]:
    found = yield from organizations.find_organization_id(organization)
    yield from tasks.cancel(found, task_id, memory)
    yield from audit.write_audit(actor, "task.canceled", organization, {"task": task_id}, memory)


def _repair_named(organization: str, actor: str, memory: Memory) -> Operation[list[Drift]]:
    found = yield from organizations.find_organization_id(organization)
    return (yield from audit.repair(found, actor, memory))
