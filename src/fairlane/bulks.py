"""The work on bulks: one step of each running bulk after the other, with a pause between them.

Called by upkeep of every server (``sweeper.py``). It checks payloads against the application's types, which may run the
application's code, so this happens outside of the store's transactions.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping

from fairlane.bounded import Bounded
from fairlane.errors import Refusal
from fairlane.handlers import ServedType
from fairlane.model.bulks import BulkKind, BulkStep, Skipped
from fairlane.store import Store

SHARE = 0.25
"""Largest share of time spent on steps, so that a bulk of any size leaves the store thread to requests."""
PAUSE_SECONDS = 0.01
"""Least pause between two rounds."""
REST_SECONDS = 1.0
"""How long a bulk rests of which all parts wait for room, or that another server works on; up to twice as long."""
INLINE_BYTES = 2**18
"""Payloads of a step up to this size are checked on the event loop, larger ones on a thread."""
KNOWN_MOST = 1_000
"""Most bulks that a server remembers; what it forgets costs a step that changes nothing."""


class BulkWork:
    """One server's work on all running bulks. Its memory only saves steps that would change nothing."""

    def __init__(
        self, store: Store, task_types: Mapping[str, ServedType], *, steady_clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._task_types = task_types
        self._steady_clock = steady_clock
        self._places: Bounded[str, int] = Bounded(KNOWN_MOST)
        """The organization of each bulk's last step: the parts take turns."""
        self._useful: Bounded[str, bool] = Bounded(KNOWN_MOST)
        """Whether a step of each bulk changed anything since its parts began to take their turns."""
        self._rest_until: Bounded[str, float] = Bounded(KNOWN_MOST)
        self._random = random.Random()  # noqa: S311 - spreads load, guards nothing
        self.pause_seconds = REST_SECONDS
        """How long to pause before the next round."""

    async def round(self) -> int:
        """Make one step of each running bulk that does not rest; return how many go on."""
        began = self._steady_clock()
        made = 0
        for bulk in await self._store.bulks.running():
            if self._rest_until.get(bulk.id, began) <= self._steady_clock():
                made += await self._step(bulk.id)
        took = self._steady_clock() - began
        self.pause_seconds = max(PAUSE_SECONDS, took / SHARE - took) if made else REST_SECONDS
        return made

    async def _step(self, bulk_id: str) -> bool:
        """Make the next step of a bulk; return False if it rests from now on, or is over."""
        step = await self._store.bulks.look(bulk_id, self._places.get(bulk_id, 0))
        if step is None:  # All parts had their turn, so the next one is the first again.
            idle = self._places.get(bulk_id, 0) > 0 and not self._useful.get(bulk_id, False)
            self._places[bulk_id], self._useful[bulk_id] = 0, False
            if idle:
                return self._rest(bulk_id)
            step = await self._store.bulks.look(bulk_id, 0)
            if step is None:
                return False
        self._places[bulk_id] = step.organization_id
        if step.held:
            return True
        stepped = await self._store.bulks.apply(step, await self._refused(step))
        if not stepped.moved:
            return self._rest(bulk_id)
        self._useful[bulk_id] = self._useful.get(bulk_id, False) or not stepped.held or stepped.done > 0
        return True

    def _rest(self, bulk_id: str) -> bool:
        self._rest_until[bulk_id] = self._steady_clock() + REST_SECONDS * self._random.uniform(1, 2)
        return False

    async def _refused(self, step: BulkStep) -> dict[str, Skipped]:
        """Return tasks with a payload that does not fit its type today, or with a type that is gone."""
        if step.kind is not BulkKind.RETRY:
            return {}
        if sum(len(one.payload) for one in step.tasks) <= INLINE_BYTES:
            return self._check(step)
        return await asyncio.to_thread(self._check, step)

    def _check(self, step: BulkStep) -> dict[str, Skipped]:
        refused = {}
        for one in step.tasks:
            task_type = self._task_types.get(one.task_type)
            try:
                if task_type is not None:
                    task_type.decode(one.payload)
                    continue
            except Refusal:
                pass
            refused[one.id] = Skipped.VALIDATION_ERROR
        return refused
