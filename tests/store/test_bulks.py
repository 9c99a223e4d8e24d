"""Bulks: each chosen task once, in steps that any server can make, whatever comes in between."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from fairlane import Fairlane
from fairlane.bulks import BulkWork
from fairlane.errors import BulkExists, NotFound, ValidationRefused
from fairlane.model.bulks import BulkKind, BulkState, BulkStep, BulkView, NewBulk, Skipped
from fairlane.model.leases import Failed, LossReason
from fairlane.model.organizations import Organization, OrganizationChange
from fairlane.model.tasks import TaskFilter, TaskStatus
from fairlane.rules.attempts import CANCELED
from fairlane.settings import Settings
from fairlane.store import Store, bulks
from fairlane.store.bulks import BULKS_MOST, STEP_TASKS
from tests.builders import (
    ACTOR,
    FRAGILE,
    IMAGE,
    PAGE,
    a_catalogue,
    a_task,
    a_webhook,
    a_worker,
    an_organization,
    submitted,
)
from tests.store.databases import Clock, Database, PostgresServer

FAILED = TaskFilter(status=TaskStatus.FAILED)
BROKEN = Failed(cause="x", retry=False)


async def failed(store: Store, organization: Organization, count: int, task_type: str = PAGE) -> list[str]:
    """Tasks that failed, oldest first."""
    worker = await a_worker(store, [task_type])
    made = await submitted(store, organization, *[a_task(task_type, priority=3) for _ in range(count)])
    while leases := await worker.take(50):
        await asyncio.gather(*(worker.settle(lease, BROKEN) for lease in leases))
    await store.sessions.end(worker.id, reason=LossReason.DRAINED)
    return made


def again(organization: Organization | None, chosen: TaskFilter = FAILED, **further: str) -> NewBulk:
    """A request to run failed tasks again."""
    identity = None if organization is None else organization.id
    return NewBulk(kind=BulkKind.RETRY, chosen=chosen, organization_id=identity, **further)


def cancel(organization: Organization | None, chosen: TaskFilter | None = None) -> NewBulk:
    """A request to cancel what has not ended."""
    identity = None if organization is None else organization.id
    return NewBulk(kind=BulkKind.CANCEL, chosen=chosen or TaskFilter(), organization_id=identity)


async def work(store: Store, bulk: BulkView, *, most: int = 1_000, refused: dict[str, Skipped] | None = None) -> int:
    """Make the steps of a bulk, at most ``most``; return how many tasks were done."""
    after, done = 0, 0
    for _ in range(most):
        step = await store.bulks.look(bulk.id, after)
        if step is None and not after:
            break
        after = 0 if step is None else step.organization_id
        if step is not None and step.held:
            break
        if step is not None:
            stepped = await store.bulks.apply(step, refused or {})
            done += stepped.done
            if stepped.held:
                break
    return done


async def retries(store: Store, organization: Organization) -> Counter[str | None]:
    """How many tasks repeat each task."""
    found: Counter[str | None] = Counter()
    cursor = None
    while True:
        page = await store.tasks.page(organization.id, chosen=TaskFilter(), cursor=cursor, most=100)
        found.update(view.retry_of for view in page.tasks if view.retry_of is not None)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_each_failed_task_is_run_again_once(store: Store) -> None:
    """As single retries are: same type, payload, priority and webhook, no key; and not those of others."""
    organization, other = await an_organization(store, slots=50), await an_organization(store, slots=50)
    tasks = await failed(store, organization, STEP_TASKS + 20)
    await failed(store, other, 3)
    [special] = await submitted(
        store, organization, a_task(FRAGILE, priority=7, key="k", payload='{"a":1}', cost=5, webhook="hooks.example")
    )
    worker = await a_worker(store)
    await worker.settle(await worker.take_one(), BROKEN)

    bulk = await store.bulks.begin(again(organization))
    assert (bulk.state, bulk.matched) == (BulkState.RUNNING, 0)
    assert (await store.fleet.find()).bulks_running == 1
    await work(store, bulk)

    ended = await store.bulks.find(bulk.id, organization.id)
    assert (ended.state, ended.matched, ended.done, ended.skipped) == (BulkState.DONE, 121, 121, 0)
    assert await retries(store, organization) == Counter([*tasks, special])
    assert await retries(store, other) == Counter()
    [view] = (
        await store.tasks.page(
            organization.id, chosen=TaskFilter(priority=7, status=TaskStatus.QUEUED), cursor=None, most=9
        )
    ).tasks
    found = await store.tasks.find(organization.id, view.id)
    assert found is not None
    assert (found.task_type, found.idempotency_key, found.retry_of, found.cost) == (FRAGILE, None, special, 1)
    assert found.webhook is not None
    assert found.webhook.url == a_webhook("hooks.example").url
    assert await store.tasks.payload(organization.id, view.id) == '{"a":1}'
    assert await store.bulks.running() == []
    assert (await store.fleet.find()).bulks_running == 0


async def test_what_was_run_again_is_skipped(store: Store) -> None:
    """By a single retry or by an earlier bulk, also if that one has failed; then the newest failure is run again."""
    organization = await an_organization(store, slots=50)
    tasks = await failed(store, organization, 5)
    await submitted(store, organization, a_task(retry_of=tasks[2]))
    first = await store.bulks.begin(again(organization))
    await work(store, first)

    second = await store.bulks.begin(again(organization))
    await work(store, second)

    assert (await store.bulks.find(first.id, organization.id)).reasons == {"ALREADY_RETRIED": 1}
    again_ = await store.bulks.find(second.id, organization.id)
    assert (again_.done, again_.reasons) == (0, {"ALREADY_RETRIED": 5})
    assert await retries(store, organization) == Counter(tasks)
    worker = await a_worker(store)
    for lease in await worker.take(50):
        await worker.settle(lease, BROKEN)
    third = await store.bulks.begin(again(organization))
    await work(store, third)
    ended = await store.bulks.find(third.id, organization.id)
    assert (ended.done, ended.reasons) == (5, {"ALREADY_RETRIED": 5})


async def test_what_comes_later_is_not_touched(store: Store, clock: Clock) -> None:
    """Tasks that were accepted after the bulk began stay as they are, also if the clock was set back."""
    organization = await an_organization(store, slots=50)
    tasks = await failed(store, organization, 2)
    bulk = await store.bulks.begin(again(organization))
    stop = await store.bulks.begin(cancel(organization))
    clock.advance(-3_600)
    later = await failed(store, organization, 2)
    [queued] = await submitted(store, organization)

    await work(store, bulk)
    await work(store, stop)

    assert await retries(store, organization) == Counter(tasks)
    assert later
    view = await store.tasks.find(organization.id, queued)
    assert view is not None
    assert view.status is TaskStatus.QUEUED


async def test_a_step_is_made_once(store: Store) -> None:
    """Whether it comes twice, or late, or from two servers at once."""
    organization = await an_organization(store, slots=50)
    tasks = await failed(store, organization, STEP_TASKS + 5)
    bulk = await store.bulks.begin(again(organization))
    step = await store.bulks.look(bulk.id, 0)
    assert step is not None

    made = await asyncio.gather(*(store.bulks.apply(step, {}) for _ in range(3)))

    assert sorted(one.moved for one in made) == [False, False, True]
    await work(store, bulk)
    assert (await store.bulks.apply(step, {})).moved is False
    assert await retries(store, organization) == Counter(tasks)
    assert (await store.bulks.find(bulk.id, organization.id)).matched == len(tasks)


async def test_the_place_and_the_index_both_hold_a_step_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a step that forgets its place finds each task run again already, and one that also forgets to look
    for that runs it again."""
    organization = await an_organization(store, slots=50)
    tasks = await failed(store, organization, 2)
    bulk = await store.bulks.begin(again(organization))
    step = await store.bulks.look(bulk.id, 0)
    assert step is not None
    step = replace(step, after=step.tasks[-1].id)
    await store.bulks.apply(step, {})
    forgotten = replace(step, place=step.after)

    assert (await store.bulks.apply(forgotten, {})).done == 0
    assert await retries(store, organization) == Counter(tasks)
    monkeypatch.setattr(bulks, "_known", lambda refused, retried: refused)
    assert (await store.bulks.apply(forgotten, {})).done == 2
    assert await retries(store, organization) == Counter([*tasks, *tasks])


