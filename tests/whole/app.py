"""An application whose handlers fail in every way; each start is noted in the file that TRACK names."""

import asyncio
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from fairlane import Context, Fairlane

app = Fairlane()
TRACK = Path(os.environ.get("TRACK", os.devnull))


def _note(context: Context) -> None:
    with TRACK.open("a") as track:
        track.write(f"{os.getpid()} {context.task_id} {context.attempt}\n")


@app.task("QUICK", attempts=1)
async def quick(payload: dict, context: Context) -> dict:
    """Ends at once."""
    _note(context)
    return {"attempt": context.attempt}


@app.task("GATE", attempts=3)
async def gate(payload: dict, context: Context) -> dict:
    """Ends once the file that it is told of is there."""
    _note(context)
    while not Path(payload["open"]).exists():
        await asyncio.sleep(0.01)
    return {"attempt": context.attempt}


@app.task("LOOKS", attempts=3)
def looks(payload: dict, context: Context) -> dict:
    """Goes on until it is no longer wanted, and then claims to have done it."""
    _note(context)
    while not context.canceled:
        time.sleep(0.01)
    return {"attempt": context.attempt}


def _run_program(payload: dict, context: Context) -> dict:
    program = subprocess.Popen(["sh", "-c", 'until test -e "$0"; do sleep 0.05; done', payload["open"]])
    with Path(payload["pids"]).open("a") as pids:
        pids.write(f"{program.pid}\n")
    return {"attempt": context.attempt, "status": program.wait()}


@app.task("PROGRAM", attempts=3)
def program(payload: dict, context: Context) -> dict:
    """Waits for a program that ends once the file that it is told of is there."""
    return _run_program(payload, context)


@app.task("PROGRAM_ALONE", attempts=3, isolation="process")
def program_alone(payload: dict, context: Context) -> dict:
    """The same in a process of its own."""
    return _run_program(payload, context)


@app.task("DEAF", attempts=3)
def deaf(payload: dict, context: Context) -> dict:
    """Goes on whatever happens."""
    _note(context)
    time.sleep(60)
    return {}


@app.task("DEAF_ALONE", attempts=3, isolation="process")
def deaf_alone(payload: dict, context: Context) -> dict:
    """Goes on whatever happens, in a process of its own."""
    _note(context)
    time.sleep(60)
    return {}


@app.task("POISON", attempts=2)
def poison(payload: dict, context: Context) -> dict:
    """Kills its process."""
    _note(context)
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@app.task("HOG", timeout=3, attempts=1)
def hog(payload: dict, context: Context) -> dict:
    """A moment later holds the interpreter far beyond its deadline: a catastrophic regular expression."""
    _note(context)
    time.sleep(0.5)
    re.match(r"(a+)+$", "a" * 60 + "b")
    return {}


@app.task("FORKS", attempts=1)
def forks(payload: dict, context: Context) -> dict:
    """Leaves a forked process behind that outlives it."""
    _note(context)
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    return {}
