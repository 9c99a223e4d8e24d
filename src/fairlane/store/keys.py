"""Keys of organizations, workers and operators: create, find by digest, revoke."""

from typing import Any

from fairlane.errors import NameTaken, NotFound
from fairlane.model.keys import Caller, Holder, InstallationKey, Key, KeyKind
from fairlane.store.audit import write_audit
from fairlane.store.memory import Memory
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import Operation, clock, rows


def find_caller(digest: str) -> Operation[Caller | None]:
    """Return the organization of the key with this digest, or None if it is unknown, revoked, or of a disabled one."""
    found = yield from rows("find_caller", digest=digest)
    return Caller(*found[0]) if found else None


def create_key(
    organization: str, name: str | None, digest: str, last4: str, actor: str, memory: Memory
) -> Operation[Key]:
    """Create a key for this organization.

    Raises:
        NotFound: no such organization.
        NameTaken: this very key exists already.
    """
    organization_id = yield from find_organization_id(organization)
    identity = memory.new_id()
    made = yield from rows(
        "insert_key", id=identity, organization_id=organization_id, name=name, digest=digest, last4=last4,
        now=(yield from clock()),
    )  # fmt: skip
    if not made:
        raise NameTaken("key", f"…{last4}", field="value")
    yield from write_audit(actor, "key.created", organization, {"key": identity, "name": name}, memory)
    return _key((yield from rows("find_key", id=identity))[0])


def find_keys(organization: str) -> Operation[list[Key]]:
    """Return the keys of one organization, oldest first. Raises NotFound."""
    organization_id = yield from find_organization_id(organization)
    return [_key(row) for row in (yield from rows("find_keys", organization_id=organization_id))]


def revoke_key(identity: str, actor: str, memory: Memory) -> Operation[Key | InstallationKey]:
    """Revoke a key of any kind. Safe to repeat. Raises NotFound.

    Sessions that were opened with a worker key end with it; their leases are returned by the next sweep.
    """
    now = yield from clock()
    if (yield from rows("revoke_key", id=identity, now=now)):
        key = _key((yield from rows("find_key", id=identity))[0])
        yield from write_audit(actor, "key.revoked", key.organization, {"key": identity}, memory)
        return key
    if not (yield from rows("revoke_installation_key", id=identity, now=now)):
        raise NotFound.named("key", identity)
    yield from rows("end_key_sessions", key_id=identity)
    other = _installation_key((yield from rows("find_installation_keys", kind=None, id=identity))[0])
    yield from write_audit(actor, f"{other.kind}_key.revoked", other.name, {"key": identity}, memory)
    return other


# Keys of the installation --------------------------------------------------------------------------------------------


def find_holder(digest: str) -> Operation[Holder | None]:
    """Return the holder of the worker or admin key with this digest, or None if it is unknown or revoked."""
    found = yield from rows("find_holder", digest=digest)
    return Holder(found[0][0], KeyKind(found[0][1]), found[0][2]) if found else None


def create_installation_key(
    kind: KeyKind, name: str, digest: str, last4: str, actor: str, memory: Memory
) -> Operation[InstallationKey]:
    """Create a worker or admin key. Raises NameTaken if this very key exists already."""
    identity = memory.new_id()
    made = yield from rows(
        "insert_installation_key", id=identity, kind=str(kind), name=name, digest=digest, last4=last4,
        now=(yield from clock()),
    )  # fmt: skip
    if not made:
        raise NameTaken("key", f"…{last4}", field="value")
    yield from write_audit(actor, f"{kind}_key.created", name, {"key": identity}, memory)
    return _installation_key((yield from rows("find_installation_keys", kind=None, id=identity))[0])


def find_installation_keys(kind: KeyKind | None) -> Operation[list[InstallationKey]]:
    """Return worker and admin keys, oldest first; of one kind if given."""
    found = yield from rows("find_installation_keys", kind=None if kind is None else str(kind), id=None)
    return [_installation_key(row) for row in found]


def _installation_key(row: Any) -> InstallationKey:
    return InstallationKey(
        id=row[0], kind=KeyKind(row[1]), name=row[2], last4=row[3], created_at=row[4], revoked_at=row[5]
    )


def _key(row: Any) -> Key:
    return Key(id=row[0], organization=row[1], name=row[2], last4=row[3], created_at=row[4], revoked_at=row[5])
