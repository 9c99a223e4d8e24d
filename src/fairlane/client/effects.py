"""What an operation of the client wants done by whoever drives it.

Operations are generators: they yield one of these, are sent what came of it, and return their result. So each is
written once, and driven by a thread or by an event loop. They do no I/O and own no clock.
"""

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from fairlane.client.errors import NoAnswer

Result = TypeVar("Result")


class Ask(Struct, frozen=True, kw_only=True):
    """Send one request; sent back: an :class:`Answer`, or NoAnswer as a value."""

    method: str
    path: str
    """Below the base address, percent-encoded."""
    content: bytes | None = None
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    patience_seconds: float = 0.0
    """How much longer than usual the answer may take."""
    repeatable: bool = True
    """Whether sending it twice does no harm."""


class Answer(Struct, frozen=True):
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Pause(Struct, frozen=True):
    """Let so much time pass; sent back: nothing."""

    seconds: float


class Clock(Struct, frozen=True):
    """Sent back: seconds, on a clock that only goes forward."""


class Take(Struct, frozen=True):
    """Sent back: the next of what the caller gave, or None after the last."""


class Give(Struct, frozen=True):
    """Hand this to the caller; sent back: nothing, once the caller wants more."""

    value: Any


Operation = Generator[Ask | Pause | Clock, Any, Result]
Stream = Generator[Ask | Pause | Clock | Take | Give, Any, None]


def clock() -> Generator[Clock, Any, float]:
    """The time now."""
    now: float = yield Clock()
    return now


def send(ask: Ask) -> Generator[Ask, Any, Answer | NoAnswer]:
    """One request, sent once."""
    answer: Answer | NoAnswer = yield ask
    return answer
