"""The whole installation at one moment: what waits and runs of each type, on which workers.

The store counts it; ``/metrics``, autoscalers and the commands read it. No organization is named in it: operators may
show these numbers to whoever watches machines.
"""

from msgspec import Struct


class TypeLoad(Struct, frozen=True, kw_only=True):
    """What there is of one task type now."""

    ready: int
    waiting: int
    processing: int
    calls: int
    oldest_ready_ms: int | None
    """For how long the oldest ready task could have started; None: none is ready."""
    served: bool
    """Whether a live worker serves it."""


class Durations(Struct, frozen=True, kw_only=True):
    """Durations as a cumulative histogram."""

    up_to: tuple[tuple[float, int], ...]
    """(seconds, how many took no longer)."""
    count: int
    sum_seconds: float


class TypeTally(Struct, frozen=True, kw_only=True):
    """What one server saw of one task type since it started."""

    completed: int
    failed: int
    waits: Durations
    runs: Durations


class Fleet(Struct, frozen=True, kw_only=True):
    """Everything at one moment."""

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
    loads: dict[str, TypeLoad]
    tallies: dict[str, TypeTally]
    tries: dict[str, int]
    """Webhook tries by this server, by outcome."""


class Scaling(Struct, frozen=True, kw_only=True):
    """What an autoscaler needs to know."""

    runnable: int
    calls_ready: int
    processing: int
    """Attempts and calls that hold a slot."""
    workers: int
    places_per_worker: float
    recommended_workers: int
    """So many have places for all that runs or could run."""
