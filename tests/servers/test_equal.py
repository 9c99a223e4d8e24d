"""What is done through one server is true at the other: counts, limits, sessions, keys, plans, and all upkeep."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asyncpg
import httpx2
import pytest
from msgspec.structs import replace

from fairlane.store import deliveries
from fairlane.store.statements import Operation
from fairlane.store.statements import rows_if as honest_rows_if
from fairlane.store.tasks import TaskStore
from fairlane.sweeper import Sweeper
from tests import postgres
from tests.api.house import Customer, House, eventually
from tests.dashboard.test_events import watching
from tests.servers.conftest import Houses, Pair
from tests.servers.test_wakeups import at, completed

REVOKED_SECONDS = 5.0
PROCESSES = 4
ROUNDS = 25


# Status --------------------------------------------------------------------------------------------------------------


class Changer:
    """One organization's customer, who changes its queue at either server and asks the other how long it is."""

    def __init__(self, pair: Pair, seed: int) -> None:
        first = pair.a.customer()
        self._at = [first, at(pair.b, first)]
        self._chance = random.Random(seed)
        self._queued: list[str] = []
        self.wrong: list[tuple[str, int, int]] = []

    def go(self, rounds: int) -> None:
        """Change and ask, over and over; what was told wrong is in ``wrong``."""
        for number in range(rounds):
            here = number % 2
            if self._chance.random() < 0.3:
                here = 1 - here
            act = self._chance.choice([self._submit, self._submit, self._batch, self._cancel, self._clear])
            act(self._at[here])
            status = self._at[1 - here].status()
            if (status["queuedTasks"], status["concurrency"]["used"]) != (len(self._queued), 0):
                self.wrong.append((act.__name__, len(self._queued), status["queuedTasks"]))

    def _submit(self, customer: Customer) -> None:
        self._queued.append(customer.accepted(priority=self._chance.randint(1, 5)))

    def _batch(self, customer: Customer) -> None:
        body = [{"taskType": "ANY", "payload": {}} for _ in range(3)]
        answer = customer.client.post("/v1/async/task/batch", json=body)
        assert answer.status_code == 200, answer.text
        self._queued += [one["task"]["id"] for one in answer.json()["results"]]

    def _cancel(self, customer: Customer) -> None:
        if self._queued:
            task_id = self._queued.pop(self._chance.randrange(len(self._queued)))
            assert customer.client.delete(f"/v1/async/task/{task_id}").status_code == 200

    def _clear(self, customer: Customer) -> None:
        if self._chance.random() < 0.5:
            return
        assert customer.client.delete("/v1/async/queue").status_code == 200
        self._queued.clear()


