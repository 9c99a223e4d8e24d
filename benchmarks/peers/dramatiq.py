"""Dramatiq on Redis.

No-ops are drained by its defaults, a process for each core with 8 threads. The limit of an organization is its
`ConcurrentRateLimiter`: a task that finds no room raises, and is retried after 20 to 200 ms.
"""

import os
import sys
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend

from benchmarks.peers.protocol import PROMPT, Adapter, main, setup, work

RETRY_LEAST_MS, RETRY_MOST_MS = 20, 200
SETUP = setup()

broker = RedisBroker(url=SETUP.place)
dramatiq.set_broker(broker)
limiters = [
    ConcurrentRateLimiter(RedisBackend(url=SETUP.place), f"organization-{number}", limit=SETUP.slots)
    for number in range(SETUP.organizations if SETUP.limited else 0)
]


@dramatiq.actor(
    actor_name="work",
    max_retries=None,
    min_backoff=RETRY_LEAST_MS,
    max_backoff=RETRY_MOST_MS,
)
def run(organization: int, seconds: float, prompt: str) -> None:
    """The task of all peers."""
    if not limiters:
        work(organization, seconds)
        return
    with limiters[organization].acquire():
        work(organization, seconds)


class Dramatiq(Adapter):
    """One client connection."""

    packages = ("dramatiq", "redis")

    async def submit(self, organization: int, seconds: float) -> None:
        run.send(organization, seconds, PROMPT)

    def work(self) -> None:
        places = self.setup.places
        processes = 2 if places > 50 else 1
        flags = ["--processes", str(processes), "--threads", str(places // processes)] if places else []
        program = str(Path(sys.executable).with_name("dramatiq"))
        os.execv(program, [program, "--path", ".", "--skip-logging", *flags, "benchmarks.peers.dramatiq"])


if __name__ == "__main__":
    main(Dramatiq)
