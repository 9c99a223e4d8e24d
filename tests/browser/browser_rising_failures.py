"""The operator's overview when failures rise, on a server of its own.

Failures rise if they are a larger share than in the time before. On a server that other tests have used for more than
five minutes, the failures of these tests are that time.
"""

import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fairlane.api.admin.overview import FRESH_SECONDS
from fairlane.rules.history import bucket_of
from tests.browser.app import CURED
from tests.browser.conftest import ROOT, Site, card, eventually

Enter = Callable[..., Page]

FAILED_IN_AN_HOUR = 1_421
RISING = 100
"""This number of failures in five minutes is trouble, if few failed before."""
TOLD_SECONDS = 5
"""In this time the overview says that failures rise."""
LOOK_SECONDS = int(
    re.findall(r"LOOK_SECONDS = (\d+);", (ROOT / "src/fairlane/dashboard/assets/installation.js").read_text("utf-8"))[0]
)
"""How long the page waits between two looks."""
OWNERS = [f"owner-{number}" for number in range(5)]


def an_hour(database: sqlite3.Connection) -> None:
    """Write a pulse for each minute of an hour in which almost nothing failed, and the totals that it led to."""
    last = time.time_ns() // 60_000_000_000 - 1
    completed = failed = 0
    for number in range(59):
        wave = math.sin(number / 7)
        completed += round(90 + 40 * wave)
        failed += number % 3 == 0
        started, wait = round(92 + 40 * wave), bucket_of(round(2_500 + 1_800 * wave))
        pulse = (
            last - 58 + number, "planted", (last - 57 + number) * 60_000 - 500, round(260 + 190 * wave),
            round(21 + 6 * wave), 80_000, 30, round(21 + 6 * wave), completed + failed + 300, completed, failed,
            started, json.dumps([[wait, started - 9], [wait + 5, 9]]),
        )  # fmt: skip
        database.execute(f"INSERT INTO pulse VALUES ({', '.join('?' * len(pulse))})", pulse)
    database.execute(
        "UPDATE organization SET submitted = ?, completed = ?, failed = ? WHERE name = 'many-00000'",
        (completed + failed, completed, failed),
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server whose last hour went well."""
    site = Site(tmp_path, planted=an_hour)
    yield site
    site.close()


@pytest.mark.timeout(240)
def test_the_story_of_an_hour(enter: Enter, site: Site) -> None:
    """A handler begins to fail: the overview says so within seconds, the group shows why, and after the cure one
    click runs every task again, each once. What waits of the type is canceled with another."""
    share, more = divmod(FAILED_IN_AN_HOUR, len(OWNERS))
    counts = {name: share + (number < more) for number, name in enumerate(OWNERS)}
    page = enter(key=site.admin_key)
    health = page.get_by_role("list", name="Health")
    expect(health).to_contain_text("All is well")
    for chart in ("Queue", "Flow", "Wait before the start", "Slots and places"):
        expect(page.get_by_role("img", name=re.compile(f"^{chart}"))).to_be_visible()

    def of(name: str) -> tuple[int, int]:
        found = site.admin("GET", f"organizations/{name}")
        return found["failed"], found["completed"]

    began = time.monotonic()
    for name, number in counts.items():
        site.admin("POST", "organizations", name=name, slots=8)
        key = site.admin("POST", f"organizations/{name}/keys")["value"]
        items = [{"taskType": "MENDED", "payload": {"n": n}} for n in range(number)]
        for start in range(0, number, 250):
            answer = site.api.post(
                "/v1/async/task/batch", json=items[start : start + 250], headers={"authorization": f"Bearer {key}"}
            )
            assert answer.status_code == 200, answer.text
    eventually(lambda: sum(of(name)[0] for name in counts) >= RISING)
    known_at = time.time() * 1_000
    # The bound is exact without a measurement: the first overview read after the failures were counted says it, and
    # the page shows one that is no older than its own pause and the server's together.
    told: dict[str, Any] = {"at": 0}
    while told["at"] < known_at:
        with page.expect_response("**/admin/v1/overview") as heard:
            pass
        told = heard.value.json()
    assert "failures_rising" in [trouble["kind"] for trouble in told["troubles"]]
    assert LOOK_SECONDS + FRESH_SECONDS < TOLD_SECONDS
    many = re.compile(r"(1\d|[2-9]\d|\d{3,}|\d,\d{3}) tasks failed in the last 5 minutes")
    expect(health).to_contain_text(many)
    said = time.monotonic() - began
    eventually(lambda: {name: of(name)[0] for name in counts} == counts, seconds=120)
    failed = time.monotonic() - began
    expect(health).to_contain_text(re.compile(r"\d+ % of those that ended.*Since \d\d:\d\d\. See what failed and why"))
    expect(card(page, "Failed")).not_to_have_text("0/s")
    expect(health).to_contain_text(
        re.compile(r"\d+ % are MENDED: ImportError in \S*app:mended, line \d+, of 5 organizations")
    )
    expect(page.get_by_role("table", name="Failures by cause")).to_contain_text("MENDED")
    expect(page.get_by_role("progressbar", name=re.compile("^Places of "))).to_be_visible()
    page.get_by_role("link", name="See what failed and why").click()
    row = page.get_by_role("table", name="Groups of failures").get_by_role("row").filter(has_text="MENDED")
    expect(row).to_contain_text(f"{FAILED_IN_AN_HOUR:,}")
    row.get_by_role("link", name="MENDED").click()
    expect(page.get_by_label("Cause")).to_contain_text("cannot import name 'parser' from 'pages'")
    expect(page.get_by_role("link", name=re.compile("^owner-"))).to_be_visible()
    CURED.touch()
    try:
        asked: list[str] = []

        def accept(dialog: Any) -> None:
            asked.append(dialog.message)
            dialog.accept()

        page.once("dialog", accept)
        again = time.monotonic()
        page.get_by_role("button", name="Run all again").click()

        expect(page.get_by_text(f"{FAILED_IN_AN_HOUR:,} tasks were run again; that is all of them.")).to_be_visible(
            timeout=60_000
        )
        expect(page.get_by_role("link", name="See how they end")).to_be_visible()
        eventually(lambda: {name: of(name)[1] for name in counts} == counts, seconds=120)
        cured = time.monotonic() - again
        assert asked[0].startswith(f"Run {FAILED_IN_AN_HOUR:,} tasks again? ")
        page.get_by_role("button", name="Run all again").click()
        expect(page.get_by_text("No failed task is left to run again.")).to_be_visible()
        assert {name: of(name) for name in counts} == {name: (number, number) for name, number in counts.items()}

        site.admin("PATCH", f"organizations/{name}", paused=True)
        waits = [{"taskType": "MENDED", "payload": {"n": n}} for n in range(3)]
        site.api.post("/v1/async/task/batch", json=waits, headers={"authorization": f"Bearer {key}"})
        page.once("dialog", accept)
        page.get_by_role("button", name="Cancel what waits of this type").click()
        expect(page.get_by_text("3 tasks were canceled; that is all of them.")).to_be_visible(timeout=15_000)
        assert asked[1].startswith("Cancel 3 tasks of the type MENDED? ")
    finally:
        CURED.unlink()
    print(f"told after {said:.1f} s, failed after {failed:.1f} s, run again in {cured:.1f} s")
