"""``/admin/v1``: the operator's own routes, behind the admin socket. The command line speaks nothing else.

JSON here is the model's records as they are, snake_case. Every change leaves an audit row that names who made it.
"""

import re
import secrets
from collections.abc import Callable

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder, encode
from starlette.types import ASGIApp

from fairlane.api.http import Answer, Request
from fairlane.api.keys import key_digest, key_fits
from fairlane.api.messages import check_between, read_message
from fairlane.api.routes import Nowhere, Resource, surface
from fairlane.api.webhook_secrets import SecretRules, WebhookSecrets
from fairlane.errors import ValidationRefused
from fairlane.model import DEFAULT_PLAN, Key, OrganizationChange, Overrides, PlanChange
from fairlane.store import Store

BODY_BYTES_MOST = 64 * 1024
SLOTS_MOST = 1_000_000
QUEUE_LIMIT_MOST = 1_000_000_000
WEIGHT_MOST = 1_000
KEY_NAME_LENGTH_MOST = 64
AUDIT_MOST = 10_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class NewPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan to create; ``slots`` null: no limit is known yet, its organizations start nothing."""

    name: str
    slots: int | None
    queue_limit: int = 100_000
    weight: int = 1


class NewOrganization(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organization to create; limits that are absent or null are the plan's."""

    name: str
    plan: str = DEFAULT_PLAN
    slots: int | None = None
    queue_limit: int | None = None
    weight: int | None = None


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to create; without ``value`` one is made."""

    name: str | None = None
    value: str | None = None


class Maintenance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the whole installation is under maintenance."""

    on: bool


class ServerFacts(Struct, frozen=True, kw_only=True):
    """What the server says of itself."""

    version: str
    address: str | None
    """None: no server runs; the answer comes from whoever opened the database."""
    database: str
    pid: int
    draining: bool = False
    task_types: tuple[str, ...] = ()


class ShownKey(Key, frozen=True, kw_only=True):
    """A new key with its secret: the only time it is shown."""

    value: str


_new_plan = Decoder(NewPlan)
_plan_change = Decoder(PlanChange)
_new_organization = Decoder(NewOrganization)
_organization_change = Decoder(OrganizationChange)
_new_key = Decoder(NewKey)
_maintenance = Decoder(Maintenance)


def admin_surface(store: Store, *, facts: Callable[[], ServerFacts], secret_rules: SecretRules) -> ASGIApp:
    """The application behind the admin socket; also called in process when no server runs."""
    routes, webhook_secrets, clock = _Admin(store, facts), WebhookSecrets(store, secret_rules), store.now
    table = {
        "organizations": {"GET": routes.organizations, "POST": routes.create_organization},
        "organizations/{}": {"GET": routes.organization, "PATCH": routes.change_organization},
        "organizations/{}/keys": {"GET": routes.keys, "POST": routes.create_key},
        "organizations/{}/webhook-secrets": {
            "GET": webhook_secrets.list,
            "POST": webhook_secrets.create,
            "DELETE": webhook_secrets.revoke_all,
        },
        "organizations/{}/webhook-secrets/{}": {"DELETE": webhook_secrets.revoke},
        "organizations/{}/repair": {"POST": routes.repair},
        "keys/{}": {"DELETE": routes.revoke_key},
        "plans": {"GET": routes.plans, "POST": routes.create_plan},
        "plans/{}": {"GET": routes.plan, "PATCH": routes.change_plan},
        "drift": {"GET": routes.drift},
        "audit": {"GET": routes.audit},
        "maintenance": {"GET": routes.maintenance, "PUT": routes.set_maintenance},
        "server": {"GET": routes.server},
    }
    resources = [Resource(f"/admin/v1/{path}", operator, methods, clock=clock) for path, methods in table.items()]
    return surface(resources, Nowhere(prefix="/admin/v1", guard=operator, clock=clock))


async def operator(request: Request) -> str:
    """The guard of the admin socket: who may open it is decided by the directory it lies in. Returns the actor."""
    client = request.client or ""
    return f"admin socket {client}" if client.startswith("uid=") else "operator"


