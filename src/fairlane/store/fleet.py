"""The whole installation at one moment, and this server's counts since it started."""

import msgspec

from fairlane.model.fleet import Durations, Fleet, TypeLoad, TypeTally
from fairlane.rules.history import BUCKETS, bucket_bound_ms
from fairlane.store.attempt_counts import Histogram, TypeCounts
from fairlane.store.lease_rows import CALL
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.statements import Operation, clock, rows


class FleetStore(Noun):
    """The state of the whole installation."""

    async def find(self) -> Fleet:
        """Return sums over all organizations, by task type where possible, and this server's own counts."""
        return await self._database.snapshot(find_fleet(self._memory))


def find_fleet(memory: Memory) -> Operation[Fleet]:
    """Read the sums. Needs one snapshot."""
    now = yield from clock()
    [(organizations, slots_used, slots_max, calls_ready, runnable, drifted)] = yield from rows("sum_fleet")
    queued = {row[0]: (row[1], row[2]) for row in (yield from rows("sum_lanes"))}
    running: dict[str, list[int]] = {}
    for task_type, kind, count in (yield from rows("count_running")):
        running.setdefault(task_type, [0, 0])[1 if kind == CALL else 0] = count
    oldest = dict((yield from rows("find_oldest_ready")))
    workers = places = taken = 0
    served: set[str] = set()
    for types, session_places, session_taken, _ in (yield from rows("find_serving", now=now)):
        names = msgspec.json.decode(types)
        if not names:
            continue  # a server's own session: it runs nothing
        workers += 1
        places += session_places
        taken += min(session_places, session_taken)
        served.update(names)
    names = sorted({*memory.catalogue, *queued, *running})
    [(deliveries_open,)] = yield from rows("count_open_deliveries")
    return Fleet(
        at=now,
        organizations=organizations,
        organizations_drifted=drifted,
        slots_used=slots_used,
        slots_max=slots_max,
        runnable=runnable,
        calls_ready=calls_ready,
        workers=workers,
        places=places,
        places_used=taken,
        deliveries_open=deliveries_open,
        loads={
            name: TypeLoad(
                ready=queued.get(name, (0, 0))[0],
                waiting=queued.get(name, (0, 0))[1],
                processing=running.get(name, [0, 0])[0],
                calls=running.get(name, [0, 0])[1],
                oldest_ready_ms=max(0, now - oldest[name]) if name in oldest else None,
                served=name in served,
            )
            for name in names
        },
        tallies={name: _tally(seen) for name, seen in list(memory.seen.types.items())},
        tries=dict(memory.seen.tries),
    )


def _tally(seen: TypeCounts) -> TypeTally:
    return TypeTally(
        completed=seen.completed, failed=seen.failed, waits=_durations(seen.waits), runs=_durations(seen.runs)
    )


def _durations(histogram: Histogram) -> Durations:
    """Return a histogram with whole powers of two as bounds only: half as many numbers."""
    counts = list(histogram.counts)
    bounds, total = [], 0
    for bucket in range(0, BUCKETS - 1, 2):
        total += counts[bucket] + (counts[bucket - 1] if bucket else 0)
        bounds.append((bucket_bound_ms(bucket) / 1000, total))
    return Durations(up_to=tuple(bounds), count=sum(counts), sum_seconds=histogram.sum_ms / 1000)
