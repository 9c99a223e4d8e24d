"""The peer: Huey on SQLite with fsync, one process with worker threads. It has no limits, leases or stored results.

Run as a program of its own (``python -m benchmarks.peer DIRECTORY COUNT``); prints what it measured as JSON.
"""

import argparse
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

THREADS = 1
"""Its quickest on two cores: 2, 4, 8 and 16 threads drained 10 to 25 % fewer no-ops per second."""
POLL_SECONDS = 0.001
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class PeerRates:
    """Tasks per second, each acknowledged after a sync."""

    enqueued_per_second: float
    drained_per_second: float


def measure_peer(directory: Path, *, count: int) -> PeerRates:
    """Enqueue and drain ``count`` no-ops with Huey in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.peer", str(directory), str(count)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return PeerRates(**json.loads(printed.splitlines()[-1]))


def _measure(directory: Path, count: int) -> PeerRates:
    from huey import SqliteHuey  # Only `make bench` installs it.

    huey = SqliteHuey(filename=str(directory / "huey.db"), fsync=True, results=False, utc=True)
    done = threading.Semaphore(0)

    @huey.task()  # type: ignore[untyped-decorator]
    def noop() -> None:
        done.release()

    began_at = time.perf_counter()
    for _ in range(count):
        noop()
    enqueued = count / (time.perf_counter() - began_at)
    consumer = huey.create_consumer(
        workers=THREADS, worker_type="thread", periodic=False, initial_delay=0.01, max_delay=0.1
    )
    began_at = time.perf_counter()
    consumer.start()
    for _ in range(count):
        if not done.acquire(timeout=PATIENCE_SECONDS):
            raise RuntimeError("the peer did not drain its queue")
    drained = count / (time.perf_counter() - began_at)
    consumer.stop(graceful=True)
    return PeerRates(enqueued_per_second=enqueued, drained_per_second=drained)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    print(json.dumps(asdict(_measure(arguments.directory, arguments.count))))
