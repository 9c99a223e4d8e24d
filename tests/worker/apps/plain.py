"""Handlers that do what their tests are about. ``track`` names a file to which an attempt appends a line."""

import asyncio
import contextlib
import contextvars
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from fairlane import Context, Fail, Fairlane, Retry

app = Fairlane()
settings: dict[str, str] = {}
variable = contextvars.ContextVar("variable", default="unset")


class Track(msgspec.Struct):
    """Where an attempt leaves its marks, and what it waits for."""

    track: str = ""
    until: str = ""


class Number(msgspec.Struct):
    n: int


def mark(path: str, word: str) -> None:
    with Path(path).open("a") as file:
        file.write(word + "\n")


@app.on_start
async def started() -> None:
    settings["started"] = str(os.getpid())
    variable.set("started")


@app.on_stop
def stopped() -> None:
    if path := os.environ.get("FAIRLANE_TEST_STOPPED"):
        mark(path, str(os.getpid()))


@app.task("NOOP")
async def noop(payload):
    return {}


@app.task("NOOP_THREAD")
def noop_thread(payload):
    return {}


@app.task("ADD")
async def add(payload: Number, context: Context):
    return {"n": payload.n + 1, "attempt": context.attempt, "started": settings["started"], "pid": os.getpid()}


@app.task("ADD_THREAD")
def add_thread(payload: Number, context: Context):
    return {"n": payload.n + 1, "thread": threading.current_thread().name.rpartition("-")[0]}


@app.task("ADD_ISOLATED", isolation="process")
def add_isolated(payload: Number, context: Context):
    return {"n": payload.n + 1, "started": settings["started"], "pid": os.getpid(), "parent": os.getppid()}


@app.task("VARIABLE")
async def set_variable(payload: Number):
    before = variable.get()
    variable.set(f"attempt {payload.n}")
    return {"before": before}


@app.task("VARIABLE_THREAD")
def set_variable_on_thread(payload: Number):
    before = variable.get()
    variable.set(f"attempt {payload.n}")
    return {"before": before}


@app.task("WAIT")
async def wait(payload: Track):
    mark(payload.track, "began")
    try:
        while not Path(payload.until).exists():
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        mark(payload.track, "canceled")
        raise
    mark(payload.track, "ended")


@app.task("WAIT_THREAD")
def wait_thread(payload: Track, context: Context):
    mark(payload.track, "began")
    while not Path(payload.until).exists() and not context.canceled:
        time.sleep(0.005)
    mark(payload.track, "canceled" if context.canceled else "ended")


@app.task("CANCEL_ALL")
@app.task("CANCEL_ALL_ISOLATED", isolation="process")
async def cancel_all(payload):
    """As a program does at its end; it finds what handlers started, here its own task."""
    background = asyncio.create_task(asyncio.sleep(60), name="background")
    for _ in range(3):
        found = asyncio.all_tasks()
        names = sorted(task.get_name() for task in found)
        for task in found:
            task.cancel()
        await asyncio.sleep(0.01)
        if not asyncio.all_tasks():
            return {"found": names, "canceled": background.cancelled()}
    return {"left": names}


async def _tell(payload: Track, context: Context):
    for number in range(1, 1_000):
        context.progress(number, 1_000, "pages")
        if Path(payload.until).exists():
            return {}
        await asyncio.sleep(0.02)
    return {}


@app.task("PROGRESS")
async def progress(payload: Track, context: Context):
    return await _tell(payload, context)


@app.task("PROGRESS_ISOLATED", isolation="process")
async def progress_isolated(payload: Track, context: Context):
    return await _tell(payload, context)


@app.task("STUCK_THREAD")
def stuck_thread(payload: Track):
    mark(payload.track, "began")
    threading.Event().wait()


@app.task("STUCK_ISOLATED", isolation="process")
def stuck_isolated(payload: Track):
    mark(payload.track, str(os.getpid()))
    threading.Event().wait()


def programs(payload: Track) -> subprocess.Popen[bytes]:
    """Three programs that go on for long: beside this process, in a session of its own, and one without a parent."""
    beside = subprocess.Popen(["sleep", "300"])
    apart = subprocess.Popen(["sleep", "300"], start_new_session=True)
    daemon = subprocess.run(
        ["sh", "-c", "sleep 300 >&- 2>&- & echo $!"], start_new_session=True, stdout=subprocess.PIPE, check=True
    )
    mark(payload.track, f"{os.getpid()} {beside.pid} {apart.pid} {int(daemon.stdout)}")
    return beside


@app.task("PROGRAMS")
@app.task("PROGRAMS_ISOLATED", isolation="process")
def run_programs(payload: Track):
    programs(payload).wait()


@app.task("PROGRAMS_ASYNC_ISOLATED", isolation="process")
async def start_programs(payload: Track):
    programs(payload)
    await asyncio.sleep(300)


@app.task("STUBBORN")
async def stubborn(payload: Track):
    mark(payload.track, "began")
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@app.task("CRASH")
async def crash(payload):
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("HANG_UP_AND_CRASH")
async def hang_up_and_crash(payload: Track):
    """The channel ends first, as seen by a parent that hears of the process late."""
    mark(payload.track, "began")
    while not Path(payload.until).exists():
        await asyncio.sleep(0.005)
    channel = json.loads(sys.argv[1])["channel"]
    socket.socket(fileno=os.dup(channel)).shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("CRASH_ISOLATED", isolation="process")
async def crash_isolated(payload):
    os.kill(os.getpid(), signal.SIGKILL)


@app.task("HOLD_INTERPRETER")
def hold_interpreter(payload: Track):
    mark(payload.track, "began")
    re.match(r"(a|a)*b", "a" * 60)


@app.task("HOLD_LOOP")
async def hold_loop(payload: Track):
    while not Path(payload.until).exists():
        time.sleep(0.01)
    return {}


@app.task("RETRY")
async def retry(payload):
    raise Retry("later", after=7)


@app.task("FAIL")
def fail(payload):
    raise Fail("NO_SUCH_PAGE", "There is no such page", details={"page": 7})


@app.task("RAISE")
async def raise_(payload):
    raise KeyError("boom \ud800")


@app.task("EXIT")
def exit_(payload):
    raise SystemExit(9)


@app.task("NAN")
async def nan(payload):
    return {"x": math.nan}


@app.task("HALF")
@app.task("HALF_ISOLATED", isolation="process")
def half_a_pair(payload):
    return {"x": "\ud800", "y": "\xe9"}


@app.task("LARGE")
async def large(payload):
    return "x" * 5000
