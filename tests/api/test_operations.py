"""The operator's lists over HTTP: their pages, their filters, what they refuse."""

from typing import Any

import pytest

from tests.api.house import House, error_of, fields_of


def test_a_list_says_where_it_goes_on(house: House) -> None:
    """Only if there is more."""
    for name in ("a", "b", "c"):
        house.admin.post("/admin/v1/organizations", json={"name": name})

    first = house.admin.get("/admin/v1/organizations?limit=2").json()
    rest = house.admin.get(f"/admin/v1/organizations?limit=2&cursor={first['cursor']}").json()

    assert [one["name"] for one in first["organizations"]] == ["a", "b"]
    assert [one["name"] for one in rest["organizations"]] == ["c"]
    assert "cursor" not in rest
    audit = house.admin.get("/admin/v1/audit?limit=1&action=organization.created").json()
    older = house.admin.get(f"/admin/v1/audit?action=organization.created&cursor={audit['cursor']}").json()
    assert [row["subject"] for row in [*audit["audit"], *older["audit"]]] == ["c", "b", "a"]
    assert "cursor" not in older


def test_a_failed_tasks_cause_is_the_operators_alone(house: House) -> None:
    """The customer sees the generic failure."""
    customer, session = house.customer(), house.session("ANY")
    task_id = customer.accepted()
    [lease] = session.claim(1)
    failed = {"lease": lease["lease"], "outcome": "failed", "cause": "secret cause", "retry": False}
    session.exchange(0, failed)

    seen = house.admin.get(f"/admin/v1/tasks/{task_id}").json()
    listed = house.admin.get("/admin/v1/tasks", params={"organization": customer.name, "status": "FAILED"}).json()

    assert (seen["cause"], seen["organization"], seen["status"]) == ("secret cause", customer.name, "FAILED")
    assert listed == {"tasks": [seen]}
    assert "secret cause" not in customer.find(task_id).text


def test_live_sessions_are_listed(house: House) -> None:
    """With what they serve."""
    session = house.session("ANY", places=3)

    [found] = house.admin.get("/admin/v1/sessions").json()["sessions"]

    assert (found["id"], found["types"], found["places"], found["leases"]) == (session.id, ["ANY"], 3, 0)


def test_a_plan_is_deleted_once(house: House) -> None:
    """And not while it is in use."""
    house.admin.post("/admin/v1/plans", json={"name": "pro", "slots": 2})

    assert house.admin.delete("/admin/v1/plans/pro").json()["name"] == "pro"
    assert house.admin.delete("/admin/v1/plans/pro").status_code == 404
    refused = house.admin.delete("/admin/v1/plans/default")
    assert (refused.status_code, error_of(refused)["code"]) == (409, "RESOURCE_IN_USE")


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("tasks", {"status": "DONE"}, "status"),
        ("tasks", {"limit": "0"}, "limit"),
        ("tasks", {"limit": "1001"}, "limit"),
        ("tasks", {"cursor": "x"}, "cursor"),
        ("tasks", {"cursor": "9" * 30 + ".x"}, "cursor"),
        ("tasks", {"stat": "FAILED"}, "stat"),
        ("organizations", {"limit": "-1"}, "limit"),
        ("sessions", {"limit": "٣"}, "limit"),
        ("audit", {"limit": "10001"}, "limit"),
        ("audit", {"who": "x"}, "who"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(shared: House, path: str, query: dict[str, Any], field: str) -> None:
    """By the name of the parameter."""
    answer = shared.admin.get(f"/admin/v1/{path}", params=query)

    assert answer.status_code == 400
    assert fields_of(answer) == [field]
