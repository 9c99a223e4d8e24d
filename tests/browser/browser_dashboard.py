"""The dashboard as people use it."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import KEY, ROOT, Receiver, Site, agree, barriers, card, eventually

Enter = Callable[..., Page]
Submit = Callable[..., str]


def test_numbers_move_while_tasks_run(enter: Enter, site: Site) -> None:
    """Without a reload: the queue, the slots and who holds them."""
    for _ in range(20):
        site.submit("QUICK")
    page = enter()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    expect(page.get_by_role("heading", name="Now")).to_be_visible()
    expect(page.get_by_text("Live, once a second.")).to_be_visible()
    expect(card(page, "Queued")).to_have_text("0")

    running = [site.submit("SLOW", payload={"seconds": 60}, priority=priority) for priority in (1, 1, 1, 9, 5)]

    expect(card(page, "Processing")).to_have_text("3")
    expect(card(page, "Queued")).to_have_text("2")
    expect(card(page, "Slots used")).to_have_text("3 of 3")
    holders = page.get_by_role("table", name="In the order of acceptance").get_by_role("row")
    expect(holders).to_have_count(4)
    expect(holders.filter(has_text="25 %, pages read")).to_have_count(3)
    assert not [url for url in asked if "/async/slots" in url]  # The stream brings them.
    for task_id in running:
        site.api.delete(f"/v1/async/task/{task_id}")
    expect(card(page, "Processing")).to_have_text("0")
    expect(card(page, "Queued")).to_have_text("0")


def test_a_task_is_canceled_by_hand(enter: Enter, site: Site) -> None:
    """The page of a task shows its payload and why it is where it is; a click cancels it."""
    task_id = site.submit("SLOW", payload={"seconds": 60, "mark": "find-me"})
    eventually(lambda: site.status_of(task_id) == "PROCESSING")
    page = enter(f"task/{task_id}")
    expect(page.get_by_text("PROCESSING")).to_be_visible()
    expect(page.get_by_text("it runs")).to_be_visible()
    expect(page.get_by_text('"mark": "find-me"')).to_be_visible()

    says = agree(page, "Cancel")

    assert "It ends as FAILED and costs nothing. Its handler is asked to end" in says
    expect(page.get_by_text("FAILED", exact=True)).to_be_visible()
    expect(page.get_by_text("TASK_CANCELED").first).to_be_visible()
    assert site.status_of(task_id) == "FAILED"


def test_a_task_tells_when_its_webhook_was_told(enter: Enter, site: Site) -> None:
    """Also if that is after its end: the page goes on until the message is delivered."""
    with Receiver() as late:
        task_id = site.submit("QUICK", webhook={"url": late.url("/late")})
        eventually(lambda: site.status_of(task_id) == "COMPLETED")
        page = enter(f"task/{task_id}")
        expect(page.get_by_text("being delivered")).to_be_visible()

        thread = threading.Thread(target=late.serve_forever, name="late receiver")
        thread.start()

        expect(page.get_by_text(re.compile(r"/late: delivered \d"))).to_be_visible()
        late.shutdown()
        thread.join()


def test_a_concurrency_of_null_is_not_drawn_as_a_number(enter: Enter, site: Site, submit: Submit) -> None:
    """The bar has no value, and who hears the page hears that it is unknown."""
    submit("SLOW")
    page = enter()
    expect(card(page, "Slots used")).to_have_text("1 of 3")
    bar = page.get_by_role("progressbar", name="Slots used")
    assert bar.get_attribute("value") == "1"
    site.fairlane("maintenance", "on")
    try:
        expect(card(page, "Slots used")).to_have_text("–")
        assert (bar.get_attribute("value"), bar.get_attribute("aria-valuetext")) == (None, "unknown")
    finally:
        site.fairlane("maintenance", "off")


def test_an_address_that_cannot_be_decoded_is_no_page(enter: Enter, site: Site) -> None:
    """It is said, with a way back."""
    page = enter()
    page.goto(f"{site.address}/dashboard#/task/%E0%A4%A")

    expect(page.get_by_text("There is no such page")).to_be_visible()


def test_without_a_clipboard_the_text_is_selected(enter: Enter) -> None:
    """As over plain HTTP on a host of a network: the key that is shown once can still be copied."""
    page = enter("code")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")

    page.get_by_role("button", name="Copy").first.click()

    expect(page.get_by_text("The text is selected")).to_be_visible()
    assert page.evaluate("getSelection().toString()").startswith("curl ")


def test_long_names_of_types_push_nothing_out(enter: Enter, site: Site) -> None:
    """The list of tasks fits a desk's screen with one, and an id is not cut into pieces."""
    site.submit("A_NAME_OF_SIXTY_FOUR_CHARACTERS_WHICH_IS_AS_LONG_AS_ONE_MAY_BE_")
    page = enter("tasks")
    row = page.get_by_role("row").filter(has_text="A_NAME_OF_SIXTY_FOUR").first
    row.wait_for()

    assert page.locator("main section").first.evaluate("one => one.scrollWidth - one.clientWidth") == 0
    assert row.locator("td.id").get_by_role("link").evaluate("one => one.getClientRects().length") == 1


