"""The pure judgement of the whole installation: its minutes, and what is wrong with it, word by word."""

from typing import Any

import pytest

from fairlane.model.fleet import FailedStart, Fleet, TypeLoad
from fairlane.model.pulses import FleetPulse, PulsePoint, Trouble, TroubleGrade, TroubleKind
from fairlane.rules.history import bucket_of
from fairlane.rules.pulses import FAILING_LEAST, LATE_MS, MINUTE_MS, Signs, pulse_points, troubles

MINUTE = 30_000_000
AT = MINUTE * MINUTE_MS


def a_pulse(minute: int, at: int, **changes: Any) -> FleetPulse:
    """What one server saw in this minute."""
    values: dict[str, Any] = {
        "queued": 0, "used": 0, "slots_max": 0, "places": 0, "places_used": 0, "submitted": 0, "completed": 0,
        "failed": 0, "started": 0, "waits": {},
    }  # fmt: skip
    return FleetPulse(minute=minute, at=at, **values | changes)


def a_load(ready: int, *, served: bool = False, oldest_ready_ms: int | None = None) -> TypeLoad:
    """Ready tasks of one type."""
    return TypeLoad(
        ready=ready, waiting=0, processing=0, calls=0, oldest_ready_ms=oldest_ready_ms, served=served, limit=None
    )


def a_start(host: str, failures: int = 1) -> FailedStart:
    """An application that cannot start on this machine."""
    return FailedStart(
        host=host, application="shop:app", key=None, cause="ImportError", version="", failures=failures, first_at=7,
        last_at=9,
    )  # fmt: skip


def signs(
    *,
    minutes: list[PulsePoint] | None = None,
    loads: dict[str, TypeLoad] | None = None,
    failed_starts: tuple[FailedStart, ...] = (),
    workers: int = 1,
    deliveries_open: int = 0,
    **changes: Any,
) -> Signs:
    """An installation that is well, but for these signs."""
    fleet = Fleet(
        at=AT, organizations=1, organizations_drifted=0, slots_used=0, slots_max=1, runnable=0, calls_ready=0,
        workers=workers, places=1, places_used=0, deliveries_open=deliveries_open, hosts_failing=0, bulks_running=0,
        failed_starts=failed_starts, loads=loads or {}, tallies={}, tries={},
    )  # fmt: skip
    values: dict[str, Any] = {
        "at": AT, "fleet": fleet, "minutes": minutes or [], "maintenance": False, "drifted": [], "due_at": None,
        "worker_trouble": None, "disk_full": False,
    }  # fmt: skip
    return Signs(**values | changes)


def ended(*counts: tuple[int | None, int | None]) -> list[PulsePoint]:
    """Minutes in which these numbers of tasks completed and failed, the last of them the running one."""
    return [
        PulsePoint(start=number, seconds=60.0, completed=completed, failed=failed)
        for number, (completed, failed) in enumerate(counts)
    ]


def test_all_is_well() -> None:
    """Nothing waits for a worker, little fails, nothing is late."""
    assert troubles(signs()) == ()
    assert troubles(signs(loads={"PAGE": a_load(9, served=True), "REPORT": a_load(0)}, due_at=AT - LATE_MS)) == ()


def test_a_minute_has_what_its_last_sample_knows_and_what_all_servers_started() -> None:
    """Of two servers the later sample has the sums; waits and starts are added up."""
    waits = {bucket_of(100): 3}
    before = [a_pulse(MINUTE - 1, AT - 31_000, submitted=1, completed=1, failed=1),
              a_pulse(MINUTE - 1, AT - 1_000, submitted=10, completed=7, failed=2)]  # fmt: skip
    now = [
        a_pulse(MINUTE, AT + 40_000, queued=1, submitted=99, completed=98, failed=97, started=4, waits=waits),
        a_pulse(
            MINUTE, AT + 41_500, queued=5, used=3, slots_max=8, places=6, places_used=2, submitted=21, completed=12,
            failed=5, started=6, waits=waits | {bucket_of(1_000): 94},
        ),
        a_pulse(MINUTE, AT + 20_000, queued=7, submitted=1, completed=1, failed=1, started=1),
    ]  # fmt: skip

    points = pulse_points([*before, *now], first=MINUTE, last=MINUTE + 1)

    assert points == (
        PulsePoint(
            start=AT, seconds=42.5, queued=5, used=3, slots_max=8, places=6, places_used=2, submitted=11, started=11,
            completed=5, failed=3, wait_p50_ms=864, wait_p99_ms=1_021,
        ),
        PulsePoint(start=AT + MINUTE_MS, seconds=60.0),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("began_minute", "added"), [(MINUTE - 2, None), (MINUTE - 1, 4), (MINUTE, 4), (MINUTE + 1, None)]
)
def test_the_first_minute_counts_from_the_start_of_the_server(began_minute: int, added: int | None) -> None:
    """If it started in this minute or the one before; a longer gap says nothing."""
    began = a_pulse(began_minute, AT - 8_000, submitted=3, completed=3, failed=3)
    pulse = a_pulse(MINUTE, AT + 2_000, submitted=7, completed=7, failed=7, started=4)

    [point] = pulse_points([pulse], began=began, first=MINUTE, last=MINUTE)

    assert (point.submitted, point.completed, point.failed, point.started) == (added,) * 4
    assert point.seconds == (2.0 if added is None else 10.0)
    assert (point.wait_p50_ms, point.wait_p99_ms) == (None, None)