def changed(pair: Pair) -> list[tuple[str, int, int]]:
    """What several customers at once were told wrong at the other server."""
    changers = [Changer(pair, seed) for seed in range(PROCESSES)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        for done in [pool.submit(changer.go, ROUNDS) for changer in changers]:
            done.result()
    return [wrong for changer in changers for wrong in changer.wrong]


def test_status_is_exact_at_the_other_server_at_once(pair: Pair) -> None:
    """After a submit, a batch, a cancel or a clear is acknowledged by one, the other counts it (I4, I16)."""
    assert changed(pair) == []
    assert pair.a.call(pair.a.store.recount.find()) == []


def test_a_status_that_is_a_moment_old_would_be_noticed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: servers that remember a status for 50 ms are caught."""
    asked, remembered = TaskStore.status, dict[tuple[int, int], tuple[float, Any]]()

    async def status(self: TaskStore, organization_id: int) -> Any:
        at, found = remembered.get((id(self), organization_id), (0.0, None))
        if time.monotonic() - at > 0.05:
            at, found = time.monotonic(), await asked(self, organization_id)
            remembered[id(self), organization_id] = at, found
        return found

    monkeypatch.setattr(TaskStore, "status", status)

    assert changed(pair)


# Limits --------------------------------------------------------------------------------------------------------------


class Run:
    """Organizations with few slots, customers and workers at both servers, and somebody who looks at the rows."""

    SLOTS = (1, 2, 3)
    TASKS = 40

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.customers = [pair.a.customer(slots=slots) for slots in self.SLOTS]
        self.samples = 0
        self.wrong: list[Any] = []
        self.handed_out = Counter[str]()
        self._over = threading.Event()

    def go(self) -> None:
        """Until everything has ended, or something went wrong."""
        with ThreadPoolExecutor(16) as pool:
            watching = pool.submit(lambda: postgres.at_once(self._watch))
            submits = [
                pool.submit(self._submit, at(house, customer)) for customer in self.customers for house in self.pair
            ]
            works = [pool.submit(self._work, house) for house in self.pair for _ in range(2)]
            wait([*submits, *works])
            self._over.set()
        for done in (*submits, *works, watching):
            done.result()

    def _submit(self, customer: Customer) -> None:
        for _ in range(self.TASKS // 4):
            body = [{"taskType": "ANY", "payload": {}} for _ in range(2)]
            answer = customer.client.post("/v1/async/task/batch", json=body)
            if answer.status_code != 200:
                self.wrong.append(answer.text)
            if self.wrong:
                return

    def _work(self, house: House) -> None:
        session, reports = house.session("ANY", places=4), list[dict[str, Any]]()
        while (reports or self.handed_out.total() < self.TASKS * len(self.SLOTS)) and not self.wrong:
            answer = session.exchange(4, *reports)
            if answer.status_code != 200:
                self.wrong.append(answer.text)
                return
            leases = answer.json()["leases"]
            self.handed_out.update(lease["task"] for lease in leases)
            reports = [completed(lease) for lease in leases]

    async def _watch(self) -> None:
        connection = await asyncpg.connect(self.pair.a.settings.database)
        try:
            while not self._over.is_set():
                rows = await connection.fetch(
                    "SELECT o.name, o.slots_max, o.processing, (SELECT count(*) FROM lease AS l "
                    "WHERE l.organization_id = o.id) AS leases FROM organization AS o"
                )
                self.wrong += [tuple(row) for row in rows if row[2] > row[1] or row[2] != row[3]]
                self.samples += 1
        finally:
            await connection.close()


def test_limits_hold_with_workers_at_both_servers(pair: Pair) -> None:
    """Never more than an organization's slots, in any snapshot; counts are the rows'; each task is handed out once."""
    run = Run(pair)

    run.go()

    assert run.wrong == []
    assert run.samples > 50
    assert len(run.handed_out) == Run.TASKS * len(Run.SLOTS)
    assert set(run.handed_out.values()) == {1}
    assert pair.b.call(pair.b.store.recount.find()) == []
    assert pair.b.call(pair.b.store.recount.states()) == {1: len(run.handed_out)}


def test_a_missing_lock_would_be_noticed(pair: Pair) -> None:
    """The control: servers that read an organization's row without locking it are caught."""
    for house in pair:
        statements = house.store.shared.database.asking.statements
        for name in ("lock_organizations", "lock_further_organizations"):
            statement = statements[name]
            assert "FOR NO KEY UPDATE" in statement.sql
            statements[name] = replace(
                statement, name=f"{name}_unlocked", sql=statement.sql.partition("FOR NO KEY UPDATE")[0]
            )
    run = Run(pair)

    run.go()

    assert run.wrong


# Sessions ------------------------------------------------------------------------------------------------------------


def test_a_session_goes_on_at_the_other_server(pair: Pair) -> None:
    """Opened at A; exchanges, renewals, reports and its end through B are the same session's."""
    customer, session = pair.a.customer(slots=9), pair.a.session("ANY", places=4)
    there = type(session)(pair.b, session.id)
    for _ in range(3):
        customer.accepted()

    first = session.exchange(2, id="one").json()["leases"]
    again = there.exchange(2, id="one").json()["leases"]
    renewed = there.renew([lease["lease"] for lease in first], ["one"])
    verdicts = there.exchange(0, *map(completed, first)).json()["verdicts"]
    resent = session.exchange(0, *map(completed, first)).json()["verdicts"]
    [last] = there.claim(2)
    ended = there.end("drained")

    assert {lease["lease"] for lease in again} == {lease["lease"] for lease in first}  # they start in any order
    assert len(first) == 2
    assert renewed.status_code == 200
    assert verdicts == resent == ["accepted", "accepted"]
    assert ended.json() == {"returned": 1}
    assert session.exchange(1).status_code == 410
    assert customer.find(last["task"]).json()["task"]["status"] == "QUEUED"


# What operators change -----------------------------------------------------------------------------------------------


def test_what_an_operator_changes_acts_at_the_other_servers_next_claim(houses: Houses) -> None:
    """Plan, pause and disabling at A; the next exchange at B goes by it, and so does the next submit within 5 s."""
    pair = houses(public_workers=True, public_admin=True)
    plan = {"name": "small", "slots": 1, "queue_limit": 1000}
    assert pair.a.admin.post("/admin/v1/plans", json=plan).status_code == 200
    customer, session = pair.a.customer(plan="small"), pair.b.session("ANY", places=20)
    there = at(pair.b, customer)
    for _ in range(8):
        customer.accepted()
    assert len(session.claim(9)) == 1

    assert pair.a.admin.patch("/admin/v1/plans/small", json={"slots": 3}).status_code == 200
    assert there.status()["concurrency"]["max"] == 3
    assert len(session.claim(9)) == 2
    customer.change(slots=5)
    customer.change(paused=True)
    assert session.claim(9) == []
    customer.change(paused=False)
    [*leases] = session.claim(1)
    assert len(leases) == 1
    customer.change(disabled=True)
    disabled_at = time.monotonic()
    assert session.claim(9) == []

    eventually(lambda: there.submit().status_code == 401, seconds=REVOKED_SECONDS)
    assert time.monotonic() - disabled_at < REVOKED_SECONDS


def test_a_key_revoked_at_one_server_is_refused_at_the_other(houses: Houses) -> None:
    """Keys of customers, workers and operators that were used at B a moment ago: refused there within 5 s (I20)."""
    pair = houses(public_workers=True, public_admin=True)
    customer = pair.a.customer()
    keys = {"customer": customer.key}
    for kind in ("worker", "admin"):
        keys[kind] = pair.a.admin.post("/admin/v1/keys", json={"kind": kind, "name": kind}).json()
    paths = {"customer": "/v1/async/status", "worker": "/worker/v1/nothing", "admin": "/admin/v1/plans"}
    clients = {kind: pair.b.client(authorization=f"Bearer {key['value']}") for kind, key in keys.items()}
    for kind, client in clients.items():
        assert client.get(paths[kind]).status_code == (404 if kind == "worker" else 200)

    revoked_at = time.monotonic()
    for key in keys.values():
        assert pair.a.admin.delete(f"/admin/v1/keys/{key['id']}").status_code == 200
    for kind, client in clients.items():
        at_a = pair.a.client(authorization=f"Bearer {keys[kind]['value']}")
        assert at_a.get(paths[kind]).status_code == 401
        eventually(partial(refused, client, paths[kind]))

    assert time.monotonic() - revoked_at < REVOKED_SECONDS


def test_a_logout_at_one_server_ends_the_session_at_the_other(pair: Pair) -> None:
    """A copy of the cookie is refused at B from the next request on, and B's stream of events ends at its next look."""
    customer = pair.a.customer()
    with watching(pair.b, customer.key["value"]) as viewer:
        copy = {"cookie": f"fairlane_session={viewer.browser.cookies['fairlane_session']}"}
        token = {"x-fairlane-token": viewer.browser.headers["x-fairlane-token"]}
        assert pair.b.client().get("/dashboard/v1/async/status", headers=copy).status_code == 200

        assert pair.a.client().delete("/dashboard/session", headers=copy | token).status_code == 200

        assert pair.b.client().get("/dashboard/v1/async/status", headers=copy).status_code == 401
        assert viewer.over.wait(10)


def test_a_key_revoked_at_one_server_ends_its_streams_at_the_other(pair: Pair) -> None:
    """Within the seconds that a key is remembered, and a look."""
    customer = pair.a.customer()
    with watching(pair.b, customer.key["value"]) as viewer:
        assert pair.a.admin.delete(f"/admin/v1/keys/{customer.key['id']}").status_code == 200

        assert viewer.over.wait(10)


def refused(client: httpx2.Client, path: str) -> bool:
    """Whether this key is no longer good."""
    return client.get(path).status_code == 401


# Webhooks and upkeep -------------------------------------------------------------------------------------------------


class Receiver:
    """Counts what comes."""

    def __init__(self) -> None:
        self.came = Counter[bytes]()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.came[body] += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    @contextmanager
    def open(self) -> Iterator["Receiver"]:
        """Take what comes."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook's far end."""
    with Receiver().open() as receiver:
        yield receiver


def tell(pair: Pair, receiver: Receiver, count: int) -> Customer:
    """So many tasks with webhooks end, at both servers at once."""
    customer = pair.a.customer(slots=count)
    body = [{"taskType": "ANY", "payload": {}, "webhook": {"url": receiver.url}} for _ in range(count)]
    assert customer.client.post("/v1/async/task/batch", json=body).status_code == 200
    workers = [(house.session("ANY", places=count), count // 2) for house in pair]
    with ThreadPoolExecutor(2) as pool:
        reports = [[completed(lease) for lease in session.claim(places)] for session, places in workers]
        for (session, _), ended in zip(workers, reports, strict=True):
            pool.submit(session.exchange, 0, *ended)
    return customer


def tries(customer: Customer) -> list[int]:
    """How often each delivery was tried; [] until all are delivered."""
    found = customer.client.get("/v1/webhooks/deliveries?limit=100").json()["deliveries"]
    return [len(one["tries"]) for one in found] if all(one["status"] == "delivered" for one in found) else []


def test_webhooks_are_sent_once_whoever_sends(houses: Houses, receiver: Receiver) -> None:
    """Two senders on one database: each message arrives once, and one try is recorded."""
    pair = houses(webhook_allow_private=True)

    customer = tell(pair, receiver, 40)
    sent = eventually(lambda: tries(customer))

    assert sent == [1] * 40
    assert len(receiver.came) == 40
    assert set(receiver.came.values()) == {1}


def test_a_claim_that_is_not_looked_at_again_would_be_noticed(
    houses: Houses, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: senders that take what they found without asking whether it is still free send twice."""

    class AsFound(int):
        """A number of tries that is taken for the one that was found, whatever another server did since."""

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    def rows_if(name: str, members: Any, **parameters: Any) -> Operation:
        if name != "lock_deliveries":
            return (yield from honest_rows_if(name, members, **parameters))
        found = yield from honest_rows_if(name, members, **(parameters | {"now": 2**62}))
        return [replace(row, tries=AsFound(row.tries)) for row in found]

    monkeypatch.setattr(deliveries, "rows_if", rows_if)
    pair = houses(webhook_allow_private=True)

    for _ in range(5):
        customer = tell(pair, receiver, 40)
        eventually(partial(tries, customer))
        if set(receiver.came.values()) != {1}:
            return
    pytest.fail("nothing was sent twice")


def test_upkeep_by_every_server_at_once_happens_once(houses: Houses, receiver: Receiver) -> None:
    """Alerts, promotion, expiry, history, purging: both servers at the same moment, over and over."""
    pair = houses(webhook_allow_private=True, retention_seconds=0, lease_seconds=2, renew_seconds=1, sweep_seconds=3600)
    customer = pair.a.customer(slots=20)
    alert = {"kind": "QUEUED_ABOVE", "threshold": 5, "forSeconds": 0, "webhook": {"url": receiver.url}}
    assert customer.client.post("/v1/alerts", json=alert).status_code == 200
    later = [{"taskType": "ANY", "payload": {}, "delaySeconds": 1} for _ in range(10)]
    assert customer.client.post("/v1/async/task/batch", json=later).status_code == 200
    session = pair.a.session("ANY", places=5)
    for _ in range(5):
        customer.accepted()
    lost = session.claim(5)
    sweepers = [Sweeper(house.store, house.settings, {}) for house in pair]

    def upkeep() -> bool:
        with ThreadPoolExecutor(2) as pool:
            swept = [pool.submit(house.call, one.sweep_once()) for house, one in zip(pair, sweepers, strict=True)]
            sampled = [pool.submit(house.call, house.store.usage.sample()) for house in pair]
            for done in (*swept, *sampled):
                done.result()
        status = customer.status()
        return bool(status["queuedTasks"] == 15 and status["processingTasks"] == 0)

    eventually(upkeep, seconds=20)
    eventually(lambda: receiver.came)
    upkeep()
    worker = pair.b.session("ANY", places=20)
    again = worker.claim(20)
    worker.claim(0, *map(completed, again))
    upkeep()

    assert {lease["attempt"] for lease in again if lease["task"] in {one["task"] for one in lost}} == {2}
    assert len(again) == 15
    assert receiver.came.total() == 1
    assert pair.a.call(pair.a.store.recount.find()) == []
    ours = "SELECT minute, count(*) FROM usage GROUP BY organization_id, minute HAVING count(*) > 1"
    assert postgres.at_once(lambda: ask(pair, ours)) == []
    eventually(lambda: upkeep() is False and customer.find(again[0]["task"]).status_code == 404)
    assert pair.b.call(pair.b.store.recount.states()) == {}


async def ask(pair: Pair, sql: str) -> list[tuple[Any, ...]]:
    """What the database answers."""
    connection = await asyncpg.connect(pair.a.settings.database)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()
