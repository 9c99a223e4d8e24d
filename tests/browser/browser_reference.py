"""The reference of a server's own API, as people use it: at ``/``, at ``/docs``, with a key of theirs."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import KEY, Site, eventually


def opened(page: Page, identity: str) -> Locator:
    """One entry, unfolded."""
    entry = page.locator(f"details.operation#{identity}")
    entry.locator("summary").first.click()
    return entry


def test_the_root_leads_to_the_reference_of_the_servers_own_types(page: Page, site: Site) -> None:
    """Each type with the fields of its payload; the text of the page is the application's own."""
    page.goto(f"{site.address}/")
    page.get_by_role("link", name="API reference").click()

    entry = opened(page, "type-COUNTS")

    expect(entry.get_by_role("row", name=re.compile("^places array of string yes"))).to_be_visible()
    expect(entry.get_by_role("row", name=re.compile("^note .*string.* no"))).to_be_visible()
    expect(page.locator("details.operation#type-QUICK")).to_be_visible()
    expect(page.get_by_role("heading", name="Webhooks")).to_be_visible()


def test_a_request_is_tried_with_the_readers_key(page: Page, site: Site, provoked: list[str]) -> None:
    """Without a key nothing is sent; the answer, and the same request with curl, which does not contain the key."""
    provoked += ["401"]
    page.goto(f"{site.address}/docs#type-COUNTS")
    entry = page.locator("details.operation#type-COUNTS")
    send = entry.get_by_role("button", name="Send POST")

    send.click()
    expect(entry.get_by_role("status")).to_have_text("Enter your key at the top of this page first.")
    page.get_by_label("Your key").fill("sk_live_" + "0" * 32)
    send.click()
    expect(entry.get_by_role("status")).to_contain_text("INVALID_OR_EXPIRED_API_KEY")
    page.get_by_label("Your key").fill(KEY)
    send.click()
    expect(entry.get_by_role("status")).to_contain_text(re.compile(r"200 in \d+ ms"))

    shown = entry.get_by_role("status").inner_text()
    [task_id] = re.findall(r'"id": "([^"]+)"', shown)
    eventually(lambda: site.status_of(task_id) == "COMPLETED")
    entry.get_by_text("The same request with curl").click()
    curl = entry.locator("pre", has_text="curl -X POST").inner_text()
    assert f"'{site.address}/v1/async/task'" in curl
    assert "$FAIRLANE_API_KEY" in curl
    assert KEY not in page.content()
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_parameters_go_where_the_description_says(page: Page, site: Site) -> None:
    """Of the path and of the query; a request that removes something asks first."""
    task_id = site.submit("QUICK")
    page.goto(f"{site.address}/docs")
    page.get_by_label("Your key").fill(KEY)

    one = opened(page, "find_task")
    one.get_by_label("taskId").fill(task_id)
    one.get_by_role("button", name="Send GET").click()
    expect(one.get_by_role("status")).to_contain_text(task_id)
    several = opened(page, "list_tasks")
    several.get_by_label("limit").fill("1")
    several.get_by_role("button", name="Send GET").click()
    expect(several.get_by_role("status")).to_contain_text("nextCursor")
    cleared = opened(page, "clear_queue")
    page.once("dialog", lambda dialog: dialog.dismiss())
    cleared.get_by_role("button", name="Send DELETE").click()

    expect(cleared.get_by_role("status")).to_be_empty()


def test_every_entry_can_be_opened(page: Page, site: Site) -> None:
    """Whatever a description contains, it is shown: no exception, no undefined."""
    page.goto(f"{site.address}/docs")
    page.locator("details.operation").first.wait_for()

    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.wait_for_function("[...document.querySelectorAll('details.operation > div')].every((one) => one.firstChild)")

    assert page.locator("details.operation").count() > 40
    assert "undefined" not in page.locator("main").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_reference_fits_a_telephone(page: Page, site: Site) -> None:
    """The longest path and the longest name of a type are broken into lines."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site.address}/docs")
    page.get_by_text("/v1/webhooks/deliveries/{deliveryId}/redeliver", exact=True).wait_for()

    wide = "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth)"
    assert page.evaluate(f"{wide}.map((one) => one.outerHTML.slice(0, 100))") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_reference_can_be_read_by_everybody(page: Page, site: Site, axe: str) -> None:
    """No serious barrier of the kinds that axe knows."""
    page.goto(f"{site.address}/docs#type-COUNTS")
    page.locator("details.operation[open]").wait_for()
    page.evaluate(axe)

    checked = page.evaluate("axe.run(document, {resultTypes: ['violations']})")

    serious = [one for one in checked["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], one["nodes"][0]["html"]) for one in serious] == []
