"""An outage in the log: one line when it begins and one when it ends, however many failures are between.

For everything that is tried again: requests to a database or a server, webhooks, and the rounds of upkeep. Safe to
call from several threads: a count may be off by a few.
"""

import logging
import time
from collections.abc import Callable

from fairlane.errors import Fault


class Outage:
    """One kind of outage."""

    def __init__(
        self,
        log: logging.Logger,
        begins: str,
        ends: str,
        *,
        level: int = logging.ERROR,
        traced: bool = False,
        quiet_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``begins`` and ``ends`` are the names of its two events; ``level`` is that of the first, which has the
        traceback if ``traced`` and the error is not a Fault. It ends no sooner than ``quiet_seconds`` after its last
        failure: on a full disk a small write may succeed between large ones that do not."""
        self._log = log
        self._begins = begins
        self._ends = ends
        self._level = level
        self._traced = traced
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._failures = 0
        self._began_at = 0.0
        self._failed_at = 0.0
        self._names: dict[str, object] = {}
        self.going_on = False

    def fail(self, error: BaseException, *, count: int = 1, **names: object) -> None:
        """Count failures because of this error; log the first of an outage. ``names`` are fields of both lines."""
        self._failed_at = self._clock()
        if not self.going_on:
            self.going_on, self._began_at, self._failures, self._names = True, self._failed_at, 0, names
            trace = error if self._traced and not isinstance(error, Fault) else None
            told = {"error": type(error).__name__, "cause": str(error)}
            self._log.log(self._level, self._begins, extra=names | told, exc_info=trace)
        self._failures += count

    def succeed(self) -> None:
        """End the outage, if there is one: what failed works again."""
        now = self._clock()
        if self.going_on and now - self._failed_at >= self._quiet_seconds:
            self.going_on = False
            told = {"seconds": round(now - self._began_at, 1), "count": self._failures}
            self._log.warning(self._ends, extra=self._names | told)
