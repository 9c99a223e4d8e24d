"""Tickets: what an address of ``fairlane dashboard`` opens, once, and what it does not."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fairlane.dashboard.tickets import OPENED_MOST, TICKET_SECONDS, TICKETS_MOST, Tickets, is_loopback, local_address
from fairlane.errors import KeyRefused
from tests.api.house import House, error_of

FOREIGN = [
    {"host": "evil.example"},
    {"host": "evil.example:8000"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "localhost.evil.example"},
    {"host": ""},
    {"x-forwarded-for": "203.0.113.9"},
    {"forwarded": "for=203.0.113.9"},
]


@pytest.fixture
def browser(shared: House) -> Iterator[httpx2.Client]:
    """A client that keeps cookies and has no key, at a server on loopback with default settings."""
    with shared.client() as client:
        yield client


def a_ticket(house: House) -> str:
    """One that the admin socket gives."""
    answer = house.admin.post("/admin/v1/dashboard/tickets")
    assert answer.status_code == 200, answer.text
    address, _, ticket = answer.json()["address"].partition("/dashboard#/enter/")
    assert address in (house.server.address, house.server.admin_address)
    return str(ticket)


def enter(browser: httpx2.Client, ticket: str, **headers: str) -> httpx2.Response:
    """Exchange it; the session's token goes with every further request."""
    answer = browser.post("/dashboard/enter", json={"ticket": ticket}, headers=headers)
    if answer.status_code == 200:
        browser.headers["x-fairlane-token"] = answer.json()["token"]
    return answer


def test_a_ticket_opens_the_operators_pages_of_a_default_server(browser: httpx2.Client, shared: House) -> None:
    """With an ordinary cookie; changes need the token; the audit names the user of the socket."""
    opened = enter(browser, a_ticket(shared))

    assert (opened.json()["kind"], opened.json()["name"]) == ("operator", "this machine")
    assert {"HttpOnly", "SameSite=Strict", "Path=/dashboard"} <= set(opened.headers["set-cookie"].split("; "))
    assert browser.get("/dashboard/session").json() == opened.json()
    assert browser.get("/dashboard/admin/v1/overview").status_code == 200
    assert browser.put("/dashboard/admin/v1/maintenance", json={"on": False}).status_code == 200
    assert (
        browser.get("/dashboard/admin/v1/audit")
        .json()["audit"][0]["actor"]
        .startswith("dashboard of admin socket uid=")
    )
    del browser.headers["x-fairlane-token"]
    refused = browser.put("/dashboard/admin/v1/maintenance", json={"on": True})
    assert (refused.status_code, error_of(refused)["code"]) == (403, "CROSS_SITE_REQUEST")


def test_the_customers_port_opens_nothing_else(browser: httpx2.Client, shared: House) -> None:
    """``/admin/v1`` stays closed, an admin key logs in nowhere, and a ticket is no session of an organization."""
    key = shared.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "me"}).json()["value"]
    assert enter(browser, a_ticket(shared)).json()["accepts"] == ["organization"]

    assert browser.get("/admin/v1/overview").status_code == 404
    assert browser.get("/admin/v1/overview", headers={"authorization": f"Bearer {key}"}).status_code == 404
    assert browser.get("/dashboard/v1/async/status").status_code == 401
    assert browser.post("/dashboard/admin/v1/dashboard/tickets").status_code == 404
    assert browser.post("/dashboard/login", json={"key": key}).status_code == 401


def test_a_ticket_is_used_once(browser: httpx2.Client, shared: House) -> None:
    """Also if its first user was the wrong one: then the right one sees it."""
    ticket = a_ticket(shared)
    assert enter(browser, ticket).status_code == 200

    with shared.client() as second:
        refused = enter(second, ticket)

        assert (refused.status_code, error_of(refused)["code"]) == (401, "INVALID_OR_EXPIRED_API_KEY")
        assert "set-cookie" not in refused.headers


def test_a_ticket_is_for_a_minute() -> None:
    """The last millisecond before the end opens a session, the end does not."""
    now = [1_000]
    tickets = Tickets(lambda: now[0])
    (early, _), (late, ticket) = tickets.give("me"), tickets.give("me")
    assert ticket.expires_at == 1_000 + TICKET_SECONDS * 1_000

    now[0] = ticket.expires_at - 1
    assert tickets.actor(tickets.take(early)) == "me"
    now[0] = ticket.expires_at
    with pytest.raises(KeyRefused):
        tickets.take(late)


def test_tickets_and_their_sessions_are_bounded() -> None:
    """The oldest give way."""
    tickets = Tickets(lambda: 0)
    given = [tickets.give("me")[0] for _ in range(TICKETS_MOST + 1)]
    with pytest.raises(KeyRefused):
        tickets.take(given[0])

    opened = [tickets.take(given[1])] + [tickets.take(tickets.give("me")[0]) for _ in range(OPENED_MOST)]

    assert [tickets.actor(name) for name in (opened[0], opened[1], opened[-1])] == [None, "me", "me"]


