"""Workers on another machine: a small supervisor process that runs no application code, and its children.

Started by ``fairlane worker``. Speaks the worker protocol over HTTP with a worker key; needs no database.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fairlane.errors import AppError
from fairlane.loops import ending_signals, new_event_loop
from fairlane.worker.supervisor import Drained, Supervisor

logger = logging.getLogger("fairlane.worker")


def run(
    make_supervisor: Callable[[Callable[[str], None]], Supervisor],
    *,
    drain_seconds: float,
    on_ready: Callable[[int], None],
    on_drained: Callable[[Drained], None] = lambda drained: None,
) -> int:
    """Keep workers alive until SIGTERM or SIGINT, then drain; a second signal ends at once. Return the exit code.

    ``make_supervisor`` is called on the loop; its argument is the function to call if the workers cannot go on.
    ``on_ready`` is called with the number of workers once all have their sessions, ``on_drained`` with the drain's
    result.

    Raises:
        AppError: the application cannot be used, or no server accepts these workers.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(make_supervisor, drain_seconds, on_ready, on_drained))


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait for one of these, and cancel the others."""
    tasks = [asyncio.ensure_future(one) for one in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(
    make_supervisor: Callable[[Callable[[str], None]], Supervisor],
    drain_seconds: float,
    on_ready: Callable[[int], None],
    on_drained: Callable[[Drained], None],
) -> int:
    ending = asyncio.Event()
    supervisor = make_supervisor(lambda message: ending.set())

    async def announce() -> None:
        await supervisor.ready()
        if not ending.is_set():
            on_ready(len(supervisor.children))

    try:
        with ending_signals(ending):
            await supervisor.start()
            announcing = asyncio.create_task(announce())
            await _first(ending.wait(), supervisor.emptied.wait())
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            logger.info("worker.draining")
            on_drained(await supervisor.drain(drain_seconds))
    finally:
        await supervisor.stop()
    if supervisor.broken is not None:
        raise AppError(supervisor.broken)
    return 0
