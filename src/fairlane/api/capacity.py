"""``GET /v1/async/capacity``: what an organization's limits cost it, and what more slots would have done."""

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.errors import RateLimited
from fairlane.model.keys import Caller
from fairlane.simulation import advise
from fairlane.store import Store

DAY_MS = 86_400_000
DAYS_MOST = 90
DAYS_USUAL = 7
TASKS_MOST = 5_000
"""Most tasks that are replayed; this takes a tenth of a second for each number of slots."""
PAUSE_SECONDS = 1.0
ORGANIZATIONS_MOST = 10_000


class CapacityEndpoints:
    """The endpoint of capacity advice."""

    def __init__(self, store: Store, *, steady_clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._steady_clock = steady_clock
        self._next_at: dict[int, float] = {}
        """When each organization may ask again."""
        self._replaying = asyncio.Lock()

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return advice from the caller's last days. A replay is slow, so one at a time, and at most one per second."""
        days = read_days(request)
        self._admit(caller.organization_id)
        start = self._store.now() - days * DAY_MS
        record = await self._store.usage.record(caller.organization_id, start=start, most=TASKS_MOST)
        async with self._replaying:
            capacity = await asyncio.to_thread(advise, record)
        return Answer(wire.capacity_body(capacity), headers=(NO_STORE,))

    def _admit(self, organization_id: int) -> None:
        now = self._steady_clock()
        if now < self._next_at.get(organization_id, now):
            raise RateLimited()
        if len(self._next_at) >= ORGANIZATIONS_MOST:
            self._next_at = {key: at for key, at in self._next_at.items() if at > now}
        self._next_at[organization_id] = now + PAUSE_SECONDS

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/async/capacity",
            read,
            id="read_capacity",
            tag="status",
            summary="How long plan and workers were the limit, and what more slots would have done",
            description="The limited times are exact; the projections replay the newest finished tasks and are "
            "estimates.",
            query={"days": {"type": "integer", "minimum": 1, "maximum": DAYS_MOST, "default": DAYS_USUAL}},
            answer=wire.CapacityBody,
            examples=("capacity", "capacity_enough", "capacity_doubtful", "capacity_idle"),
            refusals=(RateLimited,),
        ),
    )


def read_days(request: Request) -> int:
    """Return the requested number of days. Raises ValidationRefused."""
    return read_number("days", request.query("days").get("days"), usual=DAYS_USUAL, most=DAYS_MOST)
