"""Organizations' usage in each month, UTC, from sums that only grow.

When a new month has started, upkeep writes each organization's sums once; a month is the difference of two such rows.
So months add up to the total: nothing is lost and nothing counted twice. Work done between the start of the month and
that write belongs to the month before.
"""

from fairlane.model.usage import UsedInMonth
from fairlane.rules.history import month_of
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import CHUNK, Operation, clock, rows


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


def _open() -> Operation[int]:
    now = yield from clock()
    return len((yield from rows("open_months", month=month_of(now), now=now, most=CHUNK)))


def find_months(month: str, organization: str | None) -> Operation[list[UsedInMonth]]:
    """Read the sums at the start and the end of a month."""
    chosen = None if organization is None else (yield from find_organization_id(organization))
    used: list[UsedInMonth] = []
    after = 0
    while True:
        now = yield from clock()
        found = yield from rows("find_months", month=month, organization_id=chosen, after=after, now=now, most=CHUNK)
        for row in found:
            after, name, from_at, *start = row[:8]
            until_at, *end = row[8:14]
            closed = until_at is not None
            submitted, completed, failed, charged, slot_ms = [
                last - first for first, last in zip(start, end if closed else row[14:], strict=True)
            ]
            used.append(
                UsedInMonth(
                    organization=name,
                    month=month,
                    from_at=from_at,
                    until_at=until_at if closed else now,
                    closed=closed,
                    submitted=submitted,
                    completed=completed,
                    failed=failed,
                    credits_charged=charged,
                    slot_seconds=slot_ms / 1000,
                )
            )
        if len(found) < CHUNK:
            return used
