"""Taking slots: in order, never more than there are, never of the wrong type."""

import asyncio

import pytest

from fairlane.model.leases import Failed, Report
from fairlane.model.organizations import OrganizationChange
from fairlane.store import Store, claiming
from fairlane.store.store import CLAIM_BYTES
from tests.builders import (
    ACTOR,
    AGAIN,
    DONE,
    IMAGE,
    LIMITED,
    PAGE,
    RETURNED,
    a_task,
    a_worker,
    an_organization,
    hears,
    ids,
    submitted,
)
from tests.store.databases import Clock, Database, in_one_commit


async def change(store: Store, organization, **changes) -> None:
    await store.organizations.change(organization.name, changes=OrganizationChange(**changes), actor=ACTOR)


# Order ---------------------------------------------------------------------------------------------------------------


async def test_higher_priorities_first_then_the_oldest(store: Store) -> None:
    """Priority decides, acceptance decides inside a priority; whatever the type."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    tasks = await submitted(
        store, organization,
        a_task(PAGE, priority=1), a_task(IMAGE, priority=5), a_task(PAGE, priority=5), a_task(PAGE, priority=10),
        a_task(LIMITED, priority=5), a_task(IMAGE, priority=10), a_task(PAGE, priority=5),
    )  # fmt: skip

    taken = ids(await worker.take(3)) + ids(await worker.take(2)) + ids(await worker.take(10))

    assert taken == [tasks[index] for index in (3, 5, 1, 2, 4, 6, 0)]


async def test_a_newer_task_of_higher_priority_overtakes(store: Store) -> None:
    """What is claimed next is decided at the claim."""
    organization, worker = await an_organization(store), await a_worker(store)
    low = await submitted(store, organization, a_task(priority=9))
    high = await submitted(store, organization, a_task(priority=10))

    assert ids(await worker.take(2)) == high + low


async def test_a_task_that_comes_back_keeps_its_place(store: Store, clock: Clock) -> None:
    """Handed back, failed at once, or after a pause: it stands before what was accepted later."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    first, *rest = await submitted(store, organization, a_task(), a_task(), a_task())
    order = []
    for ending in (RETURNED, AGAIN, Failed(cause="later", pause_ms=1_000)):
        lease = await worker.take_one()
        order.append(lease.task_id)
        await worker.settle(lease, ending)
    clock.advance(1)
    await store.upkeep.promote()

    lease = await worker.take_one()

    assert [*order, lease.task_id] == [first] * 4
    await worker.settle(lease)
    assert ids(await worker.take(1)) == rest[:1]


async def test_the_order_survives_a_restart(database: Database) -> None:
    """Acceptance order is on disk."""
    organization = await an_organization(database.store, slots=10)
    tasks = await submitted(database.store, organization, *[a_task() for _ in range(3)])
    store = await database.crash()
    tasks += await submitted(store, organization, a_task(), a_task(IMAGE))

    assert ids(await (await a_worker(store)).take(10)) == tasks


async def test_a_worker_takes_only_its_types(store: Store) -> None:
    """A task of a type the session does not serve is passed over, whatever its priority."""
    organization = await an_organization(store)
    page, image = await submitted(store, organization, a_task(PAGE, priority=10), a_task(IMAGE, priority=1))

    assert ids(await (await a_worker(store, [IMAGE])).take(5)) == [image]
    assert ids(await (await a_worker(store, [PAGE])).take(5)) == [page]


async def test_a_type_that_is_not_declared_any_more_waits(store: Store) -> None:
    """A session may name unknown types; of these nothing starts."""
    organization = await an_organization(store)
    await submitted(store, organization, a_task("FORMER"))

    assert await (await a_worker(store, ["FORMER", PAGE])).take(5) == []
    assert (await store.tasks.status(organization.id)).queued == 1


async def test_a_lease_says_what_to_run(store: Store, clock: Clock) -> None:
    """A lease carries its task, its organization, its attempt and its time."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(payload='{"a":1}'))

    lease = await worker.take_one()

    assert (lease.task_id, lease.organization_id, lease.organization) == (task, organization.id, organization.name)
    assert (lease.task_type, lease.payload, lease.attempt, lease.attempts) == (PAGE, '{"a":1}', 1, 3)
    assert (lease.timeout_ms, lease.started_at) == (60_000, clock.at)


# Slots ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [2, 3, 4])
async def test_never_more_than_the_slots(store: Store, waiting: int) -> None:
    """With fewer, as many, and more tasks than slots exactly the smaller number starts."""
    organization, worker = await an_organization(store, slots=3), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(waiting)])

    assert len(await worker.take(50)) == min(waiting, 3)
    assert await worker.take(50) == []


async def test_never_more_than_the_slots_over_many_workers(store: Store) -> None:
    """Concurrent claims of many sessions do not add up to more than the slots."""
    organization = await an_organization(store, slots=3)
    await submitted(store, organization, *[a_task(task_type) for task_type in (PAGE, IMAGE) * 10])
    workers = [await a_worker(store) for _ in range(10)]

    taken = await asyncio.gather(*(worker.take(2) for worker in workers))

    assert sum(map(len, taken)) == 3


async def test_never_more_than_the_slots_in_one_commit(store: Store, clock: Clock) -> None:
    """Claims that share a transaction see each other."""
    organization = await an_organization(store, slots=3)
    await submitted(store, organization, *[a_task() for _ in range(10)])
    workers = [await a_worker(store) for _ in range(4)]

    taken = await in_one_commit(store, clock, *[lambda worker=worker: worker.take(2) for worker in workers])

    assert [len(leases) for leases in taken] == [2, 1, 0, 0]
    assert len({lease.task_id for leases in taken for lease in leases}) == 3


async def test_never_more_than_the_places(store: Store) -> None:
    """A worker gets as many as it has places, and none for no places."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])

    assert [len(await worker.take(places)) for places in (0, 1, 2, 0)] == [0, 1, 2, 0]


