"""The source files that the demonstration works on, and how much work they are on this machine."""

import random
import time
from collections.abc import Sequence
from itertools import cycle, islice

from msgspec import Struct

from fairlane.demo.app import LIBRARY, read_source, render
from fairlane.errors import Fail, SetupError

TASKS_LEAST = 320
TYPES = ("HIGHLIGHT", "OUTLINE")
STYLES = ("default", "monokai", "friendly", "solarized-dark", "xcode", "nord", "vs", "dracula")
SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
SIZE_LEAST, SIZE_MOST = 5_000, 100_000
PROBE = "argparse.py"
PROBES = 3
OUTLINE_SHARE = 0.12
"""Time of an outline, relative to the page of the same file."""
YIELD_OF_MACHINE = 0.75
"""Share of the processors that handlers use; the rest is the server, the client and three threads per process."""
WORKER_PROCESSES = 2


class SourceFile(Struct, frozen=True):
    """A file of the standard library: its path within the library, and its size in bytes."""

    path: str
    size: int


class Work(Struct, frozen=True):
    """One task to submit."""

    task_type: str
    path: str
    style: str


def library_files() -> list[SourceFile]:
    """Return the source files of this Python, without tests and without the smallest and largest files.

    Raises:
        SetupError: this Python comes without its sources.
    """
    files = [
        SourceFile(str(file.relative_to(LIBRARY)), file.stat().st_size)
        for file in sorted(LIBRARY.rglob("*.py"))
        if not SKIPPED & set(file.relative_to(LIBRARY).parts)
    ]
    files = [file for file in files if SIZE_LEAST <= file.size <= SIZE_MOST]
    if not files:
        raise SetupError(f"the demo works on the standard library's source files, and there are none in {LIBRARY}")
    return files


def measure_bytes_per_second() -> float:
    """Return how fast a processor of this machine draws pages now, tried for a moment.

    The slowest of a few tries: where others use the machine, too, a single one may just have been lucky.
    """
    try:
        text = read_source(PROBE)
    except Fail as error:
        raise SetupError(f"the demo needs the standard library's source files: {error.failure_message}") from error
    return len(text) / max(_seconds_to_render(text) for _ in range(PROBES))


def _seconds_to_render(text: str) -> float:
    started = time.perf_counter()
    render(text, title=PROBE, style="default")
    return time.perf_counter() - started


def bytes_for(seconds: float, *, bytes_per_second: float, processors: int) -> int:
    """Return how many bytes of source keep the demonstration's workers busy for ``seconds``."""
    usable = min(processors, WORKER_PROCESSES) * YIELD_OF_MACHINE
    return int(seconds * usable * bytes_per_second / (1 + OUTLINE_SHARE))


def choose_work(files: Sequence[SourceFile], *, size: int, seed: int = 7) -> list[Work]:
    """Return at least :data:`TASKS_LEAST` tasks over about ``size`` bytes of source, each file once as each type.

    The largest files are left out if the sum would be larger, and files are repeated in another style if it would be
    smaller; no task comes twice.
    """
    least = TASKS_LEAST // len(TYPES)
    bounded = sorted(files, key=lambda file: file.size)
    total = sum(file.size for file in bounded)
    while len(bounded) > least // len(STYLES) and total / len(bounded) > size / least:
        total -= bounded.pop().size
    random.Random(seed).shuffle(bounded)  # noqa: S311 - no secret: the same order on every run
    count = max(least, round(size / (total / len(bounded))))
    count = min(count, len(bounded) * len(STYLES))
    return work_on(bounded, count=count)


def work_on(files: Sequence[SourceFile], *, count: int) -> list[Work]:
    """Return every type for each of ``count`` files, starting over in the next style after the last file."""
    rounds = cycle(STYLES)
    endless = (Work(task_type, file.path, style) for style in rounds for file in files for task_type in TYPES)
    return list(islice(endless, count * len(TYPES)))