def test_a_failed_task_is_run_again(enter: Enter, site: Site) -> None:
    """The page goes on to the new task."""
    task_id = site.submit("FAILS")
    eventually(lambda: site.status_of(task_id) == "FAILED")
    page = enter(f"task/{task_id}")
    expect(page.get_by_text("It never works.").first).to_be_visible()

    says = agree(page, "Run again")

    assert "A new task with the same payload is queued. It costs 1 credit if it completes." in says
    expect(page).not_to_have_url(re.compile(task_id))
    expect(page.get_by_text("FAILED", exact=True)).to_be_visible()


def test_what_failed_and_why_is_two_steps_from_the_start(enter: Enter, site: Site) -> None:
    """A group of failures with its cause, the newest of its tasks, and what happened to that one, step by step."""
    failed = [site.submit("FLAKY") for _ in range(3)]
    eventually(lambda: all(site.status_of(one) == "FAILED" for one in failed), seconds=40)
    page = enter("failures")
    row = page.get_by_role("table", name="Groups of failures").get_by_role("row").filter(has_text="FLAKY")
    expect(row).to_contain_text("INTERNAL_SERVER_ERROR: Maximum retries exceeded")

    row.get_by_role("link", name="Look at one").click()

    steps = page.locator("ol.timeline li")
    expect(steps.filter(has_text="Attempt 1 failed")).to_be_visible()
    expect(steps.filter(has_text="Waited").first).to_contain_text(re.compile("for a (slot|worker): "))
    expect(steps.filter(has_text="Pause before the next attempt")).to_be_visible()
    expect(steps.last).to_contain_text("Attempt 2 failed: INTERNAL_SERVER_ERROR")
    expect(page.get_by_role("img", name=re.compile("Attempt 1 failed.*Pause.*Attempt 2 failed"))).to_be_visible()
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert '-d \'{"taskType": "FLAKY", "priority": 1, "payload": {}}\'' in page.evaluate(
        "navigator.clipboard.readText()"
    )
    page.go_back()
    row.get_by_role("link", name="FLAKY").click()
    expect(page.get_by_role("heading", name="What they have in common")).to_be_visible()
    expect(page.get_by_text("INTERNAL_SERVER_ERROR", exact=True)).to_be_visible()


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


def test_filters_of_tasks_stand_in_the_address(enter: Enter, site: Site) -> None:
    """By type, code and key; a reload keeps them, and what they choose can be run again together."""
    failed = [site.submit("FAILS", idempotencyKey=f"import/{number}") for number in range(3)]
    eventually(lambda: all(site.status_of(one) == "FAILED" for one in failed))
    page = enter("tasks")
    page.get_by_label("Status").select_option("FAILED")
    page.get_by_label("Code").fill("NO_LUCK")
    page.get_by_label("Key begins with").fill("import/")
    page.get_by_label("Key begins with").blur()
    rows = page.get_by_role("table", name="Newest first").locator("tbody tr")
    expect(rows).to_have_count(3)
    assert page.url.endswith("#/tasks?status=FAILED&code=NO_LUCK&key=import%2F")
    page.reload()
    expect(rows).to_have_count(3)

    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Run all again").click()

    expect(page.get_by_text("3 tasks were run again; that is all of them.")).to_be_visible()


