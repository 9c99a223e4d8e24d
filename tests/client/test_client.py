"""One client against a real server: what it sends is what the API takes, what it returns is what the API says."""

import asyncio
import inspect
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from fairlane import client as sdk
from fairlane.client import AsyncClient, Client, NotFound, NotInTime, SetupMissing, TaskFailed
from tests.api.house import Customer, House, eventually
from tests.client.conftest import Hands, client_of

Working = Callable[..., Hands]


def test_status_tells_queue_and_slots(client: Client, customer: Customer) -> None:
    """The four values of the status answer, typed."""
    customer.accepted(priority=5)
    customer.accepted()
    customer.accepted()

    status = client.status()

    assert (status.queued_tasks, status.processing_tasks) == (3, 0)
    assert status.concurrency is not None
    assert (status.concurrency.used, status.concurrency.max, status.concurrency.free) == (0, 10, 10)
    assert status.concurrency.utilization == 0
    assert [(level.priority, level.count) for level in status.priority_breakdown] == [(5, 1), (1, 2)]


def test_concurrency_is_none_while_nobody_vouches_for_it(client: Client, customer: Customer) -> None:
    """The counts stay."""
    customer.accepted()
    customer.change(maintenance=True)

    status = client.status()

    assert (status.queued_tasks, status.concurrency) == (1, None)


def test_a_submitted_task_is_found_by_its_id_and_by_its_key(client: Client) -> None:
    """Slashes, percent signs and letters beyond ASCII in the key, too."""
    key = "job/1 %2F é"

    made = client.submit("ANY", {"n": 1}, priority=7, idempotency_key=key, webhook_url="http://127.0.0.1:9000/hook")

    assert (made.status, made.priority, made.task_type, made.done) == ("QUEUED", 7, "ANY", False)
    assert client.task(made.id).id == client.task(key).id == client.task(made).id == made.id
    assert made.created_at.tzinfo is not None


@pytest.mark.parametrize("key", ["...", "a/../b", "./"])
def test_a_key_with_dots_is_not_a_step_in_the_path(client: Client, key: str) -> None:
    """Its task is found, canceled and asked about like any other."""
    made = client.submit("OTHER", {}, idempotency_key=key)

    assert client.task(key).id == client.why(key).task_id == client.cancel(key).id == made.id


@pytest.mark.parametrize("key", [".", ".."])
def test_a_key_that_is_a_step_of_a_path_is_refused(client: Client, key: str) -> None:
    """The API refuses it, because browsers could not reach the task; asked for it, the client still sends the key."""
    with pytest.raises(sdk.ValidationFailed, match="idempotencyKey"):
        client.submit("OTHER", {}, idempotency_key=key)
    with pytest.raises(sdk.NotFound):
        client.task(key)


def test_an_empty_key_is_refused_not_replaced(client: Client) -> None:
    """By the API; a random one in its place would make a task with each repetition."""
    with pytest.raises(sdk.ValidationFailed, match="idempotencyKey"):
        client.submit("OTHER", {}, idempotency_key="")
    [verdict] = client.submit_many([sdk.NewTask(task_type="OTHER", payload={}, idempotency_key="")])

    assert verdict.error is not None
    assert client.status().queued_tasks == 0


def test_a_key_that_names_a_task_yields_that_task(client: Client) -> None:
    """Submitting twice makes one task, whatever the payload."""
    first = client.submit("ANY", {"n": 1}, idempotency_key="once")

    assert client.submit("ANY", {"n": 2}, idempotency_key="once").id == first.id
    assert client.status().queued_tasks == 1


def test_run_brings_the_result(client: Client, working: Working) -> None:
    """Submit, wait, result."""
    working()

    assert client.run("ANY", {"words": 2}, timeout_seconds=10) == {"words": 2}


def test_run_of_a_task_that_fails_raises_what_the_handler_said(client: Client, working: Working) -> None:
    """With code, message and details, and the task itself."""
    working()

    with pytest.raises(TaskFailed, match="NO_SUCH_PAGE: there is no such page") as raised:
        client.run("ANY", {"fail": True}, timeout_seconds=10)

    error = raised.value.task.error
    assert error is not None
    assert (error.code, error.details) == ("NO_SUCH_PAGE", {"page": 3})
    assert raised.value.task.credits_charged == 0


def test_wait_gives_up_when_its_time_is_over(client: Client) -> None:
    """The task goes on; the exception has it."""
    made = client.submit("ANY", {})

    with pytest.raises(NotInTime) as raised:
        client.wait(made, timeout_seconds=0.1)

    assert (raised.value.task.id, raised.value.task.status) == (made.id, "QUEUED")


