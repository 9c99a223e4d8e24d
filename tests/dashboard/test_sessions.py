"""Sessions of people: what a cookie allows, what it does not, and how it ends."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from fairlane.api.http import Request
from fairlane.dashboard.sessions import LIFE_SECONDS, _cookie
from fairlane.dashboard.tries import BURST
from fairlane.errors import KeyMissing
from tests.api.house import Customer, House, error_of


@pytest.fixture
def operated(a_house: Callable[..., House]) -> House:
    """A server that serves the operator's routes to everybody with an admin key."""
    return a_house(public_admin=True)


@pytest.fixture
def browser(shared: House) -> Iterator[httpx2.Client]:
    """A client that keeps cookies and has no key."""
    with shared.client() as client:
        yield client


def log_in(browser: httpx2.Client, key: str) -> dict[str, Any]:
    """Open a session; its token goes with every further request."""
    answer = browser.post("/dashboard/login", json={"key": key})
    assert answer.status_code == 200, answer.text
    opened: dict[str, Any] = answer.json()
    browser.headers["x-fairlane-token"] = opened["token"]
    return opened


def test_an_organization_logs_in_and_sees_its_own_status(browser: httpx2.Client, customer: Customer) -> None:
    """The cookie stands for the key on the twins of the customers' routes, and the key is nowhere in it."""
    opened = log_in(browser, customer.key["value"])
    customer.accepted()

    assert (opened["kind"], opened["name"]) == ("organization", customer.name)
    assert browser.get("/dashboard/v1/async/status").json() == customer.status()
    assert customer.key["value"] not in str(browser.cookies)
    assert browser.get("/dashboard/session").json() == opened


def test_a_page_shows_how_far_running_work_is(house: House) -> None:
    """What a handler says of itself is in the page's own list of holders at its next look, and gone with its end."""
    customer, session = house.customer(), house.session("ANY")
    task = customer.accepted()
    [lease] = session.claim(1)
    with house.client() as page:
        log_in(page, customer.key["value"])
        before = page.get("/dashboard/v1/async/slots?limit=50").json()["slots"]
        said = {"lease": lease["lease"], "done": 3, "total": 4, "note": "pages"}
        body = {"session": session.id, "id": "p1", "places": 0, "wait_seconds": 0, "progress": [said]}
        assert house.worker.post("/worker/v1/exchange", json=body).status_code == 200

        [slot] = page.get("/dashboard/v1/async/slots?limit=50").json()["slots"]
        why = page.get(f"/dashboard/v1/async/task/{task}/wait").json()
        session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
        after = page.get("/dashboard/v1/async/slots?limit=50").json()["slots"]

    assert [one["progress"] for one in before] == [None]
    told = slot["progress"]
    assert (slot["id"], told["fraction"], told["done"], told["total"], told["note"]) == (task, 0.75, 3, 4, "pages")
    assert why["progress"] == told
    assert after == []


