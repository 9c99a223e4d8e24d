"""Whether slots and workers are enough, and whether a replay may be trusted."""

NOTICEABLE_MS = 1_000
"""A wait, or a difference between two, that is shorter than this many milliseconds needs no advice."""
ENOUGH_SHARE = 0.2
"""Slots or workers may be the limit for this share of the time and still be enough, as long as waits are short."""


def enough(wait_ms: int | None, *, plan_share: float, worker_share: float) -> bool:
    """Return whether there are enough slots and workers.

    ``wait_ms`` is the 90th percentile of the waits, or None if no task has ended.
    """
    if wait_ms is None:
        return plan_share == 0 == worker_share
    return wait_ms < NOTICEABLE_MS and max(plan_share, worker_share) <= ENOUGH_SHARE


def replay_fits(measured_ms: int, replayed_ms: int) -> bool:
    """Return whether a replay of today's limits is close enough to the measurement to trust it about other limits.

    It may differ by a third of the measured wait. A difference that is not noticeable does not count.
    """
    miss_ms = abs(replayed_ms - measured_ms)
    return miss_ms < NOTICEABLE_MS or 3 * miss_ms <= measured_ms
