"""``GET /v1/async/status``: one organization's queue and slots, now; optionally verified by a recount."""

import time
from collections.abc import Callable
from typing import ClassVar

from fairlane import wire
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.errors import RateLimited
from fairlane.model.keys import Caller
from fairlane.store import Store

VERIFY_PAUSE_SECONDS = 1.0
"""Shortest time between two recounts of one organization."""
VERIFY_SHARE = 0.01
"""Largest share of the time that recounts for one organization may take."""
VERIFIERS_MOST = 10_000


class StatusEndpoints:
    """The endpoint of the queue's state. Never cached, because callers use it to decide whether to submit."""

    def __init__(self, store: Store, *, steady_clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._steady_clock = steady_clock
        self._verify_at: dict[int, float] = {}
        """When each organization may request a recount again."""

    async def read(self, request: Request, caller: Caller) -> Answer:
        """Return one snapshot of the caller's organization. Other parameters are ignored, as they always were."""
        if request.option("verify") == "true":
            return await self._verify(caller.organization_id)
        status = await self._store.tasks.status(caller.organization_id)
        return Answer(wire.status_body(status), headers=(NO_STORE,))

    async def _verify(self, organization_id: int) -> Answer:
        """Return the same with a recount of its rows in the same snapshot, which has to read the whole queue."""
        began = self._steady_clock()
        if began < self._verify_at.get(organization_id, began):
            raise RateLimited()
        if len(self._verify_at) >= VERIFIERS_MOST:
            self._verify_at = {key: at for key, at in self._verify_at.items() if at > began}
        self._verify_at[organization_id] = float("inf")  # One at a time.
        try:
            verified = await self._store.recount.verify(organization_id)
        finally:
            ended = self._steady_clock()
            self._verify_at[organization_id] = max(began + VERIFY_PAUSE_SECONDS, ended + (ended - began) / VERIFY_SHARE)
        return Answer(wire.verified_body(verified, at=self._store.now()), headers=(NO_STORE,))

    routes: ClassVar[Routes] = (
        Route(
            "GET",
            "/v1/async/status",
            read,
            id="read_status",
            tag="status",
            summary="The organization's queue and slots, now",
            description="One consistent snapshot, exact at any queue depth. `concurrency` is null only while the "
            "server cannot vouch for the slots. With `verify=true` the rows themselves are counted in the same "
            "snapshot, and `verification` lists what differs from the counts: `drift` must be 0.",
            query={"verify": {"type": "boolean", "default": False}},
            answer=wire.StatusBody,
            examples=("status", "status_idle", "status_over_limit", "status_null", "status_verified"),
            refusals=(RateLimited,),
        ),
    )
