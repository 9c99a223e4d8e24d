"""The webhook page's code is code that runs, against what fairlane really signs."""

import base64
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

from fairlane import wire
from fairlane.webhooks.signing import new_secret, signatures

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api" / "webhooks.md").read_text("utf-8")
BODY = '{"task":{"id":"t1"},"response":{"text":"é"}}'.encode()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def signed(secret: str, *, age_seconds: int = 0, body: bytes = BODY) -> dict[str, str]:
    """The headers of a try so long ago, by their lower-case names."""
    now_ms = (int(time.time()) - age_seconds) * 1_000
    headers = signatures([secret], task_id="t1", attempt=1, body=body, now_ms=now_ms)
    return {name.lower(): value for name, value in headers.items()}


def python_verifier() -> Any:
    """``is_genuine`` as the page shows it."""
    names: dict[str, Any] = {}
    exec(_blocks("python")[0], names)
    return names["is_genuine"]


def node_verifier() -> Any:
    """``isGenuine`` as the page shows it, asked through Node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here")
    script = _blocks("js")[0] + (
        "const [secret, headers, body] = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));"
        "console.log(isGenuine(secret, headers, Buffer.from(body, 'base64')));"
    )

    def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
        given = json.dumps([secret, headers, base64.b64encode(body).decode()])
        ran = subprocess.run([node, "-e", script], input=given, capture_output=True, text=True, check=True)
        return ran.stdout.strip() == "true"

    return verify


@pytest.mark.parametrize("verifier", [python_verifier, node_verifier])
def test_the_verifiers_shown_take_what_is_ours_and_nothing_else(verifier: Any) -> None:
    """A fresh signature passes; a changed body, another secret, an old one and none at all do not."""
    is_genuine, secret = verifier(), new_secret()

    assert is_genuine(secret, signed(secret), BODY)
    assert is_genuine("whsec_test", signed("whsec_test"), BODY)
    assert not is_genuine(secret, signed(secret), BODY + b" ")
    assert not is_genuine(new_secret(), signed(secret), BODY)
    assert not is_genuine(secret, signed(secret, age_seconds=310), BODY)
    assert not is_genuine(secret, {}, BODY)


def test_the_standard_verifier_shown_takes_what_is_ours() -> None:
    """With the library's own rules."""
    names: dict[str, Any] = {}
    exec(_blocks("python")[1], names)
    secret = new_secret()

    assert names["verified"](secret, signed(secret), BODY) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        names["verified"](secret, signed(new_secret()), BODY)


def test_the_bodies_shown_are_the_golden_ones() -> None:
    """Same fields in the same order as what is sent and answered."""
    submit, told, listed, hosts = (json.loads(block) for block in _blocks("json"))
    golden = {
        name: json.loads((ROOT / "tests" / "wire" / f"{name}.json").read_text("utf-8"))
        for name in ("webhook_completed", "deliveries", "hosts_of_webhooks")
    }

    read = wire.read_submission(json.dumps(submit).encode(), submit, ["COUNT_WORDS"], now=0)
    assert read.webhook_url == submit["webhook"]["url"]
    assert list(told) == list(golden["webhook_completed"])
    assert list(told["task"]) == list(golden["webhook_completed"]["task"])
    assert listed["deliveries"] == golden["deliveries"]["deliveries"][:1]
    assert list(listed) == list(golden["deliveries"])
    assert hosts["hosts"] == golden["hosts_of_webhooks"]["hosts"][:1]
    assert list(hosts) == list(golden["hosts_of_webhooks"])
