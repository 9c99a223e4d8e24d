"""Who may do what: every route of every listener, met by everybody. Generated from the router.

A new route is in it by itself. One that asks nobody who is calling has to be added to ``OPEN``; one of customers with
an id in its path has to be added to ``OBJECTS``.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.api.house import Customer, House
from tests.api.test_alerts import a_body as an_alert

OPEN = {
    "GET /livez",
    "GET /readyz",
    "GET /openapi.json",
    "GET /",
    "GET /docs",
    "GET /dashboard",
    "POST /dashboard/login",
    "POST /dashboard/enter",
    "GET /dashboard/session",  # who is logged in: without a session, nobody
    "GET /dashboard/assets/{}/{}",
}
"""What everybody may load. None of it tells anything of anybody."""

KINDS = {
    "/v1/": "organization",
    "/worker/v1/": "worker",
    "/admin/v1/": "admin",
    "/metrics": "admin",
    "/dashboard/": "session",
}
"""What opens the routes below each prefix."""
MISSING, MALFORMED, REFUSED = "MISSING_API_KEY", "INVALID_API_KEY_FORMAT", "INVALID_OR_EXPIRED_API_KEY"
CROSS_SITE = "CROSS_SITE_REQUEST"
UNKNOWN_ID = "0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11"

OBJECTS: dict[str, Callable[["Owner"], str]] = {
    "/v1/async/task/{}": lambda owner: owner.task_id,
    "/v1/alerts/{}": lambda owner: owner.alert_id,
    "/v1/async/task/{}/retry": lambda owner: owner.task_id,
    "/v1/async/task/{}/payload": lambda owner: owner.task_id,
    "/v1/async/task/{}/wait": lambda owner: owner.task_id,
    "/v1/async/task/{}/attempts": lambda owner: owner.task_id,
    "/v1/async/tasks/bulk/{}": lambda owner: owner.bulk_id,
    "/v1/webhooks/deliveries/{}/redeliver": lambda owner: owner.delivery_id,
}
"""For each of the customers' paths with an id in it: one that belongs to somebody."""
BODIES: dict[str, Callable[[], dict[str, Any]]] = {"PUT /v1/alerts/{}": an_alert}
"""What has to be sent for a route to look for the id at all."""


class Owner(NamedTuple):
    """An organization with something of each kind."""

    customer: Customer
    task_id: str
    delivery_id: str
    alert_id: str
    bulk_id: str


class Route(NamedTuple):
    """One cell of the router: a method at a path of one listener."""

    surface: str
    method: str
    path: str

    @property
    def name(self) -> str:
        """As it stands in the tables."""
        return f"{self.method} {self.path}"

    @property
    def kind(self) -> str | None:
        """What opens it; None: nothing has to."""
        if self.name in OPEN:
            return None
        return next(kind for prefix, kind in KINDS.items() if self.path.startswith(prefix))

    def at(self, *segments: str) -> str:
        """Its path with these in the open segments."""
        return self.path.replace("{}", "%s") % segments if segments else self.path.replace("{}", UNKNOWN_ID)


