"""Bodies made to break readers, at every route that reads one: refused in the envelope, and nothing is changed.

What the reader itself refuses is the table of ``test_reader``; here each row goes through the door, at each route and
in each field. Routes come from the API's own description, so a new one is tried without being added.
"""

import gzip
import json
import socket
from functools import lru_cache
from typing import Any

import pytest

from fairlane.api import http
from fairlane.api.customers import customer_routes
from tests.api.house import Customer, House, an_application, error_of, fields_of
from tests.api.test_reader import BOMBS
from tests.tables import each

REFUSED_BEFORE_THE_STORE = True

ROUTES = {route.line: route for route in customer_routes(an_application().task_types)}
READING = sorted(route for route, operation in ROUTES.items() if operation.body is not None)
SILENT = sorted(route for route, operation in ROUTES.items() if operation.body is None)
TASK = b'{"taskType": "ANY", "payload": {}}'

UNKNOWN_ID = "01a209be-974c-7271-b8c2-850a83a4ce57"

VALUES: dict[str, bytes] = {
    "depth 65": b"[" * 65 + b"]" * 65,
    "depth 1,025": b"[" * 1025 + b"]" * 1025,
    "depth 5,000": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "depth 1,000,000": b"[" * 1_000_000,
    "4,301 digits": b"1" * 4301,
    "2^64": b"18446744073709551616",
    "-2^63-1": b"-9223372036854775809",
    "1e400": b"1e400",
    "NaN": b"NaN",
    "-Infinity": b"-Infinity",
    "key twice": b'{"a": 1, "a": 2}',
    "NUL": b'"a\\u0000"',
    "NUL in a key": b'{"\\u0000": 1}',
    "lone surrogate": b'"\\ud800"',
    "lone surrogate in a key": b'{"\\udfff": 1}',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "Latin-1": b'"\xe9"',
    "raw control character": b'"\x01"',
    "100,001 values": b"[" + b"1," * 100_000 + b"1]",
}
"""JSON values that no two readers read alike, or that some do not survive."""

FIELDS: dict[str, bytes] = {
    "the task type": b'{"taskType": %b, "payload": {}}',
    "the payload": b'{"taskType": "ANY", "payload": %b}',
    "a field of the payload": b'{"taskType": "ANY", "payload": {"a": %b}}',
    "a checked field of the payload": b'{"taskType": "PAGE", "payload": {"url": "a", "depth": %b}}',
    "the priority": b'{"taskType": "ANY", "payload": {}, "priority": %b}',
    "the idempotency key": b'{"taskType": "ANY", "payload": {}, "idempotencyKey": %b}',
    "the webhook": b'{"taskType": "ANY", "payload": {}, "webhook": %b}',
    "the webhook's URL": b'{"taskType": "ANY", "payload": {}, "webhook": {"url": %b}}',
    "an unknown field": b'{"taskType": "ANY", "payload": {}, "more": %b}',
}

BODIES: dict[str, tuple[dict[str, str], bytes]] = {
    "a form": ({"content-type": "application/x-www-form-urlencoded"}, b"taskType=ANY&payload=%7B%7D"),
    "another character set": ({"content-type": "application/json; charset=utf-16"}, TASK.decode().encode("utf-16")),
    "a million blanks": ({}, b" " * 1_000_000),
}
"""Whole bodies that are not JSON, whatever their headers say."""


@lru_cache(maxsize=1)
def an_alert(customer: Customer) -> str:
    """The id of one that is there: an answer that there is none would come before any other."""
    body = {"kind": "QUEUED_ABOVE", "threshold": 10, "forSeconds": 0, "webhook": {"url": "https://a.example/"}}
    return str(customer.client.post("/v1/alerts", json=body).json()["alert"]["id"])


def send(customer: Customer, route: str, body: bytes, **headers: str) -> Any:
    """Ask for one route with this body; the open segments of its path are filled."""
    method, _, path = route.partition(" ")
    for name in ("{taskId}", "{deliveryId}"):
        path = path.replace(name, UNKNOWN_ID)
    if "{alertId}" in path:
        path = path.replace("{alertId}", an_alert(customer))
    return customer.client.request(method, path, content=body, headers=headers)


def refused(customer: Customer, answer: Any, *statuses: int) -> None:
    """In the envelope, with a status and code of these, and nothing is queued."""
    assert answer.status_code in statuses, answer.text
    assert error_of(answer)["code"] in {400: ["VALIDATION_ERROR"], 413: ["PAYLOAD_TOO_LARGE"]}[answer.status_code]
    status = customer.status()
    assert (status["queuedTasks"], status["concurrency"]["used"]) == (0, 0)


