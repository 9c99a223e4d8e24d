"""``python -m tests.proof.network``: a fault at each message of each operation, on both sides of the commit.

A matrix of operation, message and fault. HTTP between client and server, between worker and server and between server
and webhook receiver, on SQLite and PostgreSQL; and PostgreSQL's own protocol between server and database. After each
fault the caller sends the same request again, as clients and workers do, until it is answered. Then the rows are
compared with what the caller was told.
"""

import argparse
import contextlib
import itertools
import logging
import os
import queue
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from fairlane import sweeper
from fairlane.client import WebhookInvalid, verify
from fairlane.handlers import Fairlane
from fairlane.store.postgres import connection
from fairlane.store.postgres.writing import Writer
from fairlane.webhooks import sender
from tests.api.house import NO_TLS, House
from tests.cluster import join
from tests.proof.proxy import Fault, Point, Proxy, Strike, lead_to
from tests.proof.receiver import Receiver

AT_ONCE = 6
"""HTTP cells that run at the same time, each behind a proxy of its own."""
PATIENCE_SECONDS = 1.0
"""How long the caller of an HTTP cell waits before it sends again."""
ANSWER_SECONDS = 2.0
"""How long a request may take while the database does not answer."""
BACK_SECONDS = 3.0
"""How long after a fault the same request may still be refused."""
HELD_SECONDS = 7.0
"""The same after a stall of the database's line: its transaction holds its locks for five seconds more."""
BUSY_SECONDS = 2.0
"""What a busy machine may add."""
TRIES_MOST = 5
NEVER = 10**6
"""The number of a message that does not come."""
QUIET: dict[str, Any] = {
    "public_workers": True,
    "pg_notify": "off",
    "sweep_seconds": 3_600,
    "lease_seconds": 7_200,
    "renew_seconds": 3_600,
    "webhook_allow_private": True,
    "webhook_timeout_seconds": PATIENCE_SECONDS,
    "webhook_pauses_seconds": "0.1,0.1,0.1,0.1",
    "retry_pause_seconds": 0,
    "rate_limit": 1_000_000,
    "free_disk_floor_bytes": 0,
}
"""Settings under which the server does nothing by itself that could meet a fault in the place of an operation."""


Exchange = tuple[tuple[str, ...], int, int]
"""The statements of an exchange with PostgreSQL, and the numbers of its requests and answers."""


class Cell(NamedTuple):
    """One field of the matrix."""

    line: str
    operation: str
    point: Point
    fault: Fault
    names: tuple[str, ...] = ()
    """PostgreSQL: the statements of the exchange."""

    def __str__(self) -> str:
        which = f" of {self.names[min(len(self.names) - 1, 2)]}…" if self.names else ""
        return f"{self.line}, {self.operation}: {self.fault.value} at {self.point}{which}"


