"""A task queue of a few lines, to test the benchmark's driver without a peer: tasks are lines of a file."""

import contextlib
import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.peers.protocol import Adapter, main, work

LOOK_SECONDS = 0.001


class Stub(Adapter):
    """One file; each submit appends to it, one worker reads it."""

    packages = ("pytest",)
    batch = 50

    @property
    def _path(self) -> Path:
        return Path(self.setup.place.removeprefix("sqlite:///"))

    async def prepare(self) -> None:
        self._path.touch()

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        with self._path.open("a") as self._file:
            yield

    async def submit(self, organization: int, seconds: float) -> None:
        await self.submit_batch(organization, seconds, 1)

    async def submit_batch(self, organization: int, seconds: float, count: int) -> None:
        self._file.write(f"{json.dumps([organization, seconds])}\n" * count)
        self._file.flush()

    def work(self) -> None:
        with ThreadPoolExecutor(self.setup.places or 1) as threads, self._path.open() as lines:
            while True:
                if line := lines.readline():
                    threads.submit(work, *json.loads(line))
                else:
                    time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(Stub)
