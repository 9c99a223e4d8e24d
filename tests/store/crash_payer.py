"""A server in miniature for crash tests: submits and settles without end, and prints each task that it completed.

    python crash_payer.py DATABASE

Each task costs COST of an organization whose credits are counted; every third attempt fails and is made again.
"""

import asyncio
import sys
from typing import Any

from fairlane.model.leases import Completed, Failed, Report, ReportVerdict
from fairlane.model.organizations import Overrides
from fairlane.settings import Settings
from fairlane.store import Store
from tests.builders import Worker, a_catalogue, a_session, a_task

COST = 7
GRANTED = 10**9
ENDINGS: list[Any] = [Completed("{}"), Completed("{}"), Failed(cause="a test", pause_ms=0)]


async def work(store: Store, organization_id: int) -> None:
    """One worker that is its own customer."""
    worker = Worker(store, a_session(places=5))
    await store.sessions.open(worker.session)
    number = 0
    while True:
        await store.tasks.submit(organization_id, [a_task(cost=COST) for _ in range(5)])
        leases = (await worker.exchange(places=5)).leases
        endings = [ENDINGS[(number := number + 1) % len(ENDINGS)] for _ in leases]
        reports = [Report(lease.id, ending) for lease, ending in zip(leases, endings, strict=True)]
        reply = await worker.exchange(*reports, *reports)
        for lease, ending, verdict in zip(leases, endings, reply.verdicts, strict=False):
            if isinstance(ending, Completed) and verdict is ReportVerdict.ACCEPTED:
                print(lease.task_id, flush=True)


async def main() -> None:
    """Serve nobody, pay for ever."""
    store = await Store.open(Settings(database=sys.argv[1]), a_catalogue())
    made = await store.organizations.create(
        "acme", plan="default", overrides=Overrides(slots=20, queue_limit=10**9), credits=True, actor="a test"
    )
    await store.credits.grant("acme", grant_id="all", amount=GRANTED, reason="test", actor="a test")
    await asyncio.gather(*(work(store, made.id) for _ in range(4)))


asyncio.run(main())
