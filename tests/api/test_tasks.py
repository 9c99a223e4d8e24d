"""Submitting and finding tasks over HTTP."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from fairlane import wire
from fairlane.client.answers import read_task
from tests.api.house import Customer, House, error_of, eventually, fields_of


def test_an_accepted_task_is_there_at_once(customer: Customer) -> None:
    """Counted by the next status, found by the next look, by id and by key."""
    answer = customer.submit("PAGE", {"url": "a"}, priority=7, idempotencyKey="k")

    body = answer.json()
    task = body["task"]
    assert answer.status_code == 200
    assert uuid.UUID(task["id"])
    assert customer.status()["queuedTasks"] == 1
    assert customer.find(task["id"]).json() == {"task": task, "credits": body["credits"]}
    assert customer.find("k").json() == customer.find(task["id"]).json()


def test_an_id_wins_over_a_key(customer: Customer) -> None:
    """A key that looks like another task's id does not hide it."""
    first = customer.accepted()
    customer.accepted(idempotencyKey=first)

    assert customer.find(first).json()["task"]["id"] == first


def test_the_payload_reaches_the_worker_byte_for_byte(house: House) -> None:
    """Spaces, order, escapes and number forms are the sender's business."""
    customer, session = house.customer(), house.session("ANY")
    payload = b'{ "b" : 1.0,\n "a":1e2, "c":"\\u00e9\xc3\xa9\\/", "d":12345678901234567 }'

    with customer.client:
        assert customer.send(b'{"payload":  %s  ,"taskType":"ANY"}' % payload).status_code == 200
    answer = session.exchange(1)

    assert b'"payload":%s,"call"' % payload in answer.content


def test_a_used_key_is_refused(customer: Customer) -> None:
    """409 with the key, whatever the payload; nothing is created."""
    customer.accepted(idempotencyKey="job-123")

    answer = customer.submit("PAGE", {"url": "b"}, idempotencyKey="job-123")

    assert answer.status_code == 409
    error = error_of(answer)
    assert error["code"] == "RESOURCE_ALREADY_EXISTS"
    assert error["details"] == {"field": "idempotencyKey", "value": "job-123"}
    assert customer.status()["queuedTasks"] == 1


def test_keys_of_two_organizations_never_meet(shared: House, customer: Customer) -> None:
    """The same key names another task for another organization."""
    other = shared.customer()
    with other.client:
        first = customer.accepted(idempotencyKey="same")
        second = other.accepted(idempotencyKey="same")

        assert customer.find("same").json()["task"]["id"] == first
        assert other.find("same").json()["task"]["id"] == second


@pytest.mark.parametrize("bad", [{"taskType": "NOPE"}, {"priority": 11}])
def test_a_refused_request_does_not_bind_its_key(customer: Customer, bad: dict[str, object]) -> None:
    """Mended, it is accepted."""
    body = {"taskType": "ANY", "payload": {}, "idempotencyKey": "k"}
    assert customer.client.post("/v1/async/task", json=body | bad).status_code == 400

    assert customer.client.post("/v1/async/task", json=body).status_code == 200


def test_of_many_at_once_with_one_key_exactly_one_wins(customer: Customer) -> None:
    """The others get 409."""
    with ThreadPoolExecutor(8) as threads:
        codes = list(threads.map(lambda _: customer.submit(idempotencyKey="once").status_code, range(24)))

    assert sorted(codes) == [200] + [409] * 23
    assert customer.status()["queuedTasks"] == 1


def test_a_full_queue_refuses(shared: House) -> None:
    """429 with the numbers, no Retry-After; a used key is still recognised, and a place that becomes free is given."""
    customer = shared.customer(queue_limit=2)
    with customer.client:
        customer.accepted(idempotencyKey="k")
        customer.accepted()

        answer = customer.submit()

        assert answer.status_code == 429
        error = error_of(answer)
        assert error["code"] == "QUEUE_LIMIT_EXCEEDED"
        assert error["message"] == "Queue limit exceeded. Maximum 2 queued tasks allowed per organization"
        assert error["details"] == {
            "limit": 2,
            "queuedCount": 2,
            "batchSize": 1,
            "maxQueueSize": 2,
            "remainingCapacity": 0,
        }
        assert "retry-after" not in answer.headers
        assert customer.submit(idempotencyKey="k").status_code == 409
        customer.change(queue_limit=3)
        assert customer.submit().status_code == 200


