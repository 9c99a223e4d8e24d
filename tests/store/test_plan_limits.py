"""What a plan lets its organizations submit: a highest priority and a set of task types, in every way in."""

import pytest

from fairlane.errors import QueueFull, Refusal, TaskExists, ValidationRefused
from fairlane.model.bulks import BulkKind, NewBulk
from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization, OrganizationChange, Overrides, PlanChange
from fairlane.model.tasks import Accepted, NewTask, TaskFilter, TaskStatus
from fairlane.store import Store
from fairlane.store.plans import LIMITS, types_of
from tests.builders import ACTOR, LIMITED, PAGE, a_call, a_server, a_task, a_worker, an_organization, submitted
from tests.store.databases import Database

BROKEN = Failed(cause="x", retry=False)


async def on_a_plan(store: Store, **limits: object) -> Organization:
    """An organization on a plan with these limits."""
    await store.plans.create("pro", slots=5, queue_limit=100, weight=1, actor=ACTOR)
    await store.plans.change("pro", changes=PlanChange(**limits), actor=ACTOR)  # type: ignore[arg-type]
    return await an_organization(store, slots=None, plan="pro")


def places(answer: Accepted | Refusal | BaseException) -> list[str]:
    """The fields that a refusal names; none if it was accepted."""
    if isinstance(answer, Accepted):
        return []
    assert isinstance(answer, ValidationRefused), answer
    return [place["field"] for place in answer.details]


async def test_the_highest_priority_is_exact(store: Store) -> None:
    """A task at the limit is accepted, one above it is refused by itself, with the field; its key stays free."""
    organization = await on_a_plan(store, priority_limit=5)

    tasks = [a_task(priority=priority, key=f"k-{priority}") for priority in (5, 6, 1, 10)]
    answers = await store.tasks.submit(organization.id, tasks, room=4)
    (again,) = await store.tasks.submit(organization.id, [a_task(priority=5, key="k-6")])

    assert [places(answer) for answer in answers] == [[], ["priority"], [], ["priority"]]
    assert isinstance(again, Accepted)
    assert (await store.tasks.status(organization.id)).queued == 3


async def test_only_allowed_types_are_accepted(store: Store) -> None:
    """As a task and as a call; the refusal names the types that are allowed."""
    organization, server = await on_a_plan(store, task_types=(LIMITED, LIMITED)), await a_server(store)

    answers = await store.tasks.submit(organization.id, [a_task(PAGE), a_task(LIMITED)])
    with pytest.raises(ValidationRefused) as refused:
        await store.calls.begin(a_call(organization, server, PAGE))
    admitted = await store.calls.begin(a_call(organization, server, LIMITED))

    assert [places(answer) for answer in answers] == [["taskType"], []]
    assert places(refused.value) == ["taskType"]
    assert refused.value.details[0]["message"].endswith(f"allowed are {LIMITED}")
    assert admitted.slots_used == 1


async def test_a_used_key_is_answered_before_the_plan(store: Store) -> None:
    """The retry of an accepted request finds its task, also if the plan would refuse it now, or the queue is full."""
    organization = await on_a_plan(store)
    await submitted(store, organization, a_task(priority=9, key="k"))
    await store.plans.change("pro", changes=PlanChange(priority_limit=1, queue_limit=1), actor=ACTOR)

    tasks = [a_task(priority=9, key="k"), a_task(priority=9), a_task(priority=1)]
    answers = await store.tasks.submit(organization.id, tasks)

    assert [type(answer) for answer in answers] == [TaskExists, ValidationRefused, QueueFull]


async def test_a_change_acts_at_once_and_leaves_what_is_queued(store: Store) -> None:
    """What was accepted runs; the next submit is held to the new limits, and null takes them away."""
    organization, worker = await on_a_plan(store), await a_worker(store)
    queued = await submitted(store, organization, a_task(priority=9))
    seen = []
    for change in (
        PlanChange(priority_limit=3),
        PlanChange(task_types=(LIMITED,)),
        PlanChange(priority_limit=None),
        PlanChange(slots=4),
        PlanChange(task_types=None),
    ):
        await store.plans.change("pro", changes=change, actor=ACTOR)
        (answer,) = await store.tasks.submit(organization.id, [a_task(PAGE, priority=9)])
        seen.append(places(answer))

    assert seen == [["priority"], ["taskType"], ["taskType"], ["taskType"], []]
    assert (await worker.take_one()).task_id == queued[0]


