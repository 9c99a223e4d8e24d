"""Credits: checked at submit and at the claim, charged once with the completed outcome, granted once per grant id."""

import asyncio
from typing import Any

import pytest

from fairlane.errors import CreditsShort, KeyRefused, NameTaken, NotFound, QueueFull, TaskExists, ValidationRefused
from fairlane.model.leases import Failed, LossReason, Report, ReportVerdict
from fairlane.model.organizations import CreditTotals, Organization, OrganizationChange, Overrides
from fairlane.model.tasks import Accepted, Failure, NewTask, TaskStatus
from fairlane.store import Store, new_id
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
    state,
    submitted,
)
from tests.store.databases import Clock, Database, in_one_commit

UNPAID = Failure(code="INSUFFICIENT_CREDITS", message="Insufficient credits")
FINAL = Failed(cause="it broke", retry=False)


async def grant(store: Store, organization: Organization, amount: int) -> None:
    """Give credits, or take them back."""
    await store.credits.grant(organization.name, grant_id=new_id(), amount=amount, reason="test", actor=ACTOR)


async def switch(store: Store, organization: Organization, *, on: bool) -> None:
    """Count credits, or do not."""
    await store.organizations.change(organization.name, changes=OrganizationChange(credits=on), actor=ACTOR)


async def a_payer(store: Store, credits: int, *, slots: int = 2, queue_limit: int | None = None) -> Organization:
    """An organization whose credits are counted, with so many."""
    organization = await an_organization(store, slots=slots, queue_limit=queue_limit)
    await switch(store, organization, on=True)
    if credits:
        await grant(store, organization, credits)
    return organization


async def each(store: Store, organization: Organization, *tasks: NewTask) -> list[str]:
    """The ids of these tasks, each accepted in a request of its own: nothing is reserved by the others."""
    return [task_id for ids in [await submitted(store, organization, task) for task in tasks] for task_id in ids]


async def totals(store: Store, organization: Organization) -> tuple[int, int, int]:
    """(granted, charged, held)."""
    found = await store.credits.find(organization.id)
    return found.granted, found.charged, found.held


async def charged(store: Store, organization: Organization, task_id: str) -> int | None:
    """What this task was charged."""
    view = await store.tasks.find(organization.id, task_id)
    assert view is not None
    return view.charged


# Switched off --------------------------------------------------------------------------------------------------------


async def test_a_new_organization_is_not_limited_by_credits(store: Store) -> None:
    """Nothing is refused and nothing charged until credits are switched on; what a task costs is still shown."""
    organization, worker = await an_organization(store), await a_worker(store)
    [task_id] = await submitted(store, organization, a_task(cost=7))

    await worker.settle(await worker.take_one())

    assert organization.credits == CreditTotals(on=False, granted=0, charged=0, held=0)
    assert await totals(store, organization) == (0, 0, 0)
    assert await charged(store, organization, task_id) == 7


async def test_switching_takes_what_runs_along(store: Store) -> None:
    """What a running task costs is held before and after; it is charged if credits are on when it completes."""
    organization, worker = await an_organization(store, slots=1), await a_worker(store)
    await submitted(store, organization, a_task(cost=3), a_task(cost=3))
    lease = await worker.take_one()
    await switch(store, organization, on=True)
    await grant(store, organization, 10)

    held = await totals(store, organization)
    await worker.settle(lease)
    lease = await worker.take_one()
    await switch(store, organization, on=False)
    await worker.settle(lease)

    assert held == (10, 0, 3)
    assert await totals(store, organization) == (10, 3, 0)


async def test_an_organization_may_start_with_credits_on(store: Store) -> None:
    """And then it has none until it is granted some."""
    made = await store.organizations.create("acme", plan="default", overrides=Overrides(), credits=True, actor=ACTOR)

    assert made.credits == CreditTotals(on=True, granted=0, charged=0, held=0)
    assert isinstance((await store.tasks.submit(made.id, [a_task()]))[0], CreditsShort)


