"""fairlane itself: `fairlane serve` with one local worker process; submits go over HTTP with an organization's key.

Each organization is limited in every row. Tasks are submitted on one kept connection, batches with
`POST /v1/async/task/batch`.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from benchmarks.filling import Party, fill_async
from benchmarks.homes import Database
from benchmarks.load import Connection, request_bytes
from benchmarks.peers.protocol import BATCH, PATIENCE_SECONDS, PROMPT, WATCH_SECONDS, Adapter, main, work_async
from benchmarks.servers import QUIET, ServerProcess
from fairlane import Fairlane

APPLICATION = "benchmarks.peers.fairlane:app"

app = Fairlane()


@app.task("WORK")
async def run(payload: dict[str, Any]) -> dict[str, Any]:
    """The task of all peers."""
    await work_async(payload["organization"], payload["seconds"])
    return {}


class FairlaneAdapter(Adapter):
    """One kept connection. To fill a queue, the client has a server without workers for the time."""

    packages = ("fairlane",)
    batch = BATCH

    async def prepare(self) -> None:
        parties = [self._party(number) for number in range(self.setup.organizations)]
        await fill_async(Database(self.setup.place, Path(os.devnull)), parties)

    @contextlib.asynccontextmanager
    async def opened(self, *, beside_worker: bool) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if not beside_worker:
                command = _serve(self.setup.place, workers=0, places=1, port=self.setup.port)
                log = Path(self.setup.records).with_suffix(".server-log")
                stack.enter_context(ServerProcess(command, log=log, environment=QUIET))
            self._connection = stack.enter_context(await _connected(self.setup.port))
            yield

    async def submit(self, organization: int, seconds: float) -> None:
        self._ask("/v1/async/task", organization, _task(organization, seconds))

    async def submit_batch(self, organization: int, seconds: float, count: int) -> None:
        self._ask("/v1/async/task/batch", organization, [_task(organization, seconds)] * count)

    def work(self) -> None:
        places = self.setup.organizations * self.setup.slots
        command = _serve(self.setup.place, workers=1, places=places, port=self.setup.port)
        os.execve(sys.executable, [sys.executable, *command], dict(os.environ) | QUIET)

    def _ask(self, path: str, organization: int, body: object) -> None:
        key = self._party(organization).key
        content = json.dumps(body).encode()
        status, answer = self._connection.ask(request_bytes("POST", path, key=key, body=content))
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer.decode()[:200]}")

    def _party(self, number: int) -> Party:
        return Party(f"organization-{number}", slots=self.setup.slots)


async def _connected(port: int) -> Connection:
    """Wait until the server listens; its first answer waits until it is ready."""
    give_up_at = time.perf_counter() + PATIENCE_SECONDS
    while True:
        try:
            return Connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.perf_counter() > give_up_at:
                raise
            await asyncio.sleep(WATCH_SECONDS)


def _serve(database: str, *, workers: int, places: int, port: int) -> list[str]:
    flags = ["--database", database, "--port", str(port), "--workers", str(workers), "--places", str(places)]
    return ["-m", "fairlane", "serve", APPLICATION, *flags]


def _task(organization: int, seconds: float) -> dict[str, object]:
    return {"taskType": "WORK", "payload": {"organization": organization, "seconds": seconds, "prompt": PROMPT}}


if __name__ == "__main__":
    main(FairlaneAdapter)
