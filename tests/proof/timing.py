"""What an answer's time tells: pairs of requests that must look alike are timed in turns, without a network.

The time is the processor time of the thread that answers, so other programs on the machine do not count. For each pair
the difference of the two means is tested by Welch's t, the slowest twentieth left out. Beyond 4.5 (a chance of one in
150,000 if there were none) a difference is real; then its size decides: one of less than a tenth of the spread of a
single request is far below what a network adds.

    python -m tests.proof.timing 20000     samples of each request of a pair
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import mean, median, stdev
from typing import Any

from fairlane import Fairlane
from fairlane.api.callers import Callers
from fairlane.api.customers import customer_part, customer_surface
from fairlane.api.keys import key_digest, new_key
from fairlane.api.lists import ReferenceLists
from fairlane.api.serving import Serving
from fairlane.model.keys import KeyKind
from fairlane.model.leases import Completed
from fairlane.settings import Settings
from fairlane.store import Store, new_id
from tests.builders import ACTOR, a_worker, an_organization, submitted

T_MOST = 4.5
SHARE_MOST = 0.1
"""A real difference may be this share of the spread of a single request."""
RESULT_BYTES = 8_192
"""Of the control's task: large enough that a noisy machine does not hide the time that its answer takes."""


class Pair:
    """Two requests that a stranger must not be able to tell apart by their times."""

    def __init__(self, name: str, one: tuple[str, str], other: tuple[str, str]) -> None:
        self.name = name
        self.sides = one, other
        """Path and Authorization of each."""
        self.seconds: tuple[list[float], list[float]] = [], []


async def pairs(store: Store) -> list[Pair]:
    """Return the pairs, with what they need."""
    ours, theirs = await an_organization(store), await an_organization(store)
    key, revoked, unknown = (new_key(KeyKind.ORGANIZATION) for _ in range(3))
    for value in (key, revoked):
        made = await store.keys.create(ours.name, name=None, digest=key_digest(value), last4=value[-4:], actor=ACTOR)
    await store.keys.revoke(made.id, actor=ACTOR)
    [mine] = await submitted(store, ours)
    worker = await a_worker(store)
    await worker.settle(await worker.take_one(), Completed(f'{{"text":"{"x" * RESULT_BYTES}"}}'))
    [foreign] = await submitted(store, theirs)
    status, task = "/v1/async/status", "/v1/async/task"
    return [
        Pair("an unknown key and a revoked one", (status, unknown), (status, revoked)),
        Pair("an unknown task and a foreign one", (f"{task}/{new_id()}", key), (f"{task}/{foreign}", key)),
        Pair(
            "the control: an unknown task, an ended one",
            (f"{task}/{new_id()}", key),
            (f"{task}/{mine}", key),
        ),
    ]


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Store, Any]]:
    """A store in a file of its own, and the application that customers reach."""
    app = Fairlane()

    @app.task("PAGE")
    def page(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database=f"sqlite:///{folder}/fairlane.db", rate_limit=10**9)
        store = await Store.open(settings, app.catalogue)
        serving = Serving(
            store=store,
            settings=settings,
            task_types=app.task_types,
            webhook_host=lambda url, field: "",
            lists=ReferenceLists(),
        )
        yield store, customer_surface(serving, customer_part(serving, Callers(store, settings)))
        await store.close()


async def measure(surface: Any, compared: list[Pair], samples: int) -> None:
    """Time all requests in turns, in random order, so that whatever else the machine does meets all alike."""
    chance = random.Random(1)
    sides = [(pair, side) for pair in compared for side in (0, 1)]
    for number in range(samples + 200):
        chance.shuffle(sides)
        for pair, side in sides:
            path, key = pair.sides[side]
            began = time.thread_time()
            await _ask(surface, path, key)
            took = time.thread_time() - began
            if number >= 200:
                pair.seconds[side].append(took)


async def _ask(surface: Any, path: str, key: str) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        pass

    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"fairlane.test"), (b"authorization", f"Bearer {key}".encode())],
    }  # fmt: skip
    await surface(scope, receive, send)


def compare(pair: Pair) -> tuple[float, float, float]:
    """Return Welch's t, the difference of the means in µs, and the spread of one request in µs."""
    one, other = (sorted(side)[: len(side) * 19 // 20] for side in pair.seconds)
    variance = stdev(one) ** 2 / len(one) + stdev(other) ** 2 / len(other)
    difference = mean(one) - mean(other)
    return difference / variance**0.5, difference * 1e6, max(stdev(one), stdev(other)) * 1e6


async def compare_all(samples: int) -> list[Pair]:
    """Return the pairs with the times of this many requests of each side."""
    async with served() as (store, surface):
        compared = await pairs(store)
        await measure(surface, compared, samples)
    return compared


def main() -> int:
    """Measure; return 0 if no pair can be told apart and the control can."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", nargs="?", type=int, default=20_000)
    samples = parser.parse_args().samples
    held = True
    compared = asyncio.run(compare_all(samples))
    print(f"{'':<48}{'median µs':>12}{'other':>10}{'t':>9}{'apart µs':>10}{'spread µs':>11}")
    for pair in compared:
        t, difference, spread = compare(pair)
        seen = abs(t) > T_MOST and abs(difference) > SHARE_MOST * spread
        good = seen if pair.name.startswith("the control") else not seen
        held &= good
        one, other = (median(side) * 1e6 for side in pair.seconds)
        word = "ok" if good else "BROKEN"
        print(f"{word:<8}{pair.name:<44}{one:>8.1f}{other:>10.1f}{t:>9.1f}{difference:>10.2f}{spread:>11.1f}")
    print("1 passed" if held else "1 failed")
    return not held


if __name__ == "__main__":
    sys.exit(main())
