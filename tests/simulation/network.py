"""The network: messages take time, get lost on either way, come twice, and overtake each other."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import httpcore2

from tests.simulation.loop import Machine

if TYPE_CHECKING:
    from tests.simulation.world import SimulatedServer, World

Job = Callable[["SimulatedServer", asyncio.Event], Awaitable[Any]]
"""What a server does for a request; the event says that the caller is gone."""
ALONE = contextvars.Context()
"""The context of the network itself, which belongs to no machine."""


class Lost(Exception):
    """No answer came: the request was lost, or its answer, or the server died."""


class Response(NamedTuple):
    """An answer of the workers' API."""

    status: int
    content: bytes


class Message:
    """One request under way."""

    def __init__(self, caller: Machine | None, server: "SimulatedServer", job: Job, what: str) -> None:
        self.caller = caller
        self.server = server
        self.job = job
        self.what = what
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self.runs_on: Machine | None = None


class Network:
    """All messages of one simulation."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._open: dict[Message, None] = {}
        self.cut: dict[tuple[str, str], float] = {}
        """Until when nothing passes between a caller and a server."""

    async def request(
        self, caller: Machine | None, address: str, method: str, path: str, content: bytes, seconds: float
    ) -> Response:
        """Send a worker's request to a server; raise what the real connections raise."""

        async def serve(server: "SimulatedServer", gone: asyncio.Event) -> Response:
            return await server.serve(method, path, content, gone)

        try:
            async with asyncio.timeout(seconds):
                answer: Response = await self.send(
                    caller, self._world.servers[address], serve, f"{method} {path[-24:]}"
                )
                return answer
        except TimeoutError as error:
            raise httpcore2.ReadTimeout() from error
        except Lost as error:
            raise httpcore2.ReadError(str(error)) from error

    async def send(self, caller: Machine | None, server: "SimulatedServer", job: Job, what: str) -> Any:
        """Send a request and wait for its answer. Raises Lost, or what the job raised."""
        world, name = self._world, caller.name.partition("/")[0] if caller else "customer"
        message = Message(caller, server, job, what)
        world.event("sent", name, server.name, what)
        self._open[message] = None
        try:
            if self.cut.get((name, server.name), 0.0) > world.loop.time() or world.happens("drop_request"):
                world.event("request lost", name, server.name, what)
                self._lose(message)
            else:
                for _ in range(2 if world.happens("duplicate") else 1):
                    world.loop.call_later(world.latency(), self._arrive, message, context=ALONE)
            return await message.answer
        finally:
            self._open.pop(message, None)
            world.loop.call_later(world.latency(), message.gone.set, context=ALONE)

    def died(self, machine: Machine) -> None:
        """Cut the connections of a machine that died."""
        for message in list(self._open):
            if message.runs_on is machine:
                self._lose(message, at_once=True)
            if message.caller is machine:
                self._world.loop.call_later(self._world.latency(), message.gone.set, context=ALONE)
                self._open.pop(message, None)

    def _lose(self, message: Message, *, at_once: bool = False) -> None:
        """Let the caller notice a reset connection, or nothing until its time is over."""
        if at_once or self._world.chance() < 0.6:
            self._world.loop.call_later(self._world.latency(), _fail, message, Lost("reset"), context=ALONE)
        elif message.caller is None:
            self._world.loop.call_later(3.0, _fail, message, Lost("silence"), context=ALONE)

    def _arrive(self, message: Message) -> None:
        machine = message.server.machine
        if not message.server.up or machine.dead:
            self._lose(message, at_once=True)
            return
        message.runs_on = machine
        self._world.loop.call_soon(self._begin, message, context=machine.context)

    def _begin(self, message: Message) -> None:
        self._world.loop.create_task(self._answer(message))

    async def _answer(self, message: Message) -> None:
        world = self._world
        try:
            answer = await message.job(message.server, message.gone)
        except Exception as error:
            answer = error
        name = message.caller.name.partition("/")[0] if message.caller else "customer"
        if self.cut.get((name, message.server.name), 0.0) > world.loop.time() or world.happens("drop_answer"):
            world.event("answer lost", name, message.server.name, message.what)
            self._lose(message)
            return
        world.loop.call_later(world.latency(), _deliver, message, answer, context=ALONE)


def _deliver(message: Message, answer: Any) -> None:
    if message.answer.done():
        return
    if isinstance(answer, Exception):
        message.answer.set_exception(answer)
    else:
        message.answer.set_result(answer)


def _fail(message: Message, error: Exception) -> None:
    _deliver(message, error)
