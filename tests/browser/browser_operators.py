"""The operator's pages as people use them."""

import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Receiver, Site, agree, barriers, card, eventually

Enter = Callable[..., Page]
Submit = Callable[..., str]

SECTIONS = (
    "",
    "lanes",
    "tasks",
    "failures",
    "organizations",
    "organization/acme",
    "plans",
    "plan/default",
    "types",
    "type/COUNTS",
    "workers",
    "deliveries",
    "upkeep",
)


@pytest.fixture
def sections(site: Site) -> tuple[str, ...]:
    """Every page of operators, also that of a group of failures and that of a task that failed."""
    failed = site.submit("BROKEN")
    eventually(lambda: site.status_of(failed) == "FAILED")
    groups = site.admin("GET", "failures")["failures"]
    return (
        *SECTIONS,
        f"task/{failed}",
        *(f"failures/{one['group']}" for one in groups if one["task_type"] == "BROKEN"),
    )


def test_a_command_opens_the_pages_without_a_key(page: Page, site: Site, provoked: list[str]) -> None:
    """The ticket leaves the address before it is sent, and works once; after a logout it opens nothing."""
    provoked += ["401"]
    address = site.fairlane("dashboard")["address"]
    ticket = address.partition("#/enter/")[2]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.url} {request.headers}"))

    page.goto(address)

    expect(page.get_by_role("list", name="Health")).to_be_visible()
    expect(page.get_by_text("this machine")).to_be_visible()
    assert page.url == f"{site.address}/dashboard#/"
    assert page.evaluate("history.length") <= 2
    assert ticket
    assert not [one for one in asked if ticket in one]
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()

    page.goto(address)

    expect(page.get_by_role("alert").filter(has_text="was used already")).to_be_visible()
    assert ticket not in page.url


def test_operators_find_tasks_of_any_organization_by_filters(enter: Enter, site: Site) -> None:
    """From a number of the overview; filters stand in the address; an organization's page leads to its own tasks."""
    site.admin("POST", "organizations", name="stark", slots=1)
    key = site.admin("POST", "organizations/stark/keys")["value"]
    for number in range(30):
        body = {"taskType": "QUICK", "payload": {}, "idempotencyKey": f"night-{number:02}"}
        site.api.post("/v1/async/task", json=body, headers={"authorization": f"Bearer {key}"})
    failed = site.submit("FAILS")
    eventually(lambda: site.admin("GET", "organizations/stark")["completed"] == 30)
    eventually(lambda: site.status_of(failed) == "FAILED")
    page = enter(key=site.admin_key)
    found = page.get_by_role("table", name="The newest organization first")
    rows = found.locator("tbody tr")

    card(page, "Failed").get_by_role("link").click()

    expect(rows.filter(has=page.get_by_role("link", name=failed))).to_contain_text("NO_LUCK")
    expect(page.get_by_label("Status")).to_have_value("FAILED")
    expect(page.get_by_label("Key begins with")).to_be_hidden()
    assert question(page, "Run all again…").endswith("of all organizations again?")
    page.get_by_label("Organization").fill("acme")
    page.get_by_label("Organization").press("Enter")
    expect(page.get_by_label("Key begins with")).to_be_visible()
    assert question(page, "Run all again…").endswith("of acme again?")

    [group] = [one["group"] for one in site.admin("GET", "failures")["failures"] if one["task_type"] == "FAILS"]
    page.goto(f"{site.address}/dashboard#/failures/{group}")
    expect(page.get_by_role("table", name="In the order of their starts")).to_contain_text("FAILED")
    page.get_by_role("link", name="Its failed tasks, and their organizations").click()
    expect(page.get_by_label("Failure group")).to_have_value(group)
    expect(rows.filter(has=page.get_by_role("link", name=failed))).to_contain_text("acme")
    page.get_by_label("Priority").select_option("9")
    expect(rows).to_have_text(["No tasks."])
    page.get_by_label("Priority").select_option("1")
    expect(rows.filter(has=page.get_by_role("link", name=failed))).to_be_visible()
    assert page.url.endswith(f"#/tasks?status=FAILED&group={group}&priority=1")
    assert question(page, "Run all again…").endswith("of all organizations again?")

    page.goto(f"{site.address}/dashboard#/organization/stark")
    page.get_by_role("link", name="All of its tasks").click()
    expect(rows).to_have_count(25)
    page.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(5)
    page.get_by_label("Key begins with").fill("night-2")
    page.get_by_label("Key begins with").press("Enter")
    expect(rows).to_have_count(10)
    assert "organization=stark&key=night-2" in page.url
    page.reload()
    expect(rows).to_have_count(10)
    found.get_by_role("link", name="night-29").click()
    expect(page.get_by_role("heading", name="QUICK")).to_be_visible()