# Submitting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("balance", "accepted"), [(0, False), (4, False), (5, True), (6, True)])
async def test_a_task_is_accepted_if_the_balance_covers_it(store: Store, balance: int, accepted: bool) -> None:
    """Just below it is refused, and then nothing is created and the key is free."""
    organization = await a_payer(store, balance)

    [answer] = await store.tasks.submit(organization.id, [a_task(cost=5, key="k")])

    assert isinstance(answer, Accepted if accepted else CreditsShort)
    assert (await store.tasks.status(organization.id)).queued == int(accepted)
    assert (await store.tasks.find(organization.id, "k") is not None) == accepted
    assert await totals(store, organization) == (balance, 0, 0)
    if not accepted:
        await grant(store, organization, 5)
        assert isinstance((await store.tasks.submit(organization.id, [a_task(cost=5, key="k")]))[0], Accepted)


async def test_what_costs_nothing_needs_no_credits(store: Store) -> None:
    """Not even with a balance below zero."""
    organization, worker = await a_payer(store, -5), await a_worker(store)
    [task_id] = await submitted(store, organization, a_task(cost=0))

    await worker.settle(await worker.take_one())

    assert await state(store, organization, task_id) is TaskStatus.COMPLETED
    assert await totals(store, organization) == (-5, 0, 0)


async def test_one_request_cannot_overshoot_by_itself(store: Store) -> None:
    """An item is affordable if the balance covers it beside those accepted before it; a cheaper one still fits."""
    organization = await a_payer(store, 10)

    answers = await store.tasks.submit(organization.id, [a_task(cost=cost) for cost in (6, 5, 4, 1, 0)])
    again = await store.tasks.submit(organization.id, [a_task(cost=10)])

    assert [type(answer) for answer in answers] == [Accepted, CreditsShort, Accepted, CreditsShort, Accepted]
    assert isinstance(again[0], Accepted)  # nothing is reserved by what is queued


async def test_requests_in_one_commit_are_judged_each_for_itself(store: Store, clock: Clock) -> None:
    """The balance is not reserved by accepting: two requests beside each other are two requests after each other."""
    organization, poor = await a_payer(store, 5), await a_payer(store, 4)

    answers = await in_one_commit(
        store,
        clock,
        lambda: store.tasks.submit(organization.id, [a_task(cost=5)]),
        lambda: store.tasks.submit(poor.id, [a_task(cost=5)]),
        lambda: store.tasks.submit(organization.id, [a_task(cost=5)]),
    )

    assert [type(answer) for [answer] in answers] == [Accepted, CreditsShort, Accepted]


async def test_the_order_of_refusals(store: Store) -> None:
    """A used key before a full queue before missing credits."""
    organization = await a_payer(store, 1, queue_limit=1)
    await submitted(store, organization, a_task(cost=1, key="k"))
    poor = await a_payer(store, 0)

    used, full = await store.tasks.submit(organization.id, [a_task(cost=5, key="k"), a_task(cost=5)])
    [short] = await store.tasks.submit(poor.id, [a_task(cost=5)])

    assert [type(answer) for answer in (used, full, short)] == [TaskExists, QueueFull, CreditsShort]


# Charging ------------------------------------------------------------------------------------------------------------


async def test_a_completed_task_is_charged_once(store: Store) -> None:
    """With its outcome, however often the worker reports it."""
    organization, worker = await a_payer(store, 10), await a_worker(store)
    [task_id] = await submitted(store, organization, a_task(cost=4))
    lease = await worker.take_one()
    running = await totals(store, organization)

    verdicts = [await worker.settle(lease) for _ in range(3)]
    verdicts += (await worker.exchange(Report(lease.id, DONE), Report(lease.id, DONE))).verdicts

    assert set(verdicts) == {ReportVerdict.ACCEPTED}
    assert running == (10, 0, 4)
    assert await totals(store, organization) == (10, 4, 0)
    assert await charged(store, organization, task_id) == 4


@pytest.mark.parametrize("ending", [FINAL, AGAIN, RETURNED, Failed(cause="x", pause_ms=60_000)])
async def test_what_does_not_complete_costs_nothing(store: Store, ending: Failed) -> None:
    """Failed, tried again, handed back: what was held is free; the failed task says 0, the others nothing yet."""
    organization, worker = await a_payer(store, 10), await a_worker(store)
    [task_id] = await submitted(store, organization, a_task(cost=4))

    await worker.settle(await worker.take_one(), ending)

    failed = await state(store, organization, task_id) is TaskStatus.FAILED
    assert await charged(store, organization, task_id) == (0 if failed else None)
    assert await totals(store, organization) == (10, 0, 0)


