"""``python -m tests.proof.clocks``: clocks that jump, drift and stand still, around the real store and sweeper.

A scenario is made from a seed. True time passes in steps, without sleeping; the database's clock, each server's own
clock and each server's steady clock follow it, until they are set, drift, or stand still. Servers and workers are
suspended alone and together. A wrong clock may delay or repeat an attempt; it may break no count and end no worker
that renews.
"""

import argparse
import asyncio
import contextlib
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairlane.errors import SessionGone, TaskEnded
from fairlane.model.leases import Failed, Lease, Report
from fairlane.model.tasks import TaskStatus
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.sweeper import Sweeper
from tests.builders import DONE, Worker, a_session, a_task, an_organization
from tests.store.databases import DATABASES, Clock

LEASE_SECONDS, RENEW_SECONDS, SWEEP_SECONDS = 30.0, 10.0, 5.0
STEPS = 120
EVENTS = 6
HOUR = 3_600_000
WORKERS = 3
PLACES = 2
ORGANIZATIONS = 3
SLOTS = 2
RENEWED_MS = 18_000
"""A worker may not be taken for dead before it could have renewed for this long and did not."""
DRAIN_STEPS = 400
AGAIN = Failed(cause="it broke", pause_ms=5_000)
DEAF = 2
"""Scenarios of the control."""
ENDED = (TaskStatus.COMPLETED, TaskStatus.FAILED)


@dataclass
class Server:
    """A server: its store, its sweeper, and its clocks."""

    store: Store
    sweeper: Sweeper = field(init=False)
    steady_ms: float = 0.0
    skew_ms: int = 0
    """How far its own clock is from the database's, until it reads the database's the next time."""
    suspended_until: float = 0.0
    steady_stops: bool = False
    """Its steady clock stands still while it is suspended, as in the sleep of a whole machine."""
    sweep_at: float = 0.0


@dataclass
class Hand:
    """A worker process."""

    worker: Worker
    renewed_at: float
    renewed_served: float = 0.0
    suspended_until: float = 0.0
    running: dict[str, tuple[Lease, float]] = field(default_factory=dict)
    """Attempts by lease, and when each ends."""