async def test_an_organizations_own_limits_win(store: Store) -> None:
    """Also over later changes of the plan, until they are given back; a change of something else leaves them."""
    organization = await on_a_plan(store, priority_limit=3, task_types=(LIMITED,))
    seen = []
    for change in (
        OrganizationChange(priority_limit=9),
        OrganizationChange(task_types=(PAGE, "FREE")),
        OrganizationChange(weight=2),
        OrganizationChange(priority_limit=None),
        OrganizationChange(task_types=None),
    ):
        await store.organizations.change(organization.name, changes=change, actor=ACTOR)
        await store.plans.change("pro", changes=PlanChange(priority_limit=2), actor=ACTOR)
        found = await store.organizations.find(organization.name)
        seen.append((found.priority_limit, found.task_types))

    both = ("FREE", PAGE)
    assert seen == [(9, (LIMITED,)), (9, both), (9, both), (2, both), (2, (LIMITED,))]


async def test_a_bulk_skips_what_the_plan_does_not_allow(store: Store) -> None:
    """A step runs again what may be submitted now; the rest stays failed, with a reason, and the bulk ends."""
    organization, worker = await on_a_plan(store), await a_worker(store)
    tasks: list[NewTask] = [a_task(priority=2), a_task(priority=8)]
    await submitted(store, organization, *tasks)
    while leases := await worker.take(5):
        for lease in leases:
            await worker.settle(lease, BROKEN)
    await store.plans.change("pro", changes=PlanChange(priority_limit=2), actor=ACTOR)

    chosen = TaskFilter(status=TaskStatus.FAILED)
    bulk = await store.bulks.begin(NewBulk(kind=BulkKind.RETRY, chosen=chosen, organization_id=organization.id))
    step = await store.bulks.look(bulk.id, 0)
    assert step is not None
    await store.bulks.apply(step, {})

    ended = await store.bulks.find(bulk.id, organization.id)
    assert (ended.done, ended.reasons, ended.state) == (1, {"VALIDATION_ERROR": 1}, "DONE")


async def test_every_limit_of_a_plan_reaches_its_organizations(database: Database) -> None:
    """At its creation, when the plan changes, and when it goes back from its own value; its own value stays."""
    store = database.store
    plan = dict(zip(LIMITS, (7, 70, 7, 7, ("A",), 700, 77, 777), strict=True))
    changed = dict(zip(LIMITS, (8, 80, 8, 8, ("B",), 800, 88, 888), strict=True))
    own = dict(zip(LIMITS, (9, 90, 9, 9, ("C",), 900, 99, 999), strict=True))
    columns = ", ".join("slots_max" if limit == "slots" else limit for limit in LIMITS)

    def in_force(organization: Organization) -> dict[str, object]:
        [row] = database.rows(f"SELECT {columns} FROM organization WHERE id = :id", id=organization.id)
        found = dict(zip(LIMITS, row, strict=True))
        return found | {"task_types": types_of(found["task_types"])}

    await store.plans.create("full", **plan, actor=ACTOR)  # type: ignore[arg-type]
    made = await store.organizations.create("made", plan="full", overrides=Overrides(), actor=ACTOR)
    with_own = await store.organizations.create("own", plan="full", overrides=Overrides(**own), actor=ACTOR)  # type: ignore[arg-type]
    seen = [in_force(made)]
    await store.plans.change("full", changes=PlanChange(**changed), actor=ACTOR)  # type: ignore[arg-type]
    seen.append(in_force(made))
    await store.organizations.change("made", changes=OrganizationChange(**own), actor=ACTOR)  # type: ignore[arg-type]
    seen += [in_force(made), in_force(with_own)]
    await store.organizations.change("made", changes=OrganizationChange(**dict.fromkeys(LIMITS)), actor=ACTOR)  # type: ignore[arg-type]
    seen.append(in_force(made))

    assert seen == [plan, changed, own, own, changed]