async def test_a_killed_server_repeats_nothing(database: Database) -> None:
    """Another one goes on between two steps, and nothing that was done is done again."""
    organization = await an_organization(database.store, slots=50)
    tasks = await failed(database.store, organization, 2 * STEP_TASKS + 1)
    bulk = await database.store.bulks.begin(again(organization))
    looked = await database.store.bulks.look(bulk.id, 0)
    assert await work(database.store, bulk, most=1) == STEP_TASKS

    store = await database.crash()

    assert [one.id for one in await store.bulks.running()] == [bulk.id]
    assert looked is not None
    assert (await store.bulks.apply(looked, {})).moved is False
    assert await work(store, bulk) == STEP_TASKS + 1
    assert await retries(store, organization) == Counter(tasks)
    assert (await store.bulks.find(bulk.id, None)).state is BulkState.DONE


async def test_a_step_whose_commit_fails_is_made_again(database: Database) -> None:
    """Nothing of it is there."""
    organization = await an_organization(database.store, slots=50)
    tasks = await failed(database.store, organization, 3)
    bulk = await database.store.bulks.begin(again(organization))
    step = await database.store.bulks.look(bulk.id, 0)
    assert step is not None
    await database.close()
    store = await database.open()

    assert (await store.bulks.apply(step, {})).done == 3
    assert await retries(store, organization) == Counter(tasks)


