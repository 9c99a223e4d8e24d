"""Counts taken from the rows themselves, in steps of a bounded number of rows.

A queue may have millions of entries. Each step ends after ``STEP`` of them, so that a database adapter can let other
reads in between, or break off. Called by ``audit.py`` and ``tasks.py``. Needs one snapshot; changes nothing.
"""

from fairlane.store.statements import Operation, rows

STEP = 5_000
"""Most rows that one statement counts: a few milliseconds."""

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
        found = yield from rows(
            "count_queue_entries", last=last, organization_id=place[0], task_type=place[1], rank=place[2],
            seq=place[3], most=STEP,
        )  # fmt: skip
        counted = sum(row[3] for row in found)
        for organization_id, task_type, rank, count, head, newest in found:
            lane = lanes.setdefault((organization_id, task_type, rank), CountedLane())
            lane.ready += count
            lane.head = head if lane.head is None else lane.head
            place = (organization_id, task_type, rank, newest)
    organization_id, task_id = first, ""
    counted = STEP
    while counted == STEP:
        found = yield from rows("count_waiting", last=last, organization_id=organization_id, task_id=task_id, most=STEP)
        counted = sum(row[3] for row in found)
        for row in found:
            lanes.setdefault((row[0], row[1], row[2]), CountedLane()).waiting += row[3]
        organization_id, task_id = max(((row[0], row[4]) for row in found), default=(last, ""))
    return lanes