def question(page: Page, name: str) -> str:
    """The first sentence that a button asks once it has counted; the answer is no."""
    asked: list[str] = []

    def dismiss(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", dismiss)
    pressed = page.get_by_role("button", name=name)
    pressed.click()
    expect(pressed).not_to_have_attribute("aria-disabled", "true")
    return asked[0][: asked[0].index("?") + 1]


def test_every_place_that_a_trouble_names_exists(enter: Enter, site: Site) -> None:
    """Each link of the overview's troubles leads to a page; the types have workers and run times."""
    page = enter(key=site.admin_key)
    module = (page.locator("script[type=module]").get_attribute("src") or "").replace("main", "installation")
    source = page.evaluate("async (module) => (await fetch(module)).text()", module)
    places = sorted(set(re.findall(r'\["#/(\w+)", ', source)))
    assert len(places) >= 4
    for place in places:
        page.goto(f"{site.address}/dashboard#/{place}")
        expect(page.get_by_role("heading", level=1)).not_to_have_text("There is no such page")

    page.goto(f"{site.address}/dashboard#/types")
    expect(page.get_by_role("row").filter(has_text="SLOW")).to_contain_text("served")
    expect(page.get_by_role("columnheader", name="Run p50 · p90 · p99")).to_be_visible()


def test_a_type_has_charts_its_limit_and_its_workers(enter: Enter, site: Site) -> None:
    """Run times, waits and failures of an hour: a gap stays a gap, one burst is cut off, and all is a table, too."""
    page = enter("types", key=site.admin_key)
    row = page.get_by_role("table", name="Task types").get_by_role("row").filter(has_text="COUNTS")
    expect(row.locator("td[data-name='Failed in an hour']")).to_have_text("90")
    expect(row.locator("td[data-name='Running']")).to_have_text("0 of 2")
    expect(row.locator("td[data-name='Run p50 · p90 · p99']")).to_have_text(re.compile(r"^\S+ m?s · .+ · .+$"))

    row.get_by_role("link", name="COUNTS").click()

    expect(page.get_by_role("heading", name="COUNTS")).to_be_visible()
    serving = page.get_by_role("table", name="Workers that serve it").locator("tbody tr")
    expect(serving).to_have_count(1)
    expect(serving.locator("td[data-name='Running']")).to_have_text(re.compile(r"^\d of 4$"))
    expect(card(page, "Running")).to_have_text("0 of 2")
    expect(card(page, "Failed").get_by_role("link")).to_have_attribute("href", re.compile("status=FAILED&type=COUNTS"))
    flow = page.get_by_role("img", name=re.compile("^Flow, .*failed from"))
    for title in ("Wait before the start", "Run time"):
        line = page.get_by_role("img", name=re.compile(f"^{title}, .*p99")).locator("path.line.main").first
        # A gap at the minutes that were left out; the minutes that began since may be another one.
        expect(line).to_have_attribute("d", re.compile("^M[^M]+M[^M]+(M[^M]+)?$"))
    expect(flow.locator(".cut")).to_have_count(1)
    figure = page.locator("figure").filter(has_text="Run time")
    figure.get_by_text("As a table").click()
    expect(figure.get_by_role("row").filter(has_text="–")).not_to_have_count(0)
    expect(figure.get_by_role("columnheader", name="p99")).to_be_visible()
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(flow).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_operators_see_the_true_cause(enter: Enter, site: Site) -> None:
    """The exception and its place, the organizations, and of one task the worker; customers see none of it."""
    for _ in range(3):
        task_id = site.submit("BROKEN")
    eventually(lambda: site.status_of(task_id) == "FAILED")
    page = enter("failures", key=site.admin_key)
    row = page.get_by_role("table", name="Groups of failures").get_by_role("row").filter(has_text="BROKEN")
    expect(row).to_contain_text(re.compile(r"KeyError in .*app:broken, line \d+"))

    row.get_by_role("link", name="BROKEN").click()

    expect(page.get_by_label("Cause")).to_contain_text(re.compile(r"KeyError: 'country'\s+at \S*app:broken, line \d+"))
    expect(page.get_by_role("group", name="Payload")).to_be_visible()
    page.get_by_role("link", name=task_id).click()
    expect(page.locator("ol.timeline li").last).to_contain_text(
        re.compile("Attempt 1 failed.*KeyError.*worker ", re.DOTALL)
    )
    expect(page.get_by_role("link", name="acme")).to_be_visible()


def test_operators_read_payload_and_result_of_a_task(enter: Enter, site: Site) -> None:
    """Folded and colored; binary data is named; a number that JavaScript cannot hold stays exact, also in the copy."""
    sent = {"document": "JVBERi0x" + "aB3d" * 40, "lines": list(range(120)), "words": {"big": 1234567890123456789}}
    task_id = site.submit("QUICK", payload=sent)
    eventually(lambda: site.status_of(task_id) == "COMPLETED")
    page = enter(f"task/{task_id}", key=site.admin_key)
    payload = page.get_by_role("group", name="Payload")

    expect(payload).to_contain_text("168 characters of base64 (PDF)")
    expect(payload).to_contain_text("1234567890123456789")
    expect(payload).not_to_contain_text("JVBERi")
    payload.get_by_text("[ 120 items ]").click()
    payload.get_by_role("button", name="Show more of the 70 that follow").click()
    expect(payload.get_by_role("button", name="Show more of the 20 that follow")).to_be_visible()
    expect(page.get_by_role("group", name="Result")).to_contain_text('"echo"')
    page.locator("section", has=payload).get_by_role("button", name="Copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '"big": 1234567890123456789' in copied or '"big":1234567890123456789' in copied


def test_lanes_show_what_holds_the_slots(enter: Enter, site: Site, submit: Submit) -> None:
    """A cell for each slot with what runs in it; the queue by priority; and why the next task waits."""
    page = enter("lanes", key=site.admin_key)
    row = page.get_by_role("list", name="Organizations").get_by_role("listitem").filter(has_text="acme")
    expect(row.get_by_role("img", name="0 of 3 slots in use")).to_be_visible()

    for _ in range(3):
        running = submit("SLOW", payload={"seconds": 110})
        eventually(partial(lambda one: site.status_of(one) == "PROCESSING", running))
    submit("QUICK", priority=9)
    submit("QUICK", priority=2)

    expect(row.get_by_role("img", name="3 of 3 slots in use: 3 SLOW")).to_be_visible()
    expect(row.get_by_role("img", name="1 priority 8 to 10, 1 1 to 3")).to_be_visible()
    expect(row).to_contain_text("all 3 slots are taken")
    # What a handler said of its progress comes with one of the next readings.
    expect(row.locator(".cell").first).to_have_attribute(
        "title", re.compile(r"^SLOW, attempt 1 of \d, .+ of 2 min, 25 %, pages read$")
    )


def test_only_the_lanes_on_the_screen_are_drawn_and_asked_for(enter: Enter, site: Site) -> None:
    """Of 300 organizations as many as fit; scrolling brings the others; a search finds one."""
    page = enter("lanes", key=site.admin_key)
    rows = page.get_by_role("list", name="Organizations").get_by_role("listitem")
    expect(rows.first).to_be_visible()
    with page.expect_request(re.compile(r"/lanes\?")) as asked:
        pass
    first = rows.count()
    page.get_by_label("Order").select_option("by name")
    expect(rows.first).to_contain_text("acme")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(rows.last).to_have_attribute("aria-posinset", rows.first.get_attribute("aria-setsize") or "")

    assert rows.count() < 60
    assert first < 60
    assert asked.value.url.count(",") < 60
    page.get_by_label("Find an organization").fill("many-00177")
    expect(rows).to_have_count(1)


def test_organizations_are_found_sorted_and_paged(enter: Enter, site: Site) -> None:
    """By the beginning of the name; the filter stands in the address, so that it survives a reload."""
    page = enter("organizations", key=site.admin_key)
    rows = page.get_by_role("table", name="Organizations").locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(page.get_by_text(re.compile(r"^10,0\d\d organizations$"))).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(rows.first).not_to_contain_text("acme")
    page.get_by_role("button", name="Back").click()
    expect(rows.first).to_contain_text("acme")

    page.get_by_label("Name begins with").fill("many-0012")
    expect(rows).to_have_count(10)
    assert page.url.endswith("#/organizations?search=many-0012")
    page.reload()
    expect(rows).to_have_count(10)

    page.get_by_label("Order").select_option("most failed first")
    page.get_by_label("Name begins with").fill("")
    expect(rows).to_have_count(50)
    expect(rows.first).not_to_contain_text("many-")  # These have no tasks at all.


def test_an_organization_is_paused_and_its_limits_are_changed(enter: Enter, site: Site) -> None:
    """A pause asks first; a limit holds at once, and a wrong one is refused beside its field."""
    site.admin("POST", "organizations", name="wayne", slots=4)
    page = enter("organization/wayne", key=site.admin_key)
    asked = agree(page, "Pause")
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    assert "Its tasks are accepted and wait; what runs goes on." in asked
    assert site.admin("GET", "organizations/wayne")["paused"]
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()

    page.get_by_text("Change", exact=True).click()
    page.get_by_label("Slots").fill("7")
    page.get_by_role("button", name="Save").click()

    expect(card(page, "Slots used")).to_have_text("0 of 7")
    assert site.admin("GET", "organizations/wayne")["slots_max"] == 7
    asked = agree(page, "Begin maintenance")
    assert "Begin maintenance of wayne?" in asked
    page.get_by_role("button", name="End maintenance").click()
    expect(page.get_by_role("button", name="Begin maintenance")).to_be_visible()


def test_a_plan_is_made_changed_and_deleted(enter: Enter, site: Site, provoked: list[str]) -> None:
    """Every limit stands in list and form; a wrong one is refused beside its field; a change acts at once."""
    provoked += ["400", "422"]
    page = enter("plans", key=site.admin_key)
    form = page.locator("form")
    form.get_by_label("Name").fill("gold")
    given = {
        "Slots": "2",
        "Queue limit": "500",
        "Weight": "4",
        "Rate limit": "50",
        "Highest priority": "11",
        "Task types": "QUICK, FAILS",
        "Monthly credits": "1000",
        "Retention": "36 hours",
    }
    for label, value in given.items():
        form.get_by_label(label).fill(value)
    create = form.get_by_role("button", name="Create")
    create.click()
    expect(form.get_by_label("Retention")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_role("alert")).to_contain_text("must be a time such as")
    form.get_by_label("Retention").fill("36h")
    create.click()
    expect(form.get_by_label("Highest priority")).to_be_focused()
    expect(form.get_by_role("alert")).to_contain_text("priority_limit must be")
    form.get_by_label("Highest priority").fill("5")
    create.click()

    row = page.get_by_role("table", name="Plans").get_by_role("row").filter(has_text="gold")
    for told in ("2", "500", "4", "50/s", "5", "FAILS, QUICK", "1,000", "36 h"):
        expect(row.get_by_role("cell", name=told, exact=True)).to_be_visible()
    site.admin("POST", "organizations", name="miner", plan="gold")
    key = site.admin("POST", "organizations/miner/keys")["value"]

    def refused(task_type: str) -> bool:
        body = {"taskType": task_type, "payload": {}, "priority": 5}
        answer = site.api.post("/v1/async/task", json=body, headers={"authorization": f"Bearer {key}"})
        return answer.status_code != 200

    assert refused("FLAKY")
    assert not refused("QUICK")
    row.get_by_role("link", name="gold").click()
    page.get_by_label("Task types").fill("FLAKY")
    page.get_by_label("Highest priority").fill("")
    page.get_by_label("Slots").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The plan gold is changed.")).to_be_visible()

    assert refused("QUICK")
    assert not refused("FLAKY")
    changed = site.admin("GET", "plans/gold")
    assert (changed["slots"], changed["priority_limit"], changed["weight"], changed["retention_seconds"]) == (
        3, None, 4, 129_600,
    )  # fmt: skip
    assert site.admin("GET", "organizations/miner")["slots_max"] == 3

    page.goto(f"{site.address}/dashboard#/organization/miner")
    page.get_by_text("Change", exact=True).click()
    page.get_by_label("Rate limit").fill("7")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The limits hold from now on.")).to_be_visible()
    assert site.admin("GET", "organizations/miner")["rate_limit"] == 7
    page.get_by_label("Rate limit").fill("")
    page.get_by_role("combobox", name="Plan").select_option("default")
    page.get_by_role("button", name="Save").click()
    eventually(lambda: site.admin("GET", "organizations/miner")["plan"] == "default")
    assert site.admin("GET", "organizations/miner")["rate_limit"] is None

    page.goto(f"{site.address}/dashboard#/plan/gold")
    agree(page, "Delete")
    expect(page.get_by_role("heading", name="Plans")).to_be_visible()
    expect(page.get_by_role("table", name="Plans").get_by_role("row").filter(has_text="gold")).to_have_count(0)


def test_operators_see_what_their_workers_run(enter: Enter, site: Site, submit: Submit) -> None:
    """How many attempts on how many places, and that the worker still renews its session."""
    for task_id in (submit("SLOW", payload={"seconds": 110}), submit("SLOW", payload={"seconds": 110})):
        eventually(partial(lambda one: site.status_of(one) == "PROCESSING", task_id))
    page = enter("workers", key=site.admin_key)

    row = (
        page.get_by_role("table", name="Worker processes that are connected")
        .get_by_role("row")
        .filter(has_text="QUICK")
    )

    expect(row.get_by_text("live", exact=True)).to_be_visible()
    expect(row.get_by_text("2 of 4", exact=True)).to_be_visible()
    expect(row.get_by_text("a server's own", exact=True)).to_be_visible()


@pytest.mark.timeout(120)  # three programs start, each with a process of its own
def test_workers_that_cannot_start_are_told_until_they_can(enter: Enter, site: Site, tmp_path: Path) -> None:
    """A crash loop, as a program makes it that starts `fairlane worker` again: why, since when, how often."""
    wish, app = tmp_path / "wish", "tests/worker/apps/starts.py:app"
    wish.write_text("import")
    key = site.fairlane("keys", "create", "--worker", "builds")["value"]
    page = enter("workers", key=site.admin_key)
    table = page.get_by_role("table", name="These cannot start")
    expect(page.get_by_role("table", name="Worker processes that are connected")).to_be_visible()
    expect(table).to_be_hidden()
    for number in (1, 2):
        with site.worker(app, key, FAIRLANE_TEST_START=str(wish)) as broken:
            assert broken.wait(30) == 3
        expect(table.locator("td[data-name='Failed starts']")).to_have_text(str(number))

    row = table.get_by_role("row").filter(has_text=app)
    expect(row).to_contain_text("the import of the application raised ImportError (starts.py:14)")
    expect(row).to_contain_text(socket.gethostname())
    expect(row.locator("td[data-name=Since]")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    page.goto(f"{site.address}/dashboard#/")
    health = page.get_by_role("list", name="Health")
    expect(health).to_contain_text(re.compile(r"No worker of \S+ can start on .*ImportError.*Since .*2 starts failed"))
    health.get_by_role("link", name="Workers").click()
    expect(table).to_be_visible()
    wish.write_text("")
    with site.worker(app, key, FAIRLANE_TEST_START=str(wish)) as cured:
        expect(table).to_be_hidden()
        cured.terminate()
        cured.wait(30)


def test_operators_see_which_hosts_fail_and_what_holds_them(enter: Enter, site: Site, receiver: Receiver) -> None:
    """What fails comes first, with since when; the one that takes its messages is found by its name."""
    dead = receiver.url("/").replace("127.0.0.1", "127.0.0.2")
    for _ in range(2):
        site.submit("QUICK", webhook={"url": dead})
    site.submit("QUICK", webhook={"url": receiver.url("/taken")})
    eventually(lambda: receiver.requests)
    page = enter("deliveries", key=site.admin_key)
    rows = page.get_by_role("table", name="Hosts").locator("tbody tr")

    failing = rows.filter(has_text="127.0.0.2")
    expect(failing).to_contain_text(re.compile(r"fails since .+ in a row"))
    expect(failing).to_contain_text(re.compile(r"pauses until \d\d:\d\d"))
    expect(failing).to_contain_text("no connection")
    expect(failing.get_by_role("link", name="acme")).to_be_visible()
    page.get_by_label("Host begins with").fill("127.0.0.1")
    expect(rows.filter(has_text=receiver.url("").removeprefix("http://"))).to_contain_text("delivers")
    assert page.url.endswith("#/deliveries?search=127.0.0.1")


def test_operators_see_what_a_customer_sees(enter: Enter, site: Site, submit: Submit, provoked: list[str]) -> None:
    """Plainly marked, live, and without a way to change anything; leaving leads back to the organization."""
    provoked += ["403"]
    running = submit("SLOW", payload={"seconds": 110})
    eventually(lambda: site.status_of(running) == "PROCESSING")
    page = enter("organization/acme", key=site.admin_key)

    page.get_by_role("button", name="See what it sees").click()

    expect(page.get_by_role("heading", name="Now")).to_be_visible()
    mark = page.get_by_role("status").filter(has_text="You see the dashboard of acme as it sees it.")
    expect(mark).to_be_visible()
    expect(card(page, "Processing")).not_to_have_text("0")
    page.get_by_role("link", name="Tasks", exact=True).click()
    expect(page.get_by_role("button", name="Clear the queue")).to_be_hidden()
    page.reload()
    expect(mark).to_be_visible()
    page.get_by_role("link", name="Webhooks", exact=True).click()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_hidden()
    # Whatever a page shows, the server refuses changes.
    page.locator("form.changes").evaluate("form => form.classList.remove('changes')")
    page.get_by_label("Send a test event to").fill("http://127.0.0.1:9/")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("This view of an organization's dashboard changes nothing")).to_be_visible()
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="acme")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(mark).to_be_hidden()


def test_an_organization_is_given_keys_and_credits(enter: Enter, site: Site) -> None:
    """A key is shown once, works, and is revoked after a question; a grant counts once the question is answered."""
    site.admin("POST", "organizations", name="initech", slots=2)
    page = enter("organization/initech", key=site.admin_key)
    expect(page.get_by_text("Not counted: nothing is charged.")).to_be_visible()
    assert agree(page, "Count credits").startswith("Count credits from now on?")
    expect(page.get_by_text("Completed tasks are charged.")).to_be_visible()

    page.get_by_label("New key").fill("for the crawler")
    page.get_by_role("button", name="Create").click()
    key = page.get_by_role("heading", name="The new key").locator("..").locator("pre").inner_text()
    headers = {"authorization": f"Bearer {key}"}
    assert site.api.get("/v1/async/status", headers=headers).status_code == 200
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text(key)).to_have_count(0)

    page.get_by_label("Grant", exact=True).fill("250")
    page.get_by_label("because").fill("the first month")
    assert agree(page, "Grant") == "Grant 250 credits?"
    row = page.get_by_role("row").filter(has_text="the first month")
    expect(row).to_contain_text("250")
    expect(card(page, "Credits")).to_have_text("250")

    row = page.get_by_role("row").filter(has_text="for the crawler")
    assert "refused at once" in agree(row, "Revoke", page=page)
    expect(row).to_contain_text("revoked")
    assert site.api.get("/v1/async/status", headers=headers).status_code == 401


