"""Credits over HTTP: what customers read and meet, and what operators do."""

import json
from pathlib import Path
from typing import Any

import pytest

from fairlane.errors import SetupError
from tests.api.house import Customer, House, error_of, fields_of

OFF = 1_000_000_000


def grant(customer: Customer, amount: int, **more: Any) -> None:
    """Give credits."""
    path = f"/admin/v1/organizations/{customer.name}/credits/grants"
    answer = customer.house.admin.post(path, json={"amount": amount, "reason": "test"} | more)
    assert answer.status_code == 200, answer.text


def remaining(customer: Customer) -> int:
    """What the organization is told it has."""
    answer = customer.client.get("/v1/credits")
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["remaining", "perCycle", "cycleResetsAt"]
    assert (answer.json()["perCycle"], answer.json()["cycleResetsAt"]) == (None, None)
    return int(answer.json()["remaining"])


def test_credits_are_off_unless_switched_on(customer: Customer) -> None:
    """A number all the same: clients need one. Costs are shown."""
    shown = customer.submit("PAGE", {"url": "x"}).json()["credits"]

    assert shown == {"creditsToCharge": 3, "creditsCharged": None}
    assert remaining(customer) == OFF


def test_a_task_that_is_not_covered_is_refused(shared: House) -> None:
    """403, the envelope without details; nothing is created, the key is not bound; with credits it is accepted."""
    customer = shared.customer(credits=True)
    grant(customer, 2)

    refused = customer.submit("PAGE", {"url": "x"}, idempotencyKey="k")

    error = error_of(refused)
    assert (refused.status_code, error["code"], error["message"]) == (
        403,
        "INSUFFICIENT_CREDITS",
        "Insufficient credits",
    )
    assert "details" not in error
    assert "retry-after" not in refused.headers
    assert customer.find("k").status_code == 404
    grant(customer, 1)
    assert customer.submit("PAGE", {"url": "x"}, idempotencyKey="k").status_code == 200


def test_a_batch_cannot_overshoot_by_itself(shared: House) -> None:
    """An item must be covered beside those accepted before it; a cheaper one after a refused one still is."""
    customer = shared.customer(credits=True)
    grant(customer, 5)
    page, plain = {"taskType": "PAGE", "payload": {"url": "x"}}, {"taskType": "ANY", "payload": {}}

    answer = customer.client.post("/v1/async/task/batch", json=[page, page, plain, plain, plain])

    results = answer.json()["results"]
    assert answer.json()["summary"] == {"total": 5, "succeeded": 3, "failed": 2}
    codes = [None if one["success"] else one["error"]["code"] for one in results]
    assert codes == [None, "INSUFFICIENT_CREDITS", None, None, "INSUFFICIENT_CREDITS"]
    assert "details" not in results[1]["error"]
    assert remaining(customer) == 5


def test_the_balance_is_exact_as_soon_as_a_task_is_completed(house: House) -> None:
    """Nothing is taken at submit or while it runs; the cost once with the outcome, also if it is reported again."""
    customer = house.customer(credits=True)
    grant(customer, 10)
    session = house.session("PAGE")
    task = customer.accepted("PAGE", {"url": "x"})
    told = [remaining(customer)]
    [lease] = session.claim(1)
    told.append(remaining(customer))
    for _ in range(2):
        session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {"n": 1}})
        told.append(remaining(customer))

    assert told == [10, 10, 7, 7]
    assert customer.find(task).json()["credits"] == {"creditsToCharge": 3, "creditsCharged": 3}


def test_a_task_that_cannot_be_paid_any_more_tells_so(house: House) -> None:
    """FAILED, never started, charged nothing."""
    customer = house.customer(credits=True)
    grant(customer, 3)
    session = house.session("PAGE")
    task = customer.accepted("PAGE", {"url": "x"})
    grant(customer, -1)

    assert session.claim(1) == []
    body = customer.find(task).json()

    assert (body["task"]["status"], body["task"]["latencyMs"]) == ("FAILED", None)
    assert body["credits"] == {"creditsToCharge": 3, "creditsCharged": 0}
    assert body["response"] == {"error": {"code": "INSUFFICIENT_CREDITS", "message": "Insufficient credits"}}
    assert remaining(customer) == 2


def test_a_debt_reads_as_nothing_left(shared: House) -> None:
    """The operator sees it."""
    customer = shared.customer(credits=True)
    grant(customer, -7)

    shown = shared.admin.get(f"/admin/v1/organizations/{customer.name}/credits").json()

    assert remaining(customer) == 0
    assert shown == {
        "organization": customer.name,
        "credits": {"on": True, "granted": -7, "charged": 0, "held": 0, "monthly": None},
        "balance": -7,
    }


def test_credits_need_a_key(shared: House) -> None:
    """Like everything below /v1."""
    with shared.client() as client:
        for path in ("/v1/credits", "/v1/countries", "/v1/states"):
            assert client.get(path).status_code == 401


