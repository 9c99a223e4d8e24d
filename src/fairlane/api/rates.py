"""Limits the requests per second of a key, counted for each endpoint separately. Wraps the key's guard.

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
        self._made: dict[str, int] = {}
        """Requests in the current second, by key."""

    async def __call__(self, request: Request) -> Caller:
        """Return the caller. From here on, every answer to this request shows how many requests are left.

        Raises:
            RateLimited: the key has reached its limit for this second.
        """
        caller = await self._guard(request)
        now = self.clock()
        if now >= self._until:
            self._until, self._made = math.floor(now) + 1, {}
        made = self._made[caller.key_id] = self._made.get(caller.key_id, 0) + 1
        left = self._limit - made
        request.marks = (self._limit_header, _remaining(left if left > 0 else 0))
        if left < 0:
            raise RateLimited()
        return caller


# Most answers contain one of a thousand numbers.
@lru_cache(maxsize=4096)
def _remaining(left: int) -> Header:
    return b"x-ratelimit-remaining", b"%d" % left
