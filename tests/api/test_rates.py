"""Requests per second: counted per key and endpoint, told in every authenticated answer, refused beyond the limit."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fairlane.api.http import Request
from fairlane.api.rates import RateGuard
from fairlane.errors import RateLimited
from fairlane.model.keys import Caller
from tests.api.house import Customer, House, Seconds, error_of

LIMIT = 3


@pytest.fixture
def clock() -> Seconds:
    """The clock that every endpoint of the house counts by."""
    return Seconds()


@pytest.fixture
def house(a_house: Callable[..., House], clock: Seconds) -> House:
    """A server that allows three requests per second, and whose seconds pass when the test says."""
    house = a_house(rate_limit=LIMIT)
    for guard in guards(house):
        guard.clock = clock
    return house


def guards(house: House) -> list[RateGuard]:
    """Those of every customers' endpoint."""
    surface = house.server.surfaces["customers"]
    return [one.guard for one in surface.resources if isinstance(one.guard, RateGuard)]


def told(answer: Any) -> tuple[int, str, str]:
    """(status, limit, remaining)."""
    return answer.status_code, answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-remaining"]


def test_the_limit_is_exact_and_refilled_every_second(house: House, clock: Seconds) -> None:
    """As many as allowed pass, the next is refused, whatever part of the second is left; then all are there again."""
    customer = house.customer()

    first = [told(customer.client.get("/v1/async/status")) for _ in range(LIMIT + 2)]
    clock.at += 0.999
    late = told(customer.client.get("/v1/async/status"))
    clock.at += 0.001
    second = told(customer.client.get("/v1/async/status"))

    assert first == [(200, "3", "2"), (200, "3", "1"), (200, "3", "0"), (429, "3", "0"), (429, "3", "0")]
    assert late == (429, "3", "0")
    assert second == (200, "3", "2")


def test_a_refused_request_says_when_to_come_back(house: House) -> None:
    """The envelope, a Retry-After of one second, an id like every answer; and its body is not even read."""
    customer = house.customer()
    for _ in range(LIMIT):
        customer.submit()

    refused = customer.submit(idempotencyKey="k")
    malformed = customer.send(b"no JSON")

    error = error_of(refused)
    assert (refused.status_code, error["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert error["message"] == "API key rate limit exceeded"
    assert "details" not in error
    assert refused.headers["retry-after"] == "1"
    assert {"x-request-id", "x-latency-ms"} <= set(refused.headers)
    assert malformed.status_code == 429
    assert customer.find("k").status_code == 404
    assert customer.status()["queuedTasks"] == LIMIT


def test_each_endpoint_and_each_key_counts_by_itself(house: House) -> None:
    """Another path has its own count, and so has another key of the same organization."""
    customer = house.customer()
    path = f"/admin/v1/organizations/{customer.name}/keys"
    other = Customer(house, customer.name, house.admin.post(path, json={}).json())
    for _ in range(LIMIT + 1):
        customer.client.get("/v1/async/status")

    assert told(customer.submit()) == (200, "3", "2")
    assert told(customer.find("x")) == (404, "3", "2")
    assert told(customer.client.get("/v1/credits")) == (200, "3", "2")
    assert told(other.client.get("/v1/async/status")) == (200, "3", "2")
    assert told(customer.client.get("/v1/async/status")) == (429, "3", "0")


def test_the_keys_of_an_organization_have_a_limit_together(house: House, clock: Seconds) -> None:
    """Four may use their whole limit in one second, and a fifth nothing; another organization is not affected."""
    customer, neighbour = house.customer(), house.customer()
    path = f"/admin/v1/organizations/{customer.name}/keys"
    keys = [customer, *(Customer(house, customer.name, house.admin.post(path, json={}).json()) for _ in range(4))]

    first = [[told(key.client.get("/v1/async/status"))[::2] for _ in range(LIMIT)] for key in keys]
    beside = told(neighbour.client.get("/v1/async/status"))
    clock.at += 1
    second = [told(key.client.get("/v1/async/status"))[::2] for key in keys[::-1]]

    assert first == [[(200, "2"), (200, "1"), (200, "0")]] * 4 + [[(429, "0")] * 3]
    assert beside == (200, "3", "2")
    assert second == [(200, "2")] * 5


def test_a_limit_of_the_organization_is_shared_by_its_keys(house: House, clock: Seconds) -> None:
    """The plan's or its own, at each endpoint; a change holds from the next request on, and null is the setting."""
    customer = house.customer()
    path = f"/admin/v1/organizations/{customer.name}/keys"
    other = Customer(house, customer.name, house.admin.post(path, json={}).json())
    house.admin.post("/admin/v1/plans", json={"name": "slow", "slots": 1, "rate_limit": 2})
    customer.change(plan="slow")

    first = [told(one.client.get("/v1/async/status")) for one in (customer, other, customer)]
    credits = told(other.client.get("/v1/credits"))
    house.admin.patch("/admin/v1/plans/slow", json={"rate_limit": 9})
    raised = told(customer.client.get("/v1/async/status"))
    customer.change(rate_limit=5)
    own = told(customer.client.get("/v1/async/status"))
    customer.change(rate_limit=None)
    house.admin.patch("/admin/v1/plans/slow", json={"rate_limit": None})
    clock.at += 1

    assert first == [(200, "2", "1"), (200, "2", "0"), (429, "2", "0")]
    assert credits == (200, "2", "1")
    assert (raised, own) == ((200, "9", "5"), (200, "5", "0"))
    assert told(customer.client.get("/v1/async/status")) == (200, "3", "2")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/async/status", 200),
        ("POST", "/v1/async/task", 400),
        ("POST", "/v1/async/task/batch", 400),
        ("GET", "/v1/async/task/nope", 404),
        ("PUT", "/v1/async/status", 404),
        ("GET", "/v1/nope", 404),
        ("GET", "/v1", 404),
    ],
)
def test_every_authenticated_answer_tells_what_is_left(house: House, method: str, path: str, status: int) -> None:
    """Also refusals, and what is no endpoint: unknown paths count together."""
    answer = house.customer().client.request(method, path)

    assert told(answer) == (status, "3", "2")


