"""The peers, each as its makers mean it to be used, with every commit synced. They have no limits of organizations.

Huey on SQLite with fsync: one process with worker threads; no leases or stored results. PgQueuer on PostgreSQL: one
worker process, the batch size it drains quickest with; it logs what it completed.
Run as a program of its own (``python -m benchmarks.beside huey DIRECTORY COUNT``); prints what it measured as JSON.
"""

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

THREADS = 1
"""Huey's quickest on two cores: 2, 4, 8 and 16 threads drained 10 to 25 % fewer no-ops per second."""
POLL_SECONDS = 0.001
PATIENCE_SECONDS = 120.0
BATCH = 500
"""Jobs that one call enqueues with PgQueuer, as many as a batch of ours."""
DEQUEUED_AT_ONCE = 100


@dataclass(frozen=True)
class PeerRates:
    """Tasks per second, each acknowledged after a sync."""

    enqueued_per_second: float
    drained_per_second: float


def measure_huey(directory: Path, *, count: int) -> PeerRates:
    """Enqueue and drain ``count`` no-ops with Huey in a process of its own."""
    return _measured("huey", str(directory), count)


def measure_pgqueuer(address: str, *, count: int) -> PeerRates:
    """The same with PgQueuer in an empty database."""
    return _measured("pgqueuer", address, count)


def _measured(name: str, place: str, count: int) -> PeerRates:
    command = [sys.executable, "-m", "benchmarks.beside", name, place, str(count)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return PeerRates(**json.loads(printed.splitlines()[-1]))


# Huey ----------------------------------------------------------------------------------------------------------------


def _huey(directory: str, count: int) -> PeerRates:
    from huey import SqliteHuey  # Only `make bench` installs it.

    huey = SqliteHuey(filename=str(Path(directory) / "huey.db"), fsync=True, results=False, utc=True)
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


# PgQueuer ------------------------------------------------------------------------------------------------------------


def _pgqueuer(address: str, count: int) -> PeerRates:
    import uvloop

    return uvloop.run(_pgqueuer_rates(address, count))


async def _pgqueuer_rates(address: str, count: int) -> PeerRates:
    import asyncpg
    from pgqueuer import PgQueuer, Queries  # Only `make bench` installs it.
    from pgqueuer.db import AsyncpgDriver

    connection = await asyncpg.connect(address)
    queue = PgQueuer(AsyncpgDriver(connection))
    queries = Queries(queue.connection)
    await queries.install()
    began_at = time.perf_counter()
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        await queries.enqueue(["noop"] * size, [b'{"prompt":"a payload of usual size"}'] * size, [0] * size)
    enqueued = count / (time.perf_counter() - began_at)
    left = count

    async def noop(_: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            queue.shutdown.set()

    queue.entrypoint("noop")(noop)
    began_at = time.perf_counter()
    # Ends when what was completed is written, which our own figure waits for, too.
    await asyncio.wait_for(queue.qm.run(batch_size=DEQUEUED_AT_ONCE), PATIENCE_SECONDS)
    drained = count / (time.perf_counter() - began_at)
    await connection.close()
    return PeerRates(enqueued_per_second=enqueued, drained_per_second=drained)


PEERS = {"huey": _huey, "pgqueuer": _pgqueuer}

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(PEERS))
    parser.add_argument("place")
    parser.add_argument("count", type=int)
    arguments = parser.parse_args()
    print(json.dumps(asdict(PEERS[arguments.name](arguments.place, arguments.count))))
