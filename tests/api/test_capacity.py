"""Capacity over HTTP."""

import pytest

from tests.api.house import House, error_of, fields_of


def test_capacity_is_told_of_work_that_was_done(house: House) -> None:
    """Exact times, what was measured, and estimates for more slots."""
    customer, session = house.customer(slots=2), house.session("ANY")
    for _ in range(3):
        customer.accepted()
    for lease in session.claim(2):
        session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})

    answer = customer.client.get("/v1/async/capacity?days=1")

    assert answer.status_code == 200
    body = answer.json()
    assert (body["max"], body["replayed"]["tasks"], body["replayed"]["estimate"]) == (2, 2, True)
    assert [one["max"] for one in body["projections"]] == [2, 3, 4, 8]
    assert 0 < body["planLimitedShare"] <= 1
    assert body["planLimitedSeconds"] > 0
    assert body["advice"].startswith("Limited by the plan ")
    assert " of the last 1 minute." in body["advice"]


def test_what_was_measured_names_no_limit_of_now(house: House) -> None:
    """There may have been others then; and the replay with the limit of now comes near it."""
    customer, session = house.customer(slots=1), house.session("ANY", places=1)
    for _ in range(3):
        customer.accepted()
    for _ in range(3):
        [lease] = session.claim()
        session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
    house.admin.patch(f"/admin/v1/organizations/{customer.name}", json={"slots": 10})

    body = customer.client.get("/v1/async/capacity?days=1").json()

    assert body["replayed"]["trusted"] is True
    assert body["replayed"]["measured"].keys() == {"waitP50Seconds", "waitP90Seconds", "waitP99Seconds"}
    assert body["projections"][0]["max"] == 10


def test_capacity_is_limited_for_each_organization(house: House) -> None:
    """Replaying costs; once a second is enough."""
    customer, other = house.customer(), house.customer()
    assert customer.client.get("/v1/async/capacity").status_code == 200

    refused = customer.client.get("/v1/async/capacity")

    assert error_of(refused)["code"] == "RATE_LIMIT_EXCEEDED"
    assert other.client.get("/v1/async/capacity").json()["projections"] == []


def test_an_operator_is_told_the_same_by_name(house: House) -> None:
    """As often as it is asked; an organization that is not there is named."""
    customer, session = house.customer(slots=2), house.session("ANY")
    customer.accepted()
    [lease] = session.claim()
    session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
    told = customer.client.get("/v1/async/capacity?days=1").json()

    answers = [house.admin.get(f"/admin/v1/organizations/{customer.name}/capacity?days=1") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["projections"] == told["projections"]
    assert error_of(house.admin.get("/admin/v1/organizations/nobody/capacity"))["code"] == "RESOURCE_NOT_FOUND"
    assert fields_of(house.admin.get(f"/admin/v1/organizations/{customer.name}/capacity?days=91")) == ["days"]


@pytest.mark.parametrize("query", ["days=0", "days=91", "days=x", "days="])
def test_days_that_cannot_be_are_refused(house: House, query: str) -> None:
    """1 to 90."""
    assert fields_of(house.customer().client.get(f"/v1/async/capacity?{query}")) == ["days"]
