"""Waiting for the end of a task, lists, running again, starting later, and sparing what the caller has."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from fairlane.api import waiting
from tests.api.house import Customer, House, error_of, eventually, fields_of
from tests.builders import lose_hints

WAIT = {"prefer": "wait=30"}


@pytest.fixture
def threads(house: House) -> Iterator[ThreadPoolExecutor]:
    """Requests that wait need threads of their own; at the end, whoever still waits is let go."""
    with ThreadPoolExecutor(8) as pool:
        yield pool
        house.soon(house.server.drain)


def waits(house: House) -> int:
    """How many requests wait now."""
    return sum(house.server.serving.waiting.waits().values())


def complete(house: House, customer: Customer) -> None:
    """Run the one task that is ready."""
    session = house.session("ANY")
    (lease,) = session.claim(1)
    session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {"n": 1}})


def find(customer: Customer, reference: str, **headers: str) -> httpx2.Response:
    """Ask for one task with headers."""
    return customer.client.get(f"/v1/async/task/{reference}", headers=headers)


# Waiting -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nobody_looks")
def test_who_waits_is_answered_when_the_task_has_ended(house: House, threads: ThreadPoolExecutor) -> None:
    """By the commit that ends it, and not by a look; and told that it was waited for."""
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted()
        asked = threads.submit(find, customer, task_id, **WAIT)
        eventually(lambda: waits(house) == 1)

        complete(house, customer)
        answer = asked.result(10)

        assert answer.json()["task"]["status"] == "COMPLETED"
        assert answer.headers["preference-applied"] == "wait=30"
        assert answer.json() == customer.find(task_id).json()
        assert waits(house) == 0


def test_an_end_that_nobody_hinted_at_is_found(house: House, threads: ThreadPoolExecutor) -> None:
    """As when another server ended it."""
    lose_hints(house.store, "ended")
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted()
        asked = threads.submit(find, customer, task_id, **WAIT)
        eventually(lambda: waits(house) == 1)

        complete(house, customer)

        assert asked.result(10).json()["task"]["status"] == "COMPLETED"


@pytest.mark.parametrize("hinted", [True, False])
def test_who_waits_for_what_is_cleared_is_answered(house: House, threads: ThreadPoolExecutor, hinted: bool) -> None:
    """At once; and within a poll if nobody hinted at it."""
    if not hinted:
        lose_hints(house.store, "ended")
    customer = house.customer()
    with customer.client:
        asked = threads.submit(find, customer, customer.accepted(), **WAIT)
        eventually(lambda: waits(house) == 1)

        customer.client.delete("/v1/async/queue")

        assert asked.result(10).status_code == 404


def test_who_waits_for_what_is_erased_is_answered(house: House, threads: ThreadPoolExecutor) -> None:
    """With its organization, at once."""
    customer = house.customer()
    with customer.client:
        asked = threads.submit(find, customer, customer.accepted(), **WAIT)
        eventually(lambda: waits(house) == 1)

        house.admin.delete(f"/admin/v1/organizations/{customer.name}")

        assert asked.result(10).status_code == 404


def test_every_end_that_nobody_hinted_at_is_found(
    house: House, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait for others in front of it, and however few are looked at in one read."""
    monkeypatch.setattr(waiting, "LOOK_MOST", 2)
    lose_hints(house.store, "ended")
    customer, session = house.customer(slots=5), house.session("ANY", places=5)
    with customer.client:
        for number in range(5):
            last = customer.accepted()
            asked = threads.submit(find, customer, last, **WAIT)
            eventually(lambda: waits(house) == number + 1)  # noqa: B023 - called at once
        [lease] = [one for one in session.claim(5) if one["task"] == last]

        session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})

        assert asked.result(10).json()["task"]["status"] == "COMPLETED"


def test_time_that_is_up_ends_the_wait(customer: Customer) -> None:
    """With the task as it is then."""
    task_id = customer.accepted()
    began = time.monotonic()

    answer = find(customer, task_id, prefer="wait=1")

    assert 0.9 < time.monotonic() - began < 10
    assert answer.json()["task"]["status"] == "QUEUED"
    assert answer.headers["preference-applied"] == "wait=1"


