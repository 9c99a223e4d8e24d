"""What was read not long ago: keys, remembered for a moment.

A change through this server empties it at once; one through another server is seen when what is remembered expires.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """At most ``most`` values by name, each for at most ``lasts_ms``."""

    def __init__(self, now: Callable[[], int], *, lasts_ms: int, most: int) -> None:
        self._now = now
        self._lasts_ms = lasts_ms
        self._most = most
        self._values: dict[str, tuple[int, Value]] = {}
        self._emptied = 0

    def find(self, name: str) -> Value | None:
        """What is remembered under this name; None: nothing, or not any more. A clock that was set forgets."""
        at, value = self._values.get(name, (None, None))
        if at is None or not 0 <= self._now() - at < self._lasts_ms:
            return None
        return value

    def mark(self) -> tuple[int, int]:
        """To be taken before the read whose answer is to be kept: its age counts from here."""
        return self._now(), self._emptied

    def keep(self, name: str, value: Value, mark: tuple[int, int]) -> None:
        """Remember a value, unless everything was forgotten while it was being read."""
        at, emptied = mark
        if emptied != self._emptied:
            return
        if len(self._values) >= self._most:
            self._values.clear()
        self._values[name] = (at, value)

    def clear(self) -> None:
        """Forget everything."""
        self._emptied += 1
        self._values.clear()
