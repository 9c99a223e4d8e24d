"""The whole installation minute by minute and now, and what is wrong with it: what operators look at first.

The sweeper has the store write a pulse each minute, ``rules/pulses.py`` subtracts and judges them, and the operator's
API and dashboard show the result. A pulse has only sums, never an organization or a task.
"""

from enum import StrEnum

from msgspec import Struct

from fairlane.model.fleet import TypeLoad
from fairlane.model.live import Total


class FleetPulse(Struct, frozen=True, kw_only=True):
    """The whole installation as one server saw it in one minute."""

    minute: int
    at: int
    queued: int
    used: int
    slots_max: int
    places: int
    places_used: int
    submitted: int
    """This and the next two are running totals of all organizations."""
    completed: int
    failed: int
    started: int
    """Attempts that this server started in this minute."""
    waits: dict[int, int]
    """Tasks that this server started for the first time in this minute, by the bucket of their wait."""


class PulsePoint(Struct, frozen=True, kw_only=True):
    """One minute of the whole installation. None stands for what was not recorded, because no server ran."""

    start: int
    seconds: float
    """How much of the minute is in it: 60, or less in the minute that is not over."""
    queued: int | None = None
    used: int | None = None
    slots_max: int | None = None
    places: int | None = None
    places_used: int | None = None
    submitted: int | None = None
    started: int | None = None
    completed: int | None = None
    failed: int | None = None
    wait_p50_ms: int | None = None
    wait_p99_ms: int | None = None


class TroubleKind(StrEnum):
    """What can be wrong with an installation as a whole, the most urgent first."""

    DISK_FULL = "disk_full"
    WORKERS_FAILING = "workers_failing"
    NO_WORKERS = "no_workers"
    TYPE_UNSERVED = "type_unserved"
    FAILURES_RISING = "failures_rising"
    DRIFT = "drift"
    DELIVERIES_LATE = "deliveries_late"
    MAINTENANCE = "maintenance"


class TroubleGrade(StrEnum):
    """How urgent it is: customers notice a problem, and a warning should be looked at."""

    PROBLEM = "problem"
    WARNING = "warning"


class Trouble(Struct, frozen=True, kw_only=True):
    """One thing that is wrong, in words for people."""

    kind: TroubleKind
    grade: TroubleGrade
    message: str
    advice: str
    since: int | None
    """None if nothing says since when."""
    subject: str | None = None
    """The task type or the machine that it is about, or None."""


class Overview(Struct, frozen=True, kw_only=True):
    """The whole installation now and in the last hour, with the most urgent trouble first."""

    at: int
    troubles: tuple[Trouble, ...]
    total: Total
    slots_max: int
    runnable: int
    calls_ready: int
    workers: int
    places: int
    places_used: int
    deliveries_open: int
    oldest_ready_ms: int | None
    """How long the oldest ready task of all has been able to start, or None if none is ready."""
    loads: dict[str, TypeLoad]
    minutes: tuple[PulsePoint, ...]
    """The last hour; the last one is not over."""
