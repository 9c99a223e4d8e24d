"""The customers' pages: links lead somewhere, and what is shown runs."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlane.handlers import load_app
from tests.api.house import Customer, House

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "api"
ADDRESS = "http://127.0.0.1:8000"
KEY = "sk_live_1234567890abcdef1234567890abcdef"


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    """The organization of the quick start, on a server of the smallest application."""
    app = load_app(f"{ROOT / 'examples' / 'quickstart.py'}:app")
    with House(tmp_path, application=app) as house:
        house.admin.post("/admin/v1/organizations", json={"name": "acme", "slots": 5})
        key = house.admin.post("/admin/v1/organizations/acme/keys", json={"value": KEY}).json()
        yield Customer(house, "acme", key)


def blocks(page: str, language: str) -> list[str]:
    """The code of one language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To files that are there."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_every_page_can_be_found(page: Path) -> None:
    """From the list of endpoints or the text around it."""
    assert page.name == "README.md" or f"({page.name})" in (PAGES / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", ["../../README.md", "README.md", "status.md", "tasks.md"])
def test_the_curl_lines_run_as_they_stand(page: str, customer: Customer) -> None:
    """One after the other, each answered with success and JSON; only the address is changed."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    lines = [block for block in blocks(page, "sh") if page != "../../README.md" or block.startswith("curl")]
    assert lines

    for line in lines:
        command = shlex.split(line.replace("\\\n", " ").replace(ADDRESS, customer.house.server.address))
        assert command[0] == "curl"
        ran = subprocess.run(
            [*command, "--silent", "--show-error", "--write-out", "\n%{http_code}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        body, _, status = ran.stdout.rpartition("\n")
        assert status in ("200", "202"), body
        json.loads(body)


def test_the_throttle_shown_submits_everything(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it arrives, batch after batch, while the queue is kept short."""
    monkeypatch.setenv("FAIRLANE_URL", customer.house.server.address)
    monkeypatch.setenv("FAIRLANE_API_KEY", KEY)
    names: dict[str, Any] = {}
    exec(blocks("status.md", "python")[0], names)
    session = customer.house.session("COUNT_WORDS", places=1000)
    customer.change(slots=1000)
    depths = []

    def sleep(seconds: float) -> None:
        assert seconds == 60
        depths.append(customer.status()["queuedTasks"])
        session.claim(400)

    monkeypatch.setattr("time.sleep", sleep)
    with names["http"]:
        accepted = names["submit_all"]([{"taskType": "COUNT_WORDS", "payload": {"text": "a"}}] * 1300)

    assert accepted == 1300
    assert depths
    assert max(depths) <= 999


def test_the_status_shown_is_the_golden_one() -> None:
    """Field by field."""
    [shown] = blocks("status.md", "json")

    assert json.loads(shown) == json.loads((ROOT / "tests" / "wire" / "status.json").read_text("utf-8"))
