"""Who is calling: the Bearer key of a customer's request."""

import re
from hashlib import sha256

from fairlane.api.http import Request
from fairlane.errors import KeyMalformed, KeyMissing, KeyRefused
from fairlane.model import Caller
from fairlane.store import Store

KEY_SHAPE = re.compile(r"sk_[a-z]+_[A-Za-z0-9]{16,}")
KEY_LENGTH_MOST = 256


def key_digest(value: str) -> str:
    """What is kept of a key: the SHA-256 of all of it."""
    return sha256(value.encode()).hexdigest()


def key_fits(value: str) -> bool:
    """Whether this could be a key."""
    return len(value) <= KEY_LENGTH_MOST and KEY_SHAPE.fullmatch(value) is not None


class KeyGuard:
    """The guard of every path under ``/v1``.

    The store is asked each time, and forgets what it remembers with every change of a key or an organization: a revoked
    key is refused from the next request on.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, request: Request) -> Caller:
        """The organization that the request's key speaks for.

        Raises:
            KeyMissing: no Bearer header.
            KeyMalformed: what it carries is no key.
            KeyRefused: the key is unknown or revoked, or its organization is disabled.
        """
        value = _bearer(request.header(b"authorization"))
        if not key_fits(value):
            raise KeyMalformed()
        caller = await self._store.caller(key_digest(value))
        if caller is None:
            raise KeyRefused()
        return caller


def _bearer(header: bytes | None) -> str:
    scheme, _, value = (header or b"").decode("latin-1").partition(" ")
    value = value.strip()
    if scheme.lower() != "bearer" or not value:
        raise KeyMissing()
    return value
