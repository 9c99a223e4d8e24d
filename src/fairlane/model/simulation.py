"""Input and output of replays of finished tasks: traces, limits, and the resulting waits.

The store reads traces and records, ``simulation.py`` (outside this package) replays them, and the API and ``fairlane
simulate`` show the result. A finished task appears here without payload, result and id.
"""

from msgspec import Struct

from fairlane.model.tasks import PRIORITY_LOWEST
from fairlane.model.usage import UsagePoint


class Traced(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finished task, reduced to what its organization's waits depend on: no payload, no result, no id."""

    organization: str
    accepted_at: int
    started_at: int
    """The first start."""
    finished_at: int
    run_at: int | None = None
    """The moment before which it must not start, or None if it could start at once."""
    priority: int = PRIORITY_LOWEST
    task_type: str = ""

    @property
    def ready_at(self) -> int:
        """Return the moment since which it waited for a slot and a place."""
        return max(self.accepted_at, self.run_at or 0)


class TracePage(Struct, frozen=True):
    """Some tasks in the order in which they ended, and the (moment, id) after which the next page begins, or None at
    the end.
    """

    tasks: tuple[Traced, ...]
    after: tuple[int, str] | None


class Ran(Struct, frozen=True, kw_only=True):
    """A finished task as the projection needs it."""

    ready_at: int
    """When it could have started: it was accepted, and its ``run_at`` was reached."""
    started_at: int
    finished_at: int
    priority: int


class WorkRecord(Struct, frozen=True, kw_only=True):
    """What an organization's limits did in a span, and its finished tasks from that span that are still kept."""

    total: UsagePoint
    slots_max: int | None
    ran: tuple[Ran, ...]
    """The newest ones, ordered from oldest to newest."""
    places: int
    """Places of all live workers now."""


class Projection(Struct, frozen=True, kw_only=True):
    """What the waits would have been with this number of slots."""

    slots: int
    wait_p50_ms: int
    wait_p90_ms: int
    wait_p99_ms: int


class Waits(Struct, frozen=True, kw_only=True):
    """The median, 90th and 99th percentile of the waits; all None if there were no tasks."""

    p50_ms: int | None
    p90_ms: int | None
    p99_ms: int | None


class Capacity(Struct, frozen=True, kw_only=True):
    """Advice on an organization's slots."""

    total: UsagePoint
    """What happened, and how long the plan and the workers were the limit."""
    slots_max: int | None
    tasks: int
    """Number of tasks that were replayed."""
    measured: Waits
    """Their actual waits, with the slots and places of that time."""
    projections: tuple[Projection, ...]
    """The waits for each number of slots, assuming enough workers."""
    trusted: bool | None
    """Whether the first projection, with the current slots, is close enough to the measured waits; None if there is
    none."""
    enough: bool
    """Whether slots and workers are sufficient, so that no advice is needed."""
    places: int
    """Places of all live workers now."""


class SimulatedOrganization(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One organization's limits, as a replay uses them."""

    slots: int
    weight: int = 1


class WhatIf(Struct, frozen=True, kw_only=True):
    """One organization's waits: as measured, and replayed with the current limits and with others."""

    organization: str
    tasks: int
    now: SimulatedOrganization
    then: SimulatedOrganization
    waits_measured: Waits
    waits_now: Waits
    waits_then: Waits
    trusted: bool
    """Whether ``waits_now`` is close enough to ``waits_measured`` to trust ``waits_then``."""
