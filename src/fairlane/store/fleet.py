"""The whole installation at one moment, and this server's counts since it started."""

import msgspec

from fairlane.model.fleet import Durations, Fleet, TypeLoad, TypeTally
from fairlane.rules.history import BUCKETS, bucket_bound_ms
from fairlane.store.attempt_counts import Histogram, TypeCounts
from fairlane.store.config import Config
from fairlane.store.failed_starts import find_failed_starts
from fairlane.store.lease_rows import CALL
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.statements import Operation, Row, clock, only, rows

COUNTED_MOST = 1_000
"""The most failing hosts and running bulks that are counted: more cost no more."""


class FleetRow(Row, frozen=True):
    """Sums over all organizations."""

    organizations: int
    slots_used: int
    slots_max: int
    calls_ready: int
    runnable: int
    organizations_drifted: int


class LaneSumsRow(Row, frozen=True):
    """Queued tasks of one type."""

    task_type: str
    ready: int
    waiting: int


class RunningCountRow(Row, frozen=True):
    """Running tasks or calls of one type."""

    task_type: str
    kind: int
    count: int


class OldestRow(Row, frozen=True):
    """Since when the oldest ready task of one type could have started."""

    task_type: str
    ready_at: int | None


class TypeMostRow(Row, frozen=True):
    """A type with a limit."""

    task_type: str
    most: int


class ServingRow(Row, frozen=True):
    """A live session: its types as JSON, its places, and how many of them are taken."""

    types: str
    places: int
    taken: int
    id: str


class TroublesRow(Row, frozen=True):
    """What is under way and what fails, each counted up to a bound."""

    hosts_failing: int
    bulks_running: int


class FleetStore(Noun):
    """The state of the whole installation."""

    async def find(self) -> Fleet:
        """Return sums over all organizations, by task type where possible, and this server's own counts."""
        return await self._database.snapshot(find_fleet(self._config, self._memory))


def find_fleet(config: Config, memory: Memory) -> Operation[Fleet]:
    """Read the sums. Needs one snapshot."""
    now = yield from clock()
    sums = yield from only("sum_fleet", into=FleetRow)
    queued = {row.task_type: row for row in (yield from rows("sum_lanes", into=LaneSumsRow))}
    processing: dict[str, int] = {}
    calls: dict[str, int] = {}
    for row in (yield from rows("count_running", into=RunningCountRow)):
        (calls if row.kind == CALL else processing)[row.task_type] = row.count
    oldest = {row.task_type: row.ready_at for row in (yield from rows("find_oldest_ready", into=OldestRow))}
    limits = {row.task_type: row.most for row in (yield from rows("find_type_limits", into=TypeMostRow))}
    workers = places = taken = 0
    served: set[str] = set()
    for session in (yield from rows("find_serving", into=ServingRow, now=now)):
        names = msgspec.json.decode(session.types)
        if not names:
            continue  # a server's own session: it runs nothing
        workers += 1
        places += session.places
        taken += min(session.places, session.taken)
        served.update(names)
    names = sorted({*config.catalogue, *queued, *processing, *calls})
    deliveries_open = yield from only("count_open_deliveries", into=int)
    troubles = yield from only("count_troubles", into=TroublesRow, most=COUNTED_MOST)
    return Fleet(
        at=now,
        organizations=sums.organizations,
        organizations_drifted=sums.organizations_drifted,
        slots_used=sums.slots_used,
        slots_max=sums.slots_max,
        runnable=sums.runnable,
        calls_ready=sums.calls_ready,
        workers=workers,
        places=places,
        places_used=taken,
        deliveries_open=deliveries_open,
        hosts_failing=troubles.hosts_failing,
        bulks_running=troubles.bulks_running,
        failed_starts=(yield from find_failed_starts()),
        loads={
            name: TypeLoad(
                ready=queued[name].ready if name in queued else 0,
                waiting=queued[name].waiting if name in queued else 0,
                processing=processing.get(name, 0),
                calls=calls.get(name, 0),
                oldest_ready_ms=None if (since := oldest.get(name)) is None else max(0, now - since),
                served=name in served,
                limit=limits.get(name),
            )
            for name in names
        },
        tallies={name: _tally(seen) for name, seen in list(memory.seen.types.items())},
        tries=dict(memory.seen.tries),
    )


def _tally(seen: TypeCounts) -> TypeTally:
    return TypeTally(
        completed=seen.completed,
        failed=seen.failed,
        waits=_durations(seen.waits),
        runs=_durations(seen.runs),
        slot_wait_seconds=seen.slot_wait_ms / 1000,
        worker_wait_seconds=seen.worker_wait_ms / 1000,
    )


def _durations(histogram: Histogram) -> Durations:
    """Return a histogram with whole powers of two as bounds only: half as many numbers."""
    counts = list(histogram.counts)
    bounds, total = [], 0
    for bucket in range(0, BUCKETS - 1, 2):
        total += counts[bucket] + (counts[bucket - 1] if bucket else 0)
        bounds.append((bucket_bound_ms(bucket) / 1000, total))
    return Durations(up_to=tuple(bounds), count=sum(counts), sum_seconds=histogram.sum_ms / 1000)
