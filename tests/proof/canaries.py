"""``python -m tests.proof.canaries``: secrets of known values go through an installation; what comes out is searched.

On each database: every route of every listener is sent every kind of key, right and wrong bodies; commands run with
keys in their variables; tasks fail with their payload in the text of the exception; webhooks are signed and tried;
people log in to the dashboard. Meanwhile the arguments of all processes are read. At the end the logs (at DEBUG), all
answers, the files of the database or all rows of all tables, and a backup are searched for each secret.
"""

import argparse
import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx2

from tests.api.house import NO_TLS, House
from tests.canaries import canaries_in, files_with
from tests.chaos.parties import ROOT, Installation, installed
from tests.postgres import at_once, execute
from tests.proof.receiver import Receiver

APP = "tests/proof/app.py:app"
ORGANIZATION, DATABASE, ROLE = "canaries", "canaries", "app"
UNKNOWN_ID = "0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11"
SETTLE_SECONDS = 40.0
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
DATA = ("payload", "result", "hook")
"""What the database stores as it is, and what its organization and operators may read. Logs never have it."""
COMMANDS = (
    "audit", "doctor --json", "drift", "failures", "keys list", "keys list canaries", "maintenance", "plans list",
    "organizations list --json", "organizations show canaries --json", "sessions list", "settings", "status",
    "usage export", "slots", "capacity", "tasks list", "tasks mine", "tasks bulks canaries", "why canaries",
    "webhooks secrets list canaries",
    "credits show canaries", "credits history canaries", "keys create nobody", "keys create canaries --value sk_bad",
    "submit UNKNOWN {}", "wait nothing", "cancel nothing", "keys revoke nothing", "version", "migrate", "login nowhere",
)  # fmt: skip
"""Commands that run beside a server and end by themselves, also those that are refused."""


class Route(NamedTuple):
    """A method at a path of one listener."""

    method: str
    path: str