@pytest.mark.parametrize(
    "prefer",
    [
        "wait",
        "wait=",
        "wait=x",
        "wait=-1",
        "wait=1.5",
        "wait=0",
        "respond-async",
        "xwait=9",
        'a="b, wait=9"',
    ],
)
def test_a_preference_that_makes_no_sense_is_ignored(customer: Customer, prefer: str) -> None:
    """As the standard asks: the answer is that of a plain request."""
    task_id = customer.accepted()

    answer = customer.client.get(f"/v1/async/task/{task_id}", headers={"prefer": prefer})

    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    "prefer", ["wait=99999", 'respond-async; x="a,b", WAIT = "60"', "wait=60;foo=bar, wait=1", 'a="b, wait=9", wait=60']
)
def test_preferences_are_read_as_the_standard_says(house: House, threads: ThreadPoolExecutor, prefer: str) -> None:
    """Names in any case, quoted values, parameters, the first of two; at most a minute."""
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted()
        asked = threads.submit(find, customer, task_id, prefer=prefer)
        eventually(lambda: waits(house) == 1)
        complete(house, customer)

        assert asked.result(10).headers["preference-applied"] == "wait=60"


def test_what_is_over_or_not_there_is_answered_at_once(house: House) -> None:
    """Nothing is left to wait for."""
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted()
        complete(house, customer)

        assert find(customer, task_id, **WAIT).elapsed.total_seconds() < 10
        assert find(customer, "nothing", **WAIT).status_code == 404


def test_a_submission_may_wait(house: House, threads: ThreadPoolExecutor) -> None:
    """The answer is what GET answers then, and that it succeeded; it says where the task is found."""
    customer = house.customer()
    with customer.client:
        body = {"taskType": "ANY", "payload": {}}
        asked = threads.submit(customer.client.post, "/v1/async/task", json=body, headers=WAIT)
        eventually(lambda: waits(house) == 1)
        complete(house, customer)

        answer = asked.result(10)

        task_id = answer.json()["task"]["id"]
        assert answer.json() == {"success": True} | customer.find(task_id).json()
        assert answer.json()["response"] == {"n": 1}
        assert answer.headers["location"] == f"/v1/async/task/{task_id}"
        assert answer.headers["preference-applied"] == "wait=30"


def test_what_is_cleared_while_its_submission_waits_was_accepted(house: House, threads: ThreadPoolExecutor) -> None:
    """The answer is that of a submission that does not wait, at once."""
    customer = house.customer()
    with customer.client:
        body = {"taskType": "ANY", "payload": {}}
        asked = threads.submit(customer.client.post, "/v1/async/task", json=body, headers=WAIT)
        eventually(lambda: waits(house) == 1)

        customer.client.request("DELETE", "/v1/async/queue")

        answer = asked.result(10)
        assert (answer.status_code, answer.json()["task"]["status"]) == (200, "QUEUED")
        assert answer.headers["preference-applied"] == "wait=30"


def test_a_drain_answers_everybody(house: House, threads: ThreadPoolExecutor) -> None:
    """With the task as it is, and lets nobody wait any more."""
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted()
        asked = [threads.submit(find, customer, task_id, **WAIT) for _ in range(3)]
        eventually(lambda: waits(house) == 3)

        house.soon(house.server.drain)

        assert [one.result(5).json()["task"]["status"] for one in asked] == ["QUEUED"] * 3
        assert "preference-applied" not in find(customer, task_id, **WAIT).headers


def test_who_goes_away_waits_no_more(house: House) -> None:
    """Nothing of it stays behind."""
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted()

        with pytest.raises(httpx2.TimeoutException):
            customer.client.get(f"/v1/async/task/{task_id}", headers=WAIT, timeout=0.3)

        eventually(lambda: waits(house) == 0)


