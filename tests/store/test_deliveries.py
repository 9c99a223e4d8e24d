"""Deliveries: owed with the outcome, claimed for one try each, and ended by the first success or the last failure."""

from functools import partial
from typing import Any

import pytest
from msgspec import structs

from fairlane.errors import NotFound, Refusal, ValidationRefused
from fairlane.model.leases import Ending, Failed, LossReason, Report
from fairlane.model.organizations import Organization
from fairlane.model.tasks import TaskStatus, Told
from fairlane.model.webhooks import (
    INTERRUPTED,
    Delivery,
    DeliveryFilter,
    DeliveryStatus,
    DueDelivery,
    HostHold,
    Tried,
)
from fairlane.rules.deliveries import Addressed, DeliveryLimits, SenderState
from fairlane.store import Store, new_id
from tests.builders import (
    DONE,
    FRAGILE,
    Worker,
    a_task,
    a_webhook,
    a_worker,
    an_organization,
    claimed_deliveries,
    hears,
    ids,
    submitted,
)
from tests.store.databases import Clock, Database, in_one_commit

CLAIM_MS = 30_000
LIMITS = DeliveryLimits()


async def owed(store: Store, organization: Organization, *hosts: str, worker: Worker | None = None) -> list[str]:
    """Finished tasks with webhooks at these hosts, in this order; their ids."""
    worker = worker or await a_worker(store)
    tasks = await submitted(store, organization, *[a_task(webhook=host) for host in hosts])
    leases = await worker.take(len(tasks))
    assert ids(leases) == tasks
    await worker.exchange(*[Report(lease.id, DONE) for lease in leases])
    return tasks


async def claimed(store: Store, *under_way: Addressed, limits: DeliveryLimits = LIMITS) -> list[DueDelivery]:
    """What may be tried now."""
    state = SenderState(limits=limits, under_way=[(*one, False, 0) for one in under_way])
    return await claimed_deliveries(store, state, claim_ms=CLAIM_MS)


async def deliveries(store: Store, organization: Organization) -> list[Delivery]:
    """All of an organization's, oldest first."""
    return [*(await store.deliveries.page(organization.id, most=100)).deliveries][::-1]


def ended(one: DueDelivery, clock: Clock, error: str | None = None, *, http_status: int | None = 200) -> Tried:
    """How a try ended."""
    return Tried(
        delivery_id=one.id, number=one.number, at=clock(), http_status=http_status, error=error, took_ms=5, cause="c"
    )


def failed(one: DueDelivery, clock: Clock) -> Tried:
    """The receiver answered 500."""
    return ended(one, clock, "status", http_status=500)


# Owed ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [DONE, Failed(cause="x", retry=False)])
async def test_a_delivery_is_owed_with_the_outcome(store: Store, clock: Clock, ending: Ending) -> None:
    """Completed or failed, in the same transaction, due at once; and whoever sends is told."""
    heard = hears(store, "owed")
    organization, worker = await an_organization(store), await a_worker(store)
    (task,) = await submitted(store, organization, a_task(webhook="a.example"))
    lease = await worker.take_one()
    before = await store.deliveries.next_due_at(), len(heard)

    await worker.settle(lease, ending)

    assert before == (None, 0)
    assert (await store.deliveries.next_due_at(), len(heard)) == (clock(), 1)
    (one,) = await claimed(store)
    assert (one.task_id, one.organization_id, one.url, one.host, one.number, one.body) == (
        task, organization.id, a_webhook("a.example").url, "a.example", 1, None,
    )  # fmt: skip


async def test_a_lost_task_owes_when_it_has_failed(store: Store) -> None:
    """Also where the outcome is written for a worker that died."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(FRAGILE, webhook="a.example"))
    await worker.take_one()

    await store.sessions.end(worker.id, reason=LossReason.LOST)

    assert len(await claimed(store)) == 1


async def test_nothing_is_owed_without_a_webhook_or_before_the_end(store: Store, clock: Clock) -> None:
    """A pause between attempts is no end, and most tasks have no webhook."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(), a_task(webhook="a.example"))
    plain, told = await worker.take(2)

    await worker.exchange(Report(plain.id, DONE), Report(told.id, Failed(cause="x", pause_ms=1)))

    assert await store.deliveries.next_due_at() is None
    assert await deliveries(store, organization) == []


