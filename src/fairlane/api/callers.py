"""Where callers wait: HTTP requests with calls that run on a worker of this server or of another one.

This server holds its calls by its own session. It learns about ends from hints, and polls once a second because hints
can be lost. It needs only the rows, so a worker may report to any server.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable

from fairlane.errors import RequestCanceled, SessionGone, StoreUnreachable, Unavailable
from fairlane.model.calls import Abandoned, Admitted, EndedCall, NewCall
from fairlane.model.leases import LossReason, NewSession
from fairlane.outages import Outage
from fairlane.rules.attempts import TIMED_OUT
from fairlane.settings import Settings
from fairlane.store import Effects, Store, new_id

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
DRAIN_POLL_SECONDS = 0.1
"""Poll interval while draining, in seconds: a call that is handed back must be answered soon, and there is no hint."""
LAST_ANSWER_SECONDS = 5.0
"""How long reading an existing answer may take."""
ENDED_MOST = 100
ENDED_BYTES_MOST = 64 * 1024 * 1024
"""Most ended calls, and most bytes of results of the largest size, that are read at once."""


class _WaitingCaller:
    """One request that waits for its call."""

    def __init__(self, new: NewCall, answer: "asyncio.Future[EndedCall]") -> None:
        self.organization_id = new.organization_id
        self.id = new.id
        self.answer = answer
        self.admitted = False


class Callers:
    """All waiting callers of one server."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._waiting: dict[str, _WaitingCaller] = {}
        self._ended = asyncio.Event()
        self._forgetting: set[str] = set()
        """Answered calls; their rows are being removed."""
        self._removals: set[asyncio.Task[None]] = set()
        self._draining = False
        self._renew_at = 0.0
        self._look_at = 0.0
        self._failed_rounds = Outage(logger, "upkeep.failed", "upkeep.resumed", traced=True)
        self._failed_removals = Outage(logger, "upkeep.failed", "upkeep.resumed", traced=True)
        self.server_id = ""
        store.hints.subscribe(self._hear)

    def _hear(self, effects: Effects) -> None:
        if effects.calls_ended:
            self._ended.set()

    async def open(self) -> None:
        """Register this server, so that calls can be admitted in its name."""
        session = NewSession(
            id=new_id(),
            name=f"server {socket.gethostname()}/{os.getpid()}",
            types=(),
            places=0,
            local=True,
            lease_ms=round(self._settings.lease_seconds * 1000),
        )
        await self._store.sessions.open(session)
        self.server_id = session.id
        self._renew_at = time.monotonic() + self._settings.renew_seconds

    async def call(
        self, new: NewCall, *, admitted: Callable[[Admitted], None], gone: Callable[[], Awaitable[None]]
    ) -> EndedCall:
        """Begin a call and wait for its end, until its time is over or ``gone`` returns.

        ``admitted`` receives the slots in use once the call has its own.

        Raises:
            ConcurrencyFull, CreditsShort, KeyRefused: it was not admitted.
            Unavailable: it was not admitted, or the server stopped during the call.
            RequestCanceled: the caller is gone.
        """
        # Registered before it is admitted, because its end may be announced before this coroutine continues.
        waiting = self._waiting[new.id] = _WaitingCaller(new, asyncio.get_running_loop().create_future())
        try:
            admission = await self._store.calls.begin(new)
            del new  # The row has the payload from now on.
            admitted(admission)
            waiting.admitted = True
            if self._draining:
                self._ended.set()
            return await self._end_of(waiting, admission.give_up_at, gone)
        finally:
            del self._waiting[waiting.id]

    async def _end_of(self, waiting: _WaitingCaller, give_up_at: int, gone: Callable[[], Awaitable[None]]) -> EndedCall:
        departure = asyncio.ensure_future(gone())
        try:
            left_seconds = max(0.0, (give_up_at - self._store.now()) / 1000)
            both = (waiting.answer, departure)
            await asyncio.wait(both, timeout=left_seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiting.answer.done():
                return waiting.answer.result()
            met = await self._store.calls.abandon(waiting.organization_id, waiting.id)
            if departure.done():
                raise RequestCanceled()
            if met is Abandoned.ENDED or waiting.answer.done():
                self._ended.set()
                async with asyncio.timeout(LAST_ANSWER_SECONDS):
                    return await waiting.answer
            return EndedCall(
                organization_id=waiting.organization_id,
                id=waiting.id,
                result=None,
                failure=TIMED_OUT,
                charged=0,
                credits=None,
            )
        except TimeoutError as error:
            raise Unavailable() from error
        finally:
            departure.cancel()

    def drain(self) -> None:
        """From now on, give up calls that no worker has; running ones are still answered."""
        self._draining = True
        self._ended.set()

    async def close(self) -> None:
        """End this server: refuse callers that still wait, and remove calls that no worker has."""
        for waiting in self._waiting.values():
            _refuse(waiting)
        await asyncio.gather(*self._removals, return_exceptions=True)
        if self.server_id:
            try:
                await self._store.sessions.end(self.server_id, reason=LossReason.DRAINED)
            except StoreUnreachable:  # The store has already logged it once.
                pass
            except Exception as error:  # The sweep of another server, or of the next one, ends it.
                logger.error("calls.unended", extra={"cause": str(error)}, exc_info=error)

    # The loop --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Answer callers when their calls end, until the server stops."""
        while True:
            self._ended.clear()
            try:
                await self._renew()
                await self.answer_ended()
                await self._look()
                self._failed_rounds.succeed()
            except StoreUnreachable:  # The store has already logged it once.
                await asyncio.sleep(DRAIN_POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - the next round sees the same rows
                self._failed_rounds.fail(error, upkeep="calls")
                await asyncio.sleep(DRAIN_POLL_SECONDS)
            try:
                async with asyncio.timeout(DRAIN_POLL_SECONDS if self._draining else POLL_SECONDS):
                    await self._ended.wait()
            except TimeoutError:
                pass

    async def _renew(self) -> None:
        if time.monotonic() < self._renew_at:
            return
        try:
            await self._store.sessions.renew_server(self.server_id)
            self._renew_at = time.monotonic() + self._settings.renew_seconds
        except SessionGone:
            # Another server declared this one dead and swept its calls. New calls are held by a new session.
            logger.warning("session.expired", extra={"session": self.server_id})
            await self.open()

    async def answer_ended(self) -> None:
        """Answer the callers of calls that have ended by now."""
        most = min(ENDED_MOST, max(1, ENDED_BYTES_MOST // self._settings.result_limit_bytes))
        while True:
            ended = await self._store.calls.ended(self.server_id, taken=tuple(self._forgetting), most=most)
            for one in ended:
                waiting = self._waiting.get(one.id)
                if waiting is not None and not waiting.answer.done():
                    waiting.answer.set_result(one)
            if ended:
                self._forget(ended)
            if len(ended) < most:
                return

    def _forget(self, ended: list[EndedCall]) -> None:
        """Remove the rows outside the loop: no answer waits for this commit."""
        self._forgetting |= {one.id for one in ended}
        removal = asyncio.ensure_future(self._remove(ended))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove(self, ended: list[EndedCall]) -> None:
        try:
            await self._store.calls.forget([(one.organization_id, one.id) for one in ended])
            self._failed_removals.succeed()
        except StoreUnreachable:
            return  # They are read again, and removed then.
        except Exception as error:  # noqa: BLE001 - the next round reads them again
            self._failed_removals.fail(error, upkeep="forget calls")
        finally:
            self._forgetting -= {one.id for one in ended}

    async def _look(self) -> None:
        """Refuse the callers of lost calls: swept with a session that was declared dead, or given up by a drain."""
        if time.monotonic() < self._look_at and not self._draining:
            return
        self._look_at = time.monotonic() + POLL_SECONDS
        open_ones = [one for one in self._waiting.values() if one.admitted and not one.answer.done()]
        if not open_ones:
            return
        if self._draining:
            await asyncio.gather(
                *(self._store.calls.abandon(one.organization_id, one.id, running=False) for one in open_ones)
            )
        there = await self._store.calls.of_server(self.server_id)
        for one in open_ones:
            if one.id not in there:
                _refuse(one)


def _refuse(waiting: _WaitingCaller) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(Unavailable())
        waiting.answer.exception()  # The waiting request reads it; without one, nothing must be logged.
