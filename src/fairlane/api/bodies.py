"""The request bodies that a server holds and reads now: how many bytes, for which holder, and which is read next.

Created once per server by the wiring; each request carries it. ``Request.body`` limits one body; this limits their sum.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from fairlane.errors import Unavailable

MEBIBYTE = 1024 * 1024
POOLS = {
    "organizations": 192 * MEBIBYTE,
    "workers": 144 * MEBIBYTE,
    "operators": 8 * MEBIBYTE,
    "strangers": 8 * MEBIBYTE,
}
"""Most bytes for the bodies of all holders of one kind, so that customers never prevent workers from reporting."""
SHARE_BYTES = 66 * MEBIBYTE
"""Most bytes for one organization, or for the holder of one worker key: two of the largest batches."""
FREE_BYTES = 256 * 1024
"""Bytes that each holder may use even if others use all the rest. Beyond these a holder has no more than is left in its
pool: a few that withhold their bodies leave room for large ones of the next."""
STALLED_SECONDS = 2.0
MOVING_BYTES = 64 * 1024
"""A body is stalled if fewer bytes of it arrive within STALLED_SECONDS. It is ended if another body needs its room."""
INLINE_BYTES = 16 * 1024
"""Larger bodies are read on a thread, because reading them would block the event loop for too long."""
LARGE_BYTES = 2 * MEBIBYTE
"""Bodies larger than this are read one at a time."""
READERS = 2
"""Bodies that are read at once. The interpreter lock limits reading: more would only take time from the event loop."""

Result = TypeVar("Result")


class BodyHolder(NamedTuple):
    """The holder for which a body counts. ``pool`` is one of POOLS."""

    pool: str
    name: str = ""


STRANGERS = BodyHolder("strangers")
"""Requests that have not shown a key."""
WORKERS = BodyHolder("workers")
"""Workers on the server's own socket."""
OPERATORS = BodyHolder("operators")


class HeldBody:
    """One request's body, as far as it is held."""

    __slots__ = ("_end", "_moved_bytes", "count", "ended", "holder", "moved_at")

    def __init__(self, holder: BodyHolder) -> None:
        self.holder = holder
        self.count = 0
        """The bytes that count."""
        self.ended = False
        """Whether it was ended, because others needed its room."""
        self.moved_at = 0.0
        self._moved_bytes = 0
        self._end: Callable[[], None] = lambda: None

    def move(self, count: int, now: float) -> None:
        """Note that this many bytes arrived."""
        self._moved_bytes += count
        if self._moved_bytes >= MOVING_BYTES:
            self.moved_at, self._moved_bytes = now, 0

    def wait(self, end: Callable[[], None], now: float) -> None:
        """Note that more bytes are awaited; ``end`` ends the wait."""
        self.moved_at, self._end = now, end

    def stop(self) -> None:
        """End the wait."""
        self.ended = True
        self._end()


