"""Webhooks from the outside: told after the task, seen in its answer, listed, sent again, tried out."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fairlane.errors import SetupError
from tests.api.house import Customer, House, error_of, eventually, fields_of


class Hook:
    """A receiver of webhooks on this machine, answering with ``status``."""

    def __init__(self) -> None:
        self.status = 204
        self.answer = ""
        self.bodies: list[dict[str, Any]] = []
        self.url = ""


@contextmanager
def a_hook() -> Iterator[Hook]:
    """A receiver that listens."""
    hook = Hook()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.bodies.append(json.loads(body))
            self.send_response(hook.status)
            self.end_headers()
            self.wfile.write(hook.answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    hook.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A receiver for this test."""
    with a_hook() as one:
        yield one


@pytest.fixture
def open_house(a_house: Callable[..., House]) -> House:
    """A server whose webhooks may reach this machine, and which pauses for a day after a failed try."""
    return a_house(webhook_allow_private=True, webhook_pauses_seconds="86400")


def finished(customer: Customer, url: str, **options: Any) -> str:
    """A task that told this URL how it ended, or will; its id."""
    task = customer.accepted(webhook={"url": url}, **options)
    session = customer.house.session()
    (lease,) = session.claim()
    assert lease["task"] == task
    session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {"text": "…"}})
    return task


def listed(customer: Customer, **query: Any) -> dict[str, Any]:
    """One page of deliveries."""
    answer = customer.client.get("/v1/webhooks/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_finished_task_is_told_and_says_so(open_house: House, hook: Hook) -> None:
    """The webhook block is there once the task is final, and true once the endpoint answered 2xx (contract, 5)."""
    customer = open_house.customer()

    task = finished(customer, hook.url, idempotencyKey="k")

    found = eventually(lambda: (body := customer.find(task).json())["webhook"]["delivered"] and body)
    webhook, _ = found.pop("webhook"), found.pop("waited")
    assert hook.bodies == [found]
    assert hook.bodies[0]["task"]["idempotencyKey"] == "k"
    assert list(webhook) == ["url", "deliveredAt", "delivered"]
    assert (webhook["url"], webhook["deliveredAt"][-1]) == (hook.url, "Z")


def test_a_task_that_is_not_final_says_nothing_of_its_webhook(open_house: House, hook: Hook) -> None:
    """Queued and running."""
    customer = open_house.customer()
    task = customer.accepted(webhook={"url": hook.url})

    assert list(customer.find(task).json()) == ["task", "credits"]
    open_house.session().claim()
    assert list(customer.find(task).json()) == ["task", "credits", "waited"]


def test_deliveries_are_listed_and_sent_again(open_house: House, hook: Hook) -> None:
    """What failed is seen with its class; redelivery goes on counting."""
    customer = open_house.customer()
    hook.status = 500
    task = finished(customer, hook.url)
    failed = eventually(lambda: (one := listed(customer)["deliveries"][0])["tries"] and one)
    hook.status = 200

    answer = customer.client.post(f"/v1/webhooks/deliveries/{failed['id']}/redeliver")

    assert answer.status_code == 200
    assert answer.json()["delivery"]["status"] == "due"
    done = eventually(lambda: (one := listed(customer)["deliveries"][0])["delivered"] and one)
    assert (failed["taskId"], failed["url"], failed["status"]) == (task, hook.url, "due")
    assert failed["nextTryAt"] > failed["createdAt"]
    assert [(one["number"], one["outcome"], one["status"]) for one in done["tries"]] == [
        (1, "failed", 500),
        (2, "delivered", 200),
    ]
    assert (done["status"], done["nextTryAt"]) == ("delivered", None)


def test_a_test_event_is_sent_once(open_house: House, hook: Hook) -> None:
    """Shaped like a task's, and marked."""
    customer = open_house.customer()
    hook.status = 404

    answer = customer.client.post("/v1/webhooks/test", json={"url": hook.url})

    delivery = answer.json()["delivery"]
    assert (answer.status_code, delivery["taskId"]) == (200, None)
    (one,) = eventually(lambda: [one for one in listed(customer)["deliveries"] if one["status"] == "given_up"])
    assert [(tried["outcome"], tried["status"]) for tried in one["tries"]] == [("failed", 404)]
    (body,) = hook.bodies
    assert (body["task"]["id"], body["task"]["taskType"]) == (delivery["id"], "WEBHOOK_TEST")
    assert body["response"] == {"test": True}


def test_pages_go_on_where_they_ended(open_house: House, hook: Hook) -> None:
    """The cursor of a page asks for the next; the last has none."""
    customer = open_house.customer()
    made = [customer.client.post("/v1/webhooks/test", json={"url": hook.url}).json()["delivery"] for _ in range(5)]

    first = listed(customer, limit=3)
    second = listed(customer, limit=3, cursor=first["nextCursor"])

    assert [one["id"] for one in first["deliveries"] + second["deliveries"]] == [one["id"] for one in made[::-1]]
    assert second["nextCursor"] is None
    assert listed(customer, limit=5)["nextCursor"] is None


def test_nobody_sees_or_sends_what_is_anothers(open_house: House, hook: Hook) -> None:
    """Foreign is like unknown."""
    owner, stranger = open_house.customer(), open_house.customer()
    delivery = owner.client.post("/v1/webhooks/test", json={"url": hook.url}).json()["delivery"]

    answer = stranger.client.post(f"/v1/webhooks/deliveries/{delivery['id']}/redeliver")

    assert answer.status_code == 404
    assert error_of(answer)["code"] == "RESOURCE_NOT_FOUND"
    assert listed(stranger)["deliveries"] == []


def test_what_must_not_be_reached_is_refused(customer: Customer) -> None:
    """Unless the operator allows it (every vector has its row in tests/webhooks)."""
    answer = customer.client.post("/v1/webhooks/test", json={"url": "http://127.0.0.1:9000/"})

    assert answer.status_code == 400
    assert fields_of(answer) == ["url"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["url"]),
        ([], ["body"]),
        ({"url": 5}, ["url"]),
        ({"url": "https://a.example/", "more": 1}, ["more"]),
        ({"url": "ftp://a.example/"}, ["url"]),
    ],
)
def test_a_test_event_needs_a_url_alone(customer: Customer, body: Any, fields: list[str]) -> None:
    """As strict as submitting."""
    answer = customer.client.post("/v1/webhooks/test", json=body)

    assert (answer.status_code, fields_of(answer)) == (400, fields)


