"""What is below a process that ends, ends too: real programs, real kill -9."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fairlane.worker.supervisor import Supervisor, bury_orphans
from tests.worker.conftest import eventually
from tests.worker.fake_server import FakeServer
from tests.worker.test_supervisor import is_alive, is_running, pid_of

THREAD, ISOLATED = ["PROGRAMS"], ["PROGRAMS_ISOLATED", "PROGRAMS_ASYNC_ISOLATED"]
LINUX = sys.platform == "linux"


@pytest.fixture
def stranger() -> Iterator[int]:
    """A program that this test started, and no handler: it must never be ended."""
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as process:
        yield process.pid
        process.kill()


async def programs_of(
    server: FakeServer, folder: Path, task_types: list[str], *, timeout: float = 60
) -> tuple[list[str], list[int]]:
    """Run these handlers; their leases, and the programs that they started and that this system lets us find."""
    tracks = [folder / task_type for task_type in task_types]
    leases = [
        server.put(task_type, {"track": str(track)}, timeout=timeout)
        for task_type, track in zip(task_types, tracks, strict=True)
    ]
    await server.changed()
    await eventually(lambda: all(track.exists() and track.read_text().endswith("\n") for track in tracks))
    pids: list[int] = []
    for track in tracks:
        handler, *programs = map(int, track.read_text().split())
        assert all(map(is_running, [handler, *programs]))
        pids += programs if LINUX else programs[:1]
    return leases, pids


async def gone(pids: list[int]) -> None:
    await eventually(lambda: not any(map(is_running, pids)))


@pytest.mark.parametrize("task_type", ["PROGRAMS", "PROGRAMS_ISOLATED"])
async def test_programs_end_with_a_handler_past_its_deadline(
    server: FakeServer, supervisor: Supervisor, stranger: int, tmp_path: Path, task_type: str
) -> None:
    """Everything that is not below the process that ended goes on."""
    warm = server.put("ADD_ISOLATED", {"n": 1})
    await server.changed()
    await eventually(lambda: warm in server.reports)

    _, pids = await programs_of(server, tmp_path, [task_type], timeout=2)

    await gone(pids)

    assert is_running(stranger)


@pytest.mark.parametrize("task_types", [THREAD, ISOLATED])
async def test_programs_end_with_a_canceled_handler(
    server: FakeServer, supervisor: Supervisor, tmp_path: Path, task_types: list[str]
) -> None:
    """Also in a process of its own whose handler ends when it is asked to: the process is not used again.

    The programs of another process go on until that ends.
    """
    (tmp_path / "other").mkdir()
    _, others = await programs_of(server, tmp_path / "other", ["PROGRAMS_ISOLATED"])
    leases, pids = await programs_of(server, tmp_path, task_types)

    server.cancel = leases
    await server.changed()
    await gone(pids)

    if task_types == ISOLATED:
        assert all(map(is_running, others))
        os.kill(pid_of(supervisor), signal.SIGKILL)
    await gone(others)


async def test_programs_end_with_a_killed_worker(
    server: FakeServer, supervisor: Supervisor, stranger: int, tmp_path: Path
) -> None:
    """kill -9 from outside, as the system does it when there is no memory left."""
    _, pids = await programs_of(server, tmp_path, THREAD + ISOLATED)

    os.kill(pid_of(supervisor), signal.SIGKILL)

    await gone(pids)
    assert is_running(stranger)


@pytest.mark.parametrize("how", ["drain", "stop"])
async def test_programs_end_with_a_worker_that_has_to_go(
    server: FakeServer, supervisor: Supervisor, tmp_path: Path, how: str
) -> None:
    """A drain past its grace, or at once."""
    _, pids = await programs_of(server, tmp_path, THREAD + ISOLATED)

    await (supervisor.stop() if how == "stop" else supervisor.drain(0.2))

    await gone(pids)


def test_only_orphans_are_buried() -> None:
    """The end of a process that the event loop waits for is left for it."""
    with subprocess.Popen(["true"]) as orphan:
        os.waitid(os.P_PID, orphan.pid, os.WEXITED | os.WNOWAIT)

        bury_orphans(spared=[orphan.pid])
        spared = is_alive(orphan.pid)
        bury_orphans(spared=[])

        assert (spared, is_alive(orphan.pid)) == (True, False)


async def test_without_its_watcher_a_workers_programs_go_on(
    server: FakeServer, supervisor: Supervisor, tmp_path: Path
) -> None:
    """The control of the other tests: they can see a program that is left behind."""
    _, pids = await programs_of(server, tmp_path, THREAD)
    worker = pid_of(supervisor)
    found = subprocess.run(["pgrep", "-g", str(worker)], capture_output=True, text=True, check=True).stdout.split()
    [watcher] = {int(pid) for pid in found} - {worker, *pids}

    os.kill(watcher, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    await eventually(lambda: server.ended)

    assert all(map(is_running, pids))
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
