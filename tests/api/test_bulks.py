"""Bulks over HTTP: begun, followed, worked off by the server's own upkeep, stopped; the same for operators."""

from typing import Any

import pytest

from tests.api.house import Customer, House, error_of, eventually, fields_of


def _failed(house: House, customer: Customer, payloads: list[Any]) -> list[str]:
    """Tasks of the type ANY that failed."""
    ids = [customer.accepted("ANY", payload) for payload in payloads]
    session = house.session("ANY", places=len(ids))
    leases = session.claim(len(ids))
    reports = [
        {"lease": lease["lease"], "outcome": "failed", "cause": "x", "retry": False,
         "failure": {"code": "BROKEN", "message": "It broke"}}
        for lease in leases
    ]  # fmt: skip
    session.exchange(0, *reports)
    session.end("drained")
    return ids


def _ended(customer: Customer, bulk: dict[str, Any]) -> dict[str, Any]:
    """The bulk once the server has worked it off."""

    def look() -> dict[str, Any]:
        found: dict[str, Any] = customer.client.get(f"/v1/async/tasks/bulk/{bulk['id']}").json()["bulk"]
        return found if found["state"] != "RUNNING" else {}

    return eventually(look)


def test_failed_tasks_are_run_again(house: House) -> None:
    """The answer is 202 at once; the server does the work; an equal filter counts what there is."""
    customer = house.customer(slots=10)
    ids = _failed(house, customer, [{"n": n} for n in range(3)])
    client = customer.client

    counted = client.get("/v1/async/tasks/count?code=BROKEN").json()
    begun = client.post("/v1/async/tasks/retry", json={"code": "BROKEN", "idempotencyKey": "cure"})
    ended = _ended(customer, begun.json()["bulk"])

    assert counted == {"count": 3, "retried": 0, "complete": True}
    assert begun.status_code == 202
    assert begun.headers["location"] == f"/v1/async/tasks/bulk/{ended['id']}"
    assert (ended["state"], ended["matched"], ended["done"], ended["skipped"]) == ("DONE", 3, 3, 0)
    assert ended["filter"] == {"status": "FAILED", "code": "BROKEN"}
    listed = client.get("/v1/async/tasks?status=QUEUED").json()["tasks"]
    assert sorted(one["task"]["retryOf"] for one in listed) == sorted(ids)
    again = client.post("/v1/async/tasks/retry", json={"code": "BROKEN", "idempotencyKey": "cure"}).json()
    assert again["bulk"]["id"] == ended["id"]
    assert client.get("/v1/async/tasks/count?code=BROKEN").json()["retried"] == 3
    assert client.get("/v1/async/tasks/bulk").json()["bulks"] == [ended]


def test_queued_tasks_are_canceled(house: House) -> None:
    """Those of the filter; operators see the bulk, and begin others for all organizations."""
    customer = house.customer(slots=1)
    kept, gone = customer.accepted("ANY", {}), customer.accepted("OTHER", {})

    begun = customer.client.post("/v1/async/tasks/cancel", json={"type": "OTHER"}).json()["bulk"]
    ended = _ended(customer, begun)

    assert (ended["done"], customer.find(gone).json()["task"]["status"]) == (1, "FAILED")
    assert customer.find(kept).json()["task"]["status"] == "QUEUED"
    with house.client(house.server.admin_socket) as admin:
        seen = admin.get(f"/admin/v1/tasks/bulk/{ended['id']}").json()
        assert (seen["organization"], seen["state"], seen["filter"]) == (customer.name, "DONE", {"type": "OTHER"})
        answer = admin.post("/admin/v1/tasks/cancel", json={"organization": customer.name, "type": "ANY"})
        assert answer.status_code == 202
        mine = answer.json()["id"]
        eventually(lambda: admin.get(f"/admin/v1/tasks/bulk/{mine}").json()["state"] == "DONE")
        assert [one["id"] for one in admin.get("/admin/v1/tasks/bulk").json()["bulks"]] == [mine, ended["id"]]
        assert admin.delete(f"/admin/v1/tasks/bulk/{mine}").json()["state"] == "DONE"
        assert admin.get(f"/admin/v1/tasks/count?organization={customer.name}&type=ANY").json()["count"] == 1
        refused = admin.post("/admin/v1/tasks/retry", json={"idempotency_key_prefix": "a"})
        assert fields_of(refused) == ["idempotency_key_prefix"]
    assert customer.find(kept).json()["task"]["status"] == "FAILED"
    assert customer.client.get(f"/v1/async/tasks/bulk/{mine}").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("retry", {"status": "QUEUED"}, ["status"]),
        ("retry", {"priority": 11, "type": 5}, ["type", "priority"]),
        ("retry", {"payload": {}}, ["payload"]),
        ("retry", {"idempotencyKey": ""}, ["idempotencyKey"]),
        ("retry", [], ["body"]),
        ("cancel", {"status": "FAILED"}, ["status"]),
        ("cancel", {"code": "BROKEN"}, ["code"]),
        ("cancel", {"from": "2026-11-30T09:00:00Z", "to": "2026-11-30T09:00:00Z"}, ["from"]),
    ],
    ids=str,
)
def test_a_bulk_that_cannot_be_is_refused(customer: Customer, path: str, body: Any, fields: list[str]) -> None:
    """By every field that is wrong."""
    answer = customer.client.post(f"/v1/async/tasks/{path}", json=body)

    assert answer.status_code == 400
    assert fields_of(answer) == fields


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("code=X&status=QUEUED", ["code"]), ("priority=0", ["priority"]), ("from=now", ["from"]), ("tag=x", ["tag"]),
        ("idempotencyKeyPrefix=a&cursor=b", ["cursor"]), ("status=QUEUED&type=ANY&cursor=x", ["cursor"]),
    ],
)  # fmt: skip
def test_a_wrong_filter_of_a_list_is_refused(customer: Customer, query: str, fields: list[str]) -> None:
    """With what works instead."""
    answer = customer.client.get(f"/v1/async/tasks?{query}")

    assert answer.status_code == 400
    assert fields_of(answer) == fields


def test_a_bulk_is_stopped(customer: Customer) -> None:
    """Safe to repeat; unknown ones are not found, and a key is bound to its filter."""
    client = customer.client
    begun = client.post("/v1/async/tasks/retry", json={"idempotencyKey": "k"}).json()["bulk"]

    stopped = client.delete(f"/v1/async/tasks/bulk/{begun['id']}")

    assert stopped.json()["bulk"]["state"] in ("STOPPED", "DONE")
    assert client.delete(f"/v1/async/tasks/bulk/{begun['id']}").json() == stopped.json()
    assert client.get("/v1/async/tasks/bulk/x").status_code == 404
    other = client.post("/v1/async/tasks/retry", json={"idempotencyKey": "k", "priority": 1})
    assert (other.status_code, error_of(other)["details"]) == (409, {"field": "idempotencyKey", "value": "k"})
