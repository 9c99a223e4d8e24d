"""The watcher: reads the status of both organizations about ten times a second, and a recount twice a second."""

import asyncio
import time
from collections.abc import Mapping

from fairlane.admin.connection import Admin
from fairlane.client import AsyncClient, Status
from fairlane.demo.measures import Sample, rate
from fairlane.demo.parties import PARTIES
from fairlane.demo.view import DemoProgress, PartyRow, View

STATUS_SECONDS = 0.1
RECOUNT_SECONDS = 0.5


class Watcher:
    """Collects and shows samples and recounts until all submitted tasks have ended."""

    def __init__(
        self, *, clients: Mapping[str, AsyncClient], admin: Admin, totals: Mapping[str, int], view: View
    ) -> None:
        self.samples: list[Sample] = []
        self.progress = asyncio.Event()
        """Set once a task has ended."""
        self.recounts = 0
        self.drifts: list[dict[str, object]] = []
        self.submitted = dict.fromkeys(totals, 0)
        """The submitting task increases it after each accepted task."""
        self._clients = clients
        self._admin = admin
        self._totals = totals
        self._view = view
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return how long it has been watching."""
        return time.monotonic() - self._started

    async def watch(self) -> None:
        """Watch until all tasks have ended; the caller bounds how long."""
        async with asyncio.TaskGroup() as group:
            recounting = group.create_task(self._recount_for_ever())
            while not self._finished():
                await self._sample()
                self._view.show(self._progress())
                await asyncio.sleep(STATUS_SECONDS)
            recounting.cancel()
        await self._recount()
        self._view.show(self._progress())

    async def _sample(self) -> None:
        # Copied before the request: then a submitted task that the status no longer counts has certainly ended.
        submitted = dict(self.submitted)
        answers = await asyncio.gather(*(client.status() for client in self._clients.values()))
        statuses = dict(zip(self._clients, answers, strict=True))
        done = {
            name: max(0, submitted[name] - status.queued_tasks - status.processing_tasks)
            for name, status in statuses.items()
        }
        self.samples.append(Sample(at=time.time_ns() // 1_000_000, statuses=statuses, done=done))
        if any(done.values()):
            self.progress.set()

    async def _recount_for_ever(self) -> None:
        while True:
            await self._recount()
            await asyncio.sleep(RECOUNT_SECONDS)

    async def _recount(self) -> None:
        answer = await self._admin.ask("GET", "drift")
        self.recounts += 1
        self.drifts += answer["drift"]

    def _finished(self) -> bool:
        if self.submitted != self._totals or not self.samples:
            return False
        return self.samples[-1].done == self._totals

    def _progress(self) -> DemoProgress:
        latest = self.samples[-1]
        rows = [self._row(party.name, party.weight, latest.statuses[party.name]) for party in PARTIES]
        return DemoProgress(seconds=self.seconds, rows=rows, recounts=self.recounts, drifts=len(self.drifts))

    def _row(self, name: str, weight: int, status: Status) -> PartyRow:
        return PartyRow(
            name=name,
            weight=weight,
            queued=status.queued_tasks,
            processing=status.processing_tasks,
            used=None if status.concurrency is None else status.concurrency.used,
            limit=None if status.concurrency is None else status.concurrency.max,
            done=self.samples[-1].done[name],
            total=self._totals[name],
            rate=rate(name, self.samples),
        )
