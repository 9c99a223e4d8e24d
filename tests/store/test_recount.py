"""The recount finds every kept number that differs from its rows, and the repair mends it."""

import pytest

from fairlane.model.leases import Failed, LossReason, Report
from fairlane.model.organizations import OrganizationChange
from fairlane.store import Store, counting, recount
from tests.builders import ACTOR, DONE, IMAGE, a_task, a_worker, an_organization, submitted
from tests.store.databases import Database

DAMAGE = {
    "queued": ("UPDATE organization SET queued = queued + 1 WHERE id = :id", {"waiting"}),
    "ready": ("UPDATE organization SET ready = ready - 1 WHERE id = :id", {"ready", "waiting"}),
    "processing": ("UPDATE organization SET processing = processing + 1 WHERE id = :id", {"processing"}),
    "lane ready": (
        "UPDATE lane SET ready = ready + 1 WHERE organization_id = :id AND task_type = 'PAGE' AND rank = 5",
        {"lane PAGE/5 ready"},
    ),
    "lane waiting": (
        "UPDATE lane SET waiting = 0 WHERE organization_id = :id AND waiting > 0",
        {"lane PAGE/5 waiting"},
    ),
    "lane head": (
        "UPDATE lane SET head_seq = 99 WHERE organization_id = :id AND task_type = 'PAGE' AND rank = 5",
        {"lane PAGE/5 head"},
    ),
    "lane missing": (
        "DELETE FROM lane WHERE organization_id = :id AND task_type = 'IMAGE'",
        {"lane IMAGE/0 ready", "turn IMAGE"},
    ),
    "lane too many": (
        "INSERT INTO lane VALUES (:id, 'IMAGE', 9, 1, 0, 1)",
        {"lane IMAGE/9 ready"},
    ),
    "turn missing": ("DELETE FROM turn WHERE organization_id = :id AND task_type = 'PAGE'", {"turn PAGE"}),
    "turn too many": ("INSERT INTO turn VALUES ('FRAGILE', 0, 1, :id)", {"turn FRAGILE"}),
    "turn elsewhere": (
        "UPDATE turn SET virtual_time = virtual_time + 1 WHERE organization_id = :id AND task_type = 'PAGE'",
        {"turn PAGE"},
    ),
    "row lost": ("DELETE FROM queue_entry WHERE organization_id = :id AND task_type = 'IMAGE'", {
        "ready", "lane IMAGE/0 ready",
    }),
}  # fmt: skip


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues are counted two rows at a time, so that each count here has several steps."""
    monkeypatch.setattr(counting, "STEP", 2)
    monkeypatch.setattr(recount, "STEP", 2)


async def _busy(store: Store):
    """Ready, waiting and running tasks, and a free slot."""
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    await submitted(store, organization, a_task(), a_task(), a_task(), a_task(IMAGE, priority=10))
    image, page = await worker.take(2)
    await worker.exchange(Report(page.id, Failed(cause="x", pause_ms=60_000)))
    await submitted(store, organization, a_task(IMAGE, priority=10))
    assert image.task_type == IMAGE
    return organization, worker, image


@pytest.mark.parametrize("damage", [name for name in DAMAGE if name != "row lost"])
async def test_every_drift_is_found_and_mended(database: Database, damage: str) -> None:
    """The recount names what differs, and only there; after the repair all is exact and claims go on rightly."""
    organization, worker, lease = await _busy(database.store)
    other = await an_organization(database.store)
    await submitted(database.store, other)
    await database.close()
    sql, names = DAMAGE[damage]
    database.rows(sql, id=organization.id)
    worker.store = store = await database.open()

    found = await store.recount.find()
    apart = await store.recount.find(organization.name), await store.recount.find(other.name)
    mended = await store.recount.repair(organization.name, actor=ACTOR)

    assert names <= {drift.name for drift in found}, found
    assert {drift.organization for drift in found} == {organization.name}
    assert all(drift.kept != drift.counted for drift in found)
    assert apart == (found, [])
    assert mended == found
    assert await store.recount.find() == []
    assert await store.recount.repair(organization.name, actor=ACTOR) == []
    await worker.settle(lease, DONE)
    status = await store.tasks.status(organization.id)
    assert (status.queued, status.processing) == (4, 0)
    assert len(await worker.take(5)) == 3  # two of this organization, one of the other


async def test_a_task_without_any_state_is_counted(database: Database) -> None:
    """A row that was lost shows as a task in none of the four states; nothing else hides it."""
    organization, *_ = await _busy(database.store)
    await database.close()
    database.rows(DAMAGE["row lost"][0], id=organization.id)
    store = await database.open()

    states, found = await store.recount.states(), await store.recount.find()

    assert states == {0: 1, 1: 4}
    assert DAMAGE["row lost"][1] <= {drift.name for drift in found}
    await database.close()
    database.rows("DELETE FROM task WHERE task_type = 'IMAGE' AND priority = 10 AND seq > 4")
    store = await database.open()
    await store.recount.repair(organization.name, actor=ACTOR)


async def test_a_task_in_two_states_is_counted(database: Database) -> None:
    """A task that is queued and over at once is one too many."""
    organization, *_ = await _busy(database.store)
    await database.close()
    database.rows(
        "INSERT INTO outcome (organization_id, task_id, status, result, charged, attempt, finished_at)"
        " SELECT organization_id, task_id, 'COMPLETED', '{}', 0, 1, 1"
        " FROM queue_entry WHERE organization_id = :id AND task_type = 'IMAGE'",
        id=organization.id,
    )
    store = await database.open()

    assert await store.recount.states() == {1: 4, 2: 1}
    await database.close()
    database.rows("DELETE FROM outcome")
    await database.open()


async def test_the_audit_finds_drift_wherever_it_is(database: Database) -> None:
    """Round by round, those first that were looked at longest ago: within as many rounds as organizations, all."""
    organizations = [await an_organization(database.store) for _ in range(20)]
    await database.close()
    database.rows("UPDATE organization SET processing = 1 WHERE id = :id", id=organizations[17].id)
    store = await database.open()
    found = []
    for _ in organizations:
        database.clock.advance(60)
        found += await store.recount.audit_next()

    assert [(drift.organization, drift.name) for drift in found] == [(organizations[17].name, "processing")]
    assert (await store.organizations.find(organizations[17].name)).drifted
    await store.recount.repair(organizations[17].name, actor=ACTOR)
    assert not (await store.organizations.find(organizations[17].name)).drifted


async def test_drift_of_one_organization_keeps_no_lease_of_another(database: Database) -> None:
    """A count that is too low does not stop the sweep: the other organization's tasks run again at once (I19)."""
    drifting, other = await an_organization(database.store), await an_organization(database.store)
    worker = await a_worker(database.store)
    await submitted(database.store, drifting)
    await submitted(database.store, other)
    await worker.take(2)
    await database.close()
    database.rows("UPDATE organization SET processing = 0 WHERE id = :id", id=drifting.id)
    store = await database.open()

    try:
        await store.sessions.end(worker.id, reason=LossReason.LOST)
        assert (await store.tasks.status(other.id)).processing == 0
    finally:
        await store.recount.repair(drifting.name, actor=ACTOR)


