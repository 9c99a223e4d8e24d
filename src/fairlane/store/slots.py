"""The holders of an organization's slots."""

from collections.abc import Sequence

import msgspec

from fairlane.errors import KeyRefused
from fairlane.model.insight import Slot, Slots
from fairlane.model.leases import Exchange, Progress
from fairlane.rules.fairness import priority_of
from fairlane.store.lease_rows import CALL, lease_place
from fairlane.store.noun import Noun
from fairlane.store.statements import Operation, Query, Row, change, rows
from fairlane.store.tasks import status


class SlotRow(Row, frozen=True):
    """A lease, as the holder of a slot."""

    id: str
    task_type: str
    rank: int
    attempt: int
    attempts: int
    started_at: int
    deadline_at: int
    kind: int
    progress: str | None


class SlotStore(Noun):
    """The holders of organizations' slots."""

    async def find(self, organization_id: int, *, after: str, most: int) -> Slots:
        """Return up to ``most`` holders of the organization's slots after the id ``after``, oldest first.

        Raises KeyRefused.
        """
        return await self._database.snapshot(find_slots(organization_id, after, most), share=organization_id)


def query_progress(exchanges: Sequence[Exchange]) -> Query[None]:
    """Return the query that writes workers' progress reports, for :func:`together`.

    Their organizations are not locked. So it comes last, and skips a lease that another transaction is changing.
    """
    said = [
        (*place, one.session_id, msgspec.json.encode(progress).decode())
        for one in exchanges
        for lease, progress in one.progress
        if (place := lease_place(lease))
    ]
    return change("update_progress", said, progress=said)


def read_progress(text: str | None) -> Progress | None:
    """Return a lease's stored progress."""
    return None if text is None else msgspec.json.decode(text, type=Progress)


def find_slots(organization_id: int, after: str, most: int) -> Operation[Slots]:
    """Read the holders of slots. Needs one snapshot."""
    found = yield from status(organization_id)
    if found is None:
        raise KeyRefused
    return Slots(concurrency=found.concurrency, slots=(yield from find_holders(organization_id, after, most)))


def find_holders(organization_id: int, after: str, most: int) -> Operation[tuple[Slot, ...]]:
    """Return up to ``most`` holders after the id ``after``, in the order of acceptance."""
    found = yield from rows("find_slots", into=SlotRow, organization_id=organization_id, after=after, most=most)
    return tuple([slot_of(row) for row in found])


def slot_of(row: SlotRow) -> Slot:
    """Return a lease as the holder of a slot."""
    return Slot(
        id=row.id,
        call=row.kind == CALL,
        task_type=row.task_type,
        priority=priority_of(row.rank),
        attempt=row.attempt,
        attempts=row.attempts,
        started_at=row.started_at,
        deadline_at=row.deadline_at,
        progress=read_progress(row.progress),
    )