@dataclass
class Scene:
    """One operation of one organization, and what its callers are told."""

    house: House
    worker_key: str
    receiver: Receiver
    task_type: str
    cell: Cell
    proxy: Proxy
    """The one that the fault happens at."""
    by_proxy: bool
    """HTTP goes through it, too."""
    problems: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    """With PostgreSQL, while the fault could happen."""

    def __post_init__(self) -> None:
        customer = self.house.customer(slots=2)
        self.name, self.key = customer.name, str(customer.key["value"])
        self.patience = PATIENCE_SECONDS if self.by_proxy else 20.0
        self.session = self.register()

    def expect(self, holds: bool, words: str) -> None:
        """Note a problem, unless this holds."""
        if not holds:
            self.problems.append(words)

    # Requests --------------------------------------------------------------------------------------------------------

    def once(self, method: str, path: str, body: Any = None, *, worker: bool = False, far: bool = False) -> Any:
        """Send one request; return its answer, or None if none came. ``far``: through the proxy of an HTTP cell."""
        base = self.proxy.url if far and self.by_proxy else self.house.server.address
        headers = {"authorization": f"Bearer {self.worker_key if worker else self.key}"}
        began = time.monotonic()
        status, answer = 0, None
        patience = self.patience if far else 20.0
        client = httpx2.Client(base_url=base, headers=headers, timeout=patience, verify=NO_TLS)
        with client, contextlib.suppress(httpx2.TransportError):
            answer = client.request(method, path, json=body)
            status = answer.status_code
        took = time.monotonic() - began
        if far:
            self.answers.append(f"{status or 'none'} after {took:.1f} s")
            most = self.patience if self.by_proxy else ANSWER_SECONDS
            self.expect(took <= most + BUSY_SECONDS, f"a request took {took:.1f} s")
            if status == 503 and answer is not None:
                self.expect("retry-after" in answer.headers, "503 without Retry-After")
        return answer

    def repeat(
        self, method: str, path: str, body: Any = None, *, worker: bool = False, ends: tuple[int, ...] = (200,)
    ) -> Any:
        """Send the same request until it is answered with one of these statuses; return that answer."""
        began = time.monotonic()
        held = not self.by_proxy and self.cell.fault is Fault.STALL
        most = self.patience * self.by_proxy + (HELD_SECONDS if held else BACK_SECONDS) + BUSY_SECONDS
        while True:
            answer = self.once(method, path, body, worker=worker, far=True)
            if answer is not None and answer.status_code in ends:
                return answer
            if answer is not None and answer.status_code != 503:
                raise Broken(f"{method} {path}: {answer.status_code}: {answer.text[:300]}")
            if time.monotonic() > began + most:
                raise Broken(f"{method} {path}: no answer within {most:.0f} s")
            time.sleep(0.02)

    def sure(self, method: str, path: str, body: Any = None, *, worker: bool = False) -> Any:
        """Send a request beside the proxy that must be answered with 200; return the body."""
        answer = self.once(method, path, body, worker=worker)
        if answer is None or answer.status_code != 200:
            raise Broken(f"{method} {path}: {'no answer' if answer is None else answer.text}")
        return answer.json()

    @contextlib.contextmanager
    def struck(self) -> Iterator[None]:
        """Let the fault happen in this block, and what was held back arrive at its end."""
        strike = Strike(self.cell.fault, self.cell.point, self.cell.names)
        known = len(self.proxy.log)
        self.proxy.strike = strike
        try:
            yield
            if not strike.struck.wait(0 if self.by_proxy else 0.5):
                self.problems.append("the message never came")
            self.proxy.deliver_late()
        finally:
            self.exchanges = self.proxy.log[known:]
            self.proxy.strike = None
            self.proxy.release()

    # Workers and customers -------------------------------------------------------------------------------------------

    def register(self) -> str:
        """Register a worker process of this cell's type."""
        body = {"name": "proof/1", "types": [self.task_type], "places": 5}
        return str(self.sure("POST", "/worker/v1/sessions", body, worker=True)["session"])

    def task(self, **options: Any) -> dict[str, Any]:
        """Return the body of a submit."""
        return {"taskType": self.task_type, "payload": {}} | options

    def submitted(self, **options: Any) -> str:
        """Submit a task beside the proxy; return its id."""
        return str(self.sure("POST", "/v1/async/task", self.task(**options))["task"]["id"])

    def exchange(self, places: int = 0, *reports: dict[str, Any], wait_seconds: float = 0.0) -> dict[str, Any]:
        """Return the body of an exchange."""
        return {
            "session": self.session,
            "id": secrets.token_hex(8),
            "places": places,
            "reports": list(reports),
            "wait_seconds": wait_seconds,
        }

    def claimed(self) -> dict[str, Any]:
        """Claim one attempt beside the proxy."""
        leases = self.sure("POST", "/worker/v1/exchange", self.exchange(1), worker=True)["leases"]
        if len(leases) != 1:
            raise Broken(f"{len(leases)} leases for one place")
        return dict(leases[0])

    def settle(self, lease: dict[str, Any]) -> str:
        """Report an attempt beside the proxy; return the verdict."""
        answer = self.sure("POST", "/worker/v1/exchange", self.exchange(0, completed(lease)), worker=True)
        return str(answer["verdicts"][0])

    def status(self) -> dict[str, Any]:
        """Return the status."""
        return dict(self.sure("GET", "/v1/async/status"))

    def find(self, reference: str) -> dict[str, Any]:
        """Return a task as its organization sees it."""
        return dict(self.sure("GET", f"/v1/async/task/{reference}")["task"])

    def finish(self) -> None:
        """Run what is left, then compare the counts and the outcomes with the rows."""
        for _ in range(20):
            leases = self.sure("POST", "/worker/v1/exchange", self.exchange(5), worker=True)["leases"]
            if not leases:
                break
            reports = [completed(lease) for lease in leases]
            self.sure("POST", "/worker/v1/exchange", self.exchange(0, *reports), worker=True)
        status = self.status()
        drift = [one for one in self.house.call(self.house.store.recount.find()) if one.organization == self.name]
        self.expect(not drift, f"a count drifted: {drift}")
        self.expect(status["concurrency"]["used"] == 0, f"a slot is still taken: {status}")
        self.expect((status["queuedTasks"], status["processingTasks"]) == (0, 0), f"work is left: {status}")
        states = Counter(one["task"]["status"] for one in self.sure("GET", "/v1/async/tasks?limit=100")["tasks"])
        kept = self.house.call(self.house.store.organizations.find(self.name))
        self.expect(
            (kept.submitted, kept.completed, kept.failed) == (states.total(), states["COMPLETED"], states["FAILED"]),
            f"the totals {kept} are not those of the tasks {states}",
        )


