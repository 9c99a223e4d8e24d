"""The exchange loop: sends reports, offers free places, and starts the leases it receives.

One rule: whenever there are unsent reports, or free places that no unanswered exchange offers, and fewer than
MOST_UNANSWERED exchanges are unanswered, one is sent with all of them. One exchange is always open, with 0 places if
all are busy, so that cancellations arrive at once. Nothing is fetched ahead: a lease starts when it arrives.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable

from msgspec.structs import replace

from fairlane.loops import hidden_task
from fairlane.protocol import ExchangeAnswer, ExchangeRequest, LeaseBody, ProgressBody, ReportBody, encode
from fairlane.worker.channel import ChildLease, Closed, ExchangeOpened, FromChild, Pulse, Stopped
from fairlane.worker.results import bare
from fairlane.worker.server import ContentRefused, ServerClient, ServerSilent, pauses

MOST_UNANSWERED = 4
LEAST_REPORTS = 10
MOST_REPORTS = 500
"""An exchange carries reports of half the places at most, within these bounds: with short tasks the server settles one
half while this worker runs the other.
"""
MOST_REPORTED_BYTES = 16 * 2**20
"""Results beyond this size wait for the next exchange; a single result is always sent."""
PULSE_SECONDS = 0.25
PROGRESS_SECONDS = 1.0
STALL_SECONDS = 0.6
"""A loop that did not run for this long was blocked. Less than half of the supervisor's limit."""
RESEND_SECONDS = (0.05, 2.0)
"""First and longest pause before an exchange is sent again."""
EMPTY_PAUSE_SECONDS = 0.1
"""Pause after an empty answer that came at once, such as that of a draining server."""

CAUSE_LENGTH_MOST = 500

logger = logging.getLogger("fairlane.worker")


