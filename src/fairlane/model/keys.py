"""Keys of organizations, workers and operators, and what a presented key gives access to.

The store finds them by digest; the guards of the API pass on what they found. No record here ever holds a secret or
its digest.
"""

from enum import StrEnum

from msgspec import Struct


class KeyKind(StrEnum):
    """What a key opens: the API of one organization, the worker protocol, or the operator's API."""

    ORGANIZATION = "organization"
    WORKER = "worker"
    ADMIN = "admin"


class Key(Struct, frozen=True, kw_only=True):
    """An organization's Bearer secret, without the secret."""

    id: str
    organization: str
    name: str | None
    last4: str
    created_at: int
    revoked_at: int | None
    """None while the key is valid."""


class InstallationKey(Struct, frozen=True, kw_only=True):
    """A worker's or an operator's Bearer secret, without the secret."""

    id: str
    kind: KeyKind
    """WORKER or ADMIN."""
    name: str
    last4: str
    created_at: int
    revoked_at: int | None
    """None while the key is valid."""


class Caller(Struct, frozen=True):
    """The organization that a presented key belongs to."""

    key_id: str
    organization_id: int
    rate_limit: int | None
    """Requests per second of the organization to one endpoint of all servers, or None if the setting holds."""


class Holder(Struct, frozen=True):
    """A presented worker or admin key."""

    key_id: str
    kind: KeyKind
    name: str
