"""Live data for viewers: one read of the store each second for all of them, sent to each as server-sent events.

A slow viewer misses moments, but always gets the newest one. Without viewers nothing is read.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable

from fairlane import wire
from fairlane.errors import FairlaneError, StoreUnreachable
from fairlane.outages import Outage
from fairlane.store import Store

EVERY_SECONDS = 1.0
SHARE_MOST = 0.02
"""Share of the time that reading all organizations for operators may take. With many, they are read less often."""
SLOWEST_SECONDS = 3.0
"""But at least this often."""
UNCHANGED = b": unchanged\n\n"
"""Sent in place of an event that would say the same again, so that a stream without a right to go on still ends."""
VIEWERS_MOST = 1_000
"""The most streams of one server."""
CUSTOMERS_MOST = 900
"""The most of them for organizations. The others are for operators."""
FURTHER_MOST = 600
"""Beyond this many streams of organizations, an organization that has a stream gets no further one."""
ORGANIZATION_MOST = 50
"""The most streams of one organization."""

logger = logging.getLogger(__name__)


class Viewer:
    """An open stream of one session, for one organization, or with None for all."""

    def __init__(self, organization_id: int | None, session_id: str) -> None:
        self.organization_id = organization_id
        self.session_id = session_id
        self.told = False
        """Whether it was shown an event."""
        self._newest: bytes | None = None
        self._changed = asyncio.Event()

    def show(self, event: bytes | None) -> None:
        """Set the newest event, or None for the end. One that was not sent yet is not replaced by UNCHANGED."""
        if event == UNCHANGED and self._changed.is_set():
            return
        self._newest = event
        self.told = True
        self._changed.set()

    async def next(self) -> bytes | None:
        """Return the newest event once there is an unseen one, or None at the end."""
        await self._changed.wait()
        self._changed.clear()
        return self._newest


class Hub:
    """All viewers of one server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.viewers: set[Viewer] = set()
        self._by_organization: Counter[int] = Counter()
        self._arrived = asyncio.Event()
        self._closed = False
        self._everything_at = 0.0
        """When all organizations are read next, in the loop's time."""
        self._said = b""
        """What operators were told last, without its moment."""
        self._blind = Outage(logger, "dashboard.blind", "dashboard.resumed", level=logging.WARNING)

    async def run(self) -> None:
        """Read once a second while there are viewers, until the server ends."""
        while not self._closed:
            if not self.viewers:
                self._arrived.clear()
                await self._arrived.wait()
            try:
                await self._show()
                self._blind.succeed()
            except FairlaneError as error:  # Viewers see that no events arrive; the next read may succeed.
                if not isinstance(error, StoreUnreachable):  # which the store has already logged once
                    self._blind.fail(error)
            await asyncio.sleep(EVERY_SECONDS)

    def close(self) -> None:
        """End every stream because the server stops."""
        self._closed = True
        self._arrived.set()
        for viewer in self.viewers:
            viewer.show(None)

    async def _show(self) -> None:
        watched = sorted({one.organization_id for one in self.viewers if one.organization_id is not None})
        began = asyncio.get_running_loop().time()
        everything = began >= self._everything_at and any(one.organization_id is None for one in self.viewers)
        sessions = sorted({one.session_id for one in self.viewers})
        live = await self._store.dashboard.live(watched, everything=everything, session_ids=sessions)
        if everything:
            ended = asyncio.get_running_loop().time()
            self._everything_at = began + min((ended - began) / SHARE_MOST, SLOWEST_SECONDS)
        at = self._store.now()
        events = {
            organization_id: _event(wire.live_body(one, at=at)) for organization_id, one in live.organizations.items()
        }
        whole = again = None
        if live.total is not None:
            whole = _event(wire.everything_body(live.busiest, live.total, at=at))
            said = wire.everything_body(live.busiest, live.total, at=0)
            again = UNCHANGED if said == self._said else whole
            self._said = said
        for viewer in self.viewers:
            event = events.get(viewer.organization_id) if viewer.organization_id is not None else whole
            if viewer.organization_id is None and viewer.told:
                event = again
            if viewer.session_id in live.ended:
                viewer.show(None)
            elif event is not None or viewer.organization_id is not None:
                viewer.show(event)

    async def watch(
        self,
        organization_id: int | None,
        *,
        session_id: str,
        allowed: Callable[[], Awaitable[bool]],
        gone: Callable[[], Awaitable[None]],
    ) -> AsyncGenerator[bytes, None]:
        """Yield events for one viewer until it leaves, logs out, loses its permission, or the server ends.

        Yields nothing if there is no room: other streams may have begun since the caller checked.
        """
        if not self.has_room(organization_id):
            return
        viewer = Viewer(organization_id, session_id)
        self._enter(viewer)
        leaving = asyncio.ensure_future(gone())
        try:
            yield b"retry: 2000\n\n"
            while not leaving.done():
                coming = asyncio.ensure_future(viewer.next())
                await asyncio.wait([coming, leaving], return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    return
                event = coming.result()
                if event is None or not await allowed():
                    return
                yield event
        finally:
            leaving.cancel()
            self._leave(viewer)

    def has_room(self, organization_id: int | None) -> bool:
        """Return whether this organization, or with None an operator, may open one more stream."""
        if self._closed or len(self.viewers) >= VIEWERS_MOST:
            return False
        if organization_id is None:
            return True
        own, all_of_them = self._by_organization[organization_id], self._by_organization.total()
        return own < ORGANIZATION_MOST and all_of_them < (FURTHER_MOST if own else CUSTOMERS_MOST)

    def _enter(self, viewer: Viewer) -> None:
        self.viewers.add(viewer)
        if viewer.organization_id is not None:
            self._by_organization[viewer.organization_id] += 1
        self._arrived.set()

    def _leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        if viewer.organization_id is not None:
            self._by_organization[viewer.organization_id] -= 1
            if not self._by_organization[viewer.organization_id]:
                del self._by_organization[viewer.organization_id]


def _event(body: bytes) -> bytes:
    return b"data: " + body + b"\n\n"