class Scenario:
    """One seed on one database."""

    def __init__(self, seed: int, *, deaf: bool = False) -> None:
        """``deaf``: servers do not notice that the clock was set, which the scenario must find."""
        self._deaf = deaf
        self.chance = random.Random(seed)
        self.clock = Clock()
        self._base = float(self.clock.at)
        self.now = 0.0
        """True time, in milliseconds."""
        self.served = 0.0
        """The part of it during which a server was not suspended."""
        self._ahead = 0.0
        self._rate = 1.0
        self.events: list[str] = []
        self.problems: list[str] = []
        self.servers: list[Server] = []
        self.hands: list[Hand] = []
        self.accepted: dict[str, int] = {}
        """Acknowledged tasks, and their organizations."""
        self.repeated = 0

    # Time ------------------------------------------------------------------------------------------------------------

    def pass_time(self, ms: float) -> None:
        """Let true time pass, and every clock follow it in its own way."""
        if any(one.suspended_until <= self.now for one in self.servers):
            self.served += ms
        self.now += ms
        self._ahead += ms * (self._rate - 1)
        self.clock.at = round(self._base + self.now + self._ahead)
        for server in self.servers:
            if not (server.steady_stops and server.suspended_until > self.now):
                server.steady_ms += ms

    def strike(self) -> None:
        """Do something to a clock, or suspend some processes."""
        kinds = ("jump", "jump", "leap", "drift", "skew", "server", "servers", "worker", "machine", "all")
        kind = "jump" if self._deaf else self.chance.choice(kinds)
        how_long = self.chance.choice((8, 25, 45, 90)) * 1_000.0
        match kind:
            case "jump" | "leap":
                by = self.chance.choice((-HOUR, HOUR, -90_000, 90_000) if kind == "jump" else (-2_000, 2_000))
                by = HOUR if self._deaf else by
                self._ahead += by
                self.events.append(f"the database's clock is set by {by / 1000:.0f} s")
            case "drift":
                self._rate = self.chance.choice((0.99, 1.01))
                self.events.append(f"the database's clock runs at {self._rate}")
            case "skew":
                server = self.chance.choice(self.servers)
                server.skew_ms = self.chance.choice((-HOUR, HOUR, -2_000, 0))
                self.events.append(f"a server's clock is {server.skew_ms / 1000:.0f} s ahead")
            case "worker":
                self.chance.choice(self.hands).suspended_until = self.now + how_long
                self.events.append(f"a worker is suspended for {how_long / 1000:.0f} s")
            case _:
                chosen = [self.chance.choice(self.servers)] if kind == "server" else self.servers
                for server in chosen:
                    server.suspended_until = self.now + how_long
                    server.steady_stops = kind == "machine"
                if kind in ("machine", "all"):
                    for hand in self.hands:
                        hand.suspended_until = self.now + how_long
                self.events.append(f"{kind}: {len(chosen)} servers are suspended for {how_long / 1000:.0f} s")
        self.pass_time(0)

    # What processes do -----------------------------------------------------------------------------------------------

    def awake(self) -> list[Server]:
        """Return the servers that are not suspended."""
        return [one for one in self.servers if one.suspended_until <= self.now]

    async def work(self, hand: Hand, *, submits: bool) -> None:
        """Let a worker renew, report what has ended, and claim."""
        servers = self.awake()
        if hand.suspended_until > self.now or not servers:
            return
        hand.worker.store = self.chance.choice(servers).store
        ended = [lease for lease, ends_at in hand.running.values() if ends_at <= self.now]
        try:
            if self.now - hand.renewed_at >= RENEW_SECONDS * 1_000:
                await hand.worker.renew(leases=list(hand.running))
                hand.renewed_at, hand.renewed_served = self.now, self.served
            free = PLACES - len(hand.running) + len(ended)
            ending = AGAIN if self.chance.random() < 0.1 else DONE
            exchange = hand.worker.asks(*(Report(one.id, ending) for one in ended), places=free)
            reply = await hand.worker.store.leases.exchange(exchange)
            if self.chance.random() < 0.1:  # the answer was lost
                reply = await hand.worker.store.leases.exchange(exchange)
        except SessionGone:
            silent = self.served - hand.renewed_served
            if silent < RENEWED_MS:
                self.problems.append(
                    f"a worker was taken for dead that could have renewed for {silent / 1000:.0f} s of "
                    f"{(self.now - hand.renewed_at) / 1000:.0f}"
                )
            hand.worker = await self._register(servers[0].store)
            hand.renewed_at, hand.renewed_served = self.now, self.served
            hand.running.clear()
            return
        for lease in ended:
            del hand.running[lease.id]
        for lease in reply.leases:
            self.repeated += lease.attempt > 1
            hand.running[lease.id] = (lease, self.now + self.chance.choice((500, 3_000, 20_000)))

    async def _register(self, store: Store) -> Worker:
        session = a_session(places=PLACES, lease_seconds=LEASE_SECONDS)
        await store.sessions.open(session)
        return Worker(store, session)

    async def upkeep(self) -> None:
        """Let each server do what its loops do."""
        for server in self.awake():
            due_at = await server.store.upkeep.next_due_at()
            if due_at is not None and due_at <= server.store.now():
                await server.store.upkeep.promote()
            if self.now >= server.sweep_at:
                await server.sweeper.sweep_once()
                server.skew_ms = 0
                server.sweep_at = self.now + SWEEP_SECONDS * 1_000

    async def customers(self) -> None:
        """Submit some tasks, and cancel one now and then."""
        servers = self.awake()
        if not servers:
            return
        store = self.chance.choice(servers).store
        organization = self.chance.choice(self.organizations)
        tasks = [a_task() for _ in range(self.chance.randint(0, 2))]
        if tasks:
            await store.tasks.submit(organization, tasks)
            self.accepted |= {one.id: organization for one in tasks}
        if self.accepted and self.chance.random() < 0.05:
            task_id = self.chance.choice(list(self.accepted))
            with contextlib.suppress(TaskEnded):
                await store.tasks.cancel(self.accepted[task_id], task_id)

    async def check(self) -> None:
        """Compare counts with rows, and the slots with their limit."""
        store = self.servers[0].store
        drift = await store.recount.find()
        if drift:
            self.problems.append(f"counts drifted: {drift}")
        for organization in self.organizations:
            status = await store.tasks.status(organization)
            if status.processing > SLOTS:
                self.problems.append(f"{status.processing} of {SLOTS} slots are taken")

    # The scenario ----------------------------------------------------------------------------------------------------

    async def run(self, database: Any, count: int) -> None:
        """Run this number of servers on this database."""
        settings = {
            "lease_seconds": LEASE_SECONDS,
            "renew_seconds": RENEW_SECONDS,
            "sweep_seconds": SWEEP_SECONDS,
            "retention_seconds": 10 * 86_400,
        }
        for _ in range(count):
            server = Server(await database.open(**settings))
            chosen = Settings(database=database.address, **settings)  # type: ignore[arg-type]
            server.store.now = self._estimate(server)
            if self._deaf:
                server.store.jumps.follow = _hear_nothing  # type: ignore[method-assign]
            server.sweeper = Sweeper(server.store, chosen, {}, steady_clock=self._steady(server))
            self.servers.append(server)
        store = self.servers[0].store
        self.organizations = [(await an_organization(store, slots=SLOTS)).id for _ in range(ORGANIZATIONS)]
        self.hands = [Hand(await self._register(store), self.now) for _ in range(WORKERS)]
        strikes = sorted(self.chance.sample(range(10, STEPS), EVENTS))
        for step in range(STEPS):
            if step in strikes:
                self.strike()
            await self._step(submits=True)
            if step % 10 == 0 or step in strikes:
                await self.check()
        await self._drain()

    async def _step(self, *, submits: bool) -> None:
        self.pass_time(self.chance.choice((100, 1_000, 2_000, 4_000)))
        if submits:
            await self.customers()
        parties: list[Callable[[], Any]] = [self.upkeep]
        parties += [lambda hand=hand: self.work(hand, submits=submits) for hand in self.hands]  # type: ignore[misc]
        self.chance.shuffle(parties)
        for party in parties:
            await party()

    async def _drain(self) -> None:
        """Let everything run to its end; then compare what was acknowledged with the rows."""
        store, left = self.servers[0].store, dict(self.accepted)
        for _ in range(DRAIN_STEPS):
            await self._step(submits=False)
            for task, organization in list(left.items()):
                view = await store.tasks.find(organization, task)
                if view is None or view.status not in ENDED:
                    break  # the others are looked at once this one has ended
                del left[task]
            if not left:
                break
        else:
            self.problems.append(f"{len(left)} of {len(self.accepted)} tasks did not end")
        await self.check()

    def _estimate(self, server: Server) -> Callable[[], int]:
        return lambda: self.clock.at + server.skew_ms

    def _steady(self, server: Server) -> Callable[[], float]:
        return lambda: server.steady_ms / 1_000


