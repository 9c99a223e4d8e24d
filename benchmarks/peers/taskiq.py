"""TaskIQ on Redis with its `RedisStreamBroker`, the one that acknowledges tasks; without stored results.

No-ops are drained by two worker processes, which is its default, without the check of parameters by pydantic.
"""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from taskiq_redis import RedisStreamBroker

from benchmarks.peers.protocol import PROMPT, Adapter, main, setup, work_async

broker = RedisStreamBroker(url=setup().place)


@broker.task(task_name="work")
async def run(organization: int, seconds: float, prompt: str) -> None:
    """The task of all peers."""
    await work_async(organization, seconds)


class TaskIq(Adapter):
    """One client connection."""

    packages = ("taskiq", "taskiq-redis", "redis")

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        await broker.startup()
        yield
        await broker.shutdown()

    async def submit(self, organization: int, seconds: float) -> None:
        await run.kiq(organization, seconds, PROMPT)

    def work(self) -> None:
        places = self.setup.places
        flags = ["--workers", "1", "--max-async-tasks", str(places)] if places else ["--workers", "2"]
        program = str(Path(sys.executable).with_name("taskiq"))
        module = "benchmarks.peers.taskiq:broker"
        os.execv(program, [program, "worker", "--log-level", "ERROR", "--no-parse", *flags, module])


if __name__ == "__main__":
    main(TaskIq)
