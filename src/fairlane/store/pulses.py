"""The whole installation minute by minute: a sample of its sums, and the last hour with what is wrong now."""

from collections.abc import Mapping

import msgspec

from fairlane.model.fleet import Fleet
from fairlane.model.live import Total
from fairlane.model.pulses import FleetPulse, Overview
from fairlane.rules.pulses import NAMES_SHOWN, Signs, pulse_points, troubles
from fairlane.store.attempt_counts import AttemptCounts
from fairlane.store.config import Config
from fairlane.store.fleet import find_fleet
from fairlane.store.maintenance import find_maintenance
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun, Shared
from fairlane.store.statements import CHUNK, Moment, Operation, Row, only, rows, run
from fairlane.store.transaction import Transaction

MINUTE_MS = 60_000
SHOWN_MINUTES = 60
LATE_MS = 15_000
"""A sample that comes later than its minute, by less than this, still counts for it: a busy server would have a gap."""
KEPT_MINUTES = 2 * 24 * 60
"""How long pulses are kept."""


class PulseRow(Row, frozen=True):
    """What one server saw in one minute; the waits are JSON."""

    minute: int
    server_id: str
    at: int
    queued: int
    used: int
    slots_max: int
    places: int
    places_used: int
    submitted: int
    completed: int
    failed: int
    started: int
    waits: str


class StartedCounts(msgspec.Struct, frozen=True):
    """What this server had started by one moment, since it began."""

    started: int = 0
    waits: Mapping[int, int] = {}


class Installation(msgspec.Struct, frozen=True):
    """The whole installation in one snapshot."""

    fleet: Fleet
    total: Total
    pulses: list[FleetPulse]
    """The last hour, without what this server wrote of the minute that is not over."""
    maintenance: bool
    drifted: list[str]
    due_at: int | None


class PulseStore(Noun):
    """Samples of the whole installation."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._server_id = shared.config.new_id()
        self._minute = 0
        """The minute of this server's last sample."""
        self._before = StartedCounts()
        """What it had counted before that minute."""
        self._counted = StartedCounts()
        """What it had counted at that sample."""
        self._began: FleetPulse | None = None
        """What it saw at its start, or None if it is no server."""

    async def begin(self) -> None:
        """Note the sums at the start of a server, so that the first minute has counts."""
        fleet, total = await self._database.snapshot(_find_sums(self._config, self._memory))
        self._began = _pulse(fleet, total, StartedCounts(), StartedCounts())

    async def sample(self) -> None:
        """Write what this server sees in this minute. Safe to repeat: a later sample of the minute replaces it."""
        fleet, total = await self._database.snapshot(_find_sums(self._config, self._memory))
        counted = _counted(self._memory.seen)
        minute, past = divmod(fleet.at, MINUTE_MS)
        last = self._minute or (self._began.minute - 1 if self._began is not None else 0)
        if last == minute - 2 and past < LATE_MS:
            minute -= 1
        pulse = _pulse(fleet, total, counted, self._base(minute), minute=minute)
        await self._write(_write_pulse, self._server_id, pulse)
        self._before, self._minute, self._counted = self._base(pulse.minute), pulse.minute, counted

    async def overview(self, *, worker_trouble: str | None, disk_full: bool) -> Overview:
        """Return the installation now and in the last hour, and what is wrong.

        Reads the sums of all organizations and a bounded number of samples. What other servers started in this minute
        is not in it.
        """
        now = await self._database.snapshot(find_installation(self._config, self._memory, self._server_id))
        minute = now.fleet.at // MINUTE_MS
        running = _pulse(now.fleet, now.total, _counted(self._memory.seen), self._base(minute))
        minutes = pulse_points([*now.pulses, running], began=self._began, first=minute - SHOWN_MINUTES + 1, last=minute)
        signs = Signs(
            at=now.fleet.at,
            fleet=now.fleet,
            minutes=minutes,
            maintenance=now.maintenance,
            drifted=now.drifted,
            due_at=now.due_at,
            worker_trouble=worker_trouble,
            disk_full=disk_full,
        )
        return _overview(now.fleet, now.total, signs)

    async def purge(self) -> int:
        """Delete samples older than two days, at most CHUNK; return how many."""
        return await self._write(_purge)

    def _base(self, minute: int) -> StartedCounts:
        """Return what this server had counted before this minute."""
        return self._before if minute == self._minute else self._counted


