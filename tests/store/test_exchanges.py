"""Exchange ids: an answer that was lost on the way loses nothing, and nothing is claimed twice for it."""

import pytest
from msgspec.structs import replace

from fairlane.errors import SessionGone
from fairlane.model.leases import LossReason, Report, ReportVerdict
from fairlane.model.tasks import TaskStatus
from fairlane.store import Store
from tests.builders import AGAIN, DONE, PAGE, RETURNED, a_task, a_worker, an_organization, ids, state, submitted
from tests.store.databases import Clock, Database, in_one_commit


async def test_the_same_exchange_yields_the_same_leases(store: Store) -> None:
    """Sent again it answers word for word what it answered, and claims nothing more."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    await submitted(store, organization, *[a_task(payload='{"n":1}') for _ in range(5)])
    first = await worker.exchange(places=2, exchange="e")

    again = await worker.exchange(places=2, exchange="e")

    assert sorted(again.leases, key=lambda lease: lease.id) == sorted(first.leases, key=lambda lease: lease.id)
    assert (await store.tasks.status(organization.id)).processing == 2


@pytest.mark.parametrize("how", ["reopen", "crash"])
async def test_the_same_exchange_yields_the_same_leases_after_a_restart(database: Database, how: str) -> None:
    """The next server answers what the last one did."""
    organization, worker = await an_organization(database.store, slots=10), await a_worker(database.store)
    await submitted(database.store, organization, *[a_task() for _ in range(5)])
    first = await worker.exchange(places=2, exchange="e")

    worker.store = store = await getattr(database, how)()

    assert {lease.id for lease in (await worker.exchange(places=2, exchange="e")).leases} == {
        lease.id for lease in first.leases
    }
    assert (await store.tasks.status(organization.id)).processing == 2


@pytest.mark.parametrize(("late", "left_ms"), [(2.0, 58_000), (99.0, 1)])
async def test_a_lease_that_is_sent_again_has_what_is_left_of_its_time(
    store: Store, clock: Clock, late: float, left_ms: int
) -> None:
    """Its deadline stays: with the whole time again, the attempt would go on after the server ended it.

    Found by the simulation.
    """
    organization, worker = await an_organization(store), await a_worker(store, [PAGE])
    await submitted(store, organization, a_task(PAGE))
    (lease,) = (await worker.exchange(places=1, exchange="e")).leases
    clock.advance(late)

    (again,) = (await worker.exchange(places=1, exchange="e")).leases

    assert (lease.timeout_ms, again.timeout_ms) == (60_000, left_ms)
    assert again.started_at == lease.started_at


async def test_the_span_that_submitted_a_task_reaches_every_attempt(database: Database) -> None:
    """The same exchange again, the next attempt, and another server tell of it as the first did; a task that nobody
    traced has none, in the same claim, too."""
    store = database.store
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    span = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    [traced, plain] = await submitted(store, organization, replace(a_task(), traceparent=span), a_task())

    first = await worker.exchange(places=2, exchange="e")
    again = await worker.exchange(places=2, exchange="e")
    for lease in first.leases:
        await worker.settle(lease, AGAIN)
    worker.store = await database.reopen()
    second = await worker.take(2)

    for leases in (first.leases, again.leases, second):
        assert {lease.task_id: lease.traceparent for lease in leases} == {traced: span, plain: None}
    assert {lease.attempt for lease in second} == {2}


async def test_the_same_exchange_twice_in_one_commit_claims_once(store: Store, clock: Clock) -> None:
    """Two copies that share a transaction get the same leases."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])

    one, other = await in_one_commit(store, clock, *[lambda: worker.exchange(places=2, exchange="e") for _ in range(2)])

    assert len(one.leases) == 2
    assert {lease.id for lease in one.leases} == {lease.id for lease in other.leases}
    assert (await store.tasks.status(organization.id)).processing == 2


