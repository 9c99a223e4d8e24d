"""The headers that prove the origin of a webhook. Called by the sender once per try, just before the bytes are sent.

There are two schemes: the contract's (9.3), with the newest secret only, and Standard Webhooks, with every secret that
is still valid. Nothing here may log or keep a secret.
"""

import base64
import hashlib
import hmac
import secrets as randomness
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"
SECRET_BYTES = 24
SECRETS_MAX = 2
STANDARD_BYTES = range(24, 65)
"""Allowed length of a Standard Webhooks secret, in bytes."""


def new_secret(random_bytes: Callable[[int], bytes] = randomness.token_bytes) -> str:
    """Return a new secret that works with both schemes: ``whsec_`` and 24 random bytes in base64."""
    return PREFIX + base64.b64encode(random_bytes(SECRET_BYTES)).decode("ascii")


def is_secret(secret: str) -> bool:
    """Return whether an imported secret can sign: ``whsec_`` and 1 to 250 printable ASCII characters without space."""
    rest = secret.removeprefix(PREFIX)
    return secret.startswith(PREFIX) and 1 <= len(rest) <= 250 and all("!" <= character <= "~" for character in rest)


def serves_standard_webhooks(secret: str) -> bool:
    """Return whether Standard Webhooks libraries can verify with this secret; false for imported ones like
    ``whsec_test``.

    The rest must be base64 that every library reads in the same way (some skip other characters, some fail), of 24 to
    64 bytes.
    """
    rest = secret.removeprefix(PREFIX)
    try:
        decoded = base64.b64decode(rest + "=" * (-len(rest) % 4), validate=True)
    except ValueError:
        return False
    return secret.startswith(PREFIX) and len(decoded) in STANDARD_BYTES


def signatures(secrets: Sequence[str], *, task_id: str, attempt: int, body: bytes, now_ms: int) -> dict[str, str]:
    """Return the headers that sign ``body`` for this try; none if the organization has no secret.

    Args:
        secrets: Newest first, at most two. The contract's signature uses only the first; Standard Webhooks gets one
            signature for each. Secrets that Standard Webhooks cannot use are skipped there, and without any usable one
            its three headers are absent.
        task_id: The webhook's stable id, the same at every try.
        attempt: The number of this try, from 1.
        body: The exact bytes that are sent; valid UTF-8.
        now_ms: The moment of this try.
    """
    assert attempt >= 1, attempt
    assert len(secrets) <= SECRETS_MAX, f"{len(secrets)} secrets"
    if not secrets:
        return {}
    seconds = now_ms // 1000
    return {
        "X-Cloro-Timestamp": str(seconds),
        "X-Cloro-Signature": f"v1={_contract_signature(secrets[0], seconds, body)}",
        "X-Cloro-Webhook-Id": f"{task_id}-{attempt}",
        **_standard_headers(secrets, task_id, seconds, body),
    }


def _contract_signature(secret: str, seconds: int, body: bytes) -> str:
    """Sign with the secret as written: its prefix is part of the key, and its base64 is not decoded."""
    return hmac.new(secret.encode(), b"%d.%b" % (seconds, body), hashlib.sha256).hexdigest()


def _standard_headers(secrets: Sequence[str], task_id: str, seconds: int, body: bytes) -> dict[str, str]:
    usable = [secret for secret in secrets if serves_standard_webhooks(secret)]
    if not usable:
        return {}
    # The library overwrites the time zone with UTC instead of converting, so only a time in UTC is signed correctly.
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    text = body.decode("utf-8")
    signed = [Webhook(secret).sign(msg_id=task_id, timestamp=moment, data=text) for secret in usable]
    return {"webhook-id": task_id, "webhook-timestamp": str(seconds), "webhook-signature": " ".join(signed)}