async def _hear_nothing(steady_clock: Callable[[], float]) -> int:
    return 0


async def one(kind: str, seed: int, *, deaf: bool = False) -> Scenario:
    """Run one seed on a database of this kind."""
    scenario = Scenario(seed, deaf=deaf)
    with tempfile.TemporaryDirectory(prefix="fairlane-clocks-", dir="/tmp") as folder:
        database = DATABASES[kind](Path(folder), scenario.clock)
        try:
            await scenario.run(database, 1 if kind == "sqlite" else 2)
        finally:
            await database.close()
            database.forget()
    return scenario


def main() -> int:
    """Run the seeds on both databases, print a table; return 0 if all held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=50, help="scenarios on each database")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--database", choices=sorted(DATABASES), help="only this one")
    chosen = parser.parse_args()
    logging.getLogger("fairlane").addHandler(logging.NullHandler())
    broken = 0
    for kind in [chosen.database] if chosen.database else sorted(DATABASES):
        began = time.monotonic()
        scenarios = {seed: asyncio.run(one(kind, seed)) for seed in range(chosen.seed, chosen.seed + chosen.count)}
        found = scenarios.values()
        print(
            f"clocks on {kind}: {len(found)} scenarios, {sum(len(one.events) for one in found)} events, "
            f"{sum(one.now for one in found) / HOUR:.1f} hours, {sum(len(one.accepted) for one in found)} tasks, "
            f"{sum(one.repeated for one in found)} attempts repeated, "
            f"{sum(bool(one.problems) for one in found)} scenarios broken, {time.monotonic() - began:.0f} s"
        )
        for seed, scenario in scenarios.items():
            if scenario.problems:
                broken += 1
                print(f"  seed {seed}", *scenario.events, *scenario.problems[:5], sep="\n      ")
    deaf = [asyncio.run(one("sqlite", seed, deaf=True)) for seed in range(DEAF)]
    caught = sum(bool(one.problems) for one in deaf)
    print(f"  control, servers that do not notice jumps: {caught} of {DEAF} scenarios broken")
    return bool(broken) or not caught


if __name__ == "__main__":
    sys.exit(main())