class _Admin:
    """What operators ask for. ``actor`` is written to the audit."""

    def __init__(self, store: Store, facts: Callable[[], ServerFacts]) -> None:
        self._store = store
        self._facts = facts

    async def organizations(self, request: Request, actor: str) -> Answer:
        return _answer({"organizations": await self._store.organizations()})

    async def create_organization(self, request: Request, actor: str) -> Answer:
        new = read_message(_new_organization, await request.body(BODY_BYTES_MOST))
        _check_name(new.name)
        _check_limits(new.slots, new.queue_limit, new.weight)
        overrides = Overrides(slots=new.slots, queue_limit=new.queue_limit, weight=new.weight)
        return _answer(await self._store.create_organization(new.name, plan=new.plan, overrides=overrides, actor=actor))

    async def organization(self, request: Request, actor: str) -> Answer:
        return _answer(await self._store.organization(*request.parameters))

    async def change_organization(self, request: Request, actor: str) -> Answer:
        changes = read_message(_organization_change, await request.body(BODY_BYTES_MOST))
        _check_limits(changes.slots, changes.queue_limit, changes.weight)
        return _answer(await self._store.change_organization(*request.parameters, changes=changes, actor=actor))

    async def keys(self, request: Request, actor: str) -> Answer:
        return _answer({"keys": await self._store.keys(*request.parameters)})

    async def create_key(self, request: Request, actor: str) -> Answer:
        new = read_message(_new_key, await request.body(BODY_BYTES_MOST))
        if new.name is not None and not 1 <= len(new.name) <= KEY_NAME_LENGTH_MOST:
            raise ValidationRefused.at("name", f"must be 1 to {KEY_NAME_LENGTH_MOST} characters")
        value = new.value if new.value is not None else f"sk_live_{secrets.token_hex(16)}"
        if not key_fits(value):
            raise ValidationRefused.at("value", "must be sk_, lower-case letters, _, then 16 or more letters or digits")
        key = await self._store.create_key(
            *request.parameters, name=new.name, digest=key_digest(value), last4=value[-4:], actor=actor
        )
        return _answer(
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

    async def revoke_key(self, request: Request, actor: str) -> Answer:
        return _answer(await self._store.revoke_key(*request.parameters, actor=actor))

    async def plans(self, request: Request, actor: str) -> Answer:
        return _answer({"plans": await self._store.plans()})

    async def create_plan(self, request: Request, actor: str) -> Answer:
        new = read_message(_new_plan, await request.body(BODY_BYTES_MOST))
        _check_name(new.name)
        _check_limits(new.slots, new.queue_limit, new.weight)
        return _answer(
            await self._store.create_plan(
                new.name, slots=new.slots, queue_limit=new.queue_limit, weight=new.weight, actor=actor
            )
        )

    async def plan(self, request: Request, actor: str) -> Answer:
        return _answer(await self._store.plan(*request.parameters))

    async def change_plan(self, request: Request, actor: str) -> Answer:
        changes = read_message(_plan_change, await request.body(BODY_BYTES_MOST))
        _check_limits(changes.slots, changes.queue_limit, changes.weight)
        return _answer(await self._store.change_plan(*request.parameters, changes=changes, actor=actor))

    async def drift(self, request: Request, actor: str) -> Answer:
        name = request.query("organization").get("organization")
        drift = await self._store.recount(name)
        counted = 1 if name is not None else len(await self._store.organizations())
        return _answer({"drift": drift, "organizations": counted})

    async def repair(self, request: Request, actor: str) -> Answer:
        return _answer({"drift": await self._store.repair(*request.parameters, actor=actor)})

    async def audit(self, request: Request, actor: str) -> Answer:
        text = request.query("limit").get("limit", "100")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= AUDIT_MOST and len(text) < 9):
            raise ValidationRefused.at("limit", f"must be from 1 to {AUDIT_MOST}")
        return _answer({"audit": await self._store.audit_rows(int(text))})

    async def maintenance(self, request: Request, actor: str) -> Answer:
        return _answer(Maintenance(on=await self._store.maintenance()))

    async def set_maintenance(self, request: Request, actor: str) -> Answer:
        wanted = read_message(_maintenance, await request.body(BODY_BYTES_MOST))
        await self._store.set_maintenance(wanted.on, actor=actor)
        return _answer(wanted)

    async def server(self, request: Request, actor: str) -> Answer:
        return _answer(self._facts())


def _answer(record: object) -> Answer:
    return Answer(encode(record))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValidationRefused.at(
            "name", "must be 1 to 64 letters, digits, dots, dashes or underscores, no sign first"
        )


Limit = int | None | UnsetType


def _check_limits(slots: Limit, queue_limit: Limit, weight: Limit) -> None:
    """Refuse limits out of range; UNSET and None are not limits."""
    if slots == 0:
        raise ValidationRefused.at("slots", "must be 1 or more: clients divide by it. To start nothing, pause instead")
    for field, value, most in (
        ("slots", slots, SLOTS_MOST),
        ("queue_limit", queue_limit, QUEUE_LIMIT_MOST),
        ("weight", weight, WEIGHT_MOST),
    ):
        if value is not None and value is not UNSET:
            check_between(field, value, 1, most)
