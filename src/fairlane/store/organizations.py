"""Organizations as operators see and change them. Every change leaves an audit row."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from fairlane.errors import InUse, NameTaken, NotFound
from fairlane.model.organizations import CreditTotals, Organization, OrganizationChange, Overrides
from fairlane.rules.history import month_of
from fairlane.store.database import Database
from fairlane.store.locked import lock_organizations, write_organizations
from fairlane.store.memory import Memory
from fairlane.store.noun import Noun
from fairlane.store.plans import keep_plan
from fairlane.store.statements import Operation, clock, rows
from fairlane.store.trail import write_trail

ALL = 2**31 - 1
"""More than the number of organizations."""


class OrganizationStore(Noun):
    """Organizations, their limits and flags."""

    def __init__(self, database: Database, memory: Memory, *, forget_keys: Callable[[], None]) -> None:
        """``forget_keys`` is called after each change that may end an organization's keys."""
        super().__init__(database, memory)
        self._forget_keys = forget_keys

    async def create(
        self, name: str, *, plan: str, overrides: Overrides, credits: bool = False, actor: str
    ) -> Organization:
        """Create an organization on this plan. With ``credits`` its balance is counted, starting at 0.

        Raises:
            NotFound: no such plan.
            NameTaken: the name is in use.
        """
        return await self._write(_create, name, plan, overrides, credits, actor, self._memory)

    async def change(self, name: str, *, changes: OrganizationChange, actor: str) -> Organization:
        """Change limits and flags. They apply from the next claim; nothing that runs is ended.

        Raises:
            NotFound: no such organization or plan.
            InUse: it is being erased.
        """
        try:
            return await self._write(_change, name, changes, actor, self._memory)
        finally:
            self._forget_keys()

    async def find(self, name: str) -> Organization:
        """Return one organization. Raises NotFound."""
        return await self._database.read(find_organization(name))

    async def all(self, *, after: str = "", most: int = ALL) -> list[Organization]:
        """Return organizations by name: all, or at most ``most`` after this one."""
        return await self._database.read(find_organizations(after, most))

    async def name(self, organization_id: int) -> str:
        """Return an organization's name. Raises NotFound."""
        return await self._database.read(find_organization_name(organization_id))

    async def share_virtual_time(self) -> None:
        """Exchange virtual time with the other servers.

        A server that claims nothing has an old virtual time. Without sharing, its organizations would enter too low and
        be served before the others.
        """
        if not self._database.exclusive:
            await self._write(_share_virtual_time, self._memory)

    async def recall_virtual_time(self) -> None:
        """Continue the fair order at the start of a server: time spent idle before it must not count as credit."""
        self._memory.picked(await self._database.read(find_virtual_time()))


def _create(
    name: str, plan: str, overrides: Overrides, credits: bool, actor: str, memory: Memory
) -> Operation[Organization]:
    yield from rows("lock_installation")  # if two servers create the same name at once, the second gets NameTaken
    yield from keep_plan(plan)
    if (yield from rows("find_organization_id", name=name)):
        raise NameTaken("organization", name)
    limits = msgspec.structs.asdict(overrides)
    now, identity = (yield from clock()), (yield from rows("take_organization_id"))[0][0]
    yield from rows("insert_organization", id=identity, name=name, plan=plan, **limits, credits=int(credits), now=now)
    yield from rows("insert_month", organization_id=identity, month=month_of(now), now=now)
    details = {"plan": plan, **limits, "credits": credits}
    yield from write_trail(actor, "organization.created", name, details, memory)
    return (yield from find_organization(name))


def find_organization(name: str) -> Operation[Organization]:
    """Read one organization, or refuse with NotFound."""
    found = yield from rows("find_organizations", name=name, after="", most=1)
    if not found:
        raise NotFound.named("organization", name)
    return _organization(found[0])


def find_organizations(after: str = "", most: int = ALL) -> Operation[list[Organization]]:
    """Read organizations by name."""
    found = yield from rows("find_organizations", name=None, after=after, most=most)
    return [_organization(row) for row in found]


def find_virtual_time() -> Operation[int]:
    """Read the virtual time of the installation."""
    return int((yield from rows("find_virtual_time"))[0][0])


def _share_virtual_time(memory: Memory) -> Operation[None]:
    [(shared,)] = yield from rows("find_shared_virtual_time")
    if shared < memory.virtual_time:
        yield from rows("share_virtual_time", virtual_time=memory.virtual_time)
    memory.picked(shared)


def find_organization_id(name: str) -> Operation[int]:
    """Return the id of an organization. Raises NotFound."""
    found = yield from rows("find_organization_id", name=name)
    if not found:
        raise NotFound.named("organization", name)
    return int(found[0][0])


def find_organization_name(organization_id: int) -> Operation[str]:
    """Read the name of an organization, or refuse with NotFound."""
    found = yield from rows("find_organization_name", id=organization_id)
    if not found:
        raise NotFound.named("organization", str(organization_id))
    return str(found[0][0])


def _organization(row: Any) -> Organization:
    return Organization(
        id=row[0],
        name=row[1],
        plan=row[2],
        slots_max=row[3],
        queue_limit=row[4],
        weight=row[5],
        paused=bool(row[6]),
        disabled=bool(row[7]),
        maintenance=bool(row[8]),
        drifted=bool(row[9]),
        queued=row[10],
        processing=row[11],
        used=row[11] + row[24],
        oldest_ready_at=row[25],
        submitted=row[12],
        completed=row[13],
        failed=row[14],
        created_at=row[15],
        credits=CreditTotals(on=bool(row[19]), granted=row[20], charged=row[21], held=row[22]),
        erasing=bool(row[23]),
    )


def _change(name: str, changes: OrganizationChange, actor: str, memory: Memory) -> Operation[Organization]:
    organization_id = yield from find_organization_id(name)
    locked = yield from lock_organizations([organization_id])
    if (yield from find_organization(name)).erasing:
        raise InUse("organization", name)
    found = (yield from rows("find_organizations", name=name, after="", most=1))[0]
    given = {key: value for key, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    if given.keys() & {"plan", "slots", "queue_limit", "weight"}:
        overrides = {"plan": found[2], "slots": found[16], "queue_limit": found[17], "weight": found[18]}
        overrides |= {key: value for key, value in given.items() if key in overrides}
        yield from keep_plan(overrides["plan"])
        yield from rows("update_limits", id=organization_id, **overrides)
    if given.keys() & {"paused", "disabled", "maintenance", "credits"}:
        flags = {"paused": found[6], "disabled": found[7], "maintenance": found[8], "credits": found[19]}
        flags |= {key: int(value) for key, value in given.items() if key in flags}
        yield from rows("update_flags", id=organization_id, **flags)
    after = yield from find_organization(name)
    one = locked[organization_id]
    one.slots_max, one.queue_limit, one.weight = after.slots_max, after.queue_limit, after.weight
    one.paused, one.disabled, one.credits_on = int(after.paused), int(after.disabled), int(after.credits.on)
    yield from write_organizations(locked, memory, (yield from clock()))
    yield from write_trail(actor, "organization.changed", name, given, memory)
    return after
