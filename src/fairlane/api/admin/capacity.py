"""``/admin/v1/organizations/{}/capacity``: the organization's own capacity advice, for operators."""

import asyncio
from typing import ClassVar

from fairlane import wire
from fairlane.api.capacity import DAY_MS, TASKS_MOST, read_days
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.simulation import advise
from fairlane.store import Store


class AdminCapacityEndpoints:
    """The operator's endpoint."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._replaying = asyncio.Lock()

    async def read(self, request: Request, actor: str) -> Answer:
        """Return the body of ``GET /v1/async/capacity``. One replay at a time."""
        start = self._store.now() - read_days(request) * DAY_MS
        record = await self._store.usage.record_of(*request.parameters, start=start, most=TASKS_MOST)
        async with self._replaying:
            capacity = await asyncio.to_thread(advise, record)
        return Answer(wire.capacity_body(capacity), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (Route("GET", "/admin/v1/organizations/{organization}/capacity", read),)