def test_the_cookie_is_for_our_pages_alone(browser: httpx2.Client, customer: Customer) -> None:
    """No script reads it, no other site sends it, and the API beside the dashboard takes no cookie."""
    answer = browser.post("/dashboard/login", json={"key": customer.key["value"]})

    attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/dashboard"} <= set(attributes)
    assert "Secure" not in attributes
    behind_tls = browser.post(
        "/dashboard/login", json={"key": customer.key["value"]}, headers={"x-forwarded-proto": "https"}
    )
    assert "Secure" in behind_tls.headers["set-cookie"].split("; ")
    cookie = {"cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert browser.get("/v1/async/status", headers=cookie).status_code == 401


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_a_change_needs_the_sessions_token(browser: httpx2.Client, customer: Customer, token: str | None) -> None:
    """Reading needs the cookie alone; changing also what only our pages can read: so no other site can change."""
    log_in(browser, customer.key["value"])
    del browser.headers["x-fairlane-token"]
    headers = {} if token is None else {"x-fairlane-token": token}

    refused = browser.request("DELETE", "/dashboard/v1/async/queue", headers=headers)

    assert (refused.status_code, error_of(refused)["code"]) == (403, "CROSS_SITE_REQUEST")
    assert browser.get("/dashboard/v1/async/status").status_code == 200


def test_a_change_with_the_token_is_made(browser: httpx2.Client, customer: Customer) -> None:
    """The control: with the token it goes through."""
    log_in(browser, customer.key["value"])
    customer.accepted()

    assert browser.delete("/dashboard/v1/async/queue").json() == {"success": True, "cleared": 1}


def test_a_token_of_another_session_does_not_do(browser: httpx2.Client, shared: House, customer: Customer) -> None:
    """Each session has a token of its own."""
    other = log_in(browser, shared.customer().key["value"])["token"]
    log_in(browser, customer.key["value"])

    refused = browser.delete("/dashboard/v1/async/queue", headers={"x-fairlane-token": other})

    assert refused.status_code == 403


@pytest.mark.parametrize(
    "forge",
    [
        lambda cookie: "",
        lambda cookie: "x",
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie.replace("organization", "admin"),
        lambda cookie: ".".join([*cookie.split(".")[:3], "99999999999999", cookie.split(".")[4]]),
        lambda cookie: ".".join(["0" * 32, *cookie.split(".")[1:]]),
        lambda cookie: "a.b.c.d.e",
    ],
    ids=["empty", "nonsense", "signature", "kind", "life", "another", "parts"],
)
def test_a_forged_cookie_is_no_session(browser: httpx2.Client, customer: Customer, forge: Callable[[str], str]) -> None:
    """Whatever is changed in it."""
    log_in(browser, customer.key["value"])
    cookie = browser.cookies["fairlane_session"]
    browser.cookies.clear()

    refused = browser.get("/dashboard/v1/async/status", headers={"cookie": f"fairlane_session={forge(cookie)}"})

    assert (refused.status_code, error_of(refused)["code"]) == (401, "MISSING_API_KEY")


@pytest.mark.parametrize("others", ['{"a": "b;"}; =; x', "a=b; " * 6_000], ids=["broken", "thousands"])
def test_other_cookies_do_not_hide_the_session(browser: httpx2.Client, customer: Customer, others: str) -> None:
    """Cookies of other applications under the same name: what no RFC allows, too, and as many as a header can hold."""
    log_in(browser, customer.key["value"])
    cookie = browser.cookies["fairlane_session"]
    browser.cookies.clear()

    answer = browser.get("/dashboard/session", headers={"cookie": f"{others}; fairlane_session={cookie}; y=z"})

    assert answer.json()["kind"] == "organization"


def test_reading_cookies_grows_with_their_bytes_alone() -> None:
    """One header of a stranger does not hold the event loop; a reader whose work is the square takes hours here."""
    scope: dict[str, Any] = {"headers": [(b"cookie", b"a=b; " * 1_000_000)]}

    with pytest.raises(KeyMissing):
        _cookie(Request(scope, receive=None, id="1"))  # type: ignore[arg-type]


def test_a_session_ends_with_its_key(browser: httpx2.Client, shared: House, customer: Customer) -> None:
    """A revoked key closes what it opened, from the next request on."""
    log_in(browser, customer.key["value"])
    shared.admin.delete(f"/admin/v1/keys/{customer.key['id']}")

    assert browser.get("/dashboard/v1/async/status").status_code == 401
    assert browser.get("/dashboard/session").json()["kind"] is None
    assert browser.get("/dashboard/events").status_code == 401


def test_a_session_ends_after_its_time(a_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a day, however busy it was."""
    house = a_house()
    customer = house.customer()
    with house.client() as browser:
        log_in(browser, customer.key["value"])
        now = house.store.now
        monkeypatch.setattr(house.store, "now", lambda: now() + LIFE_SECONDS * 1_000 - 60_000)
        assert browser.get("/dashboard/session").json()["kind"] is not None

        monkeypatch.setattr(house.store, "now", lambda: now() + LIFE_SECONDS * 1_000)

        assert browser.get("/dashboard/session").json()["kind"] is None


def test_logging_out_ends_the_session(browser: httpx2.Client, customer: Customer) -> None:
    """The browser is told to drop the cookie, and a copy of it opens nothing any more, whoever kept one."""
    token = log_in(browser, customer.key["value"])["token"]
    copy = {"cookie": f"fairlane_session={browser.cookies['fairlane_session']}", "x-fairlane-token": token}

    left = browser.delete("/dashboard/session")

    assert "Max-Age=0" in left.headers["set-cookie"]
    assert "fairlane_session" not in browser.cookies
    for path in ("/dashboard/v1/async/status", "/dashboard/access/keys", "/dashboard/events", "/dashboard/nowhere"):
        assert browser.get(path, headers=copy).status_code == 401, path
    assert browser.delete("/dashboard/v1/async/queue", headers=copy).status_code == 401
    assert browser.get("/dashboard/session", headers=copy).json()["kind"] is None


def test_logging_out_leaves_the_keys_other_sessions(browser: httpx2.Client, shared: House, customer: Customer) -> None:
    """Two sessions of one key, opened in one millisecond, are two."""
    with shared.client() as other, pytest.MonkeyPatch.context() as still:
        at = shared.store.now()
        still.setattr(shared.store, "now", lambda: at)
        log_in(browser, customer.key["value"])
        log_in(other, customer.key["value"])

        assert browser.delete("/dashboard/session").status_code == 200

        assert other.get("/dashboard/v1/async/status").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"key": 5}',
        b'{"key": "x", "more": 1}',
        b"key=sk_live_0123456789abcdef",
        b'{"key": "sk_live_short"}',
    ],
)
def test_a_login_that_is_none_is_refused(browser: httpx2.Client, body: bytes) -> None:
    """With an envelope, and no cookie."""
    refused = browser.post("/dashboard/login", content=body, headers={"content-type": "application/json"})

    assert refused.status_code in (400, 401)
    assert error_of(refused)["code"] in ("VALIDATION_ERROR", "INVALID_API_KEY_FORMAT")
    assert "set-cookie" not in refused.headers


def test_another_sites_form_cannot_log_anybody_in(browser: httpx2.Client, customer: Customer) -> None:
    """A form sends text/plain at most; only a script of ours says that it sends JSON."""
    body = json.dumps({"key": customer.key["value"]})

    refused = browser.post("/dashboard/login", content=body, headers={"content-type": "text/plain"})

    assert refused.status_code == 401


def test_an_unknown_key_is_refused(browser: httpx2.Client) -> None:
    """It looks right and belongs to nobody."""
    refused = browser.post("/dashboard/login", json={"key": "sk_live_" + "0" * 32})

    assert (refused.status_code, error_of(refused)["code"]) == (401, "INVALID_OR_EXPIRED_API_KEY")


def test_failed_logins_of_an_address_are_limited(house: House) -> None:
    """The try after the burst is refused before its key is looked up; another address goes on."""
    customer = house.customer()
    with house.client() as browser:
        behind = {"x-forwarded-for": "203.0.113.9"}
        for number in range(BURST):
            wrong = {"key": f"sk_live_{number:032}"}
            assert browser.post("/dashboard/login", json=wrong, headers=behind).status_code == 401

        right = {"key": customer.key["value"]}
        refused = browser.post("/dashboard/login", json=right, headers=behind)

        assert (refused.status_code, error_of(refused)["code"]) == (429, "LOGIN_LIMIT_EXCEEDED")
        assert int(refused.headers["retry-after"]) <= 5
        assert "set-cookie" not in refused.headers
        # What a stranger writes before the address that the proxy added makes it no other one.
        forged = {"x-forwarded-for": "198.51.100.7, 203.0.113.9"}
        assert browser.post("/dashboard/login", json=right, headers=forged).status_code == 429
        assert browser.post("/dashboard/login", json=right).status_code == 200


def test_logins_with_one_key_are_limited(house: House) -> None:
    """From whatever addresses: each would be a session. Another key of the organization goes on."""
    customer = house.customer()
    other = house.admin.post(f"/admin/v1/organizations/{customer.name}/keys", json={}).json()
    with house.client() as browser:
        answers = [
            browser.post("/dashboard/login", json={"key": key}, headers={"x-forwarded-for": f"203.0.113.{number}"})
            for number, key in enumerate([*[customer.key["value"]] * (BURST + 1), other["value"]])
        ]

    assert [answer.status_code for answer in answers] == [*[200] * BURST, 429, 200]


def test_operators_log_in_only_where_their_routes_are_served(operated: House, shared: House) -> None:
    """An admin key opens the operator's dashboard on a surface with the operator's routes, and nothing elsewhere."""
    made = operated.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "me"})
    key = made.json()["value"]
    with operated.client() as browser, shared.client() as elsewhere:
        opened = log_in(browser, key)
        assert opened["kind"] == "operator"
        assert browser.get("/dashboard/admin/v1/plans").status_code == 200
        assert browser.get("/dashboard/v1/async/status").status_code == 401
        changed = browser.put("/dashboard/admin/v1/maintenance", json={"on": False})
        assert changed.status_code == 200
        audit = browser.get("/dashboard/admin/v1/audit").json()["audit"]
        assert audit[0]["actor"].startswith("admin key me")

        assert elsewhere.post("/dashboard/login", json={"key": key}).status_code == 401


def test_an_organizations_session_opens_no_operators_route(operated: House) -> None:
    """Not by its cookie, and not by its token."""
    customer = operated.customer()
    with operated.client() as browser:
        log_in(browser, customer.key["value"])

        refused = browser.get("/dashboard/admin/v1/plans")

    assert (refused.status_code, error_of(refused)["code"]) == (401, "INVALID_OR_EXPIRED_API_KEY")


def test_the_dashboard_can_be_left_out(a_house: Callable[..., House]) -> None:
    """With the setting off there is no such path."""
    house = a_house(dashboard=False)
    with house.client() as browser:
        assert browser.get("/dashboard").status_code == 404
        assert browser.post("/dashboard/login", json={"key": "sk_live_" + "0" * 32}).status_code == 404


def test_the_page_and_its_files_let_nothing_come_from_elsewhere(browser: httpx2.Client) -> None:
    """A policy that names ourselves alone, types that are not guessed, no frames; and 304 to who has it."""
    page = browser.get("/dashboard")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    again = browser.get("/dashboard", headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304
    assert browser.get("/dashboard/assets/any/nothing.js").status_code == 404
    assert browser.get("/dashboard/assets/any/..%2Fsurface.py").status_code == 404


def test_files_are_compressed_and_kept_by_their_content(browser: httpx2.Client) -> None:
    """The page names them below a hash of all; an address with another hash has to be asked for again."""
    page = browser.get("/dashboard")
    [style] = re.findall(r'href="(/dashboard/assets/[0-9a-f]{16}/style.css)"', page.text)

    kept = browser.get(style, headers={"accept-encoding": "br, gzip;q=0.8"})
    plain = browser.get(style, headers={"accept-encoding": "gzip;q=0, identity"})
    other = browser.get("/dashboard/assets/0000/style.css")

    assert "{" not in page.text
    assert page.headers["cache-control"] == "no-cache"
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (kept.headers["content-encoding"], kept.headers["vary"]) == ("gzip", "accept-encoding")
    assert "content-encoding" not in plain.headers
    assert int(kept.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert kept.text == plain.text == other.text
    assert other.headers["cache-control"] == "no-cache"


def test_an_operator_sees_an_organizations_dashboard_and_changes_nothing(operated: House) -> None:
    """What reads answers, what changes is refused by the server, and the audit names the view."""
    customer = operated.customer()
    task_id = customer.accepted()
    key = operated.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "me"}).json()["value"]
    with operated.client() as browser, operated.client() as other:
        log_in(browser, key)
        log_in(other, key)
        opened = browser.post("/dashboard/view", json={"organization": customer.name}).json()
        view = {"x-fairlane-view": opened["view"]}

        seen = browser.get("/dashboard/v1/async/status", headers=view)
        assert (seen.status_code, seen.json()["queuedTasks"]) == (200, 1)
        assert browser.get(f"/dashboard/v1/async/task/{task_id}", headers=view).status_code == 200
        assert browser.get("/dashboard/access/keys", headers=view).status_code == 200
        changes = {
            (method, path)
            for resource in operated.server.surfaces["customers"].resources
            for method in resource.endpoints
            if (path := resource.path).startswith(("/dashboard/v1/", "/dashboard/access/"))
            and method not in ("GET", "HEAD")
        }
        for method, path in changes:
            refused = browser.request(method, path.replace("{}", "x"), headers=view, json={})
            assert (refused.status_code, error_of(refused)["code"]) == (403, "READ_ONLY_VIEW"), (method, path)
        assert len(changes) > 15
        assert customer.status()["queuedTasks"] == 1

        # It belongs to the session that opened it, and to this organization.
        assert browser.get("/dashboard/v1/async/status").status_code == 401
        assert other.get("/dashboard/v1/async/status", headers=view).status_code == 401
        forged = {"x-fairlane-view": f"1{opened['view']}"}
        assert browser.get("/dashboard/v1/async/status", headers=forged).status_code == 401
        assert browser.get(f"/dashboard/events?view=1{opened['view']}").status_code == 401
        audit = browser.get("/dashboard/admin/v1/audit").json()["audit"]
        viewed = [one for one in audit if one["action"] == "organization.viewed"]
        assert [(one["subject"], one["actor"][:12]) for one in viewed] == [(customer.name, "admin key me")]


def test_an_organization_opens_no_view(browser: httpx2.Client, customer: Customer) -> None:
    """Neither of another one nor of itself."""
    log_in(browser, customer.key["value"])

    refused = browser.post("/dashboard/view", json={"organization": customer.name})

    assert (refused.status_code, error_of(refused)["code"]) == (401, "INVALID_OR_EXPIRED_API_KEY")
