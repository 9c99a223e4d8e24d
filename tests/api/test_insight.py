"""Why a task waits, who holds the slots, and the proof of the status, over HTTP."""

from datetime import datetime, timedelta

import pytest

from fairlane.api import status
from tests.api.house import Customer, House, error_of, eventually, fields_of


def busy(house: House) -> tuple[Customer, list[str]]:
    """An organization with one running and two queued tasks; their ids."""
    customer = house.customer(slots=1)
    tasks = [customer.accepted() for _ in range(3)]
    house.session("ANY").claim(5)
    return customer, tasks


def test_a_waiting_task_says_why(house: House) -> None:
    """By its id; the body is the contract's own."""
    customer, (_, _, last) = busy(house)

    answer = customer.client.get(f"/v1/async/task/{last}/wait")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "taskId": last,
        "taskType": "ANY",
        "status": "QUEUED",
        "reason": "ORGANIZATION_AT_LIMIT",
        "explanation": "every slot of the organization is in use",
        "until": None,
        "tasksAhead": 1,
        "tasksAheadBounded": False,
        "estimate": None,
        "progress": None,
    }


def test_a_task_is_asked_for_by_its_key(house: House) -> None:
    """Percent-encoded, slash and all, as for the task itself."""
    customer = house.customer()
    task = customer.accepted(idempotencyKey="a/b")

    answer = customer.client.get("/v1/async/task/a%2Fb/wait")

    assert answer.json()["taskId"] == task
    assert answer.json()["reason"] == "TYPE_UNSERVED"


def test_a_task_that_is_to_start_later_waits_for_its_moment(house: House) -> None:
    """With the moment, until it comes; then it waits for something else."""
    customer = house.customer()
    later = customer.accepted(delaySeconds=3_600)
    soon = customer.accepted(delaySeconds=1)

    delayed = customer.client.get(f"/v1/async/task/{later}/wait").json()

    accepted_at = datetime.fromisoformat(customer.find(later).json()["task"]["createdAt"])
    assert (delayed["status"], delayed["reason"]) == ("QUEUED", "DELAYED")
    assert datetime.fromisoformat(delayed["until"]) == accepted_at + timedelta(hours=1)
    assert eventually(lambda: customer.client.get(f"/v1/async/task/{soon}/wait").json()["reason"] == "TYPE_UNSERVED")
    assert customer.client.get(f"/v1/async/task/{later}/wait").json() == delayed


@pytest.mark.parametrize("reference", ["nothing", "x" * 300])
def test_an_unknown_task_has_no_wait(house: House, reference: str) -> None:
    """Not found, nor is another organization's."""
    customer, stranger = house.customer(), house.customer()
    task = customer.accepted()

    for answer in (
        customer.client.get(f"/v1/async/task/{reference}/wait"),
        stranger.client.get(f"/v1/async/task/{task}/wait"),
    ):
        assert answer.status_code == 404
        assert error_of(answer)["message"] == "Task not found"


def test_slots_name_their_holders(house: House) -> None:
    """In pages."""
    customer = house.customer(slots=3)
    tasks = [customer.accepted(priority=4) for _ in range(3)]
    house.session("ANY").claim(5)

    first = customer.client.get("/v1/async/slots?limit=2").json()
    second = customer.client.get(f"/v1/async/slots?limit=2&cursor={first['nextCursor']}").json()

    assert first["concurrency"] == {"used": 3, "max": 3}
    assert [slot["id"] for slot in first["slots"] + second["slots"]] == sorted(tasks)
    assert second["nextCursor"] is None
    slot = first["slots"][0]
    assert (slot["kind"], slot["taskType"], slot["priority"], slot["attempt"]) == ("task", "ANY", 4, 1)
    assert slot["startedAt"] < slot["deadlineAt"]


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"), ("page=1", "page")],
)
def test_a_page_that_cannot_be_is_refused(house: House, query: str, field: str) -> None:
    """By the name of what is wrong."""
    answer = house.customer().client.get(f"/v1/async/slots?{query}")

    assert answer.status_code == 400
    assert fields_of(answer) == [field]


def test_the_plain_status_is_what_it_was(house: House) -> None:
    """Byte for byte, whatever else is in the query."""
    customer, _ = busy(house)
    plain = customer.client.get("/v1/async/status").content

    for query in ("?verify=false", "?verify=", "?x=1", "?verify=TRUE"):
        assert customer.client.get(f"/v1/async/status{query}").content == plain


def test_a_verified_status_proves_itself(house: House) -> None:
    """The same numbers, and no drift."""
    customer, _ = busy(house)

    body = customer.client.get("/v1/async/status?verify=true").json()

    verification = body.pop("verification")
    assert body == customer.status()
    assert verification["drift"] == 0
    assert verification["differences"] == []
    assert verification["checkedAt"].endswith("Z")


def test_verifying_is_limited_for_each_organization(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one at once is refused with the time to wait; another organization's is not, nor is the plain one.
    After the pause it is allowed again."""
    customer, other, later = house.customer(), house.customer(), house.customer()
    # The pause is a hundred times as long as the recount took, so a busy machine would wait for long.
    monkeypatch.setattr(status, "VERIFY_PAUSE_SECONDS", 600.0)
    assert customer.client.get("/v1/async/status?verify=true").status_code == 200

    refused = customer.client.get("/v1/async/status?verify=true")

    assert refused.status_code == 429
    assert error_of(refused)["code"] == "RATE_LIMIT_EXCEEDED"
    assert refused.headers["retry-after"] == "1"
    assert other.client.get("/v1/async/status?verify=true").status_code == 200
    assert customer.client.get("/v1/async/status").status_code == 200
    monkeypatch.setattr(status, "VERIFY_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(status, "VERIFY_SHARE", float("inf"))
    assert [later.client.get("/v1/async/status?verify=true").status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("path", ["slots", "task/x/wait", "status?verify=true"])
def test_a_key_is_needed(house: House, path: str) -> None:
    """As everywhere under /v1."""
    assert house.client(None).get(f"/v1/async/{path}").status_code == 401


def test_progress_travels_with_an_exchange(house: House) -> None:
    """What a worker says is in slots and in wait at once; what it may not say is refused."""
    customer, session = house.customer(), house.session("ANY")
    task = customer.accepted()
    [lease] = session.claim(1)
    body = {"session": session.id, "id": "p1", "places": 0, "wait_seconds": 0}
    said = {"lease": lease["lease"], "done": 12, "total": 30, "note": "pages read"}

    taken = house.worker.post("/worker/v1/exchange", json=body | {"progress": [said]})
    refused = house.worker.post("/worker/v1/exchange", json=body | {"progress": [said | {"done": -1}]})

    assert (taken.status_code, refused.status_code) == (200, 400)
    [slot] = customer.client.get("/v1/async/slots").json()["slots"]
    at = slot["progress"].pop("at")
    assert slot["progress"] == {"fraction": 0.4, "done": 12, "total": 30, "note": "pages read"}
    assert customer.client.get(f"/v1/async/task/{task}/wait").json()["progress"]["at"] == at
