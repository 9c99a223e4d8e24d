"""Routing: raw paths, our 404 for everything else, and never a framework's answer."""

import pytest

from tests.api.house import Customer, House, error_of

OUTSIDE = [
    "/",
    "/nope",
    "/v2/async/status",
    "/V1/async/status",
    "/v1%2Fasync/status",
    "/admin/v1/server",
    "/worker/v1/exchange",
    "/livez/",
    "//livez",
]
INSIDE = [
    "/v1",
    "/v1/",
    "/v1/async",
    "/v1/async/status/",
    "/v1//async/status",
    "/v1/async/task/",
    "/v1/async/task/a/b",
    "/v1/credits/",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_outside_v1_nothing_asks_for_a_key(shared: House, path: str) -> None:
    """404 with the path; admin and worker routes are not on this listener."""
    with shared.client() as client:
        answer = client.get(f"{shared.server.address}{path}")

    assert answer.status_code == 404
    error = error_of(answer)
    assert (error["code"], error["message"]) == ("RESOURCE_NOT_FOUND", "Route not found")
    assert error["details"] == {"id": path}


@pytest.mark.parametrize("path", INSIDE)
def test_unknown_paths_below_v1_are_404_for_those_with_a_key(customer: Customer, path: str) -> None:
    """No redirect to a path with or without a slash either."""
    answer = customer.client.get(f"{customer.house.server.address}{path}")

    assert answer.status_code == 404
    assert error_of(answer)["details"] == {"id": path}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/async/status", "GET, HEAD"),
        ("PUT", "/v1/async/task", "POST"),
        ("GET", "/v1/async/task", "POST"),
        ("OPTIONS", "/v1/async/task", "POST"),
        ("PUT", "/v1/async/task/x", "DELETE, GET, HEAD"),
        ("PUT", "/v1/async/task/batch", "DELETE, GET, HEAD, POST"),
        ("OPTIONS", "/v1/async/task/batch", "DELETE, GET, HEAD, POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("QUERY", "/v1/async/status", "GET, HEAD"),
    ],
)
def test_an_unknown_method_is_an_unknown_route(customer: Customer, method: str, path: str, allowed: str) -> None:
    """404, and a hint at what there is."""
    answer = customer.client.request(method, path)

    assert answer.status_code == 404 if method != "QUERY" else answer.status_code in (400, 404)
    assert error_of(answer)["code"] in ("RESOURCE_NOT_FOUND", "VALIDATION_ERROR")
    if answer.status_code == 404:
        assert answer.headers["allow"] == allowed


def test_head_is_unknown_where_get_is(customer: Customer) -> None:
    """It has no body by its nature."""
    answer = customer.client.head("/v1/async/queue")

    assert (answer.status_code, answer.content) == (404, b"")
    assert answer.headers["allow"] == "DELETE"


@pytest.mark.parametrize("key", ["a/b", "a%2Fb", "?x=1#y", "  spaces ", "ключ", "%", "...", "a" * 255, "\t\n"])
def test_a_task_is_found_by_any_key(customer: Customer, key: str) -> None:
    """Percent-encoded in the path, whatever characters it has."""
    task_id = customer.accepted(idempotencyKey=key)
    encoded = "".join(f"%{byte:02X}" for byte in key.encode())

    answer = customer.find(encoded)

    assert answer.status_code == 200
    assert answer.json()["task"]["id"] == task_id
    assert answer.json()["task"]["idempotencyKey"] == key


def test_a_get_with_a_content_type_and_no_body_is_fine(customer: Customer) -> None:
    """As a widely used client sends it; a query changes nothing either."""
    for headers in ({"content-type": "application/json"}, {"content-type": "application/json", "content-length": "0"}):
        assert customer.client.get("/v1/async/status?a=b", headers=headers).status_code == 200


def test_a_body_is_json_whatever_its_content_type(customer: Customer) -> None:
    """Even none, even a wrong one."""
    body = b'{"taskType": "ANY", "payload": {}}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = customer.client.post("/v1/async/task", content=body, headers={"content-type": kind})
        assert answer.status_code == 200


def test_every_answer_has_an_id_and_a_latency(customer: Customer) -> None:
    """Each its own; and no word of the software behind it."""
    answers = [customer.client.get(path) for path in ("/v1/async/status", "/v1/nope", "/livez")]

    assert len({answer.headers["x-request-id"] for answer in answers}) == 3
    assert all(answer.headers["x-latency-ms"].isdigit() for answer in answers)
    assert not any("server" in answer.headers for answer in answers)


def test_health_paths_answer_without_a_key(shared: House) -> None:
    """Both, as JSON."""
    with shared.client() as client:
        assert client.get("/livez").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}