async def test_an_answered_exchange_twice_in_one_commit_yields_each_lease_once(store: Store, clock: Clock) -> None:
    """Two late copies that share a transaction get the leases of the first answer, none of them doubled."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])
    first = await worker.exchange(places=2, exchange="e")

    copies = await in_one_commit(store, clock, *[lambda: worker.exchange(places=2, exchange="e") for _ in range(2)])

    for copy in copies:
        assert sorted(lease.id for lease in copy.leases) == sorted(lease.id for lease in first.leases)


async def test_a_late_copy_does_not_yield_what_ends_in_the_same_commit(store: Store, clock: Clock) -> None:
    """The worker got the answer, and its report overtook the copy: the lease is not handed out once more."""
    organization, worker = await an_organization(store, slots=10), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(2)])
    one, other = (await worker.exchange(places=2, exchange="e")).leases

    copy, report = await in_one_commit(
        store, clock, lambda: worker.exchange(places=2, exchange="e"), lambda: worker.exchange(Report(one.id, DONE))
    )

    assert report.verdicts == (ReportVerdict.ACCEPTED,)
    assert [lease.id for lease in copy.leases] == [other.id]
    assert (await store.tasks.status(organization.id)).processing == 1


async def test_an_exchange_id_belongs_to_its_session(store: Store) -> None:
    """Two workers that happen to use one id get leases of their own."""
    organization, worker, other = await an_organization(store, slots=10), await a_worker(store), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(5)])

    mine = await worker.exchange(places=2, exchange="e")
    theirs = await other.exchange(places=2, exchange="e")

    assert len({lease.id for lease in mine.leases + theirs.leases}) == 4


async def test_the_same_exchange_settles_once(store: Store) -> None:
    """Its reports are accepted again and counted once, and the refill is the same."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization, a_task(), a_task(), a_task())
    lease = await worker.take_one()
    first = await worker.exchange(Report(lease.id, DONE), places=1, exchange="e")

    again = await worker.exchange(Report(lease.id, DONE), places=1, exchange="e")

    assert first == again
    assert (await store.organizations.find(organization.name)).completed == 1


async def test_an_exchange_that_got_nothing_may_get_something_later(store: Store) -> None:
    """Nothing was claimed for it, so sending it again claims."""
    organization, worker = await an_organization(store), await a_worker(store)
    nothing = await worker.exchange(places=1, exchange="e")
    tasks = await submitted(store, organization)

    something = await worker.exchange(places=1, exchange="e")

    assert nothing.leases == ()
    assert ids(something.leases) == tasks


async def test_a_dead_session_exchanges_nothing(store: Store) -> None:
    """Neither its reports nor its places count, and its neighbours in the same commit are served."""
    organization, worker = await an_organization(store), await a_worker(store)
    (task, _) = await submitted(store, organization, a_task(), a_task())
    lease = await worker.take_one()
    await store.sessions.end(worker.id, reason=LossReason.DRAINED)

    with pytest.raises(SessionGone):
        await worker.exchange(Report(lease.id, DONE), places=1)

    assert await state(store, organization, task) is TaskStatus.QUEUED


async def test_a_dead_session_does_not_fail_its_neighbours(store: Store, clock: Clock) -> None:
    """In one commit the dead is refused, the living are served, each with its own verdicts."""
    organization = await an_organization(store, slots=10)
    await submitted(store, organization, *[a_task() for _ in range(6)])
    dead, one, other = await a_worker(store), await a_worker(store), await a_worker(store)
    lost, mine, theirs = await dead.take_one(), await one.take_one(), await other.take_one()
    await store.sessions.end(dead.id, reason=LossReason.LOST)

    first, refused, second = await in_one_commit(
        store, clock,
        lambda: one.exchange(Report(mine.id, DONE), Report(lost.id, DONE), places=1),
        lambda: dead.exchange(Report(lost.id, DONE), Report(mine.id, RETURNED), places=5),
        lambda: other.exchange(Report("1.x.y", DONE), Report(theirs.id, DONE), places=1),
    )  # fmt: skip

    assert isinstance(refused, SessionGone)
    assert (first.verdicts, len(first.leases)) == ((ReportVerdict.ACCEPTED, ReportVerdict.GONE), 1)
    assert (second.verdicts, len(second.leases)) == ((ReportVerdict.GONE, ReportVerdict.ACCEPTED), 1)


async def test_a_session_nobody_opened_is_gone(store: Store) -> None:
    """An unknown session is refused like a dead one."""
    worker = await a_worker(store)
    worker.session = type(worker.session)(
        id="nobody", name="x", types=("PAGE",), places=1, local=False, lease_ms=30_000
    )

    with pytest.raises(SessionGone):
        await worker.exchange(places=1)
