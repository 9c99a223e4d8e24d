"""An event loop with a time that passes only when nothing is left to do, and the machines that run on it.

Every callback belongs to the machine that scheduled it. A machine that died runs nothing any more, as a
killed process does; one that is frozen runs everything late, as a process after SIGSTOP does.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

MACHINE: "contextvars.ContextVar[Machine | None]" = contextvars.ContextVar("machine", default=None)

ROUNDS_MOST = 100_000
"""Most rounds of the loop while time stands still."""


class Machine:
    """One process: what it runs, until it dies."""

    def __init__(self, name: str, *, below: "Machine | None" = None) -> None:
        """``below`` is the process that started it, with which it is frozen and dies."""
        self.name = name
        self.dead = False
        self.frozen = False
        self.was_frozen_at = float("-inf")
        """When it last stood still."""
        self.children: list[Machine] = []
        self.on_death: list[Callable[[], None]] = []
        self._late: list[tuple[Callable[..., Any], tuple[Any, ...], contextvars.Context]] = []
        self.context = contextvars.Context()
        self.context.run(MACHINE.set, self)
        if below is not None:
            below.children.append(self)

    def die(self) -> None:
        """End here and now, with everything below."""
        if self.dead:
            return
        self.dead = True
        for child in self.children:
            child.die()
        for told in self.on_death:
            told()

    def freeze(self, at: float) -> None:
        """Stand still, with everything below."""
        self.frozen, self.was_frozen_at = True, at
        for child in self.children:
            child.freeze(at)

    def thaw(self, loop: "SimulatedLoop") -> None:
        """Go on; first with everything that should have run meanwhile."""
        self.frozen = False
        self.was_frozen_at = loop.time()
        late, self._late = self._late, []
        for callback, arguments, context in late:
            loop.call_soon(callback, *arguments, context=context)
        for child in self.children:
            child.thaw(loop)

    def run(self, callback: Callable[..., Any], arguments: tuple[Any, ...], context: contextvars.Context) -> None:
        """Run a callback of this machine now, later, or never."""
        if self.frozen and not self.dead:
            self._late.append((callback, arguments, context))
        elif not self.dead:
            callback(*arguments)


class Clockwork:
    """Takes the place of the selector: nothing ever arrives from outside, so it only lets time pass."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.hurry = 0
        """How often the loop went round while time stood still."""

    def select(self, timeout: float | None) -> list[Any]:
        """Let this much time pass."""
        if timeout is None:
            raise RuntimeError("the simulation stands still: nothing is scheduled")
        self.hurry = self.hurry + 1 if timeout <= 0.0 else 0
        if self.hurry > ROUNDS_MOST:
            raise RuntimeError("the simulation does not come to an end: something goes on and on at one moment")
        self.now += max(0.0, timeout)
        return []

    def close(self) -> None:
        """Nothing to close."""


class SimulatedLoop(asyncio.base_events.BaseEventLoop):
    """Callbacks in the order of their time, and in the order of scheduling at one time."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = Clockwork()
        self._clock_resolution = 1e-6
        self.kept: list[asyncio.Task[Any]] = []
        """Every task: a task of a dead machine must not be collected, because that would run its ``finally``."""
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._selector.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *arguments: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback for its machine."""
        chosen = contextvars.copy_context() if context is None else context
        return super().call_soon(_gate, callback, arguments, chosen, context=chosen)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *arguments: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule a callback: there is one thread."""
        return self.call_soon(callback, *arguments, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *arguments: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback for its machine at this moment."""
        chosen = contextvars.copy_context() if context is None else context
        return super().call_at(when, _gate, callback, arguments, chosen, context=chosen)

    def create_task(self, work: Any, **options: Any) -> "asyncio.Task[Any]":  # type: ignore[override]
        """Start a task and keep it."""
        task = super().create_task(work, **options)
        self.kept.append(task)
        return task

    def end(self) -> None:
        """Schedule nothing any more, and let all tasks go."""
        for task in reversed(self.kept):
            with contextlib.suppress(BaseException):
                task.get_coro().close()
        self.kept.clear()
        self.close()

    def _check_closed(self) -> None:
        """What a task does while it is collected has no effect, and is no error."""

    async def subprocess_exec(self, protocol_factory: Any, *arguments: Any, **options: Any) -> Any:
        """Start a simulated process: the boundary says how."""
        return self.start_process(protocol_factory, *arguments, **options)

    start_process: Callable[..., Any]

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _gate(callback: Callable[..., Any], arguments: tuple[Any, ...], context: contextvars.Context) -> None:
    machine = MACHINE.get()
    if machine is None:
        callback(*arguments)
    else:
        machine.run(callback, arguments, context)