class Broken(Exception):
    """A promise was broken so that the cell cannot go on."""


def completed(lease: dict[str, Any]) -> dict[str, Any]:
    """Return the report of an attempt that ended well."""
    return {"lease": lease["lease"], "outcome": "completed", "result": {"lease": lease["lease"]}}


# The operations ------------------------------------------------------------------------------------------------------


def submit(scene: Scene) -> None:
    """One task with a key."""
    with scene.struck():
        answer = scene.repeat("POST", "/v1/async/task", scene.task(idempotencyKey="key"), ends=(200, 409))
    found = scene.find("key")
    if answer.status_code == 200:
        scene.expect(answer.json()["task"]["id"] == found["id"], "the key names another task")
    again = scene.once("POST", "/v1/async/task", scene.task(idempotencyKey="key"))
    scene.expect(again.status_code == 409, f"a used key is answered {again.status_code}")
    scene.expect(scene.status()["queuedTasks"] == 1, "not one task was made")


def unkeyed(scene: Scene) -> None:
    """One task without a key, which is sent once."""
    with scene.struck():
        answer = scene.once("POST", "/v1/async/task", scene.task(), far=True)
    made = scene.status()["queuedTasks"]
    arrived = 2 if scene.cell.fault is Fault.TWICE else 1
    told = answer is not None and answer.status_code == 200
    scene.expect(answer is None or answer.status_code in (200, 503), "an answer that is neither 200 nor 503")
    scene.expect(made == arrived if told else made <= arrived, f"{made} tasks were made of {arrived} requests")


def batch(scene: Scene) -> None:
    """Three tasks with keys in one request."""
    bodies = [scene.task(idempotencyKey=f"key-{number}") for number in range(3)]
    with scene.struck():
        answer = scene.repeat("POST", "/v1/async/task/batch", bodies, ends=(200, 409))
    for number, result in enumerate(answer.json()["results"]):
        found = scene.find(f"key-{number}")
        known = result["success"] or result["error"]["code"] == "RESOURCE_ALREADY_EXISTS"
        scene.expect(known, f"an item is answered {result}")
        scene.expect(not result["success"] or result["task"]["id"] == found["id"], "the key names another task")
    scene.expect(scene.status()["queuedTasks"] == 3, "not three tasks were made")


