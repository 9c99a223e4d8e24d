"""What the browser's server runs: tasks that last, that fail, and that are quick."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from fairlane import Context, Fail, Fairlane

app = Fairlane()
CURED = Path(tempfile.gettempdir()) / "fairlane-browser-cured"
"""While this file exists, tasks of the type MENDED complete."""


@app.task("QUICK")
async def quick(payload: dict[str, Any]) -> dict[str, Any]:
    """Ends at once."""
    return {"echo": payload}


@app.task("SLOW", timeout=120)
async def slow(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Lasts as long as it is told to, or until it is canceled."""
    context.progress(3, 12, "pages read")
    await asyncio.sleep(payload.get("seconds", 60))
    return {"slept": True}


class Words(msgspec.Struct):
    """A payload with fields that have to be there."""

    text: str
    most: int
    loud: bool
    places: list[str]
    note: str | None = None


@app.task("COUNTS", limit=2)
async def counts(words: Words) -> dict[str, Any]:
    """Ends at once, if its payload fits."""
    return {"counted": len(words.text.split()[: words.most])}


@app.task("A_NAME_OF_SIXTY_FOUR_CHARACTERS_WHICH_IS_AS_LONG_AS_ONE_MAY_BE_")
async def long_name(payload: dict[str, Any]) -> None:
    """Ends at once, too."""


@app.task("FAILS", attempts=1)
async def fails(payload: dict[str, Any]) -> dict[str, Any]:
    """Fails for good."""
    raise Fail("NO_LUCK", "It never works.")


@app.task("FLAKY", attempts=2)
async def flaky(payload: dict[str, Any]) -> dict[str, Any]:
    """Fails, and fails again after a pause."""
    raise ConnectionError("the other side does not answer")


@app.task("BROKEN", attempts=1)
async def broken(payload: dict[str, Any]) -> dict[str, Any]:
    """Fails by a mistake of the application."""
    return {"country": payload["country"]}


@app.task("MENDED", attempts=1)
async def mended(payload: dict[str, Any]) -> dict[str, Any]:
    """Fails until a test says that the mistake is corrected."""
    if not CURED.exists():
        raise ImportError("cannot import name 'parser' from 'pages'")
    return {"cured": True}
