"""How long one claim takes at the store, among 100 and among 10,000 organizations that all have work and free slots.

A claim is what a worker's exchange costs the server: settle ten tasks, pick ten others fairly, commit. No HTTP.
"""

import asyncio
import time
from collections import deque

from benchmarks.app import app
from benchmarks.filling import Party, fill
from benchmarks.homes import Database, Home
from benchmarks.load import percentile
from benchmarks.scenario import Figures, Scale
from benchmarks.status import rotated
from fairlane.model.leases import Completed, Exchange, LossReason, NewSession, Report
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.store import new_id

PLACES = 10
SLOTS = 5
WARM_UP = 20
SESSION_MS = 600_000


class Claimer:
    """A worker without a process: it claims, and says with the next claim that it completed what it got."""

    def __init__(self, store: Store, *, task_type: str = "NOOP") -> None:
        self._store = store
        self._task_type = task_type
        self._session = new_id()
        self._reports: deque[Report] = deque()

    async def open(self) -> None:
        """Register."""
        await self._store.sessions.open(
            NewSession(
                id=self._session,
                name="bench",
                types=(self._task_type,),
                places=PLACES,
                local=False,
                lease_ms=SESSION_MS,
            )
        )

    async def claim(self, places: int = PLACES) -> tuple[float, int]:
        """Milliseconds of one exchange, and how many leases it brought."""
        exchange = Exchange(session_id=self._session, id=new_id(), places=places, reports=tuple(self._reports))
        began_at = time.perf_counter()
        reply = await self._store.leases.exchange(exchange)
        took_ms = (time.perf_counter() - began_at) * 1_000
        self._reports.clear()
        self._reports.extend(Report(lease.id, Completed("{}")) for lease in reply.leases)
        return took_ms, len(reply.leases)

    async def close(self) -> None:
        """Settle what is left, and leave."""
        await self.claim(0)
        await self._store.sessions.end(self._session, reason=LossReason.DRAINED)


class Claims:
    """One database for each number of organizations; the queues shrink a little in each round."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._scale = scale
        self._databases = {count: home.database(f"claims-{count}") for count in scale.organizations}

    def prepare(self) -> None:
        """The same number of tasks, over few organizations and over many."""
        for count, database in self._databases.items():
            each = self._scale.claim_tasks // count
            fill(database, [Party(f"organization-{number}", slots=SLOTS, queued=each) for number in range(count)])

    def measure(self, turn: int) -> Figures:
        """Claim from each."""
        figures: dict[str, float] = {}
        for name in rotated([str(count) for count in self._databases], turn):
            took = asyncio.run(claimed(self._databases[int(name)], self._scale.claims))
            figures[f"claims.{name}.p50_ms"] = percentile(took, 0.50)
            figures[f"claims.{name}.p99_ms"] = percentile(took, 0.99)
        few, many = self._scale.organizations[0], self._scale.organizations[-1]
        figures["claims.many_to_few"] = figures[f"claims.{many}.p99_ms"] / figures[f"claims.{few}.p99_ms"]
        return figures


async def claimed(database: Database, count: int) -> list[float]:
    """How long each of so many claims took."""
    store = await Store.open(Settings(database=database.address), app.catalogue)
    try:
        claimer = Claimer(store)
        await claimer.open()
        took = [await claimer.claim() for _ in range(WARM_UP + count)]
        await claimer.close()
    finally:
        await store.close()
    if any(leases < PLACES for _, leases in took):
        raise RuntimeError("claims: the queue ran dry")
    return [one for one, _ in took[WARM_UP:]]
