"""DBOS on PostgreSQL: each task is a durable workflow without steps, on a queue.

A worker looks for new workflows every 50 ms instead of its default of one second, because idle tasks would otherwise
wait for half a second. The limit of an organization is `partition_concurrency`, a partition for each.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from dbos import DBOS, DBOSClient

from benchmarks.peers.protocol import PROMPT, Adapter, main, work_async

POLL_SECONDS = 0.05
QUEUE, WORKFLOW = "work", "work"


class Dbos(Adapter):
    """One client."""

    packages = ("dbos", "sqlalchemy", "psycopg")

    async def prepare(self) -> None:
        # Its synchronous calls refuse a thread with a running event loop.
        await asyncio.to_thread(self._install)

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        self._client = DBOSClient(system_database_url=self.setup.place)
        yield
        self._client.destroy()

    async def submit(self, organization: int, seconds: float) -> None:
        options: Any = {"queue_name": QUEUE, "workflow_name": WORKFLOW}
        if self.setup.limited:
            options["queue_partition_key"] = str(organization)
        self._client.enqueue(options, organization, seconds, PROMPT)

    def work(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        DBOS(config=self._config())

        @DBOS.workflow(name=WORKFLOW)
        async def run(organization: int, seconds: float, prompt: str) -> None:
            await work_async(organization, seconds)

        DBOS.launch()
        await asyncio.to_thread(self._register)
        await asyncio.Event().wait()

    def _install(self) -> None:
        DBOS(config=self._config())
        DBOS.launch()
        self._register()
        DBOS.destroy()

    def _register(self) -> None:
        limits: dict[str, Any] = {"worker_concurrency": self.setup.places or None}
        if self.setup.limited:
            limits = {"partition_concurrency": self.setup.slots}
        DBOS.register_queue(QUEUE, polling_interval_sec=POLL_SECONDS, on_conflict="always_update", **limits)

    def _config(self) -> Any:
        return {
            "name": "peers",
            "system_database_url": self.setup.place,
            "run_admin_server": False,
            "log_level": "ERROR",
        }


if __name__ == "__main__":
    main(Dbos)
