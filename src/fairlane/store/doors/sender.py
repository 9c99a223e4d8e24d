"""Whoever sends webhooks: deliveries that are due, what became of them, and the secrets that sign them.

Called by ``webhooks/sender.py``, for the secrets by ``api/admin/``, and by ``app.py``, which tries them at start. Never
keeps a secret unsealed if there is a key, and never shows a whole one to anybody but the sender.
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
    """What sending a webhook asks."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._seal = seal_of(settings.secret_key)
        self._record_tries = partial(deliveries.record_tries, memory=memory, pauses_ms=settings.webhook_pauses_ms())

    async def next_delivery_at(self, *, after: int = -1) -> int | None:
        """Return the first moment after this one at which a delivery is due; None: there is none."""
        due_at: int | None = await self._database.read(deliveries.next_delivery(after))
        return due_at

    async def claim_deliveries(self, state: SenderState, *, claim_ms: int) -> Claimed:
        """Take deliveries for one try each. They are this server's for ``claim_ms``; then they are due again."""
        claimed: Claimed = await self._write(deliveries.claim_deliveries, state, claim_ms)
        return claimed

    def record_try(self, tried: Tried) -> Awaitable[None]:
        """Write what became of a try. Safe to repeat."""
        return self._database.write(self._record_tries, tried)

    async def signing_secrets(self, organization_id: int) -> list[str]:
        """What signs an organization's webhooks now, newest first; none: they go out unsigned.

        Raises:
            SetupError: one is sealed with a key that is not here.
        """
        kept = await self._database.read(webhook_secrets.signing_secrets(organization_id))
        return [self._seal.open(secret) for secret in kept]

    async def check_secrets(self) -> None:
        """Open every webhook secret once. Raises SetupError if one cannot be."""
        for kept in await self._database.read(webhook_secrets.all_secrets()):
            self._seal.open(kept)

    async def create_webhook_secret(
        self, organization: str, *, secret: str, overlap_seconds: float, actor: str
    ) -> WebhookSecret:
        """A new secret signs from now on; the one before it goes on beside it for a while. Raises NotFound."""
        made: WebhookSecret = await self._write(
            webhook_secrets.create_secret, organization, self._seal.close(secret), secret[-4:],
            round(overlap_seconds * 1_000), actor, self._memory,
        )  # fmt: skip
        return made

    async def webhook_secrets(self, organization: str) -> list[WebhookSecret]:
        """What signs for one organization, newest first. Raises NotFound."""
        return await self._database.snapshot(webhook_secrets.find_secrets(organization))  # type: ignore[no-any-return]

    async def revoke_webhook_secrets(
        self, organization: str, *, secret_id: str | None, actor: str
    ) -> list[WebhookSecret]:
        """This secret, or with None all of them, sign no more; returns them. Raises NotFound."""
        revoked: list[WebhookSecret] = await self._write(
            webhook_secrets.revoke_secrets, organization, secret_id, actor, self._memory
        )
        return revoked
