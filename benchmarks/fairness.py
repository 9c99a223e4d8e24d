"""How far an organization falls behind its share of the workers, against the bound that the documentation states.

Organizations with different weights always have work. A worker takes what its places allow, holds it for a while and
settles it with the next exchange. No HTTP.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from benchmarks.app import app
from benchmarks.filling import Party, fill
from benchmarks.homes import Database, Home
from benchmarks.scenario import Figures, Scale
from fairlane.model.leases import Completed, Exchange, Lease, LossReason, NewSession, Report
from fairlane.rules.fairness import expected_ms, next_estimate
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.store import new_id

WEIGHTS = (1, 1, 2, 4)
PLACES = 5
"""Not a multiple of the sum of the weights, so that no round can be shared exactly."""
SLOTS = 100
HELD_SECONDS = (0.005, 0.03)
"""How long the tasks of one exchange are held: between these."""
WARM_UP = 10
"""Exchanges until the estimate of the type is right: before any attempt ended, it is a second."""
SESSION_MS = 600_000


@dataclass
class Share:
    """What one organization got."""

    weight: int
    service_ms: float = 0.0
    """The true durations of what ended, and the estimates of what runs."""
    errors_ms: float = 0.0
    """How far estimates of what ended since its last start were wrong."""

    @property
    def share_ms(self) -> float:
        """Return its service divided by its weight."""
        return self.service_ms / self.weight


@dataclass
class Sharing:
    """All organizations, and the largest lag so far. The store's own clock measures."""

    shares: dict[str, Share]
    running: Sequence[Lease] = ()
    estimate_ms: float | None = None
    quantum_ms: float = 0.0
    lag_ms: float = 0.0
    of_bound: float = 0.0

    def exchanged(self, leases: Sequence[Lease]) -> None:
        """Count what ended with an exchange, and then what it started, at one moment."""
        for lease in self.running:
            took_ms = leases[0].started_at - lease.started_at
            one = self.shares[lease.organization]
            one.service_ms += took_ms - self.quantum_ms
            one.errors_ms += abs(took_ms - self.quantum_ms)
            self.estimate_ms = next_estimate(self.estimate_ms, took_ms)
        self.running = leases
        self.quantum_ms = expected_ms(self.estimate_ms)
        for lease in leases:
            one = self.shares[lease.organization]
            one.service_ms += self.quantum_ms
            one.errors_ms = 0.0

    def compare(self) -> None:
        """Compare each two organizations."""
        for one, other in combinations(self.shares.values(), 2):
            lag_ms = abs(one.share_ms - other.share_ms)
            errors_ms = one.errors_ms / one.weight + other.errors_ms / other.weight
            bound_ms = 2 * self.quantum_ms / min(one.weight, other.weight) + errors_ms
            self.lag_ms = max(self.lag_ms, lag_ms)
            self.of_bound = max(self.of_bound, lag_ms / bound_ms)


class Fairness:
    """One database for all rounds; the queues shrink a little in each."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._database = home.database("fairness")
        self._scale = scale

    def prepare(self) -> None:
        """Make organizations with long queues."""
        each = self._scale.fair_claims * PLACES * 10
        fill(
            self._database,
            [
                Party(f"weight-{weight}-{number}", slots=SLOTS, queued=each, weight=weight)
                for number, weight in enumerate(WEIGHTS)
            ],
        )

    def measure(self, turn: int) -> Figures:
        """Share one worker's places."""
        sharing = asyncio.run(_shared(self._database, self._scale.fair_claims))
        return {
            "fairness.lag_ms": sharing.lag_ms,
            "fairness.quantum_ms": sharing.quantum_ms,
            "fairness.of_bound": sharing.of_bound,
        }


async def _shared(database: Database, count: int) -> Sharing:
    store = await Store.open(Settings(database=database.address), app.catalogue)
    chance = random.Random(1)
    sharing = Sharing({f"weight-{weight}-{number}": Share(weight) for number, weight in enumerate(WEIGHTS)})
    try:
        session = NewSession(
            id=new_id(), name="bench", types=("NOOP",), places=PLACES, local=False, lease_ms=SESSION_MS
        )
        await store.sessions.open(session)
        reports: tuple[Report, ...] = ()
        for number in range(WARM_UP + count):
            reply = await store.leases.exchange(
                Exchange(session_id=session.id, id=new_id(), places=PLACES, reports=reports)
            )
            if len(reply.leases) < PLACES:
                raise RuntimeError("fairness: the queue ran dry")
            sharing.exchanged(reply.leases)
            if number >= WARM_UP:
                sharing.compare()
            await asyncio.sleep(chance.uniform(*HELD_SECONDS))
            reports = tuple(Report(lease.id, Completed("{}")) for lease in reply.leases)
        await store.leases.exchange(Exchange(session_id=session.id, id=new_id(), places=0, reports=reports))
        await store.sessions.end(session.id, reason=LossReason.DRAINED)
    finally:
        await store.close()
    return sharing
