"""Plans: named limits. A changed plan reaches its organizations in chunks."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET

from fairlane.errors import InUse, NameTaken, NotFound, ValidationRefused
from fairlane.model.organizations import DEFAULT_PLAN, Plan, PlanChange
from fairlane.model.tasks import PRIORITY_LOWEST
from fairlane.store.locked import LockedOrganization
from fairlane.store.noun import Noun, Shared
from fairlane.store.statements import CHUNK, Operation, Row, first, rows, run
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction, read_locked

DEFAULT_SLOTS = 10
DEFAULT_QUEUE_LIMIT = 100_000
DEFAULT_WEIGHT = 1

LIMITS = (
    "slots",
    "queue_limit",
    "weight",
    "priority_limit",
    "task_types",
    "monthly_credits",
    "rate_limit",
    "retention_seconds",
)
"""The limits of a plan. An organization may have its own value of each."""


class PlanRow(Row, frozen=True):
    """A plan, as kept."""

    name: str
    slots: int | None
    queue_limit: int
    weight: int
    priority_limit: int | None
    task_types: str | None
    monthly_credits: int | None
    rate_limit: int | None
    retention_seconds: int | None
    created_at: int


class PlanStore(Noun):
    """Named limits."""

    def __init__(self, shared: Shared, *, forget_keys: Callable[[], None]) -> None:
        """``forget_keys`` is called after a change: a remembered key has a limit of its organization."""
        super().__init__(shared)
        self._forget_keys = forget_keys

    async def create(
        self,
        name: str,
        *,
        slots: int | None,
        queue_limit: int,
        weight: int,
        priority_limit: int | None = None,
        task_types: tuple[str, ...] | None = None,
        monthly_credits: int | None = None,
        rate_limit: int | None = None,
        retention_seconds: int | None = None,
        actor: str,
    ) -> Plan:
        """Create a plan. Raises NameTaken."""
        limits = {
            "slots": slots,
            "queue_limit": queue_limit,
            "weight": weight,
            "priority_limit": priority_limit,
            "task_types": task_types,
            "monthly_credits": monthly_credits,
            "rate_limit": rate_limit,
            "retention_seconds": retention_seconds,
        }
        return await self._write(_create, name, limits, actor)

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
            try:
                after = await self._write(_refresh, name, after)
            finally:
                self._forget_keys()
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


def _create(transaction: Transaction, name: str, limits: Mapping[str, Any], actor: str) -> Operation[Plan]:
    now = yield from transaction.read_clock()
    if not (yield from rows("insert_plan", into=str, name=name, **kept_limits(limits), now=now)):
        raise NameTaken("plan", name)
    yield from write_trail(transaction, actor, "plan.created", name, dict(limits))
    return (yield from find_plan(name))


def find_plan(name: str) -> Operation[Plan]:
    """Read one plan, or refuse with NotFound."""
    found = yield from first("find_plans", into=PlanRow, name=name)
    if found is None:
        raise NotFound.named("plan", name)
    return _plan(found)


def keep_plan(name: str) -> Operation[None]:
    """Lock the plan against change and deletion until this transaction, which gives it to an organization, has ended.

    Raises NotFound. In the order of locks plans come after organizations; :func:`_refresh` runs after the change,
    and takes no lock on the plan.
    """
    if not (yield from rows("keep_plan", into=str, name=name)):
        raise NotFound.named("plan", name)


def find_plans() -> Operation[list[Plan]]:
    """Read all plans by name."""
    return [_plan(row) for row in (yield from rows("find_plans", into=PlanRow, name=None))]


def _plan(row: PlanRow) -> Plan:
    return Plan(
        name=row.name,
        slots=row.slots,
        queue_limit=row.queue_limit,
        weight=row.weight,
        priority_limit=row.priority_limit,
        task_types=types_of(row.task_types),
        monthly_credits=row.monthly_credits,
        rate_limit=row.rate_limit,
        retention_seconds=row.retention_seconds,
        created_at=row.created_at,
    )


def _change(transaction: Transaction, name: str, changes: PlanChange, actor: str) -> Operation[Plan]:
    yield from run("lock_plan", name=name)
    before = yield from find_plan(name)
    given = {key: value for key, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    limits = {limit: getattr(before, limit) for limit in LIMITS} | given
    yield from run("update_plan", name=name, **kept_limits(limits))
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
        one.priority_limit, one.task_types = new.priority_limit, new.task_types
        one.retention_seconds = new.retention_seconds
    yield from transaction.save()
    return ids[-1]


def _delete(transaction: Transaction, name: str, actor: str) -> Operation[Plan]:
    yield from run("lock_plan", name=name)
    plan = yield from find_plan(name)
    if name == DEFAULT_PLAN or not (yield from rows("delete_plan", into=str, name=name)):
        raise InUse("plan", name)
    yield from write_trail(transaction, actor, "plan.deleted", name, {})
    return plan


# What may be submitted -----------------------------------------------------------------------------------------------


def kept_limits(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return limits as the columns keep them: task types are one text."""
    return {**limits, "task_types": text_of_types(limits["task_types"])} if "task_types" in limits else dict(limits)


def text_of_types(names: tuple[str, ...] | None) -> str | None:
    """Return task types as their column keeps them: a JSON array, each name once and in order."""
    return None if names is None else msgspec.json.encode(sorted(set(names))).decode()


@lru_cache(maxsize=1_024)
def types_of(text: str | None) -> tuple[str, ...] | None:
    """Return the task types that a column keeps, or None for any."""
    return None if text is None else msgspec.json.decode(text, type=tuple[str, ...])


def refusal_by_plan(
    organization: LockedOrganization, task_type: str, priority: int = PRIORITY_LOWEST
) -> ValidationRefused | None:
    """Return why the organization's limits in force do not allow such a task or call, or None if they do."""
    allowed = types_of(organization.task_types)
    if allowed is not None and task_type not in allowed:
        return ValidationRefused.type_not_allowed(allowed)
    if organization.priority_limit is not None and priority > organization.priority_limit:
        most = organization.priority_limit
        return ValidationRefused.at("priority", f"must be at most {most} for this organization")
    return None
