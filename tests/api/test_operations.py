"""The operator's lists over HTTP: their pages, their filters, what they refuse."""

import csv
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from fairlane.store import Store, erasing
from tests.api.house import House, error_of, eventually, fields_of
from tests.builders import Operations
from tests.store.databases import Clock


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


def test_organizations_are_found_by_the_beginning_of_their_names(house: House) -> None:
    """In pages, like all of them."""
    for name in ("acme", "acme-2", "acme-3", "bcme", "ac"):
        house.admin.post("/admin/v1/organizations", json={"name": name})

    first = house.admin.get("/admin/v1/organizations?search=acm&limit=2").json()
    rest = house.admin.get(f"/admin/v1/organizations?search=acm&limit=2&cursor={first['cursor']}").json()
    none = house.admin.get("/admin/v1/organizations?search=acme-9").json()

    assert [one["name"] for one in first["organizations"] + rest["organizations"]] == ["acme", "acme-2", "acme-3"]
    assert ("cursor" in rest, none) == (False, {"organizations": []})


def test_the_overview_says_what_is_wrong(house: House) -> None:
    """With the sums of all organizations and the last hour, in one answer that all operators share."""
    customer = house.customer()
    customer.accepted()

    seen = eventually(lambda: (one := house.admin.get("/admin/v1/overview").json())["total"]["queued"] and one)

    assert [(one["kind"], one["grade"], one["message"]) for one in seen["troubles"]] == [
        ("no_workers", "problem", "No worker is connected: 1 task waits")
    ]
    assert len(seen["minutes"]) == 60
    assert seen["minutes"][-1]["submitted"] == 1
    house.session("ANY")
    eventually(lambda: house.admin.get("/admin/v1/overview").json()["troubles"] == [])


def test_lanes_are_those_of_the_organizations_that_are_named(house: House) -> None:
    """In that order, without one that does not exist; too many, and what is no id, are refused."""
    names = [house.customer().name for _ in range(3)]
    ids = {one["name"]: one["id"] for one in house.admin.get("/admin/v1/organizations").json()["organizations"]}
    wanted = f"{ids[names[2]]},999999,{ids[names[0]]}"

    seen = house.admin.get("/admin/v1/lanes", params={"organizations": wanted}).json()["organizations"]
    refused = [
        house.admin.get("/admin/v1/lanes", params={"organizations": text})
        for text in ("acme", "-1", ",".join(str(number) for number in range(101)))
    ]

    assert [one["name"] for one in seen] == [names[2], names[0]]
    assert (seen[0]["used"], seen[0]["holders"], seen[0]["levels"], seen[0]["next"]) == (0, [], [], None)
    assert house.admin.get("/admin/v1/lanes").json()["organizations"] == []
    assert [fields_of(one) for one in refused] == [["organizations"]] * 3


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


def test_operators_read_a_payload_as_it_was_sent(house: House) -> None:
    """A result that is not there yet is null; a task that is not there is not found."""
    task_id = house.customer().accepted()

    payload = house.admin.get(f"/admin/v1/tasks/{task_id}/payload")
    result = house.admin.get(f"/admin/v1/tasks/{task_id}/result")

    assert payload.json() == {}
    assert payload.headers["cache-control"] == "no-store"
    assert result.json() is None
    assert house.admin.get("/admin/v1/tasks/nothing/payload").status_code == 404
    assert house.admin.get("/admin/v1/tasks/nothing/result").status_code == 404


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


def test_an_erased_organization_is_gone(house: House) -> None:
    """Asked again until it is done; its key opens nothing, its task is nowhere."""
    customer, session = house.customer(), house.session("ANY")
    task_id = customer.accepted()
    [lease] = session.claim(1)
    customer.accepted()

    answer = house.admin.delete(f"/admin/v1/organizations/{customer.name}")

    assert answer.json() == {"organization": customer.name, "rows": answer.json()["rows"], "done": True}
    assert error_of(customer.client.get("/v1/async/status"))["code"] == "INVALID_OR_EXPIRED_API_KEY"
    assert house.admin.get(f"/admin/v1/tasks/{task_id}").status_code == 404
    assert house.admin.get(f"/admin/v1/organizations/{customer.name}").status_code == 404
    assert house.admin.delete(f"/admin/v1/organizations/{customer.name}").status_code == 404
    reported = session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
    assert reported.json()["verdicts"] == ["gone"]


def test_upkeep_finishes_an_erasing_that_was_broken_off(a_house: Callable[..., House]) -> None:
    """Without anybody asking again."""
    house = a_house(sweep_seconds=0.05)
    customer = house.customer()
    customer.accepted()
    house.call(Operations(house.store.shared).run(erasing.begin_erasing, customer.name, "a test"))

    eventually(lambda: house.admin.get(f"/admin/v1/organizations/{customer.name}").status_code == 404)


def test_a_month_is_exported_as_json_and_as_csv(a_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers."""
    monkeypatch.setattr(Store, "open", partial(Store.open, now=Clock()))  # It stands in the middle of a month.
    house = a_house()
    customer = house.customer()
    customer.accepted()
    month = "2027-01"

    as_json = house.admin.get("/admin/v1/usage/monthly", params={"month": month}).json()["usage"]
    as_csv = house.admin.get("/admin/v1/usage/monthly", params={"month": month, "format": "csv"})

    assert as_csv.headers["content-type"] == "text/csv; charset=utf-8"
    [row] = csv.DictReader(io.StringIO(as_csv.text))
    assert [*row] == [*as_json[0]]
    assert (row["organization"], row["submitted"], row["closed"]) == (customer.name, "1", "no")
    assert (as_json[0]["submitted"], as_json[0]["closed"]) == (1, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "month"),
        ({"month": "2026-13"}, "month"),
        ({"month": "2026-1"}, "month"),
        ({"month": "2026-11", "format": "xml"}, "format"),
    ],
)
def test_a_month_that_is_none_is_refused(shared: House, query: dict[str, str], field: str) -> None:
    """So is a format that nobody writes."""
    answer = shared.admin.get("/admin/v1/usage/monthly", params=query)

    assert answer.status_code == 400
    assert fields_of(answer) == [field]


def test_an_operator_cancels_anybodys_task(house: House) -> None:
    """As its organization could; it is written down, and a task that has ended stays as it ended."""
    customer = house.customer()
    task_id = customer.accepted()

    canceled = house.admin.delete(f"/admin/v1/tasks/{task_id}").json()

    assert (canceled["status"], canceled["failure"]["code"], canceled["charged"]) == ("FAILED", "TASK_CANCELED", 0)
    assert customer.find(task_id).json()["task"]["status"] == "FAILED"
    [row] = house.admin.get("/admin/v1/audit?limit=1").json()["audit"]
    assert (row["action"], row["subject"], row["details"]) == ("task.canceled", customer.name, {"task": task_id})
    assert house.admin.delete("/admin/v1/tasks/0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11").status_code == 404