@each("bomb", BOMBS)
@pytest.mark.parametrize("route", READING)
def test_a_bomb_is_refused_at_every_route_that_reads(customer: Customer, route: str, bomb: str) -> None:
    """As the whole body. 413 where it is larger than this route takes."""
    answer = send(customer, route, BOMBS[bomb])

    if route.endswith("/batch") and answer.status_code == 200:
        # An array is a batch, however bad: its items fail for themselves.
        assert answer.json()["summary"]["succeeded"] == 0
    else:
        refused(customer, answer, 400, 413)


@each("body", BODIES)
@pytest.mark.parametrize("route", READING)
def test_what_is_no_json_is_refused_at_every_route_that_reads(customer: Customer, route: str, body: str) -> None:
    """Nothing is unpacked, decoded or guessed."""
    headers, content = BODIES[body]

    refused(customer, send(customer, route, content, **headers), 400, 413)


@each("body", [gzip.compress(TASK), gzip.compress(b" " * 20_000_000, 1), TASK])
@pytest.mark.parametrize("route", READING)
def test_a_compressed_body_is_refused_at_every_route_that_reads(customer: Customer, route: str, body: bytes) -> None:
    """415 that says what is taken instead, whatever the body; nothing is unpacked."""
    answer = send(customer, route, body, **{"content-encoding": "gzip"})

    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    error = error_of(answer)
    assert (error["code"], error["details"]) == ("UNSUPPORTED_MEDIA_TYPE", {"contentEncoding": "gzip"})


@each("encoding", ["identity", "Identity", "", "identity, identity"])
def test_a_body_that_is_said_to_be_as_it_is_is_read(customer: Customer, encoding: str) -> None:
    """The coding that changes nothing."""
    answer = send(customer, "POST /v1/async/task", TASK, **{"content-encoding": encoding})

    assert answer.status_code == 200


@each("route", READING)
def test_a_byte_order_mark_is_named(customer: Customer, route: str) -> None:
    """Its author cannot see it."""
    answer = send(customer, route, b"\xef\xbb\xbf" + TASK)

    assert answer.status_code == 400
    assert "byte order mark" in error_of(answer)["details"][0]["message"]


@each("key", [".", ".."])
def test_a_key_that_no_url_can_name_is_refused(customer: Customer, key: str) -> None:
    """Clients take such a segment out of the path, also percent-encoded; three dots are a name like any other."""
    assert fields_of(customer.submit(idempotencyKey=key)) == ["idempotencyKey"]
    assert customer.submit(idempotencyKey=f"{key}...").status_code == 200


@pytest.mark.parametrize("value", VALUES)
def test_a_bomb_is_refused_in_every_field(customer: Customer, value: str) -> None:
    """The field named is the body, or the one that has the wrong type anyway."""
    for field in FIELDS.values():
        answer = send(customer, "POST /v1/async/task", field % VALUES[value])

        refused(customer, answer, 400)
        assert len(fields_of(answer)) == 1

    refused(customer, send(customer, "POST /v1/webhooks/test", b'{"url": %b}' % VALUES[value]), 400, 413)


@each("value", VALUES)
@pytest.mark.parametrize("field", ["a", "depth"])
def test_a_bomb_in_a_calls_field_takes_no_slot(customer: Customer, field: str, value: str) -> None:
    """Whether its type checks the payload or not."""
    routes = {"a": "POST /v1/monitor/any", "depth": "POST /v1/monitor/pages/read"}

    answer = send(customer, routes[field], b'{"url": "a", "%b": %b}' % (field.encode(), VALUES[value]))

    refused(customer, answer, 400)
    assert not any(name.startswith("x-concurrency") for name in answer.headers)


@pytest.mark.parametrize("value", VALUES)
def test_a_bomb_in_a_batch_hurts_its_own_item_at_most(customer: Customer, value: str) -> None:
    """Either the whole call is refused, because nobody can tell where the item ends, or its neighbours are accepted."""
    bombs = [field % VALUES[value] for field in FIELDS.values()]

    for bomb in bombs:
        answer = send(customer, "POST /v1/async/task/batch", b"[%b, %b, %b]" % (TASK, bomb, TASK))

        if answer.status_code == 200:
            first, second, third = answer.json()["results"]
            assert (first["success"], second["success"], third["success"]) == (True, False, True)
            assert second["error"]["code"] == "VALIDATION_ERROR"
            assert customer.client.delete("/v1/async/queue").json() == {"success": True, "cleared": 2}
        else:
            refused(customer, answer, 400)


