"""Webhook secrets in the database: readable, or sealed with the operator's key.

Sealing needs ``FAIRLANE_SECRET_KEY`` and the extra ``[encryption]``. Used by the facade; operations see sealed texts.
"""

import base64
import hashlib
from typing import Protocol

from fairlane.errors import SetupError

SEALED = "sealed:"
KEY_CHARACTERS_LEAST = 32


class Seal(Protocol):
    """Seals and opens secrets."""

    def close(self, secret: str) -> str:
        """Return the stored form of a secret."""

    def open(self, kept: str) -> str:
        """Return the secret.

        Raises:
            SetupError: it is sealed with a key that this server does not have.
        """


class NoSeal:
    """No sealing: everything that can read the database can read the secrets."""

    def close(self, secret: str) -> str:
        """Return the secret itself."""
        return secret

    def open(self, kept: str) -> str:
        """Return the secret itself; a secret that an earlier server sealed cannot be opened."""
        if kept.startswith(SEALED):
            raise SetupError(
                "a webhook secret in the database is sealed: set FAIRLANE_SECRET_KEY to the key that sealed it"
            )
        return kept


class KeySeal:
    """Fernet (AES-128-CBC with HMAC-SHA256) under keys derived from the operator's."""

    def __init__(self, keys: str) -> None:
        """Take one or several ``keys`` separated by commas: the first seals, all of them open.

        Raises:
            SetupError: a key is too short, or the package is missing.
        """
        texts = [key.strip() for key in keys.split(",")]
        if any(len(text) < KEY_CHARACTERS_LEAST for text in texts):
            raise SetupError(f"FAIRLANE_SECRET_KEY needs {KEY_CHARACTERS_LEAST} or more random characters in each key")
        try:
            from cryptography.fernet import Fernet, InvalidToken, MultiFernet
        except ImportError as error:
            raise SetupError("FAIRLANE_SECRET_KEY is set: install fairlane[encryption], or unset it") from error
        self._refused = InvalidToken
        digests = [hashlib.sha256(b"fairlane webhook secrets\n" + text.encode()).digest() for text in texts]
        self._box = MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])

    def close(self, secret: str) -> str:
        """Seal with the first key."""
        return SEALED + self._box.encrypt(secret.encode()).decode()

    def open(self, kept: str) -> str:
        """Open with the key that fits; return a secret that was never sealed as it is."""
        if not kept.startswith(SEALED):
            return kept
        try:
            return self._box.decrypt(kept.removeprefix(SEALED)).decode()
        except self._refused as error:
            raise SetupError(
                "a webhook secret in the database is sealed with a key not in FAIRLANE_SECRET_KEY"
            ) from error


def seal_of(keys: str | None) -> Seal:
    """Return the seal of this setting. Raises SetupError."""
    return NoSeal() if keys is None else KeySeal(keys)
