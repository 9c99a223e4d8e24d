"""Who holds the slots, and the proof of the counts."""

import pytest

from fairlane.errors import KeyRefused
from fairlane.model.leases import Exchange, Failed, Progress
from fairlane.model.status import SlotUse
from fairlane.store import Store, new_id
from tests.builders import ACTOR, AGAIN, IMAGE, a_call, a_server, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database


async def test_holders_are_those_who_run(store: Store, clock: Clock) -> None:
    """Task, type, priority, attempt, since when, until when; nothing of others, nothing of what ended."""
    organization, other = await an_organization(store, slots=2), await an_organization(store)
    worker = await a_worker(store)
    first, second, _ = await submitted(store, organization, a_task(priority=9), a_task(IMAGE, priority=2), a_task())
    await submitted(store, other)
    began = clock.at
    leases = {lease.task_id: lease for lease in await worker.take(3)}
    await worker.settle(leases[first], Failed(cause="again", pause_ms=0))
    clock.advance(1)
    await worker.take(1)

    found = await store.slots.find(organization.id, after="", most=10)

    assert found.concurrency == SlotUse(2, 2)
    held = {one.id: one for one in found.slots}
    assert [one.id for one in found.slots] == sorted(held)
    again = held[first]
    assert (again.task_type, again.priority, again.attempt, again.attempts) == ("PAGE", 9, 2, 3)
    assert (again.started_at, again.deadline_at) == (began + 1_000, began + 61_000)
    assert second not in held or held[second].started_at == began
    assert len(held) == 2


async def test_calls_hold_slots_beside_tasks(store: Store) -> None:
    """From their admission, before a worker has them."""
    organization, server, worker = await an_organization(store, slots=2), await a_server(store), await a_worker(store)
    (task,) = await submitted(store, organization)
    await worker.take_one()
    call = a_call(organization, server)
    await store.calls.begin(call)

    found = await store.slots.find(organization.id, after="", most=10)

    assert found.concurrency == SlotUse(2, 2)
    assert {one.id: one.call for one in found.slots} == {task: False, call.id: True}
    await store.calls.abandon(organization.id, call.id)


async def test_holders_come_in_pages(store: Store) -> None:
    """Each once, in order."""
    organization, worker = await an_organization(store, slots=5), await a_worker(store)
    tasks = await submitted(store, organization, *[a_task() for _ in range(5)])
    await worker.take(5)

    first = await store.slots.find(organization.id, after="", most=3)
    rest = await store.slots.find(organization.id, after=first.slots[-1].id, most=3)

    assert [one.id for one in (*first.slots, *rest.slots)] == sorted(tasks)


async def test_nobodys_slots_are_refused(store: Store) -> None:
    """An organization that is not there."""
    with pytest.raises(KeyRefused):
        await store.slots.find(4711, after="", most=1)
    with pytest.raises(KeyRefused):
        await store.recount.verify(4711)


async def test_a_verified_status_is_the_status_and_no_drift(store: Store) -> None:
    """With ready, paused and running tasks."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    await submitted(store, organization, *[a_task(priority=priority) for priority in (1, 5, 5, 9)])
    first, _ = await worker.take(2)
    await worker.settle(first, Failed(cause="later", pause_ms=60_000))

    verified = await store.recount.verify(organization.id)

    assert verified.status == await store.tasks.status(organization.id)
    assert verified.drift == ()


async def test_a_wrong_count_is_found(database: Database) -> None:
    """What is kept is told beside what was counted; the other organizations' counts are not looked at."""
    organization, other = await an_organization(database.store), await an_organization(database.store)
    await submitted(database.store, organization)
    await database.close()
    database.rows("UPDATE organization SET processing = processing + 1")
    store = await database.open()

    verified = await store.recount.verify(organization.id)

    assert [(one.name, one.kept, one.counted) for one in verified.drift] == [("processing", 1, 0)]
    for one in (organization, other):
        await store.recount.repair(one.name, actor=ACTOR)
    assert (await store.recount.verify(organization.id)).drift == ()


async def test_progress_is_seen_while_it_runs(store: Store, clock: Clock) -> None:
    """The last word of the session that holds the lease; gone with the attempt."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    (task,) = await submitted(store, organization)
    lease = await worker.take_one()
    first = Progress(done=0.25, total=None, note=None, at=clock.at)
    last = Progress(done=3.0, total=4.0, note="pages", at=clock.at + 1_000)

    before = (await store.slots.find(organization.id, after="", most=1)).slots[0].progress
    for said in (first, last):
        await store.leases.exchange(Exchange(session_id=worker.id, id=new_id(), places=0, progress=((lease.id, said),)))
    stranger = await a_worker(store)
    await store.leases.exchange(Exchange(session_id=stranger.id, id=new_id(), places=0, progress=((lease.id, first),)))
    shown = (await store.slots.find(organization.id, after="", most=1)).slots[0].progress
    wait = await store.waits.find(organization.id, task)
    await worker.settle(lease, AGAIN)
    await worker.take_one()
    again = (await store.slots.find(organization.id, after="", most=1)).slots[0].progress

    assert (before, shown, again) == (None, last, None)
    assert wait is not None
    assert wait.progress == last


async def test_progress_of_what_is_gone_changes_nothing(store: Store, clock: Clock) -> None:
    """Late, or no lease at all."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization)
    lease = await worker.take_one()
    await worker.settle(lease)
    said = Progress(done=1.0, total=None, note=None, at=clock.at)

    for name in (lease.id, "nothing", "1.x.y"):
        reply = await store.leases.exchange(
            Exchange(session_id=worker.id, id=new_id(), places=0, progress=((name, said),))
        )
        assert reply.leases == ()

    assert (await store.slots.find(organization.id, after="", most=1)).slots == ()
