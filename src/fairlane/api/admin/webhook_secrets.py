"""``/admin/v1/…/webhook-secrets``: the secrets of an organization's webhooks. A secret is shown once, at creation."""

from collections.abc import Callable
from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder, encode

from fairlane.api.http import Answer, Request
from fairlane.api.messages import check_between, read_message
from fairlane.api.routes import Route, Routes
from fairlane.errors import ValidationRefused
from fairlane.model.webhooks import WebhookSecret
from fairlane.store import Store

BODY_BYTES_MOST = 4 * 1024
OVERLAP_SECONDS_MOST = 30 * 86_400


class SecretRules(Struct, frozen=True):
    """The rules for secrets of the webhooks room, passed in by the wiring."""

    make: Callable[[], str]
    fits: Callable[[str], bool]
    """Returns whether an imported secret can sign."""


class NewSecret(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret to create; without ``value`` one is made. The previous secret also signs during the overlap."""

    value: str | None = None
    overlap_seconds: int = 86_400


class ShownSecret(WebhookSecret, frozen=True, kw_only=True):
    """A new secret itself, which is shown only this time."""

    value: str


_new_secret = Decoder(NewSecret)


class WebhookSecretEndpoints:
    """The operator's endpoints. ``actor`` is written to the audit."""

    def __init__(self, store: Store, rules: SecretRules) -> None:
        self._store = store
        self._rules = rules

    async def list(self, request: Request, actor: str) -> Answer:
        """Return the secrets that sign now, newest first."""
        return Answer(encode({"webhook_secrets": await self._store.webhook_secrets.all(*request.parameters)}))

    async def create(self, request: Request, actor: str) -> Answer:
        """Create or import a secret; it signs from now on."""
        new = read_message(_new_secret, await request.body(BODY_BYTES_MOST))
        check_between("overlap_seconds", new.overlap_seconds, 0, OVERLAP_SECONDS_MOST)
        value = self._rules.make() if new.value is None else new.value
        if not self._rules.fits(value):
            raise ValidationRefused.at("value", "must be whsec_, then 1 to 250 printable ASCII characters, no space")
        made = await self._store.webhook_secrets.create(
            *request.parameters, secret=value, overlap_seconds=new.overlap_seconds, actor=actor
        )
        return Answer(
            encode(
                ShownSecret(
                    id=made.id,
                    organization=made.organization,
                    last4=made.last4,
                    created_at=made.created_at,
                    expires_at=made.expires_at,
                    value=value,
                )
            )
        )

    async def revoke_all(self, request: Request, actor: str) -> Answer:
        """Revoke all secrets, so that webhooks are no longer signed."""
        [organization] = request.parameters
        return await self._revoke(organization, None, actor)

    async def revoke(self, request: Request, actor: str) -> Answer:
        """Revoke this secret."""
        organization, secret_id = request.parameters
        return await self._revoke(organization, secret_id, actor)

    async def _revoke(self, organization: str, secret_id: str | None, actor: str) -> Answer:
        revoked = await self._store.webhook_secrets.revoke(organization, secret_id=secret_id, actor=actor)
        return Answer(encode({"webhook_secrets": revoked}))

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/organizations/{organization}/webhook-secrets", list),
        Route("POST", "/admin/v1/organizations/{organization}/webhook-secrets", create),
        Route("DELETE", "/admin/v1/organizations/{organization}/webhook-secrets", revoke_all),
        Route("DELETE", "/admin/v1/organizations/{organization}/webhook-secrets/{secret}", revoke),
    )
