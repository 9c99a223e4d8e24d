"""The store thread by itself: in which order requests have their turn, whatever the database is."""

import asyncio
import threading
from typing import Any

import pytest

from fairlane.errors import LocksHeld
from fairlane.store import batching
from fairlane.store.batching import Batches, PendingWrite
from fairlane.store.effects import Effects
from fairlane.store.statements import Operation


def _nothing(_: Effects, __: Any) -> Operation:
    raise AssertionError("transactions of these tests run no operation")


async def test_a_new_request_waits_for_one_try_of_those_that_are_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are held up; and once nothing holds them they are answered, too."""
    monkeypatch.setattr(batching, "HELD_PAUSE_SECONDS", 0.0)
    held = [f"held {number}" for number in range(10)]
    tried: list[str] = []
    came: list[tuple[int, asyncio.Future[Any]]] = []

    def transact(requests: list[PendingWrite]) -> tuple[list[Any], Effects]:
        [request] = requests
        again = set(held) <= set(tried)
        tried.append(request.member)
        if again and not came:
            came.append((len(tried), batches.put(_nothing, "new", weight=1, alone=False)))
        if request.member in held and "new" not in tried:
            raise LocksHeld("somebody holds it")
        return [request.member], Effects()

    batches = Batches(
        transact=transact,
        split=lambda requests: [[one] for one in requests],
        translate=lambda error: error,
        tell=lambda _: None,
        broken=lambda _: None,
    )
    batches.start()

    answered = await asyncio.gather(*(batches.put(_nothing, member, weight=1, alone=False) for member in held))
    await batches.stop()

    [(tries, new)] = came
    assert answered == held
    assert await new == "new"
    assert tried.index("new") == tries


@pytest.mark.parametrize(("weight", "sizes"), [(400, [3, 2]), (1_000, [1, 1, 1, 1, 1]), (1, [5])])
async def test_a_transaction_takes_no_more_once_it_is_heavy(weight: int, sizes: list[int]) -> None:
    """Members are added only while those before them weigh less than a transaction may, so that none takes long."""
    went = threading.Event()
    taken: list[int] = []

    def transact(requests: list[PendingWrite]) -> tuple[list[Any], Effects]:
        if requests[0].member == "first":
            went.wait(10)  # all others arrive meanwhile
        else:
            taken.append(len(requests))
        return [request.member for request in requests], Effects()

    batches = Batches(
        transact=transact,
        split=lambda requests: [requests],
        translate=lambda error: error,
        tell=lambda _: None,
        broken=lambda _: None,
    )
    batches.start()
    first = batches.put(_nothing, "first", weight=batching.TRANSACTION_WEIGHT, alone=False)
    others = [batches.put(_nothing, number, weight=weight, alone=False) for number in range(5)]
    went.set()
    await asyncio.gather(first, *others)
    await batches.stop()

    assert taken == sizes
