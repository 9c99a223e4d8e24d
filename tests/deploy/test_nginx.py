"""The example nginx configuration, in front of a real server: nothing is bent on the way, and nobody sees HTML."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from tests.api.house import House, error_of

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx" / "fairlane.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)")


def free_port() -> int:
    """A port nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Proxy:
    """nginx with our file, but for the lines an operator sets, in a folder of its own."""

    def __init__(self, folder: Path, upstream: str) -> None:
        self.port = free_port()
        self.authority = trustme.CA()
        certificate = self.authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(str(folder / "private.pem"))
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(str(folder / "fullchain.pem"), append=True)
        site = CONFIGURATION.read_text("utf-8")
        for pattern, replacement in (
            (r"server 127\.0\.0\.1:8000;", f"server {upstream};"),
            (r"listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
            (r"/etc/ssl/fairlane/", f"{folder}/"),
        ):
            site, count = re.subn(pattern, replacement, site)
            assert count, pattern
        (folder / "site.conf").write_text(site)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        user = "user root;\n" if os.getuid() == 0 else ""  # its workers write where the test may
        (folder / "nginx.conf").write_text(
            f"{user}pid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nworker_processes 1;\ndaemon off;\n"
            "events { worker_connections 256; }\n"
            f"http {{\naccess_log off;\n{temporary}include {folder}/site.conf;\n}}\n"
        )
        self._command = [str(NGINX), "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "start")]
        self._folder = folder

    def __enter__(self) -> "Proxy":
        environment = {**os.environ, "TZ": "UTC"}
        checked = subprocess.run([*self._command, "-t"], capture_output=True, text=True, env=environment, check=False)
        assert checked.returncode == 0, checked.stderr
        self._process = subprocess.Popen(self._command, env=environment, stderr=subprocess.DEVNULL)
        give_up_at = time.monotonic() + 10
        while not self._listens():
            assert time.monotonic() < give_up_at, (self._folder / "error.log").read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def answer(self, request: bytes, *, plain: bool = False) -> tuple[int, str, dict[str, Any]]:
        """Status, content type and JSON of what is answered to these bytes."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        bare = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        with bare if plain else context.wrap_socket(bare, server_hostname="127.0.0.1") as connection:
            connection.sendall(request)
            response = HTTPResponse(connection)
            response.begin()
            return response.status, response.headers["content-type"], json.loads(response.read())

    def client(self, key: str) -> httpx2.Client:
        """A customer of the public address."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        headers = {"authorization": f"Bearer {key}"}
        return httpx2.Client(base_url=f"https://127.0.0.1:{self.port}", verify=context, timeout=20, headers=headers)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with no server behind it, for what never gets that far."""
    with Proxy(tmp_path_factory.mktemp("proxy"), f"127.0.0.1:{free_port()}") as proxy:
        yield proxy


def test_nothing_is_bent_on_the_way(house: House, tmp_path: Path) -> None:
    """Encoded and doubled slashes, headers and refusals come through as fairlane gave them."""
    customer = house.customer()
    upstream = house.server.address.removeprefix("http://")
    with Proxy(tmp_path, upstream) as proxy, proxy.client(customer.key["value"]) as client:
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
    with Proxy(tmp_path, upstream) as proxy, proxy.client(customer.key["value"]) as client:
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
    with Proxy(tmp_path, f"127.0.0.1:{free_port()}") as proxy, proxy.client("sk_live_" + "0" * 32) as client:
        away = client.get("/v1/async/status")

    assert (away.status_code, error_of(away)["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert away.headers["retry-after"] == "2"
