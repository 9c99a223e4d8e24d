"""Requests that share a transaction: together on disk, each for itself in everything else."""

import asyncio
from typing import Any

import pytest

from fairlane.errors import Fault, NameTaken, QueueFull, StoreFault
from fairlane.model.leases import Exchange, Report
from fairlane.model.organizations import OrganizationChange
from fairlane.model.tasks import Accepted
from fairlane.store import Store
from tests.builders import ACTOR, DONE, a_task, a_worker, an_organization, hears, ids, submitted
from tests.store.databases import Clock, Database, in_one_commit


async def test_what_waits_together_is_committed_together(store: Store, clock: Clock) -> None:
    """Requests that arrive while a transaction runs are members of the next one: one announcement for all."""
    heard = hears(store, "startable")
    one, other = await an_organization(store), await an_organization(store)

    await in_one_commit(
        store, clock,
        lambda: store.tasks.submit(one.id, [a_task("PAGE")]),
        lambda: store.tasks.submit(other.id, [a_task("IMAGE")]),
    )  # fmt: skip

    assert heard == [frozenset({"PAGE", "IMAGE"})]


async def test_a_request_that_breaks_does_not_fail_its_neighbours(store: Store, clock: Clock) -> None:
    """One whose task id exists twice raises inside the transaction; the others are accepted, in their order."""
    organization, other = await an_organization(store, slots=9), await an_organization(store)
    before, double, after = a_task(), a_task(), a_task()

    first, broken, second, theirs = await in_one_commit(
        store, clock,
        lambda: store.tasks.submit(organization.id, [before]),
        lambda: store.tasks.submit(organization.id, [double, double]),
        lambda: store.tasks.submit(organization.id, [after]),
        lambda: store.tasks.submit(other.id, [a_task()]),
    )  # fmt: skip

    assert isinstance(broken, StoreFault)
    assert all(isinstance(answer, Accepted) for (answer,) in (first, second, theirs))
    assert await store.tasks.find(organization.id, double.id) is None
    assert (await store.organizations.find(organization.name)).submitted == 2
    worker = await a_worker(store, ["PAGE"])
    assert [task for task in ids(await worker.take(9)) if task in (before.id, after.id)] == [before.id, after.id]


async def test_a_refusal_does_not_undo_its_neighbours(store: Store, clock: Clock) -> None:
    """An operator's request that is refused inside the transaction leaves the others as they are."""
    organization = await an_organization(store)

    refused, changed, accepted = await in_one_commit(
        store, clock,
        lambda: store.plans.create("default", slots=1, queue_limit=1, weight=1, actor=ACTOR),
        lambda: store.organizations.change(organization.name, changes=OrganizationChange(weight=5), actor=ACTOR),
        lambda: store.tasks.submit(organization.id, [a_task()]),
    )  # fmt: skip

    assert isinstance(refused, NameTaken)
    assert changed.weight == 5
    assert isinstance(accepted[0], Accepted)


async def test_a_refusal_costs_its_neighbours_no_transaction_of_their_own(store: Store, clock: Clock) -> None:
    """It is an answer like any other: one announcement for all who shared the commit."""
    organization = await an_organization(store)
    heard = hears(store, "startable")

    *_, refused = await in_one_commit(
        store, clock,
        lambda: store.tasks.submit(organization.id, [a_task("PAGE")]),
        lambda: store.tasks.submit(organization.id, [a_task("IMAGE")]),
        lambda: store.plans.create("default", slots=1, queue_limit=1, weight=1, actor=ACTOR),
    )  # fmt: skip

    assert isinstance(refused, NameTaken)
    assert heard == [frozenset({"PAGE", "IMAGE"})]


@pytest.mark.parametrize("members", [1, 2])
async def test_after_a_failed_commit_no_answer_is_a_lie(database: Database, clock: Clock, members: int) -> None:
    """What is acknowledged all the same is there, and after a restart everything goes on."""
    organization = await an_organization(database.store)
    tasks = [a_task() for _ in range(members)]
    with database.failing_commit():
        answers = await in_one_commit(
            database.store,
            clock,
            *[lambda task=task: database.store.tasks.submit(organization.id, [task]) for task in tasks],
        )

    store = await database.reopen()
    for task, answer in zip(tasks, answers, strict=True):
        assert isinstance(answer, StoreFault) or await store.tasks.find(organization.id, task.id)
    assert isinstance((await store.tasks.submit(organization.id, [a_task()]))[0], Accepted)


async def test_a_full_queue_refuses_the_right_members(store: Store, clock: Clock) -> None:
    """Members are decided in the order in which they came."""
    organization = await an_organization(store, queue_limit=3)

    answers = await in_one_commit(
        store, clock, *[lambda: store.tasks.submit(organization.id, [a_task(), a_task()]) for _ in range(3)]
    )

    assert [[type(answer) for answer in member] for member in answers] == [
        [Accepted, Accepted], [Accepted, QueueFull], [QueueFull, QueueFull],
    ]  # fmt: skip


