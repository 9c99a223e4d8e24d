"""What the samples of the whole installation say: the minutes of an hour, and what is wrong now. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from fairlane.model.fleet import FailedStart, Fleet
from fairlane.model.pulses import FleetPulse, PulsePoint, Trouble, TroubleGrade, TroubleKind
from fairlane.rules.history import quantile_ms

MINUTE_MS = 60_000
FAILING_MINUTES = 5
"""How far back failures count as happening now."""
CURED_MINUTES = 2
"""Without a failure in this number of minutes, the running one with them, the cause may be gone."""
FAILING_LEAST = 10
"""Fewer failed tasks than this in that time are no trouble."""
FAILING_SHARE = 0.05
"""Share of the tasks that ended from which failures are a trouble."""
FAILING_RISE = 2.0
"""And how many times the share of the time before it must be."""
LATE_MS = 60_000
"""How long a webhook message may be due before it counts as late."""
NAMES_SHOWN = 3


class Signs(Struct, frozen=True, kw_only=True):
    """What the health of an installation is judged by."""

    at: int
    fleet: Fleet
    minutes: Sequence[PulsePoint]
    maintenance: bool
    drifted: Sequence[str]
    """Names of some organizations with counts that differ from their rows."""
    due_at: int | None
    """Since when the first open webhook message has been due, or None if none is open."""
    worker_trouble: str | None
    """Why no worker of this server's own can start."""
    disk_full: bool


def pulse_points(
    pulses: Sequence[FleetPulse], *, began: FleetPulse | None = None, first: int, last: int
) -> tuple[PulsePoint, ...]:
    """Return a point for each minute from ``first`` to ``last``, from samples in the order of time.

    Several servers may have sampled one minute: the latest of them knows the sums, and each knows what it started. What
    a minute added is the difference from the minute before it, so the first minute after a gap has no counts, unless
    ``began``, what this server saw at its start, is of that minute or of the one
    before.
    """
    by_minute: dict[int, list[FleetPulse]] = {}
    for pulse in pulses:
        by_minute.setdefault(pulse.minute, []).append(pulse)
    return tuple([_point(minute, by_minute, began) for minute in range(first, last + 1)])


def _point(minute: int, by_minute: Mapping[int, list[FleetPulse]], began: FleetPulse | None) -> PulsePoint:
    start = minute * MINUTE_MS
    sampled = by_minute.get(minute)
    if not sampled:
        return PulsePoint(start=start, seconds=60.0)
    newest = max(sampled, key=lambda one: one.at)
    waits: dict[int, int] = {}
    for one in sampled:
        for bucket, count in one.waits.items():
            waits[bucket] = waits.get(bucket, 0) + count
    before = by_minute.get(minute - 1)
    earlier = max(before, key=lambda one: one.at) if before else None
    if earlier is None and began is not None and began.minute in (minute - 1, minute):
        earlier = began
    # An organization that is erased takes its totals along: that is no negative number of tasks.
    added = {
        name: None if earlier is None else max(0, getattr(newest, name) - getattr(earlier, name))
        for name in ("submitted", "completed", "failed")
    }
    return PulsePoint(
        start=start,
        seconds=round(min(60.0, max(0.001, (newest.at - (start if earlier is None else earlier.at)) / 1_000)), 3),
        queued=newest.queued,
        used=newest.used,
        slots_max=newest.slots_max,
        places=newest.places,
        places_used=newest.places_used,
        started=None if earlier is None else sum(one.started for one in sampled),
        wait_p50_ms=quantile_ms(waits, 0.5),
        wait_p99_ms=quantile_ms(waits, 0.99),
        **added,
    )


def troubles(signs: Signs) -> tuple[Trouble, ...]:
    """Return what is wrong, the most urgent first; empty if all is well."""
    order = list(TroubleKind)
    found = [*_server(signs), *_serving(signs), *_failing(signs.minutes), *_keeping(signs)]
    return tuple(sorted(found, key=lambda one: (one.grade is TroubleGrade.WARNING, order.index(one.kind))))


def _server(signs: Signs) -> Iterator[Trouble]:
    if signs.disk_full:
        yield Trouble(
            kind=TroubleKind.DISK_FULL,
            grade=TroubleGrade.PROBLEM,
            message="The database's disk is nearly full: every new task is refused",
            advice="Make room on the disk; the server accepts tasks again by itself.",
            since=None,
        )
    if signs.fleet.failed_starts:
        yield _failed_starts(signs.fleet.failed_starts)
    elif signs.worker_trouble is not None:
        yield Trouble(
            kind=TroubleKind.WORKERS_FAILING,
            grade=TroubleGrade.PROBLEM,
            message=f"No worker of this server can start: {signs.worker_trouble}",
            advice="Correct the application: the server tries again by itself.",
            since=None,
        )


