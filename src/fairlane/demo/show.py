"""Work that goes on after the proof, so that there is something to see in the dashboard until Ctrl-C.

The tasks mostly pause, so that they take little of the machine. Both queues stay short.
"""

import asyncio
import random
from collections.abc import Mapping
from itertools import count

from fairlane.client import AsyncClient, ClientError
from fairlane.demo.parties import ACME, GLOBEX
from fairlane.demo.sources import SourceFile

FEED_SECONDS = 1.0
QUEUED_LEAST = 12
"""While fewer tasks of the first organization wait, it submits more: so its limit is always reached."""
WAVE = 8
BURST, BURST_EVERY = 12, 20
"""The other organization submits this many tasks, after this many rounds: between them the first one has the workers
to itself, and does not exceed its slots."""
FAILS_EVERY = 9
MISSING = "a_file_that_is_not_there.py"


async def show(clients: Mapping[str, AsyncClient], files: list[SourceFile]) -> None:
    """Submit tasks until this is canceled."""
    chosen = random.Random(7)  # noqa: S311 - no secret
    numbers = count()  # the first task fails
    for round_number in count():
        try:
            if (await clients[ACME.name].status()).queued_tasks < QUEUED_LEAST:
                await _submit(clients[ACME.name], WAVE, files, chosen, numbers)
            if round_number % BURST_EVERY == 0:
                await _submit(clients[GLOBEX.name], BURST, files, chosen, numbers)
        except ClientError:
            pass  # the server ends, or is being looked at in a debugger: the next round tries again
        await asyncio.sleep(FEED_SECONDS)


async def _submit(
    client: AsyncClient, most: int, files: list[SourceFile], chosen: random.Random, numbers: "count[int]"
) -> None:
    """Submit tasks of several priorities; now and then one that will fail."""
    for _ in range(most):
        fails = next(numbers) % FAILS_EVERY == 0
        path = MISSING if fails else chosen.choice(files).path
        await client.submit("READ_SLOWLY", {"path": path}, priority=10 if fails else chosen.choice((1, 1, 5, 10)))
