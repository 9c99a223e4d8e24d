"""An application that starts as the file named by ``FAIRLANE_TEST_START`` says: empty, it starts."""

import asyncio
import os
import sys
from pathlib import Path

from fairlane import Fairlane

app = Fairlane()
wish = Path(os.environ.get("FAIRLANE_TEST_START", os.devnull))

if wish.read_text() == "import":
    raise ImportError("a secret")


@app.on_start
async def load() -> None:
    match wish.read_text():
        case "raise":
            raise RuntimeError("a secret")
        case "exit":
            sys.exit("a secret")
        case "die":
            os._exit(9)
        case "hang":
            while wish.read_text() == "hang":
                await asyncio.sleep(0.01)


@app.task("ANY")
async def anything(payload: dict) -> dict:
    return payload