async def test_a_task_is_charged_once_whatever_its_attempts(store: Store) -> None:
    """Two that failed and one that completed cost what one costs."""
    organization, worker = await a_payer(store, 4), await a_worker(store)
    [task_id] = await submitted(store, organization, a_task(cost=4))
    for ending in (AGAIN, AGAIN, DONE):
        await worker.settle(await worker.take_one(), ending)

    assert await state(store, organization, task_id) is TaskStatus.COMPLETED
    assert await totals(store, organization) == (4, 4, 0)


async def test_a_lost_workers_late_report_charges_nothing(store: Store) -> None:
    """The attempt was given up and made again: the second completes and is charged, the first is not."""
    organization, worker, other = await a_payer(store, 9), await a_worker(store), await a_worker(store)
    await submitted(store, organization, a_task(cost=4))
    lost = await worker.take_one()
    await store.sessions.end(worker.id, reason=LossReason.LOST)
    lease = await other.take_one()

    late = await other.exchange(Report(lost.id, DONE))
    await other.settle(lease)
    too_late = await other.exchange(Report(lost.id, DONE))

    assert (late.verdicts, too_late.verdicts) == ((ReportVerdict.GONE,), (ReportVerdict.GONE,))
    assert await totals(store, organization) == (9, 4, 0)


async def test_charges_survive_a_crash(database: Database) -> None:
    """What was charged before is charged once after; what ran holds its cost, and gives it back when it is returned."""
    store = database.store
    organization, worker = await a_payer(store, 9), await a_worker(store)
    await submitted(store, organization, a_task(cost=4), a_task(cost=3))
    first, _ = await worker.take(2)
    await worker.settle(first)

    store = await database.crash()
    found = await totals(store, organization)
    await store.sessions.end(worker.id, reason=LossReason.LOST)

    assert found == (9, 4, 3)
    assert await totals(store, organization) == (9, 4, 0)


async def test_a_failed_commit_charges_nothing(database: Database) -> None:
    """The outcome and its charge are one: neither is there without the other."""
    store = database.store
    organization, worker = await a_payer(store, 9), await a_worker(store)
    [task_id] = await submitted(store, organization, a_task(cost=4))
    lease = await worker.take_one()
    with database.failing_commit():
        await in_one_commit(store, database.clock, lambda: worker.settle(lease))
    store = worker.store = await database.reopen()
    before = await totals(store, organization), await state(store, organization, task_id)

    await worker.settle(lease)

    assert before == ((9, 0, 4), TaskStatus.PROCESSING)
    assert await totals(store, organization) == (9, 4, 0)


# Claiming ------------------------------------------------------------------------------------------------------------


async def test_a_task_that_cannot_be_paid_at_its_turn_fails(store: Store) -> None:
    """It never started, cost nothing, and its webhook is owed; a slot is not used."""
    organization, worker = await a_payer(store, 5), await a_worker(store)
    first, second = await each(store, organization, a_task(cost=5), a_task(cost=5, webhook="hooks.example"))
    await worker.settle(await worker.take_one())

    leases = await worker.take(2)

    view = await store.tasks.find(organization.id, second)
    assert view is not None
    assert leases == []
    assert (view.status, view.failure, view.latency_ms, view.charged) == (TaskStatus.FAILED, UNPAID, None, 0)
    assert await state(store, organization, first) is TaskStatus.COMPLETED
    assert [delivery.task_id for delivery in (await store.deliveries.page(organization.id, most=9)).deliveries] == [
        second
    ]
    status = await store.tasks.status(organization.id)
    assert (status.queued, status.processing) == (0, 0)
    assert (await store.organizations.find(organization.name)).failed == 1


async def test_a_task_that_started_before_keeps_its_latency(store: Store, clock: Clock) -> None:
    """Between its attempts the balance went: it fails with the time since its first start."""
    organization, worker = await a_payer(store, 5), await a_worker(store)
    [task_id] = await each(store, organization, a_task(cost=5))
    await worker.settle(await worker.take_one(), AGAIN)
    await grant(store, organization, -1)
    clock.advance(2)

    assert await worker.take(1) == []
    view = await store.tasks.find(organization.id, task_id)

    assert view is not None
    assert (view.failure, view.latency_ms) == (UNPAID, 2_000)