async def test_a_full_queue_holds_a_bulk(store: Store) -> None:
    """It goes on when there is room, and leaves a tenth of the queue to the organization's own submits."""
    organization = await an_organization(store, slots=50, queue_limit=1_000)
    tasks = await failed(store, organization, 12)
    await store.organizations.change(organization.name, changes=OrganizationChange(queue_limit=10), actor=ACTOR)
    bulk = await store.bulks.begin(again(organization))

    assert await work(store, bulk) == 9
    held = await store.bulks.find(bulk.id, organization.id)
    assert (held.state, held.done, held.held_by) == (BulkState.RUNNING, 9, "QUEUE_LIMIT_EXCEEDED")
    step = await store.bulks.look(bulk.id, 0)
    assert step is not None
    assert step.held
    await submitted(store, organization)
    worker = await a_worker(store)
    for lease in await worker.take(50):
        await worker.settle(lease)
    assert await work(store, bulk) == 3

    ended = await store.bulks.find(bulk.id, organization.id)
    assert (ended.state, ended.held_by) == (BulkState.DONE, None)
    assert await retries(store, organization) == Counter(tasks)


async def test_a_queue_of_one_takes_the_tasks_of_a_bulk(store: Store) -> None:
    """The smallest limit keeps nothing free."""
    organization = await an_organization(store, slots=50, queue_limit=1_000)
    await failed(store, organization, 1)
    await store.organizations.change(organization.name, changes=OrganizationChange(queue_limit=1), actor=ACTOR)

    assert await work(store, await store.bulks.begin(again(organization))) == 1


async def test_reasons_to_skip_are_counted(store: Store) -> None:
    """A payload that no longer fits, a balance that is too small, a canceled task, a disabled organization."""
    organization = await an_organization(store, slots=50)
    tasks = await failed(store, organization, 3)
    [canceled] = await submitted(store, organization)
    await store.tasks.cancel(organization.id, canceled)
    await store.organizations.change(organization.name, changes=OrganizationChange(credits=True), actor=ACTOR)
    await store.credits.grant(organization.name, grant_id="g", amount=1, reason="x", actor=ACTOR)

    bulk = await store.bulks.begin(again(organization))
    await work(store, bulk, refused={tasks[2]: Skipped.VALIDATION_ERROR})

    ended = await store.bulks.find(bulk.id, organization.id)
    assert (ended.matched, ended.done, ended.skipped) == (4, 1, 3)
    assert ended.reasons == {"TASK_CANCELED": 1, "VALIDATION_ERROR": 1, "INSUFFICIENT_CREDITS": 1}
    chosen = TaskFilter(status=TaskStatus.FAILED, code=CANCELED.code)
    await store.organizations.change(organization.name, changes=OrganizationChange(disabled=True), actor=ACTOR)
    other = await store.bulks.begin(again(organization, chosen))
    await work(store, other)
    assert (await store.bulks.find(other.id, None)).reasons == {"ORGANIZATION_DISABLED": 1}
    await store.organizations.change(organization.name, changes=OrganizationChange(disabled=False), actor=ACTOR)


