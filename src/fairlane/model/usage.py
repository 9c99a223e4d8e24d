"""History: running totals, and what happened between two moments of them.

The sweeper samples totals, the store subtracts them, the api and the commands show the differences. Only sums are
here, never a single task.
"""

from msgspec import Struct


class Totals(Struct, frozen=True, kw_only=True):
    """One organization's running totals at one moment; what happened between two of them is their difference."""

    at: int
    submitted: int = 0
    started: int = 0
    """Attempts."""
    completed: int = 0
    failed: int = 0
    run_ms: int = 0
    """Of attempts that ended."""
    slot_ms: int = 0
    plan_limited_ms: int = 0
    worker_limited_ms: int = 0
    waits: dict[int, int] = {}
    """How many tasks waited so long for their first start, by bucket."""


class UsagePoint(Struct, frozen=True, kw_only=True):
    """What happened in one span."""

    start: int
    end: int
    submitted: int
    started: int
    completed: int
    failed: int
    wait_p50_ms: int | None
    """None: nothing started for the first time."""
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
    """When the turn of the month was noticed, or the organization created; what came before is not in it."""
    until_at: int
    """When the next turn was noticed; if that is still to come, now."""
    closed: bool
    """The month is over: these numbers change no more."""
    submitted: int
    completed: int
    failed: int
    credits_charged: int
    slot_seconds: float
