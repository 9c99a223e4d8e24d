"""Calls over HTTP: answered with the result, refused at once, given up when the caller goes away."""

import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from fairlane.api import callers
from fairlane.api.callers import Callers
from fairlane.errors import StoreFault
from fairlane.handlers import Fairlane
from fairlane.store import calls as store_calls
from tests.api.house import Customer, House, Session, error_of, eventually, fields_of
from tests.builders import lose_hints

ANY = "/v1/monitor/any"
PAGE = "/v1/monitor/pages/read"
CONCURRENCY = [
    f"x-{word}-{part}" for word in ("concurrency", "concurrent") for part in ("limit", "current", "remaining")
]


class Calling:
    """Calls that are under way, each on a thread and a connection of its own."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def __call__(self, customer: Customer, path: str = ANY, payload: Any = None) -> "Future[httpx2.Response]":
        """Send one; it is answered some time."""

        def send() -> httpx2.Response:
            headers = {"authorization": f"Bearer {customer.key['value']}"}
            with httpx2.Client(base_url=customer.house.server.address, headers=headers, timeout=20) as client:
                return client.post(path, json={} if payload is None else payload)

        return self._pool.submit(send)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server of these tests alone: a free place must not be given to what other tests left queued."""
    with House(tmp_path_factory.mktemp("calls")) as house:
        yield house


@pytest.fixture
def calling() -> Iterator[Calling]:
    """Send calls without waiting for their answers. All of them have to be answered before the test is over."""
    with ThreadPoolExecutor(8) as pool:
        yield Calling(pool)


def completed(lease: dict[str, Any], result: Any = None) -> dict[str, Any]:
    """A report."""
    return {"lease": lease["lease"], "outcome": "completed", "result": {"done": True} if result is None else result}


