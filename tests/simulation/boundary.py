"""What lies below the product's code, replaced: the clock, chance, ids, sockets, pipes and processes.

Everything is put back at the end. ``random`` is seeded, so that the code's own jitter is a part of the seed.
"""

import asyncio
import contextlib
import itertools
import random
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import httpcore2
import msgspec
import uuid_utils

from fairlane import logs
from fairlane.webhooks import sender
from fairlane.worker import child
from fairlane.worker.channel import FromChild, LookNow, ToChild
from fairlane.worker.options import read_options
from tests.simulation.loop import MACHINE, Machine, SimulatedLoop

CLAIM_SECONDS = 6.0
"""How much longer a claim of a delivery lasts than a try. Shorter than in earnest, as the leases are, and still longer
than the slowest transaction: a claim reads the clock before its locks."""

Program = Callable[[list[str], "ChildPipe"], Any]
"""What a child process runs: a coroutine that returns its exit status."""


class Pipe:
    """The channel between a supervisor and its child, both ends. Notes arrive in order, a moment later."""

    numbers = itertools.count(3)

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.theirs = self
        self.number = next(Pipe.numbers)
        self._to_parent: list[FromChild | None] = []
        self._arrived = asyncio.Event()
        self.heard: Callable[[ToChild], None] | None = None
        self.child: Machine | None = None
        self.parent = MACHINE.get()
        OPEN[self.number] = self

    def fileno(self) -> int:
        """Return what a child is told."""
        return self.number

    async def open(self) -> None:
        """Nothing to open."""

    def send(self, note: ToChild) -> None:
        """Send a note to the child."""
        if self.child is not None and not self.child.dead and self.heard is not None and not isinstance(note, LookNow):
            self._loop.call_later(0.001, self.heard, note, context=self.child.context)

    async def receive(self) -> FromChild | None:
        """Return the next note, or None if the child is gone."""
        while not self._to_parent:
            self._arrived.clear()
            await self._arrived.wait()
        return self._to_parent.pop(0)

    def arrive(self, note: FromChild | None) -> None:
        """Take a note of the child, or its end."""
        self._to_parent.append(note)
        self._arrived.set()

    async def hung_up(self, seconds: float) -> None:
        """The child alone holds its end."""

    def close(self) -> None:
        """The child reads the end of the stream and exits."""
        OPEN.pop(self.number, None)
        if self.child is not None:
            self.child.die()


OPEN: dict[int, Pipe] = {}
"""Pipes of children that were not started yet, by their number."""


class ChildPipe:
    """The child's end."""

    def __init__(self, loop: SimulatedLoop, pipe: Pipe) -> None:
        self._loop = loop
        self._pipe = pipe

    def send(self, note: FromChild) -> None:
        """Send a note to the parent."""
        self._loop.call_later(0.001, self._pipe.arrive, note, context=_context_of(self._pipe.parent))

    def listen(self, loop: Any, heard: Callable[[ToChild], None], *, look: Any = None) -> None:
        """Call ``heard`` for each note."""
        self._pipe.heard = heard


class Process:
    """A simulated child process, as asyncio sees the transport of one."""

    numbers = itertools.count(100)

    def __init__(self, loop: SimulatedLoop, machine: Machine) -> None:
        self._pid = next(Process.numbers)
        self._status: int | None = None
        self._machine = machine
        self._over = loop.create_future()

    def get_pid(self) -> int:
        """Return its number."""
        return self._pid

    def get_returncode(self) -> int | None:
        """Return its exit status."""
        return self._status

    def kill(self) -> None:
        """End it as SIGKILL does."""
        self._machine.die()

    async def _wait(self) -> int:
        status: int = await asyncio.shield(self._over)
        return status

    def ended(self, status: int) -> None:
        """Note its exit status."""
        if self._status is None:
            self._status = status
            if not self._over.done():
                self._over.set_result(status)


class _Streams:
    """The standard streams of a process: none."""

    stdin = stdout = stderr = None