def test_a_minute_is_neither_negative_nor_longer_than_itself() -> None:
    """Totals of an erased organization go with it; samples of two servers may be out of step."""
    before = a_pulse(MINUTE - 1, AT - 90_000, submitted=9, completed=9, failed=9)
    [late] = pulse_points([before, a_pulse(MINUTE, AT, submitted=8, completed=9)], first=MINUTE, last=MINUTE)
    [early] = pulse_points([before, a_pulse(MINUTE, AT - 90_000)], first=MINUTE, last=MINUTE)
    before_and_began = pulse_points(
        [before, a_pulse(MINUTE, AT, submitted=10)], began=a_pulse(MINUTE, AT), first=MINUTE, last=MINUTE
    )

    assert (late.submitted, late.completed, late.failed, late.seconds) == (0, 0, 0, 60.0)
    assert early.seconds == 0.001
    assert before_and_began[0].submitted == 1


def test_what_keeps_the_server_from_working_is_said() -> None:
    """A full disk, and its own workers."""
    disk, workers = troubles(signs(disk_full=True, worker_trouble="the import fails"))

    assert disk == Trouble(
        kind=TroubleKind.DISK_FULL, grade=TroubleGrade.PROBLEM,
        message="The database's disk is nearly full: every new task is refused",
        advice="Make room on the disk; the server accepts tasks again by itself.", since=None,
    )  # fmt: skip
    assert workers == Trouble(
        kind=TroubleKind.WORKERS_FAILING, grade=TroubleGrade.PROBLEM,
        message="No worker of this server can start: the import fails",
        advice="Correct the application: the server tries again by itself.", since=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("starts", "more", "tried"),
    [
        ((a_start("east"),), "", "1 start"),
        ((a_start("east"), a_start("west", 1_200)), ", and one more", "1,201 starts"),
        ((a_start("east"), a_start("west"), a_start("north")), ", and 2 more", "3 starts"),
    ],
)
def test_the_machine_where_no_worker_starts_is_named(starts: tuple[FailedStart, ...], more: str, tried: str) -> None:
    """The longest lasting of them; what this server knows of its own workers is among them."""
    [found] = troubles(signs(failed_starts=starts, worker_trouble="the import fails"))

    assert found == Trouble(
        kind=TroubleKind.WORKERS_FAILING, grade=TroubleGrade.PROBLEM,
        message=f"No worker of shop:app can start on east: ImportError{more}",
        advice=f"{tried} failed. Correct the application: it is tried again by itself, or start the worker again.",
        since=7, subject="east",
    )  # fmt: skip


def test_work_without_any_worker_is_said() -> None:
    """Since the oldest task could start."""
    loads = {"A": a_load(1, oldest_ready_ms=5), "B": a_load(1_199, oldest_ready_ms=80), "C": a_load(0)}
    [many] = troubles(signs(loads=loads, workers=0))
    [one] = troubles(signs(loads={"A": a_load(1)}, workers=0))

    assert many == Trouble(
        kind=TroubleKind.NO_WORKERS, grade=TroubleGrade.PROBLEM, message="No worker is connected: 1,200 tasks wait",
        advice="Start a worker: fairlane worker. Tasks are kept until then.", since=AT - 80,
    )  # fmt: skip
    assert (one.message, one.since) == ("No worker is connected: 1 task waits", AT)


@pytest.mark.parametrize(
    ("loads", "names", "tasks"),
    [
        ({"A": a_load(2)}, "A", "2 tasks wait"),
        ({"A": a_load(1), "B": a_load(4), "S": a_load(9, served=True)}, "B, A", "5 tasks wait"),
        ({"A": a_load(1), "B": a_load(4), "C": a_load(2)}, "B, C, A", "7 tasks wait"),
        ({"A": a_load(1), "B": a_load(4), "C": a_load(2), "D": a_load(3)}, "B, D, C and 1 more", "10 tasks wait"),
    ],
)
def test_types_that_no_worker_serves_are_named(loads: dict[str, TypeLoad], names: str, tasks: str) -> None:
    """Those with most tasks first, and at most three."""
    [found] = troubles(signs(loads=loads))

    assert found == Trouble(
        kind=TroubleKind.TYPE_UNSERVED, grade=TroubleGrade.PROBLEM, message=f"No worker serves {names}: {tasks}",
        advice="Start a worker with an application that has a handler for it. Tasks are kept until then.", since=AT,
        subject=names[0],
    )  # fmt: skip


