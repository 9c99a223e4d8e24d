"""Celery on Redis, without stored results.

No-ops are drained by its default pool, a process for each core, with a prefetch multiplier of 64, because its
documentation asks for a large one where tasks are short. Tasks that sleep run in its pool of threads.
"""

import os
import sys
from pathlib import Path

from celery import Celery

from benchmarks.peers.protocol import PROMPT, Adapter, main, setup, work

PREFETCHED = 64

app = Celery("benchmarks.peers.celery", broker=setup().place)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@app.task(name="work")
def run(organization: int, seconds: float, prompt: str) -> None:
    """The task of all peers."""
    work(organization, seconds)


class CeleryAdapter(Adapter):
    """One client connection."""

    packages = ("celery", "kombu", "redis")

    async def submit(self, organization: int, seconds: float) -> None:
        run.delay(organization, seconds, PROMPT)

    def work(self) -> None:
        places = self.setup.places
        pool = ["--pool", "threads", "--concurrency", str(places), "--prefetch-multiplier", "4"]
        if not places:
            pool = ["--pool", "prefork", "--prefetch-multiplier", str(PREFETCHED)]
        program = str(Path(sys.executable).with_name("celery"))
        os.execv(program, [program, "-A", "benchmarks.peers.celery", "worker", "--loglevel", "ERROR", *pool])


if __name__ == "__main__":
    main(CeleryAdapter)