@pytest.mark.parametrize("ticket", ["", "x", "\u0000", "\ud800", "0" * 3_000])
def test_a_ticket_that_was_not_given_opens_nothing(browser: httpx2.Client, ticket: str) -> None:
    """Whatever it is."""
    body = json.dumps({"ticket": ticket})
    refused = browser.post("/dashboard/enter", content=body, headers={"content-type": "application/json"})

    assert refused.status_code in (400, 401)
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_request_from_elsewhere_opens_nothing(browser: httpx2.Client, shared: House, headers: dict[str, str]) -> None:
    """It names another host, or a proxy forwarded it; the ticket stays good, and a session is not usable that way."""
    ticket = a_ticket(shared)

    refused = enter(browser, ticket, **headers)

    assert (refused.status_code, error_of(refused)["code"]) == (403, "CROSS_SITE_REQUEST")
    assert "set-cookie" not in refused.headers
    assert enter(browser, ticket).status_code == 200
    assert browser.get("/dashboard/admin/v1/overview", headers=headers).status_code == 401
    assert browser.get("/dashboard/events", headers=headers).status_code == 401
    assert browser.get("/dashboard/session", headers=headers).json()["kind"] is None


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:9000", "127.9.9.9", "[::1]:9000"])
def test_every_name_of_this_machine_does(browser: httpx2.Client, shared: House, host: str) -> None:
    """The end of a tunnel has another port."""
    assert enter(browser, a_ticket(shared), host=host).status_code == 200
    assert browser.get("/dashboard/admin/v1/overview", headers={"host": host}).status_code == 200


def test_another_sites_form_cannot_use_a_ticket(browser: httpx2.Client, shared: House) -> None:
    """A form sends text/plain at most."""
    ticket = a_ticket(shared)
    body = json.dumps({"ticket": ticket})

    refused = browser.post("/dashboard/enter", content=body, headers={"content-type": "text/plain"})

    assert refused.status_code == 403
    assert enter(browser, ticket).status_code == 200


def test_logging_out_ends_it(browser: httpx2.Client, shared: House) -> None:
    """A copy of the cookie opens nothing; a second session of the machine goes on."""
    with shared.client() as other:
        assert enter(other, a_ticket(shared)).status_code == 200
        token = enter(browser, a_ticket(shared)).json()["token"]
        copy = {"cookie": f"fairlane_session={browser.cookies['fairlane_session']}", "x-fairlane-token": token}

        left = browser.delete("/dashboard/session")

        assert "Max-Age=0" in left.headers["set-cookie"]
        for path in ("/dashboard/admin/v1/overview", "/dashboard/events", "/dashboard/nowhere"):
            assert browser.get(path, headers=copy).status_code == 401, path
        assert other.get("/dashboard/admin/v1/overview").status_code == 200


def test_it_is_for_the_server_that_gave_it(shared: House, a_house: Callable[..., House]) -> None:
    """Neither a ticket nor a session opens another server."""
    other = a_house()
    ticket = a_ticket(other)
    with shared.client() as browser, other.client() as at_home:
        assert enter(browser, ticket).status_code == 401
        assert enter(at_home, ticket).status_code == 200
        cookie = {"cookie": f"fairlane_session={at_home.cookies['fairlane_session']}"}
        assert at_home.get("/dashboard/admin/v1/overview").status_code == 200
        assert browser.get("/dashboard/admin/v1/overview", headers=cookie).status_code == 401


def test_a_session_ends_with_its_server(tmp_path: Path) -> None:
    """A server that begins again on the same database signs with the same secret, and knows no ticket."""
    with House(tmp_path) as first, first.client() as browser:
        enter(browser, a_ticket(first))
        cookie = {"cookie": f"fairlane_session={browser.cookies['fairlane_session']}"}
        assert browser.get("/dashboard/admin/v1/overview").status_code == 200

    with House(tmp_path) as second, second.client() as browser:
        assert browser.get("/dashboard/admin/v1/overview", headers=cookie).status_code == 401
        assert browser.get("/dashboard/session", headers=cookie).json()["kind"] is None


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"admin_port": 0}, "admin_address"),
        ({"host": "0.0.0.0", "admin_port": 0}, "admin_address"),
        ({"public_admin": True}, "address"),
    ],
    ids=["private", "private beside an open port", "public"],
)
def test_the_private_listener_has_the_pages_if_there_is_one(
    a_house: Callable[..., House], settings: dict[str, Any], place: str
) -> None:
    """Otherwise the customers' port with the operators' routes."""
    house = a_house(**settings)
    address = getattr(house.server, place)
    with httpx2.Client(base_url=address) as browser:
        assert enter(browser, a_ticket(house)).status_code == 200
        assert browser.get("/dashboard/admin/v1/overview").status_code == 200


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"dashboard": False}], ids=["open port", "no dashboard"])
def test_no_ticket_is_given_where_no_page_is_served(a_house: Callable[..., House], settings: dict[str, Any]) -> None:
    """A port that other machines reach has no operators' pages, by a ticket or otherwise."""
    house = a_house(**settings)

    assert house.admin.post("/admin/v1/dashboard/tickets").status_code == 404
    with httpx2.Client(base_url=f"http://127.0.0.1:{house.server.address.rpartition(':')[2]}") as browser:
        assert browser.get("/dashboard/admin/v1/overview").status_code in (401, 404)
        if house.settings.dashboard:
            served = {one.path for one in house.server.surfaces["customers"].resources}
            assert not {path for path in served if path.startswith("/dashboard/admin")}


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("0.0.0.0", False),
     ("10.0.0.5", False), ("localhost.example", False), ("127.0.0.1.example", False), ("", False)],
)  # fmt: skip
def test_loopback_is_known_by_its_name(host: str, here: bool) -> None:
    """Nothing is looked up."""
    assert is_loopback(host) is here


def test_an_address_of_every_interface_is_opened_on_loopback() -> None:
    """A browser cannot open the address that the server is bound to."""
    bound = ["http://0.0.0.0:8000", "http://[::]:8000", "http://10.0.0.5:8000", "http://[::1]:8000"]

    assert [local_address(one) for one in bound] == [
        "http://127.0.0.1:8000", "http://[::1]:8000", "http://10.0.0.5:8000", "http://[::1]:8000"
    ]  # fmt: skip
