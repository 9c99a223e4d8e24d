"""The listeners of one server: told on the event loop what each committed transaction means for requests that wait.

``Store`` and ``wakeups.py`` tell; ``api/``, the sweeper and the sender subscribe. A hint may be lost, so nothing may
depend on it.
"""

from collections.abc import Callable

from fairlane.store.effects import Effects

HintListener = Callable[[Effects], None]
"""Called on the event loop. Many effects do not concern it."""


class Hints:
    """The listeners of one server."""

    def __init__(self) -> None:
        self._listeners: list[HintListener] = []

    def subscribe(self, listener: HintListener) -> None:
        """Let ``listener`` be told the effects of each commit from now on."""
        self._listeners.append(listener)

    def tell(self, effects: Effects) -> None:
        """Tell every listener. Called on the event loop."""
        for listener in self._listeners:
            listener(effects)
