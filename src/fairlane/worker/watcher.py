"""The watcher: after the end of a child process, kills the programs that its handlers started and their descendants.

Each child leads a session of its own, and starts its watcher before anything else. The watcher waits for the end of the
child, for whatever reason, and kills what is left. It needs no supervisor: it works also when the server was killed.

Two marks identify what is left, and neither can match a foreign process:

- The process group of the child. The watcher is a member, so the group's number cannot be reused before the watcher
itself is gone, and the watcher kills the group including itself.
- A random value in the environment, which programs inherit. It finds programs that left the group, on Linux only.

A program that left the group and was started with another environment is not found.

The watcher runs this file alone, with few imports: it takes 4 MB, where a copy of the child would take 9.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

MARK_VARIABLE = "FAIRLANE_PROCESS"
LOOK_SECONDS = 0.1
"""How often the watcher checks where the kernel cannot report the child's end."""
ROUND_SECONDS = 0.002
ROUNDS_MOST = 1_000
"""A program may start another one during the search, so the search is repeated until it finds none."""
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


# In the child --------------------------------------------------------------------------------------------------------


def marked(environment: Mapping[str, str]) -> dict[str, str]:
    """Return this environment with a new mark for one child."""
    return {**environment, MARK_VARIABLE: os.urandom(16).hex()}


def start_watcher(*, keep_open: int) -> None:
    """Start the watcher of this process. Call it before the first thread is started.

    The watcher holds the descriptor ``keep_open`` and no other, so the other end is closed when nothing is left. A
    process that does not lead its group, such as one started by hand, gets no watcher: the group may contain foreign
    processes.
    """
    leader = os.getpid()
    if os.getpgrp() != leader:
        return
    # Forked twice, so that it is not a child of this process: a handler may wait for all its children, or kill them.
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            _become_watcher(leader, keep_open)
        os._exit(0)
    os.waitpid(between, 0)


def _become_watcher(leader: int, keep_open: int) -> None:
    try:
        for fd in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - pathlib is not needed here
            if fd != keep_open:
                with suppress(OSError):  # The descriptor that read the list is itself closed.
                    os.close(fd)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        os.set_inheritable(keep_open, True)
        arguments = [str(leader), os.environ.get(MARK_VARIABLE, "")]
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, *arguments])  # noqa: S606 - no shell is wanted
    finally:
        os._exit(1)


# In the watcher ------------------------------------------------------------------------------------------------------


def watch(leader: int, mark: str) -> None:
    """Wait for the end of this group's leader, then kill everything below it and this process."""
    assert os.getpgrp() == leader
    try:
        _name_process("fairlane-watch")
        _wait_for_end(leader)
        if mark:
            _kill_marked(f"{MARK_VARIABLE}={mark}".encode())
    finally:
        os.killpg(0, signal.SIGKILL)


def _wait_for_end(leader: int) -> None:
    """Return once the process has ended. Its number cannot be reused while the watcher is in its group."""
    if sys.platform == "linux":
        with suppress(OSError):  # The kernel is old, or the process has already ended.
            ended = select.poll()
            ended.register(os.pidfd_open(leader), select.POLLIN)
            ended.poll()
    while _is_there(leader):
        time.sleep(LOOK_SECONDS)


def _is_there(process: int) -> bool:
    """Return whether a process runs: a zombie does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return _read(f"/proc/{process}/stat").rpartition(b")")[2].split()[:1] != [b"Z"]


def _kill_marked(mark: bytes) -> None:
    for _ in range(ROUNDS_MOST):
        if not [process for process in _processes() if _kill_if_marked(process, mark)]:
            return
        time.sleep(ROUND_SECONDS)


def _processes() -> Iterator[int]:
    own = os.getpid()
    for name in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208 - as above
        if name.isdigit() and int(name) != own:
            yield int(name)


def _kill_if_marked(process: int, mark: bytes) -> bool:
    """Kill a process that has the mark. The process is held first, because its number may be reused at any time."""
    if sys.platform != "linux" or not _bears(process, mark):
        return False
    try:
        held = os.pidfd_open(process)
    except OSError:
        return False
    try:
        if not _bears(process, mark):
            return False
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(held)
    return True


def _bears(process: int, mark: bytes) -> bool:
    return mark in _read(f"/proc/{process}/environ").split(b"\0")


def _read(path: str) -> bytes:
    """Return the content of a file; empty if it does not exist or belongs to another user."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return file.read()
    except OSError:
        return b""


def _name_process(name: str) -> None:
    """Give the watcher its own name in ``ps`` and ``top``."""
    with suppress(OSError), open("/proc/self/comm", "w") as file:  # noqa: PTH123 - as above
        file.write(name)


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])