def _failed_starts(failed: Sequence[FailedStart]) -> Trouble:
    first, *others = failed
    more = f", and {'one more' if len(others) == 1 else f'{len(others)} more'}" if others else ""
    tried = sum(one.failures for one in failed)
    return Trouble(
        kind=TroubleKind.WORKERS_FAILING,
        grade=TroubleGrade.PROBLEM,
        message=f"No worker of {first.application} can start on {first.host}: {first.cause}{more}",
        advice=f"{'1 start' if tried == 1 else f'{tried:,} starts'} failed. Correct the application: it is tried again "
        "by itself, or start the worker again.",
        since=first.first_at,
        subject=first.host,
    )


def _serving(signs: Signs) -> Iterator[Trouble]:
    stuck = {name: load for name, load in signs.fleet.loads.items() if load.ready and not load.served}
    if not stuck:
        return
    since = signs.at - max(load.oldest_ready_ms or 0 for load in stuck.values())
    tasks = sum(load.ready for load in stuck.values())
    if not signs.fleet.workers:
        yield Trouble(
            kind=TroubleKind.NO_WORKERS,
            grade=TroubleGrade.PROBLEM,
            message=f"No worker is connected: {_tasks(tasks)}",
            advice="Start a worker: fairlane worker. Tasks are kept until then.",
            since=since,
        )
        return
    names = sorted(stuck, key=lambda name: -stuck[name].ready)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    yield Trouble(
        kind=TroubleKind.TYPE_UNSERVED,
        grade=TroubleGrade.PROBLEM,
        message=f"No worker serves {', '.join(names[:NAMES_SHOWN])}{more}: {_tasks(tasks)}",
        advice="Start a worker with an application that has a handler for it. Tasks are kept until then.",
        since=since,
        subject=names[0],
    )


def _tasks(number: int) -> str:
    return "1 task waits" if number == 1 else f"{number:,} tasks wait"


def _failing(minutes: Sequence[PulsePoint]) -> Iterator[Trouble]:
    recent, before = minutes[-FAILING_MINUTES:], minutes[:-FAILING_MINUTES]
    failed = sum(one.failed or 0 for one in recent)
    if failed < FAILING_LEAST:
        return
    share, earlier = _failed_share(recent), _failed_share(before)
    if share < FAILING_SHARE or share < FAILING_RISE * earlier:
        return
    since = len(minutes)
    while since > 0 and _failed_share(minutes[since - 1 : since]) >= FAILING_SHARE:
        since -= 1
    first = minutes[since] if since < len(minutes) else next(one for one in recent if one.failed)
    # The minute before the running one, and what there is of that: tasks end, and none of them fails.
    latest = recent[-CURED_MINUTES:]
    cured = all(one.failed == 0 for one in latest) and any(one.completed for one in latest)
    message = f"{failed:,} tasks failed in the last {FAILING_MINUTES} minutes: {share * 100:.0f} % of those that ended"
    yield Trouble(
        kind=TroubleKind.FAILURES_RISING,
        grade=TroubleGrade.WARNING if cured else TroubleGrade.PROBLEM,
        message=f"{message}, none in the last minute" if cured else message,
        advice="The cause may be gone: run the failed tasks again, if that is not done yet."
        if cured
        else "See what failed and why, correct it, then run the tasks again.",
        since=first.start,
    )


def _failed_share(minutes: Sequence[PulsePoint]) -> float:
    failed = sum(one.failed or 0 for one in minutes)
    ended = failed + sum(one.completed or 0 for one in minutes)
    return failed / ended if ended else 0.0


def _keeping(signs: Signs) -> Iterator[Trouble]:
    if signs.drifted:
        names = ", ".join(signs.drifted[:NAMES_SHOWN])
        yield Trouble(
            kind=TroubleKind.DRIFT,
            grade=TroubleGrade.PROBLEM,
            message=f"Counts differ from their rows: {names}",
            advice="A server repairs them by itself within a minute. If this stays, report it as a bug.",
            since=None,
        )
    if signs.due_at is not None and signs.at - signs.due_at > LATE_MS:
        yield Trouble(
            kind=TroubleKind.DELIVERIES_LATE,
            grade=TroubleGrade.WARNING,
            message=f"{signs.fleet.deliveries_open:,} webhook messages are open, and the first of them is late",
            advice="Receivers may be slow. Under Deliveries you see which, and what holds their messages.",
            since=signs.due_at,
        )
    if signs.maintenance:
        yield Trouble(
            kind=TroubleKind.MAINTENANCE,
            grade=TroubleGrade.WARNING,
            message="The installation is under maintenance: customers see no slots in use and no limit",
            advice="End it under Upkeep when the work is done.",
            since=None,
        )