def test_wait_with_no_time_looks_once(client: Client, working: Working) -> None:
    """A task that has ended is returned even then."""
    working()
    made = client.submit("ANY", {})
    client.wait(made, timeout_seconds=10)

    assert client.wait(made, timeout_seconds=0).done


def test_as_completed_gives_each_task_once(client: Client, working: Working) -> None:
    """More of them than are looked at together, in whatever order they end."""
    made = [client.submit("ANY", {"n": number}).id for number in range(sdk_window() + 5)]
    working()

    ended = list(client.as_completed(made, timeout_seconds=20))

    assert sorted(task.id for task in ended) == sorted(made)
    assert {task.status for task in ended} == {"COMPLETED"}


def test_as_completed_gives_up_when_none_ends(client: Client) -> None:
    """The time counts from the last one that did."""
    made = [client.submit("ANY", {}).id for _ in range(2)]

    with pytest.raises(NotInTime):
        list(client.as_completed(made, timeout_seconds=0.2))


def test_what_is_refused_raises_by_its_code(client: Client, customer: Customer) -> None:
    """Each refusal has a class of its own; fields and ids are kept."""
    with pytest.raises(sdk.ValidationFailed) as refused:
        client.submit("NOWHERE", {})
    with pytest.raises(NotFound) as missing:
        client.task("nobody")
    customer.change(queue_limit=1)
    client.submit("ANY", {})
    with pytest.raises(sdk.QueueLimitExceeded) as full:
        client.submit("ANY", {})
    nobodys = Client(customer.house.server.address, "sk_live_00000000000000000000000000000000")
    with nobodys, pytest.raises(sdk.Unauthorized) as unknown:
        nobodys.status()

    assert refused.value.details == [
        {"field": "taskType", "message": "is not a known task type: the nearest is OTHER; known are ANY, OTHER, PAGE"}
    ]
    assert (missing.value.status, missing.value.code) == (404, "RESOURCE_NOT_FOUND")
    assert full.value.details["limit"] == 1
    assert unknown.value.code == "INVALID_OR_EXPIRED_API_KEY"
    assert unknown.value.request_id


@pytest.mark.parametrize("value", [object(), math.nan, math.inf, datetime.now])
def test_a_payload_that_is_no_json_is_refused_here(client: Client, value: Any) -> None:
    """Before anything is sent, with the path of what is wrong; what is no number is not made null in silence."""
    with pytest.raises(sdk.ValidationFailed) as refused:
        client.submit("ANY", {"when": {"then": value}})
    with pytest.raises(sdk.ValidationFailed):
        client.call("any", {"when": value})

    assert refused.value.details[0]["field"] == "payload.when.then"
    assert client.status().queued_tasks == 0


