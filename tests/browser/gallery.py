"""Pictures of every page of the dashboard, as a busy installation shows them: light and dark, on a desk and a phone.

Run it with ``python -m tests.browser.gallery FOLDER``; with ``--docs`` it renews ``docs/images`` instead.
Needs Chromium, as ``make test-browser`` does. What it shows is made up: an hour of counts is written into the database,
then real tasks run, wait and fail.
"""

import argparse
import json
import math
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from fairlane.model.organizations import EVERY_ORGANIZATION
from fairlane.rules.history import bucket_of
from tests.browser.conftest import CHROMIUM, KEY, QUIET, ROOT, Receiver, Site, eventually

PLANS: dict[str, dict[str, Any]] = {
    "free": {
        "slots": 2,
        "queue_limit": 1_000,
        "weight": 1,
        "rate_limit": 20,
        "priority_limit": 5,
        "monthly_credits": 500,
    },
    "pro": {"slots": 8, "queue_limit": 50_000, "weight": 2, "retention_seconds": 7 * 86_400},
    "scale": {"slots": 20, "queue_limit": 500_000, "weight": 3, "retention_seconds": 30 * 86_400},
}
ORGANIZATIONS = {
    "globex": ("scale", 1_800, 9), "hooli": ("scale", 257, 7), "wayne": ("scale", 40, 3), "umbrella": ("pro", 260, 8),
    "initech": ("free", 7, 2), "stark": ("pro", 31, 4), "tyrell": ("pro", 0, 1), "soylent": ("free", 2, 1),
    "vandelay": ("free", 0, 0), "wonka": ("free", 0, 0), "aperture": ("pro", 0, 2), "cyberdyne": ("scale", 12, 2),
}  # fmt: skip
"""Each with its plan, the tasks that wait, and those that run for a while."""
TYPES = {"COMPARE_MODELS": 9, "SCRAPE_PAGE": 30, "RENDER_PDF": 14, "THUMBNAIL": 40, "IMPORT_ROWS": 5}
"""Attempts of each in a minute."""
PLACES, BATCH = 30, 250
IMAGES = ROOT / "docs" / "images"
OPERATOR = {
    "operator": "", "lanes": "lanes", "operator-tasks": "tasks", "operator-failures": "failures",
    "organizations": "organizations", "organization": "organization/acme", "plans": "plans", "plan": "plan/pro",
    "types": "types", "type": "type/RENDER_PDF", "workers": "workers", "deliveries": "deliveries", "upkeep": "upkeep",
}  # fmt: skip
CUSTOMER = {
    "now": "", "tasks": "tasks", "failures": "failures", "usage": "usage", "capacity": "capacity",
    "webhooks": "webhooks", "alerts": "alerts", "keys": "access", "code": "code",
}  # fmt: skip
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
DOCS = {
    "operator": "operator", "lanes": "lanes", "operator-failures": "failures", "organization": "organization",
    "plans": "plans", "type": "type", "now": "now", "task": "task", "capacity": "capacity", "webhooks": "webhooks",
}  # fmt: skip
"""The pages that documents show, with the names of their pictures."""
DOCS_DARK = ("now",)


def main() -> None:
    """Fill a server, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, name="receiver").start()
        site = Site(
            Path(folder), planted=an_hour, organizations=2, app="tests/browser/busy.py:app", places=PLACES, acme=False
        )
        try:
            found = fill(site, receiver)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            for name, page in pages(site, browser, found, docs=given.docs, only=given.only):
                place = (IMAGES if given.docs else given.folder) / f"{name}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=place, full_page=True)
                print(place, flush=True)
            browser.close()
        finally:
            receiver.shutdown()
            site.close()


def an_hour(database: sqlite3.Connection) -> None:
    """Write most of an hour: the installation's by the minute, that of each type, and that of one organization."""
    chance = random.Random(7)
    database.execute("UPDATE organization SET name = iif(name = 'many-00000', 'acme', 'tinyco')")
    last = time.time_ns() // 60_000_000_000 - 1
    own = a_past(database, database.execute("SELECT id FROM organization WHERE name = 'acme'").fetchone()[0])
    totals = {"completed": 0, "failed": 0}
    for ago in range(59, -1, -1):
        minute, wave = last - ago, math.sin((59 - ago) / 9)
        started = completed = failed = 0
        waits: dict[int, int] = {}
        for number, (name, each) in enumerate(TYPES.items()):
            runs: dict[int, int] = {}
            began = max(1, round(each * (1 + 0.35 * wave) + chance.gauss(0, each / 12)))
            for _ in range(began):
                wait, run = chance.lognormvariate(7.2 + wave / 2, 0.8), chance.lognormvariate(6.4 + number / 2, 0.6)
                waits[bucket_of(round(wait))] = waits.get(bucket_of(round(wait)), 0) + 1
                runs[bucket_of(round(run))] = runs.get(bucket_of(round(run)), 0) + 1
            bad = chance.randrange(2) if name == "SCRAPE_PAGE" else int(chance.random() < 0.05)
            row = (
                EVERY_ORGANIZATION, minute, name, "planted", began, began - bad, bad,
                json.dumps(sorted(waits.items())), json.dumps(sorted(runs.items())),
            )  # fmt: skip
            database.execute(f"INSERT INTO type_usage VALUES ({', '.join('?' * len(row))})", row)
            started, completed, failed = started + began, completed + began - bad, failed + bad
        totals["completed"] += completed
        totals["failed"] += failed
        pulse = (
            minute, "planted", (minute + 1) * 60_000 - 500, round(900 + 500 * wave + chance.gauss(0, 40)),
            round(22 + 6 * wave), 110, PLACES, round(22 + 6 * wave), sum(totals.values()) + own["submitted"],
            totals["completed"] + own["completed"], totals["failed"] + own["failed"], started,
            json.dumps(sorted(waits.items())),
        )  # fmt: skip
        database.execute(f"INSERT INTO pulse VALUES ({', '.join('?' * len(pulse))})", pulse)
    database.execute(
        "UPDATE organization SET submitted = ?, completed = ?, failed = ? WHERE name = 'tinyco'",
        (sum(totals.values()), *totals.values()),
    )


