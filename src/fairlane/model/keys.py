"""Keys of organizations, workers and operators, and whom a presented one speaks for.

The store finds them by digest, the guards of the api hand on what they found. No record here ever holds a secret or
its digest.
"""

from enum import StrEnum

from msgspec import Struct


class KeyKind(StrEnum):
    """What a key opens: the customers' API for one organization, the worker protocol, or the operator's API."""

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
    """None: the key works."""


class InstallationKey(Struct, frozen=True, kw_only=True):
    """A worker's or an operator's Bearer secret, without the secret."""

    id: str
    kind: KeyKind
    """WORKER or ADMIN."""
    name: str
    last4: str
    created_at: int
    revoked_at: int | None
    """None: the key works."""


class Caller(Struct, frozen=True):
    """Whom a presented key speaks for."""

    key_id: str
    organization_id: int


class Holder(Struct, frozen=True):
    """Whom a presented worker or admin key lets in."""

    key_id: str
    kind: KeyKind
    name: str