def status(scene: Scene) -> None:
    """The status of a queue with one ready and one running task."""
    scene.submitted()
    scene.submitted()
    scene.claimed()
    with scene.struck():
        body = scene.repeat("GET", "/v1/async/status").json()
    scene.expect((body["queuedTasks"], body["processingTasks"]) == (1, 1), f"wrong counts: {body}")
    scene.sure("DELETE", f"/worker/v1/sessions/{scene.session}", {"reason": "drained"}, worker=True)
    scene.session = scene.register()


def cancel(scene: Scene) -> None:
    """A cancel request for a queued task."""
    task_id = scene.submitted()
    with scene.struck():
        scene.repeat("DELETE", f"/v1/async/task/{task_id}", ends=(200, 409))
    scene.expect(scene.find(task_id)["status"] == "FAILED", "a canceled task goes on")


def exchange(scene: Scene) -> None:
    """An exchange that claims; a worker repeats it with the same id."""
    scene.submitted()
    scene.submitted()
    with scene.struck():
        leases = scene.repeat("POST", "/worker/v1/exchange", scene.exchange(1), worker=True).json()["leases"]
    scene.expect(len(leases) == 1, f"{len(leases)} leases for one place")
    state = scene.status()
    scene.expect(state["concurrency"]["used"] == 1, f"a slot is taken that no worker knows: {state}")
    scene.expect([lease["attempt"] for lease in leases] == [1], "an attempt was counted twice")
    for lease in leases:
        scene.expect(scene.settle(lease) == "accepted", "the lease that the worker received is gone")


def report(scene: Scene) -> None:
    """An exchange that reports a result and claims the next attempt."""
    first = scene.submitted()
    scene.submitted()
    lease = scene.claimed()
    with scene.struck():
        body = scene.exchange(1, completed(lease))
        answer = scene.repeat("POST", "/worker/v1/exchange", body, worker=True).json()
    scene.expect(answer["verdicts"] == ["accepted"], f"the verdict is {answer['verdicts']}")
    scene.expect(len(answer["leases"]) == 1, f"{len(answer['leases'])} leases for one place")
    scene.expect(scene.find(first)["status"] == "COMPLETED", "the reported task did not end")
    scene.expect(scene.status()["concurrency"]["used"] == 1, "a slot was not freed, or freed twice")
    scene.settle(answer["leases"][0])


def renew(scene: Scene) -> None:
    """A renewal of a session that holds a lease."""
    scene.submitted()
    lease = scene.claimed()
    path = f"/worker/v1/sessions/{scene.session}/renew"
    with scene.struck():
        answer = scene.repeat("POST", path, {"leases": [lease["lease"]], "exchanges": []}, worker=True).json()
    scene.expect(answer["cancel"] == [], f"the renewal is answered {answer}")
    scene.expect(scene.settle(lease) == "accepted", "the lease was taken from a session that renews")


def end(scene: Scene) -> None:
    """The end of a session that holds a lease."""
    scene.submitted()
    scene.claimed()
    with scene.struck():
        path = f"/worker/v1/sessions/{scene.session}"
        scene.repeat("DELETE", path, {"reason": "lost"}, worker=True, ends=(200, 410))
    scene.session = scene.register()
    again = scene.claimed()
    scene.expect(again["attempt"] == 2, f"the attempt after a lost one has number {again['attempt']}")
    scene.settle(again)