def test_failures_that_rise_are_said_with_their_beginning() -> None:
    """From the first of the minutes with too many in a row."""
    minutes = ended((100, 0), (95, 5), (None, None), (80, 20), (90, 10), (1_000, 1_000), (100, 10))
    [found] = troubles(signs(minutes=minutes))

    assert found == Trouble(
        kind=TroubleKind.FAILURES_RISING, grade=TroubleGrade.PROBLEM,
        message="1,040 tasks failed in the last 5 minutes: 45 % of those that ended",
        advice="See what failed and why, correct it, then run the tasks again.", since=3,
    )  # fmt: skip


def test_failures_that_stopped_are_a_warning() -> None:
    """Two minutes without one in which tasks completed; without any the cause may still be there."""
    [stopped] = troubles(signs(minutes=ended((0, 50), (50, 0), (0, 0))))
    [silent] = troubles(signs(minutes=ended((0, 50), (0, 0), (0, 0))))
    [unknown] = troubles(signs(minutes=ended((0, 50), (50, None), (50, 0))))
    [goes_on] = troubles(signs(minutes=ended((0, 50), (50, 1), (50, 0))))

    assert stopped == Trouble(
        kind=TroubleKind.FAILURES_RISING, grade=TroubleGrade.WARNING,
        message="50 tasks failed in the last 5 minutes: 50 % of those that ended, none in the last minute",
        advice="The cause may be gone: run the failed tasks again, if that is not done yet.", since=0,
    )  # fmt: skip
    assert [one.grade for one in (silent, unknown, goes_on)] == [TroubleGrade.PROBLEM] * 3


@pytest.mark.parametrize(
    ("minutes", "since"),
    [
        (ended((0, FAILING_LEAST - 1)), None),
        (ended((0, FAILING_LEAST)), 0),
        (ended((951, 50)), None),
        (ended((950, 50)), 0),
        # As bad before as now, and twice as bad.
        (ended(*[(80, 20)] * 6), None),
        (ended((90, 10), *[(100, 0)] * 4, (0, 100)), 5),
        (ended((90, 10), *[(80, 20)] * 5), 0),
        (ended((89, 11), *[(80, 20)] * 5), None),
        # The running minute has few yet.
        (ended((0, 20), (0, 20), (40, 1)), 0),
    ],
)
def test_few_failures_and_old_ones_are_no_trouble(minutes: list[PulsePoint], since: int | None) -> None:
    """Fewer than ten, less than a twentieth, or less than twice the share of before."""
    found = troubles(signs(minutes=minutes))

    assert [one.since for one in found] == ([] if since is None else [since])


def test_the_first_minute_with_a_failure_counts_if_none_of_the_last_was_bad() -> None:
    """The running minute alone may be below the share."""
    minutes = ended((10, 0), (10, 0), (40, 10), (30, 0))

    [found] = troubles(signs(minutes=minutes))

    assert found.since == 2


def test_what_keeping_needs_is_said_in_the_order_of_urgency() -> None:
    """Problems first, in the order of their kinds; then warnings."""
    found = troubles(
        signs(
            drifted=["a", "b", "c", "d"], due_at=AT - LATE_MS - 1, deliveries_open=1_234, maintenance=True,
            disk_full=True, minutes=ended((0, 50), (9, 0), (9, 0)),
        )
    )  # fmt: skip

    assert [one.kind for one in found] == [
        TroubleKind.DISK_FULL, TroubleKind.DRIFT, TroubleKind.FAILURES_RISING, TroubleKind.DELIVERIES_LATE,
        TroubleKind.MAINTENANCE,
    ]  # fmt: skip
    assert found[1] == Trouble(
        kind=TroubleKind.DRIFT, grade=TroubleGrade.PROBLEM, message="Counts differ from their rows: a, b, c",
        advice="A server repairs them by itself within a minute. If this stays, report it as a bug.", since=None,
    )  # fmt: skip
    assert found[3:] == (
        Trouble(
            kind=TroubleKind.DELIVERIES_LATE, grade=TroubleGrade.WARNING,
            message="1,234 webhook messages are open, and the first of them is late",
            advice="Receivers may be slow. Under Deliveries you see which, and what holds their messages.",
            since=AT - LATE_MS - 1,
        ),
        Trouble(
            kind=TroubleKind.MAINTENANCE, grade=TroubleGrade.WARNING,
            message="The installation is under maintenance: customers see no slots in use and no limit",
            advice="End it under Upkeep when the work is done.", since=None,
        ),
    )  # fmt: skip
