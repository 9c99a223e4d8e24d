"""What the workers run: handlers that write down each start and end where no kill can take it back."""

import asyncio
import os
import time
from typing import Any

from fairlane import Context, Fairlane

app = Fairlane()
_track = os.open(os.environ["CHAOS_TRACK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _note(what: str, context: Context) -> None:
    line = f"{time.time():.4f} {what} {context.organization} {context.task_id} {context.attempt}\n"
    os.write(_track, line.encode())  # one write of a short line: whole or not at all


@app.task("LOOP", attempts=50, timeout=30)
async def loop(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Waits on the worker's loop."""
    _note("start", context)
    await asyncio.sleep(payload["seconds"])
    _note("end", context)
    return {"attempt": context.attempt}


@app.task("THREAD", attempts=50, timeout=30)
def thread(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Waits on a thread."""
    _note("start", context)
    time.sleep(payload["seconds"])
    _note("end", context)
    return {"attempt": context.attempt}


@app.task("LIMITED", attempts=50, timeout=30, limit=3)
async def limited(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """At most three at once, over all organizations."""
    return await loop(payload, context)