def test_address_and_key_come_from_the_environment(
    shared: House, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAIRLANE_URL and FAIRLANE_API_KEY; arguments win; without them a clear message."""
    with pytest.raises(SetupMissing, match="FAIRLANE_URL"):
        Client()
    monkeypatch.setenv("FAIRLANE_URL", f"{shared.server.address}///")
    with pytest.raises(SetupMissing, match="FAIRLANE_API_KEY"):
        Client()
    monkeypatch.setenv("FAIRLANE_API_KEY", customer.key["value"])

    with Client() as made:
        assert made.status().queued_tasks == 0
    for wrong in ("127.0.0.1:8000", "ftp://127.0.0.1"):
        with pytest.raises(SetupMissing, match="http"):
            Client(wrong)
    with pytest.raises(SetupMissing, match="line end"):
        Client(key="sk_live_1234\n")


def test_a_client_may_be_shared_between_threads(client: Client, customer: Customer) -> None:
    """Every submission arrives once."""
    threads = [threading.Thread(target=lambda: [client.submit("ANY", {}) for _ in range(10)]) for _ in range(5)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert customer.status()["queuedTasks"] == 50


def test_the_async_client_does_the_same(customer: Customer, working: Working) -> None:
    """One walk through its operations; the logic is the same one."""
    working()

    async def walk() -> list[Any]:
        async with AsyncClient(customer.house.server.address, customer.key["value"]) as client:
            made = await client.submit("ANY", {"n": 1}, idempotency_key="walk")
            ended = await client.wait(made, timeout_seconds=10)
            completed = [task.id async for task in client.as_completed([made.id, "walk"], timeout_seconds=10)]
            result = await client.run("ANY", {"n": 2}, timeout_seconds=10)
            status = await client.status()
            found = await client.task("walk")
            return [ended.response, completed == [made.id, made.id], result, status.queued_tasks, found.id == made.id]

    assert asyncio.run(walk()) == [{"n": 1}, True, {"n": 2}, 0, True]


def test_canceling_the_caller_cancels_the_wait(customer: Customer) -> None:
    """An async wait holds nothing when its task is canceled."""

    async def walk() -> str:
        async with AsyncClient(customer.house.server.address, customer.key["value"]) as client:
            made = await client.submit("ANY", {})
            try:
                async with asyncio.timeout(0.1):
                    await client.wait(made)
            except TimeoutError:
                return (await client.task(made)).status
        return "it ended"

    assert asyncio.run(walk()) == "QUEUED"


def test_both_clients_offer_the_same() -> None:
    """Same names, same arguments, same first line."""
    public = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]

    assert public
    for name in public:
        sync, other = getattr(Client, name), getattr(AsyncClient, name)
        assert list(inspect.signature(sync).parameters) == list(inspect.signature(other).parameters), name
        assert first_line(sync) == first_line(other), name
    assert list(inspect.signature(Client).parameters) == list(inspect.signature(AsyncClient).parameters)


def test_records_are_frozen(client: Client) -> None:
    """Nobody changes what the API said."""
    status = client.status()

    with pytest.raises(AttributeError):
        status.queued_tasks = 7  # type: ignore[misc]
    kinds = [kind for kind in vars(sdk).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    assert all(kind.__struct_config__.frozen for kind in kinds)


def test_nothing_of_the_server_is_imported() -> None:
    """The client speaks HTTP: neither store nor API nor worker comes with it."""
    import subprocess
    import sys

    script = "import sys, fairlane.client; print([n for n in sys.modules if n.startswith(('fairlane.store', 'apsw'))])"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def first_line(function: Any) -> str:
    """Of its docstring, to the end of the first sentence's line."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def sdk_window() -> int:
    """How many tasks are looked at together."""
    from fairlane.client.many import WINDOW_TASKS

    return WINDOW_TASKS


def test_a_queued_task_is_canceled_and_an_ended_one_is_not(client: Client, working: Working) -> None:
    """The answer is the task as it stands then."""
    waiting = client.submit("OTHER", {})

    canceled = client.cancel(waiting)
    again = client.cancel(waiting.id)

    assert (canceled.id, canceled.status, again.status) == (waiting.id, "FAILED", "FAILED")
    assert canceled.error is not None
    assert canceled.error.code == "TASK_CANCELED"
    working()
    ended = client.submit("ANY", {})
    client.wait(ended, timeout_seconds=10)
    with pytest.raises(sdk.AlreadyEnded):
        client.cancel(ended)


def test_the_queue_is_cleared_and_the_balance_read(client: Client) -> None:
    """How many tasks were dropped; the credits as the API tells them."""
    for _ in range(3):
        client.submit("OTHER", {})

    assert (client.clear(), client.clear(), client.status().queued_tasks) == (3, 0, 0)
    assert client.credits().remaining > 0


def test_many_tasks_pass_through_the_real_batch_route(client: Client, working: Working) -> None:
    """One of them wrong, one there before; the rest accepted and ended."""
    client.submit("ANY", {"n": 0}, idempotency_key="many-0")
    tasks = [
        sdk.NewTask(
            task_type="NOWHERE" if number == 5 else "ANY", payload={"n": number}, idempotency_key=f"many-{number}"
        )
        for number in range(700)
    ]
    working()

    verdicts = list(client.submit_many(tasks, keep_queued_below=300))
    ended = list(client.as_completed(verdicts, timeout_seconds=30))

    assert [one.index for one in verdicts if one.existed] == [0]
    assert [(one.index, one.error.code) for one in verdicts if one.error] == [(5, "VALIDATION_ERROR")]
    assert sorted(task.response["n"] for task in ended if task.response) == [n for n in range(700) if n != 5]


def test_tasks_are_listed_page_by_page(client: Client) -> None:
    """Newest first, more than one page of them; by status; no more than asked for."""
    made = [client.submit("OTHER", {}).id for _ in range(120)]
    client.cancel(made[7])

    assert [task.id for task in client.tasks()] == made[::-1]
    assert [task.id for task in client.tasks(most=3)] == made[:-4:-1]
    assert [task.id for task in client.tasks(status="FAILED")] == [made[7]]
    assert list(client.tasks(status="PROCESSING")) == []


def test_a_failed_task_is_run_again_as_a_new_one(client: Client, working: Working) -> None:
    """Which names the old one; what has not failed is not run again."""
    working()
    failed = client.wait(client.submit("ANY", {"fail": True}), timeout_seconds=10)

    again = client.retry(failed)

    assert (again.id == failed.id, again.retry_of, again.done) == (False, failed.id, False)
    assert client.wait(again, timeout_seconds=10).status == "FAILED"
    done = client.wait(client.submit("ANY", {}), timeout_seconds=10)
    with pytest.raises(sdk.NotFailed):
        client.retry(done)


def test_a_task_may_start_later(client: Client) -> None:
    """After a delay, or at a moment of any time zone."""
    moment = datetime.now(timezone(timedelta(hours=2))) + timedelta(hours=1)

    at, after = client.submit("OTHER", {}, run_at=moment), client.submit("OTHER", {}, delay_seconds=90)

    assert at.run_at is not None
    assert after.run_at is not None
    assert abs((at.run_at - moment).total_seconds()) < 0.002
    assert 85 < (after.run_at - after.created_at).total_seconds() < 95


def test_waiting_is_done_by_the_server(customer: Customer, working: Working) -> None:
    """One question brings the outcome, however long it takes: no pause of the client's own."""
    pauses: list[float] = []
    with client_of(customer, sleep=pauses.append) as client:
        made = client.submit("ANY", {"n": 1})
        threading.Timer(0.3, working).start()

        assert client.wait(made, timeout_seconds=15).response == {"n": 1}

    assert pauses == []


def test_why_tells_reason_and_place(client: Client, working: Working) -> None:
    """Of a task that waits, and of one that is over."""
    first, second = client.submit("ANY", {}), client.submit("ANY", {}, idempotency_key="second")

    waits = client.why("second")

    assert (waits.task_id, waits.reason, waits.tasks_ahead, waits.tasks_ahead_bounded) == (
        second.id, "TYPE_UNSERVED", 1, False,
    )  # fmt: skip
    working()
    client.wait(first, timeout_seconds=10)
    assert client.why(first).reason == "FINISHED"
    with pytest.raises(NotFound):
        client.why("nothing")


def test_capacity_tells_what_more_slots_would_have_done(client: Client, working: Working) -> None:
    """Advice, exact shares, what was measured and what is estimated."""
    working()
    client.run("ANY", {}, timeout_seconds=10)

    capacity = client.capacity(days=1)

    assert (capacity.max, capacity.replayed.tasks) == (10, 1)
    assert capacity.replayed.measured is not None
    assert [one.max for one in capacity.projections] == [10, 13, 15, 20, 40]
    assert 0 <= capacity.plan_limited_share <= capacity.worker_limited_share <= 1
    assert capacity.advice.startswith("Limited by the plan 0%")
    assert timedelta(0) < capacity.ends_at - capacity.begins_at < timedelta(minutes=5)  # It is no older.


def test_usage_tells_what_happened(client: Client, working: Working) -> None:
    """Totals and steps of a span; moments need a time zone."""
    working()
    client.run("ANY", {}, timeout_seconds=10)

    usage = client.usage(begins_at=datetime.now(UTC) - timedelta(minutes=30), step_seconds=300)

    assert (usage.total.submitted, usage.total.completed, usage.step_seconds) == (1, 1, 300)
    assert sum(step.completed for step in usage.steps) == 1
    assert 0 <= usage.plan_limited_share <= usage.worker_limited_share < 0.1
    by_type = client.usage_by_type(begins_at=datetime.now(UTC) - timedelta(minutes=30), step_seconds=300)
    assert (by_type.step_seconds, by_type.begins_at < by_type.ends_at) == (300, True)
    with pytest.raises(ValueError, match="no time zone"):
        client.usage(ends_at=datetime(2025, 1, 1))  # noqa: DTZ001


def test_attempts_and_failures_tell_what_went_wrong(client: Client, shared: House) -> None:
    """How each attempt ended, and the group of its cause; moments need a time zone."""
    made = client.submit("OTHER", {})
    session = shared.session("OTHER")
    leases = session.exchange(1_000, wait_seconds=5).json()["leases"]
    [lease] = [one for one in leases if one["task"] == made.id]  # Other organizations have tasks, too.
    session.exchange(0, {"lease": lease["lease"], "outcome": "failed", "cause": "KeyError: x", "retry": False})

    [attempt] = client.attempts(made)
    [group] = client.failures(since=datetime.now(UTC) - timedelta(minutes=30), most=5)

    assert (attempt.number, attempt.ending, attempt.next_attempt_at) == (1, "FAILED", None)
    assert attempt.failure is not None
    assert (attempt.failure.code, group.code, group.failures) == ("INTERNAL_SERVER_ERROR", attempt.failure.code, 1)
    assert group.sample_task_id == made.id
    with pytest.raises(ValueError, match="no time zone"):
        client.failures(since=datetime(2025, 1, 1))  # noqa: DTZ001


def test_slots_and_why_tell_how_far_a_running_task_is(client: Client, shared: House) -> None:
    """With what its handler says."""
    made = client.submit("ANY", {})
    session = shared.session("ANY")
    leases = session.exchange(1_000, wait_seconds=5).json()["leases"]
    [lease] = [one for one in leases if one["task"] == made.id]  # Other organizations have tasks, too.
    said = {"lease": lease["lease"], "done": 12, "total": 30, "note": "pages read"}
    body = {"session": session.id, "id": "says", "places": 0, "wait_seconds": 0, "progress": [said]}
    assert shared.worker.post("/worker/v1/exchange", json=body).status_code == 200

    [slot] = client.slots()
    why = client.why(made)
    session.end("drained")

    assert (slot.kind, slot.task_id, slot.task_type, slot.attempt) == ("task", made.id, "ANY", 1)
    assert slot.progress is not None
    assert why.progress == slot.progress
    assert (slot.progress.done, slot.progress.total, slot.progress.note) == (12, 30, "pages read")


def test_a_recount_comes_beside_the_status(client: Client) -> None:
    """Only if it is asked for."""
    client.submit("OTHER", {})

    verified = client.status(verify=True)

    assert verified.verification is not None
    assert (verified.queued_tasks, verified.verification.drift, verified.verification.differences) == (1, 0, ())
    assert client.status().verification is None


def test_alerts_are_made_listed_and_deleted(client: Client) -> None:
    """Each once."""
    made = client.create_alert("QUEUED_ABOVE", 100, for_seconds=60, webhook_url="http://127.0.0.1:9000/hook")

    assert client.alerts() == [made]
    assert (made.kind, made.threshold, made.for_seconds, made.firing) == ("QUEUED_ABOVE", 100, 60, False)
    assert made.webhook.url == "http://127.0.0.1:9000/hook"
    assert client.delete_alert(made) == made
    assert client.alerts() == []
    with pytest.raises(NotFound):
        client.delete_alert(made.id)
    with pytest.raises(sdk.ValidationFailed, match="threshold must be a finite number"):
        client.create_alert("QUEUED_ABOVE", math.nan, for_seconds=60, webhook_url="http://127.0.0.1:9000/hook")


def test_deliveries_are_listed_and_tried_again(client: Client) -> None:
    """Newest first, with what they tell of."""
    made = [client.submit("OTHER", {}, webhook_url=f"http://127.0.0.1:9000/{number}") for number in range(3)]
    for task in made:
        client.cancel(task)
    assert [one.code for one in client.tasks()] == ["TASK_CANCELED"] * 3
    assert (made[0].code, client.task(made[0]).code) == (None, "TASK_CANCELED")

    found = list(client.deliveries())

    assert {one.task_id for one in found} == {task.id for task in made}
    assert [one.id for one in client.deliveries(most=2)] == [one.id for one in found[:2]]
    assert [one.task_id for one in client.deliveries(task_id=made[1].id)] == [made[1].id]
    chosen: sdk.DeliveryConditions = {"url_prefix": "http://127.0.0.1:9000/", "created_from": made[0].created_at}
    assert [one.id for one in client.deliveries(**chosen)] == [one.id for one in found]
    assert list(client.deliveries(host_prefix="127.0.0.1:9001")) == []
    assert list(client.deliveries(created_before=made[0].created_at)) == []
    # Nothing listens there.
    [host] = eventually(lambda: [one for one in client.webhook_hosts("127.") if one.failed_in_row == 3])
    assert (host.host, host.open, host.open_bounded, host.held_by) == ("127.0.0.1:9000", 3, False, "pause")
    assert host.last_try is not None
    assert (host.last_try.outcome, host.last_try.status) == ("failed", None)
    assert [one.host for one in client.webhook_hosts()] == [host.host]
    assert list(client.webhook_hosts("nowhere")) == []
    assert client.redeliver(found[0]).id == found[0].id
    with pytest.raises(NotFound):
        client.redeliver("nothing")
