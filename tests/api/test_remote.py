"""Operators and workers over TCP: closed by default, each with keys of its own kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairlane.api.listener import bind_tcp
from fairlane.errors import SessionGone
from fairlane.model.keys import KeyKind
from fairlane.model.leases import Exchange
from tests.api.house import House, error_of, fields_of

Start = Callable[..., House]
EXCHANGE = {"id": "e1", "places": 1, "reports": [], "wait_seconds": 0}


def a_key(house: House, kind: str, **options: Any) -> dict[str, Any]:
    """A new worker or admin key, as it is shown."""
    answer = house.admin.post("/admin/v1/keys", json={"kind": kind, "name": "far"} | options)
    assert answer.status_code == 200, answer.text
    key: dict[str, Any] = answer.json()
    return key


def bearer(key: dict[str, Any]) -> dict[str, str]:
    """The header with this key."""
    return {"authorization": f"Bearer {key['value']}"}


def test_nothing_but_customers_is_served_over_tcp_by_default(shared: House) -> None:
    """Not even to holders of the right keys."""
    with shared.client() as client:
        for path, kind in (("/admin/v1/server", "admin"), ("/worker/v1/exchange", "worker")):
            answer = client.get(path, headers=bearer(a_key(shared, kind)))
            assert answer.status_code == 404
            assert error_of(answer)["details"] == {"id": path}
    assert shared.server.admin_address is None


def test_the_private_listener_serves_operators_and_workers(a_house: Start) -> None:
    """Each with its own kind of key; customers' routes are not there, and the customers' port stays as it was."""
    house = a_house(admin_port=0)
    admin, worker, customer = a_key(house, "admin"), a_key(house, "worker"), house.customer()
    with house.client() as client:
        private = f"{house.server.admin_address}"

        assert client.get(f"{private}/admin/v1/server", headers=bearer(admin)).json()["admin_address"] == private
        body = {"name": "far/1", "types": ["ANY"], "places": 1}
        assert client.post(f"{private}/worker/v1/sessions", json=body, headers=bearer(worker)).status_code == 200
        assert client.get(f"{private}/livez").status_code == 200
        assert client.get(f"{private}/v1/async/status", headers=bearer(customer.key)).status_code == 404
        assert client.get("/admin/v1/server", headers=bearer(admin)).status_code == 404


@pytest.mark.parametrize(
    ("settings", "admins", "workers"),
    [({"public_admin": True}, 200, 404), ({"public_workers": True}, 404, 400)],
)
def test_either_may_be_served_beside_the_customers(
    a_house: Start, settings: dict[str, Any], admins: int, workers: int
) -> None:
    """One does not open the other. (400: the route is there, the body is not.)"""
    house = a_house(**settings)
    with house.client() as client:
        assert client.get("/admin/v1/server", headers=bearer(a_key(house, "admin"))).status_code == admins
        assert client.post("/worker/v1/sessions", headers=bearer(a_key(house, "worker"))).status_code == workers
        assert house.customer().client.get("/v1/async/status").status_code == 200


def test_a_session_over_tcp_is_never_local(a_file_house: Start) -> None:
    """Whatever it says of itself: only children of the server are surely gone when a new server owns the file."""
    house = a_file_house(public_workers=True)
    key = a_key(house, "worker")
    body = {"name": "far/1", "types": ["ANY"], "places": 1, "local": True}
    with house.client() as client:
        session = client.post("/worker/v1/sessions", json=body, headers=bearer(key)).json()["session"]
        near = house.worker.post("/worker/v1/sessions", json=body).json()["session"]
        house.call(house.store.sessions.return_local_leases())  # what a new server does first

        far = client.post("/worker/v1/exchange", json=EXCHANGE | {"session": session}, headers=bearer(key))

    assert far.status_code == 200
    assert house.worker.post("/worker/v1/exchange", json=EXCHANGE | {"session": near}).status_code == 410


def test_a_remote_worker_runs_a_task(a_house: Start) -> None:
    """From the lease to the result that the customer reads."""
    house = a_house(public_workers=True)
    key, customer = a_key(house, "worker"), house.customer()
    task_id = customer.accepted(payload={"n": 1})
    with house.client() as client:
        client.headers |= bearer(key)
        body = {"name": "far/1", "types": ["ANY"], "places": 1}
        session = client.post("/worker/v1/sessions", json=body).json()["session"]
        [lease] = client.post("/worker/v1/exchange", json=EXCHANGE | {"session": session}).json()["leases"]
        report = {"lease": lease["lease"], "outcome": "completed", "result": {"n": 2}}
        settled = client.post(
            "/worker/v1/exchange", json={"session": session, "id": "e2", "places": 0, "reports": [report]}
        )

    assert lease["payload"] == {"n": 1}
    assert settled.json()["verdicts"] == ["accepted"]
    assert customer.find(task_id).json()["response"] == {"n": 2}


def test_a_revoked_worker_key_ends_its_sessions(a_house: Start) -> None:
    """Requests with it are refused, and its long poll gets nothing more, however the poll began."""
    house = a_house(public_workers=True)
    key, customer = a_key(house, "worker"), house.customer()
    with house.client() as client:
        client.headers |= bearer(key)
        body = {"name": "far/1", "types": ["ANY"], "places": 1}
        session = client.post("/worker/v1/sessions", json=body).json()["session"]

        assert house.admin.delete(f"/admin/v1/keys/{key['id']}").json()["revoked_at"] is not None

        refused = client.post("/worker/v1/exchange", json=EXCHANGE | {"session": session})
        assert error_of(refused)["code"] == "INVALID_OR_EXPIRED_API_KEY"
    customer.accepted()
    with pytest.raises(SessionGone):
        house.call(house.store.leases.exchange(Exchange(session_id=session, id="e2", places=1, key_id=key["id"])))


def test_a_session_answers_only_to_the_key_that_opened_it(a_house: Start) -> None:
    """Its id stands in logs. Another worker key, and the server's own socket, neither settle, renew nor end it."""
    house = a_house(public_workers=True)
    key, customer = a_key(house, "worker"), house.customer()
    task_id = customer.accepted()
    with house.client() as owner, house.client() as thief:
        owner.headers |= bearer(key)
        thief.headers |= bearer(a_key(house, "worker"))
        session = owner.post("/worker/v1/sessions", json={"name": "far/1", "types": ["ANY"], "places": 1}).json()[
            "session"
        ]
        [lease] = owner.post("/worker/v1/exchange", json=EXCHANGE | {"session": session}).json()["leases"]
        report = {"lease": lease["lease"], "outcome": "completed", "result": {"stolen": True}}
        settle = {"session": session, "id": "e2", "places": 1, "reports": [report], "wait_seconds": 0}
        renewal = {"leases": [], "exchanges": [], "withdrawn": ["e1"]}
        path = f"/worker/v1/sessions/{session}"

        for other in (thief, house.worker):
            assert other.post("/worker/v1/exchange", json=settle).status_code == 410
            assert other.post(f"{path}/renew", json=renewal).status_code == 410
            assert other.request("DELETE", path, json={"reason": "lost"}).json() == {"returned": 0}

        assert customer.find(task_id).json()["task"]["status"] == "PROCESSING"
        assert owner.post(f"{path}/renew", json={"leases": [lease["lease"]]}).status_code == 200
        assert owner.post("/worker/v1/exchange", json=settle).json()["verdicts"] == ["accepted"]


