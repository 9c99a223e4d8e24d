"""awa on PostgreSQL with its queue storage: the client in Python, the worker's core in Rust; batches by COPY.

One worker process with 100 places on one queue for no-ops. The limit of an organization is a queue of its own with five
workers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from awa import AsyncClient

from benchmarks.peers.protocol import BATCH, PROMPT, Adapter, main, work_async

PLACES = 100
"""Where the number of places is free."""
CONNECTIONS = 40
"""With its default of ten, a worker of twenty queues starts nothing."""


@dataclass
class Work:
    """The task of all peers."""

    organization: int
    seconds: float
    prompt: str = PROMPT


class Awa(Adapter):
    """One client."""

    packages = ("awa-pg",)
    batch = BATCH

    async def prepare(self) -> None:
        client = self._new_client()
        await client.migrate()
        await client.install_queue_storage()

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        self._client = self._new_client()
        yield

    async def submit(self, organization: int, seconds: float) -> None:
        await self._client.insert(Work(organization, seconds), queue=self._queue(organization))

    async def submit_batch(self, organization: int, seconds: float, count: int) -> None:
        tasks = [Work(organization, seconds)] * count
        await self._client.enqueue_many_copy(tasks, queue=self._queue(organization))

    def work(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        client = self._new_client()

        @client.task(Work, queue=self._queue(0))
        async def run(job: Any) -> None:
            await work_async(job.args.organization, job.args.seconds)

        if self.setup.limited:
            queues = [(self._queue(number), self.setup.slots) for number in range(self.setup.organizations)]
        else:
            queues = [(self._queue(0), self.setup.places or PLACES)]
        await client.start(queues)
        await asyncio.Event().wait()

    def _queue(self, organization: int) -> str:
        return f"work-{organization if self.setup.limited else 0}"

    def _new_client(self) -> AsyncClient:
        # Its parser of addresses wants a host before the path, and then takes the socket's folder from `host`.
        return AsyncClient(self.setup.place.replace("@/", "@localhost/"), max_connections=CONNECTIONS)


if __name__ == "__main__":
    main(Awa)
