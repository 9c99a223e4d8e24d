"""``fairlane submit --file``: turns a file of payloads into tasks, and optionally fetches a file of results.

Two activities run at once: batches are submitted, and outcomes are fetched in the order of the file, never more than a
bounded number of lines behind. So memory does not grow with the file.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from msgspec import Raw, Struct

from fairlane.cli.lines import InputLine, LineKeys, Results, fault_of, read_lines
from fairlane.cli.output import note
from fairlane.cli.progress import ProgressBar, SubmitTotals
from fairlane.client import AsyncClient, NewTask, NotFound, Verdict

FETCHERS = 8
FETCHED_BEHIND = 2_000
"""Submitting pauses when this many accepted lines wait for their results."""
REFUSALS_SHOWN = 10


class Wish(Struct, frozen=True, kw_only=True):
    """What to submit, and how."""

    task_type: str
    run: str
    """Part of every key: with another name the same file is submitted again."""
    priority: int | None
    webhook_url: str | None
    keep_queued_below: int | None


class FileSubmission:
    """One run over one file."""

    def __init__(self, client: AsyncClient, wish: Wish, results: Results | None, progress: ProgressBar) -> None:
        self._client = client
        self._wish = wish
        self._results = results
        self._progress = progress
        self._keys = LineKeys(wish.task_type, wish.run)
        self._sent: deque[InputLine] = deque()
        """Lines that wait for their verdict: at most a batch and one."""
        self._accepted: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue(FETCHED_BEHIND)
        self.totals = SubmitTotals()

    async def run(self, file: BinaryIO, name: str) -> SubmitTotals:
        """Submit every line, and fetch every result if there is a file for them."""
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                if self._results is not None:
                    for _ in range(FETCHERS):
                        group.create_task(self._fetch(self._results))
                await self._submit(file, name)
                for _ in range(FETCHERS if self._results is not None else 0):
                    await self._accepted.put(None)
        except BaseExceptionGroup as broken:
            raise broken.exceptions[0] from None  # All fail together, with the same cause.
        self.totals.seconds = time.monotonic() - began
        return self.totals

    async def _submit(self, file: BinaryIO, name: str) -> None:
        tasks = self._tasks(file, name)
        async for verdict in self._client.submit_many(tasks, keep_queued_below=self._wish.keep_queued_below):
            line = self._sent.popleft()
            if verdict.error is not None:
                self._refuse(line, verdict.idempotency_key, verdict.error.code, _reason(verdict), verdict.error.details)
            else:
                self.totals.existed += verdict.existed
                self.totals.submitted += not verdict.existed
                if self._results is not None:
                    await self._accepted.put((line.number, verdict.idempotency_key))
            self._progress.show(line.end, self.totals)

    def _tasks(self, file: BinaryIO, name: str) -> Iterator[NewTask]:
        for line in read_lines(file, name):
            self.totals.lines += 1
            key = self._keys.key(line)
            if self._results is not None and self._results.has(line, key):
                self.totals.earlier += 1
                continue
            fault = fault_of(line)
            if fault is not None:
                self._refuse(line, key, "VALIDATION_ERROR", fault, None)
                continue
            self._sent.append(line)
            yield NewTask(
                task_type=self._wish.task_type,
                payload=Raw(line.text),
                priority=self._wish.priority,
                idempotency_key=key,
                webhook_url=self._wish.webhook_url,
            )

    def _refuse(self, line: InputLine, key: str, code: str, reason: str, details: object) -> None:
        self.totals.refused += 1
        if self.totals.refused <= REFUSALS_SHOWN:
            self._progress.note(f"line {line.number} {reason}")
        elif self.totals.refused == REFUSALS_SHOWN + 1:
            self._progress.note("further refusals are counted, but not shown")
        if self._results is not None:
            self._results.refused(line.number, key, code, reason, details)

    async def _fetch(self, results: Results) -> None:
        while (accepted := await self._accepted.get()) is not None:
            number, key = accepted
            try:
                task = await self._client.wait(key)
            except NotFound:
                # The task ended longer ago than the retention, or the queue was cleared.
                self.totals.failed += 1
                results.refused(number, key, "RESOURCE_NOT_FOUND", "the server has no such task any more", None)
                continue
            if task.status == "COMPLETED":
                self.totals.completed += 1
            else:
                self.totals.failed += 1
            results.ended(number, key, task.id, task.status, task.response)
            self._progress.show(None, self.totals)


async def submit_file(
    client: AsyncClient, wish: Wish, file: BinaryIO, name: str, *, size: int | None, results: Path | None
) -> SubmitTotals:
    """Submit the lines of an open file; ``size`` is None if it is unknown."""
    with ExitStack() as stack:
        kept = None if results is None else stack.enter_context(Results(results))
        if kept is not None and kept.found:
            note(f"{results} has {kept.found} results of an earlier run; they are kept")
        progress = stack.enter_context(ProgressBar(size, fetching=kept is not None))
        return await FileSubmission(client, wish, kept, progress).run(file, name)


def _reason(verdict: Verdict) -> str:
    error = verdict.error
    assert error is not None
    places = error.details.get("errors") if isinstance(error.details, dict) else error.details
    if isinstance(places, list) and places and isinstance(places[0], dict):
        return f"is refused: {places[0].get('field')} {places[0].get('message')}"
    return f"is refused: {error.code}: {error.message}"
