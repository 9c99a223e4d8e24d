"""A server in miniature for crash tests: submits without end and prints the id of each task once it is acknowledged.

    python crash_writer.py DATABASE [early]

``early`` is the control, on SQLite: this one acknowledges before it commits, and is stopped between the two.
"""

import asyncio
import sys
import threading
from functools import partial
from typing import Any, NoReturn

from fairlane.model.organizations import Overrides
from fairlane.model.tasks import Accepted
from fairlane.settings import Settings
from fairlane.store import Store
from fairlane.store.effects import Effects
from fairlane.store.sqlite import SqliteDatabase
from tests.builders import a_catalogue, a_task
from tests.store.databases import adapter_of

SENDERS = 8


async def send(store: Store, organization_id: int) -> None:
    """Submit task after task."""
    while True:
        task = a_task()
        (answer,) = await store.tasks.submit(organization_id, [task])
        assert isinstance(answer, Accepted)
        print(task.id, flush=True)


def acknowledge_before_the_commit(database: SqliteDatabase, requests: list[Any]) -> NoReturn:
    """What the store would do if it answered while its transaction is still open; and it never gets further."""
    database.writer.connection.execute("BEGIN IMMEDIATE")
    answers = [
        database.statements.run(database.writer.connection, request.operation(Effects(), [request.member]))[0]
        for request in requests
    ]
    batches = database._batches
    batches._loop.call_soon_threadsafe(batches._deliver, list(zip(requests, answers, strict=True)), None)
    threading.Event().wait()
    raise AssertionError


async def main() -> None:
    """Serve nobody, write for ever."""
    store = await Store.open(Settings(database=sys.argv[1]), a_catalogue())
    organization = await store.organizations.create(
        "acme", plan="default", overrides=Overrides(queue_limit=10**9), actor="a test"
    )
    if sys.argv[2:] == ["early"]:
        database = adapter_of(store)
        database._batches._transact = partial(acknowledge_before_the_commit, database)
    await asyncio.gather(*(send(store, organization.id) for _ in range(SENDERS)))


asyncio.run(main())
