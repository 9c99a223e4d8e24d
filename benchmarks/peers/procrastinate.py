"""Procrastinate on PostgreSQL through psycopg's pool, with LISTEN and NOTIFY; finished tasks are deleted.

One worker process with asynchronous tasks, 50 at once for no-ops. The limit of an organization is built from its locks:
one lock admits one task at a time, so each task gets one of five lock names of its organization.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from procrastinate import App, PsycopgConnector

from benchmarks.peers.protocol import BATCH, PROMPT, Adapter, main, setup, work_async

PLACES = 50
"""Where the number of places is free."""

app = App(connector=PsycopgConnector(conninfo=setup().place))


@app.task(name="work")
async def run(organization: int, seconds: float, prompt: str) -> None:
    """The task of all peers."""
    await work_async(organization, seconds)


class Procrastinate(Adapter):
    """One client pool."""

    packages = ("procrastinate", "psycopg")
    batch = BATCH
    _numbers = itertools.count()

    async def prepare(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        async with app.open_async():
            yield

    async def submit(self, organization: int, seconds: float) -> None:
        task = run.configure(lock=self._lock(organization))
        await task.defer_async(organization=organization, seconds=seconds, prompt=PROMPT)

    async def submit_batch(self, organization: int, seconds: float, count: int) -> None:
        tasks = [{"organization": organization, "seconds": seconds, "prompt": PROMPT}] * count
        if not self.setup.limited:
            await run.batch_defer_async(*tasks)
            return
        # A batch has one lock for all its tasks, so each lock name has a batch of its own.
        for slot in range(self.setup.slots):
            part = tasks[slot :: self.setup.slots]
            if part:
                await run.configure(lock=self._lock(organization)).batch_defer_async(*part)

    def work(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=self.setup.places or PLACES, delete_jobs="always")

    def _lock(self, organization: int) -> str | None:
        return f"{organization}-{next(self._numbers) % self.setup.slots}" if self.setup.limited else None


if __name__ == "__main__":
    main(Procrastinate)
