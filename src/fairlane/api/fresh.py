"""A read of the store that all requests of a short time share: many viewers cost as much as one."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Fresh(Generic[Found]):
    """What a read returned, for as long as it is fresh."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Found]],
        *,
        seconds: float,
        share: float = 1.0,
        seconds_most: float = 3.0,
        steady_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``share`` is the part of the time that reading may take: a slow read is shared for longer, up to
        ``seconds_most``."""
        self._read = read
        self._share = share
        self._seconds_most = seconds_most
        self._took = 0.0
        self._seconds = seconds
        self._steady_clock = steady_clock
        self._look = asyncio.Lock()
        self._found: list[Found] = []
        self._at = -math.inf

    async def find(self) -> Found:
        """Return what the last read found, or read again. Requests that arrive during a read wait for it."""
        async with self._look:
            began = self._steady_clock()
            if not self._found or began - self._at >= max(
                self._seconds, min(self._seconds_most, self._took / self._share)
            ):
                self._found = [await self._read()]
                self._at = self._steady_clock()
                self._took = self._at - began
            return self._found[0]