async def test_a_report_sent_twice_owes_once(store: Store) -> None:
    """As there is one outcome."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(webhook="a.example"))
    lease = await worker.take_one()

    await worker.settle(lease)
    await worker.settle(lease)

    assert len(await deliveries(store, organization)) == 1


async def test_a_retried_attempt_keeps_its_webhook(store: Store) -> None:
    """The lease carries the mark anew each time."""
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(webhook="a.example"))
    await worker.settle(await worker.take_one(), Failed(cause="x", pause_ms=0))

    await worker.settle(await worker.take_one())

    assert len(await claimed(store)) == 1


async def test_what_is_owed_survives_a_crash(database: Database) -> None:
    """It was committed with the outcome."""
    organization = await an_organization(database.store)
    (task,) = await owed(database.store, organization, "a.example")

    store = await database.crash()

    assert [one.task_id for one in await claimed(store)] == [task]


# Claiming ------------------------------------------------------------------------------------------------------------


async def test_an_organizations_deliveries_are_handed_out_in_the_order_of_completion(store: Store) -> None:
    """Not of submission; those of one commit in the order of their reports (I11)."""
    organization, worker = await an_organization(store, slots=6), await a_worker(store)
    await submitted(store, organization, *[a_task(webhook=f"{number}.example") for number in range(6)])
    leases = await worker.take(6)
    order = [3, 1, 5, 0, 4, 2]

    await worker.exchange(*[Report(leases[number].id, DONE) for number in order])

    assert [one.task_id for one in await claimed(store)] == [leases[number].task_id for number in order]


async def test_a_claim_lasts_until_it_runs_out(store: Store, clock: Clock) -> None:
    """Nobody else gets it before; then it is tried again under the next number, and the first counts as interrupted."""
    organization = await an_organization(store)
    await owed(store, organization, "a.example")
    (first,) = await claimed(store)
    clock.at += CLAIM_MS - 1

    early = await claimed(store)
    clock.at += 1
    (second,) = await claimed(store)

    assert (early, first.number, second.number, second.id) == ([], 1, 2, first.id)
    (delivery,) = await deliveries(store, organization)
    assert delivery.trying
    assert [(one.number, one.error, one.at) for one in delivery.tries] == [(1, INTERRUPTED, clock() - CLAIM_MS)]


async def test_a_clock_that_jumps_leaves_a_delivery_its_pause(store: Store, clock: Clock) -> None:
    """After the clock was set back by an hour a message is not tried an hour later, and one that is owed since then is
    due at once.

    Found by the simulation.
    """
    organization, worker = await an_organization(store), await a_worker(store)
    await submitted(store, organization, a_task(webhook="hooks.example"), a_task(webhook="hooks.example"))
    await worker.settle(await worker.take_one())
    await claimed_deliveries(store, claim_ms=30_000)
    await store.jumps.follow(lambda: 0)
    clock.advance(-3_600 + 2)
    await worker.settle(await worker.take_one())

    await store.jumps.follow(lambda: 2)

    (fresh,) = await claimed_deliveries(store, claim_ms=30_000)
    clock.advance(30)
    assert fresh.id not in [again.id for again in await claimed_deliveries(store, claim_ms=60_000) if again.number == 1]
    assert await store.deliveries.next_due_at() == clock.at + 60_000


async def test_a_crash_between_sending_and_recording_sends_again(database: Database, clock: Clock) -> None:
    """The new server cannot know; at least once."""
    organization = await an_organization(database.store)
    await owed(database.store, organization, "a.example")
    await claimed(database.store)

    store = await database.crash()
    clock.at += CLAIM_MS

    assert [one.number for one in await claimed(store)] == [2]


async def test_no_host_and_no_organization_gets_more_than_its_places(store: Store) -> None:
    """Tries under way count. What cannot begin holds up nothing behind it, and organizations take turns."""
    limits = DeliveryLimits(total=100, organization=3, host=2)
    crowded, other = await an_organization(store, slots=9), await an_organization(store, slots=9)
    await owed(store, crowded, "a", "a", "a", "b", "b", "c", "d")
    await owed(store, other, "a", "d")

    chosen = await claimed(store, (other.id, "b"), limits=limits)

    assert [(one.organization_id, one.host) for one in chosen] == [
        (crowded.id, "a"), (other.id, "a"), (crowded.id, "b"), (other.id, "d"), (crowded.id, "c"),
    ]  # fmt: skip


async def test_the_whole_has_a_limit(store: Store) -> None:
    """Tries under way and new ones together. Beyond it an organization gets one place of the reserve."""
    organization = await an_organization(store, slots=9)
    await owed(store, organization, *"abcdefg")
    limits = DeliveryLimits(total=3, reserve=1)

    assert len(await claimed(store, (9, "x"), limits=limits)) == 3
    assert len(await claimed(store, *[(9, "x")] * 3, limits=limits)) == 1
    assert await claimed(store, *[(9, "x")] * 3, limits=DeliveryLimits(total=3, reserve=0)) == []


async def test_a_long_row_before_a_dead_host_hides_nothing(store: Store) -> None:
    """However much is due for one host, the others' deliveries are found beside it."""
    crowded, other = await an_organization(store, slots=200), await an_organization(store)
    await owed(store, crowded, *["dead"] * 200)
    await owed(store, other, "alive")

    chosen = await claimed(store, *[(crowded.id, "dead")] * 4)

    assert [one.host for one in chosen] == ["alive"]


