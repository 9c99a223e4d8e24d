"""``/admin/v1/lanes``: the slots and queues of the organizations that an operator looks at."""

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar

from fairlane.api.admin.shapes import answer
from fairlane.api.http import Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.bounded import Bounded
from fairlane.errors import ValidationRefused
from fairlane.model.lanes import OrganizationLanes
from fairlane.store import Store

FRESH_SECONDS = 0.9
"""How long what was read of an organization is shared by all requests: a little less than a viewer's second."""
WINDOW_MOST = 100
"""Most organizations of one request."""
KEPT_MOST = 1_000


class LaneEndpoints:
    """The operator's endpoint: each organization is read once a second for all viewers, and only while one looks."""

    def __init__(self, store: Store, *, steady_clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._steady_clock = steady_clock
        self._look = asyncio.Lock()
        self._seen: Bounded[int, tuple[float, OrganizationLanes | None]] = Bounded(KEPT_MOST)

    async def read(self, request: Request, actor: str) -> Answer:
        """Return these organizations, in the order in which they are named; one that does not exist is left out."""
        ids = _ids(request.query("organizations").get("organizations", ""))
        async with self._look:
            now = self._steady_clock()
            old = [one for one in ids if self._age(one, now) >= FRESH_SECONDS]
            found = await self._store.lanes.find(old)
            for one in old:
                self._seen[one] = now, found.get(one)
            seen = [self._seen[one][1] for one in ids]
        return answer({"at": self._store.now(), "organizations": [one for one in seen if one is not None]})

    def _age(self, organization_id: int, now: float) -> float:
        seen = self._seen.get(organization_id)
        return FRESH_SECONDS if seen is None else now - seen[0]

    routes: ClassVar[Routes] = (Route("GET", "/admin/v1/lanes", read),)


def _ids(text: str) -> list[int]:
    named = [one for one in text.split(",") if one]
    if len(named) > WINDOW_MOST:
        raise ValidationRefused.at("organizations", f"names more than {WINDOW_MOST} organizations")
    if not all(one.isascii() and one.isdecimal() and len(one) < 19 for one in named):
        raise ValidationRefused.at("organizations", "must be ids of organizations, separated by commas")
    return list(dict.fromkeys(int(one) for one in named))
