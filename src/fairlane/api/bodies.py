"""The request bodies that a server holds and reads now: how many bytes, for which holder, and which is read next.

Created once per server by the wiring; each request carries it. ``Request.body`` limits one body; this limits their sum.
"""

import asyncio
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


class Bodies:
    """A budget of bytes, and the order of reading."""

    def __init__(self) -> None:
        self.held_bytes = dict.fromkeys(POOLS, 0)
        self._held: dict[BodyHolder, int] = {}
        self._turns: dict[BodyHolder, _Turn] = {}
        self._readers = asyncio.Semaphore(READERS)
        self._large = asyncio.Lock()

    def take(self, holder: BodyHolder, count: int, *, limit_bytes: int) -> None:
        """Count this many more bytes as held. A pool has room for at least one body of ``limit_bytes``.

        Raises:
            Unavailable: this holder, or all of its kind, would exceed their limit. Nothing was counted.
        """
        pool = max(POOLS[holder.pool], 2 * limit_bytes)
        share = max(SHARE_BYTES, limit_bytes)
        held = self._held.get(holder, 0) + count
        left = pool - self.held_bytes[holder.pool] - count
        if held > share or held > max(FREE_BYTES, left):
            raise Unavailable()
        self._held[holder] = held
        self.held_bytes[holder.pool] += count

    def give_back(self, holder: BodyHolder, count: int) -> None:
        """Count this many fewer bytes."""
        left = self._held[holder] - count
        self.held_bytes[holder.pool] -= count
        if left:
            self._held[holder] = left
        else:
            del self._held[holder]

    async def read(self, holder: BodyHolder, size: int, work: Callable[..., Result], *arguments: Any) -> Result:
        """Return ``work(*arguments)`` for a body of this size; a large one is read on a thread.

        One body of a holder is read at a time, so that other holders wait for at most one of its bodies.
        """
        if size <= INLINE_BYTES:
            return work(*arguments)
        turn = self._turns.setdefault(holder, _Turn())
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


class _Turn:
    """The turns of one holder, and how many of its requests read or wait."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.requests = 0