class ExchangeLoop:
    """Keeps a worker's places filled. Runs on one event loop.

    ``start`` and ``cancel`` act on attempts, ``tell`` informs the supervisor, ``failed`` ends the process.
    """

    def __init__(
        self,
        server: ServerClient,
        *,
        session: str,
        places: int,
        wait_seconds: float,
        start: Callable[[LeaseBody], None],
        cancel: Callable[[str], None],
        said: Callable[[], list[ProgressBody]],
        tell: Callable[[FromChild], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._server = server
        self._session = session
        self._wait_seconds = wait_seconds
        self._start = start
        self._cancel = cancel
        self._said = said
        self._progress: list[ProgressBody] = []
        """Progress to send with the next exchange."""
        self._progress_at = time.monotonic()
        self._tell = tell
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        """Exchanges run in it, not in that of an attempt whose end caused one, which their log lines would name."""
        self._free = places
        self._most_reports = min(max(LEAST_REPORTS, places // 2), MOST_REPORTS)
        self._offered: dict[str, int] = {}
        """Places offered by each unanswered exchange, including places it took over from others."""
        self._reports: list[ReportBody] = []
        self._bare: set[str] = set()
        """Leases with a refused report; only a reduced report is sent for them."""
        self._untold: list[str] = []
        """Ended leases that the supervisor has not been told of yet."""
        self._unsettled = 0
        self._number = 0
        self._turn_due = False
        self._leaving = False
        self._pulse_at = time.monotonic()
        self._stale: set[str] = set()
        """Exchanges that were open during a stall of this loop."""
        self._deliveries: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()

    def begin(self) -> None:
        """Send the first exchange."""
        self.pulse()
        self._wake()

    def pulse(self) -> None:
        """Tell the supervisor that this loop runs."""
        self._notice_stall()
        self._tell(Pulse())
        self._gather_progress()
        self._loop.call_later(PULSE_SECONDS, self.pulse)

    def _gather_progress(self) -> None:
        """Send new progress in an exchange of its own, at most once a second."""
        if time.monotonic() - self._progress_at < PROGRESS_SECONDS or self._progress:
            return
        self._progress_at = time.monotonic()
        self._progress = self._said()
        if self._progress:
            self._wake()

    def _notice_stall(self) -> None:
        """Mark the open exchanges after a stall: the supervisor may have withdrawn their leases, so none of them may
        start.
        """
        now = time.monotonic()
        if now - self._pulse_at > STALL_SECONDS:
            self._stale |= self._offered.keys()
        self._pulse_at = now

    def ended(self, report: ReportBody) -> None:
        """Queue the report of an ended attempt. Its report and its place go with the next exchange."""
        self._free += 1
        self._unsettled += 1
        self._reports.append(report)
        self._untold.append(report.lease)
        self._wake()

    def stop_taking(self) -> None:
        """Offer no more places; a lease that still arrives is handed back."""
        self._leaving = True

    async def quiet(self) -> None:
        """Wait until every report has its verdict."""
        while self._unsettled:
            self._quiet.clear()
            await self._quiet.wait()

    def _wake(self) -> None:
        # Once per round of the event loop: attempts that end in the same round share an exchange.
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn, context=self._context)

    def _turn(self) -> None:
        self._turn_due = False
        while len(self._offered) < MOST_UNANSWERED and self._has_something():
            self._send()
        if self._untold:
            self._tell(Stopped(ended=self._untold))
            self._untold = []

    def _has_something(self) -> bool:
        return bool(self._reports or self._progress or self._unoffered() > 0 or not self._offered)

    def _unoffered(self) -> int:
        return 0 if self._leaving else self._free - sum(self._offered.values())

    def _send(self) -> None:
        self._number += 1
        reports, places = self._next_reports(), max(0, self._unoffered())
        progress, self._progress = self._progress, []
        exchange = ExchangeRequest(
            session=self._session,
            id=str(self._number),
            # The remaining reports go at once with the next exchange, which also offers their places.
            places=min(places, len(reports)) if self._reports else places,
            reports=reports,
            progress=progress,
            wait_seconds=self._wait_seconds,
        )
        self._offered[exchange.id] = exchange.places
        self._tell(ExchangeOpened(exchange=exchange.id, ended=self._untold))
        self._untold = []
        delivery = hidden_task(self._loop, self._deliver(exchange))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    def _next_reports(self) -> list[ReportBody]:
        count = size = 0
        for report in self._reports[: self._most_reports]:
            size += len(memoryview(report.result))
            size += 0 if report.failure is None else len(encode(report.failure))
            if count and size > MOST_REPORTED_BYTES:
                break
            count += 1
        batch, self._reports = self._reports[:count], self._reports[count:]
        return batch

    async def _deliver(self, exchange: ExchangeRequest) -> None:
        try:
            asked_at = self._loop.time()
            exchange, answer = await self._answer(exchange)
            self._accept(exchange, answer)
            # Without the pause this would be a busy loop.
            hurried = self._loop.time() - asked_at < min(EMPTY_PAUSE_SECONDS, self._wait_seconds)
            if hurried and not (answer.verdicts or answer.leases or answer.cancel or answer.kept > 0):
                await asyncio.sleep(EMPTY_PAUSE_SECONDS)
            self._wake()
        except Exception as error:  # noqa: BLE001 - after any error this worker cannot go on; its owner ends it
            self._failed(error)

    async def _answer(self, exchange: ExchangeRequest) -> tuple[ExchangeRequest, ExchangeAnswer]:
        """Send until answered, without a limit: the supervisor decides when to stop. Return what was sent last."""
        pausing = pauses(*RESEND_SECONDS)
        while True:
            try:
                return exchange, await self._server.exchange(exchange)
            except ContentRefused as refused:
                exchange = self._without_refused(exchange, refused)
                continue
            except ServerSilent:
                await asyncio.sleep(next(pausing))
            # It may have taken over places of other exchanges, and a server that lost it does not know of them.
            exchange = replace(exchange, places=self._offered[exchange.id])

    def _without_refused(self, exchange: ExchangeRequest, refused: ContentRefused) -> ExchangeRequest:
        """Return the exchange with fewer reports, so that a report that the server refuses affects only its own
        attempt.

        A refused exchange changed nothing at the server. Halving the reports finds the wrong one; the halves that are
        set aside go with the next exchange. Raises ``refused`` if nothing is left to remove.
        """
        reports = exchange.reports
        if len(reports) > 1:
            half = len(reports) // 2
            reports, aside = reports[:half], reports[half:]
            self._reports[:0] = aside
            self._wake()
        elif reports:
            [report] = reports
            if report.lease in self._bare:
                raise refused
            logger.error("report.refused", extra={"lease": report.lease, "cause": str(refused)})
            self._bare.add(report.lease)
            reports = [bare(report, f"the report was refused: {refused}"[:CAUSE_LENGTH_MOST])]
        elif not exchange.progress:
            raise refused
        return replace(exchange, reports=reports, progress=[])

    def _accept(self, exchange: ExchangeRequest, answer: ExchangeAnswer) -> None:
        self._notice_stall()
        wanted = exchange.id not in self._stale and not self._leaving
        self._stale.discard(exchange.id)
        self._settle_places(exchange.id, answer)
        held = [ChildLease(lease.lease, lease.timeout_seconds) for lease in answer.leases]
        settled = [report.lease for report in exchange.reports]
        self._bare.difference_update(settled)
        finished, returned = _accepted(exchange, answer)
        self._tell(
            Closed(
                exchange=exchange.id,
                leases=held,
                settled=settled,
                canceled=answer.cancel,
                finished=finished,
                returned=returned,
            )
        )
        self._unsettled -= len(settled)
        if not self._unsettled:
            self._quiet.set()
        for lease in answer.leases:
            self._free -= 1
            if wanted:
                self._start(lease)
            else:
                self.ended(ReportBody(lease=lease.lease, outcome="released"))
        for lease_id in answer.cancel:
            self._cancel(lease_id)

    def _settle_places(self, exchange_id: str, answer: ExchangeAnswer) -> None:
        """Keep the places that another exchange took over as offered; the others are free again."""
        del self._offered[exchange_id]
        if answer.kept > 0 and self._offered:
            # An older server does not name that exchange; the oldest open one is the most likely.
            keeper = answer.kept_by or next(iter(self._offered))
            if keeper in self._offered:
                self._offered[keeper] += answer.kept


def _accepted(exchange: ExchangeRequest, answer: ExchangeAnswer) -> tuple[int, int]:
    """Return how many reported attempts ended and how many were handed back. Reports of lost leases do not count."""
    outcomes = [
        report.outcome
        for report, verdict in zip(exchange.reports, answer.verdicts, strict=False)
        if verdict == "accepted"
    ]
    returned = outcomes.count("released")
    return len(outcomes) - returned, returned