def test_a_list_asks_only_when_something_moved(enter: Enter, submit: Submit) -> None:
    """Five seconds in which nothing moves cost no request; a new task is there without a reload."""
    page = enter("tasks")
    page.locator("table").wait_for()
    page.wait_for_timeout(4_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.wait_for_timeout(5_000)
    rested = list(asked)
    submit("SLOW", idempotencyKey="came-later")

    expect(page.get_by_role("link", name="came-later")).to_be_visible()
    assert rested == []


def test_a_webhook_is_sent_again(enter: Enter, site: Site, receiver: Receiver) -> None:
    """The list shows each try; a click makes another one."""
    site.submit("QUICK", webhook={"url": receiver.url("/again")})
    eventually(lambda: len(receiver.requests) == 1)
    page = enter("webhooks")
    row = page.get_by_role("row").filter(has_text="/again")
    expect(row.get_by_text("delivered", exact=True)).to_be_visible()

    says = agree(row, "Send again", page=page)

    assert "/again once more? It was already delivered" in says
    eventually(lambda: len(receiver.requests) == 2)
    expect(row.get_by_role("listitem")).to_have_count(2)


def test_the_webhooks_say_what_was_answered_and_why_they_wait(enter: Enter, site: Site, receiver: Receiver) -> None:
    """Each try with status, duration and the beginning of the answer; filters stand in the address."""
    receiver.answers["/refuses"] = (500, "no such hook: /refuses was renamed")
    receiver.answers["/later"] = (429, "slow down")
    sent = {
        path: site.submit("QUICK", webhook={"url": receiver.url(path)}) for path in ("/refuses", "/later", "/taken")
    }
    eventually(lambda: len(receiver.requests) == 3)
    page = enter("webhooks")
    rows = page.get_by_role("table", name="Newest first").get_by_role("row")
    refused = rows.filter(has_text="/refuses")
    expect(refused).to_contain_text(re.compile(r"answered 500 after [\d.]+ m?s.*no such hook"))
    expect(refused).to_contain_text("pauses after a failed try until")
    expect(rows.filter(has_text="/later")).to_contain_text("the receiver asked to wait until")
    host = receiver.url("").removeprefix("http://")
    at_host = page.get_by_role("table", name="Hosts").get_by_role("row").filter(has_text=host)
    expect(at_host).to_contain_text("33 %")
    expect(card(page, "Delivered")).to_contain_text("%")

    page.get_by_label("Status").select_option("due")
    page.get_by_label("Address begins with").fill(receiver.url("/ref"))
    page.get_by_label("Address begins with").press("Enter")
    expect(rows).to_have_count(2)
    assert "status=due" in page.url
    assert "to=http" in page.url
    page.reload()
    expect(refused).to_be_visible()
    expect(rows).to_have_count(2)
    page.get_by_label("Address begins with").fill("no.such.host")
    page.get_by_label("Address begins with").press("Enter")
    expect(page.get_by_text("No deliveries.")).to_be_visible()
    page.get_by_label("Address begins with").fill("")
    page.get_by_label("Status").select_option("")
    page.get_by_label("Task id").fill(sent["/taken"])
    page.get_by_label("Task id").press("Enter")
    expect(rows.filter(has_text="/taken")).to_be_visible()
    expect(rows).to_have_count(2)


def test_why_a_task_waits_is_one_step_from_the_queue(enter: Enter, site: Site, submit: Submit) -> None:
    """From the numbers to the tasks that wait, and from each to its reason."""
    for _ in range(3):
        running = submit("SLOW")
        # One that is still queued would let the next one, of a higher priority, run first.
        eventually(partial(lambda one: site.status_of(one) == "PROCESSING", running))
    submit("QUICK", priority=9, idempotencyKey="waits-" + "x" * 100)
    page = enter()

    page.get_by_role("link", name="Which tasks wait, and why").click()
    expect(page.get_by_label("Status")).to_have_value("QUEUED")
    page.get_by_role("link", name="why?").click()

    expect(page.get_by_role("heading", name="Why it waits")).to_be_visible()
    expect(page.get_by_text("every slot of the organization is in use").first).to_be_visible()


def test_an_alert_is_set_fires_and_is_deleted(enter: Enter, site: Site, submit: Submit, receiver: Receiver) -> None:
    """The form sets it, the list says when it fires, its message arrives and is among the deliveries."""
    page = enter("alerts")
    page.get_by_label("When").select_option("Slots in use")
    page.get_by_label("is above").fill("50")
    page.get_by_label("for minutes").fill("0")
    page.get_by_label("notify").fill(receiver.url("/alarm"))
    page.get_by_role("button", name="Create").click()
    row = page.get_by_role("row").filter(has_text="/alarm")
    expect(row.get_by_text("quiet", exact=True)).to_be_visible()
    expect(row.get_by_role("cell", name="50 %")).to_be_visible()

    for _ in range(3):
        submit("SLOW")

    expect(row.get_by_text("firing", exact=True)).to_be_visible()
    [body] = eventually(lambda: receiver.requests)
    assert json.loads(body)["type"] == "alert.fired"
    assert json.loads(body)["alert"]["threshold"] == 0.5
    page.get_by_role("navigation").get_by_role("link", name="Webhooks").click()
    expect(page.get_by_role("row").filter(has_text="/alarm").get_by_text("an alert", exact=True)).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="Alerts").click()
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert site.api.get("/v1/alerts").json()["alerts"] == []


