"""One server's memory between transactions: hints only. Losing all of it breaks no promise.

Filled by store operations on the store thread, read by the next ones. Virtual time and estimates steer the fair order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fairlane.bounded import Bounded
from fairlane.rules.fairness import expected_ms, next_estimate
from fairlane.store.attempt_counts import AttemptCounts

RECENT_MOST = 256
SESSIONS_MOST = 10_000


@dataclass(slots=True)
class RecentDurations:
    """Durations of the last attempts of one type. Written on the store thread; other threads take copies."""

    values: list[int] = field(default_factory=list)
    next: int = 0

    def add(self, milliseconds: int) -> None:
        """Add one; replace the oldest if there is no room."""
        if len(self.values) < RECENT_MOST:
            self.values.append(milliseconds)
        else:
            self.values[self.next] = milliseconds
            self.next = (self.next + 1) % RECENT_MOST


@dataclass(slots=True)
class Memory:
    """What one server remembers of its transactions."""

    virtual_time: int = 0
    """The virtual time of the last pick. It never decreases."""
    estimates: dict[str, float] = field(default_factory=dict)
    recent: dict[str, RecentDurations] = field(default_factory=dict)
    """Durations of each type, for estimates that people see."""
    seen: AttemptCounts = field(default_factory=AttemptCounts)
    served: Bounded[str, tuple[str, ...]] = field(default_factory=lambda: Bounded(SESSIONS_MOST))
    """The types of each session, which never change."""
    limited: set[str] = field(default_factory=set)
    """Types that had a limit when they were last locked."""

    def know_limits(self, task_types: Iterable[str], limits: dict[str, int]) -> dict[str, int]:
        """Record which of these types have a limit; return the limits."""
        self.limited = self.limited.difference(task_types) | limits.keys()
        return limits

    def estimate_ms(self, task_type: str) -> int:
        """Return how long an attempt of this type is expected to last."""
        return expected_ms(self.estimates.get(task_type))

    def observe(self, task_type: str, durations_ms: Iterable[int]) -> None:
        """Add finished attempts to the estimate."""
        recent = self.recent.get(task_type)
        if recent is None:
            recent = self.recent[task_type] = RecentDurations()
        estimate_ms = self.estimates.get(task_type)
        for milliseconds in durations_ms:
            estimate_ms = next_estimate(estimate_ms, milliseconds)
            recent.add(milliseconds)
        if estimate_ms is not None:
            self.estimates[task_type] = estimate_ms

    def observed(self, task_types: Iterable[str]) -> dict[str, list[int]]:
        """Return how long recent attempts of these types took; types without any are left out."""
        found = ((name, self.recent.get(name)) for name in task_types)
        return {name: list(recent.values) for name, recent in found if recent is not None}

    def picked(self, virtual_time: int) -> None:
        """Advance virtual time to the last pick."""
        self.virtual_time = max(self.virtual_time, virtual_time)