def test_a_fault_tells_it_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own failure is an authenticated answer."""

    async def broken(organization_id: int) -> None:
        raise RuntimeError("a test")

    customer = house.customer()
    monkeypatch.setattr(house.store.credits, "find", broken)

    assert told(customer.client.get("/v1/credits")) == (500, "3", "2")


def test_strangers_are_refused_before_they_are_counted(house: House) -> None:
    """401 however often, without a word about limits; a revoked key does not use up another's count."""
    customer = house.customer()
    with house.client(None, authorization="Bearer sk_live_00000000000000000000000000000000") as stranger:
        answers = [stranger.get("/v1/async/status") for _ in range(LIMIT + 2)]

    assert {answer.status_code for answer in answers} == {401}
    assert not any("x-ratelimit-limit" in answer.headers for answer in answers)
    assert told(customer.client.get("/v1/async/status")) == (200, "3", "2")


def test_every_endpoint_of_customers_is_counted(shared: House) -> None:
    """None is forgotten; what asks for no key, and other parts, are not counted."""
    resources = shared.server.surfaces["customers"].resources

    uncounted = [one.path for one in resources if not isinstance(one.guard, RateGuard)]

    assert len({id(guard) for guard in guards(shared)}) == len(resources) - len(uncounted)
    assert not [path for path in uncounted if path.startswith("/v1/")]


def test_many_keys_are_counted_and_forgotten() -> None:
    """A second later nothing is left of a hundred thousand keys but those that call again."""
    clock, callers = Seconds(), iter([Caller(str(number), number, None) for number in range(100_001)])

    async def next_caller(request: Request) -> Caller:
        return next(callers)

    guard = RateGuard(next_caller, limit=1, clock=clock)
    asyncio.run(_ask(guard, 100_000))
    during = len(guard.made)
    clock.at += 1
    asyncio.run(_ask(guard, 1))

    assert (during, len(guard.made)) == (100_000, 1)


def test_a_clock_that_rests_refuses_for_ever() -> None:
    """The control of the tests above: only a new second refills."""

    async def somebody(request: Request) -> Caller:
        return Caller("key", 1, None)

    guard = RateGuard(somebody, limit=2, clock=Seconds())
    asyncio.run(_ask(guard, 2))

    with pytest.raises(RateLimited):
        asyncio.run(_ask(guard, 1))


async def _ask(guard: RateGuard, times: int) -> None:
    for _ in range(times):
        await guard(Request({"type": "http"}, _nothing, id="1"))


async def _nothing() -> Any:
    raise AssertionError("a guard reads no body")
