"""What the driver and every adapter share. Standard library alone: it runs in each peer's own environment.

``python -m benchmarks.peers.NAME fill|dispatch JSON`` is a client process: it submits tasks and prints what it measured
as its last line. ``python -m benchmarks.peers.NAME work`` is the worker; it runs until it is ended. Both read what they
work on from one variable, which their own child processes inherit.
Every task calls :func:`work` or :func:`work_async`, which append a record to a file in memory: so all are timed alike.
"""

import asyncio
import contextlib
import json
import math
import os
import random
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

SETUP_VARIABLE = "BENCH_SETUP"
RECORD = struct.Struct("=qqq")
"""The organization's number, and when the task began and ended, in nanoseconds of the clock all processes share."""
BATCH = 500
"""Tasks in a batch at most, all of one organization."""
PROMPT = "a payload of usual size"
WARM_UP = 5
"""Dispatches that are not counted."""
PAUSE_SECONDS = 0.015
WATCH_SECONDS = 0.001
PATIENCE_SECONDS = 20.0
"""How long a worker may take to listen, and a single task to start."""


@dataclass(frozen=True)
class Setup:
    """What one measurement works on."""

    place: str
    """The address of an empty database, or of an empty Redis."""
    records: str
    """The file to which tasks append."""
    port: int
    """A free port of the loopback, for a peer that listens."""
    organizations: int
    slots: int
    """Tasks of one organization that may run at once, where the peer has such a limit."""
    limited: bool
    """Whether the limit of each organization is what is measured. A peer without limits is not asked."""
    places: int
    """Tasks that may run at once in all; 0: as many as the peer is quickest with. The client knows it, too: some peers
    store it with the queue, and a worker that starts takes what is stored."""


@dataclass(frozen=True)
class Filling:
    """How to fill a queue."""

    count: int
    """Tasks at most."""
    task_seconds: float
    """What each of them sleeps; 0: it does nothing."""
    seconds: float
    """No new call begins after this time."""
    measured_seconds: float = 0.0
    """For this long single submits are timed first, and then batches."""


@dataclass(frozen=True)
class Filled:
    """What a client process reports about a filled queue."""

    versions: dict[str, str]
    count: int
    single_per_second: float | None = None
    batch_per_second: float | None = None
    """None: the peer has no call that submits several tasks."""


@dataclass(frozen=True)
class Dispatching:
    """How to submit one task at a time."""

    count: int
    seconds: float
    """No task is submitted after this time."""


class Adapter:
    """One peer. What a client process calls is asynchronous, also where the peer is not."""

    packages: ClassVar[tuple[str, ...]]
    """The distributions whose versions the report names."""
    batch: int = 0
    """Tasks in a call that submits several; 0: there is no such call."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    async def prepare(self) -> None:
        """Make the tables or whatever else has to be there first. Called once for each measurement."""

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        """Be ready to submit inside the block. ``beside_worker``: whether the peer's worker runs already."""
        yield

    async def submit(self, organization: int, seconds: float) -> None:
        """Submit one task; it is stored when this returns."""
        raise NotImplementedError

    async def submit_batch(self, organization: int, seconds: float, count: int) -> None:
        """Submit several tasks of one organization with one call."""
        raise NotImplementedError

    def work(self) -> None:
        """Run tasks until the process is ended. May become another program."""
        raise NotImplementedError


def setup() -> Setup:
    """Return what this process works on."""
    return Setup(**json.loads(os.environ[SETUP_VARIABLE]))


def work(organization: int, seconds: float) -> None:
    """What a task does, in a thread or process."""
    began_at = time.monotonic_ns()
    if seconds:
        time.sleep(seconds)
    _record(organization, began_at)


async def work_async(organization: int, seconds: float) -> None:
    """What a task does, on an event loop."""
    began_at = time.monotonic_ns()
    if seconds:
        await asyncio.sleep(seconds)
    _record(organization, began_at)


