"""Which event loop is used."""

import subprocess
import sys

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