async def test_submit_settle_and_claim_share_a_transaction(store: Store, clock: Clock) -> None:
    """Different operations in one commit leave exact counts."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    await submitted(store, organization, a_task(), a_task())
    leases = await worker.take(2)

    await in_one_commit(
        store, clock,
        lambda: store.tasks.submit(organization.id, [a_task(), a_task()]),
        lambda: worker.exchange(*[Report(lease.id, DONE) for lease in leases], places=1),
        lambda: worker.take(5),
        lambda: store.tasks.submit(organization.id, [a_task()]),
    )  # fmt: skip

    status = await store.tasks.status(organization.id)
    assert (status.queued + status.processing, status.concurrency.max) == (3, 2)  # type: ignore[union-attr]
    assert await store.recount.find() == []


async def test_who_goes_away_does_not_undo_what_was_committed(store: Store, clock: Clock) -> None:
    """A caller that gives up waiting changes nothing for itself or for its neighbours."""
    organization = await an_organization(store)
    task = a_task()
    with clock.held() as asked:
        blocker = store.tasks.submit(organization.id, [a_task()])
        assert await asyncio.to_thread(asked.wait, 30)
        leaver = asyncio.ensure_future(store.tasks.submit(organization.id, [task]))
        stayer = asyncio.ensure_future(store.tasks.submit(organization.id, [a_task()]))
        await asyncio.sleep(0)
        leaver.cancel()
    await blocker

    assert isinstance((await stayer)[0], Accepted)
    assert await store.tasks.find(organization.id, task.id) is not None


async def test_a_closed_store_says_so(database: Database) -> None:
    """What comes after the end is refused, what came before it was finished."""
    store = database.store
    organization = await an_organization(store)
    pending = [asyncio.ensure_future(store.tasks.submit(organization.id, [a_task()])) for _ in range(20)]
    await asyncio.sleep(0)

    await database.close()

    assert [type(answer) for (answer,) in await asyncio.gather(*pending)] == [Accepted] * 20
    with pytest.raises(Fault):
        await store.tasks.submit(organization.id, [a_task()])
    store = await database.open()
    assert (await store.tasks.status(organization.id)).queued == 20


async def test_the_store_answers_a_ping(store: Store) -> None:
    """It takes a transaction."""
    await store.upkeep.ping()


async def test_a_broken_exchange_does_not_fail_another_workers(store: Store, clock: Clock) -> None:
    """A member that cannot even be read by the database is alone with its error."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    broken = Exchange(session_id=worker.id, id=object(), places=1)  # type: ignore[arg-type]

    failed, leases = await in_one_commit(store, clock, lambda: store.leases.exchange(broken), lambda: worker.take(1))

    assert isinstance(failed, Exception)
    assert len(leases) == 1


POISON: dict[str, dict[str, Any]] = {
    "half a surrogate pair in the payload": {"payload": '{"a": "\ud800"}'},
    "half a surrogate pair in the key": {"key": "\udfff"},
    "NUL in the payload": {"payload": '{"a": "\x00"}'},
    "NUL in the key": {"key": "a\x00b"},
    "NUL in the type": {"task_type": "PA\x00GE"},
    "SQL": {"payload": """{"a": "'); DROP TABLE task; --"}""", "key": "' OR 1=1 --"},
    "a payload that is no JSON": {"payload": "[" * 100_000},
}
"""What no caller can get past the strict reader; should it ever pass, it is still its own sender's matter."""


@pytest.mark.parametrize("poison", POISON)
async def test_a_poisoned_task_fails_nobody_elses(store: Store, clock: Clock, poison: str) -> None:
    """In the same commit as other organizations' tasks: they are accepted, in their order, and their counts are right;
    the poison is accepted or refused, whichever the database does with it."""
    organization, other = await an_organization(store, slots=9), await an_organization(store, slots=9)
    before, after = a_task(), a_task()

    first, poisoned, second = await in_one_commit(
        store, clock,
        lambda: store.tasks.submit(other.id, [before]),
        lambda: store.tasks.submit(organization.id, [a_task(**POISON[poison])]),
        lambda: store.tasks.submit(other.id, [after]),
    )  # fmt: skip

    assert isinstance(first[0], Accepted)
    assert isinstance(second[0], Accepted)
    failed = isinstance(poisoned, Exception)
    assert failed or isinstance(poisoned[0], Accepted)
    assert (await store.tasks.status(other.id)).queued == 2
    assert (await store.tasks.status(organization.id)).queued == (0 if failed else 1)
    assert await store.recount.find() == []
    worker = await a_worker(store, ["PAGE"])
    assert [task for task in ids(await worker.take(9)) if task in (before.id, after.id)] == [before.id, after.id]
