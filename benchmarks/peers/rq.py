"""RQ on Redis, without stored results.

Its worker pool with `SimpleWorker`, which runs tasks in the worker process itself; the default worker forks a process
for each task. A worker runs one task at a time: two drain no-ops, ten are the places of the row 1 × 10, and a hundred
those of 20 × 5. The limit of an organization is a `RateLimit` with its name as the key; the call that submits several
tasks takes none.
"""

import os
import sys
from pathlib import Path

from redis import Redis
from rq import Queue, RateLimit

from benchmarks.peers.protocol import BATCH, PROMPT, Adapter, Setup, main
from benchmarks.peers.protocol import work as work_of_all

WORKERS = 2
"""Where the number is free: one for each core."""


def run(organization: int, seconds: float, prompt: str) -> None:
    """The task of all peers."""
    work_of_all(organization, seconds)


class Rq(Adapter):
    """One client connection."""

    packages = ("rq", "redis", "hiredis")
    batch = BATCH
    _function = "benchmarks.peers.rq.run"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._queue = Queue(connection=Redis.from_url(setup.place))
        if setup.limited:
            self.batch = 0

    async def submit(self, organization: int, seconds: float) -> None:
        limit = RateLimit(f"organization-{organization}", self.setup.slots) if self.setup.limited else None
        self._queue.enqueue(self._function, organization, seconds, PROMPT, result_ttl=0, rate_limit=limit)

    async def submit_batch(self, organization: int, seconds: float, count: int) -> None:
        one = Queue.prepare_data(self._function, args=(organization, seconds, PROMPT), result_ttl=0)
        self._queue.enqueue_many([one] * count)

    def work(self) -> None:
        program = str(Path(sys.executable).with_name("rq"))
        flags = ["--quiet", "--path", ".", "--url", self.setup.place, "--worker-class", "rq.SimpleWorker"]
        workers = str(self.setup.places or WORKERS)
        os.execv(program, [program, "worker-pool", *flags, "--num-workers", workers])


if __name__ == "__main__":
    main(Rq)
