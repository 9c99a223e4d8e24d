"""The sender: takes due deliveries from the store, posts them, and records the results. Runs only in the server.

It never holds a worker's slot, and never a transaction while it posts. If it is killed, a delivery stays due: a claim
expires by itself, so after a crash between a post and its record the message is sent again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from fairlane import wire
from fairlane.errors import Fault, StoreUnreachable
from fairlane.model.webhooks import DueDelivery, Tried
from fairlane.outages import Outage
from fairlane.rules.deliveries import DeliveryLimits, asked_wait_ms
from fairlane.store import Effects, Store
from fairlane.webhooks.poster import Outgoing, TryResult
from fairlane.webhooks.signing import SECRETS_MAX, signatures
from fairlane.webhooks.turns import TryPlace, TryTurns

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the store is polled if no hint arrives and no earlier due time is known."""
CLAIM_SECONDS = 30.0
"""How much longer a claim lasts than the longest possible try."""
LIMITS = DeliveryLimits()


class Posts(Protocol):
    """Performs one try."""

    async def post(
        self, url: str, *, body: Outgoing, headers: Callable[[], Mapping[str, str]], organization_id: int
    ) -> TryResult:
        """Send these exact bytes once, and drop them as soon as they are written."""


class Sender:
    """Sends due deliveries until it is drained."""

    def __init__(self, store: Store, poster: Posts, *, timeout_seconds: float, limits: DeliveryLimits = LIMITS) -> None:
        """``timeout_seconds`` is the poster's: a claim must outlast a try."""
        self._store = store
        self._poster = poster
        self.turns = TryTurns(limits)
        self._claim_ms = round(max(CLAIM_SECONDS, timeout_seconds + CLAIM_SECONDS / 2) * 1_000)
        self._under_way: dict[asyncio.Task[None], DueDelivery] = {}
        self._wake = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._draining = False
        self._unread = Outage(logger, "deliveries.failed", "deliveries.resumed", traced=True)
        self._unrecorded = Outage(logger, "delivery.unrecorded", "delivery.recorded")
        self._broken: str | None = None
        """The last error of our own code that was logged with its traceback."""
        store.hints.subscribe(self._hear)

    def _hear(self, effects: Effects) -> None:
        if effects.owed:
            self._wake.set()

    async def run(self) -> None:
        """Claim and send until drained. Running tries then continue by themselves: see :meth:`finish`."""
        while not self._draining:
            self._wake.clear()
            seconds = POLL_SECONDS
            try:
                async with self._claiming:
                    next_at = await self._start_due()
                self._unread.succeed()
                if next_at is not None:
                    seconds = min(POLL_SECONDS, max(0, next_at - self._store.now()) / 1_000)
            except StoreUnreachable:  # The store has already logged it once.
                await asyncio.sleep(POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - there is no caller to report to, and the loop must continue
                self._unread.fail(error)
                await asyncio.sleep(POLL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()

    async def send_due(self) -> None:
        """Send what is due now and return once each of its tries is recorded; for tests that move the clock."""
        async with self._claiming:
            await self._start_due()
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    def drain(self) -> None:
        """Start nothing from now on; due deliveries stay due for the next server."""
        self._draining = True
        self._wake.set()

    async def finish(self, seconds: float) -> None:
        """Wait this long for running tries. After that they are cut off, and sent again once their claim expires."""
        self.drain()
        async with self._claiming:
            pass  # Running claims finish first, so that their tries count as running.
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _start_due(self) -> int | None:
        """Begin the tries that are due, and return the next moment at which one is due, or None if there is none."""
        due_at = await self._store.deliveries.next_due_at()
        now = self._store.now()
        if due_at is None or due_at > now:
            return due_at
        if self.turns.full:
            return await self._store.deliveries.next_due_at(after=now)
        claimed = await self._store.deliveries.claim(self.turns.state(), claim_ms=self._claim_ms)
        self.turns.claimed(claimed)
        for one in claimed.deliveries:
            task = asyncio.create_task(self._send(one, self.turns.begin(one.organization_id, one.host, one.size)))
            self._under_way[task] = one
            task.add_done_callback(self._ended)
        if claimed.organizations_after or claimed.missed:
            self._wake.set()  # More may be due than this claim saw.
        return await self._store.deliveries.next_due_at(after=now)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._wake.set()  # There may now be a place for one that was skipped.
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("delivery.broken", extra={"cause": str(error)}, exc_info=error)

    async def _send(self, one: DueDelivery, place: TryPlace) -> None:
        """Make one try of one delivery, from the stored rows to the record."""
        took_ms = 0
        try:
            tried = await self._try(one, place)
            took_ms = 0 if tried is None else tried.took_ms
        finally:
            self.turns.end(place, took_ms)
        if tried is None:
            return
        _log(one, tried)
        try:
            # The store finishes this write even if this task is canceled, so that a sent message is recorded.
            await self._store.deliveries.record(tried)
        except Fault as error:
            # It is sent again once its claim expires. Receivers recognize a task by its id.
            self._unrecorded.fail(error)
        else:
            self._unrecorded.succeed()

    async def _try(self, one: DueDelivery, place: TryPlace) -> Tried | None:
        """Return the result of the post, or None if the task and its delivery are gone or the store cannot be read."""
        at = self._store.now()
        try:
            body = await self._body(one, place)
            if body is None:
                return None
            secrets = (await self._store.webhook_secrets.signing(one.organization_id))[:SECRETS_MAX]
            result = await self._poster.post(
                one.url,
                body=body,
                headers=lambda: self._headers(one, body.body, secrets),
                organization_id=one.organization_id,
            )
        except Fault as error:
            self._unrecorded.fail(error)
            return None
        except Exception as error:  # An error of our own code; the delivery still follows the schedule.
            trace = None if repr(error) == self._broken else error
            self._broken = repr(error)
            logger.error("delivery.broken", extra=_names(one, cause=str(error)), exc_info=trace)
            return Tried(delivery_id=one.id, number=one.number, at=at, http_status=None, error="broken", took_ms=0)
        return Tried(
            delivery_id=one.id,
            number=one.number,
            at=at,
            http_status=result.http_status,
            error=result.error,
            took_ms=result.took_ms,
            wait_ms=asked_wait_ms(result.retry_after, self._store.now()),
            cause=result.cause,
            answer=result.answer,
        )

    async def _body(self, one: DueDelivery, place: TryPlace) -> Outgoing | None:
        def dropped() -> None:
            place.size = 0
            self._wake.set()  # There may be room now for one that was passed over.

        if one.body is not None or one.task_id is None:
            return Outgoing((one.body or "").encode(), dropped=dropped)
        task = await self._store.tasks.find(one.organization_id, one.task_id)
        return None if task is None else Outgoing(wire.webhook_body(task), dropped=dropped)

    def _headers(self, one: DueDelivery, body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
        """Return the headers, signed with the current time."""
        identity = one.id if one.task_id is None else one.task_id
        return signatures(secrets, task_id=identity, attempt=one.number, body=body, now_ms=self._store.now())


def _log(one: DueDelivery, tried: Tried) -> None:
    if tried.error is None:
        logger.info("delivery.delivered", extra=_names(one, took_ms=tried.took_ms))
    else:
        details = _names(
            one, error=tried.error, http_status=tried.http_status, took_ms=tried.took_ms, cause=tried.cause
        )
        logger.warning("delivery.failed", extra=details)


def _names(one: DueDelivery, **more: object) -> dict[str, object]:
    """Return the fields of every event of a delivery. Not the URL: its query may contain a secret of the receiver."""
    return {
        "organization_id": one.organization_id,
        "delivery_id": one.id,
        "task_id": one.task_id,
        "host": one.host,
        "number": one.number,
        **more,
    }
