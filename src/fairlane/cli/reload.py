"""``fairlane serve --reload``: a server that is restarted when the application's Python files change.

For development. This process only watches: it imports nothing of the application, so an error in the application ends
the server, but not the watching. The database stays.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from fairlane.cli.output import note
from fairlane.errors import AppError, DatabaseError, DatabaseOwned

POLL_SECONDS = 0.5
SETTLE_SECONDS = 0.1
"""Pause until changes are complete: an editor writes several files, or one in several steps."""
END_SECONDS = 15.0
"""How long the server may take to end before it is killed."""
DRAIN_SECONDS = "1"
"""Drain time. Short, because a developer wants to see the changed handler."""
FILES_MOST = 10_000
NOT_MENDED_BY_A_CHANGE = (2, DatabaseError.exit_code, DatabaseOwned.exit_code)
PR_SET_PDEATHSIG = 1

Seen = dict[str, int]


def watched_folder(app_reference: str, here: Path) -> Path:
    """Return the folder of the application's Python files: that of its file, or of its outermost package."""
    source = app_reference.rpartition(":")[0]
    if source.endswith(".py"):
        return (here / source).parent.resolve()
    package = here / source.partition(".")[0]
    return package.resolve() if package.is_dir() else here.resolve()


def look(folder: Path) -> Seen:
    """Return when each Python file below was changed. Environments, caches and hidden folders are left out."""
    seen: Seen = {}
    for path in _python_files(folder):
        if len(seen) == FILES_MOST:
            break
        try:
            seen[path] = Path(path).stat().st_mtime_ns
        except OSError:
            continue  # The file was deleted after it was listed.
    return seen


def _python_files(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "__")) and name != "node_modules" and not _is_environment(place, name)
        ]
        yield from (os.path.join(place, name) for name in files if name.endswith(".py"))  # noqa: PTH118 - many files


def _is_environment(place: str, name: str) -> bool:
    return Path(place, name, "pyvenv.cfg").exists()


class Reloader:
    """Runs one server process after the other."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        """Take the ``arguments`` of ``fairlane serve`` without ``--reload``."""
        self._command = [sys.executable, "-m", "fairlane", *arguments]
        if not any(argument.startswith("--drain-seconds") for argument in arguments):
            self._command += ["--drain-seconds", DRAIN_SECONDS]
        self._folder = folder
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Serve until told to end; return the server's last exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._receive)
        note(f"watching the Python files in {self._folder}")
        seen = look(self._folder)
        self._start()
        while not self._ending.wait(POLL_SECONDS):
            code = self._poll()
            if code in NOT_MENDED_BY_A_CHANGE:
                return code
            now = look(self._folder)
            if now != seen:
                seen = self._settled(now)
                note(f"{_named(self._folder, seen)} changed: restarting the server; the database stays")
                self._end()
                self._start()
        return self._end()

    def _poll(self) -> int | None:
        """Return the exit code of a server that has just ended by itself, or None if it runs or its end is already
        known."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._process = None
        reason = "the application cannot be used" if code == AppError.exit_code else f"exit code {code}"
        note(f"the server ended ({reason}); it starts again with the next change")
        return code

    def _settled(self, now: Seen) -> Seen:
        while not self._ending.wait(SETTLE_SECONDS) and (later := look(self._folder)) != now:
            now = later
        return now

    def _start(self) -> None:
        if self._ending.is_set():
            return
        # A session of its own: Ctrl-C reaches only this process, which passes it on once.
        self._process = subprocess.Popen(self._command, start_new_session=True, preexec_fn=_end_with_parent)  # noqa: PLW1509 - no threads here

    def _end(self) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.terminate()
        try:
            return process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._ending.is_set() and self._process is not None:
            self._process.kill()
        self._ending.set()


def _end_with_parent() -> None:
    """End the server when the watching process is killed: it must not keep the database."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _named(folder: Path, seen: Seen) -> str:
    """Return the file that was changed last, relative to the folder."""
    newest = max(seen, key=lambda path: seen[path], default=None)
    return "a file" if newest is None else str(Path(newest).relative_to(folder))
