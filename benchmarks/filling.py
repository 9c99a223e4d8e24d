"""Databases with organizations, keys and queued tasks, made through the store itself: no SQL of our own here."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

import uuid_utils

from benchmarks.app import app
from fairlane.model import Accepted, NewTask, OrganizationChange, Overrides
from fairlane.settings import Settings
from fairlane.store import Store

CHUNK = 500
QUEUE_LIMIT = 10_000_000
ACTOR = "benchmark"


@dataclass(frozen=True)
class Party:
    """One organization of a benchmark."""

    name: str
    slots: int
    queued: int = 0
    paused: bool = False

    @property
    def key(self) -> str:
        """Its Bearer secret; not very secret."""
        return "sk_bench_" + hashlib.sha256(self.name.encode()).hexdigest()[:32]


def fill(database: Path, parties: list[Party], *, task_type: str = "NOOP") -> None:
    """Make a database with these organizations and their queues."""
    asyncio.run(_fill(database, parties, task_type))


async def _fill(database: Path, parties: list[Party], task_type: str) -> None:
    store = await Store.open(Settings(database=f"sqlite:///{database}"), app.catalogue)
    try:
        for party in parties:
            await _add(store, party, task_type)
    finally:
        await store.close()


async def _add(store: Store, party: Party, task_type: str) -> None:
    overrides = Overrides(slots=party.slots, queue_limit=QUEUE_LIMIT)
    organization = await store.create_organization(party.name, plan="default", overrides=overrides, actor=ACTOR)
    digest = hashlib.sha256(party.key.encode()).hexdigest()
    await store.create_key(party.name, name=None, digest=digest, last4=party.key[-4:], actor=ACTOR)
    if party.paused:
        await store.change_organization(party.name, changes=OrganizationChange(paused=True), actor=ACTOR)
    for start in range(0, party.queued, CHUNK):
        tasks = [_new_task(task_type) for _ in range(min(CHUNK, party.queued - start))]
        answers = await store.submit(organization.id, tasks)
        assert all(isinstance(answer, Accepted) for answer in answers), answers


def _new_task(task_type: str) -> NewTask:
    return NewTask(id=str(uuid_utils.uuid7()), task_type=task_type, payload='{"prompt":"a payload of usual size"}')
