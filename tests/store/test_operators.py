"""What operators do: plans, organizations, keys; each change at once, and written down."""

import asyncio

import pytest

from fairlane.errors import NameTaken, NotFound
from fairlane.model.organizations import DEFAULT_PLAN, OrganizationChange, Overrides, PlanChange
from fairlane.store import Store
from tests.builders import ACTOR, a_call, a_digest, a_server, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database


def limits(one) -> tuple[int | None, int, int]:
    return one.slots_max, one.queue_limit, one.weight


# Plans ---------------------------------------------------------------------------------------------------------------


async def test_a_fresh_database_has_the_default_plan_once(database: Database) -> None:
    """It is there from the start, and not made anew when an operator changed it."""
    await database.store.plans.change(DEFAULT_PLAN, changes=PlanChange(slots=3), actor=ACTOR)

    store = await database.reopen()

    assert [(plan.name, plan.slots) for plan in await store.plans.all()] == [(DEFAULT_PLAN, 3)]


async def test_a_plans_name_is_taken_once(store: Store) -> None:
    """The second plan of a name is refused and changes nothing."""
    made = await store.plans.create("pro", slots=5, queue_limit=10, weight=2, actor=ACTOR)

    with pytest.raises(NameTaken):
        await store.plans.create("pro", slots=6, queue_limit=11, weight=3, actor=ACTOR)

    assert await store.plans.find("pro") == made
    assert len(await store.trail.page()) == 2


async def test_a_changed_plan_reaches_its_organizations(store: Store) -> None:
    """Fields that are not named stay; overrides win over the plan; other plans' organizations are not touched."""
    await store.plans.create("pro", slots=5, queue_limit=50, weight=2, actor=ACTOR)
    plain = await an_organization(store, slots=None, plan="pro")
    special = await an_organization(store, slots=9, plan="pro")
    other = await an_organization(store, slots=None)

    changed = await store.plans.change("pro", changes=PlanChange(slots=7, weight=4), actor=ACTOR)

    assert (changed.slots, changed.queue_limit, changed.weight) == (7, 50, 4)
    assert limits(await store.organizations.find(plain.name)) == (7, 50, 4)
    assert limits(await store.organizations.find(special.name)) == (9, 50, 4)
    assert limits(await store.organizations.find(other.name)) == (10, 100_000, 1)


async def test_a_changed_plan_reaches_all_of_many(database: Database) -> None:
    """More organizations than one round takes."""
    await database.close()
    database.rows(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)"
        " INSERT INTO organization (id, name, plan, slots_max, queue_limit, weight, integrals_at, created_at)"
        " SELECT 1000 + i, 'many-' || i, 'default', 10, 10, 1, 0, 0 FROM n"
    )
    store = await database.open()

    await store.plans.change(DEFAULT_PLAN, changes=PlanChange(slots=4), actor=ACTOR)

    assert {one.slots_max for one in await store.organizations.all()} == {4}


async def test_a_changed_plan_acts_at_the_next_claim(store: Store) -> None:
    """Slots that a plan gains are used, slots that it loses start nothing."""
    await store.plans.create("pro", slots=1, queue_limit=50, weight=1, actor=ACTOR)
    organization, worker = await an_organization(store, slots=None, plan="pro"), await a_worker(store)
    await submitted(store, organization, *[a_task() for _ in range(9)])
    taken = []
    for slots in (1, 3, 2, None, 4):
        await store.plans.change("pro", changes=PlanChange(slots=slots), actor=ACTOR)
        taken.append(len(await worker.take(9)))

    assert taken == [1, 2, 0, 0, 1]


async def test_a_plan_that_is_not_there_is_not_found(store: Store) -> None:
    """Neither changed nor given to an organization."""
    organization = await an_organization(store)
    with pytest.raises(NotFound):
        await store.plans.change("nothing", changes=PlanChange(slots=1), actor=ACTOR)
    with pytest.raises(NotFound):
        await an_organization(store, plan="nothing")
    with pytest.raises(NotFound):
        await store.organizations.change(organization.name, changes=OrganizationChange(plan="nothing"), actor=ACTOR)

    assert await store.organizations.find(organization.name) == organization


# Organizations -------------------------------------------------------------------------------------------------------


