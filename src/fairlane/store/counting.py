"""Counts taken from the rows themselves, in steps of a bounded number of rows.

A queue may have millions of entries. Each step ends after ``STEP`` of them, so that a database adapter can let other
reads in between, or break off. Called by ``audit.py`` and ``tasks.py``. Needs one snapshot; changes nothing.
"""

from fairlane.store.statements import Operation, Row, rows

STEP = 5_000
"""Most rows that one statement counts: a few milliseconds."""


class EntriesRow(Row, frozen=True):
    """Ready entries of one lane, as far as one statement counted them."""

    organization_id: int
    task_type: str
    rank: int
    count: int
    head: int
    newest: int


class WaitingRow(Row, frozen=True):
    """Waiting tasks of one lane, as far as one statement counted them."""

    organization_id: int
    task_type: str
    rank: int
    count: int
    last: int


LaneKey = tuple[int, str, int]
"""Organization, task type, rank."""


class CountedLane:
    """What the rows say of one lane."""

    __slots__ = ("head", "ready", "waiting")

    def __init__(self) -> None:
        self.ready = 0
        self.waiting = 0
        self.head: int | None = None
        """The place of the oldest ready entry, or None if there is none."""


def count_queues(first: int, last: int) -> Operation[dict[LaneKey, CountedLane]]:
    """Count the queue entries and the waiting tasks of all organizations from the id ``first`` to ``last``, by lane."""
    lanes: dict[LaneKey, CountedLane] = {}
    place: tuple[int, str, int, int] = (first, "", -1, -1)
    counted = STEP
    while counted == STEP:
        entries = yield from rows(
            "count_queue_entries", into=EntriesRow, last=last, organization_id=place[0], task_type=place[1],
            rank=place[2], seq=place[3], most=STEP,
        )  # fmt: skip
        counted = sum(row.count for row in entries)
        for row in entries:
            lane = lanes.setdefault((row.organization_id, row.task_type, row.rank), CountedLane())
            lane.ready += row.count
            lane.head = row.head if lane.head is None else lane.head
            place = (row.organization_id, row.task_type, row.rank, row.newest)
    organization_id, seq = first, -1
    counted = STEP
    while counted == STEP:
        waiting = yield from rows(
            "count_waiting", into=WaitingRow, last=last, organization_id=organization_id, seq=seq, most=STEP
        )
        counted = sum(one.count for one in waiting)
        for one in waiting:
            lanes.setdefault((one.organization_id, one.task_type, one.rank), CountedLane()).waiting += one.count
        organization_id, seq = max(((one.organization_id, one.last) for one in waiting), default=(last, -1))
    return lanes
