"""The application that the benchmarks serve: handlers that do nothing, sleep, or say when they started."""

import asyncio
import os
import struct
import time
from typing import Any

from fairlane import Fairlane

RECORDS_VARIABLE = "BENCH_RECORDS"
"""Names the file to which ``SLEEP`` appends when it started and ended."""
RECORD = struct.Struct("=qq")
SLEEP_SECONDS = 0.05

app = Fairlane()
records: list[int] = []


@app.on_start
def open_records() -> None:
    """Open the record file once per worker process; appends of this size are never torn."""
    path = os.environ.get(RECORDS_VARIABLE)
    if path:
        records.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))


@app.task("NOOP")
async def noop(payload: dict[str, Any]) -> dict[str, Any]:
    """Nothing: what remains is fairlane."""
    return {}


@app.task("SLEEP")
async def sleep(payload: dict[str, Any]) -> dict[str, Any]:
    """A call to a slow service, recorded from inside."""
    started_at = time.monotonic_ns()
    await asyncio.sleep(SLEEP_SECONDS)
    os.write(records[0], RECORD.pack(started_at, time.monotonic_ns()))
    return {}


@app.task("STAMP")
async def stamp(payload: dict[str, Any]) -> dict[str, Any]:
    """When the handler started, on the clock that all processes of a machine share."""
    return {"startedAt": time.monotonic_ns()}
