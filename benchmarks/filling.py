"""Databases with organizations, keys and queued tasks, made through the store itself: no SQL of our own here."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import uuid_utils

from benchmarks.app import app
from benchmarks.homes import Database
from fairlane.model.keys import KeyKind
from fairlane.model.organizations import OrganizationChange, Overrides
from fairlane.model.tasks import Accepted, NewTask
from fairlane.settings import Settings
from fairlane.store import Store

CHUNK = 500
QUEUE_LIMIT = 10_000_000
ACTOR = "benchmark"
AT_ONCE = 100
"""Queues that are filled side by side."""
ADMIN_KEY = "ak_bench_" + "0" * 32


@dataclass(frozen=True)
class Party:
    """One organization of a benchmark."""

    name: str
    slots: int
    queued: int = 0
    paused: bool = False
    weight: int | None = None
    """None: that of the plan."""
    task_type: str = "NOOP"
    """Of its tasks."""

    @property
    def key(self) -> str:
        """Its Bearer secret; not very secret."""
        return "sk_bench_" + hashlib.sha256(self.name.encode()).hexdigest()[:32]


def fill(database: Database, parties: Sequence[Party]) -> None:
    """Make the tables, an admin key, and these organizations with their keys and queues."""
    asyncio.run(fill_async(database, parties))


async def fill_async(database: Database, parties: Sequence[Party]) -> None:
    """Do the same on a running event loop."""
    store = await Store.open(Settings(database=database.address), app.catalogue)
    try:
        digest = hashlib.sha256(ADMIN_KEY.encode()).hexdigest()
        await store.keys.create_for_installation(KeyKind.ADMIN, name=ACTOR, digest=digest, last4="0000", actor=ACTOR)
        for start in range(0, len(parties), AT_ONCE):
            await asyncio.gather(*(_add(store, party) for party in parties[start : start + AT_ONCE]))
    finally:
        await store.close()


async def _add(store: Store, party: Party) -> None:
    overrides = Overrides(slots=party.slots, queue_limit=QUEUE_LIMIT, weight=party.weight)
    organization = await store.organizations.create(party.name, plan="default", overrides=overrides, actor=ACTOR)
    digest = hashlib.sha256(party.key.encode()).hexdigest()
    await store.keys.create(party.name, name=None, digest=digest, last4=party.key[-4:], actor=ACTOR)
    if party.paused:
        await store.organizations.change(party.name, changes=OrganizationChange(paused=True), actor=ACTOR)
    for start in range(0, party.queued, CHUNK):
        tasks = [new_task(party.task_type) for _ in range(min(CHUNK, party.queued - start))]
        answers = await store.tasks.submit(organization.id, tasks)
        assert all(isinstance(answer, Accepted) for answer in answers), answers


def new_task(task_type: str) -> NewTask:
    """A task of the benchmark with an id of its own."""
    return NewTask(id=str(uuid_utils.uuid7()), task_type=task_type, payload='{"prompt":"a payload of usual size"}')