def main(adapter: type[Adapter]) -> None:
    """Be a client or a worker process."""
    role = sys.argv[1]
    if role == "work":
        adapter(setup()).work()
        return
    asked = json.loads(sys.argv[2])
    if role == "fill":
        answer: Any = asdict(asyncio.run(fill(adapter(setup()), Filling(**asked))))
    else:
        answer = asyncio.run(dispatch(adapter(setup()), Dispatching(**asked)))
    print(json.dumps(answer))


async def fill(adapter: Adapter, filling: Filling) -> Filled:
    """Prepare, time the submits if that is asked for, and fill the queue."""
    await adapter.prepare()
    from importlib import metadata  # Slow to import, and workers do not need it.

    versions = {name: metadata.version(name) for name in adapter.packages}
    if not filling.count:
        return Filled(versions, 0)
    numbers = _organizations(adapter.setup.organizations)
    each = max(1, filling.count // adapter.setup.organizations)
    async with adapter.opened(beside_worker=False):
        until = time.perf_counter() + filling.seconds
        single_rate = batch_rate = None
        count = 0
        if filling.measured_seconds:
            done, single_rate = await _timed(adapter, numbers, filling, size=1)
            count += done
            if adapter.batch:
                done, batch_rate = await _timed(adapter, numbers, filling, size=adapter.batch)
                count += done
        size = min(adapter.batch, each) or 1
        while count < filling.count and time.perf_counter() < until:
            count += await _submit(adapter, next(numbers), filling, min(size, filling.count - count))
    return Filled(versions, count, single_per_second=single_rate, batch_per_second=batch_rate)


async def dispatch(adapter: Adapter, dispatching: Dispatching) -> list[float]:
    """Submit one task at a time to an idle worker; return the milliseconds until each began, without the warm-up.

    The pauses are uneven, so that no period of a peer is met. The time counts from the end of the warm-up, because the
    worker still starts when it begins.
    """
    records, found = Path(adapter.setup.records), list[float]()
    until = math.inf
    async with adapter.opened(beside_worker=True):
        while len(found) < WARM_UP + dispatching.count and time.perf_counter() < until:
            if len(found) == WARM_UP:
                until = time.perf_counter() + dispatching.seconds
            sent_at = time.monotonic_ns()
            await adapter.submit(0, 0.0)
            _, began_at, _ = await _record_number(records, len(found))
            found.append((began_at - sent_at) / 1e6)
            await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))
    return found[WARM_UP:]


async def _timed(adapter: Adapter, numbers: Iterator[int], filling: Filling, *, size: int) -> tuple[int, float]:
    """Time one call after the other; return the tasks, and how many of them were stored per second.

    The first call is not timed: it connects.
    """
    first = await _submit(adapter, next(numbers), filling, size)
    began_at, count = time.perf_counter(), 0
    while time.perf_counter() < began_at + filling.measured_seconds:
        count += await _submit(adapter, next(numbers), filling, size)
    return first + count, count / (time.perf_counter() - began_at)


async def _submit(adapter: Adapter, organization: int, filling: Filling, size: int) -> int:
    if size > 1:
        await adapter.submit_batch(organization, filling.task_seconds, size)
    else:
        await adapter.submit(organization, filling.task_seconds)
    return size


async def _record_number(records: Path, number: int) -> tuple[int, int, int]:
    give_up_at = time.perf_counter() + PATIENCE_SECONDS
    while not records.exists() or records.stat().st_size < (number + 1) * RECORD.size:
        if time.perf_counter() > give_up_at:
            raise RuntimeError("a task did not start in time")
        await asyncio.sleep(WATCH_SECONDS)
    with records.open("rb") as file:
        file.seek(number * RECORD.size)
        organization, began_at, ended_at = RECORD.unpack(file.read(RECORD.size))
        return organization, began_at, ended_at


def _organizations(count: int) -> Iterator[int]:
    while True:
        yield from range(count)


_descriptors: list[int] = []
"""The open file of this process; appends of this size are never torn."""


def _record(organization: int, began_at: int) -> None:
    if not _descriptors:
        _descriptors.append(os.open(setup().records, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    os.write(_descriptors[0], RECORD.pack(organization, began_at, time.monotonic_ns()))