async def test_what_has_not_ended_is_canceled(store: Store, clock: Clock) -> None:
    """Ready, waiting and running tasks of the filter, and no others; what ended in the meantime is skipped."""
    organization = await an_organization(store, slots=2)
    tasks = [
        a_task(PAGE, priority=9), a_task(PAGE, priority=8, webhook="hooks.example"), a_task(PAGE, priority=1),
        a_task(PAGE, priority=1, delay_seconds=60, webhook="hooks.example"), a_task(IMAGE, priority=1),
    ]  # fmt: skip
    ids = await submitted(store, organization, *tasks)
    worker = await a_worker(store)
    first, second = await worker.take(2)
    bulk = await store.bulks.begin(cancel(organization, TaskFilter(task_type=PAGE)))
    step = await store.bulks.look(bulk.id, 0)
    assert step is not None
    await worker.settle(first)

    await store.bulks.apply(step, {})
    await worker.settle(second)

    ended = await store.bulks.find(bulk.id, organization.id)
    assert (ended.state, ended.done, ended.reasons) == (BulkState.DONE, 3, {"STATUS_CHANGED": 1})
    views = [await store.tasks.find(organization.id, one) for one in ids]
    codes = [view.failure.code if view is not None and view.failure is not None else None for view in views]
    assert codes == [None, CANCELED.code, CANCELED.code, CANCELED.code, None]
    status = await store.tasks.status(organization.id)
    assert (status.queued, status.processing) == (1, 0)


async def test_only_queued_tasks_are_canceled_if_these_are_chosen(store: Store) -> None:
    """The status of the filter holds at the moment of the step."""
    organization = await an_organization(store, slots=2)
    running, queued, later = await submitted(store, organization, *[a_task(priority=n) for n in (9, 8, 1)])
    worker = await a_worker(store)
    await worker.take(1)
    bulk = await store.bulks.begin(cancel(organization, TaskFilter(status=TaskStatus.QUEUED)))
    step = await store.bulks.look(bulk.id, 0)
    assert step is not None
    assert {one.id for one in step.tasks} == {queued, later}
    await worker.take(1)

    await store.bulks.apply(step, {})

    view = await store.bulks.find(bulk.id, organization.id)
    assert (view.done, view.reasons) == (1, {"STATUS_CHANGED": 1})
    found = await store.tasks.find(organization.id, later)
    assert found is not None
    assert found.failure == CANCELED
    assert running


async def test_operators_work_on_all_organizations(store: Store) -> None:
    """Each has a part of its own, and only those with such tasks have one; one that is erased is left out."""
    organizations = [await an_organization(store, slots=50) for _ in range(4)]
    tasks = [await failed(store, organizations[place], count) for place, count in ((0, 3), (2, 2), (3, 1))]
    bulk = await store.bulks.begin(again(None, actor=ACTOR))
    assert bulk.organization is None
    while not (await store.erasing.erase(organizations[3].name, actor=ACTOR)).done:
        pass

    assert await work(store, bulk) == 5

    assert (await store.bulks.find(bulk.id, None)).state is BulkState.DONE
    assert await retries(store, organizations[0]) == Counter(tasks[0])
    assert await retries(store, organizations[2]) == Counter(tasks[1])
    with pytest.raises(NotFound):
        await store.bulks.find(bulk.id, organizations[0].id)
    changes = await store.trail.page(10)
    assert [one.action for one in changes if one.action.startswith("bulk.")] == ["bulk.begun"]


async def test_a_bulk_of_nothing_is_done_at_once(store: Store) -> None:
    """Without a step."""
    await an_organization(store)

    assert (await store.bulks.begin(again(None, actor=ACTOR))).state is BulkState.DONE


async def test_an_equal_bulk_is_the_same(store: Store) -> None:
    """While it runs, or for as long as its key is kept; another filter under the key is refused."""
    organization = await an_organization(store, slots=50)
    await failed(store, organization, 1)
    first = await store.bulks.begin(again(organization, idempotency_key="k"))

    assert (await store.bulks.begin(again(organization))).id == first.id
    assert (await store.bulks.begin(cancel(organization))).id != first.id
    await work(store, first)
    assert (await store.bulks.begin(again(organization, idempotency_key="k"))).id == first.id
    assert (await store.bulks.begin(again(organization))).id != first.id
    with pytest.raises(BulkExists):
        await store.bulks.begin(
            again(organization, TaskFilter(status=TaskStatus.FAILED, priority=1), idempotency_key="k")
        )


async def test_a_bounded_number_of_bulks_runs_at_once(store: Store) -> None:
    """One more is refused until one has ended."""
    organization = await an_organization(store)
    made = [
        await store.bulks.begin(again(organization, TaskFilter(status=TaskStatus.FAILED, task_type=f"T{number}")))
        for number in range(BULKS_MOST)
    ]

    with pytest.raises(ValidationRefused):
        await store.bulks.begin(again(organization))
    await work(store, made[0])
    assert (await store.bulks.begin(again(organization))).state is BulkState.RUNNING