def test_the_audit_reads_as_sentences(enter: Enter, site: Site) -> None:
    """What was done to what by which key, with its details as names and values; a filter finds those of one subject."""
    site.admin("POST", "organizations", name="umbrella", slots=2)
    site.admin("PATCH", "organizations/umbrella", slots=9, weight=3)
    site.admin("PATCH", "organizations/umbrella", paused=True)
    page = enter("upkeep", key=site.admin_key)
    expect(page.get_by_text("Last pass of upkeep")).to_be_visible()
    expect(page.locator("section").filter(has_text="Database and upkeep")).to_contain_text(
        re.compile(r"Size.*\d [KM]B")
    )

    page.get_by_label("What it was done to").fill("umbrella")
    page.get_by_label("What it was done to").press("Enter")

    rows = page.get_by_role("table", name="What operators changed, newest first").locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("Paused umbrella")
    expect(rows.nth(1)).to_contain_text("Changed the limits of umbrella")
    expect(rows.nth(1)).to_contain_text("slots 9, weight 3")
    expect(rows.nth(2)).to_contain_text(re.compile("Created the organization umbrella.*admin key pat"))
    assert "{" not in (page.get_by_role("table", name="What operators changed").text_content() or "")


def test_maintenance_begins_only_after_a_question(enter: Enter, site: Site) -> None:
    """It says what customers will see; without a yes nothing is changed."""
    page = enter("upkeep", key=site.admin_key)
    expect(page.get_by_text("Not under maintenance.")).to_be_visible()

    asked = agree(page, "Begin maintenance", answer=False)
    expect(page.get_by_text("Not under maintenance.")).to_be_visible()
    refused = site.api.get("/v1/async/status").json()["concurrency"]
    agree(page, "Begin maintenance")

    assert "every organization reads concurrency null" in asked
    assert refused is not None
    page.get_by_role("button", name="End maintenance").click()
    expect(page.get_by_text("Not under maintenance.")).to_be_visible()
    assert site.api.get("/v1/async/status").json()["concurrency"] is not None


