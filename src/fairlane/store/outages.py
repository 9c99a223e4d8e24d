"""An outage in the log: one line when it begins and one when it ends, regardless of the number of refused requests.

Used by the database adapters and for the disk's floor. Safe to call from several threads: a count may be off by a few.
"""

import logging
import time
from collections.abc import Callable


class Outage:
    """One kind of outage."""

    def __init__(
        self,
        log: logging.Logger,
        begins: str,
        ends: str,
        *,
        quiet_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``begins`` and ``ends`` are the names of its two events.

        The outage ends no sooner than ``quiet_seconds`` after its last refusal: on a full disk a small write may
        succeed between large ones that fail.
        """
        self._log = log
        self._begins = begins
        self._ends = ends
        self._quiet_seconds = quiet_seconds
        self._clock = clock
        self._refusals = 0
        self._began_at = 0.0
        self._refused_at = 0.0
        self.going_on = False

    def refuse(self, error: BaseException, *, count: int = 1) -> None:
        """Note that ``count`` requests were refused because of the outage."""
        self._refused_at = self._clock()
        if not self.going_on:
            self.going_on, self._began_at, self._refusals = True, self._refused_at, 0
            self._log.error("%s error=%s message=%r", self._begins, type(error).__name__, str(error))
        self._refusals += count

    def succeed(self) -> None:
        """Note that a request of the same kind succeeded."""
        now = self._clock()
        if self.going_on and now - self._refused_at >= self._quiet_seconds:
            self.going_on = False
            self._log.warning("%s seconds=%.1f refusals=%d", self._ends, now - self._began_at, self._refusals)
