"""Organizations as operators see and change them. Every change leaves an audit row."""

from collections.abc import Callable

import msgspec
from msgspec import UNSET

from fairlane.errors import InUse, NameTaken, NotFound
from fairlane.model.organizations import CreditTotals, Organization, OrganizationChange, Overrides
from fairlane.rules.history import month_of
from fairlane.store.noun import Noun, Shared
from fairlane.store.plans import LIMITS, keep_plan, kept_limits, text_of_types, types_of
from fairlane.store.statements import Operation, Row, first, only, rows, run
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

ALL = 2**31 - 1
"""More than the number of organizations."""
BEYOND = "\x7f"
"""Above every character that a name may have."""


class OrganizationRow(Row, frozen=True):
    """An organization, as operators see it."""

    id: int
    name: str
    plan: str
    slots_max: int | None
    queue_limit: int
    weight: int
    paused: int
    disabled: int
    maintenance: int
    drifted: int
    queued: int
    processing: int
    submitted: int
    completed: int
    failed: int
    created_at: int
    slots_override: int | None
    queue_limit_override: int | None
    weight_override: int | None
    priority_limit: int | None
    task_types: str | None
    priority_limit_override: int | None
    task_types_override: str | None
    monthly_credits: int | None
    monthly_credits_override: int | None
    rate_limit: int | None
    rate_limit_override: int | None
    retention_seconds: int | None
    retention_seconds_override: int | None
    credits_on: int
    credits_granted: int
    credits_charged: int
    credits_held: int
    erasing: int
    calls: int
    oldest_ready_at: int | None


class OrganizationStore(Noun):
    """Organizations, their limits and flags."""

    def __init__(self, shared: Shared, *, forget_keys: Callable[[], None]) -> None:
        """``forget_keys`` is called after each change that may end an organization's keys."""
        super().__init__(shared)
        self._forget_keys = forget_keys

    async def create(
        self, name: str, *, plan: str, overrides: Overrides, credits: bool = False, actor: str
    ) -> Organization:
        """Create an organization on this plan. With ``credits`` its balance is counted, starting at 0.

        Raises:
            NotFound: no such plan.
            NameTaken: the name is in use.
        """
        return await self._write(_create, name, plan, overrides, credits, actor)

    async def change(self, name: str, *, changes: OrganizationChange, actor: str) -> Organization:
        """Change limits and flags. They apply from the next claim; nothing that runs is ended.

        Raises:
            NotFound: no such organization or plan.
            InUse: it is being erased.
        """
        try:
            return await self._write(_change, name, changes, actor)
        finally:
            self._forget_keys()

    async def find(self, name: str) -> Organization:
        """Return one organization. Raises NotFound."""
        return await self._database.read(find_organization(name))

    async def all(self, *, after: str = "", beginning: str = "", most: int = ALL) -> list[Organization]:
        """Return organizations by name: all, or at most ``most`` after this one with this beginning of the name."""
        return await self._database.read(find_organizations(after, most, beginning))

    async def name(self, organization_id: int) -> str:
        """Return an organization's name. Raises NotFound."""
        return await self._database.read(find_organization_name(organization_id))

    async def share_virtual_time(self) -> None:
        """Exchange virtual time with the other servers.

        A server that claims nothing has an old virtual time. Without sharing, its organizations would enter too low and
        be served before the others.
        """
        if not self._database.exclusive:
            await self._write(_share_virtual_time)

    async def recall_virtual_time(self) -> None:
        """Continue the fair order at the start of a server: time spent idle before it must not count as credit."""
        self._memory.picked(await self._database.read(find_virtual_time()))


def _create(
    transaction: Transaction, name: str, plan: str, overrides: Overrides, credits: bool, actor: str
) -> Operation[Organization]:
    yield from run("lock_installation")  # if two servers create the same name at once, the second gets NameTaken
    yield from keep_plan(plan)
    if (yield from first("find_organization_id", into=int, name=name)) is not None:
        raise NameTaken("organization", name)
    limits = msgspec.structs.asdict(overrides)
    now, identity = (yield from transaction.read_clock()), (yield from only("take_organization_id", into=int))
    columns = kept_limits(limits)
    yield from run("insert_organization", id=identity, name=name, plan=plan, **columns, credits=int(credits), now=now)
    yield from run("insert_month", organization_id=identity, month=month_of(now), now=now)
    details = {"plan": plan, **limits, "credits": credits}
    yield from write_trail(transaction, actor, "organization.created", name, details)
    return (yield from find_organization(name))


