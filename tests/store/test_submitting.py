"""Accepting tasks: durable, counted, in order, once for each key, up to the queue's limit."""

import asyncio

import pytest

from fairlane.errors import KeyRefused, QueueFull, TaskExists
from fairlane.model.organizations import OrganizationChange
from fairlane.model.tasks import Accepted, TaskStatus
from fairlane.store import Store
from fairlane.store.sqlite import asking
from tests.builders import ACTOR, DONE, a_task, a_worker, an_organization, hears, ids, state, submitted
from tests.store.databases import Clock, Database, in_one_commit


@pytest.mark.parametrize("how", ["reopen", "crash"])
async def test_what_was_accepted_is_there_afterwards(database: Database, how: str) -> None:
    """An accepted task is there after a close and after a crash, whole."""
    organization = await an_organization(database.store)
    task = a_task(key="k", payload='{"url": "x \\u0000 ü"}', priority=7, cost=3)
    (answer,) = await database.store.tasks.submit(organization.id, [task])

    store = await getattr(database, how)()

    view = await store.tasks.find(organization.id, task.id)
    assert isinstance(answer, Accepted)
    assert (view.id, view.task_type, view.status) == (task.id, task.task_type, TaskStatus.QUEUED)
    assert (view.priority, view.cost, view.idempotency_key, view.created_at) == (7, 3, "k", answer.created_at)
    lease = await (await a_worker(store)).take_one()
    assert lease.payload == task.payload


async def test_a_crash_before_the_commit_leaves_nothing(database: Database) -> None:
    """What was not answered yet may be lost, but never by half: neither task nor key nor count is there."""
    abandoned = database.store
    organization = await an_organization(abandoned)
    with database.clock.held() as asked:
        unanswered = abandoned.tasks.submit(organization.id, [a_task(key="k"), a_task()])
        assert await asyncio.to_thread(asked.wait, 30)
        store = await database.crash()

    await asyncio.gather(unanswered, return_exceptions=True)  # what the killed server says reaches nobody
    (answer,) = await store.tasks.submit(organization.id, [a_task(key="k")])

    assert isinstance(answer, Accepted)
    assert (await store.tasks.status(organization.id)).queued == 1


async def test_tasks_are_numbered_densely_in_the_order_of_acceptance(store: Store, database: Database) -> None:
    """Each organization counts its accepted tasks 1, 2, 3 …; refusals leave no gap."""
    organization, other = await an_organization(store, queue_limit=5), await an_organization(store)
    first = await submitted(store, organization, a_task(key="k"), a_task())
    await submitted(store, other, a_task())
    await store.tasks.submit(organization.id, [a_task(key="k"), a_task()])
    await submitted(store, organization, a_task(), a_task())
    await store.tasks.submit(organization.id, [a_task()])

    numbers = database.rows("SELECT seq FROM task WHERE organization_id = :id ORDER BY id", id=organization.id)

    assert [row[0] for row in numbers] == [1, 2, 3, 4, 5]
    assert database.rows("SELECT id FROM task WHERE seq = 1 AND organization_id = :id", id=organization.id) == [
        (first[0],)
    ]


async def test_concurrent_submissions_are_numbered_densely(store: Store, database: Database) -> None:
    """However submissions fall into transactions, the numbers have no gap and no double."""
    organization = await an_organization(store)

    await asyncio.gather(*(store.tasks.submit(organization.id, [a_task(), a_task()]) for _ in range(50)))

    numbers = database.rows("SELECT seq FROM task WHERE organization_id = :id ORDER BY seq", id=organization.id)
    assert [row[0] for row in numbers] == list(range(1, 101))


# Keys ----------------------------------------------------------------------------------------------------------------


async def test_a_used_key_is_refused_and_names_its_task(store: Store) -> None:
    """The second task with a key is refused and not there; the key keeps naming the first."""
    organization = await an_organization(store)
    (first,) = await submitted(store, organization, a_task(key="k"))
    second = a_task(key="k", payload='{"other":1}')

    (answer,) = await store.tasks.submit(organization.id, [second])

    assert isinstance(answer, TaskExists)
    assert answer.details == {"field": "idempotencyKey", "value": "k"}
    assert await store.tasks.find(organization.id, second.id) is None
    assert (await store.tasks.find(organization.id, "k")).id == first  # type: ignore[union-attr]


