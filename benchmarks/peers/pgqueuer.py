"""PgQueuer on PostgreSQL through asyncpg and uvloop, with its default tables.

One worker process with a dequeue batch of 100, with which it drains quickest here (its default is 10). The limit of an
organization is the `concurrency_limit` of an entrypoint of its own, which PgQueuer enforces in SQL; the ten places of
the row 1 × 10 are such a limit, too.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver

from benchmarks.peers.protocol import BATCH, PROMPT, Adapter, main, work_async

DEQUEUED_AT_ONCE = 100


class PgQueuerAdapter(Adapter):
    """One client connection."""

    packages = ("pgqueuer", "asyncpg")
    batch = BATCH

    async def prepare(self) -> None:
        async with _connected(self.setup.place) as connection:
            await Queries(AsyncpgDriver(connection)).install()

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        async with _connected(self.setup.place) as connection:
            self._queries = Queries(AsyncpgDriver(connection))
            yield

    async def submit(self, organization: int, seconds: float) -> None:
        await self._queries.enqueue([self._entrypoint(organization)], [_payload(organization, seconds)], [0])

    async def submit_batch(self, organization: int, seconds: float, count: int) -> None:
        entrypoint, payload = self._entrypoint(organization), _payload(organization, seconds)
        await self._queries.enqueue([entrypoint] * count, [payload] * count, [0] * count)

    def work(self) -> None:
        uvloop.run(self._run())

    async def _run(self) -> None:
        async with _connected(self.setup.place) as connection:
            queue = PgQueuer(AsyncpgDriver(connection))
            slots = self.setup.slots if self.setup.limited else self.setup.places
            for organization in range(self.setup.organizations if self.setup.limited else 1):
                queue.entrypoint(self._entrypoint(organization), concurrency_limit=slots)(_task)
            await queue.qm.run(batch_size=DEQUEUED_AT_ONCE)

    def _entrypoint(self, organization: int) -> str:
        return f"work-{organization if self.setup.limited else 0}"


@contextlib.asynccontextmanager
async def _connected(address: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(address)
    try:
        yield connection
    finally:
        await connection.close()


def _payload(organization: int, seconds: float) -> bytes:
    return json.dumps({"organization": organization, "seconds": seconds, "prompt": PROMPT}).encode()


async def _task(job: Any) -> None:
    payload = json.loads(job.payload)
    await work_async(payload["organization"], payload["seconds"])


if __name__ == "__main__":
    main(PgQueuerAdapter)