def test_a_refused_alert_says_why(enter: Enter, provoked: list[str]) -> None:
    """With the words of the API, beside the field that they are about."""
    provoked.append("a status of 400")
    page = enter("alerts")
    page.get_by_label("notify").fill("ftp://nowhere.example/")
    page.get_by_role("button", name="Create").click()

    expect(page.get_by_text("webhook.url", exact=False)).to_be_visible()
    expect(page.get_by_label("notify")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("notify")).to_be_focused()
    expect(page.get_by_label("notify")).to_have_accessible_description(re.compile(r"webhook\.url"))
    expect(page.get_by_text("None yet.")).to_be_visible()


def test_the_programs_to_paste_run(enter: Enter, site: Site, tmp_path: Path) -> None:
    """As they are, with nothing but the key in the environment; their payload fits the type."""
    page = enter("code")
    page.get_by_label("Task type").select_option("COUNTS")

    def ran(name: str, *command: str) -> str:
        text = page.get_by_role("heading", name=name, exact=True).locator("..").locator("pre").inner_text()
        program = tmp_path / "program"
        program.write_text(text, "utf-8")
        environment = {"PATH": os.environ["PATH"], "FAIRLANE_API_KEY": KEY}
        ended = subprocess.run([*command, program], capture_output=True, text=True, timeout=60, check=False,
                               env=environment, cwd=ROOT)  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert json.loads(ran("Status, with curl", "sh"))["concurrency"] == {"used": 0, "max": 3}
    assert json.loads(ran("Submit, with curl", "sh"))["task"]["taskType"] == "COUNTS"
    assert "{'counted': 1}" in ran("Python", sys.executable)
    if shutil.which("node"):
        assert "COMPLETED { counted: 1 }" in ran("Node", "node")


def test_a_revoked_key_ends_the_session_with_a_word(enter: Enter, site: Site, provoked: list[str]) -> None:
    """Wherever the reader is, and nothing of what was seen stays."""
    provoked.append("a status of 401")
    for section in ("", "tasks"):
        key = site.admin("POST", "organizations/acme/keys", name="short-lived")
        page = enter(section, key=key["value"])
        page.locator("table").first.wait_for()

        site.admin("DELETE", f"keys/{key['id']}")

        expect(page.get_by_text("You were logged out")).to_be_visible()
        expect(page.locator("table")).to_have_count(0)
        expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)


def test_a_server_that_does_not_answer_is_said_on_every_page(enter: Enter, provoked: list[str]) -> None:
    """With the time of what is still shown; and not any longer once it answers."""
    provoked.append("net::ERR_INTERNET_DISCONNECTED")
    page = enter("webhooks")  # It asks every few seconds; others rest while the stream goes on.
    page.get_by_role("heading", name="Webhooks").wait_for()
    page.context.set_offline(True)

    expect(page.get_by_role("alert")).to_contain_text("The server does not answer. What is shown is as it was at ")

    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_reader_keeps_the_place_while_numbers_move(enter: Enter, submit: Submit) -> None:
    """Rows are updated, not made again: the focus stays, and an opened table stays open."""
    for _ in range(4):
        submit("SLOW")
    page = enter()
    holder = page.get_by_role("table", name="In the order of acceptance").get_by_role("link").nth(1)
    holder.focus()
    address = holder.get_attribute("href")
    page.get_by_text("As a table").first.click()
    holder.focus()
    page.evaluate(
        """() => {
            window.rows = [...document.querySelectorAll("main tr")];
            window.left = false;
            document.querySelector("main").addEventListener("focusout", () => { window.left = true; });
        }"""
    )
    age = page.get_by_role("table", name="In the order of acceptance").get_by_role("row").nth(2).locator("td").nth(3)
    before = age.inner_text()

    eventually(lambda: age.inner_text() != before)

    assert page.evaluate("document.activeElement.getAttribute('href')") == address
    assert not page.evaluate("window.left")
    assert page.evaluate("window.rows.filter((row) => row.closest('figure') === null).every((row) => row.isConnected)")
    assert page.locator("details").first.get_attribute("open") == ""


