"""``/admin/v1/…/keys``: keys of organizations, workers and operators. A secret is shown once."""

from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder

from fairlane.api.admin.shapes import BODY_BYTES_MOST, answer
from fairlane.api.http import Answer, Request
from fairlane.api.keys import PREFIXES, key_digest, key_fits, new_key
from fairlane.api.messages import read_message
from fairlane.api.routes import Route, Routes
from fairlane.errors import ValidationRefused
from fairlane.model.keys import InstallationKey, Key, KeyKind
from fairlane.store import Store

NAME_LENGTH_MOST = 64


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to create for an organization; without ``value`` one is made."""

    name: str | None = None
    value: str | None = None


class NewInstallationKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to create for workers or operators; without ``value`` one is made."""

    kind: KeyKind
    name: str
    value: str | None = None


class ShownKey(Key, frozen=True, kw_only=True):
    """A new key with its secret, which is shown only this time."""

    value: str


class ShownInstallationKey(InstallationKey, frozen=True, kw_only=True):
    """A new worker or admin key with its secret, which is shown only this time."""

    value: str


_new_key = Decoder(NewKey)
_new_installation_key = Decoder(NewInstallationKey)


class KeyEndpoints:
    """The operator's endpoints. ``actor`` is written to the audit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: Request, actor: str) -> Answer:
        """Return the keys of workers and operators."""
        kind = request.query("kind").get("kind")
        chosen = None if kind is None else _installation_kind(kind)
        return answer({"keys": await self._store.keys.of_installation(chosen)})

    async def create(self, request: Request, actor: str) -> Answer:
        """Create a key for workers or operators."""
        new = read_message(_new_installation_key, await request.body(BODY_BYTES_MOST))
        kind = _installation_kind(new.kind)
        _check_key_name(new.name)
        value = _value(new.value, kind)
        made = await self._store.keys.create_for_installation(
            kind, name=new.name, digest=key_digest(value), last4=value[-4:], actor=actor
        )
        return answer(
            ShownInstallationKey(
                id=made.id,
                kind=made.kind,
                name=made.name,
                last4=made.last4,
                created_at=made.created_at,
                revoked_at=made.revoked_at,
                value=value,
            )
        )

    async def list_of_organization(self, request: Request, actor: str) -> Answer:
        """Return the keys of one organization."""
        return answer({"keys": await self._store.keys.all(*request.parameters)})

    async def create_for_organization(self, request: Request, actor: str) -> Answer:
        """Create a key for an organization."""
        new = read_message(_new_key, await request.body(BODY_BYTES_MOST))
        if new.name is not None:
            _check_key_name(new.name)
        value = _value(new.value, KeyKind.ORGANIZATION)
        key = await self._store.keys.create(
            *request.parameters, name=new.name, digest=key_digest(value), last4=value[-4:], actor=actor
        )
        return answer(
            ShownKey(
                id=key.id,
                organization=key.organization,
                name=key.name,
                last4=key.last4,
                created_at=key.created_at,
                revoked_at=key.revoked_at,
                value=value,
            )
        )

    async def revoke(self, request: Request, actor: str) -> Answer:
        """Revoke a key of any kind."""
        return answer(await self._store.keys.revoke(*request.parameters, actor=actor))

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/organizations/{organization}/keys", list_of_organization),
        Route("POST", "/admin/v1/organizations/{organization}/keys", create_for_organization),
        Route("GET", "/admin/v1/keys", list),
        Route("POST", "/admin/v1/keys", create),
        Route("DELETE", "/admin/v1/keys/{key}", revoke),
    )


def _installation_kind(kind: str) -> KeyKind:
    if kind not in (KeyKind.WORKER, KeyKind.ADMIN):
        raise ValidationRefused.at("kind", "must be worker or admin; organizations have their keys below them")
    return KeyKind(kind)


def _check_key_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH_MOST:
        raise ValidationRefused.at("name", f"must be 1 to {NAME_LENGTH_MOST} characters")


def _value(given: str | None, kind: KeyKind) -> str:
    """Return the key to register: the operator's own, or a new one."""
    value = new_key(kind) if given is None else given
    if not key_fits(value, kind):
        raise ValidationRefused.at(
            "value", f"must be {PREFIXES[kind]}_, lower-case letters, _, then 16 or more letters or digits"
        )
    return value