def test_only_ten_test_events_may_wait(a_house: Callable[..., House]) -> None:
    """The eleventh is refused until some are over."""
    house = a_house(webhook_allow_private=True)
    house.call(house.server.finish_sending(5))  # nothing leaves any more
    customer = house.customer()
    ask = lambda: customer.client.post("/v1/webhooks/test", json={"url": "http://127.0.0.1:1024/"})  # noqa: E731

    statuses = [ask().status_code for _ in range(11)]

    assert statuses == [200] * 10 + [400]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "x"},
        {"limit": ""},
        {"cursor": "x"},
        {"page": 1},
        {"status": "x"},
        {"urlPrefix": ""},
        {"hostPrefix": "x" * 261},
        {"taskId": "x"},
        {"taskId": "x" * 36},
        {"from": "x"},
        {"to": "x"},
    ],
    ids=str,
)
def test_a_wrong_query_is_named(customer: Customer, query: dict[str, Any]) -> None:
    """With its parameter."""
    answer = customer.client.get("/v1/webhooks/deliveries", params=query)

    assert (answer.status_code, fields_of(answer)) == (400, list(query))


@pytest.mark.parametrize("delivery_id", ["x", "0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11", "%00" * 36])
def test_an_unknown_delivery_is_not_found(customer: Customer, delivery_id: str) -> None:
    """Whatever its id looks like."""
    answer = customer.client.post(f"/v1/webhooks/deliveries/{delivery_id}/redeliver")

    assert answer.status_code == 404


def test_what_is_due_survives_a_restart(tmp_path: Any, hook: Hook) -> None:
    """The next server sends what the one before could not."""
    hook.status = 503
    with House(tmp_path, webhook_allow_private=True, webhook_pauses_seconds="1") as house:
        customer = house.customer()
        finished(customer, hook.url)
        eventually(lambda: hook.bodies)
        key = customer.key["value"]
    hook.status = 200

    with House(tmp_path, webhook_allow_private=True) as house:
        client = house.client(None, authorization=f"Bearer {key}")
        look = lambda: client.get("/v1/webhooks/deliveries").json()["deliveries"][0]["delivered"]  # noqa: E731

        assert eventually(look)


def test_ports_that_cannot_be_read_end_the_start(tmp_path: Any) -> None:
    """With the setting's name, and nothing left open."""
    with pytest.raises(SetupError, match="FAIRLANE_WEBHOOK_PORTS"), House(tmp_path, webhook_ports="80,x"):
        pass

    with House(tmp_path):
        pass


def test_a_forgotten_secret_key_ends_the_start(tmp_path: Any) -> None:
    """Nothing leaves unsigned because of it."""
    with House(tmp_path, secret_key="k" * 32) as house:
        customer = house.customer()
        house.call(
            house.store.webhook_secrets.create(customer.name, secret="whsec_one", overlap_seconds=0, actor="a test")
        )

    with pytest.raises(SetupError, match="FAIRLANE_SECRET_KEY"), House(tmp_path):
        pass


