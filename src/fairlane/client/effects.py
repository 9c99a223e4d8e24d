"""The effects that an operation of the client asks its driver for.

Operations are generators: they yield one of these, receive its result, and return their own. So each is written once
and driven by a thread or by an event loop. They do no I/O and have no clock.
"""

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from fairlane.client.errors import NoAnswer

Result = TypeVar("Result")


class Ask(Struct, frozen=True, kw_only=True):
    """Send one request; the operation receives a ``Response``, or NoAnswer as a value."""

    method: str
    path: str
    """Relative to the base address, percent-encoded."""
    content: bytes | None = None
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    patience_seconds: float = 0.0
    """How much longer than usual the answer may take."""
    repeatable: bool = True
    """Whether sending it twice does no harm."""


class Response(Struct, frozen=True):
    """The answer to a request. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Pause(Struct, frozen=True):
    """Let this time pass; the operation receives nothing."""

    seconds: float


class ReadClock(Struct, frozen=True):
    """Read the time: the operation receives seconds on a clock that only goes forward."""


class Take(Struct, frozen=True):
    """Read the next of the caller's tasks: the operation receives it, or None after the last."""


class Give(Struct, frozen=True):
    """Give this to the caller; the operation continues once the caller wants more."""

    value: Any


Steps = Generator[Ask | Pause | ReadClock, Any, Result]
Feed = Generator[Ask | Pause | ReadClock | Take | Give, Any, None]


def clock() -> Generator[ReadClock, Any, float]:
    """Return the time now."""
    now: float = yield ReadClock()
    return now


def send(ask: Ask) -> Generator[Ask, Any, Response | NoAnswer]:
    """Send one request once."""
    answer: Response | NoAnswer = yield ask
    return answer
