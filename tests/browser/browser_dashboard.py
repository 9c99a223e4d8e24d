"""The dashboard as people use it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import KEY, ROOT, Receiver, Site, eventually

Enter = Callable[..., Page]
Picture = Callable[[Page, str], None]


def card(page: Page, name: str) -> Any:
    """The number on the card of this name."""
    return page.locator(".card", has=page.get_by_text(name, exact=True)).locator("dd")


def test_numbers_move_while_tasks_run(enter: Enter, site: Site, picture: Picture) -> None:
    """Without a reload: the queue, the slots and who holds them."""
    for _ in range(20):
        site.submit("QUICK")
    page = enter()
    expect(page.get_by_role("heading", name="Now")).to_be_visible()
    expect(page.get_by_text("Live, once a second.")).to_be_visible()
    expect(card(page, "Queued")).to_have_text("0")

    running = [site.submit("SLOW", payload={"seconds": 60}, priority=priority) for priority in (1, 1, 1, 9, 5)]

    expect(card(page, "Processing")).to_have_text("3")
    expect(card(page, "Queued")).to_have_text("2")
    expect(card(page, "Slots used")).to_have_text("3 of 3")
    holders = page.get_by_role("table", name="Longest running first").get_by_role("row")
    expect(holders).to_have_count(4)
    picture(page, "dashboard-now")
    page.emulate_media(color_scheme="dark")
    picture(page, "dashboard-now-dark")
    for task_id in running:
        site.api.delete(f"/v1/async/task/{task_id}")
    expect(card(page, "Processing")).to_have_text("0")
    expect(card(page, "Queued")).to_have_text("0")


def test_a_task_is_cancelled_by_hand(enter: Enter, site: Site, picture: Picture) -> None:
    """The page of a task shows its payload and why it is where it is; a click cancels it."""
    task_id = site.submit("SLOW", payload={"seconds": 60, "mark": "find-me"})
    eventually(lambda: site.status_of(task_id) == "PROCESSING")
    page = enter(f"task/{task_id}")
    expect(page.get_by_text("PROCESSING")).to_be_visible()
    expect(page.get_by_text("it runs")).to_be_visible()
    expect(page.get_by_text('"mark": "find-me"')).to_be_visible()
    picture(page, "dashboard-task")

    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_text("FAILED", exact=True)).to_be_visible()
    expect(page.get_by_text("TASK_CANCELED")).to_be_visible()
    assert site.status_of(task_id) == "FAILED"


def test_a_failed_task_is_run_again(enter: Enter, site: Site) -> None:
    """The page goes on to the new task."""
    task_id = site.submit("FAILS")
    eventually(lambda: site.status_of(task_id) == "FAILED")
    page = enter(f"task/{task_id}")
    expect(page.get_by_text("It never works.")).to_be_visible()

    page.get_by_role("button", name="Run again").click()

    expect(page).not_to_have_url(re.compile(task_id))
    expect(page.get_by_text("FAILED", exact=True)).to_be_visible()


def test_tasks_are_listed_and_found(enter: Enter, site: Site) -> None:
    """By status, by key, and each leads to its page."""
    site.submit("QUICK", idempotencyKey="order/7", payload={"n": 7})
    eventually(lambda: site.api.get("/v1/async/task/order%2F7").json()["task"]["status"] == "COMPLETED")
    page = enter("tasks")
    page.get_by_label("Status").select_option("COMPLETED")
    expect(page.get_by_role("link", name="order/7")).to_be_visible()

    page.get_by_label("Find").fill("order/7")
    page.get_by_role("button", name="Show").click()

    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    expect(page.get_by_text('"n": 7').first).to_be_visible()


def test_a_webhook_is_sent_again(enter: Enter, site: Site, receiver: Receiver) -> None:
    """The list shows each try; a click makes another one."""
    site.submit("QUICK", webhook={"url": receiver.url("/again")})
    eventually(lambda: len(receiver.requests) == 1)
    page = enter("webhooks")
    row = page.get_by_role("row").filter(has_text="/again")
    expect(row.get_by_text("delivered", exact=True)).to_be_visible()

    row.get_by_role("button", name="Send again").click()

    eventually(lambda: len(receiver.requests) == 2)
    expect(row.get_by_role("listitem")).to_have_count(2)


def test_the_last_hour_is_drawn(enter: Enter, site: Site, picture: Picture) -> None:
    """As charts that say in words what they show, with their numbers as tables."""
    page = enter()

    chart = page.get_by_role("img", name=re.compile("^Tasks"))
    expect(chart).to_be_visible()
    assert chart.locator("path").count() == 3
    page.get_by_role("button", name="Week").click()
    expect(page.get_by_role("button", name="Week")).to_have_attribute("aria-pressed", "true")
    expect(chart).to_be_visible()


def test_capacity_says_what_the_limits_cost(enter: Enter, picture: Picture) -> None:
    """In words and numbers."""
    page = enter("capacity")

    expect(page.get_by_role("heading", name="Advice")).to_be_visible()
    picture(page, "dashboard-capacity")


def test_a_key_is_made_shown_once_used_and_revoked(enter: Enter, site: Site) -> None:
    """All on one page."""
    page = enter("access")
    page.get_by_label("New key").fill("from the page")
    page.get_by_role("button", name="Create").click()
    shown = page.get_by_role("heading", name="The new key").locator("..").locator("pre")
    key = shown.inner_text()
    headers = {"authorization": f"Bearer {key}"}
    assert site.api.get("/v1/async/status", headers=headers).status_code == 200

    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text(key)).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("row").filter(has_text="from the page").get_by_role("button", name="Revoke").click()

    eventually(lambda: site.api.get("/v1/async/status", headers=headers).status_code == 401)


def test_logging_out_shows_the_door_again(enter: Enter) -> None:
    """And nothing of what was seen before."""
    page = enter()
    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_label("Key")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)


def test_operators_see_all_organizations(enter: Enter, site: Site, picture: Picture) -> None:
    """Organizations, workers and the upkeep, with counts that were held against the rows."""
    page = enter(key=site.admin_key)
    expect(page.get_by_role("cell", name="acme")).to_be_visible()
    picture(page, "dashboard-operator")
    page.get_by_role("link", name="Workers").click()
    workers = page.get_by_role("table", name="Workers, and servers").get_by_role("row").filter(has_text="QUICK")
    expect(workers.get_by_text("live")).to_be_visible()
    expect(workers.get_by_text("of 4")).to_be_visible()
    page.get_by_role("link", name="Upkeep").click()
    expect(page.get_by_text("No difference: every count is exact.")).to_be_visible()


def test_everything_is_reached_with_the_keyboard(enter: Enter) -> None:
    """The first stop skips to the content; every section is a stop of its own."""
    page = enter()
    page.reload()
    page.get_by_role("navigation").get_by_role("link").first.wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    names = []
    for _ in range(7):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
    assert names[1:] == ["Now", "Tasks", "Capacity", "Webhooks", "Keys", "Code"]


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility checker's source, installed by npm into the cache."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so axe-core cannot be had")
    folder = ROOT / ".cache" / "axe"
    source: Path = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4.10.3"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return source.read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barrier_is_found(enter: Enter, axe: str, site: Site, scheme: Any) -> None:
    """axe finds nothing serious on any section, light or dark."""
    task_id = site.submit("QUICK")
    page = enter()
    page.emulate_media(color_scheme=scheme)
    page.evaluate(axe)
    found = {}
    for section in ("", "tasks", f"task/{task_id}", "capacity", "webhooks", "access", "code"):
        page.goto(f"{site.address}/dashboard#/{section}")
        page.locator("h1").wait_for()
        page.wait_for_timeout(500)
        checked = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found[section] = [
            (one["id"], one["nodes"][0]["html"])
            for one in checked["violations"]
            if one["impact"] in ("serious", "critical")
        ]

    assert not any(found.values()), found


def test_the_key_is_nowhere_in_the_page(enter: Enter, site: Site) -> None:
    """Not in the address, not in what scripts can read, not in storage."""
    page = enter()

    assert KEY not in page.url
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"
    assert KEY not in page.content()