@pytest.mark.parametrize("route", SILENT)
def test_who_reads_no_body_does_not_mind_one(customer: Customer, route: str) -> None:
    """The answer is the one without."""
    plain = send(customer, route, b"")

    for bomb in (b"[" * 100_000, b"\xff\xfe", TASK):
        neighbour = customer.house.customer()  # for each: capacity is worked out once in a while only
        with neighbour.client:
            assert send(neighbour, route, bomb).status_code == plain.status_code < 500


@pytest.mark.parametrize("route", READING)
def test_a_body_without_an_end_is_cut(customer: Customer, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunk after chunk of blanks: the time that a body may take is all it gets, or its size ends it first."""
    monkeypatch.setattr(http, "BODY_SECONDS", 0.3)
    method, _, path = route.partition(" ")
    path = path.replace("{alertId}", an_alert(customer)) if "{alertId}" in path else path
    host, port = customer.house.server.address.removeprefix("http://").split(":")
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {customer.key['value']}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )

    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = _spoken_to(connection)

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
    assert b'"success":false' in answer
    assert customer.status()["queuedTasks"] == 0


def _spoken_to(connection: socket.socket) -> bytes:
    """What is answered while blanks are sent, one chunk after the other."""
    connection.settimeout(0.02)
    for _ in range(500):
        try:
            connection.sendall(b"1\r\n \r\n")
            return connection.recv(10_000)
        except TimeoutError:
            continue
    raise AssertionError("nobody answered")


OPERATORS = {
    "POST /admin/v1/organizations": b'{"name": %b}',
    "PATCH /admin/v1/organizations/{name}": b'{"slots": %b}',
    "POST /admin/v1/organizations/{name}/keys": b'{"name": %b}',
    "POST /admin/v1/organizations/{name}/webhook-secrets": b'{"value": %b}',
    "POST /admin/v1/plans": b'{"name": "p", "slots": %b}',
    "PUT /admin/v1/maintenance": b'{"on": %b}',
}


@each("value", VALUES)
@pytest.mark.parametrize("route", OPERATORS)
def test_operators_bodies_are_read_as_strictly(customer: Customer, route: str, value: str) -> None:
    """400 in the envelope (413 for what is too large); the organization is as it was."""
    method, _, path = route.partition(" ")
    before = customer.house.admin.get(f"/admin/v1/organizations/{customer.name}").json()

    answer = customer.house.admin.request(
        method, path.replace("{name}", customer.name), content=OPERATORS[route] % VALUES[value]
    )

    assert answer.status_code in (400, 413), answer.text
    error_of(answer)
    assert customer.house.admin.get(f"/admin/v1/organizations/{customer.name}").json() == before


def test_a_workers_bomb_is_a_refusal(shared: House) -> None:
    """Depth in a report's details is no crash of the server."""
    session = shared.session("OTHER")
    deep = b"[" * 100_000 + b"]" * 100_000
    body = json.dumps({"session": session.id, "id": "x", "places": 0, "wait_seconds": 0, "reports": [
        {"lease": "1", "outcome": "failed", "failure": {"code": "A", "message": "b", "details": "DEEP"}}
    ]}).encode().replace(b'"DEEP"', deep)  # fmt: skip

    answer = shared.worker.post("/worker/v1/exchange", content=body)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("path", ["/v1/async/tasks", "/v1/async/slots", "/dashboard/v1/async/tasks"])
def test_a_query_of_thousands_of_parameters_is_not_read(shared: House, path: str) -> None:
    """Reading them would hold the event loop for a tenth of a second, whatever they are."""
    customer = shared.customer()
    with shared.client() as browser:
        opened = browser.post("/dashboard/login", json={"key": customer.key["value"]}).json()
        client = browser if path.startswith("/dashboard") else customer.client

        refused = client.get(f"{path}?{'&'.join(['a=%41'] * 4_000)}", headers={"x-fairlane-token": opened["token"]})

    assert refused.status_code == 400
    assert [one["field"] for one in error_of(refused)["details"]] == ["query"]


@pytest.mark.parametrize("others", ["a=b", "&".join(["a=%41"] * 4_000)], ids=["one", "thousands"])
def test_other_parameters_of_the_status_are_passed_over(shared: House, others: str) -> None:
    """They never mattered there; the one that does is found behind them."""
    customer = shared.customer()

    assert "verification" not in customer.client.get(f"/v1/async/status?{others}").json()
    assert set(customer.client.get(f"/v1/async/status?{others}&verify=tru%65").json()) > set(customer.status())
