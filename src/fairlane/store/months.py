"""Organizations' usage in each month, UTC, from sums that only grow.

When a new month has started, upkeep writes each organization's sums once; a month is the difference of two such rows.
So months add up to the total: nothing is lost and nothing counted twice. Work done between the start of the month and
that write belongs to the month before.
"""

from fairlane.model.usage import UsedInMonth
from fairlane.rules.history import month_of
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import CHUNK, Operation, Row, clock, rows
from fairlane.store.transaction import Transaction


class MonthRow(Row, frozen=True):
    """An organization's sums at the start of a month, and at the start of the next, or now if that was not opened."""

    id: int
    name: str
    opened_at: int
    submitted: int
    completed: int
    failed: int
    charged: int
    slot_ms: int
    closed_at: int | None
    end_submitted: int
    end_completed: int
    end_failed: int
    end_charged: int
    end_slot_ms: int


class MonthStore(Noun):
    """Organizations' usage by month."""

    async def find(self, month: str, organization: str | None = None) -> list[UsedInMonth]:
        """Return the usage of each organization, or of one, in this month (2026-11), as far as it was opened.

        Organizations created later are not in it, nor those for which the month was never opened: no server ran in it.
        Raises NotFound.
        """
        return await self._database.snapshot(find_months(month, organization))

    async def open(self) -> int:
        """Write the sums of organizations for which this month has not been opened; at most CHUNK, return how many."""
        return await self._write(_open)


def _open(transaction: Transaction) -> Operation[int]:
    now = yield from transaction.read_clock()
    return len((yield from rows("open_months", into=int, month=month_of(now), now=now, most=CHUNK)))


def find_months(month: str, organization: str | None) -> Operation[list[UsedInMonth]]:
    """Read the sums at the start and the end of a month."""
    chosen = None if organization is None else (yield from find_organization_id(organization))
    used: list[UsedInMonth] = []
    after = 0
    while True:
        now = yield from clock()
        found = yield from rows(
            "find_months", into=MonthRow, month=month, organization_id=chosen, after=after, now=now, most=CHUNK
        )
        for row in found:
            after = row.id
            used.append(
                UsedInMonth(
                    organization=row.name,
                    month=month,
                    from_at=row.opened_at,
                    until_at=now if row.closed_at is None else row.closed_at,
                    closed=row.closed_at is not None,
                    submitted=row.end_submitted - row.submitted,
                    completed=row.end_completed - row.completed,
                    failed=row.end_failed - row.failed,
                    credits_charged=row.end_charged - row.charged,
                    slot_seconds=(row.end_slot_ms - row.slot_ms) / 1000,
                )
            )
        if len(found) < CHUNK:
            return used