def test_a_session_of_the_servers_own_socket_answers_to_no_key(a_house: Start) -> None:
    """It is an identity of its own."""
    house = a_house(public_workers=True)
    session = house.session()
    with house.client() as far:
        far.headers |= bearer(a_key(house, "worker"))

        assert far.post("/worker/v1/exchange", json=EXCHANGE | {"session": session.id}).status_code == 410
        assert far.post(f"/worker/v1/sessions/{session.id}/renew", json={}).status_code == 410
        far.request("DELETE", f"/worker/v1/sessions/{session.id}", json={"reason": "lost"})

    assert session.renew([], []).status_code == 200


def test_what_an_operator_does_over_tcp_is_written_down_with_the_key(a_house: Start) -> None:
    """Its name and id; the key itself is nowhere."""
    house = a_house(admin_port=0)
    key = a_key(house, "admin", name="billing")
    with house.client() as client:
        made = client.post(
            f"{house.server.admin_address}/admin/v1/organizations", json={"name": "acme"}, headers=bearer(key)
        )

    assert made.status_code == 200
    [row] = house.admin.get("/admin/v1/audit?limit=1").json()["audit"]
    assert (row["action"], row["actor"]) == ("organization.created", f"admin key billing ({key['id']})")
    assert key["value"] not in house.admin.get("/admin/v1/audit").text


def test_an_operators_key_of_ones_own_choice_is_imported(a_house: Start) -> None:
    """If it has its kind's shape."""
    house = a_house(public_admin=True)
    value = "ak_live_" + "7" * 32
    key = a_key(house, "admin", value=value)

    assert key["value"] == value
    with house.client() as client:
        assert client.get("/admin/v1/plans", headers=bearer(key)).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "organization", "name": "x"}, "kind"),
        ({"kind": "root", "name": "x"}, "kind"),
        ({"kind": "admin"}, "name"),
        ({"kind": "admin", "name": ""}, "name"),
        ({"kind": "admin", "name": "x" * 65}, "name"),
        ({"kind": "admin", "name": "x", "value": "sk_live_" + "a" * 32}, "value"),
        ({"kind": "worker", "name": "x", "value": "ak_live_" + "a" * 32}, "value"),
        ({"kind": "worker", "name": "x", "value": "wk_live_" + "a" * 15}, "value"),
        ({"kind": "worker", "name": "x", "value": "wk_live_" + "a" * 300}, "value"),
        ({"kind": "worker", "name": "x", "scope": "all"}, "scope"),
    ],
)
def test_a_key_that_cannot_be_is_refused(shared: House, body: dict[str, Any], field: str) -> None:
    """A kind that has none here, a name out of bounds, a value of another kind's shape."""
    answer = shared.admin.post("/admin/v1/keys", json=body)

    assert answer.status_code == 400
    assert fields_of(answer) == [field]


def test_made_keys_say_what_they_open(shared: House) -> None:
    """By how they begin; and none is like another."""
    values = [a_key(shared, kind)["value"] for kind in ("worker", "admin", "worker")]

    assert [value[:8] for value in values] == ["wk_live_", "ak_live_", "wk_live_"]
    assert len({value[8:] for value in values}) == 3
    assert {len(value) for value in values} == {40}
    listed = shared.admin.get("/admin/v1/keys?kind=worker").json()["keys"]
    assert {key["kind"] for key in listed} == {KeyKind.WORKER}
    assert shared.admin.get("/admin/v1/keys?kind=organization").status_code == 400


def test_the_private_port_is_free_once_the_server_has_ended(tmp_path: Path) -> None:
    """It is stopped with the others."""
    with House(tmp_path, admin_port=0) as house:
        address = f"{house.server.admin_address}"
        port = int(address.rpartition(":")[2])
        with house.client() as client:
            assert client.get(f"{address}/livez").status_code == 200

    bind_tcp("127.0.0.1", port).close()