class Bodies:
    """A budget of bytes, and the order of reading. ``clock`` is steady, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._arriving: dict[BodyHolder, set[HeldBody]] = {}
        """Bodies of which a part has arrived, and more is awaited."""
        self.held_bytes = dict.fromkeys(POOLS, 0)
        self._held: dict[BodyHolder, int] = {}
        self._turns: dict[BodyHolder, _ReadTurn] = {}
        self._readers = asyncio.Semaphore(READERS)
        self._large = asyncio.Lock()

    def take(self, body: HeldBody, count: int, *, limit_bytes: int) -> None:
        """Count this many more bytes of a body. A pool has room for at least one body of ``limit_bytes``.

        If there is no room, stalled bodies are ended, the largest first: those of the same holder if its share is used
        up, else those of the pool. If none is stalled, a holder below an equal share of the pool ends bodies that still
        arrive, of a holder that has more. So bodies that come slowly or never do not keep others out.

        Raises:
            Unavailable: this holder, or all of its kind, would exceed their limit, or this body was ended. Nothing was
                counted.
        """
        if body.ended:
            raise Unavailable()
        body.move(count, self.clock())
        while not self._has_room(body.holder, count, limit_bytes):
            wanted = self._held.get(body.holder, 0) + count
            own = wanted > _share(limit_bytes)
            ending = self._largest_stalled(body, own=own) or (None if own else self._largest_of_fuller(body, wanted))
            if ending is None:
                raise Unavailable()
            ending.stop()
            self.give_back(ending)
        body.count += count
        self._held[body.holder] = self._held.get(body.holder, 0) + count
        self.held_bytes[body.holder.pool] += count

    def expect(self, body: HeldBody, end: Callable[[], None]) -> None:
        """Note that more of this body will arrive. ``end`` is called if others need its room."""
        body.wait(end, self.clock())
        self._arriving.setdefault(body.holder, set()).add(body)

    def arrived(self, body: HeldBody) -> None:
        """Note that nothing more of this body is awaited."""
        beside = self._arriving.get(body.holder, set())
        beside.discard(body)
        if not beside:
            self._arriving.pop(body.holder, None)

    def give_back(self, body: HeldBody) -> None:
        """Stop counting a body; a second time does nothing."""
        if not body.count:
            return
        left = self._held[body.holder] - body.count
        self.held_bytes[body.holder.pool] -= body.count
        body.count = 0
        if left:
            self._held[body.holder] = left
        else:
            del self._held[body.holder]

    def _has_room(self, holder: BodyHolder, count: int, limit_bytes: int) -> bool:
        held = self._held.get(holder, 0) + count
        left = max(POOLS[holder.pool], 2 * limit_bytes) - self.held_bytes[holder.pool] - count
        return held <= _share(limit_bytes) and held <= max(FREE_BYTES, left)

    def _largest_stalled(self, asking: HeldBody, *, own: bool) -> HeldBody | None:
        moved_before = self.clock() - STALLED_SECONDS
        holders = [asking.holder] if own else [holder for holder in self._arriving if holder.pool == asking.holder.pool]
        stalled = (
            body
            for holder in holders
            for body in self._arriving.get(holder, ())
            if body is not asking and body.count and body.moved_at <= moved_before
        )
        return max(stalled, key=lambda body: body.count, default=None)

    def _largest_of_fuller(self, asking: HeldBody, wanted: int) -> HeldBody | None:
        """Return the largest body that still arrives of the fullest holder, if that has more than ``wanted`` bytes, and
        an equal share of the pool is not less.
        """
        pool = asking.holder.pool
        holders = {holder for holder in self._held if holder.pool == pool} | {asking.holder}
        if wanted > POOLS[pool] // len(holders):
            return None
        fuller = (
            (self._held[body.holder], body.count, body)
            for holder in holders & self._arriving.keys() - {asking.holder}
            for body in self._arriving[holder]
            if body.count and self._held[body.holder] > wanted
        )
        return max(fuller, key=lambda one: one[:2], default=(0, 0, None))[2]

    async def read(self, holder: BodyHolder, size: int, work: Callable[..., Result], *arguments: Any) -> Result:
        """Return ``work(*arguments)`` for a body of this size; a large one is read on a thread.

        One body of a holder is read at a time, so that other holders wait for at most one of its bodies.
        """
        if size <= INLINE_BYTES:
            return work(*arguments)
        turn = self._turns.setdefault(holder, _ReadTurn())
        turn.requests += 1
        try:
            async with turn.lock:
                if size <= LARGE_BYTES:
                    return await self._read(work, *arguments)
                async with self._large:
                    return await self._read(work, *arguments)
        finally:
            turn.requests -= 1
            if not turn.requests:
                del self._turns[holder]

    async def _read(self, work: Callable[..., Result], *arguments: Any) -> Result:
        async with self._readers:
            return await asyncio.to_thread(work, *arguments)


def _share(limit_bytes: int) -> int:
    return max(SHARE_BYTES, limit_bytes)


class _ReadTurn:
    """The turns of one holder, and how many of its requests read or wait."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.requests = 0