def failed(lease: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A report."""
    return {"lease": lease["lease"], "outcome": "failed", "cause": "it broke"} | more


def one_lease(session: Session) -> dict[str, Any]:
    """The lease that a free place gets, once there is one."""
    [lease] = eventually(lambda: session.claim(1))
    return lease


def used(customer: Customer) -> int:
    """Slots in use."""
    return int(customer.status()["concurrency"]["used"])


def concurrency(answer: httpx2.Response) -> list[tuple[int, int, int]]:
    """(limit, current, remaining) in each spelling."""
    values = [int(answer.headers[name]) for name in CONCURRENCY]
    return [(values[0], values[1], values[2]), (values[3], values[4], values[5])]


def _grant(customer: Customer, amount: int) -> None:
    store = customer.house.store
    customer.house.call(
        store.credits.grant(customer.name, grant_id=f"g{amount}", amount=amount, reason="test", actor="a test")
    )


def _callers(house: House) -> Callers:
    found = house.server.callers
    assert found is not None
    return found


# Answers -------------------------------------------------------------------------------------------------------------


def test_a_call_is_answered_with_its_result(home: House, calling: Calling) -> None:
    """The payload is the body; both spellings of the concurrency headers and both credits headers are there."""
    customer, session = home.customer(slots=5), home.session("PAGE")
    answer = calling(customer, PAGE, {"url": "x", "depth": 2})

    lease = one_lease(session)
    assert (lease["payload"], lease["call"], lease["attempts"]) == ({"url": "x", "depth": 2}, True, 2)
    status = customer.status()
    assert (status["queuedTasks"], status["processingTasks"], status["concurrency"]["used"]) == (0, 0, 1)
    session.exchange(0, completed(lease, {"text": "é", "n": 1.5}))

    got = answer.result()
    assert got.status_code == 200
    assert got.content == '{"success":true,"result":{"text":"é","n":1.5}}'.encode()
    assert concurrency(got) == [(5, 1, 4)] * 2
    assert re.fullmatch(r"\d+", got.headers["x-credits-charged"])
    assert re.fullmatch(r"\d+", got.headers["x-credits-remaining"])
    assert got.headers["x-credits-charged"] == "3"
    assert {"x-ratelimit-limit", "x-request-id", "x-latency-ms"} <= set(got.headers)
    assert used(customer) == 0


def test_what_was_charged_is_answered_without_another_look(
    home: House, calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that goes away then must not hide the result: who is told to come back runs and pays it twice."""
    customer, session = home.customer(), home.session("ANY")
    answer = calling(customer)
    lease = one_lease(session)

    async def broken(*_: object) -> None:
        raise StoreFault("away")

    monkeypatch.setattr(home.store.credits, "find", broken)
    session.exchange(0, completed(lease))
    got = answer.result()

    assert (got.status_code, got.headers["x-credits-charged"]) == (200, "1")
    assert got.headers["x-credits-remaining"] == str(10**9)


def test_credits_are_charged_with_the_result_alone(home: House, calling: Calling) -> None:
    """A balance that does not cover the cost refuses the call; a failed one costs nothing."""
    customer, session = home.customer(slots=5), home.session("PAGE")
    customer.change(credits=True)
    refused = calling(customer, PAGE, {"url": "x"}).result()
    assert (refused.status_code, error_of(refused)["code"]) == (403, "INSUFFICIENT_CREDITS")
    _grant(customer, 7)

    answer = calling(customer, PAGE, {"url": "x"})
    session.exchange(0, completed(one_lease(session)))
    first = answer.result()
    answer = calling(customer, PAGE, {"url": "x"})
    session.exchange(0, failed(one_lease(session), retry=False))
    second = answer.result()

    assert (first.headers["x-credits-charged"], first.headers["x-credits-remaining"]) == ("3", "4")
    assert second.status_code == 500
    assert "x-credits-charged" not in second.headers
    assert customer.client.get("/v1/credits").json()["remaining"] == 4


def test_a_call_may_cost_more_than_a_task(a_house: Callable[..., House], calling: Calling) -> None:
    """What its type says: refused one credit below, charged exactly; the type's tasks cost what they did."""
    app = Fairlane()

    @app.task("ANY", cost=5, call_cost=7)
    def anything(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    house = a_house(application=app)
    customer, session = house.customer(), house.session("ANY")
    customer.change(credits=True)
    _grant(customer, 6)
    refused = calling(customer).result()
    _grant(customer, 1)

    answer = calling(customer)
    session.exchange(0, completed(one_lease(session)))
    answered = answer.result()
    _grant(customer, 5)
    task = customer.submit("ANY", {}).json()

    assert (refused.status_code, error_of(refused)["code"]) == (403, "INSUFFICIENT_CREDITS")
    assert (answered.headers["x-credits-charged"], answered.headers["x-credits-remaining"]) == ("7", "0")
    assert task["credits"] == {"creditsToCharge": 5, "creditsCharged": None}


def test_async_answers_carry_no_concurrency_headers(home: House) -> None:
    """They are the calls' alone."""
    customer = home.customer()

    for answer in (customer.submit("OTHER"), customer.client.get("/v1/async/status")):
        assert not [name for name in answer.headers if name.startswith("x-concurren")]


@pytest.mark.parametrize(
    ("code", "status"),
    [("EXTERNAL_SERVICE_ERROR", 502), ("VALIDATION_ERROR", 400), ("TOO_LARGE", 500), ("INTERNAL_SERVER_ERROR", 500)],
)
def test_a_failure_of_the_handlers_own_keeps_its_code(home: House, calling: Calling, code: str, status: int) -> None:
    """The status follows from it."""
    customer, session = home.customer(), home.session("ANY")
    answer = calling(customer)

    shown = {"code": code, "message": "No", "details": {"service": "x"}}
    session.exchange(0, failed(one_lease(session), failure=shown, retry=False))

    error = error_of(answer.result())
    assert answer.result().status_code == status
    assert {name: error[name] for name in shown} == shown
    assert concurrency(answer.result())[0][1] == 1


def test_attempts_that_are_used_up_are_a_500(home: House, calling: Calling) -> None:
    """With the message of the contract, without the cause. The slot is held between the attempts."""
    customer, session = home.customer(slots=1), home.session("PAGE")
    answer = calling(customer, PAGE, {"url": "x"})

    for attempt in (1, 2):
        lease = one_lease(session)
        assert lease["attempt"] == attempt
        session.exchange(0, failed(lease, pause_seconds=0.2))
        assert attempt == 2 or used(customer) == 1

    assert answer.result().status_code == 500
    error = error_of(answer.result())
    assert (error["code"], error["message"]) == ("INTERNAL_SERVER_ERROR", "Maximum retries exceeded")
    assert "details" not in error


# Refusals ------------------------------------------------------------------------------------------------------------


def test_without_a_free_slot_a_call_is_refused_at_once(home: House, calling: Calling) -> None:
    """With what is in use and the limit; tasks go on waiting."""
    customer, session = home.customer(slots=1), home.session("ANY")
    task = customer.accepted()
    lease = one_lease(session)
    assert lease["task"] == task

    refused = calling(customer).result()

    assert refused.status_code == 429
    error = error_of(refused)
    assert (error["code"], error["message"], error["details"]) == (
        "CONCURRENCY_LIMIT_EXCEEDED", "Concurrency limit exceeded", {"limit": 1},
    )  # fmt: skip
    assert concurrency(refused) == [(1, 1, 0)] * 2
    assert "retry-after" not in refused.headers
    session.exchange(0, completed(lease))


def test_of_two_at_the_last_slot_exactly_one_is_admitted(home: House, calling: Calling) -> None:
    """However close they come."""
    customer, session = home.customer(slots=1), home.session("ANY")
    for _ in range(5):
        answers = [calling(customer) for _ in range(4)]
        lease = one_lease(session)
        eventually(lambda: sum(answer.done() for answer in answers) == 3)  # noqa: B023 - called at once
        session.exchange(0, completed(lease))

        assert sorted(answer.result().status_code for answer in answers) == [200, 429, 429, 429]


def test_a_lowered_limit_is_told_as_it_is(home: House, calling: Calling) -> None:
    """More in use than the limit: nothing remains."""
    customer, session = home.customer(slots=2), home.session("ANY", places=2)
    under_way = [calling(customer), calling(customer)]
    leases = [one_lease(session), one_lease(session)]
    customer.change(slots=1)

    assert concurrency(calling(customer).result()) == [(1, 2, 0)] * 2

    session.exchange(0, *(completed(lease) for lease in leases))
    assert [answer.result().status_code for answer in under_way] == [200, 200]


def test_a_paused_organization_is_told_to_come_back(home: House) -> None:
    """Its slots are not full: nothing of it may start."""
    customer = home.customer()
    customer.change(paused=True)

    answer = customer.client.post(ANY, json={})

    assert (answer.status_code, error_of(answer)["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"url": 1}', ["url"]),
        (b"{}", ["url"]),
        (b'{"url": "x", "more": 1}', ["more"]),
        (b'{"url": "x", "tags": ["a", 1]}', ["tags.1"]),
        (b"[]", ["body"]),
        (b"", ["body"]),
        (b'{"url": "x", "url": "y"}', ["body"]),
        (b'{"taskType": "PAGE", "payload": {"url": "x"}}', ["taskType"]),
    ],
)
def test_a_payload_that_does_not_fit_takes_no_slot(home: House, body: bytes, fields: list[str]) -> None:
    """The same checks as for a task's payload, with the fields as the caller named them."""
    customer = home.customer()

    answer = customer.client.post(PAGE, content=body)

    assert answer.status_code == 400
    assert [field.split(".")[0] for field in fields_of(answer)] == [field.split(".")[0] for field in fields]
    assert not [name for name in answer.headers if name in CONCURRENCY]


def test_too_large_a_payload_is_refused(a_house: Callable[..., House]) -> None:
    """One byte more than a task's payload may have."""
    customer = a_house(payload_limit_bytes=1_000).customer(slots=1)

    answer = customer.client.post(ANY, content=json.dumps({"x": "y" * 992}).encode())

    assert len(json.dumps({"x": "y" * 992})) == 1_001
    assert (answer.status_code, error_of(answer)["details"]) == (413, {"limit": 1_000})


@pytest.mark.parametrize("path", ["/v1/monitor/other", "/v1/monitor/page", "/v1/monitor/any/", "/v1/monitor"])
def test_only_the_declared_paths_are_there(home: House, path: str) -> None:
    """A type may have another path, or none."""
    assert home.customer().client.post(path, json={}).status_code == 404


def test_another_method_is_not_found(home: House) -> None:
    """With what is allowed."""
    answer = home.customer().client.get(ANY)

    assert (answer.status_code, answer.headers["allow"]) == (404, "POST")


# The caller goes away ------------------------------------------------------------------------------------------------


@contextmanager
def a_connection(customer: Customer, body: bytes = b"{}") -> Iterator[socket.socket]:
    """A call sent by hand, whose connection the test may close."""
    host, port = re.fullmatch(r"http://(.*):(\d+)", customer.house.server.address).groups()  # type: ignore[union-attr]
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {ANY} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {customer.key['value']}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        eventually(lambda: used(customer) == 1)
        yield connection


def test_who_hangs_up_before_a_worker_has_it_frees_the_slot(home: House, caplog: pytest.LogCaptureFixture) -> None:
    """At once; the log says 499."""
    caplog.set_level(logging.INFO)
    customer, session = home.customer(slots=1), home.session("ANY")

    with a_connection(customer):
        pass

    eventually(lambda: used(customer) == 0)
    [record] = eventually(lambda: [record for record in caplog.records if record.message == "call.canceled"])
    assert (vars(record)["status"], vars(record)["code"]) == (499, "REQUEST_CANCELED")
    assert session.claim(5) == []


def test_who_hangs_up_later_holds_the_slot_to_the_end_of_the_attempt(
    home: House, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not stopped, not charged, and not tried again."""
    caplog.set_level(logging.INFO)
    customer, session = home.customer(slots=1), home.session("ANY")
    customer.change(credits=True)
    _grant(customer, 1)
    with a_connection(customer):
        lease = one_lease(session)
    eventually(lambda: [record for record in caplog.records if record.message == "call.canceled"])

    assert customer.client.post(ANY, json={}).status_code == 429
    verdicts = session.exchange(5, completed(lease)).json()

    assert (verdicts["verdicts"], verdicts["leases"]) == (["accepted"], [])
    assert used(customer) == 0
    assert customer.client.get("/v1/credits").json()["remaining"] == 1


# Time, drains and deaths ---------------------------------------------------------------------------------------------


def test_five_minutes_are_the_limit(home: House, calling: Calling, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that no worker took, and one that runs: both are answered; the running one holds its slot to its end."""
    monkeypatch.setattr(store_calls, "CALL_MS", 400)
    customer, session = home.customer(slots=2), home.session("ANY")
    running = calling(customer)
    lease = one_lease(session)
    assert lease["timeout_seconds"] <= 0.4
    waiting = calling(customer)

    for answer in (running.result(), waiting.result()):
        assert answer.status_code == 500
        assert error_of(answer)["message"] == "Maximum timeout (5 minutes) exceeded"
        assert "x-concurrency-limit" in answer.headers

    assert used(customer) == 1
    assert session.claim(5) == []
    session.exchange(0, failed(lease))
    assert used(customer) == 0


def test_a_lost_hint_costs_a_second_at_most(a_house: Callable[..., House], calling: Calling) -> None:
    """The rows are enough."""
    house = a_house()
    lose_hints(house.store, "calls_ended")
    customer, session = house.customer(), house.session("ANY")
    answer = calling(customer)

    session.exchange(0, completed(one_lease(session)))

    assert answer.result().status_code == 200


@pytest.mark.usefixtures("nobody_looks")
def test_a_result_that_is_there_when_the_time_is_over_is_answered(
    a_house: Callable[..., House], calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was charged: whoever gives the call up learns that it has ended, and hands it over."""
    monkeypatch.setattr(store_calls, "CALL_MS", 1_500)
    house = a_house()
    lose_hints(house.store, "calls_ended")
    customer, session = house.customer(), house.session("ANY")
    answer = calling(customer)

    session.exchange(0, completed(one_lease(session)))

    assert answer.result().status_code == 200


@pytest.mark.usefixtures("nobody_looks")
def test_all_that_end_at_once_are_answered(
    a_house: Callable[..., House], calling: Calling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few are read in one go."""
    monkeypatch.setattr(callers, "ENDED_MOST", 2)
    house = a_house()
    customer, session = house.customer(slots=5), house.session("ANY", places=5)
    answers = [calling(customer) for _ in range(5)]
    eventually(lambda: used(customer) == 5)

    session.exchange(0, *[completed(lease) for lease in session.claim(5)])

    assert [answer.result().status_code for answer in answers] == [200] * 5


def test_a_drain_answers_what_runs_and_refuses_the_rest(a_house: Callable[..., House], calling: Calling) -> None:
    """New calls, calls that no worker has, and those that are handed back get 503; a running one its result."""
    house = a_house()
    customer, session = house.customer(slots=5), house.session("ANY", places=2)
    running, returned = calling(customer), calling(customer)
    first, second = one_lease(session), one_lease(session)
    waiting = calling(customer)
    eventually(lambda: used(customer) == 3)

    house.soon(house.server.drain)

    assert waiting.result().status_code == 503
    assert calling(customer).result().status_code == 503
    session.exchange(0, completed(first))
    session.exchange(0, {"lease": second["lease"], "outcome": "released"})
    answers = sorted(answer.result().status_code for answer in (running, returned))
    assert answers == [200, 503]
    eventually(lambda: used(customer) == 0)


def test_a_server_that_ends_leaves_no_call_behind(a_house: Callable[..., House], calling: Calling) -> None:
    """Whoever waits is told; nothing is there at the next start."""
    house = a_house()
    customer = house.customer()
    answer, callers = calling(customer), _callers(house)
    eventually(lambda: used(customer) == 1)

    house.call(callers.close())

    assert answer.result().status_code == 503
    assert used(customer) == 0


def test_a_server_that_was_taken_for_dead_goes_on(a_house: Callable[..., House], calling: Calling) -> None:
    """Callers of swept calls are told to come back; new calls are held by a new session."""
    house = a_house(lease_seconds=1, renew_seconds=0.1)
    customer, session = house.customer(), house.session("ANY")
    swept = calling(customer)
    eventually(lambda: used(customer) == 1)
    callers = _callers(house)
    before = callers.server_id

    house.call(house.store.sessions.end(before, reason="lost"))

    assert swept.result().status_code == 503
    eventually(lambda: callers.server_id != before)
    answer = calling(customer)
    session.exchange(0, completed(one_lease(session)))
    assert answer.result().status_code == 200


def test_calls_answer_while_many_wait(home: House, calling: Calling) -> None:
    """Each gets its own result."""
    customer, session = home.customer(slots=8), home.session("ANY", places=8)
    answers = {number: calling(customer, payload={"number": number}) for number in range(8)}
    over = threading.Event()

    def work() -> None:
        reports: list[dict[str, Any]] = []
        while not over.is_set() or reports:
            leases = session.exchange(8, *reports, wait_seconds=0.1).json()["leases"]
            reports = [completed(lease, lease["payload"]) for lease in leases]

    worker = threading.Thread(target=work)
    worker.start()
    try:
        got = {number: answer.result().json()["result"]["number"] for number, answer in answers.items()}
    finally:
        over.set()
        worker.join()

    assert got == {number: number for number in range(8)}
