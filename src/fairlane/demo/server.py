"""The demonstration's server: a process of its own, always ended gracefully."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fairlane.demo.app import OUTPUT_VARIABLE
from fairlane.errors import SetupError
from fairlane.settings import PREFIX

APP = "fairlane.demo.app:app"
WORKERS, PLACES = 2, 3
READY = "fairlane: ready at "
READY_SECONDS = 60.0
DRAIN_SECONDS = 5
LOG_LINES_SHOWN = 20


@asynccontextmanager
async def running_server(*, database: str, port: int, output: Path, log: Path) -> AsyncIterator[str]:
    """Run a server with :data:`WORKERS` × :data:`PLACES` places during the block; yield its address.

    Raises:
        SetupError: it did not become ready; the message has the end of its log.
    """
    process = await _start(database=database, port=port, output=output, log=log)
    try:
        yield await _ready_address(process, log=log)
    finally:
        await asyncio.shield(_end(process))


async def _start(*, database: str, port: int, output: Path, log: Path) -> asyncio.subprocess.Process:
    flags = {
        "--port": port,
        "--workers": WORKERS,
        "--places": PLACES,
        "--drain-seconds": DRAIN_SECONDS,
    }
    arguments = [str(part) for pair in flags.items() for part in pair]
    # The operator's settings are for the operator's own server.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "fairlane", "serve", APP, *arguments),
            # The address may have a password, and all users can see arguments.
            env=environment | {OUTPUT_VARIABLE: str(output), f"{PREFIX}DATABASE": database},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            # Ctrl-C in the terminal reaches the whole foreground group; this process must end the server in order.
            start_new_session=True,
        )


async def _ready_address(process: asyncio.subprocess.Process, *, log: Path) -> str:
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), READY_SECONDS)).decode().strip()
    except TimeoutError:
        line = ""
    if not line.startswith(READY):
        raise SetupError(f"the demo's server did not get ready; the end of its log:\n{_end_of(log)}")
    return line.removeprefix(READY)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), DRAIN_SECONDS + 5)
    except TimeoutError:
        process.kill()
        await process.wait()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
