"""Limits of reads: how many run at once, and which share is next when all places are taken.

A read names its share: the organization that asks, or None for the server's own reads. No share holds all places, and
waiting shares take turns. Used by the database adapters, on the event loop alone.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable

from fairlane.errors import StoreUnreachable


class ReadLimits:
    """A number of places, of which one share may hold a part."""

    def __init__(self, most: int, *, each: int, wait_seconds: float) -> None:
        """Wait at most ``wait_seconds`` for a place before a read is refused."""
        self._free = most
        self._each = each
        self._wait_seconds = wait_seconds
        self._held = Counter[Hashable]()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        """The shares that wait, in the order of their turns."""

    async def take(self, share: Hashable) -> None:
        """Wait for a place. Give it back with :meth:`give`.

        Raises:
            StoreUnreachable: no place became free in time. This says nothing about the database's health.
        """
        if self._free and self._held[share] < self._each and share not in self._waiting:
            self._hold(share)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(share, deque()).append(turn)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            self._leave(share, turn)
            if isinstance(error, TimeoutError):
                raise StoreUnreachable("all places are taken by other reads") from error
            raise

    def give(self, share: Hashable) -> None:
        """Give a place back; the next share gets it."""
        self._free += 1
        self._held[share] -= 1
        if not self._held[share]:
            del self._held[share]
        self._hand_out()

    def _hold(self, share: Hashable) -> None:
        self._free -= 1
        self._held[share] += 1

    def _hand_out(self) -> None:
        while self._free:
            for share in self._waiting:
                if self._held[share] < self._each:
                    break
            else:
                return
            turns = self._waiting[share]
            turn = turns.popleft()
            self._waiting.move_to_end(share)
            if not turns:
                del self._waiting[share]
            if not turn.done():
                self._hold(share)
                turn.set_result(None)

    def _leave(self, share: Hashable, turn: "asyncio.Future[None]") -> None:
        """Remove a read that no longer waits; it may just have been given its place."""
        if turn.done() and not turn.cancelled():
            self.give(share)
        elif share in self._waiting and turn in self._waiting[share]:
            self._waiting[share].remove(turn)
            if not self._waiting[share]:
                del self._waiting[share]