def call(scene: Scene) -> None:
    """A call, while a worker runs what it gets."""
    over = threading.Event()
    ran: set[str] = set()

    def work() -> None:
        reports: list[dict[str, Any]] = []
        while not over.is_set() or reports:
            body = scene.exchange(1, *reports, wait_seconds=0.1)
            answer = scene.once("POST", "/worker/v1/exchange", body, worker=True)
            if answer is None or answer.status_code != 200:
                time.sleep(0.05)
                continue
            leases = answer.json()["leases"]
            ran.update(lease["lease"] for lease in leases)
            reports = [completed(lease) for lease in leases]

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            with scene.struck():
                answer = scene.repeat("POST", f"/v1/monitor/{scene.task_type.lower()}", {})
        finally:
            over.set()
        working.result(30)
    scene.expect(answer.json()["result"]["lease"] in ran, "a result that no handler came to")


def webhook(scene: Scene) -> None:
    """The message that tells the outcome of a task."""
    made = scene.house.admin.post(f"/admin/v1/organizations/{scene.name}/webhook-secrets", json={}).json()
    url = f"{scene.proxy.url}/hook" if scene.by_proxy else scene.receiver.url
    with scene.struck():
        task_id = scene.submitted(webhook={"url": url})
        scene.settle(scene.claimed())
        give_up_at = time.monotonic() + PATIENCE_SECONDS + HELD_SECONDS + sender.CLAIM_SECONDS + 2 * BUSY_SECONDS
        while not (told := scene.sure("GET", "/v1/webhooks/deliveries")["deliveries"]) or not told[0]["delivered"]:
            if time.monotonic() > give_up_at:
                raise Broken(f"the message was not delivered: {told}")
            time.sleep(0.02)
    tries = scene.receiver.tries.pop(task_id, [])
    scene.expect(bool(tries), "a message is recorded as delivered that never arrived")
    scene.expect(len(tries) <= TRIES_MOST, f"{len(tries)} tries")
    for one in tries:
        try:
            verify(made["value"], one.headers, one.body)
        except WebhookInvalid as error:
            scene.problems.append(f"a message is not signed: {error}")


OPERATIONS: dict[str, Callable[[Scene], None]] = {
    one.__name__: one for one in (submit, unkeyed, batch, status, cancel, exchange, report, renew, end, call, webhook)
}
MARKS = {
    "submit": {"insert_tasks"},
    "unkeyed": {"insert_tasks"},
    "batch": {"insert_tasks"},
    "status": {"find_statuses"},
    "cancel": {"insert_outcomes"},
    "exchange": {"insert_leases"},
    "report": {"insert_outcomes"},
    "renew": {"renew_session"},
    "end": {"end_session"},
    "call": {"insert_calls", "end_calls"},
    "webhook": {"claim_deliveries", "update_deliveries"},
}
"""By operation, statements of the exchanges with PostgreSQL that belong to it."""


# The matrix ----------------------------------------------------------------------------------------------------------


def http_cells(line: str) -> list[Cell]:
    """Return every cell of HTTP on one database."""
    points = [Point(up, 0, half) for up in (True, False) for half in (False, True)]
    cells = []
    for operation in OPERATIONS:
        for point, fault in itertools.product(points, (Fault.CUT, Fault.RESET, Fault.STALL)):
            cells.append(Cell(line, operation, point, fault))
        # A request of a call that comes late is a call of its own: it would wait for a worker.
        for fault in (Fault.TWICE,) if operation == "call" else (Fault.TWICE, Fault.LATE):
            cells.append(Cell(line, operation, Point(True, 0), fault))
    return cells


def database_cells(exchanges: dict[str, list[Exchange]]) -> list[Cell]:
    """Return every cell of PostgreSQL's protocol: each request before it passes, each answer whole and half."""
    cells = []
    for operation, found in exchanges.items():
        for names, requests, answers in found:
            points = [Point(True, number) for number in range(requests)]
            points += [Point(False, number, half) for number in range(answers) for half in (False, True)]
            cells += [
                Cell("server and PostgreSQL", operation, point, fault, names)
                for point, fault in itertools.product(points, (Fault.CUT, Fault.RESET, Fault.STALL))
            ]
    return cells


