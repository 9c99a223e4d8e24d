"""What operators watch of an organization: its slots with their holders, its queue, and why its next task waits."""

from fairlane.model.insight import WaitReason
from fairlane.model.lanes import Level, OrganizationLanes
from fairlane.model.leases import Failed
from fairlane.model.organizations import Organization, OrganizationChange
from fairlane.store import Store
from fairlane.store.lanes import HOLDERS_MOST
from tests.builders import (
    ACTOR,
    FRAGILE,
    IMAGE,
    LIMITED,
    PAGE,
    a_call,
    a_server,
    a_task,
    a_worker,
    an_organization,
    submitted,
)


async def the_lanes(store: Store, organization: Organization) -> OrganizationLanes:
    """One organization's."""
    return (await store.lanes.find([organization.id]))[organization.id]


async def the_reason(store: Store, organization: Organization) -> WaitReason | None:
    """Why its next task waits, or None if none is ready."""
    found = (await the_lanes(store, organization)).next
    return None if found is None else found.reason


async def test_slots_have_their_holders_and_the_queue_its_levels(store: Store) -> None:
    """Tasks and calls with what is known of their attempts; ready tasks and those that start later, by priority."""
    organization, server = await an_organization(store, slots=4, weight=3), await a_server(store)
    worker = await a_worker(store)
    await submitted(store, organization, a_task(), a_task(IMAGE))
    _, image = await worker.take(2)
    await store.calls.begin(a_call(organization, server))
    await worker.settle(image, Failed(cause="x", pause_ms=60_000))
    await submitted(store, organization, a_task(priority=9), a_task(FRAGILE, priority=9), a_task(priority=2))

    found = await the_lanes(store, organization)

    assert [(one.task_type, one.call, one.attempt) for one in found.holders] == [(PAGE, False, 1), (PAGE, True, 0)]
    assert (found.name, found.used, found.slots_max, found.weight) == (organization.name, 2, 4, 3)
    assert found.levels[0] == Level(9, ready=2, waiting=0)
    assert sum(one.waiting for one in found.levels) == 1
    assert found.levels[-1] == Level(2, ready=1, waiting=0)


async def test_why_the_next_task_waits(store: Store) -> None:
    """As for the task itself: a slot, a worker, a limit, an operator; or nothing."""
    rival, organization = await an_organization(store, slots=20), await an_organization(store, slots=1)
    assert await the_reason(store, organization) is None
    await submitted(store, organization, a_task(), a_task())
    assert await the_reason(store, organization) is WaitReason.TYPE_UNSERVED
    worker = await a_worker(store)
    assert await the_reason(store, organization) is WaitReason.STARTING
    await worker.take_one()
    assert await the_reason(store, organization) is WaitReason.ORGANIZATION_AT_LIMIT
    await store.organizations.change(organization.name, changes=OrganizationChange(slots=2), actor=ACTOR)
    await submitted(store, rival, *[a_task() for _ in range(12)])
    await worker.take(9)
    assert await the_reason(store, rival) in (WaitReason.FAIR_TURN, WaitReason.WORKERS_BUSY)

    await store.organizations.change(organization.name, changes=OrganizationChange(paused=True), actor=ACTOR)

    assert (await the_lanes(store, organization)).paused


async def test_a_type_at_its_limit_is_the_reason(store: Store) -> None:
    """It counts the attempts of all organizations."""
    first, second = await an_organization(store, slots=5), await an_organization(store, slots=5)
    await store.type_limits.declare()
    worker = await a_worker(store)
    await submitted(store, first, a_task(LIMITED), a_task(LIMITED))
    await worker.take(2)

    await submitted(store, second, a_task(LIMITED))

    assert await the_reason(store, second) is WaitReason.TYPE_AT_LIMIT


async def test_only_what_can_be_drawn_is_read(store: Store) -> None:
    """Of very many slots the oldest holders; nothing of an organization that does not exist."""
    organization, worker = await an_organization(store, slots=HOLDERS_MOST + 5), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(HOLDERS_MOST + 5)])
    await worker.take(HOLDERS_MOST + 5)

    found = await store.lanes.find([organization.id, 999_999])

    assert list(found) == [organization.id]
    assert (found[organization.id].used, len(found[organization.id].holders)) == (HOLDERS_MOST + 5, HOLDERS_MOST)
    assert await store.lanes.find([]) == {}