async def test_a_task_waits_for_credits_that_running_work_holds(store: Store) -> None:
    """Its organization starts nothing then, and is in nobody's way; when the credits are free it starts at once."""
    organization, worker = await a_payer(store, 8, slots=5), await a_worker(store)
    first, second, third = await each(store, organization, *[a_task(cost=4) for _ in range(3)])
    leases = await worker.take(5)
    other = await an_organization(store)
    await submitted(store, other)

    meanwhile = await worker.take(5)
    reply = await worker.exchange(Report(leases[0].id, FINAL), places=5)

    assert ids(leases) == [first, second]
    assert [lease.organization for lease in meanwhile] == [other.name]
    assert ids(reply.leases) == [third]
    assert await totals(store, organization) == (8, 0, 8)


async def test_a_task_that_waits_for_credits_takes_no_room_of_its_type(store: Store) -> None:
    """Of a type with room for one more, another organization's task starts, before the later one behind it."""
    payer, other = await a_payer(store, 4), await an_organization(store, slots=2)
    worker = await a_worker(store)
    await each(store, payer, a_task(cost=4), a_task(LIMITED, cost=4))
    await submitted(store, other, a_task(LIMITED))
    assert len((await worker.exchange(places=2)).leases) == 2
    limited, _later = await submitted(store, other, a_task(LIMITED), a_task(PAGE))

    taken = (await worker.exchange(places=2)).leases

    assert ids(taken) == [limited]


async def test_while_it_waits_nothing_is_announced(store: Store) -> None:
    """No worker is woken for a task that cannot start: not by claims, not by further submits."""
    organization, worker = await a_payer(store, 4, slots=5), await a_worker(store)
    await each(store, organization, a_task(cost=4), a_task(cost=4))
    await worker.take(5)
    told = hears(store, "startable")

    await each(store, organization, a_task(cost=4))
    found = await worker.take(5)
    await asyncio.sleep(0)

    assert (found, told) == ([], [])
    await grant(store, organization, 4)
    await asyncio.sleep(0)
    assert told == [frozenset([PAGE])]
    assert len(await worker.take(5)) == 1


async def test_a_grant_starts_what_waits(store: Store) -> None:
    """As soon as it covers the cost beside what is held; not before."""
    organization, worker = await a_payer(store, 4, slots=5), await a_worker(store)
    _, second = await each(store, organization, a_task(cost=4), a_task(cost=4))
    await worker.take(5)

    await grant(store, organization, 3)
    early = await worker.take(5)
    await grant(store, organization, 1)

    assert early == []
    assert ids(await worker.take(5)) == [second]


async def test_switching_credits_off_starts_what_waits(store: Store) -> None:
    """Nothing is counted any more."""
    organization, worker = await a_payer(store, 4, slots=5), await a_worker(store)
    _, second = await each(store, organization, a_task(cost=4), a_task(cost=4))
    await worker.take(5)

    await switch(store, organization, on=False)

    assert ids(await worker.take(5)) == [second]


async def test_what_waits_fails_once_the_balance_is_gone(store: Store) -> None:
    """The running task completed and took the credits: the balance no longer covers the one that waited."""
    organization, worker = await a_payer(store, 4, slots=5), await a_worker(store)
    _, second = await each(store, organization, a_task(cost=4), a_task(cost=4))
    lease = await worker.take_one()
    await worker.take(5)

    await worker.exchange(Report(lease.id, DONE), places=5)

    assert await state(store, organization, second) is TaskStatus.FAILED
    assert await totals(store, organization) == (4, 4, 0)


async def test_cheaper_tasks_do_not_pass_by_the_one_that_waits(store: Store) -> None:
    """They would hold what it waits for, for ever. It is next when the credits are free."""
    organization = await a_payer(store, 6, slots=5)
    worker, images = await a_worker(store), await a_worker(store, [IMAGE])
    await each(store, organization, a_task(cost=2), a_task(cost=6), a_task(IMAGE, cost=1), a_task(cost=1))
    (lease,) = await worker.take(5)

    passing = await images.take(5)
    await worker.settle(lease, FINAL)
    (dear,) = await worker.take(5)

    assert passing == []
    assert (await totals(store, organization))[2] == 6
    await worker.settle(dear, FINAL)
    assert len(await images.take(5)) == 1
    assert len(await worker.take(5)) == 1


