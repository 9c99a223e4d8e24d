"""The application of a chaos run: handlers that log each start and end in a file that no kill can take back."""

import asyncio
import os
import secrets
import threading
import time
from typing import Any

from fairlane import Context, Fail, Fairlane

ALIVE_SECONDS = 0.05
app = Fairlane()
_process = f"{os.getpid()}-{secrets.token_hex(4)}"
_track = os.open(os.environ["CHAOS_TRACK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _note(what: str, *words: object) -> None:
    line = " ".join(map(str, (f"{time.monotonic():.4f}", _process, what, *words))) + "\n"
    os.write(_track, line.encode())  # One write of a short line appears whole or not at all.


def _alive() -> None:
    """Write a line every 50 ms: the last bounds the end of killed handlers, a gap shows a process that stood still."""
    while True:
        _note("alive")
        time.sleep(ALIVE_SECONDS)


@app.on_start
def begin() -> None:
    """Start the lines of life in worker processes only."""
    threading.Thread(target=_alive, name="alive", daemon=True).start()


@app.task("LOOP", attempts=50, timeout=30)
async def loop(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Wait on the worker's loop."""
    _note("start", context.organization, context.lease_id, context.task_id)
    try:
        await asyncio.sleep(payload["seconds"])
    finally:
        _note("end", context.organization, context.lease_id, context.task_id)
    return {"lease": context.lease_id}


@app.task("THREAD", attempts=50, timeout=30)
def thread(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Wait on a thread of the worker, whatever it is told."""
    _note("start", context.organization, context.lease_id, context.task_id)
    time.sleep(payload["seconds"])
    _note("end", context.organization, context.lease_id, context.task_id)
    return {"lease": context.lease_id}


@app.task("LIMITED", attempts=50, timeout=30, limit=3)
async def limited(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Run at most three at once, over all organizations."""
    return await loop(payload, context)


@app.task("DOOMED", attempts=50, timeout=30)
async def doomed(payload: dict[str, Any]) -> dict[str, Any]:
    """Fail each time."""
    raise Fail("DOOMED", "It fails each time.")
