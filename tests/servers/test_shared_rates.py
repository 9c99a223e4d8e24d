"""A rate limit of an organization holds for its keys at all servers together, within the error that the docs state."""

import pytest

from fairlane.api.rates import RateGuard
from tests.api.house import Customer, Seconds
from tests.servers.conftest import Houses, Pair

LIMIT = 10


@pytest.fixture
def clock() -> Seconds:
    """The clock by which both servers count."""
    return Seconds()


@pytest.fixture
def pair(houses: Houses, clock: Seconds) -> Pair:
    """Two servers whose seconds pass when the test says."""
    pair = houses()
    for house in pair:
        for one in house.server.surfaces["customers"].resources:
            if isinstance(one.guard, RateGuard):
                one.guard.clock = clock
    return pair


def passed(customer: Customer, times: int) -> int:
    """How many of these requests were answered; each answer tells the limit of the organization."""
    answers = [customer.client.get("/v1/credits") for _ in range(times)]
    assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {str(LIMIT)}
    assert {answer.status_code for answer in answers} <= {200, 429}
    return sum(answer.status_code == 200 for answer in answers)


def next_second(pair: Pair, clock: Seconds) -> None:
    """A second passes, and the servers tell each other what they counted in it, as upkeep does."""
    clock.at += 1
    for house in (*pair, pair.a):
        house.call(house.server.serving.rates.exchange())


def test_two_servers_share_the_limit(pair: Pair, clock: Seconds) -> None:
    """Each allows the limit in the first second, which is the control; then their shares make up the limit, and one
    server has all of it a second after the other has no requests."""
    here = pair.a.customer(rate_limit=LIMIT)
    there = Customer(pair.b, here.name, here.key)

    first = passed(here, 12), passed(there, 12)
    next_second(pair, clock)
    second = passed(here, 24), passed(there, 12)
    next_second(pair, clock)
    third = passed(here, 24), passed(there, 12)
    next_second(pair, clock)
    alone = [passed(here, 12)]
    next_second(pair, clock)
    alone.append(passed(here, 12))

    assert first == (10, 10)
    assert second == (5, 5)
    assert third == (7, 3)
    assert alone == [7, 10]


def test_a_server_that_had_no_requests_takes_an_equal_share(pair: Pair, clock: Seconds) -> None:
    """For the second in which the others do not know of its requests; it has the limit when the others are silent."""
    here = pair.a.customer(rate_limit=LIMIT)
    there = Customer(pair.b, here.name, here.key)
    passed(here, 12)
    next_second(pair, clock)

    moved = passed(there, 12)
    next_second(pair, clock)

    assert moved == 5
    assert passed(there, 12) == LIMIT
