"""Webhooks: an address, the deliveries owed to it, the tries of each, and the secrets that sign them.

The API accepts addresses, the store records deliveries, the sender tries them. Every URL here has passed the guard; no
record here ever holds a secret.
"""

from msgspec import Struct


class Webhook(Struct, frozen=True):
    """The address that receives the outcome of a task; a URL that passed the guard."""

    url: str
    host: str
    """Host and port of the URL, as the guard names them: tries are counted by them."""


class DueDelivery(Struct, frozen=True, kw_only=True):
    """A delivery that was claimed for one try now."""

    id: str
    organization_id: int
    task_id: str | None
    """None for a test event, which includes its ``body``."""
    url: str
    host: str
    body: str | None
    number: int
    """The number of this try, from 1."""
    size: int = 0
    """About how many bytes its body has."""


class Claimed(Struct, frozen=True, kw_only=True):
    """What one claim took, and where the next one continues."""

    deliveries: list[DueDelivery]
    organizations_after: int
    """The organization after which the next claim continues, or 0 if this one saw all of them."""
    hosts_after: dict[int, str]
    """For each organization with examined hosts, the host after which to continue; empty if all were seen."""
    missed: int
    """Deliveries that were chosen but taken by another server in the meantime."""


class Tried(Struct, frozen=True, kw_only=True):
    """The result of one try."""

    delivery_id: str
    number: int
    at: int
    http_status: int | None
    error: str | None
    """A class of errors, or None if the delivery succeeded."""
    took_ms: int
    wait_ms: int = 0
    """How long the receiver asked to wait before the next try."""
    cause: str | None = None
    """For the operator only."""


INTERRUPTED = "interrupted"
"""The error of a try that did not end before its server died. The message may have arrived."""


class DeliveryTry(Struct, frozen=True, kw_only=True):
    """One try as it is stored."""

    number: int
    at: int
    http_status: int | None
    error: str | None


class Delivery(Struct, frozen=True, kw_only=True):
    """A message owed to a webhook, and its state."""

    id: str
    task_id: str | None
    alert_id: str | None
    """``task_id`` or ``alert_id`` names the subject of the message; both are None for a test event."""
    url: str
    created_at: int
    delivered_at: int | None
    due_at: int | None
    """When it is tried next, or None if no more tries follow or one is running."""
    trying: bool
    tries: tuple[DeliveryTry, ...]


class WebhookSecret(Struct, frozen=True, kw_only=True):
    """What signs an organization's webhooks, without the secret itself."""

    id: str
    organization: str
    last4: str
    created_at: int
    expires_at: int | None
    """None for the newest secret. The signature of the contract is made with that one alone."""