@pytest.mark.parametrize("how", ["cleared", "canceled"])
async def test_when_the_one_that_waits_is_gone_cheaper_tasks_start(store: Store, how: str) -> None:
    """At once, although what it waited for is still held."""
    organization, worker = await a_payer(store, 6, slots=5), await a_worker(store)
    _, dear = await each(store, organization, a_task(cost=2), a_task(cost=6))
    await worker.take(5)
    assert await worker.take(5) == []

    if how == "cleared":
        await store.tasks.clear(organization.id)
    else:
        await store.tasks.cancel(organization.id, dear)
    cheap = await submitted(store, organization, a_task(cost=1))

    assert ids(await worker.take(5)) == cheap
    assert (await totals(store, organization))[2] == 3


async def test_a_correction_below_what_is_held_ends_nothing(store: Store) -> None:
    """What runs goes on and is charged; the balance may fall below zero; nothing more starts."""
    organization, worker = await a_payer(store, 8, slots=1), await a_worker(store)
    first, second = await each(store, organization, a_task(cost=4), a_task(cost=4))
    lease = await worker.take_one()

    await grant(store, organization, -6)
    await worker.settle(lease)

    assert await state(store, organization, first) is TaskStatus.COMPLETED
    assert (await store.credits.find(organization.id)).balance() == -2
    assert await worker.take(1) == []
    assert await state(store, organization, second) is TaskStatus.FAILED


async def test_who_is_not_counted_starts_in_the_same_claim_as_who_is(store: Store) -> None:
    """One pays, one is not asked, one cannot pay: each meets its own rule."""
    payer, free, poor = await a_payer(store, 4), await an_organization(store), await a_payer(store, 4)
    worker = await a_worker(store)
    tasks = [(await submitted(store, one, a_task(cost=4)))[0] for one in (payer, free, poor)]
    await grant(store, poor, -4)

    leases = await worker.take(5)

    assert sorted(ids(leases)) == sorted(tasks[:2])
    assert await state(store, poor, tasks[2]) is TaskStatus.FAILED
    assert [(await totals(store, one))[2] for one in (payer, free)] == [4, 4]


async def test_thousands_that_cannot_be_paid_keep_nobody_waiting(store: Store) -> None:
    """They end in bounded rounds, and in each of them the other organization's task starts in its turn."""
    organization, worker = await a_payer(store, 5_000, slots=5), await a_worker(store)
    for _ in range(2):
        await submitted(store, organization, *[a_task(cost=5) for _ in range(500)])
    await grant(store, organization, -5_000)
    other = await an_organization(store, slots=20)
    await submitted(store, other, *[a_task() for _ in range(12)])
    started, rounds = 0, 0
    while (await store.tasks.status(organization.id)).queued:
        leases = (await worker.exchange(places=1)).leases
        started, rounds = started + len(leases), rounds + 1

    assert 9 <= rounds <= 12
    assert started == rounds
    assert (await store.organizations.find(organization.name)).failed == 1_000


async def test_only_the_oldest_unpaid_tasks_fail(store: Store) -> None:
    """One that can be paid stops it: those behind it have not had their turn yet."""
    organization, worker = await a_payer(store, 9, slots=1), await a_worker(store)
    tasks = await each(store, organization, *[a_task(cost=cost) for cost in (9, 9, 2, 9)])
    await grant(store, organization, -7)

    leases = await worker.take(1)

    assert ids(leases) == [tasks[2]]
    states = [await state(store, organization, task) for task in tasks]
    assert states == [TaskStatus.FAILED, TaskStatus.FAILED, TaskStatus.PROCESSING, TaskStatus.QUEUED]


# Grants --------------------------------------------------------------------------------------------------------------


async def test_a_grant_counts_once(store: Store) -> None:
    """The same id again answers the first and changes nothing; another amount or reason under it is refused."""
    organization = await a_payer(store, 0)
    again: dict[str, Any] = {"grant_id": "invoice-7", "amount": 50, "reason": "invoice 7", "actor": "ann"}

    grants = [await store.credits.grant(organization.name, **again) for _ in range(3)]
    for another in ({"amount": 51}, {"reason": "invoice 8"}):
        with pytest.raises(NameTaken):
            await store.credits.grant(organization.name, **again | another)

    assert grants[0] == grants[1] == grants[2]
    assert await totals(store, organization) == (50, 0, 0)
    assert await store.credits.grants(organization.name, most=10) == [grants[0]]
    written = [row for row in await store.trail.page() if row.action == "credits.granted"]
    assert [(row.actor, row.subject, row.details["amount"]) for row in written] == [("ann", organization.name, 50)]


