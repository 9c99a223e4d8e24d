"""``/admin/v1/overview``: the whole installation now and in the last hour, with what is wrong."""

from collections.abc import Callable
from typing import ClassVar

from fairlane.api.admin.installation import ServerFacts
from fairlane.api.admin.shapes import answer
from fairlane.api.fresh import Fresh
from fairlane.api.http import Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.model.pulses import Overview
from fairlane.store import Store

FRESH_SECONDS = 1.0
SHARE_MOST = 0.02
"""Share of the time that reading the sums may take: their cost grows with the number of organizations."""


class OverviewEndpoints:
    """The operator's endpoint: one read a second for all requests."""

    def __init__(self, store: Store, facts: Callable[[], ServerFacts]) -> None:
        self._store = store
        self._facts = facts
        self._fresh = Fresh(self._look, seconds=FRESH_SECONDS, share=SHARE_MOST)

    async def read(self, request: Request, actor: str) -> Answer:
        """Return what is wrong, the sums of all organizations, and a point for each minute of the last hour."""
        request.query()
        return answer(await self._fresh.find())

    async def _look(self) -> Overview:
        facts = self._facts()
        return await self._store.pulses.overview(worker_trouble=facts.worker_trouble, disk_full=facts.disk_full)

    routes: ClassVar[Routes] = (Route("GET", "/admin/v1/overview", read),)