class Caller(NamedTuple):
    """Somebody, the headers that he sends, and what he must be told by what opens a route; None: he is let in."""

    headers: dict[str, str]
    told: dict[str, str | None]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server that serves everything it can over TCP."""
    settings: dict[str, Any] = {
        "admin_port": 0, "public_admin": True, "public_workers": True, "webhook_allow_private": True
    }  # fmt: skip
    with House(tmp_path_factory.mktemp("authorization"), **settings) as house:
        yield house


def an_owner(house: House) -> Owner:
    """A new organization with a task and a delivery."""
    customer = house.customer()
    delivery = customer.client.post("/v1/webhooks/test", json={"url": "http://127.0.0.1:1024/"}).json()["delivery"]
    alert = customer.client.post("/v1/alerts", json=an_alert()).json()["alert"]
    bulk = customer.client.post("/v1/async/tasks/retry", json={}).json()["bulk"]
    return Owner(customer, customer.accepted(idempotencyKey="mine"), delivery["id"], alert["id"], bulk["id"])


def routes(house: House, surface: str) -> list[Route]:
    """All of one listener."""
    return [
        Route(surface, method, resource.path)
        for resource in house.server.surfaces[surface].resources
        for method in sorted(resource.methods)
    ]


@cache
def client_of(house: House, socket: Path | None) -> httpx2.Client:
    """One client for each listener: thousands of requests go through it, and connections cost more than they do."""
    return house.client(socket)


def send(house: House, route: Route, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """One request without a body; its status, and the error if it is one. An endless answer is not read."""
    address: str | Path | None = {
        "customers": house.server.address,
        "admin": house.server.admin_address,
        "worker socket": house.server.worker_socket,
        "admin socket": house.server.admin_socket,
    }[route.surface]
    client = client_of(house, address if isinstance(address, Path) else None)
    base = "" if isinstance(address, Path) else address
    body = BODIES[route.name]() if route.name in BODIES else None
    client.cookies.clear()
    with client.stream(route.method, f"{base}{path}", headers=headers, json=body) as answer:
        if answer.headers["content-type"] != "application/json":
            return answer.status_code, {}
        answer.read()
        document = answer.json()
    found = document.get("error", {}) if isinstance(document, dict) else {}
    return answer.status_code, found if answer.status_code >= 400 else {}


def bearer(value: str, scheme: str = "Bearer") -> dict[str, str]:
    """The header with a key."""
    return {"authorization": f"{scheme} {value}"}


def an_installation_key(house: House, kind: str) -> dict[str, Any]:
    """A worker's or an operator's."""
    made: dict[str, Any] = house.admin.post("/admin/v1/keys", json={"kind": kind, "name": "one"}).json()
    return made


def everybody(told: str | None) -> dict[str, str | None]:
    """The same word at every route; a key in a header opens no session of people."""
    return {kind: MISSING if kind == "session" else told for kind in KINDS.values()}


def only(kind: str) -> dict[str, str | None]:
    """Let in where this kind of key opens; malformed elsewhere."""
    return everybody(MALFORMED) | {kind: None}


def a_revoked_key(house: House) -> dict[str, str]:
    """One that worked a moment ago, so that whoever remembers keys remembers it."""
    customer = house.customer()
    assert customer.client.get("/v1/async/status").status_code == 200
    house.admin.delete(f"/admin/v1/keys/{customer.key['id']}")
    return bearer(customer.key["value"])


def a_disabled_organizations_key(house: House) -> dict[str, str]:
    """Its key is not revoked."""
    customer = house.customer()
    assert customer.client.get("/v1/async/status").status_code == 200
    customer.change(disabled=True)
    return bearer(customer.key["value"])


def a_revoked_installation_key(house: House, kind: str) -> dict[str, str]:
    """One that worked a moment ago."""
    key = an_installation_key(house, kind)
    with house.client() as client:
        path = {"admin": "/admin/v1/server", "worker": "/worker/v1/sessions"}[kind]
        assert client.request("GET", path, headers=bearer(key["value"])).status_code in (200, 404)
    house.admin.delete(f"/admin/v1/keys/{key['id']}")
    return bearer(key["value"])


def a_session(house: House, value: str) -> dict[str, str]:
    """The cookie and the token of somebody who logged in with this key."""
    with house.client() as client:
        answer = client.post("/dashboard/login", json={"key": value})
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"].partition(";")[0]
        return {"cookie": cookie, "x-fairlane-token": answer.json()["token"]}


CALLERS: dict[str, Callable[[House], Caller]] = {
    "nobody": lambda house: Caller({}, everybody(MISSING)),
    "an empty key": lambda house: Caller({"authorization": "Bearer"}, everybody(MISSING)),
    "another scheme": lambda house: Caller(bearer(house.customer().key["value"], "Basic"), everybody(MISSING)),
    "no scheme": lambda house: Caller({"authorization": house.customer().key["value"]}, everybody(MISSING)),
    "something malformed": lambda house: Caller(bearer("sk_live_short"), everybody(MALFORMED)),
    "two keys": lambda house: Caller(bearer(house.customer().key["value"] + " x"), everybody(MALFORMED)),
    "an unknown organization": lambda house: Caller(
        bearer("sk_live_" + "0" * 32), only("organization") | {"organization": REFUSED}
    ),
    "an unknown worker": lambda house: Caller(bearer("wk_live_" + "0" * 32), only("worker") | {"worker": REFUSED}),
    "an unknown operator": lambda house: Caller(bearer("ak_live_" + "0" * 32), only("admin") | {"admin": REFUSED}),
    "a revoked key": lambda house: Caller(a_revoked_key(house), only("organization") | {"organization": REFUSED}),
    "a disabled organization": lambda house: Caller(
        a_disabled_organizations_key(house), only("organization") | {"organization": REFUSED}
    ),
    "a revoked worker": lambda house: Caller(
        a_revoked_installation_key(house, "worker"), only("worker") | {"worker": REFUSED}
    ),
    "a revoked operator": lambda house: Caller(
        a_revoked_installation_key(house, "admin"), only("admin") | {"admin": REFUSED}
    ),
    "an organization": lambda house: Caller(bearer(an_owner(house).customer.key["value"]), only("organization")),
    "an organization in lower case": lambda house: Caller(
        bearer(house.customer().key["value"], "bearer"), only("organization")
    ),
    "a worker": lambda house: Caller(bearer(an_installation_key(house, "worker")["value"]), only("worker")),
    "an operator": lambda house: Caller(bearer(an_installation_key(house, "admin")["value"]), only("admin")),
}


@pytest.mark.parametrize("surface", ["customers", "admin"])
@pytest.mark.parametrize("name", CALLERS)
def test_over_tcp_everybody_meets_what_is_his_at_every_route(house: House, surface: str, name: str) -> None:
    """Refused by the guard with its own code, before anything else is looked at; or let in, whatever comes then."""
    caller = CALLERS[name](house)

    wrong = []
    for route in routes(house, surface):
        status, found = send(house, route, route.at(), caller.headers)
        told = None if route.kind is None else caller.told[route.kind]
        fits = (status, found.get("code")) == (401, told) if told else status < 500 and status != 401
        # Logging in asks for a key of its own; with none it is a request without a body.
        if not fits and route.name != "POST /dashboard/login":
            wrong.append(f"{route.name}: {status} {found.get('code')}, not {told}")

    assert not wrong, wrong


@pytest.mark.parametrize("surface", ["worker socket", "admin socket"])
@pytest.mark.parametrize("name", ["nobody", "something malformed", "a disabled organization", "a worker"])
def test_on_the_sockets_no_key_is_asked_for(house: House, surface: str, name: str) -> None:
    """Who may open them is decided by the directory; a key that comes along changes nothing."""
    caller = CALLERS[name](house)

    for route in routes(house, surface):
        status, found = send(house, route, route.at(), caller.headers)
        assert status < 500, f"{route.name}: {status} {found}"
        assert status != 401, f"{route.name}: {status} {found}"


def test_each_listener_serves_only_what_is_its_own(house: House) -> None:
    """By prefix; everything that is served is in the tables above."""
    served = {surface: {route.kind for route in routes(house, surface)} for surface in house.server.surfaces}

    assert served == {
        "customers": {"organization", "worker", "admin", "session", None},
        "admin": {"worker", "admin", "session", None},
        "worker socket": {"worker"},
        "admin socket": {"admin"},
    }
    everything = {route.name for surface in served for route in routes(house, surface)}
    assert everything >= OPEN
    assert {path for path in (route.path for route in routes(house, "customers"))
            if "{}" in path and path.startswith("/v1/")} == {*OBJECTS}  # fmt: skip


@pytest.mark.parametrize(
    ("surface", "kind"), [("customers", "organization"), ("customers", "admin"), ("admin", "admin")]
)
def test_a_persons_session_opens_what_its_key_would(house: House, surface: str, kind: str) -> None:
    """Not the other kind's routes; and nothing that changes something without the session's token."""
    value = (
        an_owner(house).customer.key["value"] if kind == "organization" else an_installation_key(house, kind)["value"]
    )
    headers = a_session(house, value)
    without_token = {"cookie": headers["cookie"]}

    wrong = []
    for route in routes(house, surface):
        if route.kind != "session" or route.path in ("/dashboard/session", "/dashboard/events"):
            continue
        operators = ("/dashboard/admin/", "/dashboard/metrics", "/dashboard/view")
        wanted = "admin" if route.path.startswith(operators) else "organization"
        if route.method != "GET":
            status, found = send(house, route, route.at(), without_token)
            if (status, found.get("code")) != (403, CROSS_SITE):
                wrong.append(f"{route.name} without its token: {status} {found.get('code')}")
        status, found = send(house, route, route.at(), headers)
        fits = status < 500 and status != 401 if kind == wanted else (status, found.get("code")) == (401, REFUSED)
        if not fits:
            wrong.append(f"{route.name}: {status} {found.get('code')}")

    assert not wrong, wrong


def test_what_is_anothers_answers_as_what_is_not_there(house: House) -> None:
    """Status, code, message and shape of the body are the same; only the id that was asked for differs."""
    owner = an_owner(house)

    for route in routes(house, "customers"):
        if route.path not in OBJECTS:
            continue
        stranger = an_owner(house)
        headers = bearer(stranger.customer.key["value"])
        asked = OBJECTS[route.path](owner)
        own = send(house, route, route.at(OBJECTS[route.path](stranger)), headers)
        foreign = send(house, route, route.at(asked), headers)
        unknown = send(house, route, route.at(UNKNOWN_ID), headers)

        assert own[0] != 404, f"the control: {route.name} finds what is one's own"
        assert (foreign[0], foreign[1]["code"]) == (404, "RESOURCE_NOT_FOUND"), route.name
        assert _without(foreign[1], asked) == _without(unknown[1], UNKNOWN_ID), route.name


def test_a_strangers_key_or_word_changes_nothing(house: House) -> None:
    """After everybody has asked for everything of the owner, the owner has all of it."""
    owner, stranger = an_owner(house), an_owner(house)
    before = owner.customer.find(owner.task_id).json()
    headers = bearer(stranger.customer.key["value"])

    for route in routes(house, "customers"):
        if route.kind == "organization":
            send(house, route, route.at(*([OBJECTS[route.path](owner)] if "{}" in route.path else [])), headers)

    assert owner.customer.find(owner.task_id).json() == before
    assert owner.customer.find("mine").json() == before
    assert owner.customer.status()["queuedTasks"] == 1
    listed = owner.customer.client.get("/v1/webhooks/deliveries").json()["deliveries"]
    assert [one["id"] for one in listed] == [owner.delivery_id]


def _without(found: dict[str, Any], asked: str) -> dict[str, Any]:
    """An error without what must differ."""
    assert found["details"] == {"id": asked}
    return {name: value for name, value in found.items() if name not in ("details", "timestamp")}


def test_the_matrix_would_notice(house: House) -> None:
    """The control: a key that should be refused and is not fails the comparison."""
    caller = Caller(bearer(house.customer().key["value"]), everybody(REFUSED))

    status, found = send(house, Route("customers", "GET", "/v1/async/status"), "/v1/async/status", caller.headers)

    assert (status, found.get("code")) != (401, caller.told["organization"])
    assert isinstance(house.client(), httpx2.Client)