def test_a_plan_limits_priority_and_types(shared: House) -> None:
    """400 with the field: for a task, a batch item, a call and a retry; limits of its own can be given back."""
    customer = shared.customer()
    with customer.client as client:
        canceled = customer.accepted(priority=9)
        client.delete(f"/v1/async/task/{canceled}")
        customer.change(priority_limit=5, task_types=["ANY"])

        again = client.post(f"/v1/async/task/{canceled}/retry")
        high, other = customer.submit(priority=6), customer.submit("PAGE", {"url": "x"})
        batch = client.post("/v1/async/task/batch", json=[{"taskType": "ANY", "payload": {}, "priority": 9}]).json()
        call = client.post("/v1/monitor/pages/read", json={"url": "x"})

        assert [answer.status_code for answer in (high, again, other, call)] == [400] * 4
        assert [fields_of(answer) for answer in (high, again)] == [["priority"]] * 2
        assert [fields_of(answer) for answer in (other, call)] == [["taskType"]] * 2
        assert [error["field"] for error in batch["results"][0]["error"]["details"]["errors"]] == ["priority"]
        customer.change(priority_limit=None, task_types=None)
        assert customer.submit("PAGE", {"url": "x"}, priority=10).status_code == 200


def test_one_organizations_full_queue_is_not_anothers(shared: House, customer: Customer) -> None:
    """Submitted at the same moment, in one commit."""
    full = shared.customer(queue_limit=1)
    with full.client, ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(one.submit) for one in (full, customer) * 10]
        codes = [answer.result().status_code for answer in answers]

    assert codes[1::2] == [200] * 10
    assert sorted(codes[0::2]) == [200] + [429] * 9


def test_the_payload_comes_back_byte_for_byte(customer: Customer, shared: House) -> None:
    """By id and by key, with the spaces and the spelling it was sent with; to its own organization alone."""
    sent = b'{"taskType": "ANY", "payload": { "b":1.0,  "a": "\\u00e9" }, "idempotencyKey": "a/b"}'
    task_id = customer.send(sent).json()["task"]["id"]

    for reference in (task_id, "a%2Fb"):
        answer = customer.client.get(f"/v1/async/task/{reference}/payload")
        assert (answer.status_code, answer.content) == (200, b'{ "b":1.0,  "a": "\\u00e9" }')
    foreign = shared.customer().client.get(f"/v1/async/task/{task_id}/payload")
    assert (foreign.status_code, error_of(foreign)["details"]) == (404, {"id": task_id})


def test_half_a_surrogate_pair_of_a_result_is_told_as_an_escape(house: House) -> None:
    """By GET, to the webhook and to who called; our own client reads it."""
    customer, session = house.customer(), house.session("ANY")
    text = r'{"a":"\ud800"}'
    with customer.client, ThreadPoolExecutor(1) as threads:
        task_id = customer.accepted(webhook={"url": "https://a.example/"})
        (lease,) = session.claim(1)
        session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": text})
        called = threads.submit(customer.client.post, "/v1/monitor/any", json={})
        (lease,) = eventually(lambda: session.claim(1))
        session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": text})

        found = customer.find(task_id)
        told = wire.webhook_body(house.call(house.store.tasks.find(house.call(_only_organization(house)), task_id)))

        assert f'"response":{text}'.encode() in found.content
        assert f'"result":{text}'.encode() in called.result(10).content
        assert f'"response":{text}'.encode() in told
        assert read_task(found.content).response == {"a": "\ud800"}


async def _only_organization(house: House) -> int:
    [organization] = await house.store.organizations.all()
    return int(organization.id)