class Canaries:
    """One run on one database."""

    def __init__(self, installation: Installation, *, plant: bool = False) -> None:
        self._installation = installation
        self._receiver = Receiver()
        self.secrets: dict[str, str] = {
            "admin key": installation.admin_key,
            "sealing key": secrets.token_hex(32),
            "password": secrets.token_hex(16),
            "payload": f"payload{secrets.token_hex(12)}",
            "hook": f"hook{secrets.token_hex(12)}",
            "unknown key": f"sk_live_{secrets.token_hex(16)}",
        }
        self._plant = plant
        self.found: list[str] = []
        self.answers = 0
        self.processes: set[str] = set()
        self._over = threading.Event()

    def prepare(self) -> None:
        """Make the database with a password, start the programs, and make the other secrets."""
        variables = {
            "FAIRLANE_SECRET_KEY": self.secrets["sealing key"], "FAIRLANE_LOG_LEVEL": "DEBUG",
            "FAIRLANE_LOG_FORMAT": "json", "FAIRLANE_WEBHOOK_TIMEOUT_SECONDS": "1",
        }  # fmt: skip
        cluster = self._installation.cluster
        if cluster is not None:
            password = self.secrets["password"]
            at_once(partial(execute, cluster.address, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password}'"))
            at_once(partial(execute, cluster.address, f"CREATE DATABASE {DATABASE} OWNER {ROLE}"))
            variables["FAIRLANE_DATABASE"] = f"postgresql://{ROLE}:{password}@/{DATABASE}?host={cluster.folder}"
        if self._plant:
            variables["PLANT"] = "tells"
        self._installation.environment |= variables
        for server in self._installation.servers:
            server.environment |= variables
        threading.Thread(target=self._watch, daemon=True).start()
        self._installation.prepare()
        with self._installation.operator() as operator:
            path = f"/admin/v1/organizations/{ORGANIZATION}"
            _read(operator.post("/admin/v1/organizations", json={"name": ORGANIZATION}))
            made = {
                "key": (f"{path}/keys", {}),
                "worker key": ("/admin/v1/keys", {"kind": "worker", "name": "workers"}),
                "webhook secret": (f"{path}/webhook-secrets", {}),
            }
            for name, (place, body) in made.items():
                self.secrets[name] = _read(operator.post(place, json=body))["value"]
        self._installation.add_workers(self.secrets["worker key"])
        del self._installation.workers[1:]
        self._installation.workers[0].start()

    # What happens ----------------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Let tasks end and fail, webhooks be sent, people log in; send everything to every route; run commands."""
        self._work()
        self._log_in()
        for route in routes():
            for name in ("key", "worker key", "admin key", "unknown key"):
                self.ask(route, name)
        for command in COMMANDS:
            self._run(command)
        self._over.set()

    def _work(self) -> None:
        address, headers = self._installation.addresses[0], {"authorization": f"Bearer {self.secrets['key']}"}
        with httpx2.Client(base_url=address, headers=headers, timeout=30, verify=NO_TLS) as customer:
            for kind in ("WORK", "QUOTES", "UNKNOWN"):
                for hook in (self._receiver.url, "http://127.0.0.1:1024/"):
                    body = {
                        "taskType": kind,
                        "payload": {"secret": self.secrets["payload"]},
                        "idempotencyKey": f"{kind}-{len(hook)}",
                        "webhook": {"url": f"{hook}{self.secrets['hook']}"},
                    }
                    self._search("POST /v1/async/task", customer.post("/v1/async/task", json=body), allowed=DATA)
            give_up_at = time.monotonic() + SETTLE_SECONDS
            while time.monotonic() < give_up_at:
                page = customer.get("/v1/webhooks/deliveries").json()
                tries = page.get("deliveries", page.get("items", []))
                if tries and all(one["status"] != "PENDING" for one in tries):
                    break
                time.sleep(0.2)

    def _log_in(self) -> None:
        for name in ("key", "admin key", "unknown key"):
            with httpx2.Client(base_url=self._installation.addresses[0], timeout=30, verify=NO_TLS) as browser:
                answer = browser.post("/dashboard/login", json={"key": self.secrets[name]}, headers=SAME_SITE)
                self._search(f"POST /dashboard/login with the {name}", answer)
                for cookie in answer.cookies.jar:
                    self.secrets[f"cookie of the {name}"] = str(cookie.value).rpartition(".")[2]
                self._search("GET /dashboard/session", browser.get("/dashboard/session"))
                self._search("GET /dashboard", browser.get("/dashboard"))

    def ask(self, route: Route, name: str) -> None:
        """Send one kind of key to a route: with no body, one that it may take, and one that it cannot."""
        value, hook = self.secrets["payload"], f"{self._receiver.url}{self.secrets['hook']}"
        bodies: list[Any] = [None]
        if route.method in ("POST", "PUT", "PATCH"):
            bodies += [
                {
                    "taskType": "WORK",
                    "payload": {"secret": value},
                    "webhook": {"url": hook},
                    "url": hook,
                    "name": "other",
                },
                {value: hook, "key": self.secrets[name], "secret": [value]},
            ]
        path = route.path.replace("{}", UNKNOWN_ID)
        headers = {"authorization": f"Bearer {self.secrets[name]}"}
        for number, body in enumerate(bodies):
            address = self._installation.addresses[number % len(self._installation.addresses)]
            with (
                contextlib.suppress(httpx2.TransportError),
                httpx2.Client(base_url=address, headers=headers, timeout=5, verify=NO_TLS) as client,
                client.stream(route.method, path, json=body) as answer,
            ):
                if answer.headers.get("content-type") != "text/event-stream":
                    answer.read()
                    self._search(f"{route.method} {route.path} with the {name}", answer, allowed=DATA)

    def _run(self, command: str) -> None:
        environment = self._installation.environment | {
            "FAIRLANE_API_KEY": self.secrets["key"], "FAIRLANE_WORKER_KEY": self.secrets["worker key"],
            "FAIRLANE_ADMIN_KEY": self.secrets["admin key"], "FAIRLANE_URL": self._installation.addresses[0],
            "FAIRLANE_ADDRESS": self._installation.addresses[0],
        }  # fmt: skip
        ran = subprocess.run(
            [sys.executable, "-m", "fairlane", *command.split()],
            capture_output=True, cwd=ROOT, env=environment, check=False, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.answers += 1
        self._note(f"fairlane {command}", ran.stdout + ran.stderr, allowed=DATA)

    def _watch(self) -> None:
        """Read the arguments of every process of this run, again and again."""
        while not self._over.wait(0.05):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    if b"fairlane" in (arguments := place.read_bytes()):
                        self.processes.add(place.parent.name)
                        self._note("the arguments of a process", arguments)

    # What is searched ------------------------------------------------------------------------------------------------

    def _search(self, place: str, answer: httpx2.Response, *, allowed: tuple[str, ...] = ()) -> None:
        self.answers += 1
        cookies = [name for name in self.secrets if name.startswith("cookie")]
        said = "".join(f"{name}: {value}\n" for name, value in answer.headers.items() if name != "set-cookie")
        self._note(f"{place}: {answer.status_code}", answer.content + said.encode(), allowed=(*allowed, *cookies))

    def _note(self, place: str, text: bytes, *, allowed: tuple[str, ...] = ()) -> None:
        self.found += [f"{place}: {name}" for name in canaries_in(text, dict(self.secrets)) if name not in allowed]

    def search(self) -> None:
        """Make a backup and end the programs; search the logs, the database and the backup."""
        stored = {name: value for name, value in self.secrets.items() if name not in DATA}
        for name, text in self._rows():
            self._note(name, text, allowed=DATA)
        folder = self._installation.folder
        if self._installation.cluster is None:
            self._run(f"backup {folder}/copy.db")
        self.found += self._installation.end()
        self.found += files_with([folder], self.secrets, "*.log")
        self.found += files_with([folder], stored, "*.db*")
        self._receiver.close()

    def _rows(self) -> Iterator[tuple[str, bytes]]:
        """Yield each table of a PostgreSQL, with all of its rows."""
        cluster = self._installation.cluster
        if cluster is None:
            return

        async def read() -> dict[str, str]:
            connection = await asyncpg.connect(cluster.database(DATABASE))
            try:
                names = [row[0] for row in await connection.fetch(TABLES)]
                return {
                    name: "\n".join(
                        str(row[0]) for row in await connection.fetch(f"SELECT CAST(one AS text) FROM {name} AS one")
                    )
                    for name in names
                }
            finally:
                await connection.close()

        for name, text in at_once(read).items():
            yield f"the table {name}", text.encode()


SAME_SITE = {"sec-fetch-site": "same-origin"}


def routes() -> list[Route]:
    """Return every route of every listener. A server of its own says which there are."""
    with (
        tempfile.TemporaryDirectory(prefix="fairlane-canaries-") as folder,
        House(Path(folder), admin_port=0, public_admin=True, public_workers=True) as house,
    ):
        found = {
            Route(method, resource.path)
            for surface in house.server.surfaces.values()
            for resource in surface.resources
            for method in resource.methods
        }
    return sorted(found)


def _read(answer: httpx2.Response) -> Mapping[str, Any]:
    answer.raise_for_status()
    read: Mapping[str, Any] = json.loads(answer.content)
    return read


def run(database: str, *, plant: bool = False) -> Canaries:
    """Run on one database. With a plant, only what a few requests make is searched."""
    with installed("canaries", database, app=APP) as installation:
        made = Canaries(installation, plant=plant)
        made.prepare()
        if plant:
            made.ask(Route("GET", "/v1/async/status"), "key")
        else:
            made.go()
        made.search()
    return made


def main() -> int:
    """Run; return 0 if nothing was found but what was planted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="on this one alone")
    chosen = parser.parse_args()
    broken = False
    for database in [chosen.database] if chosen.database else ["sqlite", "postgres"]:
        began = time.monotonic()
        made = run(database)
        broken = broken or bool(made.found)
        counts = f"{len(made.secrets)} secrets, {made.answers} answers, {len(made.processes)} processes"
        places, seconds = len(set(made.found)), time.monotonic() - began
        print(f"canaries on {database}: {counts}, {places} places with a secret, {seconds:.0f} s")
        print(*(f"    BROKEN {one}" for one in sorted(set(made.found))[:20]), sep="\n", end="\n" if made.found else "")
    control = run("sqlite", plant=True)
    print(f"  control, a server that logs each key: {len(set(control.found))} places with a secret")
    return int(broken or not control.found)


if __name__ == "__main__":
    sys.exit(main())
