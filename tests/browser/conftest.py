"""A real server with workers, and a real browser: headless Chromium, driven by Playwright.

`make test-browser` runs what is here; files are named ``browser_*.py`` so that `make test` does not.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from fairlane.model.organizations import DEFAULT_PLAN, EVERY_ORGANIZATION, Overrides
from fairlane.rules.history import bucket_of
from fairlane.settings import Settings
from fairlane.store import Store

ROOT = Path(__file__).parents[2]
KEY = "sk_live_1234567890abcdef1234567890abcdef"
# Read at import: a fixture hides every variable of ours from the tests.
READS = (Path(__file__).parent / "reads.js").read_text("utf-8")
MAY_BE_LEFT_OUT = {
    "/dashboard/v1/async/task/{}.webhook",
    "/dashboard/v1/async/task/{}.response",
    "/dashboard/admin/v1/organizations.cursor",
    "/dashboard/admin/v1/tasks.cursor",
    "/dashboard/admin/v1/audit.cursor",
    "/dashboard/admin/v1/deliveries/hosts.cursor",
    "/dashboard/admin/v1/sessions.cursor",
}
"""Fields that the API describes as optional, and that the pages look for."""
MANY = 10_000
"""Organizations of the browser's server, beside those that tests make: all of the pages are seen with as many."""
GAP, BURST = frozenset(range(26, 31)), 20
"""Minutes ago in which no server ran, and in which far more started than before."""
CHROMIUM = os.environ.get("FAIRLANE_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
expect.set_options(timeout=20_000)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""A browser that asks nobody but us for anything; without the sandbox it also runs as root."""


def eventually(look: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    """What ``look`` returns once that is truthy."""
    give_up_at = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < give_up_at, f"not within {seconds} s"
        time.sleep(0.05)
    return found


class Receiver(ThreadingHTTPServer):
    """Takes every webhook, and keeps their bodies."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.requests: list[bytes] = []
        self.answers: dict[str, tuple[int, str]] = {}
        """Status and body of the answer at a path, if it is not 204; with 429 comes a Retry-After of an hour."""

    def url(self, path: str) -> str:
        """An address of it."""
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        """Keep it, say thank you."""
        self.server.requests.append(self.rfile.read(int(self.headers["content-length"])))
        status, body = self.server.answers.get(self.path, (204, ""))
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "3600")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


def plant(
    path: Path, more: Callable[[sqlite3.Connection], None] = lambda database: None, *, organizations: int = MANY
) -> None:
    """Make a database with many organizations, as copies of the row of one: creating each takes far longer.

    ``more`` writes what else is in it.
    """

    async def first() -> None:
        store = await Store.open(Settings(database=f"sqlite:///{path}"), {})
        await store.organizations.create("many-00000", plan=DEFAULT_PLAN, overrides=Overrides(slots=8), actor="a test")
        await store.close()

    # The browser's driver has a loop of its own in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, first()).result()
    with contextlib.closing(sqlite3.connect(path)) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(organization)")]
        copied = ", ".join({"id": "id + n", "name": "printf('many-%05d', n)"}.get(name, name) for name in columns)
        database.execute(
            f"WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {organizations - 1})"
            f" INSERT INTO organization ({', '.join(columns)}) SELECT {copied} FROM organization CROSS JOIN number"
        )
        database.execute("UPDATE installation SET last_organization_id = (SELECT max(id) FROM organization)")
        more(database)
        database.commit()


def an_hour_of_counts(database: sqlite3.Connection) -> None:
    """Write most of an hour of the type COUNTS: ten attempts a minute, one burst, and some minutes without a server."""
    last = time.time_ns() // 60_000_000_000 - 1
    for ago in set(range(50)) - GAP:
        started = 4_000 if ago == BURST else 10
        counts = json.dumps([[bucket_of(800), started - 1], [bucket_of(30_000), 1]])
        row = (EVERY_ORGANIZATION, last - ago, "COUNTS", "planted", started, started - 2, 2, counts, counts)
        database.execute(f"INSERT INTO type_usage VALUES ({', '.join('?' * len(row))})", row)


