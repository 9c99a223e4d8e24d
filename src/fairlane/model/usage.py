"""History: running totals, and what happened between two moments.

The sweeper samples totals, the store subtracts them, the API and the commands show the differences. It contains only
sums, never a single task.
"""

from msgspec import Struct


class Totals(Struct, frozen=True, kw_only=True):
    """One organization's running totals at one moment. The difference of two of them is what happened in between."""

    at: int
    submitted: int = 0
    started: int = 0
    """Attempts."""
    completed: int = 0
    failed: int = 0
    run_ms: int = 0
    """Total duration of attempts that ended."""
    slot_ms: int = 0
    plan_limited_ms: int = 0
    worker_limited_ms: int = 0
    waits: dict[int, int] = {}
    """Number of tasks by the bucket of their wait for the first start."""


class UsagePoint(Struct, frozen=True, kw_only=True):
    """What happened in one span."""

    start: int
    end: int
    submitted: int
    started: int
    completed: int
    failed: int
    wait_p50_ms: int | None
    """None if no task started for the first time."""
    wait_p99_ms: int | None
    run_ms: int
    slot_ms: int
    plan_limited_ms: int
    worker_limited_ms: int


class Usage(Struct, frozen=True, kw_only=True):
    """What happened in a span, and in each of its steps."""

    total: UsagePoint
    points: tuple[UsagePoint, ...]


class TypeSample(Struct, frozen=True, kw_only=True):
    """What happened to one task type in one minute, as one sample saw it."""

    at: int
    """When the minute begins."""
    task_type: str
    started: int
    completed: int
    failed: int
    waits: dict[int, int]
    """Number of tasks by the bucket of their wait for the first start."""
    runs: dict[int, int]
    """Number of ended attempts by the bucket of their duration."""


class TypePoint(Struct, frozen=True, kw_only=True):
    """What happened to one task type in one span. The durations are p50, p90 and p99, or None if there are none."""

    start: int
    started: int
    """Attempts."""
    completed: int
    failed: int
    wait_p50_ms: int | None
    wait_p90_ms: int | None
    wait_p99_ms: int | None
    run_p50_ms: int | None
    run_p90_ms: int | None
    run_p99_ms: int | None


class TypeUsage(Struct, frozen=True, kw_only=True):
    """One task type: a whole span, and those of its steps in which an attempt of the type started or ended."""

    task_type: str
    total: TypePoint
    points: tuple[TypePoint, ...]


class UsageByType(Struct, frozen=True, kw_only=True):
    """What happened in a span by task type, in the order of their names."""

    start: int
    end: int
    types: tuple[TypeUsage, ...]


class UsedInMonth(Struct, frozen=True, kw_only=True):
    """What one organization used in one month, UTC."""

    organization: str
    month: str
    from_at: int
    """When the turn of the month was noticed, or the organization was created; earlier usage is not included."""
    until_at: int
    """When the next turn of the month was noticed, or now if it has not been yet."""
    closed: bool
    """Whether the month is over; then these numbers no longer change."""
    submitted: int
    completed: int
    failed: int
    credits_charged: int
    slot_seconds: float
