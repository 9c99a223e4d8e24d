"""The whole installation at one moment: what waits and runs of each type, and on which workers.

The store counts it; ``/metrics``, autoscalers and the commands read it. It names no organization, so operators may
show these numbers to their monitoring.
"""

from msgspec import Struct


class TypeLoad(Struct, frozen=True, kw_only=True):
    """The load of one task type now."""

    ready: int
    waiting: int
    processing: int
    calls: int
    oldest_ready_ms: int | None
    """How long the oldest ready task has been able to start, or None if none is ready."""
    served: bool
    """Whether a live worker serves it."""
    limit: int | None
    """How many of it may run at once over all organizations, or None for any number."""


class FailedStart(Struct, frozen=True, kw_only=True):
    """An application of which no worker can start on one machine."""

    host: str
    application: str
    key: str | None
    """The worker key of its supervisor, or None for a server's own workers."""
    cause: str
    """Why the last start failed, without the text of an exception."""
    version: str
    failures: int
    """Number of starts that failed since ``first_at``."""
    first_at: int
    last_at: int


class Durations(Struct, frozen=True, kw_only=True):
    """Durations as a cumulative histogram."""

    up_to: tuple[tuple[float, int], ...]
    """(seconds, number of durations up to that)."""
    count: int
    sum_seconds: float


class TypeTally(Struct, frozen=True, kw_only=True):
    """What one server counted for one task type since it started."""

    completed: int
    failed: int
    waits: Durations
    runs: Durations
    slot_wait_seconds: float
    """Of the waits, how long they were for a slot, and for a worker."""
    worker_wait_seconds: float


class Fleet(Struct, frozen=True, kw_only=True):
    """The whole installation at one moment."""

    at: int
    organizations: int
    organizations_drifted: int
    slots_used: int
    slots_max: int
    runnable: int
    """Ready tasks that have a free slot, summed over organizations."""
    calls_ready: int
    workers: int
    places: int
    places_used: int
    deliveries_open: int
    hosts_failing: int
    """Hosts of webhooks with a last try that failed, up to 1,000."""
    bulks_running: int
    """Requests to run again or cancel many tasks that are not done, up to 1,000."""
    failed_starts: tuple[FailedStart, ...]
    """Applications of which no worker can start on a machine, the longest lasting first."""
    loads: dict[str, TypeLoad]
    tallies: dict[str, TypeTally]
    tries: dict[str, int]
    """Webhook tries by this server, by outcome."""


class Scaling(Struct, frozen=True, kw_only=True):
    """The numbers that an autoscaler needs."""

    runnable: int
    calls_ready: int
    processing: int
    """Attempts and calls that hold a slot."""
    workers: int
    places_per_worker: float
    recommended_workers: int
    """The number of workers that have places for everything that runs or could run."""