# Recording -----------------------------------------------------------------------------------------------------------


async def test_the_first_success_ends_it(store: Store, clock: Clock) -> None:
    """It is never due again, and the task says when."""
    organization = await an_organization(store)
    (task,) = await owed(store, organization, "a.example")
    (one,) = await claimed(store)
    clock.advance(2)

    await store.deliveries.record(ended(one, clock))

    (delivery,) = await deliveries(store, organization)
    view = await store.tasks.find(organization.id, task)
    assert view is not None
    assert view.webhook == Told(a_webhook("a.example").url, clock())
    assert (delivery.delivered_at, delivery.due_at, delivery.trying) == (clock(), None, False)
    assert await store.deliveries.next_due_at() is None


async def test_failed_tries_follow_the_schedule(store: Store, clock: Clock) -> None:
    """2, 4, 8, 16 minutes, a tenth more or less; five tries; then it is given up (contract, 9.2)."""
    organization = await an_organization(store)
    (task,) = await owed(store, organization, "a.example")
    pauses, numbers = [], []
    while (due_at := await store.deliveries.next_due_at()) is not None:
        pauses.append((due_at - clock()) / 1_000)
        clock.at = due_at - 1
        assert await claimed(store) == []
        clock.at = due_at
        (one,) = await claimed(store)
        numbers.append(one.number)
        await store.deliveries.record(failed(one, clock))

    assert numbers == [1, 2, 3, 4, 5]
    assert pauses[0] == 0
    for pause, wanted in zip(pauses[1:], [120, 240, 480, 960], strict=True):
        assert wanted * 0.9 <= pause <= wanted * 1.1
    view = await store.tasks.find(organization.id, task)
    assert view is not None
    assert view.webhook == Told(a_webhook("a.example").url, None)


@pytest.mark.parametrize(("asked_ms", "expected_ms"), [(60_000, 120_000), (3_600_000, 3_600_000)])
async def test_the_next_try_is_the_later_of_the_schedule_and_what_was_asked(
    store: Store, clock: Clock, asked_ms: int, expected_ms: int
) -> None:
    """A receiver that is busy says when it wants to hear from us again; the last try stays the last."""
    organization = await an_organization(store)
    await owed(store, organization, "a.example")
    for _ in range(4):
        (one,) = await claimed(store)
        await store.deliveries.record(structs.replace(failed(one, clock), wait_ms=asked_ms))
        due_at = await store.deliveries.next_due_at()
        assert due_at is not None
        if one.number == 1:
            assert expected_ms * 0.9 <= due_at - clock() <= expected_ms * 1.1
        clock.at = due_at
    (last,) = await claimed(store)

    await store.deliveries.record(structs.replace(failed(last, clock), wait_ms=asked_ms))

    assert await store.deliveries.next_due_at() is None


async def test_a_try_that_began_after_a_crash_at_the_last_one_is_the_last(store: Store, clock: Clock) -> None:
    """An interrupted fifth try is repeated; if that fails it is over."""
    organization = await an_organization(store)
    await owed(store, organization, "a.example")
    for _ in range(5):
        (one,) = await claimed(store)
        clock.at += CLAIM_MS
    (sixth,) = await claimed(store)

    await store.deliveries.record(failed(sixth, clock))

    assert (one.number, sixth.number) == (5, 6)
    assert await store.deliveries.next_due_at() is None


