"""Limits the requests per second of a key, and of all keys of an organization. Wraps the key's guard.

Each endpoint counts separately. Several keys are normal (one per program, two while one is replaced), so each has the
whole limit of the setting; but an organization's keys together have a multiple of it, or its rate would grow with their
number. These counts are each server's own: with several servers, each allows the limit.

An organization with a rate limit of its own, or of its plan, has this limit for all its keys and all servers together.
Once a second the servers tell each other what they counted (:class:`SharedCounts`).

Counts are kept only for the current second and the one before it.
"""

import math
import time
from collections.abc import Callable
from functools import lru_cache

from fairlane.api.http import Header, Request
from fairlane.api.routes import Guard
from fairlane.errors import RateLimited
from fairlane.model.keys import Caller
from fairlane.rules.rates import OtherServers, RequestCounts, RequestKey, allowance, worth_telling
from fairlane.store import Store

KEYS_AT_FULL_RATE = 4
"""How many keys of one organization may use their whole limit of the setting in the same second."""
BELIEVED_SECONDS = 3.0
"""How long counts of other servers are used while the database cannot be reached; then each server allows the limit."""


class SharedCounts:
    """What this server counted in the last second, and what the others told. ``clock`` is steady, in seconds."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.guards: list[RateGuard] = []
        self._store = store
        self._mine: RequestCounts = {}
        self._others = OtherServers()
        self._others_until = 0.0

    async def exchange(self) -> None:
        """Tell the other servers what this server counted in the last second, and learn what they did."""
        counted: dict[RequestKey, tuple[int, int]] = {}
        for guard in self.guards:
            for organization_id, count_and_limit in guard.counted().items():
                counted[organization_id, guard.endpoint] = count_and_limit
        servers = self._others.servers
        told = {key: count for key, (count, limit) in counted.items() if worth_telling(count, limit, servers)}
        self._others = await self._store.rates.exchange(told)
        self._mine = {key: count for key, (count, _) in counted.items()}
        self._others_until = self.clock() + BELIEVED_SECONDS

    def allowance(self, key: RequestKey, limit: int) -> int:
        """Return how many requests this server lets pass in this second."""
        others = self._others.counts.get(key, 0)
        if not others or self.clock() >= self._others_until:
            return limit
        return allowance(limit, mine=self._mine.get(key, 0), others=others, servers=self._others.servers)


class RateGuard:
    """The guard of one endpoint: identifies the caller, then counts. ``clock`` is steady, in seconds.

    Without ``shared`` the limit of an organization does not count: the dashboard asks all the time.
    All counts are dropped at each new second; those of organizations with a limit of their own are kept for one more.
    So memory is bounded by the keys that call within two seconds, and the cost of a request does not depend on their
    number.
    """

    def __init__(
        self,
        guard: Guard[Caller],
        endpoint: str = "",
        *,
        limit: int,
        shared: SharedCounts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.endpoint = endpoint
        self._guard = guard
        self._limit = limit
        self._limit_header: Header = (b"x-ratelimit-limit", b"%d" % limit)
        self._shared = shared
        self._until = 0.0
        """The end of the current second."""
        self.made: dict[str, int] = {}
        """Requests in the current second, by key."""
        self._made_together: dict[int, int] = {}
        """Requests in the current second, by organization."""
        self._limits: dict[int, int] = {}
        """Limits of the organizations that have their own and called in the current second."""
        self._before: dict[int, tuple[int, int]] = {}
        """Requests in the second before, and limits, of organizations that have their own."""
        if shared is not None:
            shared.guards.append(self)

    async def __call__(self, request: Request) -> Caller:
        """Return the caller. From here on, every answer to this request shows how many requests are left.

        Raises:
            RateLimited: the key, or its organization, has reached its limit for this second.
        """
        caller = await self._guard(request)
        now = self.clock()
        if now >= self._until:
            self._before = self._with_limits() if now < self._until + 1 else {}
            self._until, self.made, self._made_together, self._limits = math.floor(now) + 1, {}, {}, {}
        identity = caller.organization_id
        together = self._made_together[identity] = self._made_together.get(identity, 0) + 1
        if caller.rate_limit is None or self._shared is None:
            made = self.made[caller.key_id] = self.made.get(caller.key_id, 0) + 1
            left = min(self._limit - made, KEYS_AT_FULL_RATE * self._limit - together)
            header = self._limit_header
        else:
            self._limits[identity] = caller.rate_limit
            left = self._shared.allowance((identity, self.endpoint), caller.rate_limit) - together
            header = _limit(caller.rate_limit)
        request.marks = (header, _remaining(left if left > 0 else 0))
        if left < 0:
            raise RateLimited()
        return caller

    def counted(self) -> dict[int, tuple[int, int]]:
        """Return the requests in the last whole second, and the limits, of organizations that have their own."""
        now = self.clock()
        if now < self._until:
            return self._before
        return self._with_limits() if now < self._until + 1 else {}

    def _with_limits(self) -> dict[int, tuple[int, int]]:
        return {identity: (self._made_together[identity], limit) for identity, limit in self._limits.items()}


# Most answers contain one of a thousand numbers.
@lru_cache(maxsize=4096)
def _remaining(left: int) -> Header:
    return b"x-ratelimit-remaining", b"%d" % left


@lru_cache(maxsize=256)
def _limit(limit: int) -> Header:
    return b"x-ratelimit-limit", b"%d" % limit
