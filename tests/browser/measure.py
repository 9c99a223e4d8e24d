"""What the operators' pages cost with 10,000 organizations, of which 300 have tasks.

Run it with ``python -m tests.browser.measure``.
Prints the time to the first paint (cold and warm), the bytes of the page, frames per second of the lanes while they are
scrolled, and the share of a processor that the server and the page take. Needs Chromium, as ``make test-browser`` does.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from tests.browser.conftest import CHROMIUM, MANY, QUIET, Site

LIVE = 300
"""Organizations with tasks."""
EACH = 20
SECONDS = 10.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
FRAMES = """(seconds) => new Promise((done) => {
    const began = performance.now();
    let frames = 0, longest = 0, last = began;
    const turn = (now) => {
        frames += 1;
        longest = Math.max(longest, now - last);
        last = now;
        scrollBy(0, (Math.floor((now - began) / 1000) % 2 ? -1 : 1) * 12);
        if (now - began < seconds * 1000) requestAnimationFrame(turn);
        else done({ each_second: frames / seconds, longest_ms: longest });
    };
    requestAnimationFrame(turn);
})"""


def main() -> None:
    """Measure, and print the figures as JSON."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Site(Path(folder))
        try:
            _fill(site)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            print(json.dumps({"organizations": MANY, "with_tasks": LIVE, **_measure(site, browser)}, indent=1))
            browser.close()
        finally:
            site.close()


def _fill(site: Site) -> None:
    """Give some organizations tasks that wait behind one that runs long."""
    for number in range(LIVE):
        key = site.admin("POST", f"organizations/many-{number:05}/keys")["value"]
        items: list[dict[str, Any]] = [
            {"taskType": "SLOW" if number < 4 else "QUICK", "payload": {}} for _ in range(EACH)
        ]
        answer = site.api.post("/v1/async/task/batch", json=items, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text


def _measure(site: Site, browser: Browser) -> dict[str, Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[int] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(f"{site.address}/dashboard")
    page.get_by_label("Key").wait_for()
    cold, sent = page.evaluate(PAINT), sum(received)
    page.get_by_label("Key").fill(site.admin_key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("list", name="Health").wait_for()
    page.reload()
    page.get_by_role("list", name="Health").wait_for()
    warm = page.evaluate(PAINT)
    shares = {
        one or "overview": _shares(site, page, session, one) for one in ("", "lanes", "organizations", "failures")
    }
    figures: dict[str, Any] = {"first_paint_ms": {"cold": cold, "warm": warm}, "bytes": sent, "shares": shares}
    page.goto(f"{site.address}/dashboard#/lanes")
    page.get_by_role("list", name="Organizations").get_by_role("listitem").first.wait_for()
    figures["lanes_frames"] = page.evaluate(FRAMES, SECONDS)
    context.close()
    return figures


def _shares(site: Site, page: Page, session: CDPSession, section: str) -> dict[str, float]:
    """Return the shares of a processor while a section is open, in percent."""
    page.goto(f"{site.address}/dashboard#/{section}")
    page.wait_for_timeout(2_000)
    session.send("Performance.enable")
    began, server, drawn = time.monotonic(), _processor_seconds(site.pid), _task_seconds(session)
    page.wait_for_timeout(SECONDS * 1_000)
    seconds = time.monotonic() - began
    return {
        "server_percent": round((_processor_seconds(site.pid) - server) / seconds * 100, 1),
        "page_percent": round((_task_seconds(session) - drawn) / seconds * 100, 1),
    }


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _task_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


if __name__ == "__main__":
    main()