def test_only_so_many_of_one_organization_wait(
    house: House, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are answered at once; other organizations may still wait."""
    monkeypatch.setattr(waiting, "ORGANIZATION_MOST", 1)
    customer, other = house.customer(), house.customer()
    with customer.client, other.client:
        task_id, theirs = customer.accepted(), other.accepted()
        asked = [threads.submit(find, customer, task_id, **WAIT)]
        eventually(lambda: waits(house) == 1)

        assert "preference-applied" not in find(customer, task_id, **WAIT).headers
        asked.append(threads.submit(find, other, theirs, **WAIT))
        eventually(lambda: waits(house) == 2)

        house.soon(house.server.drain)
        assert [one.result(10).status_code for one in asked] == [200, 200]


def test_organizations_that_wait_much_leave_places_to_others(
    house: House, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of all places are for those with few; without them the last one is answered at once."""
    monkeypatch.setattr(waiting, "SHARED_MOST", 2)
    monkeypatch.setattr(waiting, "FEW", 1)
    customer, other = house.customer(), house.customer()
    with customer.client, other.client:
        task_id, theirs = customer.accepted(), other.accepted()
        asked = [threads.submit(find, customer, task_id, **WAIT) for _ in range(2)]
        eventually(lambda: waits(house) == 2)

        assert "preference-applied" not in find(customer, task_id, **WAIT).headers
        asked.append(threads.submit(find, other, theirs, **WAIT))
        eventually(lambda: waits(house) == 3)
        assert "preference-applied" not in find(other, theirs, **WAIT).headers

        house.soon(house.server.drain)
        assert [one.result(10).status_code for one in asked] == [200, 200, 200]


def test_only_so_many_wait_at_one_server(
    house: House, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever they are: the next is answered at once."""
    monkeypatch.setattr(waiting, "WAITING_MOST", 1)
    customer, other = house.customer(), house.customer()
    with customer.client, other.client:
        asked = threads.submit(find, customer, customer.accepted(), **WAIT)
        eventually(lambda: waits(house) == 1)

        assert "preference-applied" not in find(other, other.accepted(), **WAIT).headers

        house.soon(house.server.drain)
        assert asked.result(10).status_code == 200


# What the caller has -------------------------------------------------------------------------------------------------


def test_a_body_that_the_caller_has_is_not_sent_again(house: House) -> None:
    """304 for as long as nothing changed, by any form of the header; then the new body with a new tag."""
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted(idempotencyKey="k")
        first = customer.find(task_id)
        tag = first.headers["etag"]
        same = [find(customer, "k", **{"if-none-match": value}) for value in (tag, f"W/{tag}", f'"x", {tag}', "*")]
        other = find(customer, task_id, **{"if-none-match": '"x"'})
        complete(house, customer)
        after = find(customer, task_id, **{"if-none-match": tag})

        assert [(one.status_code, one.content, one.headers["etag"]) for one in same] == [(304, b"", tag)] * 4
        assert (other.status_code, other.content) == (200, first.content)
        assert (after.status_code, after.json()["task"]["status"]) == (200, "COMPLETED")
        assert after.headers["etag"] != tag


def test_a_created_task_says_where_it_is(customer: Customer) -> None:
    """A path that can be asked."""
    answer = customer.submit()

    assert customer.client.get(answer.headers["location"]).json()["task"] == answer.json()["task"]


# Later ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        {"delaySeconds": 0},
        {"delaySeconds": 2_592_000},
        {"runAt": "2020-01-31T15:00:00Z"},
        {"runAt": "2020-01-31T15:00:00.123456789-23:59"},
        {"runAt": (datetime.now(UTC) + timedelta(days=29)).isoformat()},
    ],
)
def test_a_task_may_start_later(customer: Customer, option: dict[str, Any]) -> None:
    """Up to thirty days, alone and in a batch; it is QUEUED, and the answer names the moment."""
    answer = customer.submit(**option)
    item = {"taskType": "ANY", "payload": {}} | option
    batch = customer.client.post("/v1/async/task/batch", json=[item])

    assert answer.status_code == 200, answer.text
    task = answer.json()["task"]
    assert task["status"] == "QUEUED"
    assert ("runAt" in task) is (option != {"delaySeconds": 0})
    assert customer.find(task["id"]).json()["task"] == task
    assert batch.json()["summary"]["succeeded"] == 1
    assert customer.status()["queuedTasks"] == 2


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ({"delaySeconds": -1}, "delaySeconds"),
        ({"delaySeconds": 2_592_001}, "delaySeconds"),
        ({"delaySeconds": 1.0}, "delaySeconds"),
        ({"delaySeconds": True}, "delaySeconds"),
        ({"delaySeconds": "5"}, "delaySeconds"),
        ({"delaySeconds": None}, "delaySeconds"),
        ({"runAt": None}, "runAt"),
        ({"runAt": 1_762_786_800}, "runAt"),
        ({"runAt": ""}, "runAt"),
        ({"runAt": "2026-01-31"}, "runAt"),
        ({"runAt": "2026-01-31T15:00:00"}, "runAt"),
        ({"runAt": "2026-02-30T15:00:00Z"}, "runAt"),
        ({"runAt": "0000-01-01T00:00:00Z"}, "runAt"),
        ({"runAt": "2026-01-31 15:00:00Z"}, "runAt"),
        ({"runAt": "2026-W05-1T15:00:00Z"}, "runAt"),
        ({"runAt": "9999-12-31T23:59:59Z"}, "runAt"),
        ({"runAt": (datetime.now(UTC) + timedelta(days=31)).isoformat()}, "runAt"),
        ({"runAt": "2020-01-31T15:00:00Z", "delaySeconds": 1}, "runAt"),
    ],
)
def test_a_moment_that_makes_no_sense_is_refused(customer: Customer, option: dict[str, Any], field: str) -> None:
    """Under its name."""
    answer = customer.submit(**option)

    assert answer.status_code == 400
    assert fields_of(answer) == [field]


def test_a_delayed_task_starts_on_time(house: House) -> None:
    """Within a moment of it, although nobody asks."""
    customer, session = house.customer(), house.session("ANY")
    with customer.client:
        began = time.monotonic()
        task_id = customer.accepted(delaySeconds=1)

        (lease,) = session.exchange(1, wait_seconds=20).json()["leases"]

        assert lease["task"] == task_id
        assert 0.95 < time.monotonic() - began < 5


# Lists ---------------------------------------------------------------------------------------------------------------


def test_tasks_are_listed_in_pages(house: House) -> None:
    """Newest first; each is what GET answers, without response and webhook, and with the code of a failure."""
    customer = house.customer()
    with customer.client:
        tasks = [customer.accepted(priority=priority) for priority in (5, 1, 9, 5)]
        complete(house, customer)

        for status, expected in (("", tasks), ("QUEUED", [*tasks[:2], tasks[3]]), ("COMPLETED", [tasks[2]])):
            path, found = "/v1/async/tasks?limit=2" + (f"&status={status}" if status else ""), []
            body = customer.client.get(path).json()
            assert list(body) == ["tasks", "nextCursor"]
            found += body["tasks"]
            while body["nextCursor"]:
                body = customer.client.get(f"{path}&cursor={body['nextCursor']}").json()
                found += body["tasks"]
            assert [one["task"]["id"] for one in found] == expected[::-1]
            for one in found:
                shown = customer.find(one["task"]["id"]).json()
                assert one == {"task": shown["task"], "credits": shown["credits"], "code": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("limit=%C2%B2", "limit"),
        ("status=queued", "status"),
        ("status=", "status"),
        ("status=QUEUED&status=FAILED", "status"),
        ("cursor=", "cursor"),
        ("cursor=1", "cursor"),
        ("status=QUEUED&cursor=b27a21e1-7c39-4aa2-a347-23e828c426f9", "cursor"),
        ("status=QUEUED&cursor=99999999999999999999", "cursor"),
        ("taskType=ANY", "taskType"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(customer: Customer, query: str, field: str) -> None:
    """Under its name."""
    answer = customer.client.get(f"/v1/async/tasks?{query}")

    assert answer.status_code == 400
    assert fields_of(answer) == [field]


# Again ---------------------------------------------------------------------------------------------------------------


def failed(house: House, customer: Customer, **options: Any) -> str:
    """A task that failed for good."""
    task_id = customer.accepted("PAGE", {"url": "a"}, **options)
    session = house.session("PAGE")
    (lease,) = session.claim(1)
    session.exchange(0, {"lease": lease["lease"], "outcome": "failed", "cause": "x", "retry": False})
    return task_id


def test_a_failed_task_runs_again_as_a_new_one(a_house: Any) -> None:
    """Same type, payload, priority and webhook, an id of its own, and no key; the old one stays as it is."""
    house = a_house(webhook_allow_private=True)
    customer = house.customer()
    with customer.client:
        task_id = failed(
            house, customer, priority=7, idempotencyKey="a/b", webhook={"url": "http://127.0.0.1:1999/hook"}
        )
        before = customer.find(task_id).json()["task"]

        answer = customer.client.post("/v1/async/task/a%2Fb/retry")

        assert answer.status_code == 200, answer.text
        body = answer.json()
        again = body["task"]
        assert (again["status"], again["priority"], again["taskType"]) == ("QUEUED", 7, "PAGE")
        assert (again["retryOf"], again["idempotencyKey"]) == (task_id, None)
        assert again["id"] != task_id
        assert body["credits"] == {"creditsToCharge": 3, "creditsCharged": None}
        assert answer.headers["location"] == f"/v1/async/task/{again['id']}"
        session = house.session("PAGE")
        (lease,) = session.claim(1)
        assert (lease["task"], lease["payload"]) == (again["id"], {"url": "a"})
        session.exchange(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
        assert customer.find(again["id"]).json()["webhook"]["url"] == "http://127.0.0.1:1999/hook"
        assert customer.find(task_id).json()["task"] == before


def test_what_has_not_failed_is_not_run_again(house: House) -> None:
    """409 with how it stands; what is not there is not found."""
    customer = house.customer()
    with customer.client:
        task_id = customer.accepted()

        answer, nothing = (customer.client.post(f"/v1/async/task/{name}/retry") for name in (task_id, "nothing"))

        assert answer.status_code == 409
        error = error_of(answer)
        assert (error["code"], error["details"]) == ("TASK_NOT_FAILED", {"id": task_id, "status": "QUEUED"})
        assert nothing.status_code == 404
        assert customer.status()["queuedTasks"] == 1


def test_a_repetition_needs_room_like_any_task(house: House) -> None:
    """And may be repeated when it failed itself."""
    customer = house.customer(queue_limit=1)
    with customer.client:
        task_id = failed(house, customer)
        customer.accepted()

        refused = customer.client.post(f"/v1/async/task/{task_id}/retry")

        assert (refused.status_code, error_of(refused)["code"]) == (429, "QUEUE_LIMIT_EXCEEDED")
