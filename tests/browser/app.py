"""What the browser's server runs: tasks that last, that fail, and that are quick."""

import asyncio
from typing import Any

from fairlane import Context, Fail, Fairlane

app = Fairlane()


@app.task("QUICK")
async def quick(payload: dict[str, Any]) -> dict[str, Any]:
    """Ends at once."""
    return {"echo": payload}


@app.task("SLOW", timeout=120)
async def slow(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Lasts as long as it is told to, or until it is cancelled."""
    await asyncio.sleep(payload.get("seconds", 60))
    return {"slept": True}


@app.task("FAILS", attempts=1)
async def fails(payload: dict[str, Any]) -> dict[str, Any]:
    """Fails for good."""
    raise Fail("NO_LUCK", "It never works.")
