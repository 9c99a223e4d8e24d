"""Webhooks: due deliveries, the results of tries, and the secrets that sign them.

Called by ``webhooks/sender.py``, for the secrets by ``api/admin/``, and by ``app.py``, which checks them at start.
Seals every secret if there is a key, and gives a whole secret only to the sender.
"""

from collections.abc import Awaitable
from functools import partial

from fairlane.model.webhooks import Claimed, Tried, WebhookSecret
from fairlane.rules import SenderState
from fairlane.settings import Settings
from fairlane.store import deliveries, webhook_secrets
from fairlane.store.database import Database
from fairlane.store.doors.door import Door
from fairlane.store.memory import Memory
from fairlane.store.sealing import seal_of


class SenderDoor(Door):
    """What sending webhooks needs."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._seal = seal_of(settings.secret_key)
        self._record_tries = partial(deliveries.record_tries, memory=memory, pauses_ms=settings.webhook_pauses_ms())

    async def next_delivery_at(self, *, after: int = -1) -> int | None:
        """Return the first moment after this one at which a delivery is due, or None."""
        due_at: int | None = await self._database.read(deliveries.next_delivery(after))
        return due_at

    async def claim_deliveries(self, state: SenderState, *, claim_ms: int) -> Claimed:
        """Take deliveries for one try each. They belong to this server for ``claim_ms``; then they are due again."""
        claimed: Claimed = await self._write(deliveries.claim_deliveries, state, claim_ms)
        return claimed

    def record_try(self, tried: Tried) -> Awaitable[None]:
        """Write the result of a try. Safe to repeat."""
        return self._database.write(self._record_tries, tried)

    async def signing_secrets(self, organization_id: int) -> list[str]:
        """Return the secrets that sign an organization's webhooks now, newest first; without any they are not signed.

        Raises:
            SetupError: a secret is sealed with a key that this server does not have.
        """
        kept = await self._database.read(webhook_secrets.signing_secrets(organization_id))
        return [self._seal.open(secret) for secret in kept]

    async def check_secrets(self) -> None:
        """Open every webhook secret once. Raises SetupError if one cannot be opened."""
        for kept in await self._database.read(webhook_secrets.all_secrets()):
            self._seal.open(kept)

    async def create_webhook_secret(
        self, organization: str, *, secret: str, overlap_seconds: float, actor: str
    ) -> WebhookSecret:
        """Create a secret that signs from now on; the one before it still signs for a while. Raises NotFound."""
        made: WebhookSecret = await self._write(
            webhook_secrets.create_secret, organization, self._seal.close(secret), secret[-4:],
            round(overlap_seconds * 1_000), actor, self._memory,
        )  # fmt: skip
        return made

    async def webhook_secrets(self, organization: str) -> list[WebhookSecret]:
        """Return an organization's current secrets, newest first. Raises NotFound."""
        return await self._database.snapshot(webhook_secrets.find_secrets(organization))

    async def revoke_webhook_secrets(
        self, organization: str, *, secret_id: str | None, actor: str
    ) -> list[WebhookSecret]:
        """Revoke this secret, or with None all of them; return them. Raises NotFound."""
        revoked: list[WebhookSecret] = await self._write(
            webhook_secrets.revoke_secrets, organization, secret_id, actor, self._memory
        )
        return revoked