async def test_grant_ids_are_each_organizations_own(store: Store, clock: Clock) -> None:
    """The history is the newest first, as many as asked for."""
    one, other = await a_payer(store, 0), await a_payer(store, 0)
    for organization, amount in ((one, 5), (other, 6)):
        await store.credits.grant(organization.name, grant_id="first", amount=amount, reason="r", actor=ACTOR)
    clock.advance(1)
    await store.credits.grant(one.name, grant_id="second", amount=-2, reason="r", actor=ACTOR)

    assert [(row.id, row.amount) for row in await store.credits.grants(one.name, most=10)] == [
        ("second", -2),
        ("first", 5),
    ]
    assert [row.id for row in await store.credits.grants(one.name, most=1)] == ["second"]
    assert await totals(store, other) == (6, 0, 0)


async def test_grants_at_once_all_count(store: Store) -> None:
    """A hundred beside each other, each of them twice, beside running work."""
    organization, worker = await a_payer(store, 10, slots=5), await a_worker(store)
    await each(store, organization, *[a_task(cost=1) for _ in range(5)])
    names = [f"grant-{number}" for number in range(100)] * 2

    await asyncio.gather(
        *[store.credits.grant(organization.name, grant_id=name, amount=3, reason="r", actor=ACTOR) for name in names],
        *[worker.exchange(places=1) for _ in range(5)],
    )

    assert await totals(store, organization) == (310, 0, 5)


async def test_a_total_out_of_range_is_refused(store: Store) -> None:
    """Clients read it as a number of 53 bits."""
    organization = await a_payer(store, 10**15)

    with pytest.raises(ValidationRefused):
        await grant(store, organization, 1)
    await grant(store, organization, -1)

    assert await totals(store, organization) == (10**15 - 1, 0, 0)


async def test_nobody_elses_credits(store: Store) -> None:
    """Names and ids that are not there are refused."""
    with pytest.raises(NotFound):
        await store.credits.grant("nobody", grant_id="g", amount=1, reason="r", actor=ACTOR)
    with pytest.raises(NotFound):
        await store.credits.grants("nobody", most=1)
    with pytest.raises(KeyRefused):
        await store.credits.find(999)


async def test_drift_of_credits_is_found_and_mended(database: Database) -> None:
    """What is held and what was granted is recounted from leases and grants; what was charged is what was recorded."""
    store = database.store
    organization, worker = await a_payer(store, 9, slots=1), await a_worker(store)
    await each(store, organization, a_task(cost=4), a_task(cost=1))
    await worker.settle(await worker.take_one())
    lease = await worker.take_one()
    await database.close()
    database.rows("UPDATE organization SET credits_held = 3, credits_granted = 8 WHERE id = :id", id=organization.id)
    store = worker.store = await database.open()

    found = await store.recount.find()
    mended = await store.recount.repair(organization.name, actor=ACTOR)

    assert {(drift.name, drift.kept, drift.counted) for drift in found} == {
        ("credits held", 3, 1),
        ("credits granted", 8, 9),
    }
    assert mended == found
    assert await totals(store, organization) == (9, 4, 1)
    await worker.settle(lease)
    assert await totals(store, organization) == (9, 5, 0)


async def test_more_released_than_held_marks_the_organization(database: Database) -> None:
    """A count that is too low fails nobody, and is repaired."""
    store = database.store
    organization, worker = await a_payer(store, 9), await a_worker(store)
    await each(store, organization, a_task(cost=4))
    lease = await worker.take_one()
    await database.close()
    database.rows("UPDATE organization SET credits_held = 1 WHERE id = :id", id=organization.id)
    store = worker.store = await database.open()

    assert await worker.settle(lease) is ReportVerdict.ACCEPTED
    assert await store.recount.drifted() == [organization.name]
    await store.recount.repair(organization.name, actor=ACTOR)
    assert await totals(store, organization) == (9, 4, 0)