# Operators -----------------------------------------------------------------------------------------------------------


def test_a_grant_counts_once_per_id(shared: House) -> None:
    """A lost answer is asked for again; another amount under the same id is refused."""
    customer = shared.customer(credits=True)
    path = f"/admin/v1/organizations/{customer.name}/credits/grants"
    body = {"amount": 5, "reason": "invoice 7", "id": "invoice-7"}

    answers = [shared.admin.post(path, json=body).json() for _ in range(2)]
    other = shared.admin.post(path, json=body | {"amount": 6})
    unnamed = [shared.admin.post(path, json={"amount": 1, "reason": "r"}).json()["id"] for _ in range(2)]

    assert answers[0] == answers[1]
    assert (other.status_code, error_of(other)["details"]) == (409, {"field": "id", "value": "invoice-7"})
    assert unnamed[0] != unnamed[1]
    assert remaining(customer) == 7
    listed = shared.admin.get(path, params={"limit": 3}).json()["grants"]
    assert sorted(one["amount"] for one in listed) == [1, 1, 5]
    assert len(shared.admin.get(path, params={"limit": 1}).json()["grants"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": 0, "reason": "r"}, "amount"),
        ({"amount": 10**12 + 1, "reason": "r"}, "amount"),
        ({"amount": -(10**12) - 1, "reason": "r"}, "amount"),
        ({"amount": 1.5, "reason": "r"}, "amount"),
        ({"amount": True, "reason": "r"}, "amount"),
        ({"amount": 1, "reason": ""}, "reason"),
        ({"amount": 1, "reason": "x" * 501}, "reason"),
        ({"amount": 1}, "reason"),
        ({"amount": 1, "reason": "r", "id": ""}, "id"),
        ({"amount": 1, "reason": "r", "id": "x" * 65}, "id"),
        ({"amount": 1, "reason": "r", "id": "a\nb"}, "id"),
        ({"amount": 1, "reason": "r", "more": 1}, "more"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(customer: Customer, body: dict[str, Any], field: str) -> None:
    """And grants nothing."""
    path = f"/admin/v1/organizations/{customer.name}/credits/grants"

    answer = customer.house.admin.post(path, json=body)

    assert answer.status_code == 400, answer.text
    assert fields_of(answer) == [field]
    assert customer.house.admin.get(path).json() == {"grants": []}


def test_credits_are_switched_as_the_operator_says(customer: Customer) -> None:
    """On and off, at once, with an audit row."""
    customer.change(credits=True)
    counted = remaining(customer)
    customer.change(credits=False)

    assert (counted, remaining(customer)) == (0, OFF)
    audit = customer.house.admin.get("/admin/v1/audit").json()["audit"]
    changes = [row["details"] for row in audit if row["subject"] == customer.name and "changed" in row["action"]]
    assert changes == [{"credits": False}, {"credits": True}]


# Reference lists -----------------------------------------------------------------------------------------------------


def test_without_lists_clients_still_find_their_keys_good(customer: Customer) -> None:
    """Bare arrays, whatever the query says."""
    for path in ("/v1/countries", "/v1/countries?model=chatgpt", "/v1/states", "/v1/states?country=US&x=1"):
        answer = customer.client.get(path)
        assert (answer.status_code, answer.json()) == (200, [])


def test_the_operators_lists_are_answered(tmp_path: Path) -> None:
    """Countries as they are; states by country, or all."""
    california, bavaria = {"code": "CA", "name": "California"}, {"code": "BY", "name": "Bavaria"}
    path = tmp_path / "lists.json"
    path.write_text(json.dumps({"countries": ["US", "DE"], "states": {"US": [california], "DE": [bavaria]}}))
    with House(tmp_path, reference_lists=str(path)) as house:
        client = house.customer().client

        assert client.get("/v1/countries").json() == ["US", "DE"]
        assert client.get("/v1/states?country=DE").json() == [bavaria]
        assert client.get("/v1/states?country=FR").json() == []
        assert client.get("/v1/states").json() == [california, bavaria]


@pytest.mark.parametrize("text", [None, "{", '{"countries": "US"}', '{"country": []}', "\xff"])
def test_lists_that_cannot_be_used_end_the_start(tmp_path: Path, text: str | None) -> None:
    """With the file's name."""
    path = tmp_path / "lists.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))

    with pytest.raises(SetupError, match=r"lists\.json"), House(tmp_path, reference_lists=str(path)):
        pass


def test_monthly_credits_are_shown_with_the_next_month(shared: House) -> None:
    """``perCycle`` and ``cycleResetsAt``; null while credits are not counted."""
    customer = shared.customer(monthly_credits=500)
    off = customer.client.get("/v1/credits").json()
    customer.change(credits=True)

    on = customer.client.get("/v1/credits").json()

    assert (off["perCycle"], off["cycleResetsAt"]) == (None, None)
    assert on["perCycle"] == 500
    assert on["cycleResetsAt"].endswith("-01T00:00:00.000Z")
