"""Is a webhook really ours? For whoever receives one: both signature schemes, on the bytes as they came."""

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
    """The task that a webhook tells of, after proving that it was signed with the secret, and lately.

    Either signature proves it: the ``X-Cloro-Signature`` of the contract, or the one of Standard Webhooks. A delivery
    may come more than once; know it by the task's id.

    Args:
        secret: ``whsec_…`` as it was shown; several while it is being rotated.
        headers: Of the request, in any spelling.
        body: The bytes as they came: a parsed and written one has other bytes.
        tolerance_seconds: How far the signature's time may lie from now, before or after.
        now: The clock, seconds since the epoch.

    Raises:
        WebhookInvalid: it was not, or its body tells of no task.

    Example:
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
        raise WebhookInvalid(f"the webhook is signed and tells of no task: {error}") from error


def _is_contracts(secret: str, headers: Mapping[str, str], body: bytes, tolerance_seconds: float, now: float) -> bool:
    """The key is the secret as text; what is signed is the timestamp as sent, a dot, and the body."""
    timestamp = headers.get("x-cloro-timestamp", "")
    if not _is_recent(timestamp, tolerance_seconds, now):
        return False
    expected = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"v1={expected}".encode(), headers.get("x-cloro-signature", "").encode(errors="replace"))


def _is_standard(secret: str, headers: Mapping[str, str], body: bytes, tolerance_seconds: float, now: float) -> bool:
    """Standard Webhooks. The library's own ``verify`` knows no clock but the system's and breaks on malformed headers,
    so it signs here, and what came is compared."""
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
    """The library skips what is no base64, so that of a secret made for the contract's scheme little might be left."""
    rest = secret.removeprefix("whsec_")
    try:
        return len(b64decode(rest + "=" * (-len(rest) % 4), validate=True)) >= STANDARD_BYTES_LEAST
    except ValueError:
        return False


def _is_recent(timestamp: str, tolerance_seconds: float, now: float) -> bool:
    is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16
    return is_number and abs(now - int(timestamp)) <= tolerance_seconds
