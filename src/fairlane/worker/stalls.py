"""What a blocked event loop is doing: which handler blocks it, and at which line.

Called from another thread, and only after the supervisor missed the loop's pulses: it costs nothing before that.
"""

import asyncio
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from fairlane.worker.channel import LoopSeen
from fairlane.worker.executors import RunningAttempt

_OWN_FOLDER = str(Path(__file__).parents[1])
_LIBRARIES = (_OWN_FOLDER, *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")))


def look_at(loop: asyncio.AbstractEventLoop, thread: int, attempts: Iterable[RunningAttempt]) -> LoopSeen:
    """Return what the loop's thread is doing, and for which of these attempts."""
    frame = sys._current_frames().get(thread)
    attempt = _attempt_of(asyncio.current_task(loop), list(attempts))
    place = "" if frame is None else _place(frame)
    if attempt is None:
        return LoopSeen(place=place)
    lease = attempt.lease
    return LoopSeen(place=place, lease=lease.lease, task=lease.task, task_type=lease.task_type, attempt=lease.attempt)


def _attempt_of(task: asyncio.Task[object] | None, attempts: list[RunningAttempt]) -> RunningAttempt | None:
    """Return the attempt that runs in this task. A task that a handler created is matched only if one attempt runs."""
    on_loop = [attempt for attempt in attempts if attempt.task is not None]
    exact = [attempt for attempt in on_loop if attempt.task is task]
    found = exact or (on_loop if task is not None and len(on_loop) == 1 else [])
    return found[0] if found else None


def _place(innermost: FrameType) -> str:
    frame: FrameType | None = innermost
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    shown = frame or innermost
    return f"{shown.f_code.co_filename}:{shown.f_lineno} in {shown.f_code.co_qualname}"


def _is_library(file: str) -> bool:
    return file.startswith("<") or str(Path(file).resolve()).startswith(_LIBRARIES)
