"""Requests that wait for the end of a task (``Prefer: wait=N``): woken by the commit that ends it.

A hint of the store wakes them at once. Hints may be lost, and another server may end a task, so all awaited tasks are
also checked once a second in one read. Nothing here changes anything.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable

from fairlane.api.http import Header, Request
from fairlane.errors import StoreUnreachable
from fairlane.model.tasks import TaskView
from fairlane.outages import Outage
from fairlane.store import Effects, Store

logger = logging.getLogger(__name__)

WAIT_SECONDS_MOST = 60
POLL_SECONDS = 1.0
WAITING_MOST = 10_000
"""Most requests that wait at one server; further ones are answered at once."""
ORGANIZATION_MOST = 1_000
"""Most waiting requests of one organization."""
SHARED_MOST = 5_000
"""Beyond this many waiting requests, one more is accepted only from an organization with fewer than ``FEW``."""
FEW = 10
LOOK_MOST = 1_000
"""Most tasks that are checked in one read."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PREFERENCE = re.compile(
    rf"""([^\s,;="]+)                          # its name
         (?:\s*=\s*({_QUOTED}|[^\s,;"]*))?     # its value
         (?:\s*;(?:{_QUOTED}|[^,"])*)?         # parameters, which mean nothing to us
         \s*(?:,|$)""",
    re.VERBOSE,
)


def wait_seconds(request: Request) -> int:
    """Return how long this request prefers to wait (RFC 7240), at most 60 s; 0 for not at all.

    An invalid preference is ignored, as the standard requires.
    """
    lines = request.every_header(b"prefer")
    for name, value in _PREFERENCE.findall(", ".join(lines)) if lines else ():
        if name.lower() == "wait":
            digits = value.strip('"')
            fits = digits.isascii() and digits.isdecimal() and len(digits) < 10
            return min(int(digits), WAIT_SECONDS_MOST) if fits else 0
    return 0


def applied(seconds: int) -> Header:
    """Return the header that says that the preference was honored, and up to which limit."""
    return (b"preference-applied", b"wait=%d" % seconds)


class Waiting:
    """All waiting requests of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, tuple[int, set[asyncio.Future[None]]]] = {}
        """For each task, the organization and the futures of the waiting requests."""
        self._by_organization: Counter[int] = Counter()
        self._draining = False
        self._unreadable = Outage(logger, "waiting.unreadable", "waiting.resumed", traced=True)
        store.hints.subscribe(self._hear)

    def waits(self) -> dict[str, int]:
        """Return how many requests wait for the end of each task."""
        return {task_id: len(hints) for task_id, (_, hints) in self._waiting.items()}

    def has_room(self, organization_id: int) -> bool:
        """Return whether one more request of this organization may wait."""
        own, all_of_them = self._by_organization[organization_id], self._by_organization.total()
        if self._draining or all_of_them >= WAITING_MOST:
            return False
        return own < (ORGANIZATION_MOST if all_of_them < SHARED_MOST else FEW)

    async def ended(
        self, organization_id: int, task_id: str, *, seconds: int, gone: Callable[[], Awaitable[None]]
    ) -> TaskView | None:
        """Return the task once it has ended, or as it is when the time is up or the server stops, or None if it is
        gone.

        Raises:
            ConnectionResetError: ``gone`` returned: the caller has disconnected.
        """
        loop = asyncio.get_running_loop()
        hint: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(task_id, (organization_id, set()))[1].add(hint)
        self._by_organization[organization_id] += 1
        timer = loop.call_later(seconds, _wake, [hint])
        departure = asyncio.ensure_future(gone())
        departure.add_done_callback(lambda _: _wake([hint]))
        try:
            # Read only now: a task that ended before the registration above wakes no request.
            found = await self._store.tasks.find(organization_id, task_id)
            if found is None or found.final:
                return found
            await hint
            if departure.done():
                raise ConnectionResetError("the caller closed the connection while it waited")
        finally:
            timer.cancel()
            departure.cancel()
            self._leave(organization_id, task_id, hint)
        return await self._store.tasks.find(organization_id, task_id)

    def drain(self) -> None:
        """Answer every waiting request now, and let no more wait."""
        self._draining = True
        for _, hints in self._waiting.values():
            _wake(hints)

    async def poll(self) -> None:
        """Check all awaited tasks once a second, until the server stops."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            asked = [(organization_id, task_id) for task_id, (organization_id, _) in self._waiting.items()]
            looks = [await self._look(asked[start : start + LOOK_MOST]) for start in range(0, len(asked), LOOK_MOST)]
            if looks and all(looks):
                self._unreadable.succeed()

    async def _look(self, asked: list[tuple[int, str]]) -> bool:
        """Wake the requests whose tasks have ended. Return False if that cannot be read."""
        try:
            ended = await self._store.tasks.ended(asked)
        except StoreUnreachable:  # The store has already logged it once.
            return False
        except Exception as error:  # noqa: BLE001 - the next check sees it again; waiting requests go on
            self._unreadable.fail(error)
            return False
        self._wake(ended)
        return True

    def _hear(self, effects: Effects) -> None:
        if effects.ended:
            self._wake(effects.ended)

    def _wake(self, ended: set[str]) -> None:
        for task_id in self._waiting.keys() & ended:
            _wake(self._waiting[task_id][1])

    def _leave(self, organization_id: int, task_id: str, hint: asyncio.Future[None]) -> None:
        hints = self._waiting[task_id][1]
        hints.discard(hint)
        if not hints:
            del self._waiting[task_id]
        self._by_organization[organization_id] -= 1
        if not self._by_organization[organization_id]:
            del self._by_organization[organization_id]


def _wake(hints: Iterable[asyncio.Future[None]]) -> None:
    for hint in hints:
        if not hint.done():
            hint.set_result(None)