async def test_a_key_is_used_once_inside_one_submission(store: Store) -> None:
    """Of two tasks with one key in one request the first is accepted; what stands after them is not touched."""
    organization = await an_organization(store)

    answers = await store.tasks.submit(organization.id, [a_task(key="k"), a_task(key="k"), a_task(key="l"), a_task()])

    assert [type(answer) for answer in answers] == [Accepted, TaskExists, Accepted, Accepted]
    assert (await store.tasks.status(organization.id)).queued == 3


async def test_a_key_is_used_once_inside_one_commit(store: Store, clock: Clock) -> None:
    """Of several requests with one key that share a transaction exactly the first is accepted."""
    organization = await an_organization(store)

    answers = await in_one_commit(
        store, clock, *[lambda: store.tasks.submit(organization.id, [a_task(key="k")]) for _ in range(5)]
    )

    assert [type(answer[0]) for answer in answers] == [Accepted] + [TaskExists] * 4


async def test_concurrent_creates_with_one_key_make_one_task(store: Store) -> None:
    """Exactly one of a hundred concurrent creates wins, and the key names that one."""
    organization = await an_organization(store)
    tasks = [a_task(key="k") for _ in range(100)]

    answers = [
        answer for (answer,) in await asyncio.gather(*(store.tasks.submit(organization.id, [one]) for one in tasks))
    ]

    winners = [task.id for task, answer in zip(tasks, answers, strict=True) if isinstance(answer, Accepted)]
    assert len(winners) == 1
    assert sum(isinstance(answer, TaskExists) for answer in answers) == 99
    assert (await store.tasks.find(organization.id, "k")).id == winners[0]  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["reopen", "crash"])
async def test_a_key_stays_used_across_a_restart(database: Database, how: str) -> None:
    """A restart forgets no key."""
    organization = await an_organization(database.store)
    await submitted(database.store, organization, a_task(key="k"))

    store = await getattr(database, how)()

    (answer,) = await store.tasks.submit(organization.id, [a_task(key="k")])
    assert isinstance(answer, TaskExists)


