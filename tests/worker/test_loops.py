"""Which event loop is used, and which of its tasks a handler finds."""

import asyncio
import subprocess
import sys
from typing import NoReturn

from fairlane.loops import hidden_task

PROGRAM = """
import asyncio, sys

sys.modules["uvloop"] = None
import fairlane.app, fairlane.worker.boot
from fairlane.loops import new_event_loop

assert new_event_loop is asyncio.new_event_loop
"""


def test_servers_and_workers_do_without_uvloop() -> None:
    """It does not exist for every platform."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")


async def test_a_task_of_the_worker_is_not_found_among_all_tasks() -> None:
    """Whether it waits, runs or has ended, and whatever makes tasks on this loop."""

    async def work() -> set["asyncio.Task[object]"]:
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        return asyncio.all_tasks()

    def broken(*_: object, **__: object) -> NoReturn:
        raise RuntimeError

    loop, others = asyncio.get_running_loop(), asyncio.all_tasks()
    loop.set_task_factory(broken)
    task = hidden_task(loop, work())
    loop.set_task_factory(None)

    assert asyncio.all_tasks() == others
    assert await task == others
    assert asyncio.all_tasks() == others