async def test_never_more_payloads_than_an_answer_may_hold(database: Database) -> None:
    """Payloads may be large: whoever asks for more places gets the rest with the next exchanges."""
    await database.close()
    store = await database.open(payload_limit_bytes=CLAIM_BYTES // 2)
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])

    taken = [len((await worker.exchange(places=9)).leases) for _ in range(4)]

    assert taken == [2, 2, 1, 0]


async def test_large_payloads_go_with_several_exchanges(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has at least one lease, in order; what is left keeps its place, its slot and its credits."""
    monkeypatch.setattr(claiming, "PAYLOADS_MOST", 100)
    organization, worker = await an_organization(store, slots=9), await a_worker(store)
    sizes = [40, 60, 10, 200, 30, 30, 30, 30]
    tasks = await submitted(
        store, organization, *[a_task(payload='{"a":"' + "x" * (size - 8) + '"}') for size in sizes]
    )

    taken = [ids((await worker.exchange(places=9)).leases) for _ in range(5)]

    assert taken == [tasks[:2], tasks[2:3], tasks[3:4], tasks[4:7], tasks[7:]]


async def test_a_lowered_limit_starts_nothing_until_used_is_below_it(store: Store) -> None:
    """Running tasks run on; the next starts when fewer than the new limit run."""
    organization, worker = await an_organization(store, slots=3), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(6)])
    leases = await worker.take(3)
    await change(store, organization, slots=1)

    started = []
    for lease in leases:
        reply = await worker.exchange(Report(lease.id, DONE), places=3)
        started.append(len(reply.leases))

    assert started == [0, 0, 1]


async def test_a_raised_limit_acts_at_the_next_claim(store: Store) -> None:
    """More slots, more tasks at once."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])
    await worker.take(5)
    await change(store, organization, slots=3)

    assert len(await worker.take(5)) == 2


@pytest.mark.parametrize("flag", ["paused", "disabled"])
async def test_nothing_starts_while_paused_or_disabled(store: Store, flag: str) -> None:
    """What runs runs on, its report counts, nothing new starts until the flag is taken away."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(4)])
    lease = await worker.take_one()
    await change(store, organization, **{flag: True})

    reply = await worker.exchange(Report(lease.id, DONE), places=5)
    nothing = await worker.take(5)
    await change(store, organization, **{flag: False})
    something = await worker.take(5)

    assert reply.verdicts == ("accepted",)
    assert (len(reply.leases), len(nothing), len(something)) == (0, 0, 2)


@pytest.mark.parametrize("flag", ["paused", "disabled"])
async def test_a_stopped_organization_stays_stopped_after_a_restart(database: Database, flag: str) -> None:
    """Flags are on disk."""
    organization = await an_organization(database.store)
    await submitted(database.store, organization)
    await change(database.store, organization, **{flag: True})

    store = await database.reopen()

    assert await (await a_worker(store)).take(1) == []


async def test_both_flags_are_taken_away_one_by_one(store: Store) -> None:
    """Paused and disabled are two flags, not one."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    await change(store, organization, paused=True, disabled=True)
    await change(store, organization, disabled=False)
    nothing = await worker.take(1)
    await change(store, organization, paused=False)

    assert nothing == []
    assert len(await worker.take(1)) == 1


# A type's own limit --------------------------------------------------------------------------------------------------


async def test_a_types_limit_holds_across_organizations(store: Store) -> None:
    """Two of the limited type run at most, whoever submitted them; other types are not held back."""
    one, other = await an_organization(store, slots=5), await an_organization(store, slots=5)
    worker = await a_worker(store)
    for organization in (one, other):
        await submitted(store, organization, *[a_task(LIMITED, priority=10) for _ in range(2)], a_task(PAGE))

    first = await worker.take(10)
    nothing = await worker.take(10)

    assert sorted(lease.task_type for lease in first) == [LIMITED, LIMITED, PAGE, PAGE]
    assert nothing == []


async def test_a_types_limit_holds_inside_one_commit(store: Store, clock: Clock) -> None:
    """Claims that share a transaction share the type's room."""
    workers = [await a_worker(store) for _ in range(3)]
    for _ in range(3):
        await submitted(store, await an_organization(store, slots=5), a_task(LIMITED), a_task(LIMITED))

    taken = await in_one_commit(store, clock, *[lambda worker=worker: worker.take(2) for worker in workers])

    assert sum(map(len, taken)) == 2


async def test_room_of_a_type_is_given_to_another_organization(store: Store) -> None:
    """When a limited task ends, whoever waits for that type is told and starts."""
    one, other = await an_organization(store, slots=2), await an_organization(store, slots=2)
    worker = await a_worker(store)
    await submitted(store, one, a_task(LIMITED), a_task(LIMITED))
    leases = await worker.take(5)
    (waiting,) = await submitted(store, other, a_task(LIMITED))
    heard: list[frozenset[str]] = []
    nothing = await worker.take(5)
    heard = hears(store, "startable")

    await worker.settle(leases[0])
    something = await worker.take(5)

    assert nothing == []
    assert any(LIMITED in types for types in heard)
    assert ids(something) == [waiting]


async def test_a_full_type_does_not_hide_what_stands_behind_it(store: Store) -> None:
    """Many limited tasks of high priority in front do not keep a plain task of low priority from a free place."""
    organization, worker = await an_organization(store, slots=20), await a_worker(store)
    await submitted(
        store, organization, *[a_task(LIMITED, priority=priority) for priority in (10, 9, 8, 7) for _ in range(5)]
    )
    (plain,) = await submitted(store, organization, a_task(PAGE, priority=1))

    taken = await worker.take(10)

    assert len(taken) == 3
    assert plain in ids(taken)


# Settle and claim in one ---------------------------------------------------------------------------------------------


async def test_a_freed_slot_is_refilled_in_the_same_exchange(store: Store) -> None:
    """The answer to a report carries the next task of the organization whose slots are all taken."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    tasks = await submitted(store, organization, *[a_task() for _ in range(3)])
    leases = await worker.take(1)
    order = []
    while leases:
        order += ids(leases)
        leases = list((await worker.exchange(Report(leases[0].id, DONE), places=1)).leases)

    assert order == tasks


async def test_a_retried_task_is_claimed_by_the_exchange_that_failed_it(store: Store) -> None:
    """A failure without a pause may be tried again at once, as a new attempt under a new lease."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization)
    lease = await worker.take_one()

    reply = await worker.exchange(Report(lease.id, AGAIN), places=1)

    assert [(again.task_id, again.attempt) for again in reply.leases] == [(lease.task_id, 2)]
    assert reply.leases[0].id != lease.id


async def test_many_places_are_filled_from_many_organizations(store: Store) -> None:
    """A big worker is filled as long as anybody can start something."""
    organizations = [await an_organization(store, slots=2) for _ in range(30)]
    worker = await a_worker(store)
    for organization in organizations:
        await submitted(store, organization, *[a_task() for _ in range(3)])

    taken = await worker.take(100)

    assert len(taken) == 60


# What PostgreSQL reads together with the lock ------------------------------------------------------------------------


async def test_a_task_that_comes_back_starts_before_those_behind_it(store: Store) -> None:
    """In the exchange that returns it, too, although its claim may have read the next tasks before."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])
    first, second = await worker.take(2)

    reply = await worker.exchange(Report(second.id, DONE), Report(first.id, RETURNED), places=2)

    assert ids(reply.leases)[0] == first.task_id
    assert len(reply.leases) == 2


async def test_one_organization_may_start_more_than_its_share_of_the_places(store: Store) -> None:
    """A claim reads a share for each at first, and the rest when it turns out that others have less."""
    small = [await an_organization(store, slots=10) for _ in range(4)]
    large, worker = await an_organization(store, slots=10), await a_worker(store)
    few = [(await submitted(store, organization))[0] for organization in small]
    many = await submitted(store, large, *[a_task(priority=5 - number % 3) for number in range(9)])

    taken = ids((await worker.exchange(places=10)).leases)

    assert set(few) <= set(taken)
    assert [one for one in taken if one in many] == sorted(many, key=lambda one: many.index(one) % 3)[:6]


async def test_long_payloads_arrive_whole_and_in_order(store: Store) -> None:
    """Just below, at and above the length up to which they are read with the queue, in bytes."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    most = claiming.INLINE_BYTES - 2
    payloads = [f'"{text}"' for text in ("a" * (most - 1), "b" * most, "c" * (most + 1), "é" * (most // 2 + 1), "")]
    await submitted(store, organization, *[a_task(payload=payload) for payload in payloads])

    taken = await worker.take(5)

    assert [lease.payload for lease in taken] == payloads
