"""Webhooks: an address, the deliveries owed to it, the tries of each, and what they are signed with.

The api takes addresses, the store owes deliveries, the sender tries them. Every URL in here has passed the guard; no
record here ever holds a secret.
"""

from msgspec import Struct


class Webhook(Struct, frozen=True):
    """Where the outcome of a task is to be told; a URL that passed the guard."""

    url: str
    host: str
    """Host and port in it, as the guard names them: tries are counted by them."""


class DueDelivery(Struct, frozen=True, kw_only=True):
    """A delivery that was claimed for one try now."""

    id: str
    organization_id: int
    task_id: str | None
    """None: a test event, which has its ``body`` with it."""
    url: str
    host: str
    body: str | None
    number: int
    """The number of this try, from 1."""


class Claimed(Struct, frozen=True, kw_only=True):
    """What one claim took, and where the next one goes on."""

    deliveries: list[DueDelivery]
    organizations_after: int
    """The organization after which the next claim goes on; 0: this one saw all of them."""
    hosts_after: dict[int, str]
    """For each organization whose hosts were looked at, the host after which to go on; empty: all were seen."""
    missed: int
    """Deliveries that were chosen, and taken by another server in the meantime."""


class Tried(Struct, frozen=True, kw_only=True):
    """What became of one try."""

    delivery_id: str
    number: int
    at: int
    http_status: int | None
    error: str | None
    """A class of errors; None: delivered."""
    took_ms: int
    wait_ms: int = 0
    """How long the receiver asked to be left alone after this try."""
    cause: str | None = None
    """For the operator only."""


INTERRUPTED = "interrupted"
"""The error of a try that nobody saw end: its server died. It may have arrived."""


class DeliveryTry(Struct, frozen=True, kw_only=True):
    """One try as it is remembered."""

    number: int
    at: int
    http_status: int | None
    error: str | None


class Delivery(Struct, frozen=True, kw_only=True):
    """A message owed to a webhook, and what became of it."""

    id: str
    task_id: str | None
    alert_id: str | None
    """What it tells of. Neither: it is a test event."""
    url: str
    created_at: int
    delivered_at: int | None
    due_at: int | None
    """When it is tried next; None: it is over, or a try is under way."""
    trying: bool
    tries: tuple[DeliveryTry, ...]


class WebhookSecret(Struct, frozen=True, kw_only=True):
    """What signs an organization's webhooks, without the secret."""

    id: str
    organization: str
    last4: str
    created_at: int
    expires_at: int | None
    """None: it is the newest; the contract's signature is made with it alone."""