async def test_a_stopped_bulk_does_nothing_more(store: Store) -> None:
    """What it did stays; stopping it again changes nothing; others cannot stop it."""
    organization, other = await an_organization(store, slots=50), await an_organization(store)
    await failed(store, organization, STEP_TASKS + 1)
    bulk = await store.bulks.begin(again(organization))
    await work(store, bulk, most=1)
    step = await store.bulks.look(bulk.id, 0)
    with pytest.raises(NotFound):
        await store.bulks.stop(bulk.id, other.id)

    stopped = await store.bulks.stop(bulk.id, organization.id)

    assert (stopped.state, stopped.done, stopped.ended_at is None) == (BulkState.STOPPED, STEP_TASKS, False)
    assert step is not None
    assert (await store.bulks.apply(step, {})).moved is False
    assert await store.bulks.look(bulk.id, 0) is None
    assert await store.bulks.stop(bulk.id, organization.id) == stopped


async def test_old_bulks_are_purged(store: Store, clock: Clock) -> None:
    """After the retention, like tasks; one that runs is kept."""
    organization = await an_organization(store, slots=50)
    await failed(store, organization, 1)
    ended = await store.bulks.begin(again(organization, TaskFilter(status=TaskStatus.FAILED, priority=9)))
    await work(store, ended)
    running = await store.bulks.begin(again(organization))
    clock.advance(86_400)
    await store.upkeep.purge()

    listed = await store.bulks.page(organization.id, before=None, most=10)

    assert [one.id for one in listed.bulks] == [running.id]
    await work(store, running)


async def test_bulks_are_listed_in_pages(store: Store) -> None:
    """Newest first; an organization sees its own, operators see all."""
    organization, other = await an_organization(store), await an_organization(store)
    made = [(await store.bulks.begin(again(organization, replace(FAILED, priority=n)))).id for n in (1, 2, 3)]
    theirs = (await store.bulks.begin(again(other))).id

    first = await store.bulks.page(organization.id, before=None, most=2)
    second = await store.bulks.page(organization.id, before=first.next_cursor, most=2)
    everything = await store.bulks.page(None, before=None, most=10)

    assert [one.id for one in (*first.bulks, *second.bulks)] == made[::-1]
    assert second.next_cursor is None
    assert [one.id for one in everything.bulks] == [theirs, *made[::-1]]


async def test_a_count_says_what_a_bulk_would_do(store: Store) -> None:
    """How many tasks are chosen, and how many of them were run again."""
    organization, other = await an_organization(store, slots=50), await an_organization(store, slots=50)
    tasks = await failed(store, organization, 4)
    await failed(store, other, 2)
    await submitted(store, organization, a_task(retry_of=tasks[0]))

    own = await store.bulks.count(organization.id, FAILED)
    named = await store.bulks.count(organization.name, FAILED)
    everywhere = await store.bulks.count(None, FAILED)

    assert own == named
    assert (own.count, own.retried, own.complete) == (4, 1, True)
    assert (everywhere.count, everywhere.retried, everywhere.complete) == (6, 1, True)


async def test_of_two_servers_that_meet_one_makes_the_step(server: PostgresServer, clock: Clock) -> None:
    """They wait for each other's lock, and the second sees that the place has moved."""
    stores = [await Store.open(Settings(database=server.address), a_catalogue(), now=clock) for _ in range(2)]
    organization = await an_organization(stores[0], slots=50)
    tasks = await failed(stores[0], organization, 5 * STEP_TASKS)
    bulk = await stores[0].bulks.begin(again(organization))

    async def steps(store: Store) -> list[bool]:
        made: list[bool] = []
        step: BulkStep | None
        while (step := await store.bulks.look(bulk.id, 0)) is not None:
            made.append((await store.bulks.apply(step, {})).moved)
        return made

    made = await asyncio.gather(*(steps(store) for store in stores))

    assert sum(sum(one) for one in made) == 5 or sum(sum(one) for one in made) == 6
    assert await retries(stores[0], organization) == Counter(tasks)
    await asyncio.gather(*(store.close() for store in stores))


class Site(Struct, forbid_unknown_fields=True):
    """A payload."""

    url: str