def a_past(database: sqlite3.Connection, organization_id: int) -> dict[str, int]:
    """Write an hour of one organization; return its sums."""
    chance = random.Random(5)
    last = time.time_ns() // 60_000_000_000 - 1
    sums = dict.fromkeys(("submitted", "started", "completed", "failed", "run", "slot", "plan", "worker"), 0)
    waits: dict[int, int] = {}
    for ago in range(70, -1, -1):
        wave = math.sin((70 - ago) / 8)
        began = max(0, round(60 + 30 * wave + chance.gauss(0, 4)))
        failed = began // 12
        row = (organization_id, last - ago, "RENDER_PDF", "planted", began, began - failed, failed, "[]", "[]")
        database.execute(f"INSERT INTO type_usage VALUES ({', '.join('?' * len(row))})", row)
        for _ in range(began):
            wait = bucket_of(round(chance.lognormvariate(7 + wave / 2, 0.7)))
            waits[wait] = waits.get(wait, 0) + 1
        for name, more in (
            ("submitted", began + chance.randrange(-2, 3)), ("started", began), ("completed", began - failed),
            ("failed", failed), ("run", began * 1_000), ("slot", began * 1_000),
            ("plan", round(max(0, 20_000 + 20_000 * wave))), ("worker", round(max(0, 6_000 + 7_000 * -wave))),
        ):  # fmt: skip
            sums[name] += max(0, more)
        told = (last - ago + 1) * 60_000 - 300
        sample = (organization_id, last - ago, told, *sums.values(), json.dumps(sorted(waits.items())))
        database.execute(f"INSERT OR REPLACE INTO usage VALUES ({', '.join('?' * len(sample))})", sample)
    database.execute(
        "UPDATE organization SET submitted = submitted + ?, completed = completed + ?, failed = failed + ?,"
        " slot_ms = slot_ms + ?, plan_limited_ms = plan_limited_ms + ?, worker_limited_ms = worker_limited_ms + ?"
        " WHERE id = ?",
        (*[sums[name] for name in ("submitted", "completed", "failed", "slot", "plan", "worker")], organization_id),
    )
    return sums


