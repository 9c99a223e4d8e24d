"""Rows that other transactions hold: what this server learned of them, so that few of its transactions wait.

Called by ``writing.py`` on the store thread. Pure, except for its clock.
"""

import logging
import time
from collections.abc import Collection, Sequence

from fairlane.errors import LocksHeld

_log = logging.getLogger("fairlane.store")

LOCK, LOCK_FREE = "lock_organizations", "lock_further_organizations"
"""The statements that lock organizations: with a wait, and without."""
HURRY_SECONDS = 1.0
"""For this long after a lock timeout, transactions use the short lock timeout. Requests that need the lock are retried
separately, so others lose little time."""
HELD_SECONDS = 0.1
"""How long a row that was seen locked counts as locked; no transaction tries it meanwhile."""


class HeldRows:
    """The organizations that other transactions hold."""

    def __init__(self) -> None:
        self._held: dict[int, float] = {}
        """Until when each is assumed to be held."""
        self._hurry_until = 0.0
        self._logged_until = 0.0

    def hurry(self) -> None:
        """Note a lock timeout."""
        self._hurry_until = time.monotonic() + HURRY_SECONDS

    def hurried(self) -> bool:
        """Return whether transactions use the short lock timeout now."""
        return time.monotonic() < self._hurry_until

    def see(self, ids: Sequence[int], free: Collection[int]) -> None:
        """Note which of these organizations could be locked; others hold the rest."""
        now = time.monotonic()
        self._held = {one: until for one, until in self._held.items() if until > now and one not in free}
        self._held |= dict.fromkeys(set(ids) - set(free), now + HELD_SECONDS)

    def pass_by(self, ids: Sequence[int]) -> None:
        """Raise LocksHeld, without a try, if one of these organizations was held a moment ago."""
        if self._held and any(self._held.get(one, 0.0) > time.monotonic() for one in ids):
            raise LocksHeld("another transaction held it a moment ago")

    def log(self, error: LocksHeld) -> None:
        """Write one log line for each period of lock timeouts, not one for each request."""
        now = time.monotonic()
        if now > self._logged_until:
            _log.warning("store.busy error=%s message=%r", type(error).__name__, str(error))
        self._logged_until = now + HURRY_SECONDS