async def test_a_key_stays_used_after_its_task_ended(store: Store) -> None:
    """A finished task keeps its key until it is purged."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(key="k"))
    await worker.settle(await worker.take_one())

    (answer,) = await store.tasks.submit(organization.id, [a_task(key="k")])

    assert isinstance(answer, TaskExists)


async def test_keys_of_two_organizations_never_meet(store: Store, clock: Clock) -> None:
    """The same key of another organization is a key of its own, also inside one commit."""
    one, other = await an_organization(store), await an_organization(store)
    mine, theirs = a_task(key="k"), a_task(key="k")

    answers = await in_one_commit(
        store, clock, lambda: store.tasks.submit(one.id, [mine]), lambda: store.tasks.submit(other.id, [theirs])
    )

    assert all(isinstance(answer, Accepted) for (answer,) in answers)
    assert (await store.tasks.find(one.id, "k")).id == mine.id  # type: ignore[union-attr]
    assert (await store.tasks.find(other.id, "k")).id == theirs.id  # type: ignore[union-attr]


async def test_a_used_key_is_refused_before_a_full_queue(store: Store) -> None:
    """The retry of an accepted request finds its task even when the queue has no room."""
    organization = await an_organization(store, queue_limit=1)
    await submitted(store, organization, a_task(key="k"))

    answers = await store.tasks.submit(organization.id, [a_task(key="k"), a_task(key="new"), a_task()])

    assert [type(answer) for answer in answers] == [TaskExists, QueueFull, QueueFull]


async def test_a_refused_task_does_not_bind_its_key(store: Store) -> None:
    """A key that came with a refusal is free."""
    organization, worker = await an_organization(store, queue_limit=1), await a_worker(store)
    await submitted(store, organization)
    (refused,) = await store.tasks.submit(organization.id, [a_task(key="k")])
    await worker.take(1)

    (answer,) = await store.tasks.submit(organization.id, [a_task(key="k")])

    assert isinstance(refused, QueueFull)
    assert isinstance(answer, Accepted)


# The queue's limit ---------------------------------------------------------------------------------------------------


async def test_the_queue_limit_is_exact(store: Store) -> None:
    """The task that fills the queue is accepted, the next is refused with the numbers of that moment."""
    organization = await an_organization(store, queue_limit=3)

    below, at, above = (
        (await store.tasks.submit(organization.id, [a_task(), a_task()]))[1],
        (await store.tasks.submit(organization.id, [a_task()]))[0],
        (await store.tasks.submit(organization.id, [a_task()]))[0],
    )

    assert isinstance(below, Accepted)
    assert isinstance(at, Accepted)
    assert isinstance(above, QueueFull)
    assert above.details["queuedCount"] == 3
    assert above.details["remainingCapacity"] == 0


@pytest.mark.parametrize("limit", [199, 200, 201])
async def test_the_queue_limit_is_exact_under_concurrent_submits(store: Store, limit: int) -> None:
    """Of 200 concurrent submits exactly as many are accepted as fit."""
    organization = await an_organization(store, queue_limit=limit)

    answers = await asyncio.gather(*(store.tasks.submit(organization.id, [a_task()]) for _ in range(200)))

    accepted = sum(isinstance(answer, Accepted) for (answer,) in answers)
    assert accepted == min(limit, 200)
    assert (await store.tasks.status(organization.id)).queued == accepted


async def test_only_what_waits_counts_against_the_queue_limit(store: Store) -> None:
    """A task that runs leaves its place in the queue; one that comes back takes a place even in a full queue."""
    organization, worker = await an_organization(store, queue_limit=1, slots=1), await a_worker(store)
    (running,) = await submitted(store, organization)
    lease = await worker.take_one()
    await submitted(store, organization)

    verdict = await worker.exchange(*[])
    await store.sessions.end(worker.id, reason="lost")  # type: ignore[arg-type]
    (answer,) = await store.tasks.submit(organization.id, [a_task()])

    assert verdict.leases == ()
    assert lease.task_id == running
    assert (await store.tasks.status(organization.id)).queued == 2
    assert isinstance(answer, QueueFull)
    assert answer.details["remainingCapacity"] == 0


async def test_a_lowered_queue_limit_keeps_what_was_accepted(store: Store) -> None:
    """Tasks beyond a limit that was lowered later stay; new ones are refused until there is room."""
    organization, worker = await an_organization(store, queue_limit=5, slots=2), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(3)])
    await store.organizations.change(organization.name, changes=OrganizationChange(queue_limit=2), actor=ACTOR)

    (refused,) = await store.tasks.submit(organization.id, [a_task()])
    await worker.take(2)
    (accepted,) = await store.tasks.submit(organization.id, [a_task()])

    assert isinstance(refused, QueueFull)
    assert isinstance(accepted, Accepted)


# A batch needs room for all of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "accepted"), [(3, True), (4, False)])
async def test_a_batch_needs_room_for_every_item(store: Store, room: int, accepted: bool) -> None:
    """Items that are no tasks need it, too; without it nothing is created, and no key is bound."""
    organization = await an_organization(store, queue_limit=5)
    await submitted(store, organization, a_task(), a_task())

    (answer,) = await asyncio.gather(
        store.tasks.submit(organization.id, [a_task(key="k"), a_task()], room=room), return_exceptions=True
    )

    if accepted:
        assert [type(verdict) for verdict in answer] == [Accepted, Accepted]  # type: ignore[union-attr]
    else:
        assert isinstance(answer, QueueFull)
        assert (answer.details["batchSize"], answer.details["queuedCount"]) == (room, 2)
        assert answer.details["remainingCapacity"] == 3
    assert (await store.tasks.status(organization.id)).queued == (4 if accepted else 2)
    assert (await store.tasks.find(organization.id, "k") is not None) is accepted


async def test_a_full_queue_refuses_a_batch_before_its_keys_are_looked_at(store: Store) -> None:
    """Unlike a single task, whose retry must find the first."""
    organization = await an_organization(store, queue_limit=1)
    await submitted(store, organization, a_task(key="k"))

    with pytest.raises(QueueFull):
        await store.tasks.submit(organization.id, [a_task(key="k")], room=1)


async def test_a_batch_of_nothing_but_mistakes_asks_for_room_all_the_same(store: Store) -> None:
    """Its answer does not depend on which items are wrong."""
    organization = await an_organization(store, queue_limit=3)

    assert await store.tasks.submit(organization.id, [], room=3) == []
    with pytest.raises(QueueFull):
        await store.tasks.submit(organization.id, [], room=4)


async def test_a_refused_batch_leaves_its_neighbours_alone(store: Store, clock: Clock) -> None:
    """In one commit: a batch without room, one of a disabled organization, and tasks that are accepted around them."""
    organization, stopped = await an_organization(store, queue_limit=4), await an_organization(store)
    await store.organizations.change(stopped.name, changes=OrganizationChange(disabled=True), actor=ACTOR)

    first, refused, strange, second = await in_one_commit(
        store, clock,
        lambda: store.tasks.submit(organization.id, [a_task(), a_task()], room=2),
        lambda: store.tasks.submit(organization.id, [a_task(), a_task(), a_task()], room=3),
        lambda: store.tasks.submit(stopped.id, [a_task()], room=1),
        lambda: store.tasks.submit(organization.id, [a_task(), a_task()], room=2),
    )  # fmt: skip

    assert [type(answer) for answer in [*first, *second]] == [Accepted] * 4
    assert isinstance(refused, QueueFull)
    assert isinstance(strange, KeyRefused)
    assert (await store.tasks.status(organization.id)).queued == 4


@pytest.mark.parametrize("how", ["reopen", "crash"])
async def test_a_batch_is_there_whole(database: Database, how: str) -> None:
    """Five hundred tasks that were accepted together are there together, in their order."""
    organization = await an_organization(database.store, slots=500, queue_limit=500)
    tasks = await submitted(database.store, organization, *[a_task() for _ in range(500)])

    store = await getattr(database, how)()

    assert [lease.task_id for lease in await (await a_worker(store)).take(500)] == tasks


# Who may -------------------------------------------------------------------------------------------------------------


async def test_a_disabled_organization_submits_nothing(store: Store) -> None:
    """Its submissions are refused like those of an unknown organization, until it is enabled again."""
    organization = await an_organization(store)
    await store.organizations.change(organization.name, changes=OrganizationChange(disabled=True), actor=ACTOR)

    refused = await store.tasks.submit(organization.id, [a_task(key="k"), a_task()])
    unknown = await store.tasks.submit(10**12, [a_task()])
    await store.organizations.change(organization.name, changes=OrganizationChange(disabled=False), actor=ACTOR)
    (accepted,) = await store.tasks.submit(organization.id, [a_task(key="k")])

    assert [type(answer) for answer in [*refused, *unknown]] == [KeyRefused] * 3
    assert isinstance(accepted, Accepted)


async def test_a_paused_organization_still_submits(store: Store) -> None:
    """Pausing holds the start of tasks, not their acceptance."""
    organization = await an_organization(store)
    await store.organizations.change(organization.name, changes=OrganizationChange(paused=True), actor=ACTOR)

    (answer,) = await store.tasks.submit(organization.id, [a_task()])

    assert isinstance(answer, Accepted)


async def test_a_submission_tells_who_waits_what_can_start(store: Store) -> None:
    """After the commit listeners hear the types that can start, and not those that cannot."""
    heard = hears(store, "startable")
    organization, full = await an_organization(store), await an_organization(store, slots=1)
    worker = await a_worker(store, ["IMAGE"])
    await submitted(store, full, a_task("IMAGE"))
    assert ids(await worker.take(1))
    heard.clear()

    await submitted(store, full, a_task("IMAGE"))
    nothing = list(heard)
    await submitted(store, organization, a_task("PAGE"))

    assert nothing == []
    assert heard == [frozenset({"PAGE"})]


async def test_an_empty_submission_is_answered(store: Store) -> None:
    """No tasks, no verdicts, nothing changed."""
    organization = await an_organization(store)

    assert await store.tasks.submit(organization.id, []) == []
    assert (await store.tasks.status(organization.id)).queued == 0


async def test_a_key_that_is_an_id_of_another_task_names_its_own(store: Store) -> None:
    """The id wins over the key where both could be meant; another organization's id is no id of ours."""
    one, other = await an_organization(store), await an_organization(store)
    (theirs,) = await submitted(store, other)
    (mine,) = await submitted(store, one, a_task(key=theirs))
    (second,) = await submitted(store, one, a_task(key=mine))

    assert (await store.tasks.find(one.id, theirs)).id == mine  # type: ignore[union-attr]
    assert (await store.tasks.find(one.id, mine)).id == mine  # type: ignore[union-attr]
    assert await state(store, one, second) is TaskStatus.QUEUED
    assert await store.tasks.find(one.id, DONE.result) is None


async def test_long_payloads_are_kept_to_the_letter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever piece or part of a statement each falls into, short ones among them."""
    monkeypatch.setattr(asking, "PIECE_BYTES", 10)
    monkeypatch.setattr(asking, "PART_BYTES", 100)
    organization = await an_organization(store)
    new = [a_task(payload='{"a": "' + 'é\\"\\n😀\n' * count + '"}') for count in (0, 1, 5, 40, 3, 200)]

    verdicts = await store.tasks.submit(organization.id, new)

    assert len(verdicts) == len(new)
    assert [await store.tasks.payload(organization.id, one.id) for one in new] == [one.payload for one in new]
