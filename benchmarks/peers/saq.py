"""SAQ on Redis with hiredis and uvloop, without stored results.

One worker process with 50 places for no-ops (its default is 10). The limit of an organization is a queue of its own
with a `Worker` of five places, all in one process.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvloop
from saq import Queue, Worker

from benchmarks.peers.protocol import PROMPT, Adapter, main, work_async

PLACES = 50
"""Where the number of places is free."""


class Saq(Adapter):
    """One client connection."""

    packages = ("saq", "redis", "hiredis")

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        self._queues = [self._queue(number) for number in range(self._queue_count)]
        for queue in self._queues:
            await queue.connect()
        yield
        for queue in self._queues:
            await queue.disconnect()

    async def submit(self, organization: int, seconds: float) -> None:
        queue = self._queues[organization % self._queue_count]
        await queue.enqueue("task", organization=organization, seconds=seconds, prompt=PROMPT, ttl=-1, timeout=0)

    def work(self) -> None:
        uvloop.run(self._run())

    async def _run(self) -> None:
        places = self.setup.slots if self.setup.limited else self.setup.places or PLACES
        workers = [
            Worker(self._queue(number), functions=[("task", _task)], concurrency=places)
            for number in range(self._queue_count)
        ]
        await asyncio.gather(*(worker.start() for worker in workers))

    @property
    def _queue_count(self) -> int:
        return self.setup.organizations if self.setup.limited else 1

    def _queue(self, number: int) -> Any:
        return Queue.from_url(self.setup.place, name=f"work-{number}")


async def _task(_: Any, *, organization: int, seconds: float, prompt: str) -> None:
    await work_async(organization, seconds)


if __name__ == "__main__":
    main(Saq)