async def test_a_late_word_counts_if_it_is_a_success(store: Store, clock: Clock) -> None:
    """The claim ran out and a second try began: the first one's failure is remembered, its success ends it."""
    organization = await an_organization(store, slots=2)
    await owed(store, organization, "a.example", "b.example")
    first = await claimed(store)
    clock.at += CLAIM_MS
    second = await claimed(store)

    await store.deliveries.record(failed(first[0], clock))
    await store.deliveries.record(ended(first[1], clock))

    failing, done = await deliveries(store, organization)
    assert (failing.trying, [one.error for one in failing.tries]) == (True, ["status"])
    assert (done.trying, done.delivered_at, [one.error for one in done.tries]) == (False, clock(), [None])
    await store.deliveries.record(failed(second[1], clock))
    assert (await deliveries(store, organization))[1].delivered_at == clock()


async def test_a_word_twice_changes_nothing_more(store: Store, clock: Clock) -> None:
    """Recording is safe to repeat."""
    organization = await an_organization(store)
    await owed(store, organization, "a.example")
    (one,) = await claimed(store)

    await store.deliveries.record(failed(one, clock))
    due_at = await store.deliveries.next_due_at()
    await store.deliveries.record(failed(one, clock))

    assert await store.deliveries.next_due_at() == due_at
    assert len((await deliveries(store, organization))[0].tries) == 1


async def test_many_words_fit_one_commit(store: Store, clock: Clock) -> None:
    """Each is about its own delivery, one of nobody's is no matter."""
    organization = await an_organization(store, slots=3)
    await owed(store, organization, "a", "b", "c")
    one, two, three = await claimed(store)
    nobody = Tried(delivery_id=new_id(), number=1, at=0, http_status=None, error=None, took_ms=0)

    words = [ended(one, clock), nobody, failed(two, clock), ended(three, clock, "timeout", http_status=None)]

    answers = await in_one_commit(store, clock, *[partial(store.deliveries.record, word) for word in words])

    assert answers == [None] * 4
    assert [delivery.delivered_at for delivery in await deliveries(store, organization)] == [clock(), None, None]


# Asked for -----------------------------------------------------------------------------------------------------------


async def test_redelivery_goes_on_counting(store: Store, clock: Clock) -> None:
    """Given up or delivered, it is due at once under the next number; a second success keeps the first moment."""
    organization = await an_organization(store)
    await owed(store, organization, "a.example")
    (one,) = await claimed(store)
    await store.deliveries.record(ended(one, clock))
    delivered_at = clock()
    clock.advance(60)

    again = await store.deliveries.redeliver(organization.id, one.id)
    (two,) = await claimed(store)
    await store.deliveries.record(ended(two, clock))

    assert (again.due_at, two.number) == (clock(), 2)
    (delivery,) = await deliveries(store, organization)
    assert (delivery.delivered_at, delivery.due_at, len(delivery.tries)) == (delivered_at, None, 2)


async def test_a_redelivery_of_what_was_delivered_is_tried_once(store: Store, clock: Clock) -> None:
    """Somebody asked for one more, not for a schedule."""
    organization = await an_organization(store)
    await owed(store, organization, "a.example")
    (one,) = await claimed(store)
    await store.deliveries.record(ended(one, clock))
    await store.deliveries.redeliver(organization.id, one.id)
    (two,) = await claimed(store)

    await store.deliveries.record(failed(two, clock))

    assert await store.deliveries.next_due_at() is None


async def test_a_redelivery_leaves_a_running_try_alone(store: Store, clock: Clock) -> None:
    """There are never two at once."""
    organization = await an_organization(store)
    await owed(store, organization, "a.example")
    await claimed(store)

    again = await store.deliveries.redeliver(organization.id, (await deliveries(store, organization))[0].id)

    assert again.trying
    assert await claimed(store) == []


