"""Recently read values, such as keys, remembered for a moment.

A change through this server empties it at once; a change through another server is seen when the values expire.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """At most ``most`` values by name, each for at most ``lasts_ms``."""

    def __init__(self, now: Callable[[], int], *, lasts_ms: int, most: int) -> None:
        self._now = now
        self._lasts_ms = lasts_ms
        self._most = most
        self._values: dict[str, tuple[int, Value]] = {}
        self._emptied = 0

    def find(self, name: str) -> Value | None:
        """Return the value of this name, or None if there is none or it has expired. A clock change expires it."""
        at, value = self._values.get(name, (None, None))
        if at is None or not 0 <= self._now() - at < self._lasts_ms:
            return None
        return value

    def mark(self) -> tuple[int, int]:
        """Return the mark to take before reading a value: its age counts from here."""
        return self._now(), self._emptied

    def keep(self, name: str, value: Value, mark: tuple[int, int]) -> None:
        """Remember a value, unless :meth:`clear` was called since ``mark``."""
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