def test_every_section_fits_a_telephone(enter: Enter, site: Site) -> None:
    """At 360 pixels nothing makes the page itself wider; wide tables scroll in their own frame."""
    page = enter()
    page.set_viewport_size({"width": 360, "height": 800})
    wide = []
    for section in ("", "tasks", "failures", "usage", "capacity", "webhooks", "alerts", "access", "code"):
        page.goto(f"{site.address}/dashboard#/{section}")
        page.locator("main section:visible").first.wait_for()
        page.wait_for_timeout(200)
        if page.evaluate("document.documentElement.scrollWidth") > 360:
            wide.append(section)

    assert wide == []


def test_the_last_hour_is_drawn(enter: Enter, site: Site) -> None:
    """As charts that say in words what they show, with their numbers as tables."""
    page = enter()

    chart = page.get_by_role("img", name=re.compile("^Tasks"))
    expect(chart).to_be_visible()
    assert chart.locator("path.line:not(.open)").count() == 3
    page.get_by_role("button", name="Week").click()
    expect(page.get_by_role("button", name="Week")).to_have_attribute("aria-pressed", "true")
    expect(chart).to_be_visible()


def test_capacity_says_what_the_limits_cost(enter: Enter) -> None:
    """In words and numbers."""
    page = enter("capacity")

    expect(page.get_by_role("heading", name="Advice")).to_be_visible()


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


def test_picked_tasks_are_canceled_and_run_again(enter: Enter, site: Site, submit: Submit) -> None:
    """Only those that were picked, after a question that says how many they are."""
    failed = site.submit("FAILS")
    eventually(lambda: site.status_of(failed) == "FAILED", seconds=40)
    waiting = [submit("SLOW", payload={"seconds": 110}) for _ in range(3)]
    page = enter("tasks")
    for task in waiting[:2]:
        page.get_by_label(f"Pick SLOW {task}").check()

    expect(page.get_by_text("2 tasks picked")).to_be_visible()
    expect(page.get_by_role("button", name="Run picked again")).to_be_hidden()
    assert agree(page, "Cancel picked").startswith("Cancel 2 tasks?")

    eventually(lambda: {site.status_of(task) for task in waiting[:2]} == {"FAILED"})
    assert site.status_of(waiting[2]) in ("QUEUED", "PROCESSING")
    expect(page.get_by_text("2 tasks of 2 were canceled.")).to_be_visible()
    page.get_by_label(f"Pick FAILS {failed}").check()
    assert agree(page, "Run picked again").startswith("Run 1 task again?")
    expect(page.get_by_text("1 task of 1 was queued again.")).to_be_visible()


def test_logging_out_shows_the_door_again(enter: Enter) -> None:
    """And nothing of what was seen before."""
    page = enter()
    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_label("Key")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)


def test_the_customers_login_takes_what_it_offers(page: Page, site: Site, provoked: list[str]) -> None:
    """Each key that opens nothing here is refused beside the field, with a word on where it would."""
    provoked.append("a status of 401")
    page.route("**/dashboard/session", lambda route: route.fulfill(json={"kind": None, "accepts": ["organization"]}))
    page.goto(f"{site.address}/dashboard")
    field = page.get_by_label("Key")
    expect(page.get_by_text("Use a key of your organization (sk_…). It is sent once")).to_be_visible()

    for key, words in (
        (site.admin_key, "This is an admin key, which does not open a session here."),
        ("wk_live_" + "0" * 32, "This is a worker key, which does not open a session here."),
        ("sk_live_" + "0" * 32, "Invalid or expired API key"),
        ("nonsense", "Invalid API key format"),
    ):
        field.fill(key)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()
        expect(field).to_have_accessible_description(re.compile(re.escape(words)))
        expect(page.locator("#notices p")).to_have_count(0)


