"""The event loop of servers and workers, the tasks of a worker's own, and the signals that end them.

uvloop where there is one, else the standard loop, which is slower.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.tasks import _unregister_task
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any, TypeVar

Result = TypeVar("Result")

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop


def hidden_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Result], *, context: Context | None = None
) -> asyncio.Task[Result]:
    """Start a task that ``asyncio.all_tasks()`` does not return. Its caller keeps it until it has ended.

    Handlers share the loop with the worker, and code that ends a program often cancels all tasks. It finds only those
    that handlers started. A task factory of the application is not used.
    """
    task = asyncio.Task(work, loop=loop, context=context)
    _unregister_task(task)
    return task


@contextlib.contextmanager
def ending_signals(ending: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT sets ``ending``; the next one ends the process as a crash would."""

    def receive(number: int) -> None:
        if ending.is_set():
            os._exit(128 + number)
        ending.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receive, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


__all__ = ["ending_signals", "hidden_task", "new_event_loop"]
