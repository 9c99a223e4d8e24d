"""HEAD is answered wherever GET is, on every listener, like GET without its body (RFC 9110, section 9.3.2)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.house import House

VOLATILE = {"date", "x-request-id", "x-latency-ms", "x-ratelimit-remaining", "content-length", "transfer-encoding"}
SEGMENTS = {"/dashboard/assets/{}/{}": "index.html"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server that serves everything it can over TCP, too."""
    settings: dict[str, Any] = {"admin_port": 0, "public_admin": True, "public_workers": True}
    with House(tmp_path_factory.mktemp("head"), **settings) as house:
        yield house


def callers(house: House) -> dict[str, dict[str, str]]:
    """What opens the routes below each prefix; the longest prefix counts."""
    key = house.customer().key["value"]
    admin = house.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "one"}).json()["value"]
    with house.client() as client:
        cookies = {
            name: {"cookie": client.post("/dashboard/login", json={"key": value}).headers["set-cookie"].split(";")[0]}
            for name, value in (("organization", key), ("operator", admin))
        }
    return {
        "": {},
        "/v1": {"authorization": f"Bearer {key}"},
        "/admin": {"authorization": f"Bearer {admin}"},
        "/metrics": {"authorization": f"Bearer {admin}"},
        "/dashboard": cookies["organization"],
        "/dashboard/admin": cookies["operator"],
        "/dashboard/metrics": cookies["operator"],
    }


def ask(client: httpx2.Client, method: str, url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and the body of one request; of events, which do not end, no body is read."""
    with client.stream(method, url, headers=headers) as answer:
        endless = method == "GET" and answer.headers.get("content-type") == "text/event-stream"
        return answer.status_code, dict(answer.headers), b"" if endless else answer.read()


@pytest.mark.parametrize("surface", ["customers", "admin", "worker socket", "admin socket"])
def test_head_is_answered_wherever_get_is(house: House, surface: str) -> None:
    """With the same status and headers, for the same callers; the routes are those of the routers."""
    address: str | Path | None = {
        "customers": house.server.address,
        "admin": house.server.admin_address,
        "worker socket": house.server.worker_socket,
        "admin socket": house.server.admin_socket,
    }[surface]
    opening = {
        method: callers(house) for method in ("GET", "HEAD")
    }  # One organization's rate limit is not the other's.
    organization = house.customer().name
    client = house.client(address if isinstance(address, Path) else None)
    base = "http://fairlane" if isinstance(address, Path) else address

    asked, found = 0, 0
    for resource in house.server.surfaces[surface].resources:
        if "GET" not in resource.methods:
            continue
        prefix = max((one for one in opening["GET"] if resource.path.startswith(one)), key=len)
        word = organization if "/organizations/{}" in resource.path else SEGMENTS.get(resource.path, "any")
        url = f"{base}{resource.path.replace('{}', word)}"
        got, heard = (ask(client, method, url, opening[method][prefix]) for method in opening)
        assert (heard[0], heard[2]) == (got[0], b""), resource.path
        for name in {*got[1], *heard[1]} - VOLATILE:
            assert heard[1].get(name) == got[1].get(name), (resource.path, name)
        assert ("content-length" in heard[1]) == ("content-length" in got[1]), resource.path
        asked += 1
        found += got[0] == 200

    assert {"GET" in one.methods for one in house.server.surfaces[surface].resources} == {asked > 0, False}
    assert found >= asked // 2


def test_head_says_the_length_of_what_get_would_send(house: House) -> None:
    """And is a cheap way to ask whether a file has changed."""
    with house.client(None, **{"accept-encoding": "identity"}) as client:
        for path in ("/livez", "/readyz", "/openapi.json", "/dashboard", "/dashboard/assets/any/index.html"):
            got, heard = client.get(path), client.head(path)
            assert heard.headers["content-length"] == str(len(got.content)), path
        tag = client.head("/dashboard").headers["etag"]
        assert client.head("/dashboard", headers={"if-none-match": tag}).status_code == 304


def test_head_meets_the_same_guard(house: House) -> None:
    """Nothing is told of what GET would not tell."""
    with house.client() as client:
        for path in ("/v1/async/status", "/admin/v1/server", "/dashboard/events"):
            assert (client.head(path).status_code, client.head(path).content) == (401, b"")