def _find_sums(config: Config, memory: Memory) -> Operation[tuple[Fleet, Total]]:
    fleet = yield from find_fleet(config, memory)
    return fleet, (yield from only("sum_organizations", into=Total))


def find_installation(config: Config, memory: Memory, server_id: str) -> Operation[Installation]:
    """Read the installation now and its samples of the last hour. Needs one snapshot."""
    fleet, total = yield from _find_sums(config, memory)
    minute = fleet.at // MINUTE_MS
    # One minute more than is shown, because a minute is a difference.
    found = yield from rows("find_pulses", into=PulseRow, first=minute - SHOWN_MINUTES)
    return Installation(
        fleet=fleet,
        total=total,
        pulses=[_read(row) for row in found if (row.minute, row.server_id) != (minute, server_id)],
        maintenance=(yield from find_maintenance()),
        drifted=(yield from rows("find_drifted_names", into=str, most=NAMES_SHOWN)),
        due_at=(yield from only("find_first_due_delivery", into=Moment)).at,
    )


def _overview(fleet: Fleet, total: Total, signs: Signs) -> Overview:
    waited = [load.oldest_ready_ms for load in fleet.loads.values() if load.oldest_ready_ms is not None]
    return Overview(
        at=fleet.at,
        troubles=troubles(signs),
        total=total,
        slots_max=fleet.slots_max,
        runnable=fleet.runnable,
        calls_ready=fleet.calls_ready,
        workers=fleet.workers,
        places=fleet.places,
        places_used=fleet.places_used,
        deliveries_open=fleet.deliveries_open,
        oldest_ready_ms=max(waited, default=None),
        loads=fleet.loads,
        minutes=tuple(signs.minutes),
    )


def _counted(seen: AttemptCounts) -> StartedCounts:
    """Return what this server has started since it began, over all types."""
    waits: dict[int, int] = {}
    started = 0
    for kind in list(seen.types.values()):
        started += kind.started
        for bucket, count in enumerate(kind.waits.counts):
            if count:
                waits[bucket] = waits.get(bucket, 0) + count
    return StartedCounts(started, waits)


def _pulse(
    fleet: Fleet, total: Total, counted: StartedCounts, before: StartedCounts, *, minute: int | None = None
) -> FleetPulse:
    waits = {bucket: count - before.waits.get(bucket, 0) for bucket, count in counted.waits.items()}
    return FleetPulse(
        minute=fleet.at // MINUTE_MS if minute is None else minute,
        at=fleet.at,
        queued=total.queued,
        used=fleet.slots_used,
        slots_max=fleet.slots_max,
        places=fleet.places,
        places_used=fleet.places_used,
        submitted=total.submitted,
        completed=total.completed,
        failed=total.failed,
        started=counted.started - before.started,
        waits={bucket: count for bucket, count in waits.items() if count},
    )


def _read(row: PulseRow) -> FleetPulse:
    values = msgspec.structs.asdict(row) | {"waits": dict(msgspec.json.decode(row.waits))}
    del values["server_id"]
    return FleetPulse(**values)


def _write_pulse(transaction: Transaction, server_id: str, pulse: FleetPulse) -> Operation[None]:
    values = msgspec.structs.asdict(pulse)
    values["waits"] = msgspec.json.encode(sorted(pulse.waits.items())).decode()
    yield from run("upsert_pulse", server_id=server_id, **values)


def _purge(transaction: Transaction) -> Operation[int]:
    before = (yield from transaction.read_clock()) // MINUTE_MS - KEPT_MINUTES
    return len((yield from rows("delete_pulses", into=int, before=before, most=CHUNK)))