async def test_upkeep_checks_each_payload_against_its_type_of_today(store: Store) -> None:
    """What fits runs again; what does not, and what has no type any more, is skipped. Bulks take turns."""
    app = Fairlane()

    @app.task(PAGE)
    def page(site: Site) -> dict[str, str]:
        return {"url": site.url}

    organization, other = await an_organization(store, slots=50), await an_organization(store, slots=50)
    fits, _, _ = await submitted(
        store, organization, a_task(PAGE, payload='{"url":"x"}'), a_task(PAGE, payload="{}"), a_task(IMAGE)
    )
    worker = await a_worker(store)
    for lease in await worker.take(3):
        await worker.settle(lease, BROKEN)
    bulk, second = await store.bulks.begin(again(organization)), await store.bulks.begin(again(other))
    work = BulkWork(store, app.task_types, steady_clock=lambda: 0.0)

    for _ in range(2):
        assert await work.round() <= 2
    assert await work.round() == 0

    ended = await store.bulks.find(bulk.id, organization.id)
    assert (ended.done, ended.reasons) == (1, {"VALIDATION_ERROR": 2})
    assert await retries(store, organization) == Counter([fits])
    assert (await store.bulks.find(second.id, other.id)).state is BulkState.DONE


async def test_a_bulk_that_waits_for_room_rests(store: Store) -> None:
    """It is looked at again after a second or two, and the organizations with room go on meanwhile."""
    full, free = await an_organization(store, slots=50), await an_organization(store, slots=50)
    for organization in (full, free):
        await failed(store, organization, STEP_TASKS + 1)
    await store.organizations.change(full.name, changes=OrganizationChange(queue_limit=1), actor=ACTOR)
    now = 0.0
    app = Fairlane()

    @app.task(PAGE)
    def page(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    work = BulkWork(store, app.task_types, steady_clock=lambda: now)
    bulk = await store.bulks.begin(again(None, actor=ACTOR))

    for _ in range(10):
        await work.round()
    assert (await store.bulks.find(bulk.id, None)).done == STEP_TASKS + 2
    await store.organizations.change(full.name, changes=OrganizationChange(queue_limit=1_000), actor=ACTOR)
    assert await work.round() == 0
    now = 2.1
    for _ in range(4):
        await work.round()
    assert (await store.bulks.find(bulk.id, None)).state is BulkState.DONE
    assert sum((await retries(store, full)).values()) == STEP_TASKS + 1


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_comes_in_between_each_task_is_run_again_once(
    database: Database, clock: Clock, seed: int
) -> None:
    """Old steps that come again, killed servers, single retries, a full queue and jumps of the clock, in any order."""
    draw = random.Random(seed)
    organization = await an_organization(database.store, slots=50, queue_limit=1_000)
    tasks = await failed(database.store, organization, 150)
    limit = OrganizationChange(queue_limit=60)
    await database.store.organizations.change(organization.name, changes=limit, actor=ACTOR)
    bulk = await database.store.bulks.begin(again(organization))
    looked: list[BulkStep] = []
    crashes = 0

    async def drain() -> None:
        worker = await a_worker(database.store)
        while leases := await worker.take(50):
            await asyncio.gather(*(worker.settle(lease) for lease in leases))

    for _ in range(60):
        match draw.choice(("look", "look", "apply", "apply", "apply", "crash", "jump", "single", "drain")):
            case "look":
                step = await database.store.bulks.look(bulk.id, 0)
                looked += [] if step is None else [step]
            case "apply" if looked:
                await database.store.bulks.apply(draw.choice(looked), {})
            case "crash" if crashes < 3:
                await database.crash()
                crashes += 1
            case "jump":
                clock.advance(draw.randrange(-3_600, 3_600))
            case "single":
                one = draw.choice(tasks)
                if not (await retries(database.store, organization))[one]:
                    await database.store.tasks.submit(organization.id, [a_task(retry_of=one)])
            case "drain":
                await drain()
    while (await database.store.bulks.find(bulk.id, None)).state is BulkState.RUNNING:
        await drain()
        await work(database.store, bulk)

    await drain()
    await work(database.store, bulk)
    assert await retries(database.store, organization) == Counter(tasks)
    found = await database.store.bulks.find(bulk.id, None)
    assert (found.matched, found.done + found.skipped) == (150, 150)


async def test_steps_take_a_bounded_share_of_the_time(store: Store) -> None:
    """The pause after a round is three times as long as the round, so that submits find the store thread free."""
    organization = await an_organization(store, slots=50)
    await failed(store, organization, 1)
    times = iter([0.0, 0.0, 2.0])
    work = BulkWork(store, {}, steady_clock=lambda: next(times))
    await store.bulks.begin(again(organization))

    assert await work.round() == 1

    assert work.pause_seconds == 6.0
