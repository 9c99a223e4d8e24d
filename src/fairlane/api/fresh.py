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
        steady_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._seconds = seconds
        self._steady_clock = steady_clock
        self._look = asyncio.Lock()
        self._found: list[Found] = []
        self._at = -math.inf

    async def find(self) -> Found:
        """Return what the last read found, or read again. Requests that arrive during a read wait for it."""
        async with self._look:
            if not self._found or self._steady_clock() - self._at >= self._seconds:
                self._found = [await self._read()]
                self._at = self._steady_clock()
            return self._found[0]