async def test_a_lane_that_counts_what_is_not_there_starves_nobody(database: Database) -> None:
    """Its organization stands first in turn for ever, and is passed over: the other's task starts in the same claim."""
    drifting, other = await an_organization(database.store), await an_organization(database.store)
    await submitted(database.store, drifting)
    await submitted(database.store, other)
    await database.close()
    database.rows("DELETE FROM queue_entry WHERE organization_id = :id", id=drifting.id)
    database.rows("DELETE FROM task WHERE organization_id = :id", id=drifting.id)
    database.rows("UPDATE organization SET virtual_time = 10 WHERE id = :id", id=other.id)
    database.rows("UPDATE turn SET virtual_time = 10 WHERE organization_id = :id", id=other.id)
    store = await database.open()

    leases = await (await a_worker(store)).take(1)

    assert [lease.organization for lease in leases] == [other.name]
    assert await store.recount.drifted() == [drifting.name]
    await store.recount.repair(drifting.name, actor=ACTOR)
    assert await store.recount.drifted() == []


async def test_a_repair_says_in_the_audit_what_it_mended(database: Database) -> None:
    """The operator can read what was wrong."""
    organization = await an_organization(database.store)
    await database.close()
    database.rows("UPDATE organization SET processing = 3 WHERE id = :id", id=organization.id)
    store = await database.open()

    await store.recount.repair(organization.name, actor="ann")

    (row,) = [row for row in await store.trail.page() if row.action == "organization.repaired"]
    assert (row.actor, row.subject) == ("ann", organization.name)
    assert row.details == [{"organization": organization.name, "name": "processing", "kept": 3, "counted": 0}]


async def test_the_integrals_follow_a_timeline(database: Database) -> None:
    """Slot-milliseconds, and the time in which slots or workers were missing, against a timeline counted by hand."""
    store, clock = database.store, database.clock
    organization, worker = await an_organization(store, slots=2), await a_worker(store)
    clock.advance(1)  # nothing ready: counts nowhere
    await submitted(store, organization, a_task(), a_task(), a_task())
    clock.advance(2)  # ready, slots free: 2 s of missing workers
    leases = await worker.take(1)
    clock.advance(3)  # one slot in use, ready, one free: 3 s of missing workers, 3 slot-seconds
    leases += await worker.take(1)
    clock.advance(4)  # both in use, one ready: 4 s of missing slots, 8 slot-seconds
    await store.organizations.change(organization.name, changes=OrganizationChange(paused=True), actor=ACTOR)
    clock.advance(5)  # paused: 10 slot-seconds, nothing is missing
    await store.organizations.change(organization.name, changes=OrganizationChange(paused=False, slots=1), actor=ACTOR)
    clock.advance(6)  # more in use than allowed: 6 s of missing slots, 12 slot-seconds
    await worker.exchange(*[Report(lease.id, DONE) for lease in leases], places=1)
    clock.advance(7)  # the last one runs, nothing is ready: 7 slot-seconds
    await store.organizations.change(organization.name, changes=OrganizationChange(weight=2), actor=ACTOR)
    clock.advance(-60)  # a clock that steps back adds nothing
    await submitted(store, organization)
    clock.advance(60)
    await submitted(store, organization)

    (row,) = database.rows("SELECT slot_ms, plan_limited_ms, worker_limited_ms FROM organization")

    assert row == (40_000, 10_000, 5_000)
