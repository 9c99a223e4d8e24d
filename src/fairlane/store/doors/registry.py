"""Plans, organizations with their credits, and keys.

Called by ``api/admin/`` for operators and by the guards of ``api/`` and ``dashboard/``, which look up the owner of a
key; the sweeper continues erasures. Never sees a key, only its digest and its last four characters.
"""

from fairlane.model.keys import Caller, Holder, InstallationKey, Key, KeyKind
from fairlane.model.organizations import Erased, Grant, Organization, OrganizationChange, Overrides, Plan, PlanChange
from fairlane.settings import Settings
from fairlane.store import credits, erasing, keys, organizations, plans
from fairlane.store.database import Database
from fairlane.store.doors.door import Door
from fairlane.store.memory import Memory
from fairlane.store.recent import Recent

CALLERS_KEPT = 10_000
KEY_LASTS_MS = 4_000
"""How long a key is remembered: a key revoked at another server must be refused here within five seconds."""
ERASING_STEPS = 20
"""How many steps of erasing one request waits for."""


class RegistryDoor(Door):
    """What operators register. Remembers working keys, and forgets them with each change that may end one."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._callers: Recent[Caller] = Recent(self.now, lasts_ms=KEY_LASTS_MS, most=CALLERS_KEPT)
        """Organizations' working keys by digest. Every change of a key or an organization at this server empties it."""
        self._holders: Recent[Holder] = Recent(self.now, lasts_ms=KEY_LASTS_MS, most=CALLERS_KEPT)
        """Working keys of workers and operators by digest."""

    async def caller(self, digest: str) -> Caller | None:
        """Return the organization of the key with this SHA-256 digest (hex), or None if it does not work."""
        known = self._callers.find(digest)
        if known is not None:
            return known
        mark = self._callers.mark()
        found: Caller | None = await self._database.read(keys.find_caller(digest))
        if found is not None:
            self._callers.keep(digest, found, mark)
        return found

    async def holder(self, digest: str) -> Holder | None:
        """Return the holder of the worker or admin key with this SHA-256 digest (hex), or None if it does not work."""
        known = self._holders.find(digest)
        if known is not None:
            return known
        mark = self._holders.mark()
        found: Holder | None = await self._database.read(keys.find_holder(digest))
        if found is not None:
            self._holders.keep(digest, found, mark)
        return found

    async def create_key(self, organization: str, *, name: str | None, digest: str, last4: str, actor: str) -> Key:
        """Register a key by its digest. Raises NotFound, or NameTaken if this key exists."""
        key: Key = await self._write(keys.create_key, organization, name, digest, last4, actor, self._memory)
        return key

    async def keys(self, organization: str) -> list[Key]:
        """Return the keys of one organization. Raises NotFound."""
        return await self._database.snapshot(keys.find_keys(organization))

    async def revoke_key(self, key_id: str, *, actor: str) -> Key | InstallationKey:
        """Revoke a key: at once here, within five seconds at other servers. Raises NotFound."""
        try:
            key: Key | InstallationKey = await self._write(keys.revoke_key, key_id, actor, self._memory)
        finally:
            self._callers.clear()
            self._holders.clear()
        return key

    async def create_installation_key(
        self, kind: KeyKind, *, name: str, digest: str, last4: str, actor: str
    ) -> InstallationKey:
        """Register a worker or admin key by its digest. Raises NameTaken if this key exists."""
        key: InstallationKey = await self._write(
            keys.create_installation_key, kind, name, digest, last4, actor, self._memory
        )
        return key

    async def installation_keys(self, kind: KeyKind | None = None) -> list[InstallationKey]:
        """Return worker and admin keys, or those of one kind."""
        found: list[InstallationKey] = await self._database.read(keys.find_installation_keys(kind))
        return found

    async def create_organization(
        self, name: str, *, plan: str, overrides: Overrides, credits: bool = False, actor: str
    ) -> Organization:
        """Create an organization; with ``credits`` its balance is counted. Raises NameTaken, or NotFound for the
        plan."""
        made: Organization = await self._write(
            organizations.create_organization, name, plan, overrides, credits, actor, self._memory
        )
        return made

    async def change_organization(self, name: str, *, changes: OrganizationChange, actor: str) -> Organization:
        """Change limits or flags; they apply from the next claim. Raises NotFound."""
        try:
            changed: Organization = await self._write(
                organizations.change_organization, name, changes, actor, self._memory
            )
        finally:
            self._callers.clear()
        return changed

    async def erase_organization(self, name: str, *, actor: str) -> Erased:
        """Start or continue to erase an organization with everything it owns, for a limited number of steps.

        From the first answer on it is disabled. Ask again until it is done; upkeep continues in any case. Raises
        NotFound, also once it is gone.
        """
        try:
            erased: Organization = await self._write(erasing.begin_erasing, name, actor, self._memory)
        finally:
            self._callers.clear()
        total = 0
        for _ in range(ERASING_STEPS):
            count = await self.erase_some(erased.id)
            total += count
            if not count:
                return Erased(organization=name, rows=total, done=True)
        return Erased(organization=name, rows=total, done=False)

    async def erase_some(self, organization_id: int) -> int:
        """Do one step of erasing; return the number of rows, or 0 when the organization is gone."""
        count: int = await self._write(erasing.erase_some, organization_id, self._memory)
        return count

    async def erasing(self) -> list[int]:
        """Return organizations that are being erased; at most a hundred."""
        found: list[int] = await self._database.read(erasing.find_erasing())
        return found

    async def organizations(self, *, after: str = "", most: int = organizations.ALL) -> list[Organization]:
        """Return organizations by name: all, or at most ``most`` after this one."""
        found: list[Organization] = await self._database.read(organizations.find_organizations(after, most))
        return found

    async def organization(self, name: str) -> Organization:
        """Return one organization. Raises NotFound."""
        found: Organization = await self._database.read(organizations.find_organization(name))
        return found

    async def grant(self, organization: str, *, grant_id: str, amount: int, reason: str, actor: str) -> Grant:
        """Grant credits, or take some back; once for each id. Raises NotFound, NameTaken or ValidationRefused."""
        granted: Grant = await self._write(credits.grant, organization, grant_id, amount, reason, actor, self._memory)
        return granted

    async def grants(self, organization: str, *, most: int) -> list[Grant]:
        """Return an organization's grants, newest first. Raises NotFound."""
        return await self._database.snapshot(credits.find_grants(organization, most))

    async def create_plan(self, name: str, *, slots: int | None, queue_limit: int, weight: int, actor: str) -> Plan:
        """Create a plan. Raises NameTaken."""
        plan: Plan = await self._write(plans.create_plan, name, slots, queue_limit, weight, actor, self._memory)
        return plan

    async def change_plan(self, name: str, *, changes: PlanChange, actor: str) -> Plan:
        """Change a plan; its organizations' limits follow, in chunks. Raises NotFound."""
        plan: Plan = await self._write(plans.change_plan, name, changes, actor, self._memory)
        after: int | None = 0
        while after is not None:
            after = await self._write(plans.refresh_plan, name, after, self._memory)
        return plan

    async def delete_plan(self, name: str, *, actor: str) -> Plan:
        """Delete a plan that no organization uses. Raises NotFound, or InUse."""
        plan: Plan = await self._write(plans.delete_plan, name, actor, self._memory)
        return plan

    async def plans(self) -> list[Plan]:
        """Return all plans."""
        found: list[Plan] = await self._database.read(plans.find_plans())
        return found

    async def plan(self, name: str) -> Plan:
        """Return one plan. Raises NotFound."""
        plan: Plan = await self._database.read(plans.find_plan(name))
        return plan
