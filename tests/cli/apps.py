"""An application whose handlers end in every way there is."""

import asyncio
import sys
from typing import Any

import msgspec

from fairlane import Context, Fail, Fairlane, Retry

app = Fairlane()
prepared: list[str] = []


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """How the attempt is to end."""

    ending: str


@app.on_start
async def prepare() -> None:
    """Run before the attempt."""
    prepared.append("ready")


@app.on_stop
def tidy() -> None:
    """Run after the attempt."""
    print("tidied", file=sys.stderr)


@app.task("END", timeout=0.2)
async def end(wish: Wish, context: Context) -> Any:
    """End as wished."""
    match wish.ending:
        case "retry":
            raise Retry("not yet", after=7)
        case "fail":
            raise Fail("NO_SUCH_PAGE", "there is no such page", details={"page": 3})
        case "raise":
            raise LookupError("the index is gone")
        case "late":
            await asyncio.sleep(30)
        case "nan":
            return {"ratio": float("nan")}
        case "half":
            return {"half": "\ud800"}
        case "list":
            return [1, 2]
    return {"attempt": context.attempt, "organization": context.organization, "prepared": prepared}


@app.task("BLOCK")
def block(wish: Wish) -> dict[str, str]:
    """A handler on a thread."""
    return {"ended": wish.ending}
