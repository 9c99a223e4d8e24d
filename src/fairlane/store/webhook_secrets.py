"""The secrets that sign an organization's webhooks: the newest, and for a while the one before it.

The stored texts may be sealed (``sealing.py``): ``WebhookSecretStore`` seals and opens them, its operations do neither.
"""

from fairlane.errors import NotFound
from fairlane.model.webhooks import WebhookSecret
from fairlane.store.noun import Noun, Shared
from fairlane.store.organizations import find_organization_id
from fairlane.store.sealing import Seal
from fairlane.store.statements import Operation, clock, rows, run, run_if
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

SECRETS_MOST = 2


class WebhookSecretStore(Noun):
    """The secrets that sign webhooks. Seals every secret if there is a key; only the sender gets a whole secret."""

    def __init__(self, shared: Shared, *, seal: Seal) -> None:
        """``seal`` has the operator's key, if there is one."""
        super().__init__(shared)
        self._seal = seal

    async def create(self, organization: str, *, secret: str, overlap_seconds: float, actor: str) -> WebhookSecret:
        """Create a secret, which is the newest from now on. The one before it stays valid for ``overlap_seconds``,
        older ones end. Raises NotFound."""
        sealed, overlap_ms = self._seal.close(secret), round(overlap_seconds * 1_000)
        return await self._write(_create, organization, sealed, secret[-4:], overlap_ms, actor)

    async def all(self, organization: str) -> list[WebhookSecret]:
        """Return an organization's valid secrets, newest first. Raises NotFound."""
        return await self._database.snapshot(_find_secrets(organization))

    async def revoke(self, organization: str, *, secret_id: str | None, actor: str) -> list[WebhookSecret]:
        """Revoke this secret, or with None all of them, at once; return them. Raises NotFound.

        If it was the newest, the one before it is the newest again. Without any, webhooks are sent unsigned.
        """
        return await self._write(_revoke, organization, secret_id, actor)

    async def signing(self, organization_id: int) -> list[str]:
        """Return the secrets that sign an organization's webhooks now, newest first; without any they are not signed.

        Raises:
            SetupError: a secret is sealed with a key that this server does not have.
        """
        return [self._seal.open(kept) for kept in await self._database.read(signing_secrets(organization_id))]

    async def check(self) -> None:
        """Open every webhook secret once. Raises SetupError if one cannot be opened."""
        for kept in await self._database.read(all_secrets()):
            self._seal.open(kept)


def _create(
    transaction: Transaction, organization: str, sealed: str, last4: str, overlap_ms: int, actor: str
) -> Operation[WebhookSecret]:
    organization_id = yield from find_organization_id(organization)
    yield from transaction.lock([organization_id])
    now = transaction.now
    before = yield from _find(now, organization_id=organization_id)
    yield from run("expire_webhook_secrets", organization_id=organization_id, until=now + overlap_ms)
    old = [secret.id for secret in before[SECRETS_MOST - 1 :]] if overlap_ms else [secret.id for secret in before]
    yield from run_if("delete_webhook_secrets", old, ids=old)
    identity = transaction.config.new_id()
    yield from run(
        "insert_webhook_secret", id=identity, organization_id=organization_id, secret=sealed, last4=last4, now=now
    )
    yield from write_trail(
        transaction, actor, "webhook_secret.created", organization, {"secret": identity, "overlap_ms": overlap_ms}
    )
    return (yield from _find(now, identity=identity))[0]


def _find_secrets(organization: str) -> Operation[list[WebhookSecret]]:
    organization_id = yield from find_organization_id(organization)
    return (yield from _find((yield from clock()), organization_id=organization_id))


def _revoke(
    transaction: Transaction, organization: str, identity: str | None, actor: str
) -> Operation[list[WebhookSecret]]:
    organization_id = yield from find_organization_id(organization)
    yield from transaction.lock([organization_id])
    now = transaction.now
    found = yield from _find(now, organization_id=organization_id)
    revoked = [secret for secret in found if identity in (None, secret.id)]
    if identity is not None and not revoked:
        raise NotFound.named("webhook secret", identity)
    ids = [secret.id for secret in revoked]
    yield from run_if("delete_webhook_secrets", ids, ids=ids)
    if any(secret.expires_at is None for secret in revoked):
        yield from run("keep_newest_webhook_secret", organization_id=organization_id, now=now)
    if ids:
        yield from write_trail(transaction, actor, "webhook_secret.revoked", organization, {"secrets": ids})
    return revoked


def signing_secrets(organization_id: int) -> Operation[list[str]]:
    """Return the stored texts of the secrets that sign now, newest first."""
    now = yield from clock()
    return (yield from rows("find_signing_secrets", into=str, organization_id=organization_id, now=now))


def all_secrets() -> Operation[list[str]]:
    """Return the stored text of every valid secret."""
    return (yield from rows("find_sealed_secrets", into=str, now=(yield from clock())))


def _find(
    now: int, *, organization_id: int | None = None, identity: str | None = None
) -> Operation[list[WebhookSecret]]:
    found = yield from rows(
        "find_webhook_secrets", into=WebhookSecret, organization_id=organization_id, id=identity, now=now
    )
    return found
