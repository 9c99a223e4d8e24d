"""Local subscribers for commit hints, called on the event loop.

The adapters gather hints from it after each transaction; ``Store`` and ``wakeups.py`` publish through it; ``api/``, the
sweeper and the sender subscribe. A hint may be lost, so nothing may depend on it.
"""

from collections.abc import Callable

from fairlane.store.hints import NOBODY, Hints
from fairlane.store.memory import Memory

Listener = Callable[[frozenset[str]], None]


class Listeners:
    """The subscribers of one server."""

    def __init__(self, memory: Memory) -> None:
        """Read the hints from ``memory``, where store operations record what their transaction did."""
        self._memory = memory
        self._startable: list[Listener] = []
        self._pauses: list[Callable[[int], None]] = []
        self._deliveries: list[Callable[[], None]] = []
        self._calls: list[Callable[[], None]] = []
        self._ends: list[Listener] = []
        self._cancels: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Subscribe to task types that can start now, after each commit. A hint; it may be lost."""
        self._startable.append(listener)

    def subscribe_pauses(self, listener: Callable[[int], None]) -> None:
        """Subscribe to the moment at which a paused task becomes ready, after a commit. A hint; it may be lost."""
        self._pauses.append(listener)

    def subscribe_deliveries(self, listener: Callable[[], None]) -> None:
        """Subscribe to deliveries that became due, after a commit. A hint; it may be lost."""
        self._deliveries.append(listener)

    def subscribe_calls(self, listener: Callable[[], None]) -> None:
        """Subscribe to ends of calls with waiting callers, after a commit. A hint; it may be lost."""
        self._calls.append(listener)

    def subscribe_ends(self, listener: Listener) -> None:
        """Subscribe to the ids of tasks that ended, after each commit. A hint; it may be lost."""
        self._ends.append(listener)

    def subscribe_cancels(self, listener: Listener) -> None:
        """Subscribe to sessions that hold canceled leases, after a commit. A hint; it may be lost."""
        self._cancels.append(listener)

    def harvest(self) -> Hints:
        """Return the hints of the transaction that just ended, and reset them. Called on the store thread."""
        memory = self._memory
        hints = Hints(
            startable=frozenset(memory.startable),
            paused_until=memory.paused_until,
            owed=memory.owed,
            calls_ended=memory.calls_ended,
            # Usually there are no subscribers.
            ended=frozenset(memory.ended) if self._ends else NOBODY,
            canceled=frozenset(memory.canceled),
        )
        memory.startable.clear()
        memory.ended.clear()
        memory.canceled.clear()
        memory.paused_until = None
        memory.owed = False
        memory.calls_ended = False
        return hints

    def tell(self, hints: Hints) -> None:
        """Call the subscribers of this server. Called on the event loop."""
        if hints.startable:
            for listener in self._startable:
                listener(hints.startable)
        if hints.paused_until is not None:
            for pause_listener in self._pauses:
                pause_listener(hints.paused_until)
        if hints.owed:
            for delivery_listener in self._deliveries:
                delivery_listener()
        if hints.calls_ended:
            for call_listener in self._calls:
                call_listener()
        if hints.ended:
            for end_listener in self._ends:
                end_listener(hints.ended)
        if hints.canceled:
            for cancel_listener in self._cancels:
                cancel_listener(hints.canceled)