async def test_nobody_redelivers_what_is_anothers(store: Store, clock: Clock) -> None:
    """Unknown and foreign are the same."""
    organization, other = await an_organization(store), await an_organization(store)
    await owed(store, organization, "a.example")
    (one,) = await claimed(store)
    await store.deliveries.record(ended(one, clock))

    for identity in (one.id, new_id()):
        with pytest.raises(NotFound):
            await store.deliveries.redeliver(other.id, identity)

    assert await store.deliveries.next_due_at() is None
    assert await deliveries(store, other) == []


async def test_a_test_event_is_tried_once(store: Store, clock: Clock) -> None:
    """It carries its body, and is no task's."""
    organization = await an_organization(store)
    identity = new_id()

    made = await store.deliveries.create_test(organization.id, a_webhook(), delivery_id=identity, body='{"é":1}')
    (one,) = await claimed(store)
    await store.deliveries.record(failed(one, clock))

    assert (made.id, made.task_id, made.due_at) == (identity, None, clock())
    assert (one.id, one.task_id, one.body, one.number) == (identity, None, '{"é":1}', 1)
    assert await store.deliveries.next_due_at() is None


async def test_ten_test_events_may_wait(store: Store, clock: Clock) -> None:
    """Nobody floods a stranger through us; other organizations are not concerned."""
    organization, other = await an_organization(store), await an_organization(store)

    async def ask(one: Organization) -> Delivery | Refusal:
        return await store.deliveries.create_test(one.id, a_webhook(), delivery_id=new_id(), body="{}")

    for _ in range(10):
        await ask(organization)
    with pytest.raises(ValidationRefused):
        await ask(organization)

    await ask(other)
    (first, *_) = await claimed(store)
    await store.deliveries.record(ended(first, clock))
    await ask(organization)


async def test_deliveries_are_listed_newest_first_in_pages(store: Store) -> None:
    """The last id of a page is where the next begins."""
    organization = await an_organization(store, slots=5)
    tasks = await owed(store, organization, *"abcde")

    first = await store.deliveries.page(organization.id, most=3)
    second = await store.deliveries.page(organization.id, cursor=first.next_cursor, most=3)

    assert [one.task_id for one in first.deliveries + second.deliveries] == tasks[::-1]
    assert first.next_cursor == first.deliveries[-1].id
    assert second.next_cursor is None
    assert (await store.deliveries.page(organization.id, most=5)).next_cursor is None


async def test_deliveries_are_listed_by_every_condition(store: Store, clock: Clock) -> None:
    """Status, beginning of URL and host, task and time, each of them and together; others' deliveries never."""
    organization, other = await an_organization(store, slots=5), await an_organization(store)
    (given,) = await owed(store, organization, "c.example")
    while (due_at := await store.deliveries.next_due_at()) is not None:
        clock.at = due_at
        (last,) = await claimed(store)
        await store.deliveries.record(failed(last, clock))
    (late,) = await owed(store, other, "a.example")
    old, delivered, held = await owed(store, organization, "a.example", "a.example", "b.example")
    tries = {one.task_id: one for one in await claimed(store)}
    await store.deliveries.record(ended(tries[delivered], clock))
    await store.deliveries.record(failed(tries[held], clock))

    async def found(**chosen: Any) -> list[str | None]:
        page = await store.deliveries.page(organization.id, chosen=DeliveryFilter(**chosen), most=10)
        assert page.next_cursor is None
        return [one.task_id for one in page.deliveries]

    assert await found(status=DeliveryStatus.DELIVERED) == [delivered]
    assert await found(status=DeliveryStatus.TRYING) == [old]
    assert await found(status=DeliveryStatus.DUE) == [held]
    assert await found(status=DeliveryStatus.GIVEN_UP) == [given]
    assert await found(host_prefix="a.example") == [delivered, old]
    assert await found(host_prefix="a.example", status=DeliveryStatus.DELIVERED) == [delivered]
    assert await found(host_prefix="a.exampler") == []
    assert await found(url_prefix=a_webhook("b.example").url) == [held]
    assert await found(task_id=held) == [held]
    assert await found(task_id=held, status=DeliveryStatus.DELIVERED) == []
    assert await found(task_id=late) == []
    assert await found(created_from=clock.at, created_before=clock.at + 1) == [held, delivered, old]
    assert await found(created_before=clock.at) == [given]
    assert await found(created_from=clock.at + 1) == []