def test_an_organization_sees_its_credits_and_what_it_used(enter: Enter, site: Site) -> None:
    """What is left, and day by day what was submitted and how it ended."""
    name = "paying"
    site.admin("POST", "organizations", name=name, credits=True)
    site.admin("POST", f"organizations/{name}/credits/grants", amount=12345, reason="test")
    key = site.admin("POST", f"organizations/{name}/keys")["value"]
    headers = {"authorization": f"Bearer {key}"}
    task = {"taskType": "QUICK", "payload": {}}
    task_id = site.api.post("/v1/async/task", json=task, headers=headers).json()["task"]["id"]
    eventually(
        lambda: site.api.get(f"/v1/async/task/{task_id}", headers=headers).json()["task"]["status"] == "COMPLETED"
    )

    page = enter("usage", key=key)

    expect(card(page, "Credits left")).to_contain_text("12,344")
    expect(card(page, "Completed")).to_contain_text("1")
    expect(page.get_by_role("table", name="Days in UTC").get_by_role("row")).to_have_count(2)


def test_long_values_stay_inside_their_cards(enter: Enter, site: Site) -> None:
    """Names, reasons and JSON without a space, on a desk's screen; on a telephone the page itself gets no wider."""
    long = "n" * 64
    site.admin("POST", "plans", name=long, slots=2, queue_limit=100, weight=1)
    site.admin("POST", "organizations", name=long, plan=long)
    site.admin("POST", f"organizations/{long}/credits/grants", amount=5, reason="r" * 400)
    key = site.admin("POST", f"organizations/{long}/keys", name="k" * 64)["value"]
    over = []
    for kind, sections in (
        {"operator": ("organizations", "workers", "upkeep"), "organization": ("", "access")}
    ).items():
        page = enter(key=site.admin_key if kind == "operator" else key)
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 900})
            for section in sections:
                page.goto(f"{site.address}/dashboard#/{section}")
                page.locator("main section td:visible").first.wait_for()
                wide = page.locator("main section").evaluate_all(
                    "all => Math.max(...all.map((one) => one.scrollWidth - one.clientWidth))"
                )
                if page.evaluate("document.documentElement.scrollWidth") > width or (width == 1280 and wide > 0):
                    over.append((kind, section, width, wide))
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Key").wait_for()

    assert over == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_failed_is_drawn_as_bad(enter: Enter, scheme: Any) -> None:
    """Lines have the colours of what they count, not of their place: completed is good, failed is bad."""
    page = enter()
    page.emulate_media(color_scheme=scheme)
    chart = page.get_by_role("img", name=re.compile("^Tasks"))
    expect(chart).to_be_visible()

    found = page.evaluate(
        """() => {
            const colour = (one, of) => getComputedStyle(one)[of];
            const named = (name) => {
                const probe = document.createElement("p");
                probe.className = name;
                document.body.append(probe);
                return colour(probe, "color");
            };
            const legend = [...document.querySelectorAll("figure .legend")][0];
            const drawn = [...legend.querySelectorAll("span")].map((one) =>
                [one.textContent.trim().split(" ")[0], colour(one.querySelector("path"), "stroke")]);
            return { ...Object.fromEntries(drawn), good: named("good"), bad: named("bad") };
        }"""
    )

    assert (found["completed"], found["failed"]) == (found["good"], found["bad"])
    assert len({found["submitted"], found["good"], found["bad"]}) == 3


def test_everything_is_reached_with_the_keyboard(enter: Enter) -> None:
    """The first stop skips to the content; every section is a stop of its own."""
    page = enter()
    page.reload()
    page.get_by_role("navigation").get_by_role("link").first.wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    names = []
    for _ in range(11):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
    sections = ["Now", "Tasks", "Failures", "Usage", "Capacity", "Webhooks", "Alerts", "Keys", "Code"]
    assert names[1:] == [*sections, "API reference"]
    page.keyboard.press("Enter")
    expect(page).to_have_title("API reference · fairlane")


@pytest.mark.timeout(120)
def test_no_serious_barrier_is_found(enter: Enter, axe: str, site: Site) -> None:
    """axe finds nothing serious on any section, light or dark."""
    task_id = site.submit("QUICK")
    page = enter()
    page.evaluate(axe)
    sections = ("", "tasks", f"task/{task_id}", "failures", "usage", "capacity", "webhooks", "alerts", "access", "code")

    assert barriers(page, site.address, sections) == []


def test_the_key_is_nowhere_in_the_page(enter: Enter, site: Site) -> None:
    """Not in the address, not in what scripts can read, not in storage."""
    page = enter()

    assert KEY not in page.url
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage])") == "[{},{}]"
    assert KEY not in page.content()
