"""Why one task waits: read in one snapshot, judged by ``rules``."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from fairlane.model.insight import Wait, WaitReason
from fairlane.model.tasks import TaskStatus
from fairlane.rules.fairness import rank_of
from fairlane.rules.waiting import Running, Standing, wait_estimate, wait_reason
from fairlane.store.fleet import ServingRow
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.slots import read_progress
from fairlane.store.statements import Operation, Row, clock, first, only, rows, rows_if

AHEAD_MOST = 10_000
"""Most ready tasks that are counted in its own lane: takes half a millisecond."""
RIVALS_MOST = 1_000
RUNNING_MOST = 500
"""Most running tasks that are read; more would not change the estimate much."""


class WaitRow(Row, frozen=True):
    """A task, and what is known of its state."""

    task_id: str
    task_type: str
    priority: int
    seq: int
    ended: str | None
    started_at: int | None
    attempt: int | None
    due_at: int | None
    progress: str | None


class AheadRow(Row, frozen=True):
    """Ready tasks of one lane that come first."""

    task_type: str
    count: int
    own_rank: int


class StandingRow(Row, frozen=True):
    """What an organization's row says about its next start."""

    paused: int
    disabled: int
    slots_max: int | None
    used: int
    weight: int
    virtual_time: int
    waits_for_credits: int


class TypeUseRow(Row, frozen=True):
    """A type's limit, and how many run."""

    most: int
    used: int


class RunningRow(Row, frozen=True):
    """A running attempt."""

    task_type: str
    started_at: int


class RivalsRow(Row, frozen=True):
    """Organizations with a turn for the same type."""

    before: int
    weights: int


class WaitStore(Noun):
    """Reasons of waiting tasks."""

    async def find(self, organization_id: int, reference: str) -> Wait | None:
        """Return why the task with this id, or else this idempotency key, is in its state, or None if there is none.

        Costs the same at any depth of the queue.
        """
        return await self._database.snapshot(find_wait(organization_id, reference, self._memory), share=organization_id)


def find_wait(organization_id: int, reference: str, memory: Memory) -> Operation[Wait | None]:
    """Read why a task is in its state. Needs one snapshot."""
    row = yield from first("find_wait", into=WaitRow, organization_id=organization_id, reference=reference)
    if row is None:
        return None
    task_id, task_type = row.task_id, row.task_type
    if row.ended is not None:
        return Wait(task_id=task_id, task_type=task_type, status=TaskStatus(row.ended), reason=WaitReason.FINISHED)
    if row.started_at is not None:
        return Wait(
            task_id=task_id,
            task_type=task_type,
            status=TaskStatus.PROCESSING,
            reason=WaitReason.RUNNING,
            progress=read_progress(row.progress),
        )
    if row.due_at is not None:
        reason = WaitReason.RETRY_PAUSE if row.attempt else WaitReason.DELAYED
        return Wait(task_id=task_id, task_type=task_type, status=TaskStatus.QUEUED, reason=reason, until=row.due_at)
    ahead, bounded = yield from _ahead(organization_id, rank_of(row.priority), row.seq)
    standing = yield from _standing(organization_id, task_type, memory)
    running = {one.task_type for one in (*standing.in_slots, *standing.in_places, *standing.in_type)}
    observed = memory.observed({*ahead, *running, task_type})
    return Wait(
        task_id=task_id,
        task_type=task_type,
        status=TaskStatus.QUEUED,
        reason=wait_reason(standing),
        ahead=ahead.total(),
        ahead_bounded=bounded,
        estimate=None if bounded else wait_estimate(standing, ahead, task_type, observed),
    )


def _ahead(organization_id: int, rank: int, seq: int) -> Operation[tuple[Counter[str], bool]]:
    """Return ready tasks that come first, by type; and whether a lane was not counted to its end."""
    ahead: Counter[str] = Counter()
    bounded = False
    # One more than the maximum, to know whether there are more.
    lanes = yield from rows(
        "count_ahead", into=AheadRow, organization_id=organization_id, rank=rank, seq=seq, most=AHEAD_MOST + 1
    )
    for lane in lanes:
        bounded = bounded or bool(lane.own_rank and lane.count > AHEAD_MOST)
        ahead[lane.task_type] += min(lane.count, AHEAD_MOST) if lane.own_rank else lane.count
    return ahead, bounded


def _standing(organization_id: int, task_type: str, memory: Memory) -> Operation[Standing]:
    own = yield from only("find_standing", into=StandingRow, organization_id=organization_id)
    now = yield from clock()
    limited = yield from first("find_type_limit", into=TypeUseRow, task_type=task_type)
    places = taken = 0
    serving = []
    for session in (yield from rows("find_serving", into=ServingRow, now=now)):
        if task_type in msgspec.json.decode(session.types):
            places += session.places
            taken += min(session.places, session.taken)
            serving.append(session.id)
    in_slots = yield from rows(
        "find_running_of_organization", into=RunningRow, organization_id=organization_id, most=RUNNING_MOST
    )
    in_places = yield from rows_if("find_running_of_sessions", serving, into=RunningRow, ids=serving, most=RUNNING_MOST)
    in_type: list[RunningRow] = []
    if limited is not None:
        in_type = yield from rows("find_running_of_type", into=RunningRow, task_type=task_type, most=RUNNING_MOST)
    rivals = yield from only(
        "find_rivals",
        into=RivalsRow,
        organization_id=organization_id,
        task_type=task_type,
        virtual_time=max(own.virtual_time, memory.virtual_time),
        most=RIVALS_MOST,
    )
    return Standing(
        stopped=bool(own.paused or own.disabled),
        used=own.used,
        slots_max=own.slots_max,
        credits_held=bool(own.waits_for_credits),
        type_used=0 if limited is None else limited.used,
        type_limit=None if limited is None else limited.most,
        places=places,
        places_free=places - taken,
        rivals_before=rivals.before,
        share=own.weight / (own.weight + rivals.weights),
        in_slots=_running(in_slots, now),
        in_places=_running(in_places, now),
        in_type=_running(in_type, now),
    )


def _running(found: Sequence[RunningRow], now: int) -> tuple[Running, ...]:
    return tuple([Running(row.task_type, max(0, now - row.started_at)) for row in found])