def once_each(cells: list[Cell], chance: random.Random) -> list[Cell]:
    """Return one cell for each operation and fault, at a message chosen at random."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.operation, cell.fault), []).append(cell)
    return [chance.choice(group) for group in groups.values()]


@dataclass
class Verdict:
    """What came of one cell."""

    cell: Cell
    problems: list[str]
    answers: list[str]
    exchanges: list[Exchange]
    seconds: float


class Bench:
    """A server on one database, with lines that can fail."""

    def __init__(self, house: House, receiver: Receiver, line: Proxy | None) -> None:
        self._house = house
        self._receiver = receiver
        self._line = line
        made = house.admin.post("/admin/v1/keys", json={"kind": "worker", "name": "proof"}).json()
        self._worker_key = made["value"]
        self._types: queue.SimpleQueue[str] = queue.SimpleQueue()
        for number in range(AT_ONCE):
            self._types.put(f"T{number}")

    def run(self, cell: Cell) -> Verdict:
        """Run one cell."""
        task_type, began = self._types.get(), time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                proxy = self._line
                if not cell.names:
                    target = self._receiver.address if cell.operation == "webhook" else self._address()
                    proxy = stack.enter_context(Proxy(target).carrying())
                assert proxy is not None
                scene = Scene(self._house, self._worker_key, self._receiver, task_type, cell, proxy, not cell.names)
                try:
                    OPERATIONS[cell.operation](scene)
                    scene.finish()
                except Broken as error:
                    scene.problems.append(str(error))
                except Exception as error:
                    scene.problems.append(f"{type(error).__name__}: {error}")
            if scene.problems:  # what it left must not be claimed by the next cell
                self._house.admin.patch(f"/admin/v1/organizations/{scene.name}", json={"paused": True})
            return Verdict(cell, scene.problems, scene.answers, scene.exchanges, time.monotonic() - began)
        finally:
            self._types.put(task_type)

    def exchanges(self, operations: Iterable[str] = ()) -> dict[str, list[Exchange]]:
        """Run each of these operations without a fault; return its exchanges with PostgreSQL."""
        assert self._line is not None
        found = {}
        for operation in operations or OPERATIONS:
            # The second run meets prepared statements and a cached key.
            nowhere = Cell("", operation, Point(True, NEVER), Fault.CUT, ("",))
            log = [self.run(nowhere).exchanges for _ in range(2)][-1]
            found[operation] = list({one[0]: one for one in log if MARKS[operation] & set(one[0])}.values())
        return found

    def _address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self._house.server.address.rpartition(":")[2])


def an_application() -> Fairlane:
    """Return an application with a type for each cell that runs at the same time."""
    app = Fairlane()

    def declare(name: str) -> None:
        @app.task(name, attempts=5)
        def handler(payload: dict[str, Any]) -> dict[str, Any]:
            return payload

    for number in range(AT_ONCE):
        declare(f"T{number}")
    return app


@contextlib.contextmanager
def bench(folder: Path, database: str | None) -> Iterator[Bench]:
    """Start a server on a database behind a proxy, or on SQLite."""
    receiver = Receiver()
    with contextlib.ExitStack() as stack:
        stack.callback(receiver.close)
        chosen, line = dict(QUIET), None
        if database is not None:
            line, address = lead_to(database)
            stack.enter_context(line.carrying())
            chosen["database"] = address()
        house = stack.enter_context(House(folder, application=an_application(), **chosen))
        yield Bench(house, receiver, line)


def run(*, kinds: list[str], quick: bool, seed: int, one: str | None = None) -> list[Verdict]:
    """Run the matrix on these databases; ``one`` is the name of a single cell."""
    sweeper.POLL_SECONDS = 3_600.0
    connection.PLANS_SECONDS = 3_600.0  # a trip that also lets the database forget its plans has one message more
    sender.CLAIM_SECONDS = 1.0  # after this, a message is sent again if its record was lost
    chance = random.Random(seed)
    verdicts: list[Verdict] = []
    for kind in kinds:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlane-network-", dir="/tmp")))
            database = None
            if kind == "postgres":
                cluster = join(f"network-{os.getpid()}")
                stack.callback(cluster.leave)
                database = cluster.address
            made = stack.enter_context(bench(folder, database))
            together = http_cells(f"HTTP, {kind}")
            alone = database_cells(made.exchanges()) if database is not None else []
            if quick:
                together, alone = once_each(together, chance), once_each(alone, chance)
            if one is not None:
                together, alone = ([cell for cell in cells if str(cell) == one] for cells in (together, alone))
            with ThreadPoolExecutor(AT_ONCE) as pool:
                verdicts += pool.map(made.run, together)
            verdicts += map(made.run, alone)
    return verdicts


# The report ----------------------------------------------------------------------------------------------------------


def table(verdicts: list[Verdict]) -> list[str]:
    """Return the cells that held of each operation and fault, for each line."""
    lines = []
    for line in dict.fromkeys(one.cell.line for one in verdicts):
        mine = [one for one in verdicts if one.cell.line == line]
        faults = [fault for fault in Fault if any(one.cell.fault is fault for one in mine)]
        lines += ["", f"{line:<24}" + "".join(f"{fault.value:>12}" for fault in faults)]
        for operation in dict.fromkeys(one.cell.operation for one in mine):
            row = f"    {operation:<20}"
            for fault in faults:
                cells = [one for one in mine if (one.cell.operation, one.cell.fault) == (operation, fault)]
                held = sum(not one.problems for one in cells)
                row += f"{f'{held} of {len(cells)}' if cells else '–':>12}"
            lines.append(row)
    return lines


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a fault, which the matrix must find."""
    if name is None:
        yield
        return
    owner, attribute, value = PLANTS[name]
    before = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, before)


