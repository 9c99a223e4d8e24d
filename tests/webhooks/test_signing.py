"""The headers of a signed webhook, verified the way its receivers do."""

import base64
import hashlib
import hmac
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fairlane.webhooks.signing import is_secret, new_secret, serves_standard_webhooks, signatures

NOW = 1_748_419_200_999
BODY = '{"task":{"id":"t1"},"ü":"\U0001f6e3"}'.encode()


def a_secret(fill: int = 1) -> str:
    """A secret of our own, always the same."""
    return new_secret(lambda count: bytes([fill]) * count)


def signed(*secrets: str, body: bytes = BODY, attempt: int = 3, now_ms: int = NOW) -> dict[str, str]:
    """The headers for one try."""
    return signatures(secrets, task_id="t1", attempt=attempt, body=body, now_ms=now_ms)


def a_customer_accepts(secret: str, headers: dict[str, str], body: bytes, now: float) -> bool:
    """A verifier of the contract's scheme, as receivers write it: it parses the timestamp and prints it again."""
    timestamp = int(headers["X-Cloro-Timestamp"])
    if abs(now - timestamp) > 300:
        return False
    expected = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"v1={expected}", headers["X-Cloro-Signature"])


def test_the_contracts_vector() -> None:
    """Byte for byte what section 9.3 computes."""
    headers = signatures(
        ["whsec_test"], task_id="t1", attempt=1, body=b'{"task":{"id":"t1"}}', now_ms=1_748_419_200_000
    )

    assert headers == {
        "X-Cloro-Timestamp": "1748419200",
        "X-Cloro-Signature": "v1=5a788d7a7f89d69dba17b9cfe7404ab167e3f4b8d92aae3a5a9a140d138503f1",
        "X-Cloro-Webhook-Id": "t1-1",
    }


def test_an_organization_without_a_secret_gets_no_header() -> None:
    """Signing is opt-in."""
    assert signed() == {}


def test_a_new_secret_is_random_and_serves_both_schemes() -> None:
    """24 bytes: base64 without padding."""
    first, second = new_secret(), new_secret()

    assert first != second
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{32}", first)
    assert is_secret(first)
    assert serves_standard_webhooks(first)


@pytest.mark.parametrize(
    ("secret", "usable", "standard"),
    [
        ("whsec_test", True, False),  # three bytes
        ("whsec_" + "A" * 31, True, False),  # one character of 23 bytes and a bit
        ("whsec_" + "A" * 32, True, True),
        ("whsec_" + "ab" * 32, True, True),  # hex reads as base64 everywhere
        ("whsec_" + "A" * 86, True, True),  # 64 bytes without padding
        ("whsec_" + "A" * 86 + "==", True, True),
        ("whsec_" + "A" * 43, True, True),  # 32 bytes without padding
        ("whsec_" + "A" * 87, True, False),  # 65 bytes
        ("whsec_" + "-_" * 16, True, False),  # the other alphabet, which some libraries skip
        ("whsec_" + "A" * 31 + "!", True, False),
        ("whsec_" + "A" * 32 + "!", True, False),  # a reader that skips other characters would find 24 bytes
        ("whsec_!", True, False),
        ("whsec_" + "~" * 250, True, False),
        ("whsec_", False, False),
        ("A" * 38, False, False),
        ("whsec_ä", False, False),
        ("whsec_a b", False, False),
        ("whsec_" + "a" * 251, False, False),
    ],
)
def test_which_secrets_serve_which_scheme(secret: str, usable: bool, standard: bool) -> None:
    """An imported secret that Standard Webhooks libraries would read differently signs the contract's scheme alone."""
    assert (is_secret(secret), serves_standard_webhooks(secret)) == (usable, standard)
    if usable:
        assert ("webhook-signature" in signed(secret)) == standard


def test_a_retry_is_signed_again_under_the_same_message_id() -> None:
    """New time, new number, new signature; what receivers deduplicate on stays."""
    first, later = signed(a_secret()), signed(a_secret(), attempt=4, now_ms=NOW + 120_000)

    assert (first["X-Cloro-Webhook-Id"], later["X-Cloro-Webhook-Id"]) == ("t1-3", "t1-4")
    assert first["webhook-id"] == later["webhook-id"] == "t1"
    assert first["X-Cloro-Signature"] != later["X-Cloro-Signature"]
    assert a_customer_accepts(a_secret(), later, BODY, now=NOW / 1000 + 120)
    assert not a_customer_accepts(a_secret(), first, BODY, now=NOW / 1000 + 301)


def test_during_rotation_only_the_newest_secret_signs_the_contracts_header() -> None:
    """There the old one is dead at once; Standard Webhooks receivers may hold either."""
    new, old = a_secret(1), a_secret(2)
    now_ms = int(time.time() * 1000)

    headers = signed(new, old, now_ms=now_ms)

    assert a_customer_accepts(new, headers, BODY, now_ms / 1000)
    assert not a_customer_accepts(old, headers, BODY, now_ms / 1000)
    for secret in (new, old):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(a_secret(3)).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(BODY + b" ", headers)


def test_rotating_away_from_an_imported_secret() -> None:
    """Only those of the two that Standard Webhooks can use sign for it."""
    headers = signed(a_secret(), "whsec_test")

    assert len(headers["webhook-signature"].split(" ")) == 1


def test_both_schemes_name_the_same_second_whatever_the_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signing library would misread a time that is not in UTC."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        headers = signed(a_secret())
    finally:
        monkeypatch.undo()
        time.tzset()

    assert headers["webhook-timestamp"] == headers["X-Cloro-Timestamp"] == "1748419200"
    key = base64.b64decode(a_secret().removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, b"t1.1748419200." + BODY, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


NODE_VERIFIER = """
const { createHmac, timingSafeEqual } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { secrets, headers, body } = JSON.parse(readFileSync(0, "utf8"));
const bytes = Buffer.from(body, "base64");
const same = (a, b) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
const sent = Number(headers["X-Cloro-Timestamp"]);
const contract = (secret) => same(headers["X-Cloro-Signature"],
  "v1=" + createHmac("sha256", secret).update(`${sent}.`).update(bytes).digest("hex"));
const standard = (secret) => headers["webhook-signature"].split(" ").some((each) => same(each,
  "v1," + createHmac("sha256", Buffer.from(secret.slice("whsec_".length), "base64"))
    .update(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`).update(bytes).digest("base64")));
console.log(JSON.stringify({ contract: secrets.map(contract), standard: secrets.map(standard) }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_verifies_both_schemes(tmp_path: Path) -> None:
    """With nothing but its standard library."""
    secrets = [a_secret(1), a_secret(2), a_secret(3)]
    question = {"secrets": secrets, "headers": signed(*secrets[:2]), "body": base64.b64encode(BODY).decode()}

    answer = subprocess.run(
        ["node", "-e", NODE_VERIFIER],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert json.loads(answer.stdout) == {"contract": [True, False, False], "standard": [True, True, False]}
