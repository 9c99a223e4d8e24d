"""The operator's route to what tasks waited and ran."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api.house import House, fields_of

FIELDS = ["organization", "accepted_at", "started_at", "finished_at", "run_at", "priority", "task_type"]


def pages(house: House, **query: Any) -> list[list[dict[str, Any]]]:
    """Every page of a trace."""
    found = []
    for _ in range(100):
        answer = house.admin.get("/admin/v1/trace", params=query)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["tasks"])
        if "cursor" not in answer.json():
            break
        query["cursor"] = answer.json()["cursor"]
    return found


def test_the_trace_comes_in_pages_without_payloads(house: House) -> None:
    """Each finished task once; what it waited and ran, and nothing of what it was about."""
    customer, session = house.customer(slots=5), house.session("ANY")
    for number in range(3):
        customer.accepted(payload={"secret": number}, priority=number + 1)
    for lease in session.claim(3):
        session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {"secret": 4}})

    found = pages(house, limit=2)

    own = [one for page in found for one in page if one["organization"] == customer.name]
    assert max(len(page) for page in found) == 2
    assert sorted(one["priority"] for one in own) == [1, 2, 3]
    assert [one["finished_at"] for one in own] == sorted(one["finished_at"] for one in own)
    assert all(list(one) == FIELDS and one["task_type"] == "ANY" for one in own)
    assert "secret" not in str(found)


def test_a_span_bounds_the_trace(house: House) -> None:
    """Nothing of before it or after it."""
    customer, session = house.customer(), house.session("ANY")
    customer.accepted()
    [lease] = session.claim(1)
    session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
    moments = [(datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ") for hours in (3, 2)]

    before = pages(house, **{"from": moments[0], "to": moments[1]})
    since = pages(house, **{"from": moments[1]})

    assert before == [[]]
    assert customer.name in {one["organization"] for page in since for one in page}


def test_nonsense_is_refused(house: House) -> None:
    """With the field that it stands in."""
    asked: list[dict[str, str]] = [
        {"from": "yesterday"},
        {"from": "2999-01-01T00:00:00Z"},
        {"cursor": "next"},
        {"cursor": "-1.x"},
        {"limit": "0"},
        {"limit": "5001"},
    ]

    refused = [fields_of(house.admin.get("/admin/v1/trace", params=query)) for query in asked]

    assert refused == [[field] for query in asked for field in query]
