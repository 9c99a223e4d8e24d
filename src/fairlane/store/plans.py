"""Plans: named limits. A changed plan reaches its organizations in chunks."""

from contextlib import suppress

import msgspec
from msgspec import UNSET

from fairlane.errors import InUse, NameTaken, NotFound
from fairlane.model.organizations import DEFAULT_PLAN, Plan, PlanChange
from fairlane.store.noun import Noun
from fairlane.store.statements import CHUNK, Operation, first, rows, run
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction, read_locked

DEFAULT_SLOTS = 10
DEFAULT_QUEUE_LIMIT = 100_000
DEFAULT_WEIGHT = 1


class PlanStore(Noun):
    """Named limits."""

    async def create(self, name: str, *, slots: int | None, queue_limit: int, weight: int, actor: str) -> Plan:
        """Create a plan. Raises NameTaken."""
        return await self._write(_create, name, slots, queue_limit, weight, actor)

    async def create_default(self) -> None:
        """Create the default plan if it is missing."""
        if any(plan.name == DEFAULT_PLAN for plan in await self.all()):
            return
        with suppress(NameTaken):
            await self.create(
                DEFAULT_PLAN, slots=DEFAULT_SLOTS, queue_limit=DEFAULT_QUEUE_LIMIT, weight=DEFAULT_WEIGHT,
                actor="fairlane",
            )  # fmt: skip

    async def change(self, name: str, *, changes: PlanChange, actor: str) -> Plan:
        """Change a plan's limits; its organizations' limits follow, in chunks. Raises NotFound.

        Changing the plan again fixes a crash in between.
        """
        plan = await self._write(_change, name, changes, actor)
        after: int | None = 0
        while after is not None:
            after = await self._write(_refresh, name, after)
        return plan

    async def delete(self, name: str, *, actor: str) -> Plan:
        """Delete a plan that no organization uses. Raises NotFound, or InUse; the default plan is always in use."""
        return await self._write(_delete, name, actor)

    async def find(self, name: str) -> Plan:
        """Return one plan. Raises NotFound."""
        return await self._database.read(find_plan(name))

    async def all(self) -> list[Plan]:
        """Return all plans by name."""
        return await self._database.read(find_plans())


def _create(
    transaction: Transaction, name: str, slots: int | None, queue_limit: int, weight: int, actor: str
) -> Operation[Plan]:
    limits = {"slots": slots, "queue_limit": queue_limit, "weight": weight}
    if not (yield from rows("insert_plan", into=str, name=name, **limits, now=(yield from transaction.read_clock()))):
        raise NameTaken("plan", name)
    yield from write_trail(transaction, actor, "plan.created", name, limits)
    return (yield from find_plan(name))


def find_plan(name: str) -> Operation[Plan]:
    """Read one plan, or refuse with NotFound."""
    found = yield from first("find_plans", into=Plan, name=name)
    if found is None:
        raise NotFound.named("plan", name)
    return found


def keep_plan(name: str) -> Operation[None]:
    """Lock the plan against change and deletion until this transaction, which gives it to an organization, has ended.

    Raises NotFound. In the order of locks plans come after organizations; :func:`_refresh` runs after the change,
    and takes no lock on the plan.
    """
    if not (yield from rows("keep_plan", into=str, name=name)):
        raise NotFound.named("plan", name)


def find_plans() -> Operation[list[Plan]]:
    """Read all plans by name."""
    return (yield from rows("find_plans", into=Plan, name=None))


def _change(transaction: Transaction, name: str, changes: PlanChange, actor: str) -> Operation[Plan]:
    yield from run("lock_plan", name=name)
    before = yield from find_plan(name)
    given = {key: value for key, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    limits = {"slots": before.slots, "queue_limit": before.queue_limit, "weight": before.weight, **given}
    yield from run("update_plan", name=name, **limits)
    yield from write_trail(transaction, actor, "plan.changed", name, given)
    return (yield from find_plan(name))


def _refresh(transaction: Transaction, name: str, after: int) -> Operation[int | None]:
    """Update the effective limits of the plan's next CHUNK organizations; return the id to continue after, or None."""
    ids = yield from rows("find_plan_organizations", into=int, plan=name, after=after, most=CHUNK)
    if not ids:
        return None
    locked = yield from transaction.lock(ids)
    yield from run("refresh_limits", ids=ids)
    fresh = yield from read_locked(ids)
    for organization_id, one in locked.items():
        new = fresh[organization_id]
        one.slots_max, one.queue_limit, one.weight = new.slots_max, new.queue_limit, new.weight
    yield from transaction.save()
    return ids[-1]


def _delete(transaction: Transaction, name: str, actor: str) -> Operation[Plan]:
    yield from run("lock_plan", name=name)
    plan = yield from find_plan(name)
    if name == DEFAULT_PLAN or not (yield from rows("delete_plan", into=str, name=name)):
        raise InUse("plan", name)
    yield from write_trail(transaction, actor, "plan.deleted", name, {})
    return plan
