"""An application whose handlers return, raise and say what no protocol carries."""

import asyncio
import contextlib
import logging.config
import math
import os
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from fairlane import Context, Fail, Fairlane, Retry

app = Fairlane()


class Text(str):
    """A string of another type."""

    __slots__ = ()


class Unprintable(Exception):
    """Its text raises, as does its repr."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Leaving(Exception):
    """Its text ends the program."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Unreadable(dict[str, Any]):
    """A mapping that cannot be read."""

    def __iter__(self) -> Iterator[str]:
        raise SystemExit(4)

    def __ne__(self, other: object) -> bool:
        raise SystemExit(5)


def _set(error: Exception, **attributes: object) -> Exception:
    """The exception with other attributes than it was made with."""
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


SAID = [
    lambda context: context.progress(Decimal("0.5"), note="\ud800\0"),
    lambda context: context.progress(10**400, 10**401),
    lambda context: context.progress("1"),
    lambda context: context.progress(Decimal("sNaN")),
]
RAISED = [
    lambda: Retry("later", after=Decimal("1.5")),
    lambda: Retry("later", after=Fraction(3, 2)),
    lambda: Retry("later", after=True),
    lambda: Retry("later", after="5"),  # type: ignore[arg-type]
    lambda: Retry("later", after=-1),
    lambda: Retry("later", after=math.nan),
    lambda: Retry("later", after=Decimal("sNaN")),
    lambda: Retry("later", after=10**400),
    lambda: Retry(Unprintable()),
    lambda: Retry("\ud800\0" * 10_000, after=0),
    lambda: _set(Retry("later"), after_seconds=Decimal("Infinity")),
    lambda: _set(Retry("later"), after_seconds="soon"),
    lambda: Fail("A", "b", {1, 2}),
    lambda: Fail("A\nB\x7f", "b\n"),
    lambda: Fail("A", "b", {"n": math.nan, "b": b"\xff", "t": Text("t")}),
    lambda: Fail("A", "b", _endless()),
    lambda: Fail("A", "b", "x" * 30_000_000),
    lambda: Fail(Text("A\0"), Text("\ud800" * 50_000)),
    lambda: Fail("A", Unprintable()),
    lambda: _set(Fail("A", "b"), code=Unprintable(), details=Unreadable()),
    lambda: _set(Fail("A", "b"), failure_message=object(), details=Unprintable),
    Unprintable,
    Leaving,
    lambda: ValueError("\ud800\0", Unprintable()),
    KeyboardInterrupt,
    SystemExit,
    GeneratorExit,
    asyncio.CancelledError,
    lambda: ExceptionGroup("many", [Unprintable(), ValueError("x")]),
]
RETURNED: list[Any] = [
    {"n": math.nan},
    -math.inf,
    10**5_000,
    {"s": {object()}},
    {1: 2},
    {"b": b"\xff\0", "m": memoryview(b"x")},
    {"t": Text("\ud800\0"), "f": Fraction(1, 3)},
    {Text("k"): True},
    Unreadable(a=1),
    Unprintable(),
    _endless(),
    "x" * 9_000_000,
    ["\0" * 100_000] * 80,
    (number for number in range(3)),
    object,
]
SPAWNED = [SystemExit, KeyboardInterrupt, Unprintable, asyncio.CancelledError]
"""What a task raises that a handler started."""


def _stop_loop() -> None:
    with contextlib.suppress(RuntimeError):  # A thread has none.
        asyncio.get_running_loop().stop()


def _cancel_tasks() -> None:
    with contextlib.suppress(RuntimeError):  # A thread has no loop.
        for task in asyncio.all_tasks():
            task.cancel()


DONE: list[Callable[[], int | None]] = [
    lambda: os.fork() or sys.exit(1),
    os.fork,
    _stop_loop,
    _cancel_tasks,
    logging.disable,
    lambda: logging.config.dictConfig({"version": 1}),
    lambda: logging.basicConfig(force=True, level=logging.CRITICAL, handlers=[logging.NullHandler()]),
]
"""What a handler does to its process before it returns; on the loop it waits a little, too."""
ENDINGS = [(kind, number) for kind, ways in (("said", SAID), ("raised", RAISED), ("returned", RETURNED),
                            ("spawned", SPAWNED), ("done", DONE))
           for number in range(len(ways))]  # fmt: skip


def _end(payload: dict[str, Any], context: Context) -> Any:
    match payload["kind"]:
        case "said":
            SAID[payload["number"]](context)
        case "raised":
            raise RAISED[payload["number"]]()
        case "returned":
            return RETURNED[payload["number"]]
        case "done":
            return {"done": DONE[payload["number"]]()}
    return {}


async def _spawn(payload: dict[str, Any]) -> None:
    async def fail() -> None:
        raise SPAWNED[payload["number"]]

    if payload["kind"] == "spawned":
        await asyncio.wait([asyncio.create_task(fail())])


async def _end_on_loop(payload: dict[str, Any], context: Context) -> Any:
    await _spawn(payload)
    result = _end(payload, context)
    if payload["kind"] == "done":
        await asyncio.sleep(0.1)
    return result


@app.task("ON_LOOP", attempts=1)
async def on_loop(payload: dict[str, Any], context: Context) -> Any:
    """End in one of these ways."""
    return await _end_on_loop(payload, context)


@app.task("ON_THREAD", attempts=1)
def on_thread(payload: dict[str, Any], context: Context) -> Any:
    """The same."""
    return _end(payload, context)


@app.task("ALONE", attempts=1, isolation="process")
async def alone(payload: dict[str, Any], context: Context) -> Any:
    """The same."""
    return await _end_on_loop(payload, context)


async def _stay(payload: dict[str, Any], context: Context) -> dict[str, int]:
    Path(payload["began"]).touch()
    while not Path(payload["until"]).exists():
        await asyncio.sleep(0.01)
    return {"attempt": context.attempt, "pid": os.getpid()}


@app.task("NEIGHBOUR", attempts=1, timeout=600)
async def neighbour(payload: dict[str, Any], context: Context) -> dict[str, int]:
    """Run beside them until a file is there."""
    return await _stay(payload, context)


@app.task("NEIGHBOUR_ALONE", attempts=1, timeout=600, isolation="process")
async def neighbour_alone(payload: dict[str, Any], context: Context) -> dict[str, int]:
    """The same in a process of its own, which the worker process started."""
    return await _stay(payload, context)