def test_deliveries_are_filtered_and_show_what_was_answered(open_house: House, hook: Hook) -> None:
    """The address decides, not the case of the host; the answer's beginning and duration stand with each try."""
    customer = open_house.customer()
    hook.status, hook.answer = 500, "no such hook"
    url = hook.url.replace("127.0.0.1", "localhost")
    task = finished(customer, url)
    eventually(lambda: listed(customer)["deliveries"][0]["tries"])

    def found(**query: Any) -> list[str]:
        return [one["taskId"] for one in listed(customer, **query)["deliveries"]]

    host = url.split("/")[2].upper()
    for query in ({"status": "due"}, {"hostPrefix": host}, {"urlPrefix": url[:12]}, {"taskId": task.upper()}):
        assert found(**query) == [task], query
    for query in ({"status": "delivered"}, {"hostPrefix": "x"}, {"urlPrefix": "https"}, {"to": "2020-01-01T00:00:00Z"}):
        assert found(**query) == [], query
    [shown] = listed(customer)["deliveries"]
    [tried] = shown["tries"]
    assert (shown["heldBy"], tried["status"], tried["answer"]) == ("pause", 500, "no such hook")
    assert tried["tookMs"] >= 0


def test_the_hosts_of_an_organization_say_how_its_tries_ended(open_house: House, hook: Hook) -> None:
    """For each host and in all; another organization sees nothing of them."""
    customer, stranger = open_house.customer(), open_house.customer()
    hook.status = 500
    finished(customer, hook.url)
    eventually(lambda: listed(customer)["deliveries"][0]["tries"])
    ask = lambda one, **query: one.client.get("/v1/webhooks/hosts", params=query).json()  # noqa: E731

    page = ask(customer)

    [host] = page["hosts"]
    assert (page["tries"], page["failed"], page["more"], page["nextCursor"]) == (1, 1, False, None)
    assert (host["host"], host["open"], host["heldBy"]) == (hook.url.split("/")[2], 1, "pause")
    assert (host["lastTry"]["outcome"], host["lastTry"]["status"]) == ("failed", 500)
    assert ask(customer, hostPrefix="x")["hosts"] == []
    assert (ask(stranger)["hosts"], ask(stranger)["tries"]) == ([], 0)
    for query in ({"hostPrefix": "a\x00"}, {"hostPrefix": "", "cursor": "ü"}, {"limit": 21}, {"cursor": "a.example"}):
        answer = customer.client.get("/v1/webhooks/hosts", params=query)
        assert (answer.status_code, fields_of(answer)) == (400, [*query][-1:])


def test_every_host_is_reached_page_by_page(open_house: House) -> None:
    """With an empty beginning of the name, and each host once."""
    customer = open_house.customer()
    with a_hook() as one, a_hook() as two, a_hook() as three:
        urls = [hook.url for hook in (one, two, three)]
        for url in urls:
            finished(customer, url)
        eventually(lambda: all(hook.bodies for hook in (one, two, three)))
        eventually(lambda: all(delivery["delivered"] for delivery in listed(customer)["deliveries"]))
    cursor: str | None = ""
    hosts: list[str] = []

    while cursor is not None:
        query: dict[str, str | int] = {"hostPrefix": "", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = customer.client.get("/v1/webhooks/hosts", params=query).json()
        hosts += [host["host"] for host in page["hosts"]]
        cursor = page["nextCursor"]

    assert hosts == sorted(url.split("/")[2] for url in urls)


def test_how_soon_no_answer_came_is_not_told(open_house: House) -> None:
    """It would tell what is on our network: a refused connection ends sooner than one that a firewall drops."""
    customer = open_house.customer()
    with a_hook() as gone:
        url = gone.url
    finished(customer, url)
    eventually(lambda: listed(customer)["deliveries"][0]["tries"])

    [tried] = listed(customer)["deliveries"][0]["tries"]
    [host] = customer.client.get("/v1/webhooks/hosts").json()["hosts"]

    assert (tried["outcome"], tried["status"], tried["tookMs"]) == ("failed", None, None)
    assert (host["lastTry"]["status"], host["lastTry"]["tookMs"]) == (None, None)


def test_operators_list_the_hosts_of_webhooks(open_house: House, hook: Hook) -> None:
    """By name with ``search``; without it those with trouble, of which there is none."""
    customer, session = open_house.customer(), open_house.session("ANY")
    customer.accepted(webhook={"url": hook.url})
    [lease] = session.claim(1)
    session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
    eventually(lambda: hook.bodies)

    def listed() -> Any:
        found = open_house.admin.get("/admin/v1/deliveries/hosts", params={"search": "127.0.0.1"}).json()["hosts"]
        return [one for one in found if one["tries"]]

    [host] = eventually(listed)

    assert (host["failed"], host["last_status"], host["open"], host["hold"]) == (0, 204, 0, None)
    assert host["organizations"] == [customer.name]
    assert open_house.admin.get("/admin/v1/deliveries/hosts").json() == {"hosts": [], "more": False}
    assert open_house.admin.get("/admin/v1/deliveries/hosts", params={"limit": 21}).status_code == 400
