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