def find_organization(name: str) -> Operation[Organization]:
    """Read one organization, or refuse with NotFound."""
    return _organization((yield from _find(name)))


def find_organizations(after: str = "", most: int = ALL, beginning: str = "") -> Operation[list[Organization]]:
    """Read organizations by name."""
    found = yield from rows(
        "find_organizations",
        into=OrganizationRow,
        name=None,
        after=after,
        least=beginning,
        beyond=beginning + BEYOND,
        most=most,
    )
    return [_organization(row) for row in found]


def find_virtual_time() -> Operation[int]:
    """Read the virtual time of the installation."""
    return (yield from only("find_virtual_time", into=int))


def _share_virtual_time(transaction: Transaction) -> Operation[None]:
    shared = yield from only("find_shared_virtual_time", into=int)
    if shared < transaction.memory.virtual_time:
        yield from run("share_virtual_time", virtual_time=transaction.memory.virtual_time)
    transaction.memory.picked(shared)


def find_organization_id(name: str) -> Operation[int]:
    """Return the id of an organization. Raises NotFound."""
    found = yield from first("find_organization_id", into=int, name=name)
    if found is None:
        raise NotFound.named("organization", name)
    return found


def find_organization_name(organization_id: int) -> Operation[str]:
    """Read the name of an organization, or refuse with NotFound."""
    found = yield from first("find_organization_name", into=str, id=organization_id)
    if found is None:
        raise NotFound.named("organization", str(organization_id))
    return found


def _find(name: str) -> Operation[OrganizationRow]:
    found = yield from first(
        "find_organizations", into=OrganizationRow, name=name, after="", least="", beyond=BEYOND, most=1
    )
    if found is None:
        raise NotFound.named("organization", name)
    return found


def _organization(row: OrganizationRow) -> Organization:
    return Organization(
        id=row.id,
        name=row.name,
        plan=row.plan,
        slots_max=row.slots_max,
        queue_limit=row.queue_limit,
        weight=row.weight,
        priority_limit=row.priority_limit,
        task_types=types_of(row.task_types),
        rate_limit=row.rate_limit,
        retention_seconds=row.retention_seconds,
        paused=bool(row.paused),
        disabled=bool(row.disabled),
        maintenance=bool(row.maintenance),
        drifted=bool(row.drifted),
        queued=row.queued,
        processing=row.processing,
        used=row.processing + row.calls,
        oldest_ready_at=row.oldest_ready_at,
        submitted=row.submitted,
        completed=row.completed,
        failed=row.failed,
        created_at=row.created_at,
        credits=CreditTotals(
            on=bool(row.credits_on),
            granted=row.credits_granted,
            charged=row.credits_charged,
            held=row.credits_held,
            monthly=row.monthly_credits,
        ),
        erasing=bool(row.erasing),
    )


def _change(transaction: Transaction, name: str, changes: OrganizationChange, actor: str) -> Operation[Organization]:
    organization_id = yield from find_organization_id(name)
    locked = yield from transaction.lock([organization_id])
    before = yield from _find(name)
    if before.erasing:
        raise InUse("organization", name)
    given = {key: value for key, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    if given.keys() & {"plan", *LIMITS}:
        columns = {"plan": before.plan} | {limit: getattr(before, f"{limit}_override") for limit in LIMITS}
        columns |= kept_limits({key: value for key, value in given.items() if key in columns})
        yield from keep_plan(columns["plan"])
        yield from run("update_limits", id=organization_id, **columns)
    if given.keys() & {"paused", "disabled", "maintenance", "credits"}:
        flags = {
            "paused": before.paused,
            "disabled": before.disabled,
            "maintenance": before.maintenance,
            "credits": before.credits_on,
        }
        flags |= {key: int(value) for key, value in given.items() if key in flags}
        yield from run("update_flags", id=organization_id, **flags)
    after = yield from find_organization(name)
    one = locked[organization_id]
    one.slots_max, one.queue_limit, one.weight = after.slots_max, after.queue_limit, after.weight
    one.priority_limit, one.task_types = after.priority_limit, text_of_types(after.task_types)
    one.retention_seconds = after.retention_seconds
    one.paused, one.disabled, one.credits_on = int(after.paused), int(after.disabled), int(after.credits.on)
    yield from transaction.save()
    yield from write_trail(transaction, actor, "organization.changed", name, given)
    return after
