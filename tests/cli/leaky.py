"""An application whose handlers fail with their payload in hand, in every way that could reach a log."""

import asyncio
import logging
import threading
from typing import Annotated, Any

import httpx2
import msgspec

from fairlane import Context, Fail, Fairlane, Retry

app = Fairlane()
shop = logging.getLogger("shop.pages")


class Page(msgspec.Struct):
    """``secret`` must be in no line of the log."""

    secret: Annotated[str, msgspec.Meta(min_length=3)]
    way: str


async def _alone(secret: str) -> None:
    shop.info("a task of a handler")
    raise LookupError(secret)


def _thread(secret: str) -> None:
    raise OSError(secret)


class Finalized:
    """Raises where nothing can catch it."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __del__(self) -> None:
        raise ArithmeticError(self.secret)


def _fail(page: Page) -> Any:
    match page.way:
        case "raise":
            try:
                raise KeyError(page.secret)
            except KeyError as error:
                raise ValueError(f"cannot use {page.secret}") from error
        case "group":
            raise ExceptionGroup(page.secret, [RuntimeError(page.secret)])
        case "fail":
            raise Fail("NO", page.secret, {"secret": page.secret, "set": {object()}})
        case "retry":
            raise Retry(page.secret, after=0)
        case "result":
            return {page.secret: object()}
        case "thread":
            threading.Thread(target=_thread, args=(page.secret,)).start()
        case "finalizer":
            Finalized(page.secret)
    return {"secret": page.secret}


@app.task("ON_LOOP", attempts=1)
@app.task("LATE_ON_LOOP", attempts=1, timeout=0.5)
async def on_loop(page: Page) -> Any:
    """Fail in this way."""
    if page.way == "task":
        asyncio.get_running_loop().call_soon(_thread, page.secret)
        await asyncio.wait([asyncio.create_task(_alone(page.secret))])
    if page.way == "late":
        await asyncio.sleep(30)
    shop.info("on the loop")
    return _fail(page)


@app.task("ON_THREAD", attempts=1)
@app.task("LATE_ON_THREAD", attempts=1, timeout=0.5)
def on_thread(page: Page, context: Context) -> Any:
    """The same on a thread; it asks its own server something by HTTP."""
    if page.way.startswith("http"):
        httpx2.get(page.way)
    shop.info("on a thread", extra={"attempt": "mine"})
    if page.way == "late":
        while not context.canceled:
            threading.Event().wait(0.01)
    return _fail(page)


@app.task("ALONE", attempts=1, isolation="process")
def alone(page: Page) -> Any:
    """The same in a process of its own."""
    shop.info("alone")
    return _fail(page)
