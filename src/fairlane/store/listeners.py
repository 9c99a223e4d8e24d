"""Who waits at this server for what a commit may mean: they are told, on the event loop.

The adapters gather hints from it after each transaction; ``Store`` and ``wakeups.py`` tell through it; ``api/``, the
sweeper and the sender subscribe. Nobody may depend on being told.
"""

from collections.abc import Callable

from fairlane.store.hints import NOBODY, Hints
from fairlane.store.memory import Memory

Listener = Callable[[frozenset[str]], None]


class Listeners:
    """One server's."""

    def __init__(self, memory: Memory) -> None:
        """``memory``: where store operations leave what their transaction did."""
        self._memory = memory
        self._startable: list[Listener] = []
        self._pauses: list[Callable[[int], None]] = []
        self._deliveries: list[Callable[[], None]] = []
        self._calls: list[Callable[[], None]] = []
        self._ends: list[Listener] = []
        self._cancels: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Be told on the event loop, after each commit, of task types that can start now. A hint; it may be lost."""
        self._startable.append(listener)

    def subscribe_pauses(self, listener: Callable[[int], None]) -> None:
        """Be told, after a commit, of the moment at which a task that was paused becomes ready. A hint."""
        self._pauses.append(listener)

    def subscribe_deliveries(self, listener: Callable[[], None]) -> None:
        """Be told, after a commit, that a delivery became due. A hint; it may be lost."""
        self._deliveries.append(listener)

    def subscribe_calls(self, listener: Callable[[], None]) -> None:
        """Be told, after a commit, that a call ended that somebody waits for. A hint; it may be lost."""
        self._calls.append(listener)

    def subscribe_ends(self, listener: Listener) -> None:
        """Be told, after each commit, the ids of tasks that ended with it. A hint; it may be lost."""
        self._ends.append(listener)

    def subscribe_cancels(self, listener: Listener) -> None:
        """Be told, after a commit, which sessions hold leases that are to end. A hint; it may be lost."""
        self._cancels.append(listener)

    def harvest(self) -> Hints:
        """What the transaction did that just ended. Called on the store thread; the next one begins with nothing."""
        memory = self._memory
        hints = Hints(
            startable=frozenset(memory.startable),
            paused_until=memory.paused_until,
            owed=memory.owed,
            calls_ended=memory.calls_ended,
            # Most often there is nobody to tell.
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
        """Whoever waits at this server. Called on the event loop."""
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
