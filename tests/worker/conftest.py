"""A fake server on a unix socket, and supervisors of real worker processes joined to it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairlane.worker.options import Options
from fairlane.worker.supervisor import Supervisor
from tests.worker.fake_server import FakeServer, Listener

APPS = Path(__file__).parent / "apps"


async def eventually(promise: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait until ``promise()`` is true; fail if it is not within ``seconds``."""
    give_up_at = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < give_up_at, "what was promised did not come true"
        await asyncio.sleep(0.002)


def a_supervisor(server: FakeServer, **changes: object) -> Supervisor:
    """A supervisor of the test application with short times."""
    own = {name: changes.pop(name) for name in ("order", "on_broken", "on_trouble") if name in changes}
    count = changes.pop("count", 1)
    options = {
        "app_reference": f"{APPS / 'plain.py'}:app",
        "servers": (f"unix:{server.socket_path}",),
        "places": 4,
        "kill_grace_seconds": 0.4,
        "wait_seconds": 5.0,
        "result_limit_bytes": 4000,
    }
    return Supervisor(Options(**(options | changes)), count=count, **own)  # type: ignore[arg-type]


@asynccontextmanager
async def a_server(directory: Path, fake: FakeServer | None = None) -> AsyncIterator[FakeServer]:
    """A running fake server; ``fake``: this one."""
    fake = fake or FakeServer(directory / "worker.sock")
    listener = Listener(fake)
    await listener.start()
    yield fake
    await listener.stop()


@asynccontextmanager
async def a_worker(directory: Path) -> AsyncIterator[tuple[FakeServer, Supervisor]]:
    """A fake server and one worker process, ready."""
    async with a_server(directory) as fake:
        made = a_supervisor(fake)
        await made.start()
        await asyncio.wait_for(made.ready(), 20)
        yield fake, made
        await made.stop()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose name fits a socket address."""
    with tempfile.TemporaryDirectory(prefix="fl-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def short_directory() -> Iterator[Path]:
    """The same for all tests of a module."""
    with tempfile.TemporaryDirectory(prefix="fl-") as path:
        yield Path(path)


@pytest.fixture
async def server(short_path: Path) -> AsyncIterator[FakeServer]:
    """A running fake server."""
    async with a_server(short_path) as fake:
        yield fake


@pytest.fixture
async def supervise(server: FakeServer) -> AsyncIterator[Callable[..., Supervisor]]:
    """Makes supervisors of the test application, and stops them at the end."""
    made: list[Supervisor] = []

    def make(**changes: object) -> Supervisor:
        made.append(a_supervisor(server, **changes))
        return made[-1]

    yield make
    for supervisor in made:
        await supervisor.stop()


@pytest.fixture
async def supervisor(supervise: Callable[..., Supervisor]) -> Supervisor:
    """One worker process, ready."""
    made = supervise()
    await made.start()
    await asyncio.wait_for(made.ready(), 20)
    return made
