"""Why one task waits: read in one snapshot, judged by ``rules``."""

from collections import Counter

import msgspec

from fairlane.model.insight import Wait, WaitReason
from fairlane.model.tasks import TaskStatus
from fairlane.rules.fairness import rank_of
from fairlane.rules.waiting import Running, Standing, wait_estimate, wait_reason
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.slots import read_progress
from fairlane.store.statements import Operation, Rows, clock, rows, rows_if

AHEAD_MOST = 10_000
"""Most ready tasks that are counted in its own lane: takes half a millisecond."""
RIVALS_MOST = 1_000
RUNNING_MOST = 500
"""Most running tasks that are read; more would not change the estimate much."""


class WaitStore(Noun):
    """Reasons of waiting tasks."""

    async def find(self, organization_id: int, reference: str) -> Wait | None:
        """Return why the task with this id, or else this idempotency key, is in its state, or None if there is none.

        Costs the same at any depth of the queue.
        """
        return await self._database.snapshot(find_wait(organization_id, reference, self._memory), share=organization_id)


def find_wait(organization_id: int, reference: str, memory: Memory) -> Operation[Wait | None]:
    """Read why a task is in its state. Needs one snapshot."""
    found = yield from rows("find_wait", organization_id=organization_id, reference=reference)
    if not found:
        return None
    task_id, task_type, priority, seq, ended, started_at, attempt, due_at, progress = found[0]
    if ended is not None:
        return Wait(task_id=task_id, task_type=task_type, status=TaskStatus(ended), reason=WaitReason.FINISHED)
    if started_at is not None:
        return Wait(
            task_id=task_id,
            task_type=task_type,
            status=TaskStatus.PROCESSING,
            reason=WaitReason.RUNNING,
            progress=read_progress(progress),
        )
    if due_at is not None:
        reason = WaitReason.RETRY_PAUSE if attempt else WaitReason.DELAYED
        return Wait(task_id=task_id, task_type=task_type, status=TaskStatus.QUEUED, reason=reason, until=due_at)
    ahead, bounded = yield from _ahead(organization_id, rank_of(priority), seq)
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
    for task_type, count, own_rank in (
        yield from rows("count_ahead", organization_id=organization_id, rank=rank, seq=seq, most=AHEAD_MOST + 1)
    ):
        bounded = bounded or bool(own_rank and count > AHEAD_MOST)
        ahead[task_type] += min(count, AHEAD_MOST) if own_rank else count
    return ahead, bounded


def _standing(organization_id: int, task_type: str, memory: Memory) -> Operation[Standing]:
    [own] = yield from rows("find_standing", organization_id=organization_id)
    paused, disabled, slots_max, used, weight, virtual_time, credits_held = own
    now = yield from clock()
    limited = yield from rows("find_type_limit", task_type=task_type)
    type_limit, type_used = limited[0] if limited else (None, 0)
    places = taken = 0
    serving = []
    for types, session_places, session_taken, session_id in (yield from rows("find_serving", now=now)):
        if task_type in msgspec.json.decode(types):
            places += session_places
            taken += min(session_places, session_taken)
            serving.append(session_id)
    in_slots = yield from rows("find_running_of_organization", organization_id=organization_id, most=RUNNING_MOST)
    in_places = yield from rows_if("find_running_of_sessions", serving, ids=serving, most=RUNNING_MOST)
    in_type = (
        [] if type_limit is None else (yield from rows("find_running_of_type", task_type=task_type, most=RUNNING_MOST))
    )
    [(before, weights)] = yield from rows(
        "find_rivals",
        organization_id=organization_id,
        task_type=task_type,
        virtual_time=max(virtual_time, memory.virtual_time),
        most=RIVALS_MOST,
    )
    return Standing(
        stopped=bool(paused or disabled),
        used=used,
        slots_max=slots_max,
        credits_held=bool(credits_held),
        type_used=type_used,
        type_limit=type_limit,
        places=places,
        places_free=places - taken,
        rivals_before=before,
        share=weight / (weight + weights),
        in_slots=_running(in_slots, now),
        in_places=_running(in_places, now),
        in_type=_running(in_type, now),
    )


def _running(found: Rows, now: int) -> tuple[Running, ...]:
    return tuple([Running(task_type, max(0, now - started_at)) for task_type, started_at in found])
