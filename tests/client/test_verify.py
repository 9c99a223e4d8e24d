"""``verify`` takes what fairlane really signs, byte for byte, and nothing else."""

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from fairlane import wire
from fairlane.client import WebhookInvalid, verify
from fairlane.model.tasks import TaskStatus, TaskView
from fairlane.webhooks.signing import new_secret, signatures

NOW_MS = 1_748_419_200_000
BODY = wire.webhook_body(
    TaskView(
        id="t1",
        task_type="ANY",
        status=TaskStatus.COMPLETED,
        priority=5,
        created_at=NOW_MS,
        idempotency_key="job-1",
        cost=1,
        charged=1,
        latency_ms=20,
        result='{"text": "é", "n": 1.0}',
        failure=None,
    )
)


def signed(*secrets: str, age_seconds: int = 0, body: bytes = BODY) -> dict[str, str]:
    """The headers of a try so long ago."""
    return signatures(list(secrets), task_id="t1", attempt=1, body=body, now_ms=NOW_MS - age_seconds * 1_000)


def only(headers: dict[str, str], prefix: str) -> dict[str, str]:
    """One scheme's headers alone."""
    return {name: value for name, value in headers.items() if name.lower().startswith(prefix)}


def now() -> float:
    """The receiver's clock."""
    return NOW_MS / 1_000


@pytest.mark.parametrize("prefix", ["x-cloro-", "webhook-", ""])
def test_either_signature_alone_is_enough(prefix: str) -> None:
    """The task comes back decoded."""
    secret = new_secret()

    task = verify(secret, only(signed(secret), prefix), BODY, now=now)

    assert (task.id, task.idempotency_key, task.status) == ("t1", "job-1", "COMPLETED")
    assert task.response == {"text": "é", "n": 1.0}


@pytest.mark.parametrize("prefix", ["x-cloro-", "webhook-"])
def test_what_was_changed_is_refused(prefix: str) -> None:
    """One byte of the body, another secret, no headers, the time of another try."""
    secret = new_secret()
    headers = only(signed(secret), prefix)
    later = {name: value.replace(str(NOW_MS // 1000), str(NOW_MS // 1000 + 1)) for name, value in headers.items()}

    for wrong_secret, wrong_headers, wrong_body in (
        (secret, headers, BODY + b" "),
        (secret, headers, BODY.replace(b"1.0", b"1")),
        (new_secret(), headers, BODY),
        (secret, {}, BODY),
        (secret, later, BODY),
        ([], headers, BODY),
    ):
        with pytest.raises(WebhookInvalid):
            verify(wrong_secret, wrong_headers, wrong_body, now=now)


@pytest.mark.parametrize("prefix", ["x-cloro-", "webhook-"])
@pytest.mark.parametrize(("age_seconds", "accepted"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_the_time_is_looked_at_in_both_directions(prefix: str, age_seconds: int, accepted: bool) -> None:
    """Five minutes, to the second."""
    secret = new_secret()
    headers = only(signed(secret, age_seconds=age_seconds), prefix)

    if accepted:
        verify(secret, headers, BODY, now=now)
    else:
        with pytest.raises(WebhookInvalid):
            verify(secret, headers, BODY, now=now)


def test_while_a_secret_is_rotated_the_old_one_still_verifies() -> None:
    """By the signature of Standard Webhooks, which has room for both; and a receiver may give both."""
    old, new = new_secret(), new_secret()
    headers = signed(new, old)

    assert verify(old, headers, BODY, now=now).id == "t1"
    assert verify(new, headers, BODY, now=now).id == "t1"
    assert verify([old, new], only(headers, "x-cloro-"), BODY, now=now).id == "t1"


def test_a_secret_that_is_no_base64_verifies_in_the_contracts_scheme_alone() -> None:
    """What is left of it after skipping foreign letters would be easy to guess."""
    assert verify("whsec_test", signed("whsec_test"), BODY, now=now).id == "t1"
    weak, moment = "whsec_$$$$$$$$ab", datetime.fromtimestamp(now(), UTC)
    forged = Webhook("whsec_ab").sign(msg_id="t1", timestamp=moment, data=BODY.decode())
    headers = {"webhook-id": "t1", "webhook-timestamp": str(NOW_MS // 1000), "webhook-signature": forged}
    with pytest.raises(WebhookInvalid):
        verify(weak, headers, BODY, now=now)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Cloro-Timestamp": "1748419200.0", "X-Cloro-Signature": "v1=0"},
        {"X-Cloro-Timestamp": "٣", "X-Cloro-Signature": "v1=é"},
        {"X-Cloro-Timestamp": "1748419200", "X-Cloro-Signature": "\udcff"},
        {"webhook-id": "t1", "webhook-timestamp": "9" * 15, "webhook-signature": "v1"},
        {"webhook-id": "t1", "webhook-timestamp": "1748419200", "webhook-signature": "v1,% v1 ,"},
    ],
)
def test_malformed_headers_are_refused_and_break_nothing(headers: dict[str, str]) -> None:
    """Whoever sends them learns nothing."""
    with pytest.raises(WebhookInvalid):
        verify(new_secret(), headers, BODY, now=now)


def test_a_signed_body_that_tells_of_no_task_is_refused() -> None:
    """It is not ours to understand."""
    secret = new_secret()

    with pytest.raises(WebhookInvalid, match="contains no task"):
        verify(secret, signed(secret, body=b"[]"), b"[]", now=now)


def test_the_contracts_vector_verifies() -> None:
    """Contract 9.3, byte for byte: the signature is right, but the body contains no task."""
    headers = {
        "X-Cloro-Timestamp": "1748419200",
        "X-Cloro-Signature": "v1=5a788d7a7f89d69dba17b9cfe7404ab167e3f4b8d92aae3a5a9a140d138503f1",
    }

    with pytest.raises(WebhookInvalid, match="is signed but contains no task"):
        verify("whsec_test", headers, b'{"task":{"id":"t1"}}', now=now)
