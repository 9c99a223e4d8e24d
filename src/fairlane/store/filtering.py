"""Tasks that meet a filter: a walk along an index of one organization, which looks at a bounded number of tasks.

Used by the lists of organizations and operators, and by bulks. A filter needs no index of its own, which every submit
and every end of a task would pay for: the walk reads the tasks of the status, or the keys with the beginning, and
leaves out the others. So a step may find few tasks, or none, and still have a next one.
"""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.json import encode

from fairlane.model.tasks import TaskFilter, TaskStatus
from fairlane.store.statements import Operation, Row, rows, rows_if

LOOK_MOST = 1_000
"""Most tasks that one step looks at, including those that it leaves out."""
LOOK_FIRST = 100
"""How many it looks at first: most filters find a page of tasks among these."""
ORGANIZATIONS_MOST = 1_000
"""Most organizations that are looked at for one that has tasks of a status."""
CLOCKS_MS = 60_000
"""How far the clock of a server, which is in the ids of the tasks that it accepts, may be from the database's clock."""
NEWEST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Larger than any id."""
AFTER_ALL = 2**62
"""Larger than the id of any organization."""
BEYOND = "\U0010ffff" * 256
"""Longer than an idempotency key, of the last character that there is."""


class LookedRow(Row, frozen=True):
    """A task that a walk looks at, with all that a filter may ask for."""

    id: str
    seq: int
    task_type: str
    priority: int
    created_at: int
    idempotency_key: str | None
    ended: str | None
    failure: str | None
    """The beginning of its failure, which has the code."""
    failure_group: str | None
    leased: int

    @property
    def status(self) -> TaskStatus:
        """Return where the task is."""
        return TaskStatus(self.ended) if self.ended else TaskStatus.PROCESSING if self.leased else TaskStatus.QUEUED


class KeyedRow(Row, frozen=True):
    """An idempotency key and its task."""

    key: str
    task_id: str


class HavingRow(Row, frozen=True):
    """An organization, and whether it has tasks of the status that was asked for."""

    id: int
    has: int


class Step(Struct, frozen=True):
    """The tasks that one step of a walk found, in its order."""

    tasks: list[LookedRow]
    after: str | None
    """The place behind which the next step begins, or None at the end of the walk."""
    looked: int
    """How many tasks it looked at."""


def walk(
    organization_id: int, chosen: TaskFilter, after: str | None, most: int, *, looks: int = LOOK_MOST
) -> Operation[Step]:
    """Find at most ``most`` tasks of one organization behind a place: newest first, or by key if keys are chosen.

    Needs one snapshot. It looks at no more than ``looks`` tasks. A place is the id of a task, or a key if keys are
    chosen; None is the beginning.
    """
    found: list[LookedRow] = []
    looked = 0
    while looked < looks:
        reads = min(looks - looked, LOOK_FIRST if not looked else LOOK_MOST)
        places = yield from _places(organization_id, chosen, after, reads)
        looked += len(places)
        asked = [(organization_id, task_id) for _, task_id in places]
        there = {row.id: row for row in (yield from rows_if("find_looked", asked, into=LookedRow, tasks=asked))}
        for place, task_id in places:
            row = there[task_id]
            if is_chosen(row, chosen):
                if len(found) == most:
                    return Step(found, after, looked)
                found.append(row)
            after = place
        if len(places) < reads or _is_before(there[places[-1][1]], chosen):
            return Step(found, None, looked)
    return Step(found, after, looked)


def _places(organization_id: int, chosen: TaskFilter, after: str | None, most: int) -> Operation[list[tuple[str, str]]]:
    """Return the next places of a walk, each with its task."""
    if chosen.key_prefix is not None:
        keyed = yield from rows(
            "find_keys_between", into=KeyedRow, organization_id=organization_id, least=chosen.key_prefix,
            after=after or "", before=chosen.key_prefix + BEYOND, most=most,
        )  # fmt: skip
        return [(row.key, row.task_id) for row in keyed]
    before = min(after or NEWEST, first_id_after(chosen.accepted_before))
    asked = {"organization_id": organization_id, "before": before, "most": most}
    match chosen.status:
        case TaskStatus.FAILED if chosen.group is not None:
            ids = yield from rows("find_newest_of_group", into=str, group=chosen.group, **asked)
        case TaskStatus.COMPLETED | TaskStatus.FAILED:
            ids = yield from rows("find_newest_ended", into=str, status=str(chosen.status), **asked)
        case TaskStatus.PROCESSING:
            ids = yield from rows("find_newest_leased", into=str, **asked)
        case _:
            ids = yield from rows("find_newest_tasks", into=str, **asked)
    return [(task_id, task_id) for task_id in ids]


def first_id_after(moment: int | None) -> str:
    """Return an id above those of all that was made before a moment, by the time in the ids; None is no bound."""
    if moment is None:
        return NEWEST
    time = f"{max(0, moment + CLOCKS_MS):012x}"
    return min(NEWEST, f"{time[:8]}-{time[8:12]}-ffff")


def _is_before(row: LookedRow, chosen: TaskFilter) -> bool:
    """Return whether all tasks behind this one were accepted before the chosen moment. Keys are in no such order."""
    if chosen.accepted_from is None or chosen.key_prefix is not None:
        return False
    return row.created_at < chosen.accepted_from - CLOCKS_MS


def is_chosen(row: LookedRow, chosen: TaskFilter) -> bool:
    """Return whether a task meets every condition."""
    return all(_conditions(row, chosen))


def _conditions(row: LookedRow, chosen: TaskFilter) -> Iterator[bool]:
    yield chosen.status in (None, row.status)
    yield chosen.task_type in (None, row.task_type)
    yield chosen.priority in (None, row.priority)
    yield chosen.group in (None, row.failure_group)
    yield chosen.accepted_from is None or row.created_at >= chosen.accepted_from
    yield chosen.accepted_before is None or row.created_at < chosen.accepted_before
    yield chosen.key_prefix is None or (row.idempotency_key or "").startswith(chosen.key_prefix)
    yield chosen.code is None or fails_with(row, chosen.code)


def fails_with(row: LookedRow, code: str) -> bool:
    """Return whether a task failed with this code, by how its failure begins as it is stored."""
    return row.failure is not None and row.failure.startswith(f'{{"code":{encode(code).decode()},')


def next_organization(status: TaskStatus | None, below: int) -> Operation[tuple[int | None, int | None]]:
    """Return the newest organization below this id that has tasks of a status, and where to look on.

    The first is None if there is none among ORGANIZATIONS_MOST; the second is None if there are no more organizations.
    """
    found = yield from rows(
        "find_organizations_having", into=HavingRow, status=None if status is None else str(status), below=below,
        most=ORGANIZATIONS_MOST,
    )  # fmt: skip
    having = next((row.id for row in found if row.has), None)
    if having is not None:
        return having, having
    return None, found[-1].id if len(found) == ORGANIZATIONS_MOST else None
