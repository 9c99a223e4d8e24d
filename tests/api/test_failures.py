"""Attempts and failures over HTTP: what customers see of them, and what only operators do."""

from typing import Any

import pytest

from tests.api.house import Customer, House, error_of, fields_of

PLACE = {"exception": "ImportError", "place": "shop.orders:total", "line": 12}


def failed(house: House, **report: Any) -> tuple[Customer, str, str]:
    """An organization with a task that failed at its first attempt, by this report of a worker; its task and lease."""
    customer = house.customer(slots=1)
    task = customer.accepted(idempotencyKey="a/b")
    session = house.session("ANY")
    [lease] = session.claim(1)
    told = {"lease": lease["lease"], "outcome": "failed", "cause": "ImportError: secret"} | report
    assert session.exchange(0, told).json()["verdicts"] == ["accepted"]
    return customer, task, lease["lease"]


def test_an_attempt_is_told_without_its_cause(house: House) -> None:
    """By the task's id or its key; operators see cause, worker and lease, too."""
    customer, task, lease = failed(house, origin=PLACE, pause_seconds=5)

    answer = customer.client.get("/v1/async/task/a%2Fb/attempts")
    [facts] = house.admin.get(f"/admin/v1/tasks/{task}/attempts").json()["attempts"]

    body = answer.json()
    [one] = body["attempts"]
    assert answer.headers["cache-control"] == "no-store"
    assert (body["taskId"], body["omitted"]) == (task, 0)
    assert (one["number"], one["ending"], one["failure"]) == (1, "FAILED", None)
    assert one["startedAt"] <= one["endedAt"] < one["nextAttemptAt"]
    assert (facts["cause"], facts["worker"], facts["lease"]) == ("ImportError: secret", "tests/1", lease)
    assert customer.client.get(f"/v1/async/task/{task}/attempts").content == answer.content
    assert b"secret" not in answer.content
    assert house.customer().client.get(f"/v1/async/task/{task}/attempts").status_code == 404
    assert house.admin.get("/admin/v1/tasks/nothing/attempts").status_code == 404
    assert customer.client.get(f"/v1/async/task/{'x' * 300}/attempts").status_code == 404


def test_a_failure_is_grouped_without_its_place(house: House) -> None:
    """Customers see type, code, message and counts; operators also where it comes from. The group is the same."""
    customer, task, _ = failed(house, origin=PLACE, retry=False)

    answer = customer.client.get("/v1/async/failures")
    [facts] = house.admin.get(f"/admin/v1/failures?organization={customer.name}").json()["failures"]

    [one] = answer.json()["failures"]
    assert (one["taskType"], one["code"], one["ending"]) == ("ANY", "INTERNAL_SERVER_ERROR", "FAILED")
    assert (one["failures"], one["retried"], one["sampleTaskId"]) == (1, 0, task)
    assert one["message"] == "Maximum retries exceeded"
    assert [hour["failures"] for hour in one["hours"]] == [1]
    assert b"ImportError" not in answer.content
    assert b"shop" not in answer.content
    assert {name: facts[name] for name in PLACE} == PLACE
    assert facts["group"] == one["group"]
    assert facts["sample"] == {
        "task": task,
        "organization": customer.name,
        "message": "Maximum retries exceeded",
        "cause": "ImportError: secret",
    }
    assert task in str(house.admin.get("/admin/v1/failures").json())
    assert house.customer().client.get("/v1/async/failures").json()["failures"] == []
    assert customer.client.get("/v1/async/failures?since=2099-01-01T00:00:00Z").json()["failures"] == []


@pytest.mark.parametrize("query", ["since=yesterday", "limit=0", "limit=1001", "page=1"])
def test_a_list_of_failures_that_cannot_be_is_refused(house: House, query: str) -> None:
    """By the name of what is wrong, for customers and operators alike."""
    field = [query.partition("=")[0]]

    assert fields_of(house.customer().client.get(f"/v1/async/failures?{query}")) == field
    assert fields_of(house.admin.get(f"/admin/v1/failures?{query}")) == field
    assert error_of(house.admin.get("/admin/v1/failures?organization=nothing"))["code"] == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize(("reason", "ending"), [("overdue", "TIMED_OUT"), ("lost", "WORKER_LOST")])
def test_a_report_says_why_an_attempt_ended(house: House, reason: str, ending: str) -> None:
    """If it was not its handler."""
    customer, task, _ = failed(house, reason=reason)

    [one] = customer.client.get(f"/v1/async/task/{task}/attempts").json()["attempts"]
    assert one["ending"] == ending