def process_starter(loop: SimulatedLoop, program: Program, started: Callable[[Machine], None]) -> Any:
    """Return what the loop calls for ``asyncio.create_subprocess_exec``."""

    def start(protocol_factory: Any, *arguments: Any, pass_fds: tuple[int, ...], **_: Any) -> tuple[Process, _Streams]:
        parent = MACHINE.get()
        pipe = OPEN.pop(pass_fds[0])
        machine = Machine(f"{parent.name if parent else ''}/child{pipe.number}", below=parent)
        process = Process(loop, machine)
        pipe.child = machine
        seen = _context_of(parent)

        def gone() -> None:
            loop.call_later(0.002, pipe.arrive, None, context=seen)
            loop.call_later(0.001, process.ended, -9, context=seen)

        machine.on_death.append(gone)

        async def run() -> None:
            status = await program(list(arguments[2:]), ChildPipe(loop, pipe))
            loop.call_soon(process.ended, status, context=seen)
            machine.die()

        machine.context.run(lambda: loop.create_task(run()))
        started(machine)
        return process, _Streams()

    return start


def _context_of(machine: Machine | None) -> Any:
    return None if machine is None else machine.context


class Pool:
    """Takes the place of a pool of connections to one server."""

    def __init__(self, **_: Any) -> None:
        self._machine = MACHINE.get()

    async def request(self, method: str, url: str, *, headers: Any, content: bytes, extensions: Any) -> Any:
        """Send one request through the network of the running simulation."""
        network: Any = NETWORK[-1]
        address, _, path = url.removeprefix("http://").partition("/")
        seconds = extensions["timeout"]["read"]
        return await network.request(self._machine, address, method, f"/{path}", content, seconds)

    async def aclose(self) -> None:
        """Nothing to close."""


NETWORK: list[Any] = []
"""The network of the running simulation."""


class _Ids:
    """Ids in the order of their making, and fences, from the seed."""

    def __init__(self, seed: int, loop: SimulatedLoop) -> None:
        self._chance = random.Random(seed ^ 0x1D5)
        self._loop = loop
        self._count = 0

    def uuid7(self) -> str:
        """Return the next id."""
        self._count += 1
        moment = round(self._loop.time() * 1_000)
        tail = self._chance.getrandbits(48)
        count = f"7{self._count >> 12 & 0xFFF:03x}-8{self._count & 0xFFF:03x}"
        return f"{moment >> 16:08x}-{moment & 0xFFFF:04x}-{count}-{tail:012x}"

    def token_hex(self, length: int) -> str:
        """Return this many random bytes as digits."""
        return f"{self._chance.getrandbits(8 * length):0{2 * length}x}" if length else ""


@contextlib.contextmanager
def replaced(loop: SimulatedLoop, network: Any, seed: int) -> Iterator[None]:
    """Replace the boundary while a simulation runs."""
    ids = _Ids(seed, loop)
    state = random.getstate()
    random.seed(seed)
    real = random.Random

    def seeded(*arguments: Any) -> random.Random:
        return real(*(arguments or (random.getrandbits(64),)))

    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: None
    Pipe.numbers, Process.numbers = itertools.count(3), itertools.count(100)
    OPEN.clear()
    NETWORK.append(network)
    try:
        with (
            patch.object(time, "monotonic", loop.time),
            patch.object(random, "Random", seeded),
            patch.object(uuid_utils, "uuid7", ids.uuid7),
            patch.object(secrets, "token_hex", ids.token_hex),
            patch.object(httpcore2, "AsyncConnectionPool", Pool),
            patch.object(sender, "CLAIM_SECONDS", CLAIM_SECONDS),
            patch.object(child, "ParentEnd", lambda **_: Pipe(loop)),
            patch.object(logs, "KeptLogging", Untouched),
        ):
            yield
    finally:
        sys.unraisablehook = hook
        NETWORK.pop()
        random.setstate(state)


class Untouched(logs.KeptLogging):
    """Logging that no simulated handler changes. An attempt that is cut off may be finalized long after its simulation,
    and must not put the level of that time back."""

    def is_intact(self) -> bool:
        """Return True."""
        return True


def options_in(arguments: list[str]) -> Any:
    """Return the options that a child was started with."""
    return read_options(["fairlane.worker", arguments[-1]])


encode = msgspec.json.encode
