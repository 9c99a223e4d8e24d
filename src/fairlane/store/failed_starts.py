"""Starts of workers that failed: why, since when and how often, by the machine and the application.

Supervisors report them, because a worker that cannot start has no session. What is not reported again is forgotten.
"""

from fairlane.model.fleet import FailedStart
from fairlane.model.leases import FailedStartReport
from fairlane.store.noun import Noun
from fairlane.store.statements import CHUNK, Operation, Row, clock, rows, run
from fairlane.store.transaction import Transaction

SHOWN_MS = 15 * 60_000
"""How long after its last report a failed start counts as one that still happens: programs that restart workers pause
for up to five minutes."""
KEPT_MOST = 1_000
"""The most machines and applications that are kept."""


class FailedStartRow(Row, frozen=True):
    """The failed starts of one application on one machine."""

    key: str | None
    host: str
    application: str
    cause: str
    version: str
    failures: int
    first_at: int
    last_at: int


class FailedStartStore(Noun):
    """Workers that cannot start."""

    async def report(self, report: FailedStartReport) -> None:
        """Count failed starts.

        The report that was counted last for its key, host and application counts 0 when it comes again. A report that
        is older than the registration of a worker of the same supervisor is dropped.
        """
        await self._write(_report, report)

    async def all(self) -> tuple[FailedStart, ...]:
        """Return the failed starts of the last quarter of an hour, the longest lasting first."""
        return await self._database.read(find_failed_starts())

    async def purge(self) -> int:
        """Delete what was not reported again; return how many rows."""
        return await self._write(_purge)


def _report(transaction: Transaction, report: FailedStartReport) -> Operation[None]:
    now = yield from transaction.read_clock()
    yield from _forget_old(now)
    yield from run(
        "upsert_failed_start",
        key_id=report.key_id or "",
        host=report.host,
        application=report.application,
        cause=report.cause,
        version=report.version,
        failures=report.failures,
        supervisor=report.supervisor,
        report=report.number,
        now=now,
    )


def _purge(transaction: Transaction) -> Operation[int]:
    return (yield from _forget_old((yield from transaction.read_clock())))


def _forget_old(now: int) -> Operation[int]:
    old = yield from rows("delete_old_failed_starts", into=str, before=now - SHOWN_MS, kept=KEPT_MOST - 1, most=CHUNK)
    return len(old)


def forget_failed_starts(key_id: str | None, host: str, application: str) -> Operation[None]:
    """Forget the failed starts of an application on a machine, because one of its workers registers."""
    yield from run("delete_failed_start", key_id=key_id or "", host=host, application=application)


def find_failed_starts() -> Operation[tuple[FailedStart, ...]]:
    """Read the failed starts that still happen, the longest lasting first."""
    now = yield from clock()
    found = yield from rows("find_failed_starts", into=FailedStartRow, since=now - SHOWN_MS)
    return tuple([row.to(FailedStart) for row in found])
