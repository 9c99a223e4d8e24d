"""What replays of finished tasks take and give: traces, limits, and the waits that come of both.

The store reads traces and records, ``simulation.py`` beside this package replays them, the api and ``fairlane
simulate`` show what came out. A finished task is here without payload, result and id.
"""

from msgspec import Struct

from fairlane.model.tasks import PRIORITY_LOWEST
from fairlane.model.usage import UsagePoint


class Traced(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task that ended, as far as its organization's waits depend on it: no payload, no result, no id."""

    organization: str
    accepted_at: int
    started_at: int
    """The first time."""
    finished_at: int
    run_at: int | None = None
    """The moment before which it was not to start; None: it might at once."""
    priority: int = PRIORITY_LOWEST
    task_type: str = ""

    @property
    def ready_at(self) -> int:
        """Since when it waited for a slot and a place."""
        return max(self.accepted_at, self.run_at or 0)


class TracePage(Struct, frozen=True):
    """Some tasks in the order in which they ended, and after which (moment, id) the next page begins; None: the end."""

    tasks: tuple[Traced, ...]
    after: tuple[int, str] | None


class Ran(Struct, frozen=True, kw_only=True):
    """A finished task as the projection needs it."""

    ready_at: int
    """Since when it might have started: it was accepted, and its ``run_at`` was reached."""
    started_at: int
    finished_at: int
    priority: int


class Record(Struct, frozen=True, kw_only=True):
    """What an organization's limits did in a span, and the finished tasks of it that are still kept."""

    total: UsagePoint
    slots_max: int | None
    ran: tuple[Ran, ...]
    """The newest, oldest of them first."""
    places: int
    """Of all live workers now."""


class Projection(Struct, frozen=True, kw_only=True):
    """What waits would have been with so many slots."""

    slots: int
    wait_p50_ms: int
    wait_p90_ms: int
    wait_p99_ms: int


class Waits(Struct, frozen=True, kw_only=True):
    """How long half, nine in ten and 99 in a hundred tasks waited at most. All None: there were none."""

    p50_ms: int | None
    p90_ms: int | None
    p99_ms: int | None


class Capacity(Struct, frozen=True, kw_only=True):
    """Advice on an organization's slots."""

    total: UsagePoint
    """What happened, and how long the plan and the workers were the limit."""
    slots_max: int | None
    tasks: int
    """How many were replayed."""
    measured: Waits
    """What they really waited, with whatever slots and places there were then."""
    projections: tuple[Projection, ...]
    """With so many slots, and workers enough for them."""
    trusted: bool | None
    """Whether the first of them, with the slots of now, is near enough to what was measured; None: there is none."""
    enough: bool
    """There are slots and workers enough: no advice is called for."""
    places: int
    """Of all live workers now."""


class Party(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One organization's limits, as a replay knows them."""

    slots: int
    weight: int = 1


class WhatIf(Struct, frozen=True, kw_only=True):
    """One organization's waits: as they were, and replayed under the limits of now and under others."""

    organization: str
    tasks: int
    now: Party
    then: Party
    waits_measured: Waits
    waits_now: Waits
    waits_then: Waits
    trusted: bool
    """Whether ``waits_now`` is near enough to ``waits_measured`` to trust ``waits_then``."""