def tab(page: Page, name: str, *, most: int = 150) -> None:
    """Press Tab until what has the focus is called this, and check that the focus is drawn and on the screen."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED_NAME) == name:
            break
    else:
        raise AssertionError(f"{name!r} is not reached with {most} times Tab")
    page.wait_for_function(FOCUS_SEEN, timeout=2_000)  # a frame may pass before it is scrolled to


def enter_at(page: Page, name: str) -> None:
    """Press Enter where Tab finds this."""
    tab(page, name)
    page.keyboard.press("Enter")


FOCUSED_NAME = """() => {
    const one = document.activeElement;
    return one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent;
}"""
FOCUS_SEEN = """() => {
    const style = getComputedStyle(document.activeElement), box = document.activeElement.getBoundingClientRect();
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
        && box.width > 0 && box.top < innerHeight && box.bottom > 0 && box.left < innerWidth && box.right > 0;
}"""


@pytest.mark.timeout(120)
def test_a_failure_is_found_and_run_again_with_the_keyboard_alone(enter: Enter, site: Site, submit: Submit) -> None:
    """From the overview to a group, all of it run again; then to an organization, to one of its tasks, and cancel it.

    No pointer takes part: each step is Tab and Enter, and the focus is seen at each stop.
    """
    failed = site.submit("BROKEN")
    eventually(lambda: site.status_of(failed) == "FAILED")
    waiting = submit("SLOW", delaySeconds=3_600, idempotencyKey="the one that waits")
    page = enter(key=site.admin_key)
    asked: list[str] = []

    def accept(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", accept)
    failed_before = site.admin("GET", "organizations/acme")["failed"]
    expect(page.get_by_role("table", name="Failures by cause")).to_contain_text("BROKEN")
    expect(page.get_by_role("list", name="Organizations").get_by_role("link").first).to_be_visible()

    enter_at(page, "All failures")
    expect(page.get_by_role("heading", name="Failures", exact=True)).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    expect(page.get_by_role("link", name="BROKEN")).to_be_visible()
    enter_at(page, "BROKEN")
    expect(page.get_by_role("heading", name="BROKEN")).to_be_visible()
    expect(page.get_by_role("heading", name="Its attempts")).to_be_visible()
    enter_at(page, "Run all again…")
    expect(page.get_by_text(re.compile("run again; that is all of them"))).to_be_visible()
    eventually(lambda: site.admin("GET", "organizations/acme")["failed"] > failed_before)
    assert asked[0].startswith("Run ")
    tab(page, "See how they end")

    page.reload()
    enter_at(page, "Organizations")
    tab(page, "Name begins with")
    page.keyboard.type("acm")
    rows = page.get_by_role("table", name="Organizations").locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(page.get_by_label("Name begins with")).to_be_focused()
    enter_at(page, "acme")
    expect(page.get_by_role("heading", name="acme")).to_be_visible()
    expect(page.get_by_role("link", name="the one that waits")).to_be_visible()
    enter_at(page, "the one that waits")
    expect(page.get_by_role("heading", name="SLOW")).to_be_visible()
    enter_at(page, "Cancel")

    expect(page.get_by_text("TASK_CANCELED").first).to_be_visible()
    assert asked[1].startswith("Cancel this task of acme?")
    assert site.status_of(waiting) == "FAILED"


@pytest.mark.timeout(120)
def test_every_part_of_a_page_is_a_stop_of_the_keyboard(enter: Enter, site: Site, sections: tuple[str, ...]) -> None:
    """What the pointer can use is in the order of Tab, is named, and shows the focus, on every section."""
    page = enter(key=site.admin_key)
    wrong = []
    for section in sections:
        page.goto(f"{site.address}/dashboard#/{section}")
        page.locator("main section").first.wait_for()
        page.wait_for_timeout(400)
        wrong += [(section, one) for one in page.evaluate(UNREACHED)]

    assert wrong == []


UNREACHED = """() => [...document.querySelectorAll("a, button, input, select, summary, pre, .value, svg.chart")]
    .filter((one) => one.checkVisibility() && (one.matches(".value, pre") ? one.scrollHeight > one.clientHeight : true))
    .filter((one) => one.tabIndex < 0 || (one.tagName === "A" && !one.hasAttribute("href"))
        || !(one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent ?? one.textContent).trim())
    .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.mark.timeout(120)
def test_no_serious_barrier_is_found(enter: Enter, axe: str, site: Site, sections: tuple[str, ...]) -> None:
    """axe finds nothing serious on any section, light or dark."""
    page = enter(key=site.admin_key)
    page.evaluate(axe)

    assert barriers(page, site.address, sections) == []


def test_every_section_fits_a_telephone(enter: Enter, site: Site, sections: tuple[str, ...]) -> None:
    """At 360 pixels nothing makes the page itself wider."""
    page = enter(key=site.admin_key)
    page.set_viewport_size({"width": 360, "height": 800})
    wide = []
    for section in sections:
        page.goto(f"{site.address}/dashboard#/{section}")
        page.locator("main section").first.wait_for()
        page.wait_for_timeout(400)
        if page.evaluate("document.documentElement.scrollWidth") > 360:
            wide.append(section)

    assert wide == []
