"""The operators' audit trail: one row for each change, written in the transaction of the change itself."""

from typing import Any

import msgspec
from msgspec import Struct

from fairlane.model.organizations import AuditRow
from fairlane.store.noun import Noun
from fairlane.store.statements import AFTER_ALL_IDS, Operation, Row, first, rows, run
from fairlane.store.transaction import Transaction

STEP = 5_000
"""Most rows that one statement looks at: a few milliseconds."""


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which changes to return; None matches any."""

    subject: str | None = None
    action: str | None = None
    actor: str | None = None


class TrailRow(Row, frozen=True):
    """One change."""

    id: str
    at: int
    actor: str
    action: str
    subject: str
    details: str


class TrailStore(Noun):
    """Operators' changes."""

    async def page(
        self, limit: int = 100, *, before: str | None = None, chosen: AuditFilter | None = None
    ) -> list[AuditRow]:
        """Return changes, newest first, below the id ``before`` if given."""
        return await self._database.walk(find_trail(limit, before, chosen), share="changes")

    async def write(self, actor: str, action: str, subject: str, details: object) -> None:
        """Write a row for a change that is not an operation of the store."""
        await self._write(write_trail, actor, action, subject, details)


def write_trail(transaction: Transaction, actor: str, action: str, subject: str, details: Any) -> Operation[None]:
    """Write one change by an operator, in the transaction of the change itself."""
    now = yield from transaction.read_clock()
    yield from write_trail_at(transaction.config.new_id(), actor, action, subject, details, now)


def write_trail_at(row_id: str, actor: str, action: str, subject: str, details: Any, at: int) -> Operation[None]:
    """Write one change with the moment at which it was made."""
    yield from run(
        "insert_audit", id=row_id, now=at, actor=actor, action=action, subject=subject,
        details=msgspec.json.encode(details).decode(),
    )  # fmt: skip


def find_trail(limit: int, before: str | None = None, chosen: AuditFilter | None = None) -> Operation[list[AuditRow]]:
    """Read changes. Each step looks at a bounded number of rows."""
    wanted = msgspec.structs.asdict(chosen or AuditFilter())
    found: list[TrailRow] = []
    start: str | None = before or AFTER_ALL_IDS
    while start is not None and len(found) < limit:
        found += yield from rows(
            "find_audit", into=TrailRow, before=start, looked=STEP, most=limit - len(found), **wanted
        )
        start = yield from first("find_audit_behind", into=str, before=start, skipped=STEP - 1)
    return [
        AuditRow(
            id=row.id,
            at=row.at,
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            details=msgspec.json.decode(row.details),
        )
        for row in found
    ]