async def test_a_page_of_a_filter_looks_at_a_bounded_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is short or empty then, and the cursor continues; nothing is left out or shown twice."""
    monkeypatch.setattr("fairlane.store.deliveries.LOOK_MOST", 3)
    monkeypatch.setattr("fairlane.store.deliveries.LOOK_FIRST", 2)
    organization = await an_organization(store, slots=9)
    tasks = await owed(store, organization, "b", "a", "b", "a", "a", "a", "a", "a", "b")
    chosen, cursor = DeliveryFilter(host_prefix="b"), None
    pages: list[list[str | None]] = []

    while not pages or cursor is not None:
        page = await store.deliveries.page(organization.id, chosen=chosen, cursor=cursor, most=2)
        pages.append([one.task_id for one in page.deliveries])
        cursor = page.next_cursor

    assert pages == [[tasks[8]], [], [tasks[2], tasks[0]], []]


async def test_a_delivery_says_why_it_waits(store: Store, clock: Clock) -> None:
    """The pause of the schedule, a receiver that asked for it, the sender's limits, or nothing that is known."""
    organization = await an_organization(store, slots=5)
    await owed(store, organization, "a", "b", "c")
    one, two, _ = await claimed(store)
    await store.deliveries.record(failed(one, clock))
    await store.deliveries.record(structs.replace(failed(two, clock), wait_ms=7_200_000, answer="Busy"))
    clock.advance(CLAIM_MS / 1000 + 5)
    busy = SenderState(under_way=[(organization.id, "x", False, 0)] * LIMITS.organization)

    async def holds(state: SenderState | None) -> list[HostHold | None]:
        page = await store.deliveries.page(organization.id, most=9, state=state)
        return [delivery.hold for delivery in page.deliveries][::-1]

    assert (await holds(busy))[:2] == [HostHold.PAUSE, HostHold.RECEIVER]
    [shown] = [delivery for delivery in await deliveries(store, organization) if delivery.hold is HostHold.RECEIVER]
    [tried] = shown.tries
    assert (tried.http_status, tried.took_ms, tried.answer, tried.asked_ms) == (500, 5, "Busy", 7_200_000)
    await owed(store, organization, "d")
    clock.advance(4)
    assert (await holds(busy))[3] is HostHold.ORGANIZATION_BUSY
    assert (await holds(None))[3] is None
    clock.advance(60)
    assert (await holds(None))[3] is HostHold.STUCK


# Upkeep --------------------------------------------------------------------------------------------------------------


async def test_purge_keeps_a_task_whose_delivery_is_due(database: Database, clock: Clock) -> None:
    """It goes, with delivery and tries, once that is over."""
    store = database.store
    organization = await an_organization(store)
    (task,) = await owed(store, organization, "a.example")
    clock.advance(86_400)
    kept = await store.upkeep.purge()
    (one,) = await claimed(store)
    kept += await store.upkeep.purge()
    await store.deliveries.record(ended(one, clock))

    purged = await store.upkeep.purge()

    assert (kept, purged) == (0, 1)
    assert await store.tasks.find(organization.id, task) is None
    assert database.rows("SELECT (SELECT count(*) FROM delivery), (SELECT count(*) FROM delivery_try)") == [(0, 0)]


async def test_purge_deletes_old_test_events(database: Database, clock: Clock) -> None:
    """Those that are over."""
    store = database.store
    organization = await an_organization(store)
    await store.deliveries.create_test(organization.id, a_webhook(), delivery_id=new_id(), body="{}")
    (one,) = await claimed(store)
    await store.deliveries.record(failed(one, clock))
    await store.deliveries.create_test(organization.id, a_webhook(), delivery_id=new_id(), body="{}")
    clock.advance(86_400)

    await store.upkeep.purge()

    assert [delivery.due_at is None for delivery in await deliveries(store, organization)] == [False]
    assert database.rows("SELECT count(*) FROM delivery_try") == [(0,)]


async def test_the_task_says_what_was_told(store: Store) -> None:
    """Nothing yet while it runs, and nothing at all without a webhook."""
    organization = await an_organization(store)
    plain, told = await submitted(store, organization, a_task(), a_task(webhook="a.example"))

    views = [await store.tasks.find(organization.id, task) for task in (plain, told)]

    assert [view and (view.status, view.webhook) for view in views] == [
        (TaskStatus.QUEUED, None), (TaskStatus.QUEUED, Told(a_webhook("a.example").url, None)),
    ]  # fmt: skip
