"""Keys of organizations, workers and operators: create, find by digest, revoke."""

from fairlane.errors import NameTaken, NotFound
from fairlane.model.keys import Caller, Holder, InstallationKey, Key, KeyKind
from fairlane.store.cache import Cache
from fairlane.store.noun import Noun, Shared
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import Operation, first, only, rows, run
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

KEPT_MOST = 10_000
KEPT_MS = 4_000
"""How long a key is remembered: a key revoked at another server must be refused here within five seconds."""


class KeyStore(Noun):
    """Keys of organizations, workers and operators. Remembers working keys for a moment.

    Never sees a key, only its SHA-256 digest (hex) and its last four characters.
    """

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._callers: Cache[Caller] = Cache(shared.database.now, lasts_ms=KEPT_MS, most=KEPT_MOST)
        """Organizations' working keys by digest."""
        self._holders: Cache[Holder] = Cache(shared.database.now, lasts_ms=KEPT_MS, most=KEPT_MOST)
        """Working keys of workers and operators by digest."""

    async def caller(self, digest: str) -> Caller | None:
        """Return the organization of the key with this digest.

        Return None if the key is unknown or revoked, or if its organization is disabled.
        """
        known = self._callers.find(digest)
        if known is not None:
            return known
        mark = self._callers.mark()
        found = await self._database.read(find_caller(digest))
        if found is not None:
            self._callers.keep(digest, found, mark)
        return found

    async def holder(self, digest: str) -> Holder | None:
        """Return the holder of the worker or admin key with this digest, or None if it is unknown or revoked."""
        known = self._holders.find(digest)
        if known is not None:
            return known
        mark = self._holders.mark()
        found = await self._database.read(find_holder(digest))
        if found is not None:
            self._holders.keep(digest, found, mark)
        return found

    def forget_callers(self) -> None:
        """Forget the organizations' keys, after a change that may end one."""
        self._callers.clear()

    async def create(self, organization: str, *, name: str | None, digest: str, last4: str, actor: str) -> Key:
        """Create a key for this organization.

        Raises:
            NotFound: no such organization.
            NameTaken: this very key exists already.
        """
        return await self._write(_create, organization, name, digest, last4, actor)

    async def all(self, organization: str) -> list[Key]:
        """Return the keys of one organization, oldest first. Raises NotFound."""
        return await self._database.snapshot(_find_keys(organization))

    async def revoke(self, key_id: str, *, actor: str) -> Key | InstallationKey:
        """Revoke a key of any kind: at once here, within five seconds at other servers. Safe to repeat.

        Sessions that were opened with a worker key end with it; their leases are returned by the next sweep. Raises
        NotFound.
        """
        try:
            return await self._write(revoke_key, key_id, actor)
        finally:
            self._callers.clear()
            self._holders.clear()

    async def create_for_installation(
        self, kind: KeyKind, *, name: str, digest: str, last4: str, actor: str
    ) -> InstallationKey:
        """Create a worker or admin key. Raises NameTaken if this very key exists already."""
        return await self._write(_create_for_installation, kind, name, digest, last4, actor)

    async def of_installation(self, kind: KeyKind | None = None) -> list[InstallationKey]:
        """Return worker and admin keys, oldest first; of one kind if given."""
        return await self._database.read(find_installation_keys(kind))


def find_caller(digest: str) -> Operation[Caller | None]:
    """Read the owner of an organization's key."""
    return (yield from first("find_caller", into=Caller, digest=digest))


def _create(
    transaction: Transaction, organization: str, name: str | None, digest: str, last4: str, actor: str
) -> Operation[Key]:
    organization_id = yield from find_organization_id(organization)
    identity = transaction.config.new_id()
    made = yield from rows(
        "insert_key", into=str, id=identity, organization_id=organization_id, name=name, digest=digest, last4=last4,
        now=(yield from transaction.read_clock()),
    )  # fmt: skip
    if not made:
        raise NameTaken("key", f"…{last4}", field="value")
    yield from write_trail(transaction, actor, "key.created", organization, {"key": identity, "name": name})
    return (yield from only("find_key", into=Key, id=identity))


def _find_keys(organization: str) -> Operation[list[Key]]:
    organization_id = yield from find_organization_id(organization)
    return (yield from rows("find_keys", into=Key, organization_id=organization_id))


def revoke_key(transaction: Transaction, identity: str, actor: str) -> Operation[Key | InstallationKey]:
    now = yield from transaction.read_clock()
    if (yield from rows("revoke_key", into=str, id=identity, now=now)):
        key = yield from only("find_key", into=Key, id=identity)
        yield from write_trail(transaction, actor, "key.revoked", key.organization, {"key": identity})
        return key
    if not (yield from rows("revoke_installation_key", into=str, id=identity, now=now)):
        raise NotFound.named("key", identity)
    yield from run("end_key_sessions", key_id=identity)
    other = yield from _find_installation_key(identity)
    yield from write_trail(transaction, actor, f"{other.kind}_key.revoked", other.name, {"key": identity})
    return other


# Keys of the installation --------------------------------------------------------------------------------------------


def find_holder(digest: str) -> Operation[Holder | None]:
    """Read the holder of a worker or admin key."""
    found = yield from first("find_holder", into=Holder, digest=digest)
    return found


def _create_for_installation(
    transaction: Transaction, kind: KeyKind, name: str, digest: str, last4: str, actor: str
) -> Operation[InstallationKey]:
    identity = transaction.config.new_id()
    made = yield from rows(
        "insert_installation_key", into=str, id=identity, kind=str(kind), name=name, digest=digest, last4=last4,
        now=(yield from transaction.read_clock()),
    )  # fmt: skip
    if not made:
        raise NameTaken("key", f"…{last4}", field="value")
    yield from write_trail(transaction, actor, f"{kind}_key.created", name, {"key": identity})
    return (yield from _find_installation_key(identity))


def find_installation_keys(kind: KeyKind | None) -> Operation[list[InstallationKey]]:
    """Read worker and admin keys."""
    found = yield from rows(
        "find_installation_keys", into=InstallationKey, kind=None if kind is None else str(kind), id=None
    )
    return found


def _find_installation_key(identity: str) -> Operation[InstallationKey]:
    row = yield from only("find_installation_keys", into=InstallationKey, kind=None, id=identity)
    return row
