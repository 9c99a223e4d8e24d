"""Webhooks: an address, the deliveries owed to it, the tries of each, and the secrets that sign them.

The API accepts addresses, the store records deliveries, the sender tries them. Every URL here has passed the guard; no
record here ever holds a secret.
"""

from enum import StrEnum

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
    answer: str | None = None
    """How the body of the receiver's answer begins, or None if there is none or it is not text."""


INTERRUPTED = "interrupted"
"""The error of a try that did not end before its server died. The message may have arrived."""


class DeliveryTry(Struct, frozen=True, kw_only=True):
    """One try as it is stored."""

    number: int
    at: int
    http_status: int | None
    error: str | None
    took_ms: int
    answer: str | None
    asked_ms: int | None
    """How long the receiver asked to wait, if the next try waits for that."""


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    DUE = "due"
    """Its next try comes now or later."""
    TRYING = "trying"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    """No try is left."""


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
    hold: "HostHold | None" = None
    """Why it is not tried now, or None if nothing holds it."""

    @property
    def status(self) -> DeliveryStatus:
        """Return where it is."""
        if self.trying:
            return DeliveryStatus.TRYING
        if self.due_at is not None:
            return DeliveryStatus.DUE
        return DeliveryStatus.GIVEN_UP if self.delivered_at is None else DeliveryStatus.DELIVERED


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Deliveries that meet every one of these conditions; None is no condition."""

    status: DeliveryStatus | None = None
    url_prefix: str | None = None
    """The beginning of their URL, as it was written."""
    host_prefix: str | None = None
    """The beginning of their host and port, in lower case."""
    task_id: str | None = None
    created_from: int | None = None
    """They were created at this moment or later."""
    created_before: int | None = None


class DeliveryList(Struct, frozen=True):
    """Part of an organization's deliveries, newest first."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None
    """None on the last page."""


class HostHold(StrEnum):
    """Why a message to a host waits, the one that lasts longest first."""

    PAUSE = "pause"
    """Its next try comes later: the pause after a failed try, or what the receiver asked for."""
    RECEIVER = "receiver"
    """The same, if it is known of one message that its receiver asked for the pause."""
    SERVER_BUSY = "server_busy"
    """Every place of this server runs a try."""
    SLOW = "slow"
    """Every place but those of the reserve is taken, and the reserve is closed to a host that hangs."""
    ORGANIZATION_BUSY = "organization_busy"
    """Each organization that waits for the host runs as many tries as one may."""
    HOST_BUSY = "host_busy"
    """As many tries run at the host as may."""
    STUCK = "stuck"
    """It has been due for a minute, and nothing of this server holds it."""


class HostFacts(Struct, frozen=True, kw_only=True):
    """One host and port of webhooks, over all organizations."""

    host: str
    tries: int
    """This and the next are since the beginning of yesterday, UTC."""
    failed: int
    failed_in_row: int
    failing_since: int | None
    """The first failure after the last success, or None if the last try delivered."""
    last_at: int | None
    """This and the next three are of the last try; None if it never had one."""
    last_status: int | None
    last_error: str | None
    last_ms: int | None
    open: int
    open_bounded: bool
    """Whether more may be open: a bounded number of organizations and messages is counted."""
    organizations: tuple[str, ...]
    """The first that wait for it; if none does, the first that have tries there."""
    due_at: int | None
    """When the first open message is tried next, or None if none is open."""
    trying: int
    """Tries that this server runs there now."""
    hold: HostHold | None
    """None if nothing holds the first open message, or if none is open."""


class HostPage(Struct, frozen=True):
    """Some hosts."""

    hosts: tuple[HostFacts, ...]
    after: str | None
    """The name after which the next page begins, or None if none follows."""
    more: bool
    tries: int = 0
    """This and the next are at all hosts of the organization since the beginning of yesterday, UTC."""
    failed: int = 0


class WebhookSecret(Struct, frozen=True, kw_only=True):
    """What signs an organization's webhooks, without the secret itself."""

    id: str
    organization: str
    last4: str
    created_at: int
    expires_at: int | None
    """None for the newest secret. The signature of the contract is made with that one alone."""
