"""Limits the requests per second of a key, and of all keys of an organization. Wraps the key's guard.

Each endpoint counts separately. Several keys are normal (one per program, two while one is replaced), so each has the
whole limit; but an organization's keys together have a multiple of it, or its rate would grow with their number.

Each server has its own counts: with several servers, each allows the limit. Counts are kept only for the current
second.
"""

import math
import time
from collections.abc import Callable
from functools import lru_cache

from fairlane.api.http import Header, Request
from fairlane.api.routes import Guard
from fairlane.errors import RateLimited
from fairlane.model.keys import Caller

KEYS_AT_FULL_RATE = 4
"""How many keys of one organization may use their whole limit in the same second."""


class RateGuard:
    """The guard of one endpoint: identifies the caller, then counts. ``clock`` is steady, in seconds.

    All counts are dropped at each new second. So memory is bounded by the keys that call within one second, and the
    cost of a request does not depend on their number.
    """

    def __init__(self, guard: Guard[Caller], *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._guard = guard
        self._limit = limit
        self._limit_header: Header = (b"x-ratelimit-limit", b"%d" % limit)
        self._until = 0.0
        """The end of the current second."""
        self.made: dict[str, int] = {}
        """Requests in the current second, by key."""
        self._made_together: dict[int, int] = {}
        """Requests in the current second, by organization."""

    async def __call__(self, request: Request) -> Caller:
        """Return the caller. From here on, every answer to this request shows how many requests are left.

        Raises:
            RateLimited: the key, or its organization, has reached its limit for this second.
        """
        caller = await self._guard(request)
        now = self.clock()
        if now >= self._until:
            self._until, self.made, self._made_together = math.floor(now) + 1, {}, {}
        made = self.made[caller.key_id] = self.made.get(caller.key_id, 0) + 1
        together = self._made_together.get(caller.organization_id, 0) + 1
        self._made_together[caller.organization_id] = together
        left = min(self._limit - made, KEYS_AT_FULL_RATE * self._limit - together)
        request.marks = (self._limit_header, _remaining(left if left > 0 else 0))
        if left < 0:
            raise RateLimited()
        return caller


# Most answers contain one of a thousand numbers.
@lru_cache(maxsize=4096)
def _remaining(left: int) -> Header:
    return b"x-ratelimit-remaining", b"%d" % left
