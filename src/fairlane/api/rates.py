"""How many requests a key may make per second, counted for each endpoint by itself. Stands around the key's guard.

Counts are this server's own: with several servers each allows the limit. Nothing here outlives the second it is about.
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
    """The guard of one endpoint: asks who is calling, then counts. ``clock`` is steady, in seconds.

    With each new second the counts of the last one are dropped as a whole, so memory is bounded by the keys that call
    within one second, and a request costs the same however many there are.
    """

    def __init__(self, guard: Guard[Caller], *, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._guard = guard
        self._limit = limit
        self._limit_header: Header = (b"x-ratelimit-limit", b"%d" % limit)
        self._until = 0.0
        """The end of the second."""
        self._made: dict[str, int] = {}
        """Requests of the second, by key."""

    async def __call__(self, request: Request) -> Caller:
        """Who is calling. From here on every answer to this request says what is left.

        Raises:
            RateLimited: the key has made as many requests in this second as it may.
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


# Most answers say one of a thousand numbers.
@lru_cache(maxsize=4096)
def _remaining(left: int) -> Header:
    return b"x-ratelimit-remaining", b"%d" % left