class Site:
    """A running server with one organization and an operator."""

    def __init__(
        self,
        folder: Path,
        *,
        planted: Callable[[sqlite3.Connection], None] = lambda database: None,
        organizations: int = MANY,
        app: str = "tests/browser/app.py:app",
        places: int = 4,
        acme: bool = True,
    ) -> None:
        """``planted`` writes into the database before the server starts; without ``acme``, that organization, too."""
        self._runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FAIRLANE_")},
            "XDG_RUNTIME_DIR": self._runtime,
            "FAIRLANE_DATABASE": f"sqlite:///{folder / 'site.db'}",
            "FAIRLANE_PUBLIC_ADMIN": "1",
            "FAIRLANE_PUBLIC_WORKERS": "1",
            "FAIRLANE_WEBHOOK_ALLOW_PRIVATE": "1",
            "FAIRLANE_SWEEP_SECONDS": "0.5",
        }
        plant(folder / "site.db", planted, organizations=organizations)
        self._log = (folder / "log").open("w")
        arguments = ["serve", app, "--port", "0", "--places", str(places), "--json"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fairlane", *arguments],
            stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT, env=self._environment,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address: str = json.loads(self._process.stdout.readline())["address"]
        self.pid = self._process.pid
        self.admin_key: str = self.fairlane("keys", "create", "--admin", "pat")["value"]
        self.api = httpx2.Client(base_url=self.address, headers={"authorization": f"Bearer {KEY}"}, timeout=20)
        operator = {"authorization": f"Bearer {self.admin_key}"}
        self._admin = httpx2.Client(base_url=f"{self.address}/admin/v1/", headers=operator, timeout=20)
        if acme:
            self.admin("POST", "organizations", name="acme", slots=3)
        self.admin("POST", "organizations/acme/keys", value=KEY)

    def fairlane(self, *arguments: str) -> Any:
        """What a command answers."""
        command = [sys.executable, "-m", "fairlane", *arguments, "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=self._environment, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def worker(self, app: str, key: str, **environment: str) -> subprocess.Popen[str]:
        """Start `fairlane worker` for this server."""
        command = [sys.executable, "-m", "fairlane", "worker", app, "--server", self.address]
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=self._log, text=True, cwd=ROOT,
            env=self._environment | environment | {"FAIRLANE_WORKER_KEY": key},
        )  # fmt: skip

    def admin(self, method: str, path: str, **body: Any) -> Any:
        """What the operators' API answers: a command is a process of its own, which takes far longer to start."""
        answer = self._admin.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, task_type: str, **options: Any) -> str:
        """An accepted task's id."""
        answer = self.api.post("/v1/async/task", json={"taskType": task_type, "payload": {}} | options)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task"]["id"])

    def status_of(self, task_id: str) -> str:
        """Where a task is."""
        return str(self.api.get(f"/v1/async/task/{task_id}").json()["task"]["status"])

    def close(self) -> None:
        """End it in order."""
        self.api.close()
        self._admin.close()
        self._process.terminate()
        assert self._process.stdout is not None
        with self._process.stdout:
            self._process.wait(40)
        self._log.close()
        shutil.rmtree(self._runtime)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for all of these tests."""
    site = Site(tmp_path_factory.mktemp("site"), planted=an_hour_of_counts)
    yield site
    site.close()


@pytest.fixture
def submit(site: Site) -> Iterator[Callable[..., str]]:
    """Submit a task that is canceled afterwards, however the test ends: the next one finds free slots."""
    submitted: list[str] = []

    def keep(task_type: str, **options: Any) -> str:
        submitted.append(site.submit(task_type, **options))
        return submitted[-1]

    yield keep
    for task_id in submitted:
        site.api.delete(f"/v1/async/task/{task_id}")
    eventually(lambda: site.api.get("/v1/async/status").json()["processingTasks"] == 0)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, as the system has it."""
    if CHROMIUM is None:
        pytest.fail("no Chromium: apt-get install chromium, or name one in FAIRLANE_TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def provoked() -> list[str]:
    """Parts of what the browser itself says on the console of failures that a test provokes."""
    return []


@pytest.fixture
def page(browser: Browser, site: Site, provoked: list[str]) -> Iterator[Page]:
    """An empty page. Afterwards: its console is silent, it asked the server alone, and it read only what was sent."""
    wrong: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in provoked):
            wrong.append(f"{message.type}: {message.text} {message.location}")

    def ask(request: Request) -> None:
        if not request.url.startswith((f"{site.address}/", "data:")):
            wrong.append(f"a request left: {request.url}")

    def read(place: str) -> None:
        if place not in MAY_BE_LEFT_OUT:
            wrong.append(f"the page reads what is not sent: {place}")

    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="UTC")
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.address)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", hear)
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("request", ask)
    # It is told at once: what the page itself kept would be gone after a navigation.
    page.expose_function("readsUnsent", read)
    page.add_init_script(READS)
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def enter(page: Page, site: Site) -> Callable[..., Page]:
    """Log in with a key and go to a section."""

    def go(section: str = "", *, key: str = KEY) -> Page:
        page.goto(f"{site.address}/dashboard#/{section}")
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("navigation").get_by_role("link").first.wait_for()
        return page

    return go


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where webhooks go."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, name="receiver")
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


def card(page: Page, name: str) -> Any:
    """The number on the card of this name."""
    return page.locator(".card", has=page.get_by_text(name, exact=True)).locator("dd")


def agree(place: Any, name: str, *, page: Page | None = None, answer: bool = True) -> str:
    """Click a button that asks first, and say yes; what it asked."""
    asked: list[str] = []

    def decide(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept() if answer else dialog.dismiss()

    page = page or place
    page.once("dialog", decide)
    with page.expect_event("dialog"):  # some ask the server before they ask the person
        place.get_by_role("button", name=name).click()
    [question] = asked
    return question


def barriers(page: Page, address: str, sections: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """What axe finds that is serious: the section, the scheme, the rule, and the element.

    In the dark only the contrast is checked: nothing else depends on the scheme.
    """
    found = []
    for section in sections:
        page.goto(f"{address}/dashboard#/{section}")
        page.locator("h1").wait_for(state="attached")
        page.wait_for_timeout(500)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # A transition would be seen halfway.
            rules = "" if scheme == "light" else ", runOnly: ['color-contrast']"
            checked = page.evaluate(f"axe.run(document, {{resultTypes: ['violations']{rules}}})")
            found += [
                (section, scheme, one["id"], one["nodes"][0]["html"])
                for one in checked["violations"]
                if one["impact"] in ("serious", "critical")
            ]
        page.emulate_media(color_scheme="light")
    return found


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
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"npm cannot bring axe-core here: {error}")
    return source.read_text("utf-8")
