"""The event loop of servers and workers, and the signals that end them.

uvloop where there is one, else the standard loop, which is slower.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop


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


__all__ = ["ending_signals", "new_event_loop"]
