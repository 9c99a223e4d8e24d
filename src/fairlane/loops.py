"""The event loop of servers and workers: uvloop where there is one, else the standard loop, which is slower."""

import asyncio
from collections.abc import Callable

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

__all__ = ["new_event_loop"]
