"""Batches over HTTP: a verdict for each item, in order; and clearing the queue."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.api.house import Customer, House, error_of, fields_of

ITEM: dict[str, Any] = {"taskType": "ANY", "payload": {}}


def send(customer: Customer, batch: Any) -> httpx2.Response:
    """Send a batch; bytes go as they are."""
    content = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
    return customer.client.post("/v1/async/task/batch", content=content)


def verdicts_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The results of a batch, after checking their order and the summary."""
    body = answer.json()
    assert answer.status_code == 200, body
    assert list(body) == ["success", "summary", "results"]
    results: list[dict[str, Any]] = body["results"]
    succeeded = sum(result["success"] for result in results)
    assert body["success"] is True
    assert body["summary"] == {"total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}
    assert [result["index"] for result in results] == list(range(len(results)))
    return results


def test_every_item_has_its_verdict(customer: Customer) -> None:
    """Accepted ones are tasks, refused ones say what is wrong with them; the call succeeds."""
    customer.accepted(idempotencyKey="used")

    answer = send(
        customer,
        [
            ITEM | {"priority": 7, "idempotencyKey": "new"},
            {"taskType": "PAGE", "payload": {"url": 5}},
            ITEM | {"idempotencyKey": "used"},
            {"taskType": "PAGE", "payload": {"url": "a"}},
            ITEM | {"idempotencyKey": "new"},
        ],
    )

    first, wrong, used, last, twice = verdicts_of(answer)
    assert list(first) == ["success", "index", "task", "credits"]
    assert customer.find("new").json() == {"task": first["task"], "credits": first["credits"]}
    assert customer.find(last["task"]["id"]).json()["credits"] == {"creditsToCharge": 3, "creditsCharged": None}
    assert wrong["error"]["code"] == "VALIDATION_ERROR"
    assert wrong["error"]["message"] == "Invalid task at index 1"
    assert [place["field"] for place in wrong["error"]["details"]["errors"]] == ["payload.url"]
    for refused, key in ((used, "used"), (twice, "new")):
        assert refused["error"]["code"] == "RESOURCE_ALREADY_EXISTS"
        assert refused["error"]["message"] == "Task already exists"
        assert refused["error"]["details"] == {"field": "idempotencyKey", "value": key}
    assert customer.status()["queuedTasks"] == 3


WRONG_ITEMS: dict[str, tuple[bytes, str]] = {
    "no object": (b"5", "body"),
    "null": (b"null", "body"),
    "an array": (b"[{}]", "body"),
    "no type": (b'{"payload": {}}', "taskType"),
    "an unknown type": (b'{"taskType": "NOPE", "payload": {}}', "taskType"),
    "no payload": (b'{"taskType": "ANY"}', "payload"),
    "an unknown field": (b'{"taskType": "ANY", "payload": {}, "more": 1}', "more"),
    "a key twice": (b'{"taskType": "ANY", "payload": {"a": 1, "a": 2}}', "body"),
    "a large integer": (b'{"taskType": "ANY", "payload": {"a": %s}}' % (b"9" * 30), "body"),
    "not UTF-8": (b'{"taskType": "ANY", "payload": {"a": "\xff"}}', "body"),
    "too deep": (b'{"taskType": "ANY", "payload": {"a": %s}}' % (b"[" * 70 + b"]" * 70), "body"),
    "far too deep": (b'{"taskType": "ANY", "payload": {"a": %s}}' % (b"[" * 5000 + b"]" * 5000), "body"),
    "half a surrogate pair": (rb'{"taskType": "ANY", "payload": {"a": "\ud800"}}', "body"),
    "NaN": (b"NaN", "body"),
    "two values": (b"{} {}", "body"),
    "brackets that do not match": (b'{"taskType": "ANY", "payload": {"a": [1}]}', "body"),
    "a raw control character": (b'{"taskType": "ANY", "payload": {"a": "\x01"}}', "body"),
    "a webhook nowhere": (
        b'{"taskType": "ANY", "payload": {}, "webhook": {"url": "http://127.0.0.1/"}}',
        "webhook.url",
    ),
    "a large payload": (b'{"taskType": "ANY", "payload": {"a": "%s"}}' % (b"x" * 1_048_576), "payload"),
    "far too large": (b'{"taskType": "ANY", "payload": {"a": "%s"}}' % (b"x" * 1_100_000), "payload"),
    "a priority of 11": (b'{"taskType": "ANY", "payload": {}, "priority": 11}', "priority"),
}


@pytest.mark.parametrize("name", WRONG_ITEMS)
def test_a_wrong_item_is_its_own_matter(customer: Customer, name: str) -> None:
    """Refused for the same reason as if it had come alone; its neighbours are accepted."""
    item, field = WRONG_ITEMS[name]
    alone = customer.send(item)

    before, refused, after = verdicts_of(
        send(customer, b'[{"taskType":"ANY","payload":{}}, %s ,{"taskType":"ANY","payload":{}}]' % item)
    )

    assert (before["success"], refused["success"], after["success"]) == (True, False, True)
    assert refused["error"]["code"] == "VALIDATION_ERROR"
    assert [place["field"] for place in refused["error"]["details"]["errors"]] == [field]
    assert alone.status_code == (413 if "large" in name and field == "payload" else 400)
    if alone.status_code == 400:
        assert error_of(alone)["details"] == refused["error"]["details"]["errors"]


@pytest.mark.parametrize(
    "batch",
    [
        b"",
        b"{}",
        b"[]",
        b"5",
        b"null",
        b"[",
        b"[{}",
        b"[{}] x",
        b"[{},]",
        b"\xff",
        b"[" * 100_000,
        b'{"tasks": []}',
        b"[{}}",
        b"[{}]]",
        b"[,{}]",
        b'[{}, "]',
        b'[{}, "\\"]',
    ],
)
def test_what_is_no_batch_is_refused_whole(customer: Customer, batch: bytes) -> None:
    """400 in the envelope, with the details of a call: an array."""
    answer = send(customer, batch)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "VALIDATION_ERROR"
    assert fields_of(answer) == ["body"]


@pytest.mark.parametrize(("count", "status"), [(1, 200), (500, 200), (501, 400), (2_000_000, 400)])
def test_a_batch_has_at_most_500_items(customer: Customer, count: int, status: int) -> None:
    """What is beyond is not even looked at."""
    item = json.dumps(ITEM).encode() if count < 1000 else b"1"

    answer = send(customer, b"[" + b",".join([item] * count) + b"]")

    assert answer.status_code == status
    assert customer.status()["queuedTasks"] == (count if status == 200 else 0)


def test_a_batch_needs_room_for_all_of_it(shared: House) -> None:
    """Invalid and repeated items count; without room nothing is created and the call is refused."""
    customer = shared.customer(queue_limit=4)
    with customer.client:
        customer.accepted(idempotencyKey="used")
        batch = [ITEM, {}, ITEM | {"idempotencyKey": "used"}, ITEM | {"idempotencyKey": "k"}]

        refused = send(customer, batch)

        assert refused.status_code == 429
        error = error_of(refused)
        assert error["code"] == "QUEUE_LIMIT_EXCEEDED"
        assert error["details"]["batchSize"] == 4
        assert customer.status()["queuedTasks"] == 1
        assert customer.find("k").status_code == 404
        verdicts = verdicts_of(send(customer, batch[1:]))
        assert [verdict["success"] for verdict in verdicts] == [False, False, True]


def test_a_batch_of_the_throttle_loop_fits(shared: House) -> None:
    """499 queued and 500 more: what the seed's loop may submit."""
    customer = shared.customer()
    with customer.client:
        verdicts_of(send(customer, [ITEM] * 499))

        verdicts = verdicts_of(send(customer, [ITEM] * 500))

        assert all(verdict["success"] for verdict in verdicts)
        assert customer.status()["queuedTasks"] == 999


def test_items_start_in_their_order(house: House) -> None:
    """Of equal priority in the order of the array, higher ones first."""
    customer, session = house.customer(slots=9), house.session("ANY")
    with customer.client:
        batch = [ITEM | {"priority": priority} for priority in (1, 5, 1, 5)]
        ids = [verdict["task"]["id"] for verdict in verdicts_of(send(customer, batch))]

        assert [lease["task"] for lease in session.claim(9)] == [ids[1], ids[3], ids[0], ids[2]]


def test_payloads_reach_workers_byte_for_byte(house: House) -> None:
    """As for a single task."""
    customer, session = house.customer(slots=9), house.session("ANY")
    payload = b'{ "b" : 1.0,\n "a":1e2, "c":"\\u00e9\xc3\xa9\\/]},[" }'
    with customer.client:
        verdicts_of(send(customer, b' [ {"payload":  %s  ,"taskType":"ANY"} ] ' % payload))

        assert b'"payload":%s,"call"' % payload in session.exchange(1).content


def test_a_large_batch_is_taken(shared: House) -> None:
    """Thirty payloads of a megabyte: within 32 MiB, each within its own limit."""
    customer = shared.customer()
    with customer.client:
        item = b'{"taskType": "ANY", "payload": {"a": "%s"}}' % (b"x" * 1_048_000)

        verdicts = verdicts_of(send(customer, b"[" + b",".join([item] * 30) + b"]"))
        refused = send(customer, b"[" + b",".join([item] * 33) + b"]")

        assert all(verdict["success"] for verdict in verdicts)
        assert refused.status_code == 413
        assert error_of(refused)["details"] == {"limit": 32 * 1024 * 1024}
        assert customer.client.request("DELETE", "/v1/async/queue").json() == {"success": True, "cleared": 30}


def test_a_batch_has_at_most_a_million_values(customer: Customer) -> None:
    """All items together: refused whole, and named, before any of them is read; commas in texts are no values."""
    full = b'{"taskType": "ANY", "payload": {"a": [%s1]}}' % (b"1," * 99_990)
    text = b'{"taskType": "ANY", "payload": {"a": "%s"}}' % (b"," * 1_000_000)

    refused = send(customer, b"[" + b",".join([full] * 11) + b"]")
    accepted = verdicts_of(send(customer, b"[" + b",".join([full] * 9 + [text] * 9) + b"]"))

    assert refused.status_code == 400
    assert error_of(refused)["details"] == [{"field": "body", "message": "has more than 1000000 values"}]
    assert all(verdict["success"] for verdict in accepted)


def test_the_loop_is_free_while_a_large_batch_is_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read on a thread; a small one is not worth the way there."""
    threads: list[str] = []
    moved = asyncio.to_thread

    async def noted(function: Callable[..., Any], *arguments: Any) -> Any:
        if function.__module__.startswith("fairlane.api"):  # a database may connect on a thread meanwhile
            threads.append(function.__name__)
        return await moved(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    customer = house.customer()
    with customer.client:
        verdicts_of(send(customer, [ITEM]))
        small = list(threads)
        verdicts_of(send(customer, [ITEM] * 500))

    assert small == []
    assert threads == ["_read_batch"]


def test_a_task_may_have_batch_for_its_key(customer: Customer) -> None:
    """The path of the batch endpoint hides no task."""
    task_id = customer.accepted(idempotencyKey="batch")

    assert customer.find("batch").json()["task"]["id"] == task_id


# Clearing ------------------------------------------------------------------------------------------------------------


def test_the_queue_is_cleared(house: House) -> None:
    """What waits is gone with its keys, what runs goes on; nothing is charged; it can be repeated."""
    customer, session = house.customer(slots=1), house.session("ANY")
    with customer.client:
        running = customer.accepted()
        (lease,) = session.claim(1)
        queued = customer.accepted(idempotencyKey="k")

        answers = [customer.client.request("DELETE", "/v1/async/queue") for _ in range(2)]

        assert [answer.content for answer in answers] == [
            b'{"success":true,"cleared":1}',
            b'{"success":true,"cleared":0}',
        ]
        assert customer.find(queued).status_code == customer.find("k").status_code == 404
        assert customer.submit(idempotencyKey="k").status_code == 200
        session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
        assert customer.find(running).json()["task"]["status"] == "COMPLETED"


def test_one_organizations_clear_is_not_anothers(shared: House, customer: Customer) -> None:
    """Only the caller's own queue."""
    other = shared.customer()
    with other.client:
        theirs = other.accepted()
        customer.accepted()

        assert customer.client.request("DELETE", "/v1/async/queue").json()["cleared"] == 1
        assert other.find(theirs).status_code == 200


@pytest.mark.parametrize("batch", [1, 7])
def test_the_queue_limit_is_exact_however_many_submit_at_once(shared: House, batch: int) -> None:
    """Thirty callers, each sending until it is refused three times: as many are accepted as fit, not one more."""
    customer = shared.customer(queue_limit=50)
    one = {"taskType": "ANY", "payload": {}}
    with ThreadPoolExecutor(30) as callers:
        answers = [answer for some in callers.map(lambda _: _until_refused(customer, [one] * batch), range(30))
                   for answer in some]  # fmt: skip

    accepted = sum(answer.status_code == 200 for answer in answers)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert accepted == 50 // batch
    assert customer.status()["queuedTasks"] == accepted * batch
    assert len(refused) == 90
    for answer in refused:
        error = error_of(answer)
        assert (answer.status_code, error["code"]) == (429, "QUEUE_LIMIT_EXCEEDED")
        assert error["message"] == "Queue limit exceeded. Maximum 50 queued tasks allowed per organization"
        assert "retry-after" not in answer.headers
        details = error["details"]
        assert (details["limit"], details["maxQueueSize"], details["batchSize"]) == (50, 50, batch)
        assert details["remainingCapacity"] == 50 - details["queuedCount"] < batch


def _until_refused(customer: Customer, tasks: list[dict[str, Any]]) -> list[httpx2.Response]:
    answers: list[httpx2.Response] = []
    path, body = ("/v1/async/task", tasks[0]) if len(tasks) == 1 else ("/v1/async/task/batch", tasks)
    with customer.house.client(None, authorization=f"Bearer {customer.key['value']}") as client:
        while sum(answer.status_code != 200 for answer in answers) < 3:
            answers.append(client.post(path, json=body))
    return answers
