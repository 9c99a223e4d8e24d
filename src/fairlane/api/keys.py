"""Bearer keys: their formats, and the guards that require them.

There are three kinds with different prefixes: organizations' keys (``sk_``), workers' (``wk_``), operators' (``ak_``).
"""

import re
import secrets
from hashlib import sha256

from fairlane.api.bodies import BodyHolder
from fairlane.api.http import Request
from fairlane.errors import KeyMalformed, KeyMissing, KeyRefused
from fairlane.model.keys import Caller, Holder, KeyKind
from fairlane.store import Store

PREFIXES = {KeyKind.ORGANIZATION: "sk", KeyKind.WORKER: "wk", KeyKind.ADMIN: "ak"}
SHAPES = {kind: re.compile(prefix + r"_[a-z]+_[A-Za-z0-9]{16,}") for kind, prefix in PREFIXES.items()}
KEY_LENGTH_MOST = 256


def new_key(kind: KeyKind) -> str:
    """Return a random key of this kind."""
    return f"{PREFIXES[kind]}_live_{secrets.token_hex(16)}"


def key_digest(value: str) -> str:
    """Return what is stored of a key: the SHA-256 of the whole key."""
    return sha256(value.encode()).hexdigest()


def key_fits(value: str, kind: KeyKind = KeyKind.ORGANIZATION) -> bool:
    """Return whether this has the format of a key of this kind."""
    return len(value) <= KEY_LENGTH_MOST and SHAPES[kind].fullmatch(value) is not None


class KeyGuard:
    """The guard of every path under ``/v1``.

    The store forgets its cached keys with every change of a key or an organization. A revoked key is refused from the
    next request on, and within five seconds if another server revoked it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, request: Request) -> Caller:
        """Return the organization of the request's key.

        Raises:
            KeyMissing: no Bearer header.
            KeyMalformed: its value does not have the format of a key.
            KeyRefused: the key is unknown or revoked, or its organization is disabled.
        """
        caller = await self._store.keys.caller(_presented(request, KeyKind.ORGANIZATION))
        if caller is None:
            raise KeyRefused()
        request.holder = BodyHolder("organizations", str(caller.organization_id))
        return caller


class HolderGuard:
    """The guard of the workers' or the operators' routes where they are served over TCP."""

    def __init__(self, store: Store, kind: KeyKind) -> None:
        self._store = store
        self._kind = kind

    async def __call__(self, request: Request) -> Holder:
        """Return the holder of the request's key. Raises as :class:`KeyGuard` does; a key of another kind is malformed
        here.
        """
        holder = await self._store.keys.holder(_presented(request, self._kind))
        if holder is None or holder.kind is not self._kind:
            raise KeyRefused()
        request.holder = BodyHolder("workers" if self._kind is KeyKind.WORKER else "operators", holder.key_id)
        return holder


def _presented(request: Request, kind: KeyKind) -> str:
    """Return the digest of the request's key."""
    value = _bearer(request.header(b"authorization"))
    if not key_fits(value, kind):
        raise KeyMalformed()
    return key_digest(value)


def _bearer(header: bytes | None) -> str:
    scheme, _, value = (header or b"").decode("latin-1").partition(" ")
    value = value.strip()
    if scheme.lower() != "bearer" or not value:
        raise KeyMissing()
    return value
