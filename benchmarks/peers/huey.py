"""Huey on SQLite, with `fsync=True` and without stored results.

One consumer process with threads, its quickest kind for tasks that do not compute. No-ops are drained by one thread: 2,
4, 8 and 16 threads drained 10 to 25 % fewer per second on two cores.
"""

import signal
import threading

from huey import SqliteHuey

from benchmarks.peers.protocol import Adapter, main, setup, work

POLL_SECONDS_MOST = 0.1
"""An idle thread looks this often. By default it begins with this pause and lets it grow to ten seconds."""

queue = SqliteHuey(filename=setup().place.removeprefix("sqlite:///"), fsync=True, results=False, utc=True)


@queue.task(name="work")
def run(organization: int, seconds: float) -> None:
    """The task of all peers."""
    work(organization, seconds)


class Huey(Adapter):
    """One client connection; a call stores one task."""

    packages = ("huey",)

    async def submit(self, organization: int, seconds: float) -> None:
        run(organization, seconds)

    def work(self) -> None:
        consumer = queue.create_consumer(
            workers=self.setup.places or 1, worker_type="thread", periodic=False, max_delay=POLL_SECONDS_MOST
        )
        consumer.start()
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()
        consumer.stop(graceful=False)


if __name__ == "__main__":
    main(Huey)
