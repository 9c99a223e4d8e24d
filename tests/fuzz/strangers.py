"""Strangers at the door: schemathesis makes requests up from the API's own description, against a real server.

Run as a module (``make fuzz``) it takes the number of cases; the suite runs a few hundred. What is looked for: a 5xx,
a status or header that is not described, a body with a field too many or too few, a bad request that is accepted.
"""

import json
import logging
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from msgspec import Struct

from fairlane.api.customers import customer_routes
from fairlane.webhooks.poster import Poster, TryResult
from tests.api.house import Customer, House, an_application
from tests.strictness import closed

RULES = Path(__file__).with_name("schemathesis.toml")
ROUTES = {route.line: route for route in customer_routes(an_application().task_types)}
SUMMARY = re.compile(r"(\d[\d,]*) generated")


class Found(Struct, frozen=True):
    """What came of one run."""

    passed: bool
    cases: int
    report: str


def fuzz(folder: Path, *, cases: int, edit: Callable[[Any], Any] = lambda document: document) -> Found:
    """Send about so many requests. The description used is the server's own, with every object closed; ``edit`` may
    change it.
    """
    with mock.patch.object(Poster, "post", _nowhere), House(folder, payload_limit_bytes=65_536) as house:
        customer = house.customer(slots=50)
        with customer.client, _Worker(house):
            document = edit(closed(customer.client.get("/openapi.json").json()))
            (folder / "openapi.json").write_text(json.dumps(document), "utf-8")
            ran = subprocess.run(
                _command(customer, folder, cases), capture_output=True, text=True, cwd=folder, check=False
            )
    generated = SUMMARY.search(ran.stdout)
    return Found(ran.returncode == 0, int(generated[1].replace(",", "")) if generated else 0, ran.stdout + ran.stderr)


async def _nowhere(self: Poster, url: str, **_: object) -> TryResult:
    """Webhooks made up by chance are sent to nobody's machine."""
    return TryResult(delivered=False, http_status=503, error="status", took_ms=0)


def _command(customer: Customer, folder: Path, cases: int) -> list[str]:
    return [
        str(Path(sys.executable).with_name("st")), "--config-file", str(RULES), "run", str(folder / "openapi.json"),
        "--url", customer.house.server.address,
        "--header", f"Authorization: Bearer {customer.key['value']}",
        # For each operation; those that take nothing have few.
        "--max-examples", str(max(1, cases * 3 // 2 // len(ROUTES))),
        "--generation-database", "none",
        "--no-color", "--continue-on-failure",
    ]  # fmt: skip


class _Worker:
    """Ends whatever is started, so that every state of a task is met."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        reports: list[dict[str, object]] = []
        session = self._house.session("ANY", "PAGE", "OTHER", places=20)
        while not self._over.is_set():
            answer = session.exchange(20, *reports, wait_seconds=0.2)
            if answer.status_code == 410:  # Nobody renews it.
                session, reports = self._house.session("ANY", "PAGE", "OTHER", places=20), []
                continue
            reports = [
                {"lease": lease["lease"], "outcome": "completed", "result": {"ok": True}}
                for lease in answer.json()["leases"]
            ]


if __name__ == "__main__":
    logging.disable()
    with tempfile.TemporaryDirectory() as made:
        found = fuzz(Path(made), cases=int(sys.argv[1]))
    print(found.report)
    sys.exit(0 if found.passed and found.cases >= int(sys.argv[1]) else 1)
