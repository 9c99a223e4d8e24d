"""Threads for ``def`` handlers: started when needed, kept, never joined.

The standard pool joins its threads at exit, so one stuck handler would hold the whole process.
"""

import queue
import threading
from collections.abc import Callable


class Threads:
    """Runs each call at once, on an idle thread or a new one. The caller bounds how many run."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self._idle = 0
        self._started = 0

    def run(self, call: Callable[[], None]) -> None:
        """Start ``call``, which must not raise."""
        with self._changing:
            reserved = self._idle > 0
            if reserved:
                self._idle -= 1
            else:
                self._started += 1
        if not reserved:
            self._start_thread()
        # Last: if no thread can be started, no other thread may run a call that was given up.
        self._calls.put(call)

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._serve, name=f"fairlane-handler-{self._started}", daemon=True).start()
        except RuntimeError:
            with self._changing:
                self._started -= 1
            raise

    def close(self) -> None:
        """End idle threads now and busy ones after their call. Nothing may be started after this."""
        for _ in range(self._started):
            self._calls.put(None)

    def _serve(self) -> None:
        while True:
            call = self._calls.get()
            if call is None:
                return
            call()
            del call
            with self._changing:
                self._idle += 1