async def test_an_organizations_name_is_taken_once(store: Store) -> None:
    """Also when both come at the same time."""
    answers = await asyncio.gather(
        *(store.organizations.create("acme", plan=DEFAULT_PLAN, overrides=Overrides(), actor=ACTOR) for _ in range(5)),
        return_exceptions=True,
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["NameTaken"] * 4 + ["Organization"]
    assert len(await store.organizations.all()) == 1


async def test_overrides_win_until_they_are_taken_away(store: Store) -> None:
    """None takes the plan's value again, UNSET leaves a field as it is, another plan keeps the overrides."""
    await store.plans.create("pro", slots=5, queue_limit=50, weight=2, actor=ACTOR)
    organization = await an_organization(store, slots=3, weight=7)
    seen = [limits(organization)]
    for changes in (
        OrganizationChange(plan="pro"),
        OrganizationChange(slots=None),
        OrganizationChange(queue_limit=8),
        OrganizationChange(paused=True),
        OrganizationChange(weight=None, queue_limit=None),
    ):
        seen.append(limits(await store.organizations.change(organization.name, changes=changes, actor=ACTOR)))

    assert seen == [(3, 100_000, 7), (3, 50, 7), (5, 50, 7), (5, 8, 7), (5, 8, 7), (5, 50, 2)]


async def test_flags_are_changed_one_by_one(database: Database) -> None:
    """What is not named stays, also over a restart."""
    name = (await an_organization(database.store)).name
    for changes in (
        OrganizationChange(paused=True),
        OrganizationChange(disabled=True),
        OrganizationChange(maintenance=True, paused=False),
    ):
        await database.store.organizations.change(name, changes=changes, actor=ACTOR)

    store = await database.reopen()

    one = await store.organizations.find(name)
    assert (one.paused, one.disabled, one.maintenance, one.drifted) == (False, True, True, False)


async def test_an_organization_tells_its_slots_in_use_and_since_when_work_waits(store: Store, clock: Clock) -> None:
    """Calls hold slots, too; what is delayed does not wait yet. In the list as by its name."""
    organization, server = await an_organization(store, slots=3), await a_server(store)
    idle = await an_organization(store)
    await submitted(store, organization, a_task())
    since = clock.at
    await store.calls.begin(a_call(organization, server))
    clock.at += 5_000
    await submitted(store, organization, a_task())

    shown = await store.organizations.find(organization.name)

    assert (shown.used, shown.processing, shown.oldest_ready_at) == (1, 0, since)
    assert shown in await store.organizations.all()
    other = await store.organizations.find(idle.name)
    assert (other.used, other.oldest_ready_at) == (0, None)


async def test_changing_nobody_is_not_found(store: Store) -> None:
    """An organization that is not there is not made."""
    with pytest.raises(NotFound):
        await store.organizations.change("nobody", changes=OrganizationChange(paused=True), actor=ACTOR)
    with pytest.raises(NotFound):
        await store.recount.repair("nobody", actor=ACTOR)

    assert await store.organizations.all() == []


# Keys ----------------------------------------------------------------------------------------------------------------


async def _key(store: Store, organization: str, secret: str = "sk_live_secret"):
    return await store.keys.create(organization, name="ci", digest=a_digest(secret), last4=secret[-4:], actor=ACTOR)


async def test_a_key_speaks_for_its_organization(store: Store) -> None:
    """By its digest alone; nobody else's digest does."""
    organization = await an_organization(store)
    key = await _key(store, organization.name)

    caller = await store.keys.caller(a_digest("sk_live_secret"))

    assert caller is not None
    assert (caller.key_id, caller.organization_id) == (key.id, organization.id)
    assert await store.keys.caller(a_digest("sk_live_other")) is None
    assert await store.keys.all(organization.name) == [key]
    assert (key.last4, key.name, key.revoked_at) == ("cret", "ci", None)


async def test_a_revoked_key_works_no_more(store: Store, clock: Clock) -> None:
    """At once, though it worked a moment ago; revoking twice keeps the first moment."""
    organization = await an_organization(store)
    key = await _key(store, organization.name)
    assert await store.keys.caller(a_digest("sk_live_secret"))
    revoked_at = clock.at

    first = await store.keys.revoke(key.id, actor=ACTOR)
    clock.advance(9)
    again = await store.keys.revoke(key.id, actor=ACTOR)

    assert await store.keys.caller(a_digest("sk_live_secret")) is None
    assert first.revoked_at == again.revoked_at == revoked_at


async def test_a_disabled_organizations_keys_do_not_work(store: Store) -> None:
    """At once, and again when it is enabled."""
    organization = await an_organization(store)
    await _key(store, organization.name)
    seen = [await store.keys.caller(a_digest("sk_live_secret"))]
    for disabled in (True, False):
        await store.organizations.change(organization.name, changes=OrganizationChange(disabled=disabled), actor=ACTOR)
        seen.append(await store.keys.caller(a_digest("sk_live_secret")))

    assert [caller is not None for caller in seen] == [True, False, True]


async def test_a_key_exists_once(store: Store) -> None:
    """The same secret is refused a second time, for whomever, also after it was revoked."""
    one, other = await an_organization(store), await an_organization(store)
    key = await _key(store, one.name)
    with pytest.raises(NameTaken):
        await _key(store, other.name)
    await store.keys.revoke(key.id, actor=ACTOR)
    with pytest.raises(NameTaken):
        await _key(store, one.name)

    assert await store.keys.all(other.name) == []


async def test_keys_of_nobody_are_not_found(store: Store) -> None:
    """Neither made nor revoked."""
    with pytest.raises(NotFound):
        await _key(store, "nobody")
    with pytest.raises(NotFound):
        await store.keys.revoke("nothing", actor=ACTOR)


async def test_keys_are_listed_with_the_oldest_first(store: Store, clock: Clock) -> None:
    """Revoked ones, too."""
    organization = await an_organization(store)
    made = []
    for secret in ("sk_live_a", "sk_live_b", "sk_live_c"):
        made.append((await _key(store, organization.name, secret)).id)
        clock.advance(1)
    await store.keys.revoke(made[1], actor=ACTOR)

    assert [key.id for key in await store.keys.all(organization.name)] == made


# Audit ---------------------------------------------------------------------------------------------------------------


async def test_every_change_leaves_an_audit_row(store: Store, clock: Clock) -> None:
    """Who, when, what, to whom; newest first; reads and refusals leave none."""
    await store.plans.create("pro", slots=5, queue_limit=50, weight=2, actor="ann")
    await store.plans.change("pro", changes=PlanChange(slots=6), actor="ben")
    organization = await store.organizations.create("acme", plan="pro", overrides=Overrides(slots=1), actor="cy")
    await store.organizations.change("acme", changes=OrganizationChange(paused=True), actor="di")
    key = await _key(store, "acme")
    await store.keys.revoke(key.id, actor="ed")
    await store.maintenance.set(True, actor="flo")
    await store.recount.repair("acme", actor="gus")
    with pytest.raises(NameTaken):
        await store.plans.create("pro", slots=1, queue_limit=1, weight=1, actor="hal")
    await store.tasks.status(organization.id)

    rows = await store.trail.page()

    assert {row.at for row in rows} == {clock.at}
    assert {(row.actor, row.action, row.subject) for row in rows} == {
        ("fairlane", "plan.created", DEFAULT_PLAN),
        ("ann", "plan.created", "pro"),
        ("ben", "plan.changed", "pro"),
        ("cy", "organization.created", "acme"),
        ("di", "organization.changed", "acme"),
        (ACTOR, "key.created", "acme"),
        ("ed", "key.revoked", "acme"),
        ("flo", "maintenance.changed", "installation"),
        ("gus", "organization.repaired", "acme"),
    }
    details = {row.action: row.details for row in rows if row.actor != "fairlane"}
    assert details["plan.changed"] == {"slots": 6}
    assert details["organization.changed"] == {"paused": True}
    assert "secret" not in str(details)


async def test_audit_rows_are_listed_newest_first(store: Store, clock: Clock) -> None:
    """Rows of later moments come first; a limit keeps the newest."""
    organization = await an_organization(store)
    for number in range(12):
        clock.advance(1)
        await store.organizations.change(organization.name, changes=OrganizationChange(weight=number + 1), actor=ACTOR)

    rows = await store.trail.page(3)

    assert [row.details for row in rows] == [{"weight": 12}, {"weight": 11}, {"weight": 10}]


async def test_maintenance_is_on_disk(database: Database) -> None:
    """It lasts over a restart."""
    await database.store.maintenance.set(True, actor=ACTOR)

    store = await database.reopen()

    assert await store.maintenance.on() is True
