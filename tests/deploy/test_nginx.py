"""The example nginx configuration, in front of a real server: nothing is bent on the way, and nobody sees HTML."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import House, error_of
from tests.deploy.proxy import CONFIGURATION, Proxy, free_port, needs_nginx

pytestmark = needs_nginx
USUAL = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with no server behind it, for what never gets that far."""
    with Proxy(tmp_path_factory.mktemp("proxy"), {USUAL: f"127.0.0.1:{free_port()}"}) as proxy:
        yield proxy


def test_nothing_is_bent_on_the_way(house: House, tmp_path: Path) -> None:
    """Encoded and doubled slashes, headers and refusals come through as fairlane gave them."""
    customer = house.customer()
    upstream = house.server.address.removeprefix("http://")
    with Proxy(tmp_path, {USUAL: upstream}) as proxy, proxy.client(customer.key["value"]) as client:
        made = client.post("/v1/async/task", json={"taskType": "ANY", "payload": {}, "idempotencyKey": "a/b//c d"})
        assert made.status_code == 200, made.text

        found = client.get("/v1/async/task/a%2Fb%2F%2Fc%20d")
        assert found.json()["task"]["id"] == made.json()["task"]["id"]
        assert "x-request-id" in found.headers
        assert client.get("/v1/async/status").json() == customer.status()
        doubled = client.get("/v1//async/status")
        assert (doubled.status_code, error_of(doubled)["details"]["id"]) == (404, "/v1//async/status")
        large = client.post("/v1/async/task", content=b"[" + b"1," * (1 << 20) + b"1]")
        assert (large.status_code, error_of(large)["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_what_nginx_answers_itself_is_an_envelope(house: House, tmp_path: Path) -> None:
    """Paths that are not for customers, and bodies beyond nginx's own limit: never HTML."""
    customer = house.customer()
    upstream = house.server.address.removeprefix("http://")
    with Proxy(tmp_path, {USUAL: upstream}) as proxy, proxy.client(customer.key["value"]) as client:
        for path in ("/", "/admin/v1/plans", "/worker/v1/sessions", "/metrics"):
            nowhere = client.get(path)
            assert (nowhere.status_code, error_of(nowhere)["code"]) == (404, "RESOURCE_NOT_FOUND")
        huge = client.post("/v1/async/task", content=b" " * (41 << 20))
        assert (huge.status_code, error_of(huge)["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", error_of(huge)["timestamp"])


MALFORMED = (400, "VALIDATION_ERROR", "is not a well-formed HTTP request")
NOWHERE = (404, "RESOURCE_NOT_FOUND", None)


@pytest.mark.parametrize(
    ("request_line", "fields", "expected"),
    [
        pytest.param("GET /v1/%zz HTTP/1.1", "", MALFORMED, id="a broken escape"),
        pytest.param("nonsense", "", MALFORMED, id="no request line"),
        pytest.param("GET /v1/x HTTP/1.1", "Host: a b\r\n", MALFORMED, id="a broken host"),
        pytest.param("GET /v1/x HTTP/1.1", "Host: x\r\nHost: y\r\n", MALFORMED, id="two hosts"),
        pytest.param("GET /v1/" + "a" * 20_000 + " HTTP/1.1", "", MALFORMED, id="a long path"),
        pytest.param("GET /v1/x HTTP/1.1", f"X-Large: {'b' * 20_000}\r\n", MALFORMED, id="a large header"),
        pytest.param("GET /v1/x HTTP/3.0", "", MALFORMED, id="a version that is not spoken"),
        pytest.param("POST /v1/x HTTP/1.1", "Host: x\r\nTransfer-Encoding: gzip\r\n", MALFORMED, id="an encoding"),
        pytest.param("TRACE /v1/x HTTP/1.1", "Host: x\r\n", NOWHERE, id="TRACE"),
        pytest.param("CONNECT x:80 HTTP/1.1", "Host: x\r\n", MALFORMED, id="CONNECT"),
        pytest.param("GET /malformed HTTP/1.1", "Host: x\r\n", NOWHERE, id="a page of nginx's own"),
    ],
)
def test_what_nginx_refuses_before_it_looks_for_a_location_is_an_envelope(
    request_line: str, fields: str, expected: tuple[int, str, str | None], standing: Proxy
) -> None:
    """As fairlane itself would refuse it; never HTML, and never a 500."""
    status, kind, body = standing.answer(f"{request_line}\r\n{fields}\r\n".encode())

    assert body["success"] is False
    message = body["error"]["details"][0]["message"] if "details" in body["error"] else None
    assert (status, body["error"]["code"], message) == expected
    assert kind == "application/json"


def test_plain_http_on_the_port_of_https_is_told_so(standing: Proxy) -> None:
    """A customer with the wrong scheme reads what is wrong."""
    status, kind, body = standing.answer(b"GET /v1/async/status HTTP/1.1\r\nHost: x\r\n\r\n", plain=True)

    assert (status, kind, body["error"]["code"]) == (400, "application/json", "VALIDATION_ERROR")
    assert body["error"]["details"] == [{"field": "request", "message": "must be sent as HTTPS"}]


def test_no_server_behind_it_is_a_503_with_retry_after(tmp_path: Path) -> None:
    """While every server is away customers get the contract's 503, which clients know how to wait for."""
    with Proxy(tmp_path, {USUAL: f"127.0.0.1:{free_port()}"}) as proxy, proxy.client("sk_live_" + "0" * 32) as client:
        away = client.get("/v1/async/status")

    assert (away.status_code, error_of(away)["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert away.headers["retry-after"] == "2"


def test_the_dashboard_can_be_shown_with_the_lines_of_the_page(house: House, tmp_path: Path) -> None:
    """It is not, without them; with them organizations log in, with a cookie for HTTPS alone."""
    page = (CONFIGURATION.parents[1] / "docs" / "operators" / "deployment.md").read_text("utf-8")
    lines = re.findall(r"^```nginx\n(location /dashboard .*?)^```", page, re.DOTALL | re.MULTILINE)
    key = house.customer().key["value"]
    upstream = house.server.address.removeprefix("http://")
    folders = [tmp_path / "without", tmp_path / "with"]
    for folder in folders:
        folder.mkdir()

    with Proxy(folders[0], {USUAL: upstream}) as proxy, proxy.client(key) as client:
        assert client.get("/dashboard").status_code == 404
    with Proxy(folders[1], {USUAL: upstream}, more=lines[0]) as proxy, proxy.client(key) as client:
        assert client.get("/dashboard").status_code == 200
        entered = client.post("/dashboard/login", json={"key": key})
        assert entered.status_code == 200, entered.text
        assert "secure" in entered.headers["set-cookie"].lower().split("; ")