def fill(site: Site, receiver: Receiver) -> dict[str, str]:
    """Let tasks run, wait and fail; return the ids of some of them."""
    chance = random.Random(3)
    for name, limits in PLANS.items():
        site.admin("POST", "plans", name=name, **limits)
    site.admin("PATCH", "organizations/acme", plan="pro", slots=8, credits=True)
    site.admin("POST", "organizations/acme/credits/grants", amount=12_500, reason="November's invoice")
    receiver.answers["/renamed"] = (500, "no such hook: /renamed was moved to /v2/hooks")
    receiver.answers["/busy"] = (429, "slow down")
    keys = {"acme": KEY}
    for name, (plan, _, _) in ORGANIZATIONS.items():
        site.admin("POST", "organizations", name=name, plan=plan)
        keys[name] = site.admin("POST", f"organizations/{name}/keys", name="production")["value"]

    def submit(name: str, items: list[dict[str, Any]]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(items), BATCH):
            answer = site.api.post(
                "/v1/async/task/batch",
                json=items[start : start + BATCH],
                headers={"authorization": f"Bearer {keys[name]}"},
            )
            assert answer.status_code == 200, answer.text
            found += [result["task"]["id"] for result in answer.json()["results"] if result["success"]]
        return found

    def one(task_type: str, *, priority: int | None = None, key: str | None = None, **payload: Any) -> dict[str, Any]:
        return {
            "taskType": task_type,
            "payload": payload,
            "priority": priority or chance.choice([1, 3, 5, 5, 5, 8]),
        } | ({"idempotencyKey": key} if key else {})

    page: dict[str, Any] = {"url": "https://example.org/report/12", "pages": 12, "paper": "A4"}
    hook = {"url": receiver.url("/hooks/fairlane")}
    retried = submit(
        "acme",
        [
            one("RENDER_PDF", priority=8, key="invoice/2026-11/0042", broken=True, seconds=1.1, **page)
            | {"webhook": hook}
        ],
    )[0]
    done = submit(
        "acme", [one(name, seconds=0.1, country="NZ", **page) | {"webhook": hook} for name in TYPES for _ in range(3)]
    )
    submit(
        "acme",
        [one("THUMBNAIL", seconds=0.1) | {"webhook": {"url": receiver.url(path)}} for path in ("/renamed", "/busy")],
    )
    failed = submit("acme", [one("SCRAPE_PAGE", seconds=0.1, broken=True) for _ in range(12)])
    submit("acme", [one("IMPORT_ROWS", seconds=0.1) for _ in range(9)])
    for name in ("globex", "umbrella", "hooli", "stark"):
        submit(name, [one("SCRAPE_PAGE", seconds=0.05, broken=True) for _ in range(120)])
    submit("umbrella", [one("IMPORT_ROWS", seconds=0.05) for _ in range(14)])
    eventually(lambda: site.status_of(retried) == "COMPLETED", seconds=60)

    def is_idle(key: str) -> bool:
        status = site.api.get("/v1/async/status", headers={"authorization": f"Bearer {key}"}).json()
        return bool(status["queuedTasks"] == 0)

    for key in keys.values():
        eventually(partial(is_idle, key), seconds=90)
    running = submit(
        "acme",
        [
            one(name, seconds=50, country="NZ")
            for name in ("RENDER_PDF", "COMPARE_MODELS", "SCRAPE_PAGE", "COMPARE_MODELS", "THUMBNAIL", "RENDER_PDF")
        ],
    )
    for name, (_, _, busy) in ORGANIZATIONS.items():
        submit(
            name,
            [
                one(
                    chance.choice([kind for kind in TYPES if kind != "IMPORT_ROWS"]),
                    seconds=chance.choice([25, 40, 55, 80]),
                )
                for _ in range(busy)
            ],
        )
    time.sleep(1)
    waiting = submit(
        "acme",
        [one(chance.choice(list(TYPES)), seconds=3, country="NZ", key=f"nightly/{number:03}") for number in range(46)],
    )
    for name, (_, queue, _) in ORGANIZATIONS.items():
        submit(name, [one(chance.choice(list(TYPES)), seconds=2, country="NZ") for _ in range(queue)])
    for kind, threshold, seconds in (
        ("QUEUED_ABOVE", 40, 0),
        ("FAILURES_ABOVE", 50, 0),
        ("UTILIZATION_ABOVE", 0.9, 600),
    ):
        rule = {"kind": kind, "threshold": threshold, "forSeconds": seconds, "webhook": hook}
        assert site.api.post("/v1/alerts", json=rule).status_code == 200
    site.admin("PATCH", "organizations/wonka", paused=True)
    time.sleep(2.5)
    return {
        "task": retried,
        "failed-task": failed[0],
        "waiting-task": waiting[-1],
        "running-task": running[0],
        "done-task": done[4],
    }


def pages(
    site: Site, browser: Browser, found: dict[str, str], *, docs: bool, only: list[str]
) -> Iterator[tuple[str, Page]]:
    """Yield each page, ready, with the name of its picture."""
    tasks = {name: f"task/{one}" for name, one in found.items()}
    operator = {**OPERATOR, "operator-task": tasks["failed-task"]}
    for key, chosen in ((KEY, CUSTOMER | tasks), (site.admin_key, operator)):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="UTC")
        page = context.new_page()
        page.goto(f"{site.address}/dashboard")
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("navigation").get_by_role("link").first.wait_for()
        sections = dict(chosen)
        if key != KEY:
            group = page.evaluate(
                "async () => (await (await fetch('/dashboard/admin/v1/failures')).json()).failures[0].group"
            )
            sections["operator-failure"] = f"failures/{group}"
        for name, section in sections.items():
            if (docs and name not in DOCS) or (only and name not in only):
                continue
            page.goto(f"{site.address}/dashboard#/{section}")
            page.mouse.move(640, 5)
            page.locator("main").first.wait_for()
            if name in ("operator", "lanes"):
                page.locator(".lanes .lane .cell").first.wait_for()
            page.wait_for_timeout(1_800)
            for width, (across, down) in WIDTHS.items():
                if docs and width != "desk":
                    continue
                page.set_viewport_size({"width": across, "height": down})
                for scheme in ("light", "dark"):
                    if docs and scheme == "dark" and name not in DOCS_DARK:
                        continue
                    page.emulate_media(color_scheme=scheme)
                    page.wait_for_timeout(400)
                    dark = "" if scheme == "light" else "-dark"
                    yield f"dashboard-{DOCS[name]}{dark}" if docs else f"{name}-{width}{dark}", page
            page.emulate_media(color_scheme="light")
            page.set_viewport_size({"width": 1280, "height": 900})
        context.close()


if __name__ == "__main__":
    main()
