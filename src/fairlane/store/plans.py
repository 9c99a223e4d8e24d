"""Plans: named limits. A changed plan reaches its organizations in chunks."""

import msgspec
from msgspec import UNSET

from fairlane.errors import InUse, NameTaken, NotFound
from fairlane.model.organizations import DEFAULT_PLAN, Plan, PlanChange
from fairlane.store.audit import write_audit
from fairlane.store.locked import lock_organizations, write_organizations
from fairlane.store.memory import Memory
from fairlane.store.statements import CHUNK, Operation, clock, rows


def create_plan(
    name: str, slots: int | None, queue_limit: int, weight: int, actor: str, memory: Memory
) -> Operation[Plan]:
    """Create a plan. Raises NameTaken."""
    limits = {"slots": slots, "queue_limit": queue_limit, "weight": weight}
    if not (yield from rows("insert_plan", name=name, **limits, now=(yield from clock()))):
        raise NameTaken("plan", name)
    yield from write_audit(actor, "plan.created", name, limits, memory)
    return (yield from find_plan(name))


def find_plan(name: str) -> Operation[Plan]:
    """Return one plan. Raises NotFound."""
    found = yield from rows("find_plans", name=name)
    if not found:
        raise NotFound.named("plan", name)
    return _plan(*found[0])


def keep_plan(name: str) -> Operation[None]:
    """Lock the plan against change and deletion until this transaction, which gives it to an organization, has ended.

    Raises NotFound. In the order of locks plans come after organizations; :func:`refresh_plan` runs after the change,
    and takes no lock on the plan.
    """
    if not (yield from rows("keep_plan", name=name)):
        raise NotFound.named("plan", name)


def find_plans() -> Operation[list[Plan]]:
    """Return all plans by name."""
    return [_plan(*row) for row in (yield from rows("find_plans", name=None))]


def _plan(name: str, slots: int | None, queue_limit: int, weight: int, created_at: int) -> Plan:
    return Plan(name=name, slots=slots, queue_limit=queue_limit, weight=weight, created_at=created_at)


def change_plan(name: str, changes: PlanChange, actor: str, memory: Memory) -> Operation[Plan]:
    """Change a plan's limits. Its organizations follow by :func:`refresh_plan`. Raises NotFound."""
    yield from rows("lock_plan", name=name)
    before = yield from find_plan(name)
    given = {key: value for key, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    limits = {"slots": before.slots, "queue_limit": before.queue_limit, "weight": before.weight, **given}
    yield from rows("update_plan", name=name, **limits)
    yield from write_audit(actor, "plan.changed", name, given, memory)
    return (yield from find_plan(name))


def refresh_plan(name: str, after: int, memory: Memory) -> Operation[int | None]:
    """Update the effective limits of the plan's next CHUNK organizations.

    Returns the id to continue after, or None when all are done. Safe to repeat: changing the plan again fixes a crash
    in between.
    """
    ids = [row[0] for row in (yield from rows("find_plan_organizations", plan=name, after=after, most=CHUNK))]
    if not ids:
        return None
    locked = yield from lock_organizations(ids)
    yield from rows("refresh_limits", ids=ids)
    fresh = yield from lock_organizations(ids)
    for organization_id, one in locked.items():
        new = fresh[organization_id]
        one.slots_max, one.queue_limit, one.weight = new.slots_max, new.queue_limit, new.weight
    yield from write_organizations(locked, memory, (yield from clock()))
    return int(ids[-1])


def delete_plan(name: str, actor: str, memory: Memory) -> Operation[Plan]:
    """Delete a plan that no organization uses. Raises NotFound, or InUse; the default plan is always in use."""
    yield from rows("lock_plan", name=name)
    plan = yield from find_plan(name)
    if name == DEFAULT_PLAN or not (yield from rows("delete_plan", name=name)):
        raise InUse("plan", name)
    yield from write_audit(actor, "plan.deleted", name, {}, memory)
    return plan


def maintenance() -> Operation[bool]:
    """Return whether the operator has put the whole installation under maintenance."""
    return bool((yield from rows("find_maintenance"))[0][0])


def set_maintenance(on: bool, actor: str, memory: Memory) -> Operation[None]:
    """Start or end maintenance. While it is on, no organization's concurrency is shown."""
    yield from rows("update_maintenance", maintenance=int(on))
    yield from write_audit(actor, "maintenance.changed", "installation", {"on": on}, memory)