def _forget_id(self: Scene, *arguments: Any, **options: Any) -> Any:
    """Send each repetition of an exchange with an id of its own."""
    method, path, body = arguments
    if path.endswith("/exchange"):
        body |= {"id": secrets.token_hex(8)}
    return _once(self, method, path, body, **options)


_once = Scene.once
PLANTS: dict[str, tuple[Any, str, Any]] = {
    "trust": (Writer, "_committed", lambda self, identity: True),
    "no-id": (Scene, "once", _forget_id),
}
"""``trust``: the server takes a commit without an answer for done. ``no-id``: a worker repeats an exchange with another
id."""


def main() -> int:
    """Run, print the table, and return 0 if every cell held and every planted fault was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each operation and fault once, at a random message")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    parser.add_argument("--cell", help="only the cell with this name, as it is printed")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="with a planted fault, and nothing else")
    chosen = parser.parse_args()
    logging.getLogger("fairlane").addHandler(logging.NullHandler())
    kinds = [chosen.database] if chosen.database else ["sqlite", "postgres"]
    began = time.monotonic()
    with planted(chosen.plant):
        verdicts = run(kinds=kinds, quick=chosen.quick, seed=chosen.seed, one=chosen.cell)
    broken = [one for one in verdicts if one.problems]
    seconds = max((one.seconds for one in verdicts), default=0)
    print(
        f"network faults: {len(verdicts)} cells in {time.monotonic() - began:.0f} s, seed {chosen.seed}, "
        f"{len(broken)} broken, the longest took {seconds:.1f} s"
    )
    print(*table(verdicts), sep="\n")
    for verdict in broken[:20]:
        print(f"\n  {verdict.cell}", *verdict.problems, f"answers: {', '.join(verdict.answers)}", sep="\n      ")
    return bool(broken) or not verdicts


if __name__ == "__main__":
    sys.exit(main())
