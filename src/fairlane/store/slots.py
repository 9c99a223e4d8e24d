"""Who holds an organization's slots."""

from collections.abc import Generator

from fairlane.errors import KeyRefused
from fairlane.model import Slot, Slots
from fairlane.rules import priority_of
from fairlane.store.held import CALL
from fairlane.store.statements import Query, Rows, rows
from fairlane.store.tasks import status


def find_slots(organization_id: int, after: str, most: int) -> Generator[Query, Rows, Slots]:
    """Up to ``most`` holders, the oldest first, of those after the id ``after``. Needs one snapshot.

    Raises:
        KeyRefused: no such organization.
    """
    found = yield from status(organization_id)
    if found is None:
        raise KeyRefused
    held = yield from rows("find_slots", organization_id=organization_id, after=after, most=most)
    return Slots(
        concurrency=found.concurrency,
        slots=tuple(
            [
                Slot(
                    id=row[0],
                    call=row[7] == CALL,
                    task_type=row[1],
                    priority=priority_of(row[2]),
                    attempt=row[3],
                    attempts=row[4],
                    started_at=row[5],
                    deadline_at=row[6],
                )
                for row in held
            ]
        ),
    )
