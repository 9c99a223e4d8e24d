"""How tests run commands and servers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.watching import WATCH

ROOT = Path(__file__).parents[2]
READY = "fairlane: ready at "


class Ran(NamedTuple):
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Command = Callable[..., Ran]


class RunningServer:
    """A ``fairlane serve`` process that has printed its ready line."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.ready = process.stdout.readline().strip()
        assert self.ready, log.read_text()
        WATCH.note("output fairlane serve", self.ready.encode())
        self.address = json.loads(self.ready)["address"] if "{" in self.ready else self.ready.removeprefix(READY)

    def stop(self) -> int:
        """End it as an operator would; returns its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


def start_server(log: Path, *flags: str, app: str = "examples.quickstart:app") -> subprocess.Popen[str]:
    """Start ``fairlane serve`` on the test's database; nothing is waited for."""
    arguments = ["serve", app, "--port", "0", "--places", "2", *flags]
    with log.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", "fairlane", *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT
        )


def eventually(check: Callable[[], bool], *, seconds: float = 15.0) -> None:
    """Wait until something holds; fail if it does not in time."""
    give_up_at = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < give_up_at, f"not within {seconds} s"
        time.sleep(0.02)
