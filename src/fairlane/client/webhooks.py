"""Verify that a webhook is genuine, for its receiver: both signature schemes, on the bytes as they came."""

import hashlib
import hmac
import time
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from fairlane.client.answers import read_task
from fairlane.client.errors import NoAnswer, WebhookInvalid
from fairlane.client.records import Task

TOLERANCE_SECONDS = 300.0
STANDARD_BYTES_LEAST = 24


def verify(
    secret: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: Callable[[], float] = time.time,
) -> Task:
    """Return the task in a webhook, after proving that the webhook was signed with the secret, and recently.

    Either signature proves it: the ``X-Cloro-Signature`` of the contract, or the one of Standard Webhooks. A delivery
    may come more than once; recognize it by the task's id.

    Args:
        secret: ``whsec_…`` as it was shown; several while it is being rotated.
        headers: Those of the request; the case of their names does not matter.
        body: The bytes as they came. Parsing and writing them again would change them.
        tolerance_seconds: How far the signature's time may differ from now, in either direction.
        now: The clock, seconds since the epoch.

    Raises:
        WebhookInvalid: the signature or its time is wrong, or the body contains no task.

    Examples:
        >>> import hashlib, hmac
        >>> body = (
        ...     b'{"task":{"id":"t1","taskType":"PAGE","status":"COMPLETED","priority":1,'
        ...     b'"createdAt":"2025-11-10T15:00:00.000Z"},"credits":{"creditsToCharge":1},"response":{"words":2}}'
        ... )
        >>> signature = hmac.new(b"whsec_test", b"1748419200." + body, hashlib.sha256).hexdigest()
        >>> headers = {"X-Cloro-Timestamp": "1748419200", "X-Cloro-Signature": f"v1={signature}"}
        >>> verify("whsec_test", headers, body, now=lambda: 1748419260).response
        {'words': 2}
    """
    secrets = [secret] if isinstance(secret, str) else list(secret)
    given = {name.lower(): value for name, value in headers.items()}
    schemes = (_is_contracts, _is_standard)
    moment = now()
    if not any(is_signed(one, given, body, tolerance_seconds, moment) for one in secrets for is_signed in schemes):
        raise WebhookInvalid("the webhook is not signed with this secret, or was signed too long ago")
    try:
        return read_task(body)
    except NoAnswer as error:
        raise WebhookInvalid(f"the webhook is signed but contains no task: {error}") from error


def _is_contracts(secret: str, headers: Mapping[str, str], body: bytes, tolerance_seconds: float, now: float) -> bool:
    """Check the contract's signature: the key is the secret as text; the timestamp as sent, a dot and the body are
    signed.
    """
    timestamp = headers.get("x-cloro-timestamp", "")
    if not _is_recent(timestamp, tolerance_seconds, now):
        return False
    expected = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"v1={expected}".encode(), headers.get("x-cloro-signature", "").encode(errors="replace"))


def _is_standard(secret: str, headers: Mapping[str, str], body: bytes, tolerance_seconds: float, now: float) -> bool:
    """Check the signature of Standard Webhooks.

    The library's own ``verify`` uses only the system's clock and fails on malformed headers, so this signs again and
    compares.
    """
    timestamp, identity = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not (identity and _is_standard_secret(secret) and _is_recent(timestamp, tolerance_seconds, now)):
        return False
    try:
        moment = datetime.fromtimestamp(int(timestamp), tz=UTC)
        expected = Webhook(secret).sign(msg_id=identity, timestamp=moment, data=body.decode())
    except ValueError:
        return False
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected.encode(), one.encode(errors="replace")) for one in given)


def _is_standard_secret(secret: str) -> bool:
    """Return whether the secret is valid base64 of enough bytes.

    The library skips other characters, so a secret made for the contract's scheme might keep only a few bytes.
    """
    rest = secret.removeprefix("whsec_")
    try:
        return len(b64decode(rest + "=" * (-len(rest) % 4), validate=True)) >= STANDARD_BYTES_LEAST
    except ValueError:
        return False


def _is_recent(timestamp: str, tolerance_seconds: float, now: float) -> bool:
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16
    return is_number and abs(now - int(timestamp)) <= tolerance_seconds
